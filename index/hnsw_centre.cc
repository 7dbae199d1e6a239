// The mean that small codes (index/small_code.h) under L2 are made without. It is part of every row, so that it is
// fixed while a graph lives: the first one begins without a mean, the graph in use from kMeanVectorsMin vectors on has
// that of those it began with, and each compaction takes it anew. What is searched before is little and is scanned
// instead.
#include <algorithm>
#include <utility>

#include "index/hnsw_index.h"

namespace foreshore {
namespace {

constexpr std::size_t kMeanVectorsMin = 1024;
constexpr std::size_t kMeanSampleMax = 16384;  // Evenly spaced: more would not move the mean by what codes can tell.

}  // namespace

// Whether graphs of `config` have a mean, where there are vectors enough.
bool HnswIndex::IsCentred(const HnswGraphConfig& config) const {
  return config.small_codes && config.metric == VectorMetric::kL2 && config_.small_codes_centred;
}

HnswGraphConfig HnswIndex::Centred(const HnswGraphConfig& config, std::span<const void* const> codes) const {
  HnswGraphConfig centred = config;
  if (!IsCentred(config) || codes.size() < kMeanVectorsMin) return centred;
  std::vector<const void*> sample;
  const std::size_t step = (codes.size() + kMeanSampleMax - 1) / kMeanSampleMax;
  for (std::size_t i = 0; i < codes.size(); i += step) sample.push_back(codes[i]);
  centred.small_codes->mean = MeanOfCodes(config.dimension, sample);
  return centred;
}

// Puts a graph with a mean in place where the one there has none and there are vectors enough with those of codes_.
Status HnswIndex::CentreLocked(std::size_t added_count, unsigned thread_count) {
  const std::shared_ptr<State> now = state();
  const HnswGraphConfig& config = now->graph->config();
  if (!IsCentred(config) || !config.small_codes->mean.empty()) return Status::Ok();
  const std::uint32_t node_count = now->graph->node_count();
  std::vector<const void*> codes;
  for (std::uint32_t slot = 0; slot < node_count; ++slot) {
    FORESHORE_RETURN_IF_ERROR(now->CheckCodes(slot));
    codes.push_back(now->graph->code(slot));
  }
  for (std::size_t i = 0; i < added_count; ++i) codes.push_back(codes_.data() + i * VectorCodeBytes(config.dimension));
  const HnswGraphConfig centred = Centred(config, codes);
  if (centred.small_codes->mean.empty()) return Status::Ok();
  auto to = std::make_shared<State>();
  FORESHORE_ASSIGN_OR_RETURN(to->graph, HnswGraph::Create(centred, node_count));
  FORESHORE_RETURN_IF_ERROR(to->graph->AddMany(std::span(codes).first(node_count), thread_count));
  for (std::uint32_t slot = 0; slot < node_count; ++slot) to->entries.Put(slot, now->entries[slot]);
  AdoptLocked(std::move(to));
  ForgetSavedLocked();
  return Status::Ok();
}

}  // namespace foreshore
