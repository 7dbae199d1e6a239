// Where each section of packed weights lies: a function of configuration and format alone, shared by writer and reader.
// For bert_packed.cc and bert_pack.cc alone.
#pragma once

#include <cstdint>
#include <string_view>
#include <vector>

#include "engine/inference/bert_packed.h"

namespace foreshore {

inline constexpr std::string_view kPackedBertMagic = "FSBERTQ8";
inline constexpr std::size_t kPackedBertHeaderBytes = 128;
inline constexpr std::size_t kPackedBertHeaderCrcOffset = 124;

// The limits of ValidateBertConfig keep every product far below 64 bits.
class PackedBertLayout {
 public:
  struct Linear {
    std::uint64_t outputs = 0;  // Padded.
    std::uint64_t inputs = 0;
    std::uint64_t depth = 0;  // Padded.
    std::uint64_t group_size = 0;
    std::uint64_t group_count = 0;
    // Sections that the format lacks are at 0.
    std::uint64_t codes = 0, scales = 0, bias = 0, column_weights = 0, column_sums = 0, pair_sums = 0, zeros = 0,
                  order = 0;
  };
  struct Norm {
    std::uint64_t gamma, beta;
  };
  struct Layer {
    Linear qkv, output;
    Norm attention_norm;
    Linear up, down;
    Norm norm;
  };

  PackedBertLayout(const BertConfig& config, const WeightFormat& format);

  std::uint64_t word_codes = 0, word_scales = 0, positions, types;
  Norm norm;
  std::vector<Layer> layers;
  std::uint64_t size_bytes() const { return end_; }

 private:
  std::uint64_t Take(std::uint64_t size_bytes);
  Norm TakeNorm(std::uint64_t count);
  Linear TakeLinear(std::uint64_t output_count, std::uint64_t input_count);

  WeightFormat format_;
  std::uint64_t end_ = kPackedBertHeaderBytes;
};

}  // namespace foreshore
