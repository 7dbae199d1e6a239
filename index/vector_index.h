// The vector index: approximate nearest neighbours over int8 records, for many readers at once, each in its own
// snapshot. It is derived data: everything in it can be rebuilt from the records in the store.
//
// Time. Every call that changes the index names the change-log sequence it belongs to. An entry is visible to a
// search at snapshot S when born <= S < died; at any S the visible entries of a document are those of one operation:
// one, or several where it has several vectors. Applying the same part of the log again is harmless: an operation older
// than the document's live entries changes nothing.
//
// Threads: every member is safe from any thread. Searches run side by side, and over our own graph beside changes too;
// changes wait for each other. Neither the caller's predicate nor the time between two Next() calls holds a lock.
#pragma once

#include <cstdint>
#include <functional>
#include <limits>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include "foreshore/bytes.h"
#include "foreshore/status.h"
#include "index/vector_filter.h"
#include "index/vector_metric.h"
#include "index/vector_query.h"
#include "storage/base/clock.h"

namespace foreshore {

struct VectorIndexConfig {
  std::string name = "vector index";  // Opens every message, such as: vector index "notes.embedding".
  VectorMetric metric = VectorMetric::kCosine;
  std::uint32_t dimension = 0;  // 2..4096.
  VectorPrecision precision = VectorPrecision::kInt8;
  std::uint32_t links_per_node = 16;    // M of the HNSW paper (Malkov and Yashunin 2016), 4..64.
  std::uint32_t ef_construction = 128;  // Candidates kept while inserting, 8..4096.
  // Up to so many entries a scan of all codes is chosen over the graph.
  std::uint32_t exact_scan_entries_max = 2000;
  VectorGraphKind graph = VectorGraphKind::kFlat;  // Snapshots of either kind are read by both.
  // With VectorPrecision::kInt4 and kInt1, for a new index; a snapshot says itself. See index/small_code.h.
  bool small_codes_centred = true;  // Under L2.
  bool small_codes_rotated = true;
  // What the index may keep in memory of its own before SaveSnapshot() writes it out and goes on over the file: what
  // is mapped from that comes and goes as the system pleases. 0: as much as it takes.
  std::uint64_t memory_bytes_max = 0;
  // Where set, what is read only to put in order what a search found (int8 codes beside those of 4 bits and 1 bit, and
  // fine codes), and under memory_bytes_max what would not fit, lies in unnamed files of this folder instead of memory.
  std::string scratch_folder = {};
};

enum class VectorStrategy : std::uint8_t {
  kAuto = 0,   // The graph, or a scan where the index is small or a filter lets little through.
  kGraph = 1,  // The graph first, whatever the size.
  kExact = 2,  // A scan of every visible code: exact on the codes.
};

struct VectorSearchOptions {
  // Candidates of the first graph search: more finds better and costs more. 1..100,000; below k_hint it is that.
  std::size_t ef = 64;
  std::size_t k_hint = 10;  // How many results the caller will probably take.
  VectorStrategy strategy = VectorStrategy::kAuto;
  // Where set, only documents for which it returns true are yielded. Called once per document at most, nearest
  // first, on the thread of Next() and without a lock; it must not throw.
  std::function<bool(std::int64_t docid)> predicate;
  // The stream ends before what is farther: all within a distance, as far as an approximate search knows.
  double distance_max = std::numeric_limits<double>::infinity();
  // Where set, only these documents are yielded: by a scan of their codes, a walk of two hops over them, or a walk over
  // all, as their number suggests. Whatever is chosen, all of them come. Shared with whoever searches with it again.
  std::shared_ptr<const VectorFilter> among;
};

struct VectorMatch {
  std::int64_t docid = 0;
  double distance = 0;  // See index/vector_metric.h.
  friend bool operator==(const VectorMatch&, const VectorMatch&) = default;
};
// The order of results: equal distances by docid, so that they repeat.
inline bool IsNearer(const VectorMatch& a, const VectorMatch& b) {
  return a.distance != b.distance ? a.distance < b.distance : a.docid < b.docid;
}

// Streams matches nearest first until every visible document that passes the predicate has been yielded, each once,
// with the distance of its nearest vector as far as an approximate search knows. It begins with a graph search, widens
// it as more is asked for, and ends with a scan of what is left; so the order is that of an approximate search: a match
// may come after one that is a little farther, never a second time.
//
// Lifetime: must not outlive its index. Threads: one thread at a time.
class VectorCursor {
 public:
  virtual ~VectorCursor() = default;
  // The next match, or nothing when all were yielded.
  virtual Result<std::optional<VectorMatch>> Next() = 0;
  // What was done so far, such as "hnsw ef=64, then exact scan of 10000 codes".
  virtual std::string strategy() const = 0;
  // For scoring, with identical distances, records that the index does not hold yet.
  virtual const VectorQuery& query() const = 0;
};

// The nearest of several queries by a scan of every code that is visible in a snapshot, which must not be forgotten
// before the scan began. Threads: one thread at a time; changes and searches go on beside it.
class VectorScan {
 public:
  virtual ~VectorScan() = default;
  // Goes on until `budget_us` have passed by the clock's monotonic time. Whether there is more to scan.
  virtual Result<bool> Step(Clock& clock, std::int64_t budget_us) = 0;
  // Nearest first; each document once, with the distance of its nearest vector. Of what was scanned so far.
  virtual const std::vector<VectorMatch>& nearest(std::size_t query) const = 0;
};

// How large a delta may be beside its snapshot. At the end of a session a small one: the next open replays it.
enum class VectorDeltaMax : std::uint8_t { kQuarter = 4, kTwentieth = 20 };

struct VectorUpsert {
  std::int64_t docid = 0;
  Bytes record;  // One of index/quantizer.h.
  std::uint64_t sequence = 0;
  bool is_further = false;  // One more vector of the document of the upsert before it, at the same sequence.
};

// What compaction is at, and did since the index was opened.
struct VectorRepair {
  std::uint64_t done_count = 0;       // Entries of the graph that were looked at, garbage among them,
  std::uint64_t total_count = 0;      // of so many. 0: none is under way.
  std::uint64_t slice_count = 0;      // By CompactSome().
  std::int64_t slice_us_max = 0;      // The longest of them.
  std::int64_t hold_us_max = 0;       // The longest for which one of them kept changes waiting.
  std::uint64_t reclaimed_count = 0;  // Slots that came back.
};

class VectorIndex {
 public:
  virtual ~VectorIndex() = default;

