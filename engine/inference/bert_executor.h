// Runs a packed int8 BERT: token ids in, one sentence embedding per sequence out.
//
// Sequences of a call are laid one behind the other without padding, as many as fit the token budget at a time.
// Matrix products are int8 by int8 or by 4 bits, with a scale per token and per output channel or group of inputs, or
// f32 where the weights are; everything between is f32. The embedding of a sequence depends on its tokens alone, bit
// for bit: not on its batch mates, on the budget or on the number of threads. Different processors differ by rounding
// (engine/inference/float_kernels.h).
//
// Memory: one arena, sized at creation; Embed allocates nothing when it runs on the caller's thread alone.
// Lifetime: borrows the packed bytes and the pool.
// Threads: one call at a time per executor; executors may share the packed model and the pool. Embed must not be
// called from a thread of its own pool, which would wait for itself.
#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <optional>
#include <span>

#include "engine/inference/bert_adapter.h"
#include "engine/inference/bert_packed.h"
#include "foreshore/status.h"
#include "storage/base/cpu.h"
#include "storage/base/thread_pool.h"

namespace foreshore {

// What the linear layers of a model read while it runs: the activations that calibration is made of.
class LinearObserver {
 public:
  virtual ~LinearObserver() = default;
  // `rows` has `row_count` rows, `stride` floats apart, of as many numbers as the layer has inputs. query, key and
  // value share what they read, which is reported as kQuery. Valid for the time of the call.
  virtual void OnInput(std::size_t layer, BertLinear linear, const float* rows, std::size_t stride,
                       std::size_t row_count) = 0;
};

class BertExecutor {
 public:
  struct Options {
    // Tokens that go through the layers together; 0 stands for 512 or the model's longest sequence, whichever is more.
    std::size_t token_budget = 0;
    ThreadPool* pool = nullptr;  // Null: the caller's thread alone.
    std::optional<CpuLevel> cpu_level =
        std::nullopt;                    // Unset: the best of this machine. kInvalidArgument if it lacks the level.
    LinearObserver* observer = nullptr;  // Called from Embed on the caller's thread; not together with a pool.
  };

  // kInvalidArgument where the budget is below the model's longest sequence.
  static Result<std::unique_ptr<BertExecutor>> Create(const PackedBert& packed, const Options& options);
  ~BertExecutor();
  BertExecutor(const BertExecutor&) = delete;
  BertExecutor& operator=(const BertExecutor&) = delete;

  // out[i·H ..] is the embedding of sequences[i]: the mean over its tokens, of length 1 if the model says so. Each
  // sequence holds 1..token_count_max ids ([CLS] and [SEP] are the caller's) in 0..V-1; anything else is
  // kInvalidArgument, naming sequence and token, and nothing is computed. kCorruption where a model yields NaN or
  // infinity. `out` has exactly sequences.size() · H floats. `adapter`, where there is one, was made for this model's
  // configuration (kInvalidArgument) and is borrowed for the call.
  Status Embed(std::span<const std::span<const std::int32_t>> sequences, std::span<float> out,
               const BertAdapter* adapter = nullptr);

  // The layers alone, without embedding and pooling: `hidden` has the H floats of each token, sequence behind sequence
  // of these lengths, and becomes what the last layer gives. kInvalidArgument where the lengths are
  // not 1..token_count_max, exceed the budget together or do not fit `hidden`.
  Status RunLayers(std::span<const std::size_t> lengths, std::span<float> hidden);
  // The same, only until the observer has been shown what `linear` of the first layer reads.
  Status ShowInput(std::span<const std::size_t> lengths, std::span<const float> hidden, BertLinear linear);

  const BertConfig& config() const;
  std::size_t token_budget() const;
  // Bytes of the arena. The mapped weights are not part of it.
  std::size_t MemoryBytes() const;

 private:
  class Plan;
  explicit BertExecutor(std::unique_ptr<Plan> plan);
  std::unique_ptr<Plan> plan_;
};

}  // namespace foreshore
