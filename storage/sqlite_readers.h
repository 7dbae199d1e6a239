// The connections that read a SQLite store, and the snapshots that stay open between two readers.
//
// Opening a snapshot costs more than a look-up in it. So a reader that ends leaves its snapshot open with its idle
// connection, and the next reader takes it as it is, provided that no writer has come meanwhile. A writer that enters
// ends all idle snapshots first, and while it is inside none is kept: an idle snapshot never holds back a checkpoint,
// and a reader always sees the last commit before it began.
//
// Half of the store's cache is shared among the readers there are.
//
// Internal to storage/. Threads: safe from any thread; a connection given out belongs to who took it.
#pragma once

#include <chrono>
#include <cstdint>
#include <memory>
#include <mutex>
#include <string>
#include <vector>

#include "storage/sqlite_connection.h"
#include "storage/store.h"

namespace foreshore {

class SqliteReaders {
 public:
  SqliteReaders(const std::string& path, const StoreOptions& options, const SqliteKeyspaces& keyspaces)
      : path_(path), options_(options), keyspaces_(keyspaces) {
    idle_.reserve(kIdleReadersMax);  // So that returning a reader needs no memory.
  }
  ~SqliteReaders();
  SqliteReaders(const SqliteReaders&) = delete;
  SqliteReaders& operator=(const SqliteReaders&) = delete;

  // A connection inside a read transaction that sees the last commit.
  Result<SqliteConnection*> TakeWithSnapshot();
  // A connection outside a transaction.
  Result<SqliteConnection*> Take();
  // Either of them. Not `is_sound` after an error: the transaction is ended and not used again.
  void Return(SqliteConnection* connection, bool is_sound);

  // Around everything that may write to the store or move its log.
  void WriterEnters();
  void WriterLeaves();

  std::size_t open_count() const;
  std::chrono::steady_clock::duration OldestAge() const;

 private:
  static constexpr std::size_t kIdleReadersMax = 4;
  struct Reader {
    std::unique_ptr<SqliteConnection> connection;
    std::chrono::steady_clock::time_point begun;
    // writer_count_ when its snapshot was taken; 0: it has none, or one that was taken beside a writer.
    std::uint64_t snapshot = 0;
  };
  std::uint64_t ShareBytes(std::size_t reader_count) const;

  const std::string& path_;
  const StoreOptions& options_;
  const SqliteKeyspaces& keyspaces_;

  mutable std::mutex mutex_;
  std::vector<Reader> idle_;        // Guarded by mutex_. The last one returned is at the end: its cache is the warmest.
  std::vector<Reader> open_;        // Guarded by mutex_.
  std::uint64_t writer_count_ = 1;  // Guarded by mutex_. Of writers that ever entered.
  bool has_writer_ = false;         // Guarded by mutex_.
};

}  // namespace foreshore
