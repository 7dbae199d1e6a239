// The sides of bench_store: Foreshore on one of its backends, and a plain SQLite table with a JSON text column.
//
// Both get the same documents, the same page cache, write-ahead log, checkpoint interval and synchronous setting, and
// prepare their statements once.
//
// Threads: one.
#pragma once

#include <cstdint>
#include <memory>
#include <span>
#include <string>
#include <string_view>

#include "foreshore/storage_options.h"

namespace foreshore {

inline constexpr std::uint64_t kBenchCacheBytes = 16ULL << 20;
inline constexpr std::uint64_t kBenchCheckpointBytes = 4ULL << 20;

struct BenchDocument {
  std::string id;
  std::string body;
};

struct QueryAnswer {
  std::int64_t rows = 0;
  std::int64_t sum = 0;  // Of what the query returns: numbers, or bytes of text.
  friend bool operator==(const QueryAnswer&, const QueryAnswer&) = default;
};

enum class BenchQuery : std::uint8_t { kPoint, kRange, kRangeFetched, kSumOfNumber, kSumOfTextLength, kGroups };

// Every failure ends the process with a message.
class StoreSide {
 public:
  virtual ~StoreSide() = default;  // Closes, with everything moved out of the write-ahead log.
  virtual std::string name() const = 0;
  // One durable transaction.
  virtual void Import(std::span<const BenchDocument> documents) = 0;
  virtual void PutOne(const BenchDocument& document) = 0;
  // By the way that is natural to the side, in a snapshot of its own. The body is copied out.
  virtual void Get(const std::string& id, std::string& body) = 0;
  // A prepared statement in a snapshot of its own, stepped to the end. `low` and `high` bound kRange's sizes; `id` is
  // kPoint's.
  virtual QueryAnswer Run(BenchQuery query, std::int64_t low, std::int64_t high, const std::string& id) = 0;
};

// In `folder`, which must be empty. With `indexed`, indexes over "section" and "size".
std::unique_ptr<StoreSide> OpenForeshore(const std::string& folder, StorageKind storage, bool indexed);
std::unique_ptr<StoreSide> OpenPlainSqlite(const std::string& folder, bool indexed);

}  // namespace foreshore
