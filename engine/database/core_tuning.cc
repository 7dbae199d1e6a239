// DatabaseCore::TuneVectorIndex(): how much search an index needs for the recall that its user names.
#include <algorithm>
#include <chrono>
#include <vector>

#include "engine/database/core.h"
#include "engine/database/derived_vector_index.h"
#include "engine/database/write_view.h"
#include "storage/base/coding.h"
#include "storage/base/log.h"

namespace foreshore {
namespace {

constexpr std::uint32_t kEfMin = 10;
constexpr std::uint32_t kEfMax = 2560;

struct Sample {
  RecallQuery query;
  std::vector<std::int64_t> nearest;  // NearestDocids().
};

// Recall and time of searches that keep `ef` candidates.
Result<VectorTuningResult> Measure(const VectorIndex& graph, std::uint64_t sequence, const std::vector<Sample>& samples,
                                   std::uint32_t ef) {
  std::size_t found_count = 0;
  std::size_t true_count = 0;
  const auto start = std::chrono::steady_clock::now();
  for (const Sample& sample : samples) {
    FORESHORE_ASSIGN_OR_RETURN(const std::size_t found, CountFound(graph, sequence, sample.query, sample.nearest, ef));
    found_count += found;
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
  FORESHORE_ASSIGN_OR_RETURN(const auto sampled, txn.Get(settings_, Bytes(RecallSetting(index_id))));
  if (sampled) {
    auto sample = RecallSample::Decode(*sampled);
    if (sample.ok()) {
      index.RestoreRecallSample(std::move(sample).value());
    } else {  // It is taken again, no more.
      Log(LogLevel::kWarning, "index", "setting \"" + RecallSetting(index_id) + "\": " + sample.status().message());
    }
  }
  FORESHORE_ASSIGN_OR_RETURN(const auto queries, txn.Get(queries_, index_id));
  if (queries) {
    const Status restored = index.recent_queries().Restore(*queries, index.graph().config().dimension);
    if (!restored.ok()) Log(LogLevel::kWarning, "index", restored.message());  // New ones come.
  }
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
  std::vector<RecallQuery> queries = derived->recent_queries().Copy();
  const bool is_of_recent = queries.size() >= kRecentQueriesMin;
  if (is_of_recent) {
    queries.resize(std::min(queries.size(), sample_count));
  } else {
    FORESHORE_ASSIGN_OR_RETURN(queries, StoredQueries(view->txn(), *index, sample_count));
  }
  if (queries.empty() || graph.entry_count() <= kRecallNeighbours) {
    return Status::InvalidArgument(name + ": " + std::to_string(graph.entry_count()) + " vectors, expected more than " +
                                   std::to_string(kRecallNeighbours));
  }
  std::vector<Sample> samples;
  for (RecallQuery& query : queries) {
    FORESHORE_RETURN_IF_ERROR(RefuseIfClosed());
    FORESHORE_ASSIGN_OR_RETURN(const auto matches, graph.ExactSearch(query.values, sequence, kRecallNeighbours + 1));
    std::vector<std::int64_t> nearest = NearestDocids(matches, query.itself);
    samples.push_back({std::move(query), std::move(nearest)});
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
  best.sample_kind = is_of_recent ? "recent queries" : "stored vectors";
  return best;
}

}  // namespace foreshore
