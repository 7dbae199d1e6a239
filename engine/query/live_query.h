// One subscribed statement: what it reads, which changes concern it, its last result.
//
// Threads: one at a time, as the session that it is compiled in. Lifetime: goes before the session's core.
#pragma once

#include <cstdint>
#include <memory>
#include <optional>
#include <set>
#include <string>
#include <unordered_set>
#include <vector>

#include "engine/query/sql_statement.h"
#include "engine/query/statement_reads.h"
#include "foreshore/subscription.h"
#include "storage/change_log.h"

namespace foreshore {

class LiveQuery {
 public:
  // kInvalidArgument for what is no reading statement with a result.
  static Result<std::unique_ptr<LiveQuery>> Prepare(SessionState& session, std::string sql, SqlRow parameters,
                                                    const SubscriptionOptions& options);

  // Keeps in mind that the document, vector or definition changed, where that can matter.
  void NoteChange(const Change& change);
  // The log was cut before it was read: anything may have changed.
  void NoteEverything() { any_changed_ = true; }
  bool is_first() const { return is_first_; }
  bool has_pending() const { return is_first_ || any_changed_ || !changed_docids_.empty(); }

  // What differs between the view and the last result; nullopt for nothing. Forgets what was noted.
  Result<std::optional<ResultChanges>> Evaluate(ReadView& view);

  std::uint64_t run_count() const { return run_count_; }

 private:
  LiveQuery(SessionState& session, std::string sql, SqlRow parameters, const SubscriptionOptions& options)
      : session_(session), sql_(std::move(sql)), parameters_(std::move(parameters)), options_(options) {}
  Status Compile();
  void FindReads(const StatementReads& reads);
  void FindKeyColumns();
  Result<bool> CanMatter(ReadView& view);
  Result<std::vector<SqlRow>> Run(ReadView& view);
  void NoteResultIds();

  SessionState& session_;
  std::string sql_;
  SqlRow parameters_;
  SubscriptionOptions options_;

  std::unique_ptr<SqlStatement> statement_;
  std::uint64_t catalog_version_ = 0;           // That the statement was compiled against.
  bool reads_everything_ = false;               // It reads a table that is no collection.
  std::set<std::uint32_t> collections_;         // Ids of those that it reads.
  std::set<std::uint32_t> vector_collections_;  // Of these, those of which it reads vectors.
  std::vector<std::size_t> key_columns_;
  bool is_single_table_ = true;  // Until a run opened other than one cursor.
  bool is_row_wise_ = false;     // A row of the result depends on one document.

  bool is_first_ = true;
  bool any_changed_ = false;
  std::set<std::int64_t> changed_docids_;  // Only while any_changed_ is false.
  std::vector<std::string> columns_;
  std::vector<SqlRow> rows_;
  std::unordered_set<std::string> result_ids_;  // Where it is row-wise.
  std::uint64_t run_count_ = 0;
};

}  // namespace foreshore
