#include "engine/inference/bert_executor.h"

#include <algorithm>
#include <atomic>
#include <cmath>
#include <cstring>
#include <new>
#include <string>
#include <utility>

#include "engine/inference/float_kernels.h"
#include "engine/inference/int8_gemm.h"

namespace foreshore {
namespace {

constexpr std::size_t kTokenBudgetDefault = 512;
// Tokens that one worker takes through a layer together: enough to amortise reading the weights, few enough for the
// intermediate activations to stay in a second-level cache.
constexpr std::size_t kBlockTokensMax = 96;
// Blocks are not cut smaller than this to occupy more workers.
constexpr std::size_t kBlockTokensMin = 16;
constexpr std::size_t kBlockTokensMultiple = 8;
constexpr std::size_t kArenaAlignment = 64;

constexpr std::size_t RoundUp(std::size_t value, std::size_t multiple) {
  return (value + multiple - 1) / multiple * multiple;
}

// Hands out aligned pieces of one allocation: first measured with a null base, then carved.
class Arena {
 public:
  explicit Arena(char* base) : base_(base) {}
  template <typename T>
  T* Take(std::size_t count) {
    const std::size_t offset = size_bytes_;
    size_bytes_ += RoundUp(count * sizeof(T), kArenaAlignment);
    return base_ == nullptr ? nullptr : reinterpret_cast<T*>(base_ + offset);
  }
  std::size_t size_bytes() const { return size_bytes_; }

 private:
  char* base_;
  std::size_t size_bytes_ = 0;
};

struct ArenaDelete {
  void operator()(char* memory) const { ::operator delete[](memory, std::align_val_t(kArenaAlignment)); }
};

// What one worker needs to itself.
struct Scratch {
  std::int8_t* codes;       // [block][depth]
  char* packed;             // The same, as the integer kernel wants it.
  RowCode* row_codes;       // [block]
  char* workspace;          // Of the integer kernels.
  std::int32_t* sums;       // [block][64]
  std::int32_t* code_sums;  // [groups][block], of 4-bit layers.
  float* gathered;          // [depth], a row in a layer's own order of inputs.
  float* acc;               // [block][64], of layers that are not int8.
  float* low_rank;          // [block][kAdapterRankColumnsMax], of adapters.
  float* intermediate;      // [block][I padded to 64]
  float* projected;         // [block][H padded to 64]
  float* attention;         // Workspace of one head.
};

struct TokenRange {
  std::size_t first;
  std::size_t count;
};

// What an adapter adds to 64 outputs, of A x in `low_rank`; nothing where there is no adapter.
LowRankTerm TermOf(const LowRankInput* adapted, std::size_t panel, const float* low_rank, std::size_t stride) {
  if (adapted == nullptr) return {};
  const LowRankPanel& place = adapted->panels[panel];
  return {low_rank + place.first_rank, stride, place.rank, adapted->b.data() + place.first};
}
LowRankTerm TermOf(const LowRankInput* adapted, std::size_t panel, const float* low_rank) {
  return TermOf(adapted, panel, low_rank, adapted == nullptr ? 0 : adapted->rank_columns);
}

std::string NameOfToken(std::size_t sequence, std::size_t token) {
  return "embed: sequence " + std::to_string(sequence) + " token " + std::to_string(token);
}

}  // namespace

class BertExecutor::Plan {
 public:
  Plan(const PackedBert& packed, std::size_t token_budget, ThreadPool* pool, CpuLevel level, LinearObserver* observer)
      : packed_(packed),
        config_(packed.config()),
        token_budget_(token_budget),
        pool_(pool),
        observer_(observer),
        worker_count_(pool == nullptr ? 1 : pool->thread_count() + 1),
        gemm_(Int8GemmFor(level)),
        int4_gemm_(Int4GemmFor(level)),
        kernels_(FloatKernelsFor(level)),
        hidden_stride_(RoundUp(config_.hidden_size, kInt8PanelColumns)),
        qkv_stride_(RoundUp(3 * std::size_t{config_.hidden_size}, kInt8PanelColumns)),
        intermediate_stride_(RoundUp(config_.intermediate_size, kInt8PanelColumns)),
        scratch_(std::make_unique<Scratch[]>(worker_count_)) {
    Arena measure(nullptr);
    Carve(measure);
    memory_bytes_ = measure.size_bytes();
    memory_.reset(static_cast<char*>(::operator new[](memory_bytes_, std::align_val_t(kArenaAlignment))));
    Arena arena(memory_.get());
    Carve(arena);
  }

