#include "engine/inference/nf4.h"

#include <algorithm>
#include <array>
#include <cmath>
#include <cstring>

namespace foreshore {
namespace {

// Appendix E of the paper.
constexpr std::array<float, 16> kLevels = {-1.0F,
                                           -0.6961928009986877F,
                                           -0.5250730514526367F,
                                           -0.39491748809814453F,
                                           -0.28444138169288635F,
                                           -0.18477343022823334F,
                                           -0.09105003625154495F,
                                           0.0F,
                                           0.07958029955625534F,
                                           0.16093020141124725F,
                                           0.24611230194568634F,
                                           0.33791524171829224F,
                                           0.44070982933044434F,
                                           0.5626170039176941F,
                                           0.7229568362236023F,
                                           1.0F};
constexpr int kIntegerScale = 63;
constexpr int kScaleCodeZero = 128;

std::uint8_t NearestLevel(float value) {
  const auto above = std::lower_bound(kLevels.begin(), kLevels.end(), value);
  if (above == kLevels.begin()) return 0;
  if (above == kLevels.end()) return 15;
  const auto below = above - 1;
  return static_cast<std::uint8_t>((value - *below <= *above - value ? below : above) - kLevels.begin());
}

struct DoubleQuantized {
  std::vector<std::uint8_t> codes;
  std::vector<float> block_scales;
  float mean = 0;

  float ScaleAt(std::size_t index) const {
    return mean + block_scales[index / kNf4ScalesPerBlock] * static_cast<float>(codes[index] - kScaleCodeZero);
  }
};

DoubleQuantized QuantizeScales(const std::vector<float>& scales) {
  DoubleQuantized result;
  double sum = 0;
  for (const float scale : scales) sum += scale;
  result.mean = static_cast<float>(sum / static_cast<double>(scales.size()));
  result.codes.resize(scales.size());
  for (std::size_t first = 0; first < scales.size(); first += kNf4ScalesPerBlock) {
    const std::size_t end = std::min<std::size_t>(scales.size(), first + kNf4ScalesPerBlock);
    float max = 0;
    for (std::size_t i = first; i < end; ++i) max = std::max(max, std::fabs(scales[i] - result.mean));
    const float step = max / 127.0F;
    result.block_scales.push_back(step);
    for (std::size_t i = first; i < end; ++i) {
      const float code = step == 0 ? 0 : std::nearbyint((scales[i] - result.mean) / step);
      result.codes[i] = static_cast<std::uint8_t>(kScaleCodeZero + std::clamp(code, -127.0F, 127.0F));
    }
  }
  return result;
}

}  // namespace

std::span<const float> Nf4Levels() {
  return kLevels;
}

const std::uint8_t* Nf4IntegerLevels() {
  static const std::array<std::uint8_t, 16> kIntegerLevels = [] {
    std::array<std::uint8_t, 16> levels{};
    for (std::size_t i = 0; i < levels.size(); ++i) {
      levels[i] = static_cast<std::uint8_t>(kIntegerScale + std::nearbyint(kLevels[i] * kIntegerScale));
    }
    return levels;
  }();
  return kIntegerLevels.data();
}

void AppendNf4Tensors(const std::string& name, std::span<const float> values, std::size_t row_count,
                      std::size_t column_count, std::vector<Tensor>& tensors) {
  const std::size_t block_count = (column_count + kNf4BlockSize - 1) / kNf4BlockSize;
  std::vector<float> scales(row_count * block_count);
  const auto block_of = [&](std::size_t row, std::size_t block) {
    const std::size_t first = block * kNf4BlockSize;
    return values.subspan(row * column_count + first, std::min<std::size_t>(kNf4BlockSize, column_count - first));
  };
  for (std::size_t i = 0; i < scales.size(); ++i) {
    for (const float value : block_of(i / block_count, i % block_count))
      scales[i] = std::max(scales[i], std::fabs(value));
  }
  const DoubleQuantized quantized = QuantizeScales(scales);
  std::vector<std::uint8_t> codes(row_count * column_count, 7);
  for (std::size_t i = 0; i < scales.size(); ++i) {
    // By the scale that will be read, so that its rounding does not come on top.
    const float scale = quantized.ScaleAt(i);
    const auto block = block_of(i / block_count, i % block_count);
    std::uint8_t* target = codes.data() + (block.data() - values.data());
    for (std::size_t k = 0; k < block.size() && scale != 0; ++k) target[k] = NearestLevel(block[k] / scale);
  }
  const auto floats_of = [](std::span<const float> floats) {
    return ByteString(reinterpret_cast<const char*>(floats.data()), floats.size_bytes());
  };
  tensors.push_back({name, TensorType::kU8, {row_count, (column_count + 1) / 2}, PackCodeBits(codes, row_count, 4)});
  tensors.push_back({name + ".scale",
                     TensorType::kU8,
                     {row_count, block_count},
                     ByteString(quantized.codes.begin(), quantized.codes.end())});
  tensors.push_back(
      {name + ".scale.block", TensorType::kF32, {quantized.block_scales.size()}, floats_of(quantized.block_scales)});
  tensors.push_back({name + ".scale.mean", TensorType::kF32, {1}, floats_of({&quantized.mean, 1})});
}

Result<GroupedWeights> ReadNf4Tensors(const std::string& name, std::size_t column_count, const TensorsByName& tensors) {
  const TensorView& codes = tensors.at(name);
  const TensorView& scales = tensors.at(name + ".scale");
  const TensorView& blocks = tensors.at(name + ".scale.block");
  DoubleQuantized quantized;
  quantized.codes.assign(scales.bytes.begin(), scales.bytes.end());
  quantized.block_scales.resize(blocks.shape[0]);
  std::memcpy(quantized.block_scales.data(), blocks.bytes.data(), blocks.bytes.size());
  std::memcpy(&quantized.mean, tensors.at(name + ".scale.mean").bytes.data(), sizeof(float));
  GroupedWeights weights;
  weights.row_count = codes.shape[0];
  weights.column_count = column_count;
  weights.group_size = std::min<std::size_t>(kNf4BlockSize, column_count);
  weights.codes = UnpackCodeBits(codes.bytes, weights.row_count, column_count, 4);
  weights.levels = Nf4IntegerLevels();
  weights.zeros.assign(weights.row_count * weights.group_count(), kIntegerScale);
  weights.scales.resize(weights.zeros.size());
  for (std::size_t i = 0; i < weights.scales.size(); ++i) {
    weights.scales[i] = quantized.ScaleAt(i) / kIntegerScale;
    if (!std::isfinite(weights.scales[i])) {
      return Status::Corruption("tensor \"" + scales.name + "\": scale " + std::to_string(i) +
                                " is not finite, expected a finite number");
    }
  }
  return weights;
}

}  // namespace foreshore
