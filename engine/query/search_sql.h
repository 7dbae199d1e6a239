// The k nearest documents that match a condition written in SQL: what Database::Search runs.
#pragma once

#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "engine/query/sql_session.h"
#include "foreshore/database.h"

namespace foreshore {

// kInvalidArgument where `expression` is not one balanced piece of SQL: a semicolon, a parenthesis that closes what it
// did not open, an open string, name or comment, or a parameter.
Status CheckWhereExpression(std::string_view expression);

// The nearest `k` documents of the collection by the vector field, in increasing distance, that fulfil `where` (a SQL
// expression over the collection's columns; empty: all). The expression can read whatever SQL can, and change nothing.
// Threads: safe from any thread.
Result<std::vector<SearchHit>> SearchSql(SqlSessions& sessions, const std::string& collection, const std::string& field,
                                         std::span<const float> query, std::size_t k, const std::string& where);
// The best `k` by full text; `match` is FTS5's query language.
Result<std::vector<SearchHit>> SearchTextSql(SqlSessions& sessions, const std::string& collection,
                                             const std::string& match, std::size_t k, const std::string& where);
// The best `k` by both, fused.
Result<std::vector<SearchHit>> SearchHybridSql(SqlSessions& sessions, const std::string& collection,
                                               const std::string& match, const std::string& field,
                                               std::span<const float> query, std::size_t k, const std::string& where);

}  // namespace foreshore
