// Goal: searches, changes, snapshots and compaction go on side by side and each search sees its own snapshot.
// Method: run under the thread sanitizer as well; each reader checks what it got against what its snapshot must hold.
#include <doctest/doctest.h>

#include <array>
#include <atomic>
#include <set>
#include <string>
#include <thread>
#include <vector>

#include "index/vector_index.h"
#include "tests/index/synthetic_vectors.h"
#include "tests/temporary_directory.h"

namespace foreshore {
namespace {

void CheckConcurrency(VectorMetric metric, VectorPrecision precision, std::int64_t document_count) {
  constexpr std::uint32_t kDimension = 16;
  constexpr int kRounds = 4;
  SyntheticVectors vectors(kDimension, 10, 77);
  const auto index = NewIndex(kDimension, metric, precision);
  std::atomic<std::uint64_t> committed{0};
  std::atomic<bool> is_writing{true};
  std::atomic<int> failure_count{0};
  std::atomic<int> search_count{0};
  const TemporaryDirectory directory;

  const auto read = [&](unsigned seed) {
    SyntheticVectors queries(kDimension, 10, seed);
    while (is_writing) {
      const std::uint64_t snapshot = committed;
      VectorSearchOptions options;
      options.strategy = seed % 2 == 0 ? VectorStrategy::kGraph : VectorStrategy::kAuto;
      const auto cursor = index->NewCursor(queries.Next(), snapshot, options).value();
      std::set<std::int64_t> docids;
      std::size_t count = 0;
      while (true) {
        const auto match = cursor->Next();
        if (!match.ok()) ++failure_count;
        if (!match.ok() || !match->has_value()) break;
        docids.insert((*match)->docid);
        ++count;
      }
      // Documents are written in order and never removed: at sequence s there are min(s, all) of them.
      const auto expected = std::min<std::size_t>(snapshot, static_cast<std::size_t>(document_count));
      if (count != expected || docids.size() != expected) ++failure_count;
      ++search_count;
    }
  };
  const auto save = [&] {
    while (is_writing) {
      const std::string path = directory.path() + "/snapshot";
      if (!index->SaveSnapshot(path).ok()) ++failure_count;
      if (!LoadHnswIndex(index->config(), path).ok()) ++failure_count;
      if (!index->Compact().ok()) ++failure_count;
      (void)index->memory_bytes();
    }
  };
  std::thread reader_even(read, 2);
  std::thread reader_odd(read, 3);
  std::thread keeper(save);
  std::uint64_t sequence = 0;
  for (int round = 0; round < kRounds; ++round) {
    for (std::int64_t docid = 0; docid < document_count; ++docid) {
      if (!index->Upsert(docid, RecordOf(vectors.Next()), ++sequence).ok()) ++failure_count;
      index->SetAppliedSeq(sequence);
      committed = sequence;
    }
    // Nothing is forgotten: the readers hold no registered snapshot here.
  }
  while (search_count < 10) std::this_thread::yield();
  is_writing = false;
  reader_even.join();
  reader_odd.join();
  keeper.join();
  CHECK(failure_count == 0);
  const auto live_count = static_cast<std::uint64_t>(document_count);
  CHECK(index->entry_count() == live_count);
  index->ForgetBefore(sequence);
  CHECK(index->garbage_count() == sequence - live_count);
  REQUIRE(index->Compact().ok());
  CHECK(index->ExactSearch(vectors.Next(), sequence, SIZE_MAX).value().size() == live_count);
}

}  // namespace

TEST_CASE("hnsw index: concurrent searches see whole snapshots while it is changed, saved and compacted") {
  CheckConcurrency(VectorMetric::kCosine, VectorPrecision::kInt8, 200);
}

TEST_CASE("hnsw index: the same with codes of 4 bits, whose mean comes meanwhile") {
  CheckConcurrency(VectorMetric::kL2, VectorPrecision::kInt4, 400);
}

namespace {

// Goal: searches among some documents find them all, and no others, while the index is changed and compacted.
// Method: all readers share one filter, made before any of its documents was there.
void CheckAmongConcurrency(VectorPrecision precision) {
  constexpr std::uint32_t kDimension = 16;
  constexpr std::int64_t kDocuments = 300;
  constexpr int kRounds = 4;
  SyntheticVectors vectors(kDimension, 10, 78);
  const auto index = NewIndex(kDimension, VectorMetric::kCosine, precision);
  std::vector<std::int64_t> docids;
  for (std::int64_t docid = 0; docid < 2 * kDocuments; docid += 2) docids.push_back(docid);
  const auto filter = std::make_shared<VectorFilter>(docids);
  std::atomic<std::uint64_t> committed{0};
  std::atomic<bool> is_writing{true};
  std::atomic<int> failure_count{0};
  std::atomic<int> search_count{0};

  const auto read = [&](unsigned seed, VectorStrategy strategy) {
    SyntheticVectors queries(kDimension, 10, seed);
    while (is_writing) {
      const std::uint64_t snapshot = committed;
      VectorSearchOptions options;
      options.strategy = strategy;
      options.ef = 16;
      options.among = filter;
      const auto cursor = index->NewCursor(queries.Next(), snapshot, options).value();
      std::set<std::int64_t> found;
      std::size_t count = 0;
      while (true) {
        const auto match = cursor->Next();
        if (!match.ok()) ++failure_count;
        if (!match.ok() || !match->has_value()) break;
        if ((*match)->docid % 2 != 0) ++failure_count;
        found.insert((*match)->docid);
        ++count;
      }
      // Documents are written in order and never removed: at sequence s there are min(s, all) of them.
      const std::size_t expected = (std::min<std::size_t>(snapshot, kDocuments) + 1) / 2;
      if (count != expected || found.size() != expected) ++failure_count;
      ++search_count;
    }
  };
  std::thread walking_reader(read, 4, VectorStrategy::kGraph);
  std::thread other_walking_reader(read, 5, VectorStrategy::kGraph);
  std::thread choosing_reader(read, 6, VectorStrategy::kAuto);
  std::thread keeper([&] {
    while (is_writing) {
      if (!index->Compact().ok()) ++failure_count;
    }
  });
  std::uint64_t sequence = 0;
  for (int round = 0; round < kRounds; ++round) {
    for (std::int64_t docid = 0; docid < kDocuments; ++docid) {
      if (!index->Upsert(docid, RecordOf(vectors.Next()), ++sequence).ok()) ++failure_count;
      committed = sequence;
    }
  }
  while (search_count < 10) std::this_thread::yield();
  is_writing = false;
  walking_reader.join();
  other_walking_reader.join();
  choosing_reader.join();
  keeper.join();
  CHECK(failure_count == 0);
}

}  // namespace

TEST_CASE(
    "hnsw index: concurrent searches among some documents see whole snapshots while it is changed and compacted") {
  CheckAmongConcurrency(VectorPrecision::kInt8);
}

TEST_CASE("hnsw index: the same with codes of 1 bit, whose rows are made while a node is inserted") {
  CheckAmongConcurrency(VectorPrecision::kInt1);
}

// Goal: compaction in slices beside a writer and readers loses nothing and shows nobody anything else.
// Method: documents are overwritten, and what is old is forgotten as far as the readers allow, so that there is always
// something to compact; each reader holds a snapshot that is not forgotten meanwhile.
TEST_CASE("hnsw index: searches see whole snapshots while slices of compaction run beside a writer") {
  constexpr std::uint32_t kDimension = 16;
  constexpr std::int64_t kDocuments = 300;
  constexpr int kRounds = 8;
  SyntheticVectors vectors(kDimension, 10, 79);
  const auto index = NewIndex(kDimension);
  std::uint64_t sequence = 0;
  for (std::int64_t docid = 0; docid < kDocuments; ++docid) {
    REQUIRE(index->Upsert(docid, RecordOf(vectors.Next()), ++sequence).ok());
  }
  std::atomic<std::uint64_t> committed{sequence};
  std::atomic<bool> is_writing{true};
  std::atomic<int> failure_count{0};
  std::atomic<int> search_count{0};
  constexpr std::size_t kReaders = 2;
  // What each reader's next search may be at; as DatabaseCore registers snapshots.
  std::array<std::atomic<std::uint64_t>, kReaders> held;
  for (auto& each : held) each = sequence;

  const auto read = [&](std::size_t reader) {
    SyntheticVectors queries(kDimension, 10, static_cast<unsigned>(reader));
    while (is_writing) {
      const std::uint64_t snapshot = held[reader];
      VectorSearchOptions options;
      options.strategy = VectorStrategy::kGraph;
      const auto cursor = index->NewCursor(queries.Next(), snapshot, options).value();
      std::set<std::int64_t> docids;
      while (true) {
        const auto match = cursor->Next();
        if (!match.ok()) ++failure_count;
        if (!match.ok() || !match->has_value()) break;
        if (!docids.insert((*match)->docid).second) ++failure_count;
      }
      if (docids.size() != kDocuments) ++failure_count;
      held[reader] = committed.load();  // Never behind what was forgotten: it is the only one that moves this on.
      ++search_count;
    }
  };
  std::thread reader_0(read, 0);
  std::thread reader_1(read, 1);
  std::thread repairer([&] {
    const auto clock = SystemClock();
    while (is_writing) {
      if (!index->CompactSome(*clock, 200).ok()) ++failure_count;
      (void)index->repair();
      std::this_thread::yield();
    }
  });
  for (int round = 0; round < kRounds || index->repair().reclaimed_count == 0; ++round) {
    // Readers that lag would keep everything, in a graph that grows and makes them lag more.
    while (std::min(held[0].load(), held[1].load()) + kDocuments < sequence) std::this_thread::yield();
    for (std::int64_t docid = 0; docid < kDocuments; ++docid) {
      if (!index->Upsert(docid, RecordOf(vectors.Next()), ++sequence).ok()) ++failure_count;
      committed = sequence;
      index->ForgetBefore(std::min(held[0].load(), held[1].load()));
    }
  }
  while (search_count < 10) std::this_thread::yield();
  is_writing = false;
  reader_0.join();
  reader_1.join();
  repairer.join();
  CHECK(failure_count == 0);
  CHECK(index->repair().reclaimed_count > 0);
  CHECK(index->ExactSearch(vectors.Next(), sequence, SIZE_MAX).value().size() == kDocuments);
}

}  // namespace foreshore