  // The document's vector from `sequence` on; an earlier entry of it dies there. `record` is one of
  // index/quantizer.h. After kInternal (out of memory) the index refuses everything and must be rebuilt.
  virtual Status Upsert(std::int64_t docid, Bytes record, std::uint64_t sequence) = 0;
  // Upsert() of each in turn, the graph's part on up to `thread_count` threads. Where a record is bad, nothing is done.
  // kInvalidArgument where one that is further has another document or sequence than the one before it.
  virtual Status UpsertMany(std::span<const VectorUpsert> upserts, unsigned thread_count) = 0;
  // The document has no vector from `sequence` on. Ok where it had none.
  virtual Status Remove(std::int64_t docid, std::uint64_t sequence) = 0;

  // Says that no search will come at a snapshot below `sequence`: what died by then is garbage. Cheap; the space
  // comes back with Compact().
  virtual void ForgetBefore(std::uint64_t sequence) = 0;
  // Whether garbage is so large a part of the graph that Compact() would pay.
  virtual bool ShouldCompact() const = 0;
  // Rebuilds the graph without its garbage. Searches go on meanwhile, and changes but for moments. Takes about as long
  // as inserting every entry anew, or what CompactSome() has left of it. kBusy while another Compact() runs.
  virtual Status Compact() = 0;
  // The same in slices, where ShouldCompact() or a compaction has begun: returns when `budget_us` have passed by the
  // clock's monotonic time, at the latest one insertion after that, and whether there is more to do. Changes wait for
  // no longer than a slice, searches not at all. What has been done waits in memory for the next slice.
  virtual Result<bool> CompactSome(Clock& clock, std::int64_t budget_us) = 0;
  virtual VectorRepair repair() const = 0;

