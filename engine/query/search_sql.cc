#include "engine/query/search_sql.h"

#include "engine/query/collection_table.h"
#include "engine/query/vector_argument.h"

namespace foreshore {

namespace {

// Skips what may hold any character: strings, quoted names and comments. Says what was left open.
class ExpressionReader {
 public:
  explicit ExpressionReader(std::string_view text) : text_(text) {}

  Status Check() {
    for (; at_ < text_.size(); ++at_) {
      const char c = text_[at_];
      switch (c) {
        case '\'':
        case '"':
        case '`': FORESHORE_RETURN_IF_ERROR(SkipTo(std::string(1, c), "a quote")); break;
        case '[': FORESHORE_RETURN_IF_ERROR(SkipTo("]", "a bracket")); break;
        case '-':
          // A comment of this kind ends with its line; the end of the text is one.
          if (Follows('-')) at_ = std::min(text_.find('\n', at_), text_.size());
          break;
        case '/':
          if (Follows('*')) {
            ++at_;
            FORESHORE_RETURN_IF_ERROR(SkipTo("*/", "a comment"));
          }
          break;
        case '(': ++depth_; break;
        case ')':
          if (depth_-- == 0) return Wrong("a parenthesis closes what was not opened");
          break;
        case ';': return Wrong("a semicolon");
        case '?':
        case ':':
        case '@':
        case '$':
        case '#': return Wrong("a parameter");
        case '\0': return Wrong("a zero byte");
        default: break;
      }
    }
    return depth_ == 0 ? Status::Ok() : Wrong("a parenthesis is left open");
  }

 private:
  bool Follows(char c) const { return at_ + 1 < text_.size() && text_[at_ + 1] == c; }
  // A doubled quote inside a string ends it and begins the next, which comes to the same.
  Status SkipTo(std::string_view end, const std::string& what) {
    const std::size_t found = text_.find(end, at_ + 1);
    if (found == std::string_view::npos) return Wrong(what + " is left open");
    at_ = found + end.size() - 1;
    return Status::Ok();
  }
  Status Wrong(const std::string& what) const {
    return Status::InvalidArgument("where: " + what + " at byte " + std::to_string(at_) +
                                   ", expected one SQL expression");
  }

  std::string_view text_;
  std::size_t at_ = 0;
  std::size_t depth_ = 0;
};

}  // namespace

Status CheckWhereExpression(std::string_view expression) {
  return ExpressionReader(expression).Check();
}

namespace {

// The vector as an expression over parameters, which are added to `parameters`.
std::string VectorTerm(const SearchQuery& query, std::vector<SqlValue>& parameters) {
  const auto add = [&](SqlValue value) {
    parameters.push_back(std::move(value));
    return "?" + std::to_string(parameters.size());
  };
  if (query.model.empty()) return add(SqlBlob{BlobFromVector(query.vector)});
  const std::string model = add(query.model);
  const std::string text = add(query.text);
  return "embed(" + model + ", " + text + ", " + add(query.adapter) + ")";
}

// `match` is a term of the collection with ?1 and what follows as `parameters`.
Result<std::vector<SearchHit>> RunSearch(SqlSessions& sessions, const std::string& collection, const std::string& score,
                                         const std::string& match, const std::string& order,
                                         const std::vector<SqlValue>& parameters, std::size_t k,
                                         const std::string& where) {
  FORESHORE_RETURN_IF_ERROR(CheckWhereExpression(where));
  std::string sql = "SELECT id, distance, body, " + score + " FROM " + QuoteIdentifier(collection) + " WHERE " + match;
  // The line break ends a comment at the end of the expression.
  if (where.find_first_not_of(" \t\r\n") != std::string::npos) sql += " AND (" + where + "\n)";
  sql += " ORDER BY " + order + " LIMIT " + std::to_string(std::min<std::size_t>(k, INT64_MAX));
  FORESHORE_ASSIGN_OR_RETURN(const auto statement, sessions.Prepare(sql));
  for (std::size_t i = 0; i < parameters.size(); ++i) {
    FORESHORE_RETURN_IF_ERROR(statement->Bind(static_cast<int>(i) + 1, parameters[i]));
  }
  std::vector<SearchHit> hits;
  while (true) {
    FORESHORE_ASSIGN_OR_RETURN(const bool has_row, statement->Step());
    if (!has_row) return hits;
    SearchHit hit;
    const SqlValue id = statement->Column(0);
    const SqlValue distance = statement->Column(1);
    const SqlValue body = statement->Column(2);
    const SqlValue score_value = statement->Column(3);
    if (const auto* text = std::get_if<std::string>(&id)) hit.id = *text;
    if (const auto* number = std::get_if<double>(&distance)) hit.distance = *number;
    if (const auto* text = std::get_if<std::string>(&body)) hit.body = *text;
    if (const auto* number = std::get_if<double>(&score_value)) hit.score = *number;
    hits.push_back(std::move(hit));
  }
}

}  // namespace

Result<std::vector<SearchHit>> SearchSql(SqlSessions& sessions, const std::string& collection, const std::string& field,
                                         const SearchQuery& query, std::size_t k, const std::string& where) {
  std::vector<SqlValue> parameters;
  const std::string vector = VectorTerm(query, parameters);
  return RunSearch(sessions, collection, "NULL", QuoteIdentifier(field) + " MATCH " + vector, "distance", parameters, k,
                   where);
}

Result<std::vector<SearchHit>> SearchTextSql(SqlSessions& sessions, const std::string& collection,
                                             const std::string& match, std::size_t k, const std::string& where) {
  return RunSearch(sessions, collection, "-rank", QuoteIdentifier(collection) + " MATCH ?1", "rank", {match}, k, where);
}

Result<std::vector<SearchHit>> SearchHybridSql(SqlSessions& sessions, const std::string& collection,
                                               const std::string& match, const std::string& field,
                                               const SearchQuery& query, std::size_t k, const std::string& where) {
  std::vector<SqlValue> parameters{match, field};
  const std::string vector = VectorTerm(query, parameters);
  return RunSearch(sessions, collection, "score", QuoteIdentifier(collection) + " MATCH hybrid(?1, " + vector + ", ?2)",
                   "score DESC", parameters, k, where);
}

}  // namespace foreshore
