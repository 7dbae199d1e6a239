// Files of vector indexes: hnswlib's own, our snapshots and their deltas.
#include <cmath>
#include <limits>
#include <memory>
#include <random>
#include <string>

#include "index/hnsw_delta.h"
#include "index/hnsw_layout.h"
#include "index/hnswlib_file.h"
#include "index/quantizer.h"
#include "index/vector_index.h"
#include "storage/base/checksum.h"
#include "storage/base/coding.h"
#include "storage/base/file.h"
#include "tests/fuzz/fuzz_target.h"
#include "tests/index/snapshot_bytes.h"
#include "tests/temporary_directory.h"

namespace foreshore {
namespace {

constexpr std::uint32_t kDimension = 4;
constexpr std::int64_t kDocuments = 300;

VectorIndexConfig Config() {
  VectorIndexConfig config;
  config.name = "fuzz";
  config.dimension = kDimension;
  return config;
}

ByteString VectorOf(std::int64_t docid) {
  std::mt19937 random(static_cast<std::uint32_t>(docid));
  std::vector<float> values(kDimension);
  for (float& value : values) value = static_cast<float>(random() % 2001) / 1000.0F - 1.0F + 0.0001F;
  return EncodeVectorRecord(values, kDimension, VectorPrecision::kInt8).value();
}

// A folder with a snapshot, its delta behind it.
struct SavedIndex {
  SavedIndex() {
    const auto index = CreateHnswIndex(Config()).value();
    std::uint64_t sequence = 0;
    for (std::int64_t docid = 0; docid < kDocuments; ++docid) {
      FuzzCheck(index->Upsert(docid, VectorOf(docid), ++sequence).ok(), "a vector goes in");
    }
    Save(*index, sequence);
    snapshot = ReadFile(path).value();
    base_sequence = sequence;
    for (std::int64_t docid = 0; docid < 2; ++docid) {
      FuzzCheck(index->Upsert(docid, VectorOf(docid + 100), ++sequence).ok(), "a vector changes");
    }
    FuzzCheck(index->Remove(7, ++sequence).ok(), "a vector goes");
    Save(*index, sequence);
    delta = ReadFile(HnswDeltaPath(path)).value();
  }
  void Save(VectorIndex& index, std::uint64_t sequence) const {
    index.SetAppliedSeq(sequence);
    index.ForgetBefore(sequence);
    FuzzCheck(index.SaveSnapshot(path).ok(), "an index is saved");
  }

