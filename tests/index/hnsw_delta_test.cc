// Goal: what changed since a snapshot comes back with it, costs about as much as it is, and no damaged or hostile
// delta does harm.
// Method: an index is changed and saved by turns, and what is loaded must answer as it does; truncation at every length
// and a flip of every bit; random damage with checksums made right again.
#include "index/hnsw_delta.h"

#include <doctest/doctest.h>

#include <algorithm>
#include <random>
#include <string>
#include <vector>

#include "index/hnsw_index.h"
#include "storage/base/checksum.h"
#include "storage/base/coding.h"
#include "storage/base/file.h"
#include "tests/index/snapshot_bytes.h"
#include "tests/index/synthetic_vectors.h"
#include "tests/temporary_directory.h"

namespace foreshore {
namespace {

constexpr std::uint32_t kDimension = 8;

// Without the syncs of WriteFileAtomic(), which there would be thousands of.
void WriteQuickly(const std::string& path, Bytes bytes) {
  const auto file = File::Create(path).value();
  REQUIRE(file->Append(bytes).ok());
  REQUIRE(file->Close().ok());
}

// An index with files, that is changed at random.
class Changed {
 public:
  explicit Changed(VectorPrecision precision, std::int64_t count, unsigned seed)
      : precision_(precision),
        vectors_(kDimension, 10, seed),
        random_(seed),
        index_(NewIndex(kDimension, VectorMetric::kCosine, precision)) {
    for (std::int64_t docid = 0; docid < count; ++docid) Put(docid);
    index_->SetAppliedSeq(sequence_);
    Save();
  }

  void Put(std::int64_t docid) {
    REQUIRE(index_->Upsert(docid, RecordOf(vectors_.Next(), precision_), ++sequence_).ok());
  }
  void Change(int count) {
    for (int i = 0; i < count; ++i) {
      const auto docid = static_cast<std::int64_t>(random_() % 4000);
      if (random_() % 3 == 0) {
        REQUIRE(index_->Remove(docid, ++sequence_).ok());
      } else {
        Put(docid);
      }
    }
    index_->SetAppliedSeq(sequence_);
    index_->ForgetBefore(sequence_);
  }
  void Save() { REQUIRE(index_->SaveSnapshot(path()).ok()); }
  void Reload() { index_ = LoadHnswIndex(index_->config(), path()).value(); }

  std::vector<std::vector<VectorMatch>> Answers(const VectorIndex& index, VectorStrategy strategy) {
    SyntheticVectors queries(kDimension, 10, 99);
    VectorSearchOptions options;
    options.strategy = strategy;
    std::vector<std::vector<VectorMatch>> answers;
    for (int i = 0; i < 20; ++i) {
      answers.push_back(Take(*index.NewCursor(queries.Next(), sequence_, options).value(), 20));
    }
    return answers;
  }
  void CheckLoadsAsItIs() {
    const auto loaded = LoadHnswIndex(index_->config(), path()).value();
    CHECK(loaded->applied_seq() == index_->applied_seq());
    CHECK(loaded->entry_count() == index_->entry_count());
    for (const VectorStrategy strategy : {VectorStrategy::kGraph, VectorStrategy::kExact}) {
      CHECK(Answers(*loaded, strategy) == Answers(*index_, strategy));
    }
  }

  VectorIndex& index() { return *index_; }
  std::string path() const { return directory_.path() + "/saved"; }
  std::string delta_path() const { return HnswDeltaPath(path()); }
  std::uint64_t delta_bytes() const { return FileExists(delta_path()) ? FileSizeBytes(delta_path()).value() : 0; }

