// The contract that both storage backends keep: ordered keyspaces, one writer, many snapshot readers.
//
// Keyspaces are of two kinds. Integer keyspaces (document bodies, vectors, the change log) map an int64 to a
// value of any size; in SQLite they are rowid tables. Byte keyspaces (index entries, catalogue) map short keys to
// short values, together under kEntryBytesMax; in SQLite they are WITHOUT ROWID tables, where large values would triple
// the file.
//
// Invariants: a WriteTxn's changes become visible together, at Commit, or never. A ReadTxn sees the last commit
// before it began, however long it lives. After Commit returned ok under Durability::kFull the changes survive a
// power cut; under kNormal they survive the death of the process.
//
// Threads: a Store may be used from any thread. A transaction and its cursors belong to one thread at a time.
#pragma once

#include <chrono>
#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "foreshore/bytes.h"
#include "foreshore/status.h"
#include "foreshore/storage_options.h"

namespace foreshore {

enum class KeyspaceKind : std::uint8_t { kInteger = 1, kBytes = 2 };  // Stored: never renumber.

// Identifies a keyspace for the life of one open Store; not stored.
using KeyspaceId = std::uint32_t;

struct KeyspaceInfo {
  std::string name;  // Letters, digits, '_' and '.', at most 64.
  KeyspaceKind kind;
};

// Key and value together in a byte keyspace: a document id of 255 bytes, a path of 512 and their frame fit.
inline constexpr std::size_t kEntryBytesMax = 4096;
// A value in an integer keyspace; larger content belongs into a blob.
inline constexpr std::size_t kValueBytesMax = 64ULL << 20;

// Moves over one keyspace in key order, in the state its transaction sees. After the transaction wrote to the
// keyspace, position the cursor anew before reading it.
// Lifetime: key and value live until the cursor's next move. The cursor must go before its transaction.
class Cursor {
 public:
  virtual ~Cursor() = default;

  virtual Status SeekFirst() = 0;
  virtual Status SeekLast() = 0;
  // The first entry whose key is >= `key`.
  virtual Status Seek(std::int64_t key) = 0;
  virtual Status Seek(Bytes key) = 0;
  // The last entry whose key is <= `key`.
  virtual Status SeekBackward(std::int64_t key) = 0;
  virtual Status SeekBackward(Bytes key) = 0;
  // Only while valid(); past either end the cursor becomes invalid.
  virtual Status Next() = 0;
  virtual Status Previous() = 0;

  virtual bool valid() const = 0;
  virtual std::int64_t integer_key() const = 0;  // Integer keyspaces only.
  virtual Bytes bytes_key() const = 0;           // Byte keyspaces only.
  virtual Bytes value() const = 0;
};

class ReadTxn {
 public:
  virtual ~ReadTxn() = default;

  // The value, or nullopt where there is none. Lives until the next call on this transaction.
  virtual Result<std::optional<Bytes>> Get(KeyspaceId keyspace, std::int64_t key) = 0;
  virtual Result<std::optional<Bytes>> Get(KeyspaceId keyspace, Bytes key) = 0;
  virtual Result<std::unique_ptr<Cursor>> NewCursor(KeyspaceId keyspace) = 0;
};

// Reads see the transaction's own writes. Rolls back unless Commit() returned ok; after a failed Commit nothing of
// it is in the store (kIo and kNoSpace included). After Commit the object is only good for destruction, and another
// writer may begin, unless cursors of this one are still open.
// Errors: kLimit and kInvalidArgument refuse the one call and change nothing; any other failed write dooms the
// transaction, and every later write and Commit returns the same error.
class WriteTxn : public ReadTxn {
 public:
  virtual Status Put(KeyspaceId keyspace, std::int64_t key, Bytes value) = 0;
  virtual Status Put(KeyspaceId keyspace, Bytes key, Bytes value) = 0;
  virtual Status Delete(KeyspaceId keyspace, std::int64_t key) = 0;  // Absent keys are ok.
  virtual Status Delete(KeyspaceId keyspace, Bytes key) = 0;

  // Savepoints nest: each call below is about the one made last that was not released. kInvalidArgument where there is
  // none. Commit keeps the writes of every savepoint.
  virtual Status MakeSavepoint() = 0;
  // Undoes what was written since, and keeps the savepoint. Cursors have to be positioned anew, in every keyspace.
  virtual Status RollbackToSavepoint() = 0;
  // Forgets the savepoint and keeps what was written since.
  virtual Status ReleaseSavepoint() = 0;

  virtual Status Commit() = 0;
};

struct StoreStats {
  std::uint64_t disk_bytes = 0;  // All files, the write-ahead log included.
  std::uint64_t write_ahead_bytes = 0;
  std::uint64_t open_reader_count = 0;
  std::int64_t oldest_reader_age_ms = 0;
  std::uint64_t memory_bytes = 0;  // RocksDB: what StoreOptions::cache_bytes is to hold. SQLite does not tell: 0.
};

struct StoreOptions {
  Durability durability = Durability::kFull;
  bool create = false;  // kNotFound where there is none and this is false.
  // The memory budget: SQLite's page caches, or RocksDB's blocks, indexes, filters and write buffers together (there at
  // least 8 MiB; readers that stay open may pin more).
  std::uint64_t cache_bytes = 16ULL << 20;
  // How far SQLite's write-ahead log grows before a commit moves it into the main file. More makes commits cheaper and
  // opening after a crash slower. (RocksDB goes by its write buffers.)
  std::uint64_t checkpoint_bytes = 4ULL << 20;
  std::string sqlite_vfs;  // For tests: the name of a registered SQLite VFS; empty for the system's own.
};

class Store {
 public:
  virtual ~Store() = default;

  virtual StorageKind kind() const = 0;

  // Opens the keyspace and creates it, durably and at once, where it is missing. kInvalidArgument where it exists
  // with the other kind. Must not be called by a thread that has a WriteTxn open on this store.
  virtual Result<KeyspaceId> OpenKeyspace(const std::string& name, KeyspaceKind kind) = 0;
  // Removes it and its content at once; kNotFound where there is none. Open ReadTxns may fail on it afterwards.
  virtual Status DropKeyspace(const std::string& name) = 0;
  virtual Result<std::vector<KeyspaceInfo>> ListKeyspaces() = 0;

  virtual Result<std::unique_ptr<ReadTxn>> BeginRead() = 0;
  // Waits for the current writer; kBusy after `timeout`.
  virtual Result<std::unique_ptr<WriteTxn>> BeginWrite(
      std::chrono::milliseconds timeout = std::chrono::milliseconds(5000)) = 0;

  // Moves what is in the write-ahead log into the main file, so that opening is quick and the log small.
  virtual Status Checkpoint() = 0;
  // Gives unused space back to the file system.
  virtual Status Compact() = 0;
  // The backend's own full check of its files. kCorruption says what is wrong first.
  virtual Status Verify() = 0;
  // A consistent copy of the last commit at `path` (a file for SQLite, a directory for RocksDB), while in use.
  virtual Status Backup(const std::string& path) = 0;
  virtual StoreStats Stats() = 0;
};

// `path` is a file. Implemented in sqlite_store.cc.
Result<std::unique_ptr<Store>> OpenSqliteStore(const std::string& path, const StoreOptions& options);
// `path` is a directory. kUnsupported in a build without RocksDB. Implemented in rocksdb_store.cc.
Result<std::unique_ptr<Store>> OpenRocksdbStore(const std::string& path, const StoreOptions& options);

}  // namespace foreshore