  TemporaryDirectory directory;
  std::string path = directory.path() + "/index";
  ByteString snapshot;
  ByteString delta;
  std::uint64_t base_sequence = 0;  // Of the snapshot alone.
};

void Write(const std::string& path, Bytes bytes) {
  const auto file = File::Create(path).value();
  FuzzCheck(file->Append(bytes).ok() && file->Close().ok(), "the input is written");
}

// Searches and changes what was loaded, so that a bad link or count would be followed.
void Use(VectorIndex& index) {
  VectorSearchOptions options;
  for (const VectorStrategy strategy : {VectorStrategy::kGraph, VectorStrategy::kExact}) {
    options.strategy = strategy;
    const auto cursor = index.NewCursor(std::vector<float>(kDimension, 0.5F), UINT64_MAX - 1, options);
    for (int i = 0; cursor.ok() && i < 100; ++i) {
      const auto match = (*cursor)->Next();
      if (!match.ok() || !*match) break;
      FuzzCheck(!std::isnan((*match)->distance), "a distance is a number");
    }
  }
  index.Upsert(12'345, VectorOf(1), UINT64_MAX - 2).IgnoreError();
  index.Remove(3, UINT64_MAX - 2).IgnoreError();
}

HnswGraphConfig GraphConfig() {
  const VectorIndexConfig config = Config();
  HnswGraphConfig graph;
  graph.metric = config.metric;
  graph.dimension = config.dimension;
  return graph;
}

// With its checksums made right, so that what lies behind them is met.
bool RunSnapshot(Bytes input) {
  static const SavedIndex saved;
  ByteString bytes(input);
  RepairSnapshotSums(bytes, GraphConfig(), VectorPrecision::kInt8);
  RemoveFile(HnswDeltaPath(saved.path)).IgnoreError();
  Write(saved.path, bytes);
  const auto loaded = LoadHnswIndex(Config(), saved.path);
  if (loaded.ok()) Use(**loaded);
  return loaded.ok();
}

bool RunDelta(Bytes input) {
  static const SavedIndex saved;
  ByteString bytes(input);
  // Each snapshot draws a generation of its own; a delta of another is as none.
  if (bytes.size() >= kDeltaHeaderBytes) bytes.replace(16, 8, saved.delta, 16, 8);
  RepairDeltaSums(bytes);
  Write(HnswDeltaPath(saved.path), bytes);
  const auto loaded = LoadHnswIndex(Config(), saved.path);
  if (!loaded.ok()) return false;
  Use(**loaded);
  return (*loaded)->applied_seq() > saved.base_sequence;
}

// As hnswlib writes it (index/hnswlib_file.h): `count` elements in a ring on level 0, the first also on level 1.
ByteString HnswlibSeed(std::uint32_t count) {
  constexpr std::uint64_t kLinks = 4;
  constexpr std::uint64_t kVectorOffset = 4 + 4 * 2 * kLinks;
  constexpr std::uint64_t kLabelOffset = kVectorOffset + 4 * kDimension;
  ByteString file;
  for (const std::uint64_t field :
       {std::uint64_t{0}, std::uint64_t{100}, std::uint64_t{count}, kLabelOffset + 8, kLabelOffset, kVectorOffset}) {
    AppendFixed(file, field);
  }
  AppendFixed(file, count == 0 ? std::int32_t{-1} : std::int32_t{1});
  AppendFixed(file, count == 0 ? 0xFFFFFFFFU : 0U);
  for (const std::uint64_t field : {kLinks, 2 * kLinks, kLinks}) AppendFixed(file, field);
  AppendFixed(file, 1.0 / std::log(2.0));
  AppendFixed(file, std::uint64_t{100});
  for (std::uint32_t i = 0; i < count; ++i) {
    AppendFixed(file, std::uint32_t{1});
    for (std::uint64_t link = 0; link < 2 * kLinks; ++link) AppendFixed(file, link == 0 ? (i + 1) % count : 0U);
    for (std::uint32_t k = 0; k < kDimension; ++k) AppendFixed(file, static_cast<float>(i * 7 % 5 + k) + 0.5F);
    AppendFixed(file, std::uint64_t{i} + 1'000);
  }
  for (std::uint32_t i = 0; i < count; ++i) {
    AppendFixed(file, i == 0 ? static_cast<std::uint32_t>(4 + 4 * kLinks) : 0U);
    if (i == 0) file.append(4 + 4 * kLinks, '\0');
  }
  return file;
}

bool RunHnswlib(Bytes input) {
  const auto file = HnswlibFile::Read("fuzz", input);
  if (!file.ok()) return false;
  std::vector<std::optional<std::int64_t>> docids;
  std::vector<float> values(file->dimension());
  std::vector<std::uint32_t> links;
  for (std::uint32_t i = 0; i < file->element_count(); ++i) {
    docids.emplace_back(file->is_deleted(i) ? std::nullopt : std::optional<std::int64_t>(i + 1));
    file->CopyVector(i, values);
    for (int level = 0; level <= file->level(i); ++level) {
      file->CopyLinks(i, level, links);
      for (const std::uint32_t link : links) FuzzCheck(link < file->element_count(), "a link is of an element");
    }
  }
  VectorIndexConfig config = Config();
  config.dimension = file->dimension();
  config.links_per_node = file->links_per_node();
  config.metric = VectorMetric::kL2;
  const auto index = RestoreHnswlibIndex(config, *file, docids, 1);
  if (!index.ok()) return false;
  const auto cursor = (*index)->NewCursor(values, 2, {});
  for (int i = 0; cursor.ok() && i < 100; ++i) {
    const auto match = (*cursor)->Next();
    if (!match.ok() || !*match) break;
  }
  return true;
}

}  // namespace

std::vector<FuzzTarget> IndexFuzzTargets() {
  return {
      {"hnsw_snapshot", [] { return std::vector{SavedIndex().snapshot}; }, RunSnapshot, 0, 150, 256 * 1024},
      {"hnsw_delta", [] { return std::vector{SavedIndex().delta}; }, RunDelta, 0, 150},
      {"hnswlib_file",
       [] {
         return std::vector{HnswlibSeed(6), HnswlibSeed(0)};
       },
       RunHnswlib},
  };
}

}  // namespace foreshore
