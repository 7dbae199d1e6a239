#include "bindings/cli/error_hint.h"

#include <algorithm>
#include <cctype>

#include "bindings/cli/sql_text.h"
#include "bindings/cli/sql_tokens.h"

namespace foreshore::cli {
namespace {

// What stands behind `prefix` in a message, up to a space.
std::optional<std::string> WordBehind(std::string_view message, std::string_view prefix) {
  const std::size_t place = message.find(prefix);
  if (place == std::string_view::npos) return std::nullopt;
  std::string_view rest = message.substr(place + prefix.size());
  const std::size_t mark = rest.find(" (at byte ");
  return std::string(rest.substr(0, std::min(mark, rest.size())));
}

std::optional<std::string> QuotedBehind(std::string_view message, std::string_view prefix, std::string_view suffix) {
  const std::size_t place = message.find(prefix);
  if (place == std::string_view::npos) return std::nullopt;
  const std::string_view rest = message.substr(place + prefix.size());
  const std::size_t end = rest.find(suffix);
  if (end == std::string_view::npos) return std::nullopt;
  return std::string(rest.substr(0, end));
}

// What is wrong, in the terms of a person.
struct Suspect {
  enum class Kind { kNone, kCollection, kColumn, kFunction, kEnd } kind = Kind::kNone;
  std::string name;
  std::string table;  // Of "notes.size" and "table notes has no column named size".
};

Suspect SuspectOf(std::string_view message) {
  if (auto name = QuotedBehind(message, "SQL: collection \"", "\" does not exist")) {
    return {Suspect::Kind::kCollection, *name, {}};
  }
  if (auto name = WordBehind(message, "no such column: ")) {
    const std::size_t dot = name->find('.');
    if (dot == std::string::npos) return {Suspect::Kind::kColumn, *name, {}};
    return {Suspect::Kind::kColumn, name->substr(dot + 1), name->substr(0, dot)};
  }
  if (auto name = WordBehind(message, " has no column named ")) {
    return {Suspect::Kind::kColumn, *name, QuotedBehind(message, "table ", " has no column").value_or("")};
  }
  if (auto name = WordBehind(message, "ambiguous column name: ")) return {Suspect::Kind::kNone, *name, {}};
  if (auto name = WordBehind(message, "no such function: ")) return {Suspect::Kind::kFunction, *name, {}};
  if (auto name = QuotedBehind(message, "wrong number of arguments to function ", "()")) {
    return {Suspect::Kind::kNone, *name, {}};
  }
  if (message.find("incomplete input") != std::string_view::npos) return {Suspect::Kind::kEnd, {}, {}};
  return {};
}

std::size_t TokenPlace(const std::vector<SqlToken>& tokens, const Suspect& suspect) {
  for (std::size_t index = 0; index < tokens.size(); ++index) {
    const SqlToken& token = tokens[index];
    const bool is_name = token.kind == SqlTokenKind::kWord || token.kind == SqlTokenKind::kQuotedName;
    if (!is_name || !EqualsIgnoringCase(token.name, suspect.name)) continue;
    if (suspect.table.empty() || index < 2 || tokens[index - 1].name != ".") return token.start;
    if (EqualsIgnoringCase(tokens[index - 2].name, suspect.table)) return token.start;
  }
  return std::string_view::npos;
}

// The collections that the statement names, or the one that goes by `table`.
std::vector<const CollectionNames*> CollectionsOf(const std::vector<SqlToken>& tokens, const std::string& table,
                                                  const DatabaseNames& names) {
  std::vector<const CollectionNames*> found;
  for (const TableUse& use : TablesIn(tokens)) {
    const bool is_meant =
        table.empty() || EqualsIgnoringCase(use.alias, table) || EqualsIgnoringCase(use.collection, table);
    const CollectionNames* collection = names.Find(use.collection);
    if (is_meant && collection != nullptr) found.push_back(collection);
  }
  return found;
}

std::string ColumnHint(const Suspect& suspect, const std::vector<SqlToken>& tokens, const DatabaseNames& names) {
  std::vector<std::string> columns;
  std::string nested;
  for (const CollectionNames* collection : CollectionsOf(tokens, suspect.table, names)) {
    columns.insert(columns.end(), collection->columns.begin(), collection->columns.end());
    for (const std::string& path : collection->paths) {
      const std::string leaf = path.substr(path.rfind('.') + 1);
      const bool is_meant = EqualsIgnoringCase(leaf, suspect.name) || EqualsIgnoringCase(path, suspect.name) ||
                            EqualsIgnoringCase(path, suspect.table + "." + suspect.name);
      if (is_meant && nested.empty()) nested = path;
    }
  }
  // "site.name" reads as column name of a table site, which is no table: then the path was meant.
  if (columns.empty() && !suspect.table.empty()) {
    Suspect path = {Suspect::Kind::kColumn, suspect.table + "." + suspect.name, {}};
    return ColumnHint(path, tokens, names);
  }
  std::vector<std::string> hints;
  if (const auto nearest = NearestName(suspect.name, columns)) {
    hints.push_back("did you mean \"" + *nearest + "\"?");
  }
  if (!nested.empty()) {
    hints.push_back((hints.empty() ? "a" : "or the") + std::string(" nested field: body ->> '$.") + nested + "'");
  }
  std::string hint;
  for (const std::string& part : hints) hint += (hint.empty() ? "; " : " ") + part;
  return hint;
}

std::string HintFor(const Suspect& suspect, const std::vector<SqlToken>& tokens, const DatabaseNames& names) {
  std::vector<std::string> candidates;
  switch (suspect.kind) {
    case Suspect::Kind::kColumn: return ColumnHint(suspect, tokens, names);
    case Suspect::Kind::kFunction: candidates = names.functions; break;
    case Suspect::Kind::kCollection:
      for (const CollectionNames& collection : names.collections) candidates.push_back(collection.name);
      break;
    default: return {};
  }
  if (const auto nearest = NearestName(suspect.name, candidates)) return "; did you mean \"" + *nearest + "\"?";
  if (suspect.kind != Suspect::Kind::kCollection) return {};
  std::string known;
  for (const std::string& name : candidates) known += (known.empty() ? "" : ", ") + name;
  return known.empty() ? "; there are no collections yet" : "; there are: " + known;
}

// "SELEC" where a keyword would do.
std::string KeywordHint(std::string_view message) {
  const auto word = QuotedBehind(message, "near \"", "\": syntax error");
  if (!word || word->size() < 4 || IsKeyword(*word)) return {};
  std::vector<std::string> keywords;
  for (const std::string_view keyword : SqlKeywords()) keywords.emplace_back(keyword);
  const auto nearest = NearestName(*word, keywords);
  return nearest ? "; did you mean " + *nearest + "?" : "";
}

}  // namespace

std::size_t EditDistance(std::string_view left, std::string_view right) {
  // Three rows of the usual table are enough for exchanges of neighbours.
  std::vector<std::size_t> before(right.size() + 1);
  std::vector<std::size_t> last(right.size() + 1);
  std::vector<std::size_t> row(right.size() + 1);
  auto is_equal = [&](std::size_t at_left, std::size_t at_right) {
    return std::tolower(static_cast<unsigned char>(left[at_left])) ==
           std::tolower(static_cast<unsigned char>(right[at_right]));
  };
  for (std::size_t column = 0; column <= right.size(); ++column) row[column] = column;
  for (std::size_t line = 1; line <= left.size(); ++line) {
    before.swap(last);
    last.swap(row);
    row[0] = line;
    for (std::size_t column = 1; column <= right.size(); ++column) {
      const std::size_t cost = is_equal(line - 1, column - 1) ? 0 : 1;
      row[column] = std::min({row[column - 1] + 1, last[column] + 1, last[column - 1] + cost});
      const bool is_exchange =
          line > 1 && column > 1 && is_equal(line - 1, column - 2) && is_equal(line - 2, column - 1);
      if (is_exchange) row[column] = std::min(row[column], before[column - 2] + 1);
    }
  }
  return row[right.size()];
}

std::optional<std::string> NearestName(std::string_view name, const std::vector<std::string>& candidates) {
  constexpr std::size_t kNameBytesMax = 200;  // The table grows with the product.
  if (name.empty() || name.size() > kNameBytesMax) return std::nullopt;
  std::size_t best = std::max<std::size_t>(1, name.size() / 3) + 1;
  std::optional<std::string> nearest;
  for (const std::string& candidate : candidates) {
    if (candidate.size() > kNameBytesMax) continue;
    const std::size_t distance = EditDistance(name, candidate);
    // One letter for another says nothing about names of one or two letters.
    if (distance >= best || distance >= candidate.size() || distance >= name.size()) continue;
    best = distance;
    nearest = candidate;
  }
  return nearest;
}

ErrorHint ExplainSqlError(std::string_view sql, std::string_view message, const DatabaseNames& names) {
  ErrorHint hint;
  const std::vector<SqlToken> tokens = TokenizeSql(sql);
  const Suspect suspect = SuspectOf(message);
  hint.place = ErrorPlace(sql, message);
  if (hint.place.empty() && suspect.kind == Suspect::Kind::kEnd && !tokens.empty()) {
    hint.place = PlaceAt(sql, tokens.back().end);
  }
  if (hint.place.empty() && !suspect.name.empty()) hint.place = PlaceAt(sql, TokenPlace(tokens, suspect));
  hint.message = std::string(message) + HintFor(suspect, tokens, names) + KeywordHint(message);
  return hint;
}

}  // namespace foreshore::cli
