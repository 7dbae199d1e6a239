// The k nearest documents that match a condition written in SQL: what Database::Search runs.
#pragma once

#include <span>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "engine/query/sql_session.h"
#include "foreshore/database.h"

namespace foreshore {

// kInvalidArgument where `expression` is not one balanced piece of SQL: a semicolon, a parenthesis that closes what it
// did not open, an open string, name or comment, or a parameter.
Status CheckWhereExpression(std::string_view expression);

// What is searched for: a vector, or a text that the statement embeds in its own snapshot, so that it is compared with
// vectors of the same weights.
struct SearchQuery {
  SearchQuery(std::span<const float> given) : vector(given.begin(), given.end()) {}
  SearchQuery(const std::vector<float>& given) : vector(given) {}
  SearchQuery(std::string model_name, std::string adapter_name, std::string query_text)
      : model(std::move(model_name)), adapter(std::move(adapter_name)), text(std::move(query_text)) {}
  std::vector<float> vector;
  std::string model;  // Empty: the vector counts.
  std::string adapter;
  std::string text;
};

// The nearest `k` documents of the collection by the vector field, in increasing distance, that fulfil `where` (a SQL
// expression over the collection's columns; empty: all). The expression can read whatever SQL can, and change nothing.
// Threads: safe from any thread.
Result<std::vector<SearchHit>> SearchSql(SqlSessions& sessions, const std::string& collection, const std::string& field,
                                         const SearchQuery& query, std::size_t k, const std::string& where);
// The best `k` by full text; `match` is FTS5's query language.
Result<std::vector<SearchHit>> SearchTextSql(SqlSessions& sessions, const std::string& collection,
                                             const std::string& match, std::size_t k, const std::string& where);
// The best `k` by both, fused.
Result<std::vector<SearchHit>> SearchHybridSql(SqlSessions& sessions, const std::string& collection,
                                               const std::string& match, const std::string& field,
                                               const SearchQuery& query, std::size_t k, const std::string& where);

}  // namespace foreshore
