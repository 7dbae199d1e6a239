#include "engine/query/predictions_in_sql.h"

#include <algorithm>

#include "engine/database/predictive_worker.h"
#include "engine/document/json.h"
#include "engine/query/collection_table.h"
#include "foreshore/sql_tokens.h"

namespace foreshore {
namespace {

// A part of the text that may become a column.
struct Occurrence {
  std::size_t start = 0;
  std::size_t end = 0;
  std::string qualifier;  // "a." of a.x, as it is written; may be empty.
  std::string column;     // The hidden one.
};

// What predict() is called with.
struct Call {
  std::string model;
  std::string adapter;
  std::string qualifier;
  std::string name;           // The input's column; empty where one of the following says what it is.
  std::string document_path;  // Of body -> '$.x', in internal form.
  std::optional<PredictedInput> input;
};

class Finder {
 public:
  Finder(const Catalog& catalog, std::string_view sql) : catalog_(catalog), sql_(sql), tokens_(TokenizeSql(sql)) {}

  std::vector<Occurrence> Find() const {
    std::vector<Occurrence> found;
    for (std::size_t i = 0; i < tokens_.size(); ++i) {
      // What RETURNING reads is the new row, which has no values yet.
      if (!tokens_[i].is_closed || IsWord(i, "RETURNING")) return {};
      if (!IsWord(i, "predict")) continue;
      Occurrence occurrence;
      if (FindAt(i, occurrence)) found.push_back(std::move(occurrence));
    }
    return found;
  }

 private:
  bool Is(std::size_t i, std::string_view text) const {
    return i < tokens_.size() && tokens_[i].kind == SqlTokenKind::kOther && tokens_[i].name == text;
  }
  bool IsWord(std::size_t i, std::string_view word) const {
    return i < tokens_.size() && tokens_[i].kind == SqlTokenKind::kWord && EqualsIgnoringCase(tokens_[i].name, word);
  }
  bool IsName(std::size_t i) const {
    return i < tokens_.size() &&
           (tokens_[i].kind == SqlTokenKind::kWord || tokens_[i].kind == SqlTokenKind::kQuotedName);
  }
  const std::string* StringAt(std::size_t i) const {
    return i < tokens_.size() && tokens_[i].kind == SqlTokenKind::kString ? &tokens_[i].name : nullptr;
  }

  // Moves behind the call that begins at `i`.
  bool ReadCall(std::size_t& i, Call& call) const {
    const std::string* model = StringAt(i + 2);
    if (!Is(i + 1, "(") || model == nullptr || !Is(i + 3, ",")) return false;
    call.model = *model;
    i += 4;
    if (!ReadInput(i, call)) return false;
    if (Is(i, ",")) {
      const std::string* adapter = StringAt(i + 1);
      if (adapter == nullptr) return false;
      call.adapter = *adapter;
      i += 2;
    }
    return Is(i++, ")");
  }

  bool ReadInput(std::size_t& i, Call& call) const {
    if (!IsName(i)) return false;
    if (Is(i + 1, "(")) {
      call.input = PredictedInput::Read(sql_, tokens_, i, call.qualifier);
      return call.input.has_value();
    }
    if (Is(i + 1, ".")) {
      if (!IsName(i + 2)) return false;
      call.qualifier = std::string(sql_.substr(tokens_[i].start, tokens_[i].end - tokens_[i].start)) + ".";
      i += 2;
    }
    call.name = tokens_[i++].name;
    if (!Is(i, "->")) return true;
    const std::string* path = StringAt(i + 1);
    OutputPath parsed;
    if (!EqualsIgnoringCase(call.name, "body") || path == nullptr || !parsed.Append(*path)) return false;
    call.name.clear();
    call.document_path = parsed.AsDocumentPath();
    i += 2;
    return !call.document_path.empty();
  }

