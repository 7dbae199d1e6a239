// RecallSampler: which index needs a sample, and taking it a slice at a time.
#include <algorithm>

#include "engine/database/core.h"
#include "engine/database/derived_vector_index.h"
#include "engine/database/recall_sample.h"

namespace foreshore {
namespace {

constexpr std::size_t kQueriesMax = 32;
constexpr std::size_t kQueriesMin = 4;
// What a sample may cost: so many codes are compared, unless even the fewest queries take more.
constexpr std::uint64_t kComparisonsMax = 16'000'000;
// Taken anew after so large a part of the index, and so many vectors, have changed.
constexpr std::uint64_t kChangedFraction = 10;
constexpr std::uint64_t kChangedMin = 256;

bool WantsSample(const DerivedVectorIndex& index) {
  if (index.has_failed_sample()) return false;
  const std::uint64_t entry_count = index.graph().entry_count();
  const VectorSearchOptions options = index.SearchOptions(kRecallNeighbours, 0);
  if (entry_count <= kRecallNeighbours || !index.graph().DescribeStrategy(options).starts_with("hnsw")) return false;
  const RecallSample sample = index.recall_sample();
  if (sample.ef != options.ef) return true;  // Never taken, or the settings are others.
  if (!sample.is_of_recent_queries && index.recent_queries().size() >= kRecentQueriesMin) return true;
  const std::uint64_t grown = std::max(entry_count, sample.entry_count) - std::min(entry_count, sample.entry_count);
  const std::uint64_t changed = std::max(grown, index.changed_since_sample());
  return changed >= std::max(kChangedMin, entry_count / kChangedFraction);
}

}  // namespace

class RecallSampler::Run {
 public:
  // Nothing where there are no queries.
  static Result<std::shared_ptr<Run>> Begin(DatabaseCore& core, const VectorIndexDefinition& definition,
                                            std::shared_ptr<DerivedVectorIndex> index) {
    auto run = std::make_shared<Run>();
    run->index_ = std::move(index);
    run->index_->NoteSampling();
    FORESHORE_ASSIGN_OR_RETURN(const auto view, core.BeginRead());
    run->pin_ = core.PinSnapshot();
    run->sequence_ = static_cast<std::uint64_t>(*run->pin_);
    const VectorIndex& graph = run->index_->graph();
    const std::uint64_t entry_count = std::max<std::uint64_t>(1, graph.entry_count());
    const auto affordable = static_cast<std::size_t>(kComparisonsMax / entry_count);
    const std::size_t query_count = std::clamp(affordable, kQueriesMin, kQueriesMax);
    std::vector<RecallQuery> recent = run->index_->recent_queries().Copy();
    run->sample_.is_of_recent_queries = recent.size() >= kRecentQueriesMin;
    if (run->sample_.is_of_recent_queries) {
      recent.resize(std::min(recent.size(), query_count));
      run->queries_ = std::move(recent);
    } else {
      FORESHORE_ASSIGN_OR_RETURN(run->queries_, StoredQueries(view->txn(), definition, query_count));
    }
    if (run->queries_.empty()) return std::shared_ptr<Run>();
    run->sample_.ef = static_cast<std::uint32_t>(run->index_->SearchOptions(kRecallNeighbours, 0).ef);
    run->sample_.entry_count = entry_count;
    run->sample_.query_count = static_cast<std::uint32_t>(run->queries_.size());
    for (const std::uint32_t ef :
         {run->sample_.ef / 4, run->sample_.ef / 2, run->sample_.ef, run->sample_.ef * 2, run->sample_.ef * 4}) {
      if (ef >= kRecallNeighbours && ef < 100'000) run->sample_.points.push_back({ef, 0});
    }
    std::vector<std::vector<float>> values;
    for (const RecallQuery& query : run->queries_) values.push_back(query.values);
    FORESHORE_ASSIGN_OR_RETURN(run->scan_, graph.NewScan(values, run->sequence_, kRecallNeighbours + 1));
    return run;
  }

  // Whether there is more to do.
  Result<bool> Step(Clock& clock, std::int64_t budget_us) {
    const std::int64_t begin_us = clock.NowMonotonicUs();
    if (scan_) {
      FORESHORE_ASSIGN_OR_RETURN(const bool has_more, scan_->Step(clock, budget_us));
      if (has_more) return true;
      for (std::size_t i = 0; i < queries_.size(); ++i) {
        nearest_.push_back(NearestDocids(scan_->nearest(i), queries_[i].itself));
        true_count_ += nearest_.back().size();
      }
      scan_.reset();
    }
    while (point_ < sample_.points.size()) {
      RecallPoint& point = sample_.points[point_];
      FORESHORE_ASSIGN_OR_RETURN(const std::size_t found,
                                 CountFound(index_->graph(), sequence_, queries_[query_], nearest_[query_], point.ef));
      found_count_ += found;
      if (++query_ == queries_.size()) {
        point.recall = true_count_ == 0 ? 1 : static_cast<double>(found_count_) / static_cast<double>(true_count_);
        query_ = found_count_ = 0;
        ++point_;
      }
      if (clock.NowMonotonicUs() - begin_us >= budget_us) return true;
    }
    sample_.recall = sample_.EstimateAt(sample_.ef);
    sample_.taken_unix_ms = clock.NowUnixMs();
    index_->SetRecallSample(sample_);
    return false;
  }
  DerivedVectorIndex& index() { return *index_; }

 private:
  std::shared_ptr<DerivedVectorIndex> index_;  // Shared with the core, which may drop it meanwhile.
  std::shared_ptr<const std::int64_t> pin_;
  std::uint64_t sequence_ = 0;
  RecallSample sample_;
  std::vector<RecallQuery> queries_;
  std::unique_ptr<VectorScan> scan_;  // Until it is through.
  std::vector<std::vector<std::int64_t>> nearest_;
  std::size_t true_count_ = 0;
  std::size_t point_ = 0;
  std::size_t query_ = 0;
  std::size_t found_count_ = 0;
};

Result<bool> RecallSampler::Step(std::int64_t budget_us) {
  if (!run_) {
    const auto catalog = core_.catalog();
    for (const CollectionDefinition& collection : catalog->collections) {
      for (const VectorIndexDefinition& definition : collection.vector_indexes) {
        auto index = core_.FindDerived(definition.id);
        if (run_ || !index || index->NeedsRebuild() || !WantsSample(*index)) continue;
        FORESHORE_ASSIGN_OR_RETURN(run_, Run::Begin(core_, definition, index));
        if (!run_) index->NoteFailedSample();
      }
    }
    if (!run_) return false;
  }
  const Result<bool> has_more = run_->Step(core_.clock(), budget_us);
  if (has_more.ok() && *has_more) return true;
  if (!has_more.ok()) run_->index().NoteFailedSample();
  run_.reset();
  return has_more;
}

}  // namespace foreshore
