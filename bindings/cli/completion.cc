#include "bindings/cli/completion.h"

#include <algorithm>
#include <cctype>
#include <filesystem>

#include "bindings/cli/sql_text.h"
#include "bindings/cli/sql_tokens.h"

namespace foreshore::cli {
namespace {

void AddMatching(const std::vector<std::string>& candidates, std::string_view word, std::vector<std::string>& found) {
  for (const std::string& candidate : candidates) {
    if (StartsWithIgnoringCase(candidate, word)) found.push_back(candidate);
  }
}

void SortUnique(std::vector<std::string>& words) {
  std::sort(words.begin(), words.end());
  words.erase(std::unique(words.begin(), words.end()), words.end());
}

std::string Spelled(std::string_view name) {
  if (IsPlainName(name)) return std::string(name);
  std::string quoted = "\"";
  for (const char character : name) quoted += character == '"' ? "\"\"" : std::string(1, character);
  return quoted + '"';
}

std::vector<std::string> CollectionList(const DatabaseNames& names) {
  std::vector<std::string> list;
  for (const CollectionNames& collection : names.collections) list.push_back(collection.name);
  return list;
}

// The cursor's surroundings in one statement.
class SqlContext {
 public:
  SqlContext(std::string_view before, std::string_view after, const DatabaseNames& names) : names_(names) {
    tokens_ = TokenizeSql(before);
    // The word at the cursor is no part of what stands before it.
    if (!tokens_.empty() && tokens_.back().end == before.size()) {
      const SqlToken& last = tokens_.back();
      const bool is_typed =
          last.kind == SqlTokenKind::kWord ||
          ((last.kind == SqlTokenKind::kQuotedName || last.kind == SqlTokenKind::kString) && !last.is_closed);
      if (is_typed) {
        typed_ = last;
        word_ = last.kind == SqlTokenKind::kWord ? before.substr(last.start) : before.substr(last.start + 1);
        tokens_.pop_back();
      }
    }
    std::string whole(before);
    if (typed_.kind == SqlTokenKind::kString || typed_.kind == SqlTokenKind::kQuotedName) {
      closing_ = before[typed_.start] == '[' ? ']' : before[typed_.start];
      // Quotes behind the cursor that pair up belong to others: this one ends at the cursor.
      if (std::count(after.begin(), after.end(), closing_) % 2 == 0) whole += closing_;
    }
    tables_ = TablesIn(TokenizeSql(whole.append(after)));
  }

  Completion Complete() const {
    Completion completion;
    completion.replaced_bytes = word_.size();
    if (typed_.kind == SqlTokenKind::kString) {
      completion.suffix = closing_;
      completion.words = StringCandidates();
    } else if (typed_.kind == SqlTokenKind::kQuotedName) {
      completion.suffix = closing_;
      AddMatching(Previous(0) == "." ? ColumnsOf(Previous(1)) : AllColumns(), word_, completion.words);
      AddMatching(CollectionList(names_), word_, completion.words);
    } else if (Previous(0) == ".") {
      for (const std::string& column : ColumnsOf(Previous(1))) {
        if (StartsWithIgnoringCase(column, word_)) completion.words.push_back(Spelled(column));
      }
    } else if (WantsCollection()) {
      AddMatching(CollectionList(names_), word_, completion.words);
    } else {
      completion.words = Expressions();
    }
    SortUnique(completion.words);
    // A function waits for its argument.
    if (completion.words.size() == 1 && completion.words[0].ends_with('(')) completion.suffix = "";
    return completion;
  }

 private:
  std::string_view Previous(std::size_t distance) const {
    return distance < tokens_.size() ? std::string_view(tokens_[tokens_.size() - 1 - distance].name)
                                     : std::string_view();
  }

