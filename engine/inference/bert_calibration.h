// Calibration texts on their way through a BERT that is being quantized layer by layer: the hidden states before one
// layer, of the float model and of the one whose layers before are quantized, over the same tokens.
//
// Memory: hidden states of all tokens, twice, and the sums of one linear layer; before that the embeddings, packed.
// Threads: one at a time, on the caller's.
#pragma once

#include <cstdint>
#include <span>
#include <vector>

#include "engine/inference/bert.h"
#include "engine/inference/bert_adapter.h"
#include "engine/inference/calibration_sums.h"
#include "engine/inference/packed_bert_in_memory.h"
#include "foreshore/status.h"

namespace foreshore {

class BertCalibration {
 public:
  // Before the first layer. kInvalidArgument where a sequence is empty, too long or has a token outside the vocabulary.
  static Result<BertCalibration> Create(const BertModel& f32, const std::vector<std::vector<std::int32_t>>& sequences);

  // One layer as a model of its own, in f32 and named layer.0, with embeddings of one token: what the calls below take.
  static BertModel LayerOf(const BertModel& f32, std::size_t layer);

  // What `linear` reads in the layer that the texts have come to. `exact` is the layer in f32, `quantized` the same
  // with what it has before `linear` quantized.
  Result<CalibrationSums> Collect(const PackedBertInMemory& exact, const PackedBertInMemory& quantized,
                                  BertLinear linear) const;

  // Goes on behind the layer.
  Status Advance(const PackedBertInMemory& exact, const PackedBertInMemory& quantized);

  std::size_t token_count() const { return token_count_; }

 private:
  BertCalibration() = default;
  // body(lengths, first token) for as many sequences at a time as an executor takes.
  template <typename Body>
  Status ForEachChunk(std::size_t token_budget, const Body& body) const;

  std::size_t hidden_size_ = 0;
  std::size_t token_count_ = 0;
  std::vector<std::size_t> lengths_;  // Of sequences, in tokens.
  std::vector<float> exact_;          // [token_count_][hidden_size_]
  std::vector<float> quantized_;
};

}  // namespace foreshore
