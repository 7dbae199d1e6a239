// How a database is opened.
#pragma once

#include <chrono>
#include <cstdint>

#include "foreshore/storage_options.h"

namespace foreshore {

// Who deletes documents that have expired. Where several devices sync, only one of them may (kAlways: the replica that
// runs beside the gateway), so that an extension made elsewhere meanwhile wins; the others only hide them.
enum class ExpiryPurge : std::uint8_t {
  kWhenAlone = 1,  // While this database has never synced.
  kAlways = 2,
  kNever = 3,
};

struct DatabaseOptions {
  bool create = false;                         // Make the directory where there is none.
  StorageKind storage = StorageKind::kSqlite;  // Used at creation; an existing database keeps its own.
  Durability durability = Durability::kFull;
  // The store's memory budget: page caches of SQLite; blocks, indexes, filters and write buffers of RocksDB together,
  // there at least 8 MiB. Vector indexes, models and full text come on top.
  std::uint64_t cache_bytes = 16ULL << 20;
  // What each vector index may keep in memory of its own; 0: as much as it takes. An index that grows beyond is written
  // out, while no reader is behind, and goes on over its file, which is mapped: what it reads of that comes and goes
  // as the system has memory to spare. While a third of it is deleted and it is made anew, what is made counts too.
  std::uint64_t vector_memory_bytes = 0;
  unsigned inference_thread_count = 1;  // Threads that models may use together, the caller's included; at most 1024.
  ExpiryPurge expiry_purge = ExpiryPurge::kWhenAlone;
  std::chrono::milliseconds expiry_grace = std::chrono::hours(7 * 24);  // From expiry to deletion: at least this.
  bool embed_in_background = true;  // False: vectors are filled only inside WaitEmbedded, predictions in WaitIndexed.
  bool index_in_background = true;  // False: indexes are built only inside WaitIndexed.
};

}  // namespace foreshore