  bool WantsCollection() const {
    for (const std::string_view word : {"FROM", "JOIN", "INTO", "UPDATE"}) {
      if (EqualsIgnoringCase(Previous(0), word)) return true;
    }
    if (Previous(0) != ",") return false;
    // FROM a, b: names and commas only, back to FROM.
    for (std::size_t distance = 1; distance < tokens_.size(); ++distance) {
      if (EqualsIgnoringCase(Previous(distance), "FROM")) return true;
      const SqlToken& token = tokens_[tokens_.size() - 1 - distance];
      const bool is_name =
          token.kind == SqlTokenKind::kQuotedName ||
          (token.kind == SqlTokenKind::kWord && (!IsKeyword(token.name) || EqualsIgnoringCase(token.name, "AS")));
      if (!is_name && token.name != ",") return false;
    }
    return false;
  }

  std::vector<std::string> ColumnsOf(std::string_view table) const {
    for (const TableUse& use : tables_) {
      if (!EqualsIgnoringCase(use.alias, table) && !EqualsIgnoringCase(use.collection, table)) continue;
      if (const CollectionNames* collection = names_.Find(use.collection)) return collection->columns;
    }
    const CollectionNames* collection = names_.Find(table);
    return collection != nullptr ? collection->columns : std::vector<std::string>();
  }

  // Of the statement's collections; of all while it names none.
  std::vector<const CollectionNames*> Collections() const {
    std::vector<const CollectionNames*> found;
    for (const TableUse& use : tables_) {
      if (const CollectionNames* collection = names_.Find(use.collection)) found.push_back(collection);
    }
    if (found.empty()) {
      for (const CollectionNames& collection : names_.collections) found.push_back(&collection);
    }
    return found;
  }

  std::vector<std::string> AllColumns() const {
    std::vector<std::string> columns;
    for (const CollectionNames* collection : Collections()) {
      columns.insert(columns.end(), collection->columns.begin(), collection->columns.end());
    }
    return columns;
  }

  // JSON paths, and the models of embed() and predict().
  std::vector<std::string> StringCandidates() const {
    std::vector<std::string> found;
    const bool is_model =
        Previous(0) == "(" && (EqualsIgnoringCase(Previous(1), "embed") || EqualsIgnoringCase(Previous(1), "predict"));
    if (is_model) AddMatching(names_.models, word_, found);
    const bool is_path = Previous(0) == "->>" || Previous(0) == "->" || word_.starts_with('$');
    if (!is_path) return found;
    for (const CollectionNames* collection : Collections()) {
      std::vector<std::string> paths;
      for (const std::string& column : collection->columns) paths.push_back("$." + column);
      for (const std::string& path : collection->paths) paths.push_back("$." + path);
      AddMatching(paths, word_, found);
    }
    return found;
  }

  std::vector<std::string> Expressions() const {
    std::vector<std::string> found;
    static constexpr std::string_view kBeginnings[] = {"BEGIN",    "COMMIT", "DELETE", "EXPLAIN", "INSERT", "REPLACE",
                                                       "ROLLBACK", "SELECT", "UPDATE", "VALUES",  "WITH"};
    const bool is_first = tokens_.empty();
    if (!word_.empty()) {
      const bool is_lower = std::islower(static_cast<unsigned char>(word_.front())) != 0;
      for (const std::string_view keyword : SqlKeywords()) {
        if (!StartsWithIgnoringCase(keyword, word_)) continue;
        if (is_first && std::find(std::begin(kBeginnings), std::end(kBeginnings), keyword) == std::end(kBeginnings)) {
          continue;
        }
        std::string spelled(keyword);
        if (is_lower) {
          std::transform(spelled.begin(), spelled.end(), spelled.begin(),
                         [](unsigned char character) { return static_cast<char>(std::tolower(character)); });
        }
        found.push_back(std::move(spelled));
      }
    }
    if (is_first) return found;
    // Everything fits an empty word; only the statement's own fields are worth showing.
    if (word_.empty() && tables_.empty()) return found;
    for (const std::string& column : AllColumns()) {
      if (StartsWithIgnoringCase(column, word_)) found.push_back(Spelled(column));
    }
    for (const TableUse& use : tables_) {
      const std::string& name = use.alias.empty() ? use.collection : use.alias;
      if (!word_.empty() && StartsWithIgnoringCase(name, word_)) found.push_back(Spelled(name));
    }
    if (word_.empty()) return found;
    for (const std::string& function : names_.functions) {
      if (StartsWithIgnoringCase(function, word_)) found.push_back(function + "(");
    }
    return found;
  }

