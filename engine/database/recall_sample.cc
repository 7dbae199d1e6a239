#include "engine/database/recall_sample.h"

#include <algorithm>
#include <cmath>
#include <cstdio>
#include <unordered_set>
#include <utility>

#include "engine/database/stored_vector.h"
#include "engine/database/vector_reader.h"
#include "index/quantizer.h"
#include "storage/base/coding.h"

namespace foreshore {
namespace {

constexpr std::uint8_t kSampleVersion = 1;
constexpr std::uint64_t kEfMax = 100'000;
constexpr std::size_t kPointsMax = 16;

std::string AgeOf(std::int64_t ms) {
  const std::int64_t seconds = std::max<std::int64_t>(0, ms) / 1000;
  if (seconds < 120) return std::to_string(seconds) + " s";
  if (seconds < 120 * 60) return std::to_string(seconds / 60) + " min";
  if (seconds < 48 * 3600) return std::to_string(seconds / 3600) + " h";
  return std::to_string(seconds / (24 * 3600)) + " days";
}

}  // namespace

double RecallSample::EstimateAt(std::size_t at_ef) const {
  if (points.empty()) return recall;
  const auto above = std::find_if(points.begin(), points.end(), [&](const RecallPoint& p) { return p.ef >= at_ef; });
  if (above == points.end()) return points.back().recall;
  if (above == points.begin() || above->ef == at_ef) return above->recall;
  const RecallPoint& below = *(above - 1);
  const double share = std::log(static_cast<double>(at_ef) / below.ef) / std::log(double{1} * above->ef / below.ef);
  return below.recall + (above->recall - below.recall) * share;
}

std::string RecallSample::Describe(std::int64_t now_unix_ms) const {
  char number[32];
  std::snprintf(number, sizeof(number), "%.3f", recall);
  return std::string(number) + " sampled at ef=" + std::to_string(ef) + " by " + std::to_string(query_count) +
         (is_of_recent_queries ? " recent queries, " : " stored vectors, ") + AgeOf(now_unix_ms - taken_unix_ms) +
         " ago";
}

ByteString RecallSample::Encode() const {
  ByteString bytes;
  AppendFixed(bytes, kSampleVersion);
  AppendVarint(bytes, ef);
  AppendFixed(bytes, recall);
  AppendVarint(bytes, query_count);
  AppendFixed<std::uint8_t>(bytes, is_of_recent_queries ? 1 : 0);
  AppendFixed(bytes, taken_unix_ms);
  AppendVarint(bytes, entry_count);
  AppendVarint(bytes, points.size());
  for (const RecallPoint& point : points) {
    AppendVarint(bytes, point.ef);
    AppendFixed(bytes, point.recall);
  }
  return bytes;
}

Result<RecallSample> RecallSample::Decode(Bytes bytes) {
  ByteReader reader(bytes);
  RecallSample sample;
  const auto version = reader.Fixed<std::uint8_t>();
  sample.ef = static_cast<std::uint32_t>(reader.VarintAtMost(kEfMax));
  sample.recall = reader.Fixed<double>();
  sample.query_count = static_cast<std::uint32_t>(reader.VarintAtMost(UINT32_MAX));
  const auto is_recent = reader.Fixed<std::uint8_t>();
  sample.is_of_recent_queries = is_recent == 1;
  sample.taken_unix_ms = reader.Fixed<std::int64_t>();
  sample.entry_count = reader.Varint();
  const std::uint64_t point_count = reader.VarintAtMost(kPointsMax);
  const auto is_share = [](double value) { return value >= 0 && value <= 1; };
  bool is_valid = reader.ok() && version == kSampleVersion && is_recent <= 1 && is_share(sample.recall);
  std::uint32_t before = 0;
  for (std::uint64_t i = 0; i < point_count && is_valid; ++i) {
    RecallPoint& point = sample.points.emplace_back();
    point.ef = static_cast<std::uint32_t>(reader.VarintAtMost(kEfMax));
    point.recall = reader.Fixed<double>();
    is_valid = reader.ok() && point.ef > before && is_share(point.recall);
    before = point.ef;
  }
  if (is_valid && reader.at_end()) return sample;
  return Status::Corruption("a recall sample of " + std::to_string(bytes.size()) + " bytes does not follow the format");
}

Result<std::vector<RecallQuery>> StoredQueries(ReadTxn& txn, const VectorIndexDefinition& index,
                                               std::size_t sample_count) {
  std::vector<RecallQuery> samples;
  VectorReader vectors(txn, index);
  FORESHORE_ASSIGN_OR_RETURN(const auto range, vectors.DocidRange());
  if (!range || sample_count == 0) return samples;
  std::unordered_set<std::int64_t> taken;
  const auto take = [&]() -> Status {
    if (!taken.insert(vectors.docid()).second) return Status::Ok();
    FORESHORE_ASSIGN_OR_RETURN(const StoredVector stored, DecodeStoredVector(vectors.value()));
    FORESHORE_ASSIGN_OR_RETURN(const VectorRecord record,
                               DecodeVectorRecord(stored.records[0], index.options.dimension));
    if (record.scale == 0.0F) return Status::Ok();  // A vector of zeros is near nothing under cosine.
    RecallQuery& sample = samples.emplace_back();
    sample.itself = vectors.docid();
    sample.values.resize(index.options.dimension);
    DequantizeVector(record, sample.values);
    return Status::Ok();
  };
  const std::uint64_t step = static_cast<std::uint64_t>(range->second - range->first) / sample_count;
  for (std::size_t i = 0; i < sample_count && step > 0; ++i) {
    const std::int64_t docid = range->first + static_cast<std::int64_t>(step / 2 + step * i);
    if (!vectors.valid() || vectors.docid() < docid) FORESHORE_RETURN_IF_ERROR(vectors.Seek(docid));
    if (!vectors.valid()) break;
    FORESHORE_RETURN_IF_ERROR(take());
  }
  // Where docids lie in heaps, few were met. The first that are left make up for them.
  if (samples.size() < sample_count) FORESHORE_RETURN_IF_ERROR(vectors.SeekFirst());
  while (samples.size() < sample_count && vectors.valid()) {
    FORESHORE_RETURN_IF_ERROR(take());
    FORESHORE_RETURN_IF_ERROR(vectors.Next());
  }
  return samples;
}

std::vector<std::int64_t> NearestDocids(std::span<const VectorMatch> matches, std::int64_t itself) {
  std::vector<std::int64_t> docids;
  for (const VectorMatch& match : matches) {
    if (match.docid != itself && docids.size() < kRecallNeighbours) docids.push_back(match.docid);
  }
  std::sort(docids.begin(), docids.end());
  return docids;
}

Result<std::size_t> CountFound(const VectorIndex& graph, std::uint64_t sequence, const RecallQuery& query,
                               std::span<const std::int64_t> nearest, std::uint32_t ef) {
  const std::size_t itself_count = query.itself >= 0 ? 1 : 0;
  VectorSearchOptions options;
  options.ef = ef + itself_count;
  options.k_hint = kRecallNeighbours + itself_count;
  options.strategy = VectorStrategy::kGraph;
  FORESHORE_ASSIGN_OR_RETURN(const auto cursor, graph.NewCursor(query.values, sequence, options));
  std::vector<VectorMatch> matches;
  while (matches.size() < kRecallNeighbours + itself_count) {
    FORESHORE_ASSIGN_OR_RETURN(const auto match, cursor->Next());
    if (!match) break;
    matches.push_back(*match);
  }
  std::size_t found_count = 0;
  for (const std::int64_t docid : NearestDocids(matches, query.itself)) {
    found_count += std::binary_search(nearest.begin(), nearest.end(), docid) ? 1 : 0;
  }
  return found_count;
}

}  // namespace foreshore