 private:
  const VectorPrecision precision_;
  const TemporaryDirectory directory_;
  SyntheticVectors vectors_;
  std::mt19937 random_;
  std::uint64_t sequence_ = 0;
  std::unique_ptr<VectorIndex> index_;
};

}  // namespace

TEST_CASE("hnsw delta: an index that is changed and saved by turns comes back as it was each time") {
  VectorPrecision precision = VectorPrecision::kInt8;
  SUBCASE("8 bits") {}
  SUBCASE("16 bits") {
    precision = VectorPrecision::kInt16;
  }
  Changed changed(precision, 3000, 41);
  const std::uint64_t snapshot_bytes = FileSizeBytes(changed.path()).value();
  CHECK(changed.delta_bytes() == 0);
  bool was_written_anew = false;
  std::uint64_t bytes_before = 0;
  for (int round = 0; round < 40; ++round) {
    CAPTURE(round);
    changed.Change(round < 20 ? 30 : 60);
    changed.Save();
    changed.CheckLoadsAsItIs();
    if (changed.delta_bytes() < bytes_before) was_written_anew = true;
    CHECK(changed.delta_bytes() <= FileSizeBytes(changed.path()).value() / 4 + snapshot_bytes / 20);
    // 1 % of it was changed.
    if (round < 20 && !was_written_anew) CHECK(changed.delta_bytes() - bytes_before <= snapshot_bytes / 20);
    bytes_before = changed.delta_bytes();
    if (round % 7 == 3) changed.Reload();  // And goes on from there.
  }
  CHECK(was_written_anew);
  // Compaction gives slots other numbers.
  changed.Change(2000);
  REQUIRE(changed.index().Compact().ok());
  changed.Save();
  CHECK(changed.delta_bytes() == 0);
  changed.CheckLoadsAsItIs();
  changed.Change(10);
  changed.Save();
  changed.CheckLoadsAsItIs();
}

TEST_CASE("hnsw delta: a larger one than asked for is written into the snapshot, changes or none") {
  Changed changed(VectorPrecision::kInt8, 3000, 47);
  CHECK(changed.index().IsSaved(changed.path()));
  changed.Change(400);
  CHECK_FALSE(changed.index().IsSaved(changed.path()));
  changed.Save();
  CHECK(changed.index().IsSaved(changed.path()));
  REQUIRE(changed.delta_bytes() > FileSizeBytes(changed.path()).value() / 20);
  changed.Reload();
  CHECK(changed.index().IsSaved(changed.path()));
  CHECK_FALSE(changed.index().IsSaved(changed.path(), VectorDeltaMax::kTwentieth));
  REQUIRE(changed.index().SaveSnapshot(changed.path(), VectorDeltaMax::kTwentieth).ok());
  CHECK(changed.delta_bytes() == 0);
  CHECK(changed.index().IsSaved(changed.path(), VectorDeltaMax::kTwentieth));
  changed.CheckLoadsAsItIs();
  changed.Change(5);  // Few are appended still.
  REQUIRE(changed.index().SaveSnapshot(changed.path(), VectorDeltaMax::kTwentieth).ok());
  CHECK(changed.delta_bytes() > 0);
  CHECK(changed.index().IsSaved(changed.path(), VectorDeltaMax::kTwentieth));
  // What compaction made is another graph, though nothing was applied.
  REQUIRE(changed.index().Compact().ok());
  CHECK_FALSE(changed.index().IsSaved(changed.path()));
}

TEST_CASE("hnsw delta: a file that belongs to another snapshot is as none") {
  Changed changed(VectorPrecision::kInt8, 3000, 42);
  changed.Change(50);
  changed.Save();
  const ByteString stale = ReadFile(changed.delta_path()).value();
  REQUIRE(changed.index().Compact().ok());
  changed.Save();
  REQUIRE(!FileExists(changed.delta_path()));
  REQUIRE(WriteFileAtomic(changed.delta_path(), stale).ok());
  changed.CheckLoadsAsItIs();
  changed.Reload();
  changed.Change(50);
  changed.Save();
  changed.CheckLoadsAsItIs();
}

TEST_CASE("hnsw delta: cut at any length it ends at its last whole record, and what is saved then is whole") {
  Changed changed(VectorPrecision::kInt16, 2000, 43);
  const std::uint64_t base_sequence = changed.index().applied_seq();
  changed.Change(3);
  changed.Save();
  const std::uint64_t first_sequence = changed.index().applied_seq();
  const std::size_t first_end = changed.delta_bytes();
  changed.Change(3);
  changed.Save();
  const ByteString whole = ReadFile(changed.delta_path()).value();
  SyntheticVectors vectors(kDimension, 10, 44);
  for (std::size_t length = 0; length < whole.size(); length += length % 5 == 0 ? 1 : 4) {
    CAPTURE(length);
    WriteQuickly(changed.delta_path(), Bytes(whole).substr(0, length));
    const auto loaded = LoadHnswIndex(changed.index().config(), changed.path());
    REQUIRE(loaded.ok());
    REQUIRE((*loaded)->applied_seq() == (length < first_end ? base_sequence : first_sequence));
    if (length % 101 != 0) continue;
    const std::string copy = changed.path() + "-copy";
    REQUIRE(WriteFileAtomic(copy, ReadFile(changed.path()).value()).ok());
    REQUIRE(WriteFileAtomic(HnswDeltaPath(copy), Bytes(whole).substr(0, length)).ok());
    const auto copied = LoadHnswIndex(changed.index().config(), copy).value();
    REQUIRE(copied->Upsert(77, RecordOf(vectors.Next(), VectorPrecision::kInt16), 9000).ok());
    copied->SetAppliedSeq(9000);
    REQUIRE(copied->SaveSnapshot(copy).ok());
    const auto again = LoadHnswIndex(changed.index().config(), copy).value();
    CHECK(again->applied_seq() == 9000);
    CHECK(again->entry_count() == copied->entry_count());
  }
}

TEST_CASE("hnsw delta: with any one bit flipped it ends before it") {
  Changed changed(VectorPrecision::kInt8, 2000, 45);
  const std::uint64_t base_sequence = changed.index().applied_seq();
  changed.Change(2);
  changed.Save();
  ByteString bytes = ReadFile(changed.delta_path()).value();
  for (std::size_t bit = 0; bit < bytes.size() * 8; bit += 1 + bit / 700) {
    CAPTURE(bit);
    bytes[bit / 8] = static_cast<char>(bytes[bit / 8] ^ (1 << (bit % 8)));
    WriteQuickly(changed.delta_path(), bytes);
    REQUIRE(LoadHnswIndex(changed.index().config(), changed.path()).value()->applied_seq() == base_sequence);
    bytes[bit / 8] = static_cast<char>(bytes[bit / 8] ^ (1 << (bit % 8)));
  }
}

TEST_CASE("hnsw delta: damage under right checksums is refused or harmless") {
  Changed changed(VectorPrecision::kInt16, 1500, 46);
  changed.Change(5);
  changed.Save();
  const ByteString good = ReadFile(changed.delta_path()).value();
  std::mt19937 random(46);
  SyntheticVectors vectors(kDimension, 10, 47);
  int refused_count = 0;
  for (int round = 0; round < 1500; ++round) {
    CAPTURE(round);
    ByteString bytes = good;
    for (int change = 0; change < 1 + static_cast<int>(random() % 3); ++change) {
      const std::size_t range = random() % 5 == 0 ? kDeltaRecordHeaderBytes : bytes.size() - kDeltaHeaderBytes;
      bytes[kDeltaHeaderBytes + random() % range] = static_cast<char>(random() % 3 == 0 ? 0xFF : random());
    }
    RepairDeltaSums(bytes);
    WriteQuickly(changed.delta_path(), bytes);
    const auto loaded = LoadHnswIndex(changed.index().config(), changed.path());
    if (!loaded.ok()) {
      ++refused_count;
      CHECK(loaded.status().code() == ErrorCode::kCorruption);
      continue;
    }
    VectorSearchOptions options;
    options.strategy = VectorStrategy::kGraph;
    Take(*(*loaded)->NewCursor(vectors.Next(), UINT64_MAX - 1, options).value(), 50);
    REQUIRE((*loaded)->Upsert(3, RecordOf(vectors.Next(), VectorPrecision::kInt16), UINT64_MAX - 1).ok());
  }
  CHECK(refused_count > 300);
}

TEST_CASE("hnsw index: beyond its memory it goes on over its file, and answers the same") {
  VectorIndexConfig config = NewIndex(kDimension)->config();
  config.memory_bytes_max = 200'000;
  const auto bounded = CreateHnswIndex(config).value();
  config.memory_bytes_max = 0;
  const auto free = CreateHnswIndex(config).value();
  const TemporaryDirectory directory;
  SyntheticVectors vectors(kDimension, 10, 48);
  int saved_count = 0;
  std::uint64_t sequence = 0;
  for (std::int64_t docid = 0; docid < 6000; ++docid) {
    const ByteString record = RecordOf(vectors.Next());
    ++sequence;
    for (VectorIndex* index : {bounded.get(), free.get()}) {
      REQUIRE(index->Upsert(docid % 5000, record, sequence).ok());
      index->SetAppliedSeq(sequence);
      index->ForgetBefore(sequence);
    }
    if (!bounded->ShouldSave()) continue;
    ++saved_count;
    REQUIRE(bounded->SaveSnapshot(directory.path() + "/saved").ok());
    CHECK(bounded->memory_bytes() < 100'000);
  }
  CHECK(saved_count >= 3);
  CHECK(free->memory_bytes() > 1'000'000);
  VectorSearchOptions options;
  options.strategy = VectorStrategy::kExact;
  for (int i = 0; i < 20; ++i) {
    const std::vector<float> query = vectors.Next();
    CHECK(Take(*bounded->NewCursor(query, sequence, options).value(), 30) ==
          Take(*free->NewCursor(query, sequence, options).value(), 30));
  }
  options.strategy = VectorStrategy::kGraph;
  CHECK(Take(*bounded->NewCursor(vectors.Next(), sequence, options).value(), SIZE_MAX).size() == 5000);
  // A reader that is behind keeps what it sees: nothing is written out before it has gone.
  for (std::int64_t docid = 0; docid < 5000; ++docid) {
    REQUIRE(bounded->Upsert(docid, RecordOf(vectors.Next()), ++sequence).ok());
    bounded->SetAppliedSeq(sequence);
    CHECK(!bounded->ShouldSave());
  }
  CHECK(bounded->memory_bytes() > 200'000);
  CHECK(Take(*bounded->NewCursor(vectors.Next(), sequence - 2500, options).value(), SIZE_MAX).size() == 5000);
  bounded->ForgetBefore(sequence);
  CHECK(bounded->ShouldSave());
  // Where it cannot be written, that is not tried again with every change.
  CHECK(!bounded->SaveSnapshot(directory.path() + "/absent/saved").ok());
  int wanted_count = 0;
  for (std::int64_t docid = 0; docid < 2500; ++docid) {
    REQUIRE(bounded->Upsert(docid, RecordOf(vectors.Next()), ++sequence).ok());
    bounded->SetAppliedSeq(sequence);
    bounded->ForgetBefore(sequence);
    if (!bounded->ShouldSave()) continue;
    ++wanted_count;
    CHECK(!bounded->SaveSnapshot(directory.path() + "/absent/saved").ok());
  }
  CHECK(wanted_count == 2);
  // Whoever saves without that is not kept from it.
  REQUIRE(bounded->SaveSnapshot(directory.path() + "/saved").ok());
  CHECK(bounded->applied_seq() == sequence);
}

}  // namespace foreshore
