// An int8 BERT as the kernels read it: one immutable blob, mapped and used in place.
//
// Packed BERT, little-endian                       code: engine/inference/bert_packed.cc
//   OFFSET SIZE FIELD
//        0    8 magic "FSBERTQ8"
//        8    4 version = 1
//       12    4 layout = 1: weight panels [out/64][in/4][64][4]
//       16   32 hidden_size, layer_count, head_count, intermediate_size, vocabulary_size, position_count,
//               type_count, token_count_max: u32 each
//       48    4 layer_norm_epsilon, f32
//       52    4 normalise, 0 or 1
//       56    8 file size in bytes
//       64    4 crc32c of bytes 128..end
//       68   56 zero
//      124    4 crc32c of bytes 0..123
//      128      sections, each starting at a multiple of 64, zeros between; sizes follow from the configuration:
//               word codes i8 [V][H] · word scales f32 [V] · position f32 [P][H] · type f32 [T][H] · norm
//               then per layer: qkv linear · output linear · attention norm · up linear · down linear · norm
//   norm   = gamma f32 [H] · beta f32 [H]
//   linear = codes i8 [N/64][K/4][64][4] · scales f32 [N] · bias f32 [N] · column weights f32 [N] ·
//            column sums i32 [N] · pair sums i32 [N]
//            with N the outputs padded to 64 and K the inputs padded to 8, by zeros; qkv is query, key, value
//            one below the other; the sums are those of Int8Panel; a column weight is scale · column sum
// Reader: an unknown version or layout is kUnsupported; any other mismatch is kCorruption.
//
// Lifetime: a PackedBert borrows the bytes it was opened on; they must outlive it and every executor over it.
// Threads: immutable after Open; may be shared.
#pragma once

#include <cstdint>
#include <vector>

#include "engine/inference/bert.h"
#include "engine/inference/int8_gemm.h"
#include "engine/inference/tensor.h"
#include "foreshore/bytes.h"
#include "foreshore/status.h"

namespace foreshore {

inline constexpr std::uint32_t kPackedBertVersion = 1;
inline constexpr std::uint32_t kPackedBertLayout = 1;
inline constexpr std::size_t kPackedBertAlignment = 64;

struct PackedLinear {
  std::size_t panel_count = 0;  // Of 64 outputs.
  std::size_t input_count = 0;
  std::size_t depth = 0;  // input_count padded to 8.
  const std::int8_t* codes = nullptr;
  const float* scales = nullptr;
  const float* bias = nullptr;
  const float* column_weights = nullptr;  // Σ_k of the weights of each output.
  const std::int32_t* column_sums = nullptr;
  const std::int32_t* pair_sums = nullptr;

  Int8Panel panel(std::size_t index) const {
    const std::size_t column = index * kInt8PanelColumns;
    return {codes + column * depth, column_sums + column, pair_sums + column};
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

// The blob for an int8 model in canonical form (bert.h); the views may be unaligned. kInvalidArgument lists what is
// missing, unknown or misshapen.
Result<ByteString> PackBertInt8(const BertConfig& config, const std::vector<TensorView>& canonical);

class PackedBert {
 public:
  // `blob` must start at a multiple of 64 (a mapped file does), else kInvalidArgument. Reads every byte once for the
  // checksum and copies none of the weights.
  static Result<PackedBert> Open(Bytes blob);

  const BertConfig& config() const { return config_; }
  const std::int8_t* word_codes() const { return word_codes_; }  // [V][H]
  const float* word_scales() const { return word_scales_; }      // [V]
  const float* positions() const { return positions_; }          // [P][H]
  const float* types() const { return types_; }                  // [T][H]
  const PackedNorm& norm() const { return norm_; }
  const std::vector<PackedBertLayer>& layers() const { return layers_; }

 private:
  PackedBert() = default;

  BertConfig config_;
  const std::int8_t* word_codes_ = nullptr;
  const float* word_scales_ = nullptr;
  const float* positions_ = nullptr;
  const float* types_ = nullptr;
  PackedNorm norm_;
  std::vector<PackedBertLayer> layers_;
};

}  // namespace foreshore
