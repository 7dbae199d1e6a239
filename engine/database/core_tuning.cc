// DatabaseCore::TuneVectorIndex(): how much search an index needs for the recall that its user names.
#include <algorithm>
#include <chrono>
#include <vector>

#include "engine/database/core.h"
#include "engine/database/derived_vector_index.h"
#include "engine/database/stored_vector.h"
#include "engine/database/write_view.h"
#include "index/quantizer.h"
#include "storage/base/coding.h"

namespace foreshore {
namespace {

constexpr std::size_t kNeighbours = 10;
constexpr std::uint32_t kEfMin = 10;
constexpr std::uint32_t kEfMax = 2560;

struct Sample {
  std::int64_t docid = 0;
  std::vector<float> query;
  std::vector<std::int64_t> nearest;  // The true ones, without itself, in ascending order.
};

// Vectors at even distances in the order of docids.
Result<std::vector<Sample>> TakeSamples(ReadTxn& txn, const VectorIndexDefinition& index, std::uint64_t vector_count,
                                        std::size_t sample_count) {
  const std::uint64_t step = std::max<std::uint64_t>(1, vector_count / std::max<std::size_t>(1, sample_count));
  std::vector<Sample> samples;
  FORESHORE_ASSIGN_OR_RETURN(const auto cursor, txn.NewCursor(index.vectors));
  FORESHORE_RETURN_IF_ERROR(cursor->SeekFirst());
  for (std::uint64_t number = 0; cursor->valid() && samples.size() < sample_count; ++number) {
    if (number % step == step / 2) {
      FORESHORE_ASSIGN_OR_RETURN(const StoredVector stored, DecodeStoredVector(cursor->value()));
      FORESHORE_ASSIGN_OR_RETURN(const VectorRecord record,
                                 DecodeVectorRecord(stored.records[0], index.options.dimension));
      // A vector of zeros is near nothing under cosine.
      if (record.scale != 0.0F) {
        Sample& sample = samples.emplace_back();
        sample.docid = cursor->integer_key();
        sample.query.resize(index.options.dimension);
        DequantizeVector(record, sample.query);
      }
    }
    FORESHORE_RETURN_IF_ERROR(cursor->Next());
  }
  return samples;
}

std::vector<std::int64_t> WithoutItself(const std::vector<VectorMatch>& matches, std::int64_t itself) {
  std::vector<std::int64_t> docids;
  for (const VectorMatch& match : matches) {
    if (match.docid != itself && docids.size() < kNeighbours) docids.push_back(match.docid);
  }
  std::sort(docids.begin(), docids.end());
  return docids;
}

// Recall and time of searches that keep `ef` candidates.
Result<VectorTuningResult> Measure(const VectorIndex& graph, std::uint64_t sequence, const std::vector<Sample>& samples,
                                   std::uint32_t ef) {
  std::size_t found_count = 0;
  std::size_t true_count = 0;
  const auto start = std::chrono::steady_clock::now();
  for (const Sample& sample : samples) {
    VectorSearchOptions options;
    options.ef = ef + 1;  // One is itself.
    options.k_hint = kNeighbours + 1;
    options.strategy = VectorStrategy::kGraph;
    FORESHORE_ASSIGN_OR_RETURN(const auto cursor, graph.NewCursor(sample.query, sequence, options));
    std::vector<VectorMatch> matches;
    while (matches.size() <= kNeighbours) {
      FORESHORE_ASSIGN_OR_RETURN(const auto match, cursor->Next());
      if (!match) break;
      matches.push_back(*match);
    }
    for (const std::int64_t docid : WithoutItself(matches, sample.docid)) {
      found_count += std::binary_search(sample.nearest.begin(), sample.nearest.end(), docid) ? 1 : 0;
    }
    true_count += sample.nearest.size();
  }
  const std::chrono::duration<double, std::micro> taken = std::chrono::steady_clock::now() - start;
  VectorTuningResult result;
  result.ef = ef;
  result.recall = static_cast<double>(found_count) / static_cast<double>(true_count);
  result.search_us = taken.count() / static_cast<double>(samples.size());
  result.sample_count = samples.size();
  return result;
}

}  // namespace

std::string DatabaseCore::TuningSetting(std::uint32_t index_id) {
  return "tuning." + std::to_string(index_id);
}

Status DatabaseCore::ReadTuning(ReadTxn& txn, std::uint32_t index_id, DerivedVectorIndex& index) {
  FORESHORE_ASSIGN_OR_RETURN(const auto stored, txn.Get(settings_, Bytes(TuningSetting(index_id))));
  if (!stored) return Status::Ok();
  ByteReader reader(*stored);
  VectorTuning tuning;
  tuning.ef = static_cast<std::uint32_t>(reader.VarintAtMost(kEfMax));
  tuning.recall = reader.Fixed<double>();
  if (!reader.ok() || !reader.at_end()) {
    return Status::Corruption("setting \"" + TuningSetting(index_id) + "\": " + std::to_string(stored->size()) +
                              " bytes do not follow the format");
  }
  index.SetTuning(tuning);
  return Status::Ok();
}

Result<VectorTuningResult> DatabaseCore::TuneVectorIndex(const std::string& collection, const std::string& field,
                                                         double recall, std::size_t sample_count) {
  FORESHORE_RETURN_IF_ERROR(RefuseIfClosed());
  const std::string name = "vector index \"" + collection + "." + field + "\"";
  if (!(recall >= 0.5 && recall <= 1.0)) {
    return Status::InvalidArgument(name + ": recall is " + std::to_string(recall) + ", expected 0.5 to 1");
  }
  if (sample_count == 0) return Status::InvalidArgument(name + ": 0 samples, expected at least 1");
  FORESHORE_ASSIGN_OR_RETURN(const auto view, BeginRead());
  FORESHORE_ASSIGN_OR_RETURN(const CollectionDefinition* definition, view->catalog().Require(collection));
  const VectorIndexDefinition* index = definition->FindVectorIndex(field);
  const auto derived = index != nullptr ? FindDerived(index->id) : nullptr;
  if (!derived) return Status::NotFound(name + " does not exist");
  FORESHORE_RETURN_IF_ERROR(derived->Apply());
  const VectorIndex& graph = derived->graph();
  const auto sequence = static_cast<std::uint64_t>(view->sequence());
  FORESHORE_ASSIGN_OR_RETURN(auto samples, TakeSamples(view->txn(), *index, graph.entry_count(), sample_count));
  if (samples.empty() || graph.entry_count() <= kNeighbours) {
    return Status::InvalidArgument(name + ": " + std::to_string(graph.entry_count()) + " vectors, expected more than " +
                                   std::to_string(kNeighbours));
  }
  for (Sample& sample : samples) {
    FORESHORE_RETURN_IF_ERROR(RefuseIfClosed());
    FORESHORE_ASSIGN_OR_RETURN(const auto matches, graph.ExactSearch(sample.query, sequence, kNeighbours + 1));
    sample.nearest = WithoutItself(matches, sample.docid);
  }
  VectorTuningResult best;
  for (std::uint32_t ef = kEfMin; ef <= kEfMax; ef += std::max<std::uint32_t>(1, ef / 5)) {
    FORESHORE_RETURN_IF_ERROR(RefuseIfClosed());
    FORESHORE_ASSIGN_OR_RETURN(best, Measure(graph, sequence, samples, ef));
    if (best.recall >= recall) break;
  }
  if (best.recall < recall) {
    return Status::Limit(name + ": recall " + std::to_string(best.recall) + " with " + std::to_string(best.ef) +
                         " candidates, expected " + std::to_string(recall) +
                         ": an index with more links, or with 16 bits, finds more");
  }
  ByteString setting;
  AppendVarint(setting, best.ef);
  AppendFixed(setting, best.recall);
  FORESHORE_ASSIGN_OR_RETURN(const auto write, BeginWrite());
  FORESHORE_RETURN_IF_ERROR(write->PutSetting(TuningSetting(index->id), setting));
  FORESHORE_RETURN_IF_ERROR(write->Commit());
  derived->SetTuning({best.ef, best.recall});
  return best;
}

}  // namespace foreshore
