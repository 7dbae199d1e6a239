// The directory of one database: which storage it has, its lock and its identity.
//
//   FORMAT     "foreshore 1 sqlite\n" or "foreshore 1 rocksdb\n"; written last at creation, after the empty store,
//              so that a directory without it is not a database and a database without its store is damaged
//   LOCK       flock, plus a registry inside the process; holds the owner's pid and program for the error message
//   INSTANCE   replica identity and open count, kept outside the store: a store that was restored from a backup
//              disagrees with it and is noticed
//   store.db or store/, blobs/, index/
//
// Threads: Open is safe from any thread; the object does not change afterwards.
#pragma once

#include <array>
#include <cstdint>
#include <memory>
#include <optional>
#include <string>

#include "foreshore/status.h"
#include "storage/base/clock.h"
#include "storage/store.h"

namespace foreshore {

using ReplicaId = std::array<std::uint8_t, 16>;

// What INSTANCE holds. The same epoch is written into the store at every open; after a restore of the
// store alone the two differ, and the engine forks the identity.
struct InstanceRecord {
  ReplicaId replica{};
  std::uint64_t epoch = 0;  // Grows by one at every open for writing.
};

class DatabaseDirectory {
 public:
  // Takes the lock, kBusy names the holder. Where `create` and there is no database, makes the directory, FORMAT
  // and a fresh INSTANCE. kNotFound where there is none and not `create`; kUnsupported for a FORMAT from the future;
  // kInvalidArgument where `create` asks for another storage kind than the one there, or the directory holds
  // something else.
  static Result<std::unique_ptr<DatabaseDirectory>> Open(const std::string& path, bool create,
                                                         StorageKind kind_if_created, Random& random);
  ~DatabaseDirectory();  // Releases the lock.
  DatabaseDirectory(const DatabaseDirectory&) = delete;
  DatabaseDirectory& operator=(const DatabaseDirectory&) = delete;

  const std::string& path() const { return path_; }
  StorageKind storage_kind() const { return storage_kind_; }
  bool created() const { return created_; }
  std::string StorePath() const;  // store.db or store
  std::string BlobsPath() const { return path_ + "/blobs"; }
  std::string IndexPath() const { return path_ + "/index"; }

  // kCorruption where the file is damaged (crc). nullopt where it is missing (a copy made without it).
  Result<std::optional<InstanceRecord>> ReadInstance() const;
  Status WriteInstance(const InstanceRecord& record) const;  // Atomic and durable.

  // Opens the store this directory holds; options.create is ignored. kCorruption where the store is missing.
  Result<std::unique_ptr<Store>> OpenStore(const StoreOptions& options) const;

 private:
  DatabaseDirectory(std::string path, StorageKind kind) : path_(std::move(path)), storage_kind_(kind) {}
  Status Create(Random& random);

  std::string path_;
  int lock_descriptor_ = -1;
  StorageKind storage_kind_;
  bool created_ = false;
};

}  // namespace foreshore
