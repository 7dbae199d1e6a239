// Goal: compaction in slices keeps to its time by the clock that it is given, goes on where it was, makes changes wait
// for no longer than a slice, and ends with what one at a stretch would have made.
// Method: a clock that goes on by 100 us with each look at it, so that a slice is a known number of insertions; changes
// between slices, and an exact scan as the oracle.
#include <doctest/doctest.h>

#include <algorithm>
#include <random>
#include <string>
#include <vector>

#include "index/vector_index.h"
#include "storage/base/clock.h"
#include "storage/base/file.h"
#include "tests/index/synthetic_vectors.h"
#include "tests/temporary_directory.h"

namespace foreshore {
namespace {

constexpr std::uint32_t kDimension = 12;
constexpr std::int64_t kLookUs = 100;
constexpr std::int64_t kBudgetUs = 2000;

class SteppingClock : public Clock {
 public:
  std::int64_t NowUnixMs() override { return now_us_ / 1000; }
  std::int64_t NowMonotonicUs() override { return now_us_ += kLookUs; }

 private:
  std::int64_t now_us_ = 0;
};

// An index that is changed at random, of which every third entry or more is garbage in the end.
class Littered {
 public:
  explicit Littered(VectorPrecision precision = VectorPrecision::kInt8, unsigned seed = 31)
      : precision_(precision),
        vectors_(kDimension, 8, seed),
        random_(seed),
        index_(NewIndex(kDimension, VectorMetric::kCosine, precision)) {
    for (std::int64_t docid = 0; docid < 1000; ++docid) Put(docid);
    for (std::int64_t docid = 0; docid < 1000; docid += 2) Remove(docid);
    Forget();
  }

  void Put(std::int64_t docid) {
    REQUIRE(index_->Upsert(docid, RecordOf(vectors_.Next(), precision_), ++sequence_).ok());
    index_->SetAppliedSeq(sequence_);
  }
  void Remove(std::int64_t docid) {
    REQUIRE(index_->Remove(docid, ++sequence_).ok());
    index_->SetAppliedSeq(sequence_);
  }
  void Forget() { index_->ForgetBefore(sequence_); }
  void ChangeOne() {
    const auto docid = static_cast<std::int64_t>(random_() % 1100);
    if (random_() % 3 == 0) {
      Remove(docid);
    } else {
      Put(docid);
    }
  }

  // What is near at the snapshot, by a scan of all.
  std::vector<std::vector<VectorMatch>> Truth(std::uint64_t snapshot) {
    SyntheticVectors queries(kDimension, 8, 5);
    std::vector<std::vector<VectorMatch>> truth;
    for (int i = 0; i < 10; ++i) truth.push_back(index_->ExactSearch(queries.Next(), snapshot, SIZE_MAX).value());
    return truth;
  }
  // Streams of the graph yield the same documents, each once.
  void CheckStreams(std::uint64_t snapshot) {
    SyntheticVectors queries(kDimension, 8, 5);
    VectorSearchOptions options;
    options.strategy = VectorStrategy::kGraph;
    for (const std::vector<VectorMatch>& expected : Truth(snapshot)) {
      auto found = Take(*index_->NewCursor(queries.Next(), snapshot, options).value(), SIZE_MAX);
      const auto by_docid = [](const VectorMatch& a, const VectorMatch& b) { return a.docid < b.docid; };
      std::vector<VectorMatch> sorted = expected;
      std::sort(sorted.begin(), sorted.end(), by_docid);
      std::sort(found.begin(), found.end(), by_docid);
      CHECK(found == sorted);
    }
  }

  VectorIndex& index() { return *index_; }
  std::uint64_t sequence() const { return sequence_; }