  // Whether an expression that begins at `i` begins there for SQLite too: `->>` binds as `||` does, from the left, and
  // less than a sign.
  bool BeginsAt(std::size_t i) const {
    if (i == 0) return false;
    for (const std::string_view text : {"|", "~", "->", "->>", "."}) {
      if (Is(i - 1, text)) return false;
    }
    if (!Is(i - 1, "-") && !Is(i - 1, "+")) return true;
    // Behind an operand it is no sign.
    if (i < 2) return false;
    const SqlToken& before = tokens_[i - 2];
    if (before.kind == SqlTokenKind::kOther) return before.name == ")";
    return before.kind != SqlTokenKind::kWord ||
           sqlite3_keyword_check(before.name.c_str(), static_cast<int>(before.name.size())) == 0;
  }

  bool FindAt(std::size_t i, Occurrence& occurrence) const {
    Call call;
    OutputPath output;
    std::size_t begin = i;
    if (!ReadCall(i, call)) return false;
    if (begin >= 2 && Is(begin - 1, "(") && IsWord(begin - 2, "json_extract") && Is(i, ",")) {
      const std::string* path = StringAt(i + 1);
      if (path == nullptr || !path->starts_with('$') || !output.Append(*path) || !Is(i + 2, ")")) return false;
      begin -= 2;
      i += 3;
    } else {
      if (!BeginsAt(begin)) return false;
      bool is_value = false;
      while (!is_value && (Is(i, "->") || Is(i, "->>"))) {
        is_value = Is(i, "->>");
        if (!ReadStep(i + 1, output)) return false;
        i += 2;
      }
      if (!is_value || Is(i, "->") || Is(i, "->>") || IsWord(i, "COLLATE")) return false;
    }
    occurrence.start = tokens_[begin].start;
    occurrence.end = tokens_[i - 1].end;
    occurrence.qualifier = call.qualifier;
    return FindColumn(call, output.ToText(), occurrence.column);
  }

  bool ReadStep(std::size_t i, OutputPath& output) const {
    if (const std::string* path = StringAt(i)) return output.Append(*path);
    if (i >= tokens_.size() || tokens_[i].kind != SqlTokenKind::kNumber || tokens_[i].name.size() > 9) return false;
    const std::string& digits = tokens_[i].name;
    if (digits.find_first_not_of("0123456789") != std::string::npos) return false;
    output.AppendIndex(std::stoul(digits));
    return true;
  }

  static bool IsInputOf(const Call& call, const PredictiveIndexDefinition& index) {
    if (call.input) return index.input.Matches(*call.input);
    if (!index.input.is_path()) return false;
    const std::string& path = index.input.paths()[0];
    return call.name.empty() ? path == call.document_path : EqualsIgnoringCase(PathForPeople(path), call.name);
  }

  bool FindColumn(const Call& call, const std::string& output, std::string& column) const {
    for (const CollectionDefinition& collection : catalog_.collections) {
      for (const PredictiveIndexDefinition& index : collection.predictive_indexes) {
        if (!IsInputOf(call, index) || index.options.model != call.model || index.options.adapter != call.adapter ||
            index.options.output != output) {
          continue;
        }
        column = index.column;
        return true;
      }
    }
    return false;
  }