  // The last change-log sequence that is fully applied, 0 at first. Carried by snapshots.
  virtual std::uint64_t applied_seq() const = 0;
  virtual void SetAppliedSeq(std::uint64_t sequence) = 0;

  // A stream of what is near `query` in the snapshot. The errors of VectorQuery::Prepare().
  virtual Result<std::unique_ptr<VectorCursor>> NewCursor(std::span<const float> query, std::uint64_t snapshot_sequence,
                                                          VectorSearchOptions options) const = 0;
  // For the `count` nearest of each query, exactly. The errors of VectorQuery::Prepare().
  virtual Result<std::unique_ptr<VectorScan>> NewScan(std::span<const std::vector<float>> queries,
                                                      std::uint64_t snapshot_sequence, std::size_t count) const = 0;
  // What NewCursor() would do, with estimates, for EXPLAIN: "hnsw ef=64 over 10000 codes", "exact scan of 812 codes".
  // Without options.among, `among_count` says how many documents it is expected to have.
  virtual std::string DescribeStrategy(const VectorSearchOptions& options,
                                       std::optional<std::size_t> among_count = std::nullopt) const = 0;

  // Makes `path` hold the index, atomically and durably: whole, or where it holds what was loaded from there or saved
  // there last, by adding what changed to a delta beside it (docs/file-format-index.md), which may grow to a part of
  // the snapshot. Changes wait until it is written, searches do not. kCorruption where the file that the index was
  // loaded from turns out to be damaged.
  virtual Status SaveSnapshot(const std::string& path, VectorDeltaMax delta_max = VectorDeltaMax::kQuarter) = 0;
  // Whether the files at `path` hold the index as it is now, with no larger delta than that.
  virtual bool IsSaved(const std::string& path, VectorDeltaMax delta_max = VectorDeltaMax::kQuarter) const = 0;
  // Whether SaveSnapshot() would bring down memory beyond what the configuration allows, or files of a compaction.
  virtual bool ShouldSave() const = 0;
  // kInternal or kCorruption where the index refuses everything and must be rebuilt.
  virtual Status CheckUsable() const = 0;
  // Checks all of the mapped file that was not relied on yet. kCorruption where it is damaged.
  virtual Status CheckMapped() const = 0;

  virtual const VectorIndexConfig& config() const = 0;
  virtual std::uint64_t entry_count() const = 0;    // Documents with a vector now.
  virtual std::uint64_t garbage_count() const = 0;  // Dead entries that no search can see any more.
  // About what the index occupies, a graph that a compaction makes beside it included, mapped files apart.
  virtual std::uint64_t memory_bytes() const = 0;
  // What lies in mapped files, the snapshot's or unnamed ones: it is in memory as far as it is read and there is room.
  virtual std::uint64_t mapped_bytes() const = 0;

  // The `k` nearest by a scan of every visible code: what small indexes use, and the oracle for the graph.
  Result<std::vector<VectorMatch>> ExactSearch(std::span<const float> query, std::uint64_t snapshot_sequence,
                                               std::size_t k,
                                               std::function<bool(std::int64_t docid)> predicate = nullptr) const;
};

// An empty index over the graph that `config` names. kInvalidArgument where a number of `config` is out of its range,
// or where hnswlib's graph is to have codes of 4 bits or 1.
Result<std::unique_ptr<VectorIndex>> CreateHnswIndex(VectorIndexConfig config);

// The index that SaveSnapshot() wrote, as of applied_seq(): no search may come at a snapshot before that. The file
// stays mapped: the index answers at once, and what it reads of the file is checked when it is first relied on.
// kNotFound where there is no file; kUnsupported for another version of the format; kCorruption for a file that is
// damaged, as far as it is looked at, or that was written with another metric, dimension, precision, links_per_node or
// ef_construction than `config` says. On any error, then or later, the caller may remove the files and rebuild.
Result<std::unique_ptr<VectorIndex>> LoadHnswIndex(VectorIndexConfig config, const std::string& path);

// The files that SaveSnapshot() may write for `path`.
std::vector<std::string> HnswFiles(const std::string& path);
// Removes them durably. Ok where there are none.
Status RemoveHnswFiles(const std::string& path);

}  // namespace foreshore
