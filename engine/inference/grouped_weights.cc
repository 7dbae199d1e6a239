#include "engine/inference/grouped_weights.h"

#include <algorithm>
#include <cmath>
#include <cstring>

#include "engine/inference/nf4.h"

namespace foreshore {

std::vector<float> GroupedWeights::Dequantize() const {
  std::vector<float> values(row_count * column_count);
  for (std::size_t row = 0; row < row_count; ++row) {
    for (std::size_t place = 0; place < column_count; ++place) {
      values[row * column_count + (order.empty() ? place : order[place])] = ValueAt(row, place);
    }
  }
  return values;
}

ByteString PackCodeBits(const std::vector<std::uint8_t>& codes, std::size_t row_count, std::uint32_t bits) {
  const std::size_t column_count = row_count == 0 ? 0 : codes.size() / row_count;
  const std::size_t row_bytes = (column_count * bits + 7) / 8;
  ByteString bytes(row_count * row_bytes, '\0');
  for (std::size_t row = 0; row < row_count; ++row) {
    for (std::size_t column = 0; column < column_count; ++column) {
      const std::size_t bit = column * bits;
      const unsigned shifted = static_cast<unsigned>(codes[row * column_count + column]) << bit % 8;
      char* byte = bytes.data() + row * row_bytes + bit / 8;
      byte[0] = static_cast<char>(static_cast<unsigned char>(byte[0]) | (shifted & 0xFF));
      if (bit % 8 + bits > 8) byte[1] = static_cast<char>(static_cast<unsigned char>(byte[1]) | (shifted >> 8));
    }
  }
  return bytes;
}

std::vector<std::uint8_t> UnpackCodeBits(Bytes bytes, std::size_t row_count, std::size_t column_count,
                                         std::uint32_t bits) {
  const std::size_t row_bytes = (column_count * bits + 7) / 8;
  const unsigned mask = (1U << bits) - 1;
  std::vector<std::uint8_t> codes(row_count * column_count);
  for (std::size_t row = 0; row < row_count; ++row) {
    for (std::size_t column = 0; column < column_count; ++column) {
      const std::size_t bit = column * bits;
      const char* byte = bytes.data() + row * row_bytes + bit / 8;
      unsigned both = static_cast<unsigned char>(byte[0]);
      if (bit % 8 + bits > 8) both |= static_cast<unsigned>(static_cast<unsigned char>(byte[1])) << 8;
      codes[row * column_count + column] = static_cast<std::uint8_t>((both >> bit % 8) & mask);
    }
  }
  return codes;
}

void AppendGroupedTensors(const std::string& name, const GroupedWeights& weights, const WeightFormat& format,
                          std::vector<Tensor>& tensors) {
  const std::uint64_t rows = weights.row_count;
  const std::uint64_t groups = weights.group_count();
  const auto bytes_of = [](const auto& values) {
    return ByteString(reinterpret_cast<const char*>(values.data()), values.size() * sizeof(values[0]));
  };
  tensors.push_back({name,
                     TensorType::kU8,
                     {rows, (weights.column_count * format.bits + 7) / 8},
                     PackCodeBits(weights.codes, weights.row_count, format.bits)});
  tensors.push_back({name + ".scale", TensorType::kF32, {rows, groups}, bytes_of(weights.scales)});
  tensors.push_back({name + ".zero", TensorType::kU8, {rows, groups}, bytes_of(weights.zeros)});
  if (!format.ordered) return;
  std::vector<std::uint32_t> order = weights.order;
  for (std::size_t i = order.size(); i < weights.column_count; ++i) order.push_back(static_cast<std::uint32_t>(i));
  tensors.push_back({name + ".order", TensorType::kI32, {weights.column_count}, bytes_of(order)});
}

Result<GroupedWeights> ReadGroupedTensors(const std::string& name, std::size_t column_count, const WeightFormat& format,
                                          const TensorsByName& tensors) {
  if (format.kind == WeightKind::kNf4) return ReadNf4Tensors(name, column_count, tensors);
  const TensorView& codes = tensors.at(name);
  const TensorView& scales = tensors.at(name + ".scale");
  const TensorView& zeros = tensors.at(name + ".zero");
  GroupedWeights weights;
  weights.row_count = codes.shape[0];
  weights.column_count = column_count;
  weights.group_size = std::min<std::size_t>(format.group_size, column_count);
  weights.codes = UnpackCodeBits(codes.bytes, weights.row_count, column_count, format.bits);
  weights.scales.resize(weights.row_count * weights.group_count());
  std::memcpy(weights.scales.data(), scales.bytes.data(), scales.bytes.size());
  weights.zeros.assign(zeros.bytes.begin(), zeros.bytes.end());
  for (std::size_t i = 0; i < weights.scales.size(); ++i) {
    if (!std::isfinite(weights.scales[i])) {
      return Status::Corruption("tensor \"" + scales.name + "\": scale " + std::to_string(i) +
                                " is not finite, expected a finite number");
    }
    if (weights.zeros[i] > 1U << format.bits) {
      return Status::Corruption("tensor \"" + zeros.name + "\": zero point " + std::to_string(i) + " is " +
                                std::to_string(weights.zeros[i]) + ", expected at most " +
                                std::to_string(1U << format.bits));
    }
  }
  if (!format.ordered) return weights;
  const TensorView& order = tensors.at(name + ".order");
  weights.order.resize(column_count);
  std::memcpy(weights.order.data(), order.bytes.data(), order.bytes.size());
  std::vector<bool> seen(column_count);
  for (const std::uint32_t input : weights.order) {
    if (input >= column_count || seen[input]) {
      return Status::Corruption("tensor \"" + order.name + "\": input " + std::to_string(input) +
                                " is out of range or named twice, expected each of " + std::to_string(column_count) +
                                " once");
    }
    seen[input] = true;
  }
  return weights;
}

}  // namespace foreshore