  Status CheckInput(std::span<const std::span<const std::int32_t>> sequences, std::size_t out_count) const;
  Status CheckLengths(std::span<const std::size_t> lengths, std::size_t hidden_count) const;
  // `sequences` fit the budget together; `out` takes their embeddings.
  void Run(std::span<const std::span<const std::int32_t>> sequences, const BertAdapter* adapter, float* out);
  // `out`, which may be `hidden`, is written unless `until` is set.
  void RunLayers(std::span<const std::size_t> lengths, const float* hidden, std::optional<BertLinear> until,
                 float* out);

  const BertConfig& config() const { return config_; }
  std::size_t token_budget() const { return token_budget_; }
  std::size_t memory_bytes() const { return memory_bytes_; }

 private:
  void Carve(Arena& arena);
  void PlaceTokens(std::span<const std::span<const std::int32_t>> sequences);
  void CutBlocks();
  void FinishLayers();
  template <typename Body>
  void ForEach(std::size_t count, const Body& body);
  TokenRange BlockAt(std::size_t index) const;

  void EmbedTokens(TokenRange range);
  void ProjectQkv(std::size_t layer, TokenRange range, Scratch& scratch);
  void AttendHead(std::size_t sequence, std::size_t head, Scratch& scratch);
  void FinishLayer(std::size_t layer, TokenRange range, Scratch& scratch);
  void Pool(std::size_t sequence, float* out) const;

  // Rows that a linear layer takes and gives.
  struct LinearRows {
    const float* in;
    std::size_t in_stride;
    std::size_t count;
    float* out;
    std::size_t out_stride;
  };
  void Linear(std::size_t layer, BertLinear first, const PackedLinear& linear, const LinearRows& rows,
              Activation activation, Scratch& scratch) const;
  void QuantizeRows(const PackedLinear& linear, const LinearRows& rows, Scratch& scratch) const;
  // `adapted` is null where there is nothing to add.
  void LinearInt8(const PackedLinear& linear, const LinearRows& rows, const LowRankInput* adapted,
                  Activation activation, Scratch& scratch) const;
  void LinearGrouped(const PackedLinear& linear, const LinearRows& rows, const LowRankInput* adapted,
                     Activation activation, Scratch& scratch) const;
  void LinearFloat(const PackedLinear& linear, const LinearRows& rows, const LowRankInput* adapted,
                   Activation activation, Scratch& scratch) const;
  void MultiplyLowRank(const LowRankInput& input, const LinearRows& rows, Scratch& scratch) const;

  const PackedBert& packed_;
  const BertConfig& config_;
  const std::size_t token_budget_;
  ThreadPool* const pool_;
  LinearObserver* const observer_;
  const std::size_t worker_count_;
  const Int8Gemm& gemm_;
  const Int4Gemm& int4_gemm_;
  const FloatKernels& kernels_;
  const std::size_t hidden_stride_;
  const std::size_t qkv_stride_;
  const std::size_t intermediate_stride_;

  std::unique_ptr<char[], ArenaDelete> memory_;
  std::size_t memory_bytes_ = 0;
  std::unique_ptr<Scratch[]> scratch_;  // One per worker.
  float* hidden_ = nullptr;             // [budget][hidden_stride_]
  float* qkv_ = nullptr;                // [budget][qkv_stride_]
  float* context_ = nullptr;            // [budget][hidden_stride_]
  std::int32_t* ids_ = nullptr;         // [budget]
  std::int32_t* positions_ = nullptr;   // [budget]
  std::size_t* starts_ = nullptr;       // [budget + 1], the first token of each sequence and the end.