  const DatabaseNames& names_;
  std::vector<SqlToken> tokens_;  // Before the word at the cursor.
  SqlToken typed_;
  char closing_ = '\0';  // Of a typed_ in quotes.
  std::string word_;
  std::vector<TableUse> tables_;
};

std::vector<std::string> FileCandidates(std::string_view word) {
  const std::filesystem::path typed(word);
  const std::filesystem::path folder = typed.parent_path();
  std::vector<std::string> found;
  std::error_code error;
  const auto entries = std::filesystem::directory_iterator(folder.empty() ? "." : folder, error);
  if (error) return found;
  for (auto entry = entries; entry != std::filesystem::directory_iterator(); entry.increment(error)) {
    if (error) break;
    const std::string name = entry->path().filename().string();
    const bool is_hidden = name.starts_with('.') && !typed.filename().string().starts_with('.');
    if (is_hidden || !name.starts_with(typed.filename().string())) continue;
    found.push_back((folder / name).string() + (entry->is_directory(error) ? "/" : ""));
  }
  return found;
}

std::vector<std::string> ArgumentCandidates(ArgumentKind kind, std::string_view word, const DatabaseNames& names) {
  std::vector<std::string> found;
  switch (kind) {
    case ArgumentKind::kNone: break;
    case ArgumentKind::kCollection: AddMatching(CollectionList(names), word, found); break;
    case ArgumentKind::kModel: AddMatching(names.models, word, found); break;
    case ArgumentKind::kMode: AddMatching({"csv", "json", "table"}, word, found); break;
    case ArgumentKind::kSwitch: AddMatching({"off", "on"}, word, found); break;
    case ArgumentKind::kFile: found = FileCandidates(word); break;
    case ArgumentKind::kCommand:
      for (const ShellCommand& command : ShellCommands()) {
        if (StartsWithIgnoringCase(command.name.substr(1), word)) found.emplace_back(command.name.substr(1));
      }
  }
  return found;
}

}  // namespace

Completion CompleteSql(std::string_view before, std::string_view after, const DatabaseNames& names) {
  const SqlSplit behind = SplitSql(after);
  const std::string_view rest = behind.statements.empty() ? after : behind.statements.front();
  return SqlContext(SplitSql(before).rest, rest, names).Complete();
}

Completion CompleteCommand(std::string_view before, const DatabaseNames& names) {
  Completion completion;
  const std::size_t start = before.find_last_of(" \t");
  const std::string_view word = before.substr(start == std::string_view::npos ? 0 : start + 1);
  completion.replaced_bytes = word.size();
  if (start == std::string_view::npos) {
    for (const ShellCommand& command : ShellCommands()) {
      if (command.name.starts_with(word)) completion.words.emplace_back(command.name);
    }
    return completion;
  }
  const auto words = SplitWords(before.substr(0, start));
  const ShellCommand* command = words.ok() && !words->empty() ? FindShellCommand(words->front()) : nullptr;
  if (command == nullptr) return completion;
  // Behind an option that names a file, and else by place.
  const bool is_output = words->back() == "-o" || words->back() == "--output";
  const ArgumentKind kind = is_output            ? ArgumentKind::kFile
                            : words->size() == 1 ? command->first
                            : words->size() == 2 ? command->second
                                                 : ArgumentKind::kNone;
  completion.words = ArgumentCandidates(kind, word, names);
  SortUnique(completion.words);
  if (completion.words.size() == 1 && completion.words[0].ends_with('/')) completion.suffix = "";
  return completion;
}

const std::vector<ShellCommand>& ShellCommands() {
  using Kind = ArgumentKind;
  static const std::vector<ShellCommand> commands = {
      {".create", "NAME", "make a collection", "", Kind::kNone, Kind::kNone},
      {".export", "COLLECTION [-o FILE]", "write a collection to a file or here",
       "Options: -o FILE, --format jsonl|json|csv, --where \"SQL expression\", --fields NAME,…, --delimiter C.\n"
       "The format follows the file's suffix. The file is there whole or not at all.\n",
       Kind::kCollection, Kind::kNone},
      {".fields", "COLLECTION [N]", "the fields that documents have, with their types",
       "Looks at the first N documents, else at 10,000. Nested fields are site.name, elements of arrays tags[].\n",
       Kind::kCollection, Kind::kNone},
      {".help", "[COMMAND]", "this list, or more about one command", "", Kind::kCommand, Kind::kNone},
      {".import", "COLLECTION FILE", "read JSON lines, JSON or CSV into a collection",
       "Options: --format jsonl|json|csv, --id FIELD, --on-error stop|skip, --skip N, --batch N; for CSV --delimiter "
       "C,\n"
       "--columns NAME,…, --types TYPE or NAME=TYPE,…, --null TEXT. The collection is made where it is missing.\n",
       Kind::kCollection, Kind::kFile},
      {".indexes", "[COLLECTION]", "the indexes", "", Kind::kCollection, Kind::kNone},
      {".limit", "N", "show N rows of a table at most; 0 shows all", "", Kind::kNone, Kind::kNone},
      {".mode", "table|json|csv", "how rows are shown", "", Kind::kMode, Kind::kNone},
      {".models", "[NAME]", "the models, or one", "", Kind::kModel, Kind::kNone},
      {".nullvalue", "TEXT", "what a table shows for NULL", "", Kind::kNone, Kind::kNone},
      {".quit", "", "leave (or ^D)", "", Kind::kNone, Kind::kNone},
      {".read", "FILE", "run the statements and commands of a file, up to the first failure", "", Kind::kFile,
       Kind::kNone},
      {".schema", "[COLLECTION]", "the columns that SQL sees", "", Kind::kCollection, Kind::kNone},
      {".stats", "", "sizes, counts and what is pending", "", Kind::kNone, Kind::kNone},
      {".tables", "", "the collections", "", Kind::kNone, Kind::kNone},
      {".timer", "on|off", "show how long statements take", "", Kind::kSwitch, Kind::kNone},
      {".width", "[N…]", "columns of a table's first, second… column; 0 or nothing: as they need", "", Kind::kNone,
       Kind::kNone},
  };
  return commands;
}

const ShellCommand* FindShellCommand(std::string_view name) {
  for (const ShellCommand& command : ShellCommands()) {
    if (command.name == name) return &command;
  }
  return nullptr;
}

Result<std::vector<std::string>> SplitWords(std::string_view line) {
  std::vector<std::string> words;
  std::size_t position = 0;
  while ((position = line.find_first_not_of(" \t\r\n", position)) != std::string_view::npos) {
    std::string& word = words.emplace_back();
    while (position < line.size() && std::string_view(" \t\r\n").find(line[position]) == std::string_view::npos) {
      const char first = line[position];
      if (first != '"' && first != '\'') {
        word += line[position++];
        continue;
      }
      const std::size_t end = line.find(first, position + 1);
      if (end == std::string_view::npos) {
        return Status::InvalidArgument("command: found " + std::string(1, first) + " without an end");
      }
      word += line.substr(position + 1, end - position - 1);
      position = end + 1;
    }
  }
  return words;
}

}  // namespace foreshore::cli