 private:
  VectorPrecision precision_;
  SyntheticVectors vectors_;
  std::mt19937 random_;
  std::unique_ptr<VectorIndex> index_;
  std::uint64_t sequence_ = 0;
};

}  // namespace

TEST_CASE("compaction: a slice ends with its time, and the next one goes on there") {
  Littered littered;
  VectorIndex& index = littered.index();
  const auto before = littered.Truth(littered.sequence());
  SteppingClock clock;
  REQUIRE(index.ShouldCompact());
  std::uint64_t slice_count = 0;
  std::uint64_t done_before = 0;
  while (true) {
    const auto has_more = index.CompactSome(clock, kBudgetUs);
    REQUIRE(has_more.ok());
    ++slice_count;
    const VectorRepair repair = index.repair();
    CHECK(repair.slice_count == slice_count);
    if (!*has_more) break;
    // Every second slot is garbage; looking at the clock is the only thing that takes time.
    CHECK(repair.total_count == 1000);
    CHECK(repair.done_count > done_before);
    CHECK(repair.done_count - done_before <= 2 * kBudgetUs / kLookUs + 2);
    done_before = repair.done_count;
    CHECK(index.garbage_count() == 500);  // Until the graphs have changed places.
  }
  CHECK(slice_count >= 500 / (kBudgetUs / kLookUs));
  const VectorRepair repair = index.repair();
  CHECK(repair.total_count == 0);
  CHECK(repair.reclaimed_count == 500);
  CHECK(repair.slice_us_max <= kBudgetUs + 4 * kLookUs);
  CHECK(repair.hold_us_max <= kBudgetUs + 4 * kLookUs);
  CHECK(index.garbage_count() == 0);
  CHECK(littered.Truth(littered.sequence()) == before);
  littered.CheckStreams(littered.sequence());
  CHECK(index.CompactSome(clock, kBudgetUs).value() == false);
  CHECK(index.repair().slice_count == slice_count);  // There was nothing to do.
}

TEST_CASE("compaction: changes between slices are in the graph that comes of them") {
  for (const VectorPrecision precision : kPrecisions) {
    CAPTURE(static_cast<int>(precision));
    Littered littered(precision);
    VectorIndex& index = littered.index();
    SteppingClock clock;
    std::uint64_t held_snapshot = littered.sequence();  // Nothing behind it is forgotten.
    auto held_truth = littered.Truth(held_snapshot);
    int slice_count = 0;
    while (index.CompactSome(clock, kBudgetUs).value()) {
      for (int i = 0; i < 7; ++i) littered.ChangeOne();
      if (++slice_count % 9 != 0) continue;
      CHECK(littered.Truth(held_snapshot) == held_truth);
      littered.Forget();
      held_snapshot = littered.sequence();
      held_truth = littered.Truth(held_snapshot);
    }
    REQUIRE(slice_count > 20);
    CHECK(littered.Truth(held_snapshot) == held_truth);
    littered.CheckStreams(held_snapshot);
    littered.CheckStreams(littered.sequence());
    CHECK(index.repair().reclaimed_count >= 500);
    CHECK(index.entry_count() == littered.Truth(littered.sequence())[0].size());
    // The ledger goes on as if nothing had been: all that died is garbage, and goes.
    for (int i = 0; i < 50; ++i) littered.ChangeOne();
    littered.Forget();
    REQUIRE(index.Compact().ok());
    CHECK(index.garbage_count() == 0);
    littered.CheckStreams(littered.sequence());
  }
}

TEST_CASE("compaction: a writer that is as fast ends up waiting for slices, and the compaction ends") {
  Littered littered;
  SteppingClock clock;
  int slice_count = 0;
  // As many entries as a slice takes over.
  while (littered.index().CompactSome(clock, kBudgetUs).value() && slice_count < 1000) {
    for (int i = 0; i < kBudgetUs / kLookUs - 1; ++i) littered.Put(2000 + slice_count * 20 + i);
    ++slice_count;
  }
  CHECK(slice_count < 1000);
  CHECK(littered.index().repair().hold_us_max <= kBudgetUs + 4 * kLookUs);
  littered.CheckStreams(littered.sequence());
}

TEST_CASE("compaction: one at a stretch goes on with what slices did") {
  Littered littered;
  SteppingClock clock;
  for (int i = 0; i < 5; ++i) REQUIRE(littered.index().CompactSome(clock, kBudgetUs).value());
  const auto before = littered.Truth(littered.sequence());
  REQUIRE(littered.index().Compact().ok());
  CHECK(littered.index().garbage_count() == 0);
  CHECK(littered.index().repair().total_count == 0);
  CHECK(littered.Truth(littered.sequence()) == before);
}

// Over the bound on memory the graph is written and mapped in the middle of a compaction: its slots stay the same.
TEST_CASE("compaction: goes on over a graph that was written out and mapped meanwhile") {
  const TemporaryDirectory directory;
  Littered littered;
  VectorIndexConfig config = littered.index().config();
  const std::string path = directory.path() + "/v1.hnsw";
  REQUIRE(littered.index().SaveSnapshot(path).ok());
  config.memory_bytes_max = 1;
  const auto bounded = LoadHnswIndex(config, path).value();
  SteppingClock clock;
  SyntheticVectors vectors(kDimension, 8, 17);
  std::uint64_t sequence = littered.sequence();
  int slice_count = 0;
  std::int64_t docid = 5000;
  while (bounded->CompactSome(clock, kBudgetUs).value()) {
    REQUIRE(bounded->Upsert(++docid, RecordOf(vectors.Next()), ++sequence).ok());
    REQUIRE(bounded->Remove(slice_count * 2 + 1, ++sequence).ok());
    bounded->SetAppliedSeq(sequence);
    bounded->ForgetBefore(sequence);
    if (++slice_count % 5 == 0) REQUIRE(bounded->SaveSnapshot(path).ok());
  }
  REQUIRE(slice_count > 10);
  CHECK(bounded->repair().reclaimed_count >= 500);
  CHECK(bounded->entry_count() == 500);
  const auto all = bounded->ExactSearch(vectors.Next(), sequence, SIZE_MAX).value();
  CHECK(all.size() == 500);
  REQUIRE(bounded->SaveSnapshot(path).ok());
  const auto loaded = LoadHnswIndex(config, path).value();
  CHECK(loaded->ExactSearch(vectors.Next(), sequence, SIZE_MAX).value().size() == 500);
}

TEST_CASE(
    "compaction: a bound that what stays in memory passes by itself does not have all written with every change") {
  const TemporaryDirectory directory;
  const std::string path = directory.path() + "/v1.hnsw";
  Littered littered;
  REQUIRE(littered.index().SaveSnapshot(path).ok());
  VectorIndexConfig config = littered.index().config();
  config.memory_bytes_max = 1000;  // As much as the states of the rows take, and far less than hnswlib's graph.
  const auto index = LoadHnswIndex(config, path).value();
  REQUIRE(index->memory_bytes() > config.memory_bytes_max);
  std::uint64_t sequence = littered.sequence();
  for (std::int64_t docid = 1; docid < 100; docid += 2) {
    REQUIRE(index->Remove(docid, ++sequence).ok());
    index->SetAppliedSeq(sequence);
    index->ForgetBefore(sequence);
    CHECK(!index->ShouldSave());
  }
}

// What is made beside the graph counts, and where it would not fit its rows lie in files.
TEST_CASE("compaction: what it makes counts as memory, and lies in files where there is a bound that it would pass") {
  const TemporaryDirectory directory;
  const std::string path = directory.path() + "/v1.hnsw";
  for (const VectorPrecision precision : kPrecisions) {
    CAPTURE(VectorPrecisionBits(precision));
    Littered littered(precision);
    REQUIRE(littered.index().SaveSnapshot(path).ok());
    const auto truth = littered.Truth(littered.sequence());
    std::uint64_t beside_bytes[3];
    enum Way { kUnbounded, kBounded, kBoundedWithoutFolder };
    for (const Way way : {kUnbounded, kBounded, kBoundedWithoutFolder}) {
      CAPTURE(way);
      VectorIndexConfig config = littered.index().config();
      config.memory_bytes_max = way == kUnbounded ? 0 : 60'000;
      if (way != kBoundedWithoutFolder) config.scratch_folder = directory.path();
      const auto index = LoadHnswIndex(config, path).value();
      const std::uint64_t before = index->memory_bytes();
      const std::uint64_t mapped_before = index->mapped_bytes();
      SteppingClock clock;
      std::uint64_t most = 0;
      std::uint64_t most_mapped = 0;
      int save_count = 0;
      while (index->CompactSome(clock, kBudgetUs).value()) {
        most = std::max(most, index->memory_bytes());
        most_mapped = std::max(most_mapped, index->mapped_bytes());
        save_count += index->ShouldSave() ? 1 : 0;
      }
      if (kGraphUnderTest == VectorGraphKind::kFlat) CHECK(save_count == 0);  // It would bring nothing.
      beside_bytes[way] = most - before;
      CHECK(index->garbage_count() == 0);
      // Behind it all is in memory, or in files but for the table of documents.
      CHECK(index->repair().reclaimed_count == 500);
      if (kGraphUnderTest == VectorGraphKind::kFlat && way == kBounded) {
        CHECK(most_mapped > mapped_before + 450 * 128);
        CHECK(index->mapped_bytes() > 500 * 128);
        // The files go once the snapshot is written, and it is written once.
        CHECK(index->ShouldSave());
        const std::string third = directory.path() + "/v3.hnsw";
        REQUIRE(index->SaveSnapshot(third).ok());
        CHECK(!index->ShouldSave());
        CHECK(index->mapped_bytes() == FileSizeBytes(third).value());
      }
      if (kGraphUnderTest == VectorGraphKind::kHnswlib && precision == VectorPrecision::kInt8) {
        CHECK(most_mapped == mapped_before);  // Its rows are in memory always, and so is what belongs to them.
        CHECK(index->mapped_bytes() == 0);
      }
      const auto found = index->ExactSearch(SyntheticVectors(kDimension, 8, 5).Next(), littered.sequence(), SIZE_MAX);
      CHECK(found.value() == truth[0]);
      // It goes on, is saved, and is the same when it is opened.
      SyntheticVectors vectors(kDimension, 8, 90);
      for (std::int64_t docid = 7000; docid < 7100; ++docid) {
        REQUIRE(index->Upsert(docid, RecordOf(vectors.Next(), precision), littered.sequence() + 1).ok());
      }
      index->SetAppliedSeq(littered.sequence() + 1);
      const std::string second = directory.path() + "/v2.hnsw";
      REQUIRE(index->SaveSnapshot(second).ok());
      const auto loaded = LoadHnswIndex(config, second).value();
      const std::vector<float> query = vectors.Next();
      CHECK(loaded->ExactSearch(query, littered.sequence() + 1, SIZE_MAX).value() ==
            index->ExactSearch(query, littered.sequence() + 1, SIZE_MAX).value());
    }
    // 500 nodes: codes, links and ledger, or the ledger alone.
    constexpr std::uint64_t kLedgerBytes = 500 * 44;
    CHECK(beside_bytes[kUnbounded] > 500 * 100 + kLedgerBytes);
    CHECK(beside_bytes[kBoundedWithoutFolder] > 500 * 100 + kLedgerBytes);
    if (kGraphUnderTest == VectorGraphKind::kFlat) CHECK(beside_bytes[kBounded] < kLedgerBytes + 2000);
  }
}

TEST_CASE("scan: in slices it finds what an exact search finds, whatever changes meanwhile") {
  Littered littered;
  VectorIndex& index = littered.index();
  const std::uint64_t snapshot = littered.sequence();
  SyntheticVectors vectors(kDimension, 8, 5);
  std::vector<std::vector<float>> queries;
  for (int i = 0; i < 10; ++i) queries.push_back(vectors.Next());
  const auto truth = littered.Truth(snapshot);
  const auto scan = index.NewScan(queries, snapshot, 11).value();
  SteppingClock clock;
  int slice_count = 1;
  while (scan->Step(clock, kLookUs).value()) {
    ++slice_count;
    littered.ChangeOne();
    littered.Forget();
    if (slice_count == 3) REQUIRE(index.Compact().ok());
  }
  CHECK(slice_count == (1000 + 63) / 64);
  for (std::size_t i = 0; i < queries.size(); ++i) {
    CHECK(scan->nearest(i) == std::vector<VectorMatch>(truth[i].begin(), truth[i].begin() + 11));
  }
  CHECK(index.NewScan(std::vector<std::vector<float>>{{1.0F}}, snapshot, 1).status().code() ==
        ErrorCode::kInvalidArgument);
}

}  // namespace foreshore
