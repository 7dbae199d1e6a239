// The file behind full-text search: an SQLite database with one FTS5 table per index, content included, and the
// change-log sequence that it has reached, which moves in the same transaction as the rows.
//
// Everything in it is derived. It is written without a sync per commit: a power cut takes it back to an earlier
// transaction, whose sequence says where to go on.
//
// Threads: Pin and the snapshots it gives are safe from any thread, one thread to a snapshot at a time; the writing
// functions need a caller that lets in one at a time. Lifetime: snapshots keep the file alive; cursors go before their
// snapshot.
#pragma once

#include <cstdint>
#include <functional>
#include <map>
#include <memory>
#include <mutex>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <variant>
#include <vector>

#include "foreshore/status.h"
#include "foreshore/text_index.h"

namespace foreshore {

class FullTextConnection;

struct TextTable {
  std::uint32_t id = 0;
  TextIndexOptions options;
};

struct TextQuery {
  std::string match;                  // FTS5's query language.
  std::string column;                 // Only in this field; empty: in all.
  std::string rank;                   // How to rank, such as "bm25(10.0, 1.0)"; empty: bm25().
  std::optional<std::int64_t> docid;  // Only this document.
  bool is_ordered = false;            // Best first; otherwise by docid.
  bool with_rank = false;
};

struct TextMatch {
  std::int64_t docid = 0;
  double rank = 0;  // Lower is better. 0 where it was not asked for.
};

class TextMatchCursor {
 public:
  virtual ~TextMatchCursor() = default;
  virtual Result<std::optional<TextMatch>> Next() = 0;
};

using TextArgument = std::variant<std::int64_t, std::string>;

// Where the filling of a table for documents that were there before it has come to.
struct TextTableState {
  std::int64_t filled_to = INT64_MIN;  // The first docid that was not met yet.
  bool is_filled = false;
  std::uint64_t row_count = 0;
};

// One state of the file.
class TextSnapshot {
 public:
  virtual ~TextSnapshot() = default;
  // What the file had reached.
  virtual std::int64_t sequence() const = 0;
  // nullopt where the table is not there or was made with other options.
  virtual Result<std::optional<TextTableState>> State(const TextTable& table) = 0;
  // kInvalidArgument where `query.match` is malformed, from here or from the cursor's first step.
  virtual Result<std::unique_ptr<TextMatchCursor>> Match(const TextTable& table, const TextQuery& query) = 0;
  // FTS5's snippet or highlight of one matching document; nullopt where it does not match.
  virtual Result<std::optional<std::string>> Excerpt(const TextTable& table, const TextQuery& query, std::int64_t docid,
                                                     std::string_view function,
                                                     std::span<const TextArgument> arguments) = 0;
  // Calls `visit` for each row of the table in docid order, with a text per field.
  virtual Status VisitRows(const TextTable& table,
                           const std::function<Status(std::int64_t, std::span<const std::string_view>)>& visit) = 0;
};

struct FullTextFileOptions {
  std::uint64_t cache_bytes = 4ULL << 20;  // The writer's; each reader has a quarter of it.
  std::string sqlite_vfs;                  // For tests; empty for the system's own.
};

class FullTextFile : public std::enable_shared_from_this<FullTextFile> {
 public:
  // Opens the file, or makes it where there is none. kConflict where it is of another lineage (the store's history),
  // kUnsupported of another version, kCorruption where it is damaged: then Remove it and open again.
  static Result<std::shared_ptr<FullTextFile>> Open(const std::string& path, const std::string& lineage,
                                                    const FullTextFileOptions& options);
  static Status Remove(const std::string& path);
  ~FullTextFile();
  FullTextFile(const FullTextFile&) = delete;
  FullTextFile& operator=(const FullTextFile&) = delete;

  Result<std::unique_ptr<TextSnapshot>> Pin();
  const std::string& path() const { return path_; }

  // Writing. Everything between Begin and Commit happens together.
  Status Begin();
  Status Commit();
  void Rollback();
  bool in_transaction() const;
  Result<std::int64_t> ReadSequence();  // 0 in a new file.
  Status WriteSequence(std::int64_t sequence);
  Status CreateTable(const TextTable& table);
  Status DropTable(std::uint32_t id);
  Result<std::vector<std::uint32_t>> ListTables();
  Status WriteTableState(std::uint32_t id, const TextTableState& state);
  // `columns` has a text per field; all empty: the document leaves the table. Returns by how much the number of rows
  // changed.
  Result<int> Upsert(const TextTable& table, std::int64_t docid, std::span<const std::string> columns);
  // What the writer sees, uncommitted rows included. Goes before the next writing call.
  std::unique_ptr<TextSnapshot> WriterSnapshot(std::int64_t sequence);

  // Moves the log into the file, synced. False where a reader held something back.
  Result<bool> Checkpoint();
  // SQLite's and FTS5's own checks. kCorruption says what is wrong.
  Status CheckIntegrity();
  std::uint64_t SizeBytes() const;

 private:
  friend class PinnedTextSnapshot;
  FullTextFile(std::string path, FullTextFileOptions options);
  Status OpenWriter(const std::string& lineage);
  void GiveBack(std::unique_ptr<FullTextConnection> connection);

  std::string path_;
  FullTextFileOptions options_;
  std::unique_ptr<FullTextConnection> writer_;
  std::mutex idle_mutex_;
  std::vector<std::unique_ptr<FullTextConnection>> idle_;  // Guarded by idle_mutex_: readers between two uses.
};

// Whether FTS5 takes these options; kInvalidArgument says what it does not like.
Status CheckTextIndexOptions(const std::string& name, const TextIndexOptions& options);

}  // namespace foreshore
