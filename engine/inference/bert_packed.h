// A BERT as the kernels read it: one immutable blob, mapped and used in place.
//
// Packed BERT, little-endian                       code: engine/inference/bert_packed.cc
//   OFFSET SIZE FIELD
//        0    8 magic "FSBERTQ8"
//        8    4 version = 1
//       12    4 layout: the WeightKind of the linear layers, 1 int8, 2 grouped, 3 f32, 4 nf4
//       16   32 hidden_size, layer_count, head_count, intermediate_size, vocabulary_size, position_count,
//               type_count, token_count_max: u32 each
//       48    4 layer_norm_epsilon, f32
//       52    4 normalise, 0 or 1
//       56    8 file size in bytes
//       64    4 crc32c of bytes 128..end
//       68   12 bits, group size, 1 if inputs are ordered: u32 each; zero in layout 1
//       80   44 zero
//      124    4 crc32c of bytes 0..123
//      128      sections, each starting at a multiple of 64, zeros between; sizes follow from the configuration:
//               word codes i8 [V][H] · word scales f32 [V] · position f32 [P][H] · type f32 [T][H] · norm
//               (layout 3 has words f32 [V][H] and no word scales)
//               then per layer: qkv linear · output linear · attention norm · up linear · down linear · norm
//   norm   = gamma f32 [H] · beta f32 [H]
//   linear, with N the outputs padded to 64 and K the inputs padded to 8, by zeros (in layout 3 K is the inputs); qkv
//   is
//            query, key, value one below the other
//     1      codes i8 [N/64][K/4][64][4] · scales f32 [N] · bias f32 [N] · column weights f32 [N] · column sums i32 [N]
//     ·
//            pair sums i32 [N]; the sums are those of Int8Panel; a column weight is the sum of an output's weights
//     2, 4   codes u4 [N/64][K/8][64][8] as in Int4Panel · scales f32 [N/64][G][64] · bias f32 [N] ·
//            column weights f32 [N] · zeros u8 [N/64][G][64] · where inputs are ordered, order u32 [K]
//     3      weights f32 [N/64][K][64] · bias f32 [N]
// Reader: an unknown version or layout is kUnsupported; any other mismatch is kCorruption.
//
// Lifetime: a PackedBert borrows the bytes it was opened on; they must outlive it and every executor over it.
// Threads: immutable after Open; may be shared.
#pragma once

#include <cstdint>
#include <vector>

#include "engine/inference/bert.h"
#include "engine/inference/int4_gemm.h"
#include "engine/inference/int8_gemm.h"
#include "engine/inference/tensor.h"
#include "foreshore/bytes.h"
#include "foreshore/status.h"

namespace foreshore {

inline constexpr std::uint32_t kPackedBertVersion = 1;
inline constexpr std::size_t kPackedBertAlignment = 64;

struct PackedLinear {
  WeightKind kind = WeightKind::kInt8;
  std::size_t panel_count = 0;  // Of 64 outputs.
  std::size_t input_count = 0;
  std::size_t depth = 0;  // input_count padded to 8.
  const float* bias = nullptr;
  const float* column_weights = nullptr;  // Σ_k of the weights of each output; null in f32.

  const std::int8_t* codes = nullptr;  // Of int8, with what follows.
  const float* scales = nullptr;
  const std::int32_t* column_sums = nullptr;
  const std::int32_t* pair_sums = nullptr;

  std::size_t group_size = 0;  // Of grouped and nf4, with what follows.
  std::size_t group_count = 0;
  const std::uint8_t* group_codes = nullptr;
  const float* group_scales = nullptr;
  const std::uint8_t* group_zeros = nullptr;
  const std::uint8_t* levels = nullptr;  // Null in grouped.
  const std::uint32_t* order = nullptr;  // The input at each place; null where that is the input's own.

  const float* weights = nullptr;  // Of f32.

  Int8Panel panel(std::size_t index) const {
    const std::size_t column = index * kInt8PanelColumns;
    return {codes + column * depth, column_sums + column, pair_sums + column};
  }
  Int4Group group(std::size_t index) const {
    const std::size_t first = index * group_size;
    return {first, index + 1 < group_count ? group_size : depth - first};
  }
  Int4Panel group_panel(std::size_t panel_index, std::size_t group_index) const {
    return {group_codes + panel_index * kInt8PanelColumns * depth / 2 +
                group_index * group_size / 8 * kInt4PanelBytesPerStep,
            group_zeros + (panel_index * group_count + group_index) * kInt8PanelColumns, levels};
  }
  Int4GroupedPanel grouped_panel(std::size_t index) const {
    const std::size_t column = index * kInt8PanelColumns;
    return {group_codes + column * depth / 2,
            group_zeros + column * group_count,
            group_scales + column * group_count,
            levels,
            group_size,
            group_count};
  }
  const float* group_panel_scales(std::size_t panel_index, std::size_t group_index) const {
    return group_scales + (panel_index * group_count + group_index) * kInt8PanelColumns;
  }
};

struct PackedNorm {
  const float* gamma = nullptr;
  const float* beta = nullptr;
};

struct PackedBertLayer {
  PackedLinear qkv;
  PackedLinear output;
  PackedNorm attention_norm;
  PackedLinear up;
  PackedLinear down;
  PackedNorm norm;
};

// The blob for a model in canonical form (bert.h); the views may be unaligned. kInvalidArgument lists what is missing,
// unknown or misshapen; kCorruption names a tensor whose bytes contradict themselves; kUnsupported where query, key and
// value of a layer order their inputs differently.
Result<ByteString> PackBert(const BertConfig& config, const WeightFormat& format,
                            const std::vector<TensorView>& canonical);
inline Result<ByteString> PackBertInt8(const BertConfig& config, const std::vector<TensorView>& canonical) {
  return PackBert(config, WeightFormat::Int8(), canonical);
}

class PackedBert {
 public:
  // `blob` must start at a multiple of 64 (a mapped file does), else kInvalidArgument. Reads every byte once for the
  // checksum and copies none of the weights.
  static Result<PackedBert> Open(Bytes blob);

  const BertConfig& config() const { return config_; }
  const WeightFormat& format() const { return format_; }
  const std::int8_t* word_codes() const { return word_codes_; }  // [V][H]; null in f32.
  const float* word_scales() const { return word_scales_; }      // [V]; null in f32.
  const float* words() const { return words_; }                  // [V][H], of f32.
  const float* positions() const { return positions_; }          // [P][H]
  const float* types() const { return types_; }                  // [T][H]
  const PackedNorm& norm() const { return norm_; }
  const std::vector<PackedBertLayer>& layers() const { return layers_; }

 private:
  PackedBert() = default;

  BertConfig config_;
  WeightFormat format_;
  const std::int8_t* word_codes_ = nullptr;
  const float* word_scales_ = nullptr;
  const float* words_ = nullptr;
  const float* positions_ = nullptr;
  const float* types_ = nullptr;
  PackedNorm norm_;
  std::vector<PackedBertLayer> layers_;
};

}  // namespace foreshore
