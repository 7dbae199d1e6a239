// A matrix of 4-bit or 3-bit codes as quantizers make it and the packer takes it, whatever its stored form.
//
// value[n][order[p]] = scale[n][p / group_size] · (level(code[n][p]) − zero[n][p / group_size]), where order is the
// identity if it is empty and level(c) = c if `levels` is null.
//
// Threads: values; pure functions.
#pragma once

#include <cstddef>
#include <cstdint>
#include <string>
#include <unordered_map>
#include <vector>

#include "engine/inference/tensor.h"
#include "engine/inference/weight_format.h"
#include "foreshore/status.h"

namespace foreshore {

struct GroupedWeights {
  std::size_t row_count = 0;
  std::size_t column_count = 0;
  std::size_t group_size = 0;            // At most column_count: a single group ends with the row.
  std::vector<std::uint8_t> codes;       // [row_count][column_count], 0..15.
  std::vector<float> scales;             // [row_count][group_count()]
  std::vector<std::uint8_t> zeros;       // [row_count][group_count()], 0..127.
  std::vector<std::uint32_t> order;      // [column_count], a permutation, or empty.
  const std::uint8_t* levels = nullptr;  // [16], static.

  std::size_t group_count() const { return (column_count + group_size - 1) / group_size; }
  float ValueAt(std::size_t row, std::size_t place) const {
    const std::size_t group = row * group_count() + place / group_size;
    const std::uint8_t code = codes[row * column_count + place];
    return scales[group] * static_cast<float>((levels == nullptr ? code : levels[code]) - zeros[group]);
  }
  // [row_count][column_count] in the order of the inputs.
  std::vector<float> Dequantize() const;
};

using TensorsByName = std::unordered_map<std::string, TensorView>;

// `weights` as the canonical tensors of a grouped model (bert.h): <name>, <name>.scale, <name>.zero, <name>.order.
void AppendGroupedTensors(const std::string& name, const GroupedWeights& weights, const WeightFormat& format,
                          std::vector<Tensor>& tensors);

// The reverse, of kGrouped or kNf4. `tensors` have passed ValidateBertTensors. kCorruption names the tensor where a
// scale is not finite, a zero point is above 2^bits or an order is no permutation.
Result<GroupedWeights> ReadGroupedTensors(const std::string& name, std::size_t column_count, const WeightFormat& format,
                                          const TensorsByName& tensors);

// Codes of `bits` bits, lowest bits first, each row beginning at a byte.
ByteString PackCodeBits(const std::vector<std::uint8_t>& codes, std::size_t row_count, std::uint32_t bits);
// `bytes` hold `row_count` rows of `column_count` codes.
std::vector<std::uint8_t> UnpackCodeBits(Bytes bytes, std::size_t row_count, std::size_t column_count,
                                         std::uint32_t bits);

}  // namespace foreshore