  const Catalog& catalog_;
  std::string_view sql_;
  std::vector<SqlToken> tokens_;
};

std::string Replaced(std::string_view sql, const std::vector<Occurrence>& occurrences) {
  std::string text;
  std::size_t at = 0;
  for (const Occurrence& each : occurrences) {
    text.append(sql.substr(at, each.start - at));
    text += each.qualifier + QuoteIdentifier(each.column);
    at = each.end;
  }
  return text.append(sql.substr(at));
}

// Whether reading `input` of the table is reading that path, in one way or the other.
bool IsInput(const std::vector<TableColumn>& columns, const PredictiveIndexDefinition& index, const std::string& path,
             std::string_view input) {
  if (index.input.is_image()) return input == path;
  if (input == "body") return index.input.is_path();  // The text named a path of it.
  return std::any_of(columns.begin(), columns.end(), [&](const TableColumn& column) {
    if (column.name != input) return false;
    // A vector that the application writes is an ordinary value of the document.
    if (column.kind == ColumnKind::kVector) return column.field_number >= 0 && column.name == path;
    return column.path == path;
  });
}

// Whether the reads from `at` on are those of the index's input, all of one table and one after the other.
bool AreInputs(const ColumnReads& reads, std::size_t at, const CollectionDefinition& collection,
               const PredictiveIndexDefinition& index) {
  const std::vector<std::string>& paths = index.input.paths();
  if (paths.size() > reads.size() - at) return false;
  const std::vector<TableColumn> columns = ColumnsOf(collection);
  for (std::size_t i = 0; i < paths.size(); ++i) {
    const auto& [table, column] = reads[at + i];
    if (table != reads[at].first || !IsInput(columns, index, paths[i], column)) return false;
  }
  return true;
}

// Whether the two differ by inputs of indexes that became their columns, and by nothing else. Notes which.
bool Agree(const Catalog& catalog, const ColumnReads& before, const ColumnReads& after, CompiledStatement& statement) {
  std::size_t at = 0;
  for (const auto& [table, column] : after) {
    if (at >= before.size() || before[at].first != table) return false;
    if (before[at].second == column) {
      ++at;
      continue;
    }
    const CollectionDefinition* collection = catalog.Find(table);
    if (collection == nullptr) return false;
    const auto& indexes = collection->predictive_indexes;
    const auto index = std::find_if(indexes.begin(), indexes.end(), [&](const PredictiveIndexDefinition& each) {
      return each.column == column && AreInputs(before, at, *collection, each);
    });
    if (index == indexes.end()) return false;
    at += index->input.paths().size();
    const std::pair ids{collection->id, index->id};
    auto& known = statement.indexes;
    if (std::find(known.begin(), known.end(), ids) == known.end()) known.push_back(ids);
  }
  return at == before.size();
}

}  // namespace

std::optional<CompiledStatement> UsePredictiveIndexes(SessionState& session, const std::string& sql,
                                                      ColumnReads reads) {
  const std::shared_ptr<const Catalog> catalog = session.declared;
  std::vector<Occurrence> occurrences = Finder(*catalog, sql).Find();
  if (occurrences.empty()) return std::nullopt;
  const auto attempt = [&](const std::vector<Occurrence>& chosen) -> std::optional<CompiledStatement> {
    ColumnReads after;
    auto statement = session.CompileAsWritten(Replaced(sql, chosen), after);
    session.ClearError();  // It is no error of the statement.
    if (!statement.ok() || !Agree(*catalog, reads, after, *statement)) return std::nullopt;
    return std::move(statement).value();
  };
  auto whole = attempt(occurrences);
  if (!whole) {
    // Where the declarations of tables had to be read first, SQLite began again and has told some columns twice.
    ColumnReads once;
    session.CompileAsWritten(sql, once).status().IgnoreError();
    if (once != reads) {
      reads = std::move(once);
      whole = attempt(occurrences);
    }
  }
  if (whole || occurrences.size() == 1) return whole;
  // One of them means something else: those that do not.
  std::vector<Occurrence> chosen;
  std::optional<CompiledStatement> best;
  for (const Occurrence& each : occurrences) {
    chosen.push_back(each);
    if (auto made = attempt(chosen)) {
      best = std::move(made);
    } else {
      chosen.pop_back();
    }
  }
  return best;
}

std::vector<std::string> ExplainPredictiveIndexes(SessionState& session, const CompiledStatement& statement) {
  std::vector<std::string> lines;
  const auto view = session.core.BeginRead();
  if (!view.ok()) return lines;
  for (const auto& [collection_id, index_id] : statement.indexes) {
    const CollectionDefinition* collection = (*view)->catalog().FindById(collection_id);
    const PredictiveIndexDefinition* index =
        collection != nullptr ? collection->FindPredictiveIndex(index_id) : nullptr;
    if (index == nullptr) continue;
    const auto pending = session.core.predictive().GuessPending(**view, *collection, *index);
    if (!pending.ok()) continue;
    const std::string what = *pending == 0
                                 ? "no inference"
                                 : "inference for about " + std::to_string(*pending) + " documents that are pending";
    lines.push_back("PREDICT by " + index->options.model + ": values of index " + index->name + ", " + what);
  }
  return lines;
}

}  // namespace foreshore
