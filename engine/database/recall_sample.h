// What searches of a vector index find of what they should: recall@10, measured now and then in the background by a few
// queries, each compared with an exact scan.
//
// The queries are real ones where enough came lately (QueryReservoir), else stored vectors, each without itself. Stored
// vectors are easier to find than queries that are unlike them, so that what was used is told with the result.
//
// Threads: as each class says.
#pragma once

#include <cstdint>
#include <memory>
#include <mutex>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include "engine/database/catalog.h"
#include "foreshore/bytes.h"
#include "foreshore/status.h"
#include "index/vector_index.h"
#include "storage/store.h"

namespace foreshore {

class DatabaseCore;
class DerivedVectorIndex;

inline constexpr std::size_t kRecallNeighbours = 10;
// So many recent queries stand for what will be asked; below that, stored vectors do.
inline constexpr std::size_t kRecentQueriesMin = 16;

struct RecallQuery {
  std::vector<float> values;
  std::int64_t itself = -1;  // The document that it is the vector of; -1: of none.
};

struct RecallPoint {
  std::uint32_t ef = 0;
  double recall = 0;
};

struct RecallSample {
  std::uint32_t ef = 0;  // What a search for ten kept when it was taken; 0: none was taken.
  double recall = 0;     // With that.
  std::uint32_t query_count = 0;
  bool is_of_recent_queries = false;
  std::int64_t taken_unix_ms = 0;
  std::uint64_t entry_count = 0;    // Of the index then.
  std::vector<RecallPoint> points;  // Ascending by ef: narrower and wider searches of the same queries.

  // For a search that keeps `ef`: between the two nearest points, on a logarithmic scale. 0 where none was taken.
  double EstimateAt(std::size_t ef) const;
  // Such as "0.943 sampled at ef=96 by 32 recent queries, 5 s ago".
  std::string Describe(std::int64_t now_unix_ms) const;
  ByteString Encode() const;
  // kCorruption where the bytes are not such.
  static Result<RecallSample> Decode(Bytes bytes);
};

// The last queries, thinned: in memory, bounded, and saved now and then.
//
//   Saved queries, little-endian                code: engine/database/query_reservoir.cc
//     OFFSET SIZE FIELD
//          0    1 version = 1
//          1    2 dimension
//          3    1 query_count, 1..64
//          4    n vector records with fine codes (index/quantizer.h), 8 + 2 * dimension bytes each
//   Reader: another version is kUnsupported; any other mismatch, and another dimension, is kCorruption.
//
// Threads: any.
class QueryReservoir {
 public:
  static constexpr std::size_t kCapacity = 64;
  // Of longer vectors fewer are saved, but never so few that they would not stand for what is asked.
  static constexpr std::size_t kSavedBytesMax = 256 << 10;
  // Keeps all of the first, then about one of 16 in the place of another. Never waits for long and does not fail.
  void Note(std::span<const float> query);
  std::vector<RecallQuery> Copy() const;
  std::size_t size() const;

  // What to save where enough is new since the last call or Restore(): a quarter, or where `is_closing` anything.
  std::optional<ByteString> TakeUnsaved(bool is_closing);
  // Takes what TakeUnsaved() gave, before any Note().
  Status Restore(Bytes saved, std::uint32_t dimension);

 private:
  mutable std::mutex mutex_;
  std::vector<std::vector<float>> queries_;  // Guarded by mutex_, as what follows.
  std::uint64_t noted_count_ = 0;
  std::size_t unsaved_count_ = 0;
};

// Up to `sample_count` vectors of documents at even distances in the order of docids.
Result<std::vector<RecallQuery>> StoredQueries(ReadTxn& txn, const VectorIndexDefinition& index,
                                               std::size_t sample_count);
// The docids of the ten nearest without itself, ascending.
std::vector<std::int64_t> NearestDocids(std::span<const VectorMatch> matches, std::int64_t itself);
// How many of `nearest`, of NearestDocids(), a search of the graph that keeps `ef` candidates finds.
Result<std::size_t> CountFound(const VectorIndex& graph, std::uint64_t sequence, const RecallQuery& query,
                               std::span<const std::int64_t> nearest, std::uint32_t ef);

// Takes samples in slices. Threads: one at a time.
class RecallSampler {
 public:
  explicit RecallSampler(DatabaseCore& core) : core_(core) {}
  // A slice of about `budget_us`, by the core's clock. True: there is more to do at once.
  Result<bool> Step(std::int64_t budget_us);
  // Gives up a sample that is being taken, and the snapshot that it holds: before the database goes.
  void Drop() { run_.reset(); }

 private:
  class Run;
  DatabaseCore& core_;
  std::shared_ptr<Run> run_;  // Shared for its type alone: Run is known in one file.
};

}  // namespace foreshore