  // Of the run in progress.
  const BertAdapter* adapter_ = nullptr;
  std::optional<BertLinear> until_;  // Whose input the first layer ends at.
  std::size_t token_count_ = 0;
  std::size_t sequence_count_ = 0;
  std::size_t block_count_ = 0;
  std::size_t block_tokens_ = 0;
};

void BertExecutor::Plan::Carve(Arena& arena) {
  hidden_ = arena.Take<float>(token_budget_ * hidden_stride_);
  qkv_ = arena.Take<float>(token_budget_ * qkv_stride_);
  context_ = arena.Take<float>(token_budget_ * hidden_stride_);
  ids_ = arena.Take<std::int32_t>(token_budget_);
  positions_ = arena.Take<std::int32_t>(token_budget_);
  starts_ = arena.Take<std::size_t>(token_budget_ + 1);
  const std::size_t block = std::min(kBlockTokensMax, RoundUp(token_budget_, kBlockTokensMultiple));
  const std::size_t depth = RoundUp(std::max(config_.hidden_size, config_.intermediate_size), kInt8DepthMultiple);
  const std::size_t head_width = config_.hidden_size / config_.head_count;
  for (std::size_t worker = 0; worker < worker_count_; ++worker) {
    Scratch& scratch = scratch_[worker];
    scratch.codes = arena.Take<std::int8_t>(block * depth);
    scratch.packed = arena.Take<char>(std::max(gemm_.PackedBytes(block, depth), int4_gemm_.PackedBytes(block, depth)));
    scratch.row_codes = arena.Take<RowCode>(block);
    const bool takes_panels = packed_.format().kind != WeightKind::kInt8 && int4_gemm_.multiply_panel != nullptr;
    scratch.workspace =
        arena.Take<char>(takes_panels ? Int4Gemm::WorkspaceBytes(depth) : Int8Gemm::WorkspaceBytes(depth));
    scratch.sums = arena.Take<std::int32_t>(block * kInt8PanelColumns);
    if (packed_.format().kind != WeightKind::kInt8) {
      scratch.acc = arena.Take<float>(block * kInt8PanelColumns);
      scratch.gathered = arena.Take<float>(depth);
      scratch.code_sums = arena.Take<std::int32_t>(block * (depth / kGroupSizeMultiple + 1));
    }
    scratch.low_rank = arena.Take<float>(block * kAdapterRankColumnsMax);
    scratch.intermediate = arena.Take<float>(block * intermediate_stride_);
    scratch.projected = arena.Take<float>(block * hidden_stride_);
    scratch.attention = arena.Take<float>(AttentionWorkspaceFloats(config_.token_count_max, head_width));
  }
}

Status BertExecutor::Plan::CheckInput(std::span<const std::span<const std::int32_t>> sequences,
                                      std::size_t out_count) const {
  if (out_count != sequences.size() * config_.hidden_size) {
    return Status::InvalidArgument("embed: output has room for " + std::to_string(out_count) + " floats, " +
                                   std::to_string(sequences.size()) + " embeddings of " +
                                   std::to_string(config_.hidden_size) + " need " +
                                   std::to_string(sequences.size() * config_.hidden_size));
  }
  for (std::size_t i = 0; i < sequences.size(); ++i) {
    if (sequences[i].empty() || sequences[i].size() > config_.token_count_max) {
      return Status::InvalidArgument("embed: sequence " + std::to_string(i) + " has " +
                                     std::to_string(sequences[i].size()) + " tokens, expected 1.." +
                                     std::to_string(config_.token_count_max));
    }
    for (std::size_t token = 0; token < sequences[i].size(); ++token) {
      const std::int32_t id = sequences[i][token];
      if (id >= 0 && static_cast<std::uint32_t>(id) < config_.vocabulary_size) continue;
      return Status::InvalidArgument(NameOfToken(i, token) + " is " + std::to_string(id) + ", expected 0.." +
                                     std::to_string(config_.vocabulary_size - 1));
    }
  }
  return Status::Ok();
}

Status BertExecutor::Plan::CheckLengths(std::span<const std::size_t> lengths, std::size_t hidden_count) const {
  std::size_t token_count = 0;
  for (std::size_t i = 0; i < lengths.size(); ++i) {
    if (lengths[i] < 1 || lengths[i] > config_.token_count_max) {
      return Status::InvalidArgument("layers: sequence " + std::to_string(i) + " has " + std::to_string(lengths[i]) +
                                     " tokens, expected 1.." + std::to_string(config_.token_count_max));
    }
    token_count += lengths[i];
  }
  if (token_count <= token_budget_ && token_count * config_.hidden_size == hidden_count) return Status::Ok();
  return Status::InvalidArgument("layers: found " + std::to_string(hidden_count) + " floats for " +
                                 std::to_string(token_count) + " tokens, expected " +
                                 std::to_string(config_.hidden_size) + " each, of at most " +
                                 std::to_string(token_budget_) + " tokens");
}

void BertExecutor::Plan::PlaceTokens(std::span<const std::span<const std::int32_t>> sequences) {
  token_count_ = 0;
  sequence_count_ = sequences.size();
  for (std::size_t i = 0; i < sequences.size(); ++i) {
    starts_[i] = token_count_;
    for (std::size_t token = 0; token < sequences[i].size(); ++token, ++token_count_) {
      ids_[token_count_] = sequences[i][token];
      positions_[token_count_] = static_cast<std::int32_t>(token);
    }
  }
  CutBlocks();
}

void BertExecutor::Plan::CutBlocks() {
  starts_[sequence_count_] = token_count_;
  // Blocks of equal size: as few as the scratch allows, or one per worker where that leaves each enough to do.
  const std::size_t for_scratch = (token_count_ + kBlockTokensMax - 1) / kBlockTokensMax;
  const std::size_t for_workers = std::min(worker_count_, token_count_ / kBlockTokensMin);
  block_count_ = std::max(for_scratch, for_workers);
  block_tokens_ =
      std::min(kBlockTokensMax, RoundUp((token_count_ + block_count_ - 1) / block_count_, kBlockTokensMultiple));
  block_count_ = (token_count_ + block_tokens_ - 1) / block_tokens_;
}

TokenRange BertExecutor::Plan::BlockAt(std::size_t index) const {
  const std::size_t first = index * block_tokens_;
  return {first, std::min(block_tokens_, token_count_ - first)};
}

// body(index, scratch) for each index below `count`, on as many workers as there are.
template <typename Body>
void BertExecutor::Plan::ForEach(std::size_t count, const Body& body) {
  const std::size_t worker_count = std::min(worker_count_, count);
  if (worker_count <= 1) {
    for (std::size_t index = 0; index < count; ++index) body(index, scratch_[0]);
    return;
  }
  std::atomic<std::size_t> next{0};
  pool_->ParallelFor(worker_count, [&](std::size_t worker) {
    for (std::size_t index = next++; index < count; index = next++) body(index, scratch_[worker]);
  });
}

void BertExecutor::Plan::Run(std::span<const std::span<const std::int32_t>> sequences, const BertAdapter* adapter,
                             float* out) {
  PlaceTokens(sequences);
  adapter_ = adapter;
  ForEach(block_count_, [&](std::size_t block, Scratch& scratch) {
    EmbedTokens(BlockAt(block));
    ProjectQkv(0, BlockAt(block), scratch);
  });
  FinishLayers();
  for (std::size_t i = 0; i < sequence_count_; ++i) Pool(i, out + i * config_.hidden_size);
}

// All that comes behind the first layer's query, key and value.
void BertExecutor::Plan::FinishLayers() {
  for (std::size_t i = 0; i < config_.layer_count; ++i) {
    ForEach(sequence_count_ * config_.head_count, [&](std::size_t index, Scratch& scratch) {
      AttendHead(index / config_.head_count, index % config_.head_count, scratch);
    });
    ForEach(block_count_, [&](std::size_t block, Scratch& scratch) {
      FinishLayer(i, BlockAt(block), scratch);
      if (!until_ && i + 1 < config_.layer_count) ProjectQkv(i + 1, BlockAt(block), scratch);
    });
    if (until_) return;
  }
}

void BertExecutor::Plan::RunLayers(std::span<const std::size_t> lengths, const float* hidden,
                                   std::optional<BertLinear> until, float* out) {
  const std::size_t width = config_.hidden_size;
  adapter_ = nullptr;
  token_count_ = 0;
  sequence_count_ = lengths.size();
  for (std::size_t i = 0; i < lengths.size(); ++i) {
    starts_[i] = token_count_;
    token_count_ += lengths[i];
  }
  CutBlocks();
  for (std::size_t token = 0; token < token_count_; ++token) {
    std::memcpy(hidden_ + token * hidden_stride_, hidden + token * width, width * sizeof(float));
  }
  until_ = until;
  ForEach(block_count_, [&](std::size_t block, Scratch& scratch) { ProjectQkv(0, BlockAt(block), scratch); });
  if (until_ != BertLinear::kQuery) FinishLayers();
  until_.reset();
  if (until) return;
  for (std::size_t token = 0; token < token_count_; ++token) {
    std::memcpy(out + token * width, hidden_ + token * hidden_stride_, width * sizeof(float));
  }
}

void BertExecutor::Plan::EmbedTokens(TokenRange range) {
  const std::size_t hidden = config_.hidden_size;
  for (std::size_t token = range.first; token < range.first + range.count; ++token) {
    const auto id = static_cast<std::size_t>(ids_[token]);
    const auto position = static_cast<std::size_t>(positions_[token]);
    float* row = hidden_ + token * hidden_stride_;
    // Token type 0 throughout: a sentence embedding has one segment.
    if (const float* words = packed_.words(); words != nullptr) {
      const float* place = packed_.positions() + position * hidden;
      for (std::size_t i = 0; i < hidden; ++i) row[i] = words[id * hidden + i] + place[i] + packed_.types()[i];
    } else {
      kernels_.embed_token(packed_.word_codes() + id * hidden, packed_.word_scales()[id],
                           packed_.positions() + position * hidden, packed_.types(), hidden, row);
    }
    kernels_.layer_norm(row, packed_.norm().gamma, packed_.norm().beta, config_.layer_norm_epsilon, hidden, row);
  }
}

void BertExecutor::Plan::QuantizeRows(const PackedLinear& linear, const LinearRows& rows, Scratch& scratch) const {
  for (std::size_t row = 0; row < rows.count; ++row) {
    const float* values = rows.in + row * rows.in_stride;
    if (linear.order != nullptr) {
      for (std::size_t i = 0; i < linear.input_count; ++i) scratch.gathered[i] = values[linear.order[i]];
      values = scratch.gathered;
    }
    std::int8_t* codes = scratch.codes + row * linear.depth;
    scratch.row_codes[row] = kernels_.quantize_row(values, linear.input_count, codes);
    std::memset(codes + linear.input_count, 0, linear.depth - linear.input_count);
  }
}

// scratch.low_rank[row] = A x, input.rank_columns apart.
void BertExecutor::Plan::MultiplyLowRank(const LowRankInput& input, const LinearRows& rows, Scratch& scratch) const {
  kernels_.multiply(rows.in, rows.in_stride, rows.count, input.input_count, input.a.data(), input.rank_columns,
                    input.rank_columns, false, scratch.low_rank, input.rank_columns);
}

void BertExecutor::Plan::LinearInt8(const PackedLinear& linear, const LinearRows& rows, const LowRankInput* adapted,
                                    Activation activation, Scratch& scratch) const {
  QuantizeRows(linear, rows, scratch);
  gemm_.pack_rows(scratch.codes, rows.count, linear.depth, scratch.packed);
  const bool has_codes = adapted != nullptr && !adapted->codes.lines.empty();
  if (has_codes) {
    const LowRankCodes& codes = adapted->codes;
    gemm_.multiply_panel(scratch.packed, rows.count, linear.depth, codes.panel(), scratch.workspace, scratch.sums);
    kernels_.dequantize_panel(scratch.sums, rows.count, codes.column_count, scratch.row_codes, codes.scales.data(),
                              codes.column_weights.data(), codes.bias.data(), {}, Activation::kNone, scratch.low_rank,
                              kInt8PanelColumns);
  } else if (adapted != nullptr) {
    MultiplyLowRank(*adapted, rows, scratch);
  }
  const std::size_t low_rank_stride = has_codes ? kInt8PanelColumns : adapted != nullptr ? adapted->rank_columns : 0;
  for (std::size_t panel = 0; panel < linear.panel_count; ++panel) {
    const std::size_t column = panel * kInt8PanelColumns;
    gemm_.multiply_panel(scratch.packed, rows.count, linear.depth, linear.panel(panel), scratch.workspace,
                         scratch.sums);
    kernels_.dequantize_panel(scratch.sums, rows.count, kInt8PanelColumns, scratch.row_codes, linear.scales + column,
                              linear.column_weights + column, linear.bias + column,
                              TermOf(adapted, panel, scratch.low_rank, low_rank_stride), activation, rows.out + column,
                              rows.out_stride);
  }
}

void BertExecutor::Plan::LinearGrouped(const PackedLinear& linear, const LinearRows& rows, const LowRankInput* adapted,
                                       Activation activation, Scratch& scratch) const {
  if (adapted != nullptr) MultiplyLowRank(*adapted, rows, scratch);
  QuantizeRows(linear, rows, scratch);
  int4_gemm_.pack_rows(scratch.codes, rows.count, linear.depth, scratch.packed);
  const bool is_by_group = int4_gemm_.multiply_panel == nullptr;
  for (std::size_t group = 0; is_by_group && group < linear.group_count; ++group) {
    SumInt4Codes(scratch.codes, rows.count, linear.depth, linear.group(group), scratch.code_sums + group * rows.count);
  }
  for (std::size_t panel = 0; panel < linear.panel_count; ++panel) {
    const std::size_t column = panel * kInt8PanelColumns;
    if (!is_by_group) {
      int4_gemm_.multiply_panel(scratch.packed, rows.count, linear.depth, linear.grouped_panel(panel),
                                scratch.workspace, scratch.acc);
    }
    for (std::size_t group = 0; is_by_group && group < linear.group_count; ++group) {
      int4_gemm_.multiply_group(scratch.packed, rows.count, linear.depth, linear.group(group),
                                scratch.code_sums + group * rows.count, linear.group_panel(panel, group), scratch.sums);
      kernels_.scale_sums(scratch.sums, rows.count, linear.group_panel_scales(panel, group), group > 0, scratch.acc);
    }
    kernels_.finish_panel(scratch.acc, rows.count, scratch.row_codes, linear.column_weights + column,
                          linear.bias + column, TermOf(adapted, panel, scratch.low_rank), activation, rows.out + column,
                          rows.out_stride);
  }
}

void BertExecutor::Plan::LinearFloat(const PackedLinear& linear, const LinearRows& rows, const LowRankInput* adapted,
                                     Activation activation, Scratch& scratch) const {
  if (adapted != nullptr) MultiplyLowRank(*adapted, rows, scratch);
  for (std::size_t panel = 0; panel < linear.panel_count; ++panel) {
    const std::size_t column = panel * kInt8PanelColumns;
    kernels_.multiply(rows.in, rows.in_stride, rows.count, linear.depth, linear.weights + column * linear.depth,
                      kInt8PanelColumns, kInt8PanelColumns, false, scratch.acc, kInt8PanelColumns);
    kernels_.finish_panel(scratch.acc, rows.count, nullptr, nullptr, linear.bias + column,
                          TermOf(adapted, panel, scratch.low_rank), activation, rows.out + column, rows.out_stride);
  }
}

// `first` is the linear layer, or the first of the three that make up qkv.
void BertExecutor::Plan::Linear(std::size_t layer, BertLinear first, const PackedLinear& linear, const LinearRows& rows,
                                Activation activation, Scratch& scratch) const {
  if (observer_ != nullptr) observer_->OnInput(layer, first, rows.in, rows.in_stride, rows.count);
  if (until_ == first) return;
  const LowRankInput* adapted = adapter_ == nullptr ? nullptr : &adapter_->input(layer, first);
  if (adapted != nullptr && adapted->rank_columns == 0) adapted = nullptr;
  switch (linear.kind) {
    case WeightKind::kInt8: LinearInt8(linear, rows, adapted, activation, scratch); break;
    case WeightKind::kGrouped:
    case WeightKind::kNf4: LinearGrouped(linear, rows, adapted, activation, scratch); break;
    case WeightKind::kFloat: LinearFloat(linear, rows, adapted, activation, scratch); break;
  }
}

void BertExecutor::Plan::ProjectQkv(std::size_t layer, TokenRange range, Scratch& scratch) {
  Linear(layer, BertLinear::kQuery, packed_.layers()[layer].qkv,
         {hidden_ + range.first * hidden_stride_, hidden_stride_, range.count, qkv_ + range.first * qkv_stride_,
          qkv_stride_},
         Activation::kNone, scratch);
}

void BertExecutor::Plan::AttendHead(std::size_t sequence, std::size_t head, Scratch& scratch) {
  const std::size_t hidden = config_.hidden_size;
  const std::size_t width = hidden / config_.head_count;
  const std::size_t first = starts_[sequence];
  const float* query = qkv_ + first * qkv_stride_ + head * width;
  kernels_.attend({.query = query,
                   .key = query + hidden,
                   .value = query + 2 * hidden,
                   .stride = qkv_stride_,
                   .token_count = starts_[sequence + 1] - first,
                   .width = width,
                   .score_scale = 1.0F / std::sqrt(static_cast<float>(width)),
                   .out = context_ + first * hidden_stride_ + head * width,
                   .out_stride = hidden_stride_},
                  scratch.attention);
}

void BertExecutor::Plan::FinishLayer(std::size_t index, TokenRange range, Scratch& scratch) {
  const PackedBertLayer& layer = packed_.layers()[index];
  const std::size_t hidden = config_.hidden_size;
  float* rows = hidden_ + range.first * hidden_stride_;
  const auto add_and_normalise = [&](const PackedNorm& norm) {
    for (std::size_t row = 0; row < range.count; ++row) {
      float* target = rows + row * hidden_stride_;
      kernels_.add_layer_norm(scratch.projected + row * hidden_stride_, target, norm.gamma, norm.beta,
                              config_.layer_norm_epsilon, hidden, target);
    }
  };
  Linear(index, BertLinear::kOutput, layer.output,
         {context_ + range.first * hidden_stride_, hidden_stride_, range.count, scratch.projected, hidden_stride_},
         Activation::kNone, scratch);
  if (until_ == BertLinear::kOutput) return;
  add_and_normalise(layer.attention_norm);
  Linear(index, BertLinear::kUp, layer.up,
         {rows, hidden_stride_, range.count, scratch.intermediate, intermediate_stride_}, Activation::kGelu, scratch);
  if (until_ == BertLinear::kUp) return;
  Linear(index, BertLinear::kDown, layer.down,
         {scratch.intermediate, intermediate_stride_, range.count, scratch.projected, hidden_stride_},
         Activation::kNone, scratch);
  if (until_) return;
  add_and_normalise(layer.norm);
}

void BertExecutor::Plan::Pool(std::size_t sequence, float* out) const {
  const std::size_t hidden = config_.hidden_size;
  const std::size_t first = starts_[sequence];
  const std::size_t count = starts_[sequence + 1] - first;
  std::memset(out, 0, hidden * sizeof(float));
  for (std::size_t token = first; token < first + count; ++token) {
    kernels_.accumulate(hidden_ + token * hidden_stride_, hidden, out);
  }
  double squares = 0;
  for (std::size_t i = 0; i < hidden; ++i) {
    out[i] /= static_cast<float>(count);
    squares += static_cast<double>(out[i]) * out[i];
  }
  if (!config_.normalise || squares == 0) return;
  const auto inverse = static_cast<float>(1.0 / std::sqrt(squares));
  for (std::size_t i = 0; i < hidden; ++i) out[i] *= inverse;
}

BertExecutor::BertExecutor(std::unique_ptr<Plan> plan) : plan_(std::move(plan)) {}
BertExecutor::~BertExecutor() = default;

Result<std::unique_ptr<BertExecutor>> BertExecutor::Create(const PackedBert& packed, const Options& options) {
  const std::size_t token_count_max = packed.config().token_count_max;
  const std::size_t token_budget =
      options.token_budget == 0 ? std::max(kTokenBudgetDefault, token_count_max) : options.token_budget;
  if (token_budget < token_count_max) {
    return Status::InvalidArgument("BERT executor: token budget is " + std::to_string(token_budget) +
                                   ", the model's longest sequence has " + std::to_string(token_count_max));
  }
  const CpuLevel level = options.cpu_level.value_or(DetectCpuLevel());
  if (!CpuSupports(level)) {
    return Status::InvalidArgument("BERT executor: this processor has no " + std::string(CpuLevelName(level)));
  }
  if (options.observer != nullptr && options.pool != nullptr) {
    return Status::InvalidArgument("BERT executor: found an observer and a pool, expected one of them");
  }
  return std::unique_ptr<BertExecutor>(
      new BertExecutor(std::make_unique<Plan>(packed, token_budget, options.pool, level, options.observer)));
}

Status BertExecutor::Embed(std::span<const std::span<const std::int32_t>> sequences, std::span<float> out,
                           const BertAdapter* adapter) {
  FORESHORE_RETURN_IF_ERROR(plan_->CheckInput(sequences, out.size()));
  if (adapter != nullptr && !(adapter->config() == config())) {
    return Status::InvalidArgument("embed: the adapter was made for another model's configuration");
  }
  for (std::size_t first = 0; first < sequences.size();) {
    std::size_t end = first;
    std::size_t token_count = 0;
    while (end < sequences.size() && token_count + sequences[end].size() <= plan_->token_budget()) {
      token_count += sequences[end].size();
      ++end;
    }
    plan_->Run(sequences.subspan(first, end - first), adapter, out.data() + first * config().hidden_size);
    first = end;
  }
  for (std::size_t i = 0; i < out.size(); ++i) {
    if (std::isfinite(out[i])) continue;
    return Status::Corruption("embed: the model's embedding of sequence " + std::to_string(i / config().hidden_size) +
                              " is not finite");
  }
  return Status::Ok();
}

Status BertExecutor::RunLayers(std::span<const std::size_t> lengths, std::span<float> hidden) {
  FORESHORE_RETURN_IF_ERROR(plan_->CheckLengths(lengths, hidden.size()));
  if (lengths.empty()) return Status::Ok();
  plan_->RunLayers(lengths, hidden.data(), std::nullopt, hidden.data());
  return Status::Ok();
}

Status BertExecutor::ShowInput(std::span<const std::size_t> lengths, std::span<const float> hidden, BertLinear linear) {
  FORESHORE_RETURN_IF_ERROR(plan_->CheckLengths(lengths, hidden.size()));
  if (lengths.empty()) return Status::Ok();
  plan_->RunLayers(lengths, hidden.data(), linear, nullptr);
  return Status::Ok();
}

const BertConfig& BertExecutor::config() const {
  return plan_->config();
}
std::size_t BertExecutor::token_budget() const {
  return plan_->token_budget();
}
std::size_t BertExecutor::MemoryBytes() const {
  return plan_->memory_bytes();
}

}  // namespace foreshore
