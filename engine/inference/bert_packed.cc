#include "engine/inference/bert_packed.h"

#include <cstring>
#include <string>
#include <string_view>
#include <unordered_map>

#include "storage/base/checksum.h"
#include "storage/base/coding.h"

namespace foreshore {
namespace {

constexpr std::string_view kMagic = "FSBERTQ8";
constexpr std::size_t kHeaderBytes = 128;
constexpr std::size_t kHeaderCrcOffset = 124;

constexpr std::uint64_t RoundUp(std::uint64_t value, std::uint64_t multiple) {
  return (value + multiple - 1) / multiple * multiple;
}

// Where each section lies: a function of the configuration alone, shared by writer and reader. The limits of
// ValidateBertConfig keep every product far below 64 bits.
struct LinearOffsets {
  std::uint64_t outputs;  // Padded.
  std::uint64_t depth;    // Padded.
  std::uint64_t codes, scales, bias, column_weights, column_sums, pair_sums;
};
struct NormOffsets {
  std::uint64_t gamma, beta;
};
struct LayerOffsets {
  LinearOffsets qkv, output;
  NormOffsets attention_norm;
  LinearOffsets up, down;
  NormOffsets norm;
};

class Layout {
 public:
  explicit Layout(const BertConfig& config) {
    const std::uint64_t hidden = config.hidden_size;
    word_codes = Take(config.vocabulary_size * hidden);
    word_scales = Take(config.vocabulary_size * sizeof(float));
    positions = Take(config.position_count * hidden * sizeof(float));
    types = Take(config.type_count * hidden * sizeof(float));
    norm = TakeNorm(hidden);
    for (std::uint32_t i = 0; i < config.layer_count; ++i) {
      LayerOffsets layer;
      layer.qkv = TakeLinear(3 * hidden, hidden);
      layer.output = TakeLinear(hidden, hidden);
      layer.attention_norm = TakeNorm(hidden);
      layer.up = TakeLinear(config.intermediate_size, hidden);
      layer.down = TakeLinear(hidden, config.intermediate_size);
      layer.norm = TakeNorm(hidden);
      layers.push_back(layer);
    }
  }

  std::uint64_t word_codes, word_scales, positions, types;
  NormOffsets norm;
  std::vector<LayerOffsets> layers;
  std::uint64_t size_bytes() const { return end_; }

 private:
  std::uint64_t Take(std::uint64_t size_bytes) {
    const std::uint64_t offset = end_;
    end_ = RoundUp(end_ + size_bytes, kPackedBertAlignment);
    return offset;
  }
  NormOffsets TakeNorm(std::uint64_t count) {
    const std::uint64_t gamma = Take(count * sizeof(float));
    return {gamma, Take(count * sizeof(float))};
  }
  LinearOffsets TakeLinear(std::uint64_t output_count, std::uint64_t input_count) {
    LinearOffsets linear;
    linear.outputs = RoundUp(output_count, kInt8PanelColumns);
    linear.depth = RoundUp(input_count, kInt8DepthMultiple);
    linear.codes = Take(linear.outputs * linear.depth);
    linear.scales = Take(linear.outputs * sizeof(float));
    linear.bias = Take(linear.outputs * sizeof(float));
    linear.column_weights = Take(linear.outputs * sizeof(float));
    linear.column_sums = Take(linear.outputs * sizeof(std::int32_t));
    linear.pair_sums = Take(linear.outputs * sizeof(std::int32_t));
    return linear;
  }

  std::uint64_t end_ = kHeaderBytes;
};

class Packer {
 public:
  Packer(const std::vector<TensorView>& canonical, ByteString& blob) : blob_(blob) {
    for (const TensorView& tensor : canonical) tensors_.emplace(tensor.name, &tensor);
  }

  void Copy(const std::string& name, std::uint64_t offset) {
    const Bytes bytes = tensors_.at(name)->bytes;
    std::memcpy(blob_.data() + offset, bytes.data(), bytes.size());
  }
  void CopyNorm(const std::string& name, const NormOffsets& offsets) {
    Copy(name + ".gamma", offsets.gamma);
    Copy(name + ".beta", offsets.beta);
  }
  // Lays `name` out from output `first_output` on; returns the output after its last.
  std::uint64_t CopyLinear(const std::string& name, const LinearOffsets& offsets, std::uint64_t first_output) {
    const TensorView& weight = *tensors_.at(name + ".weight");
    const std::uint64_t output_count = weight.shape[0];
    const Bytes scales = tensors_.at(name + ".weight.scale")->bytes;
    for (std::uint64_t output = 0; output < output_count; ++output) {
      const std::int32_t column_sum =
          CopyRow(weight.bytes.substr(output * weight.shape[1], weight.shape[1]), offsets, first_output + output);
      const float column_weight =
          LoadFixed<float>(scales.data() + output * sizeof(float)) * static_cast<float>(column_sum);
      Store(offsets.column_weights, first_output + output, column_weight);
    }
    Copy(name + ".weight.scale", offsets.scales + first_output * sizeof(float));
    Copy(name + ".bias", offsets.bias + first_output * sizeof(float));
    return first_output + output_count;
  }

 private:
  template <typename T>
  void Store(std::uint64_t section, std::uint64_t index, T value) {
    std::memcpy(blob_.data() + section + index * sizeof(T), &value, sizeof(T));
  }

  // Returns the sum of the row's codes.
  std::int32_t CopyRow(Bytes row, const LinearOffsets& offsets, std::uint64_t output) {
    char* panel = blob_.data() + offsets.codes + output / kInt8PanelColumns * kInt8PanelColumns * offsets.depth;
    const auto code_at = [row](std::size_t k) {
      return k < row.size() ? static_cast<std::int32_t>(static_cast<std::int8_t>(row[k])) : 0;
    };
    std::int32_t column_sum = 0;
    std::int32_t pair_sum = 0;
    for (std::size_t k = 0; k < offsets.depth; ++k) {
      const std::int32_t code = code_at(k);
      panel[(k / kInt8DepthStep * kInt8PanelColumns + output % kInt8PanelColumns) * kInt8DepthStep +
            k % kInt8DepthStep] = static_cast<char>(code);
      column_sum += code;
      if (k % kInt8DepthMultiple < kInt8DepthStep) pair_sum += code * code_at(k + kInt8DepthStep);
    }
    Store(offsets.column_sums, output, column_sum);
    Store(offsets.pair_sums, output, pair_sum);
    return column_sum;
  }

  ByteString& blob_;
  std::unordered_map<std::string_view, const TensorView*> tensors_;
};

ByteString MakeHeader(const BertConfig& config, std::uint64_t size_bytes, std::uint32_t body_crc) {
  ByteString header(kMagic);
  for (const std::uint32_t value : {kPackedBertVersion, kPackedBertLayout, config.hidden_size, config.layer_count,
                                    config.head_count, config.intermediate_size, config.vocabulary_size,
                                    config.position_count, config.type_count, config.token_count_max}) {
    AppendFixed(header, value);
  }
  AppendFixed(header, config.layer_norm_epsilon);
  AppendFixed(header, static_cast<std::uint32_t>(config.normalise ? 1 : 0));
  AppendFixed(header, size_bytes);
  AppendFixed(header, body_crc);
  header.resize(kHeaderCrcOffset, '\0');
  AppendFixed(header, Crc32c(header));
  return header;
}

// Every weight is in -127..127 by contract; -128 would break the bound that the kernels state.
Status CheckCodes(const std::vector<TensorView>& canonical) {
  for (const TensorView& tensor : canonical) {
    if (tensor.type != TensorType::kI8) continue;
    const std::size_t found = tensor.bytes.find('\x80');
    if (found == Bytes::npos) continue;
    return Status::InvalidArgument("tensor \"" + tensor.name + "\": code " + std::to_string(found) +
                                   " is -128, expected -127..127");
  }
  return Status::Ok();
}

Status Corrupt(const std::string& what) {
  return Status::Corruption("packed BERT: " + what);
}

Result<BertConfig> ReadHeader(Bytes blob) {
  if (blob.size() < kHeaderBytes) {
    return Corrupt("has " + std::to_string(blob.size()) + " bytes, the header alone needs 128");
  }
  if (blob.substr(0, kMagic.size()) != kMagic) return Corrupt("starts with the wrong magic, expected FSBERTQ8");
  if (Crc32c(blob.substr(0, kHeaderCrcOffset)) != LoadFixed<std::uint32_t>(blob.data() + kHeaderCrcOffset)) {
    return Corrupt("header checksum does not match");
  }
  ByteReader reader(blob.substr(kMagic.size(), kHeaderBytes - kMagic.size()));
  const auto version = reader.Fixed<std::uint32_t>();
  const auto layout = reader.Fixed<std::uint32_t>();
  if (version != kPackedBertVersion || layout != kPackedBertLayout) {
    return Status::Unsupported("packed BERT: version " + std::to_string(version) + " layout " + std::to_string(layout) +
                               ", this build reads version 1 layout 1");
  }
  BertConfig config;
  for (std::uint32_t* field :
       {&config.hidden_size, &config.layer_count, &config.head_count, &config.intermediate_size,
        &config.vocabulary_size, &config.position_count, &config.type_count, &config.token_count_max}) {
    *field = reader.Fixed<std::uint32_t>();
  }
  config.layer_norm_epsilon = reader.Fixed<float>();
  const auto normalise = reader.Fixed<std::uint32_t>();
  const auto size_bytes = reader.Fixed<std::uint64_t>();
  if (normalise > 1) return Corrupt("normalise is " + std::to_string(normalise) + ", expected 0 or 1");
  config.normalise = normalise == 1;
  if (const Status status = ValidateBertConfig(config); !status.ok()) return Corrupt(status.message());
  const std::uint64_t expected_bytes = Layout(config).size_bytes();
  if (size_bytes != expected_bytes || blob.size() != expected_bytes) {
    return Corrupt("has " + std::to_string(blob.size()) + " bytes and says " + std::to_string(size_bytes) +
                   ", its configuration needs " + std::to_string(expected_bytes));
  }
  const auto body_crc = reader.Fixed<std::uint32_t>();
  if (Crc32c(blob.substr(kHeaderBytes)) != body_crc) return Corrupt("body checksum does not match");
  return config;
}

}  // namespace

Result<ByteString> PackBertInt8(const BertConfig& config, const std::vector<TensorView>& canonical) {
  FORESHORE_RETURN_IF_ERROR(ValidateBertTensors(config, /*int8=*/true, canonical));
  FORESHORE_RETURN_IF_ERROR(CheckCodes(canonical));
  const Layout layout(config);
  ByteString blob(layout.size_bytes(), '\0');
  Packer packer(canonical, blob);
  packer.Copy("embeddings.word", layout.word_codes);
  packer.Copy("embeddings.word.scale", layout.word_scales);
  packer.Copy("embeddings.position", layout.positions);
  packer.Copy("embeddings.type", layout.types);
  packer.CopyNorm("embeddings.norm", layout.norm);
  for (std::size_t i = 0; i < layout.layers.size(); ++i) {
    const LayerOffsets& offsets = layout.layers[i];
    const std::string layer = "layer." + std::to_string(i) + ".";
    std::uint64_t output = 0;
    for (const char* part : {"query", "key", "value"}) output = packer.CopyLinear(layer + part, offsets.qkv, output);
    packer.CopyLinear(layer + "output", offsets.output, 0);
    packer.CopyNorm(layer + "attention.norm", offsets.attention_norm);
    packer.CopyLinear(layer + "up", offsets.up, 0);
    packer.CopyLinear(layer + "down", offsets.down, 0);
    packer.CopyNorm(layer + "norm", offsets.norm);
  }
  const ByteString header = MakeHeader(config, blob.size(), Crc32c(Bytes(blob).substr(kHeaderBytes)));
  std::memcpy(blob.data(), header.data(), header.size());
  return blob;
}

Result<PackedBert> PackedBert::Open(Bytes blob) {
  if (reinterpret_cast<std::uintptr_t>(blob.data()) % kPackedBertAlignment != 0) {
    return Status::InvalidArgument("packed BERT: bytes start at an address that is not a multiple of 64");
  }
  PackedBert packed;
  FORESHORE_ASSIGN_OR_RETURN(packed.config_, ReadHeader(blob));
  const auto floats_at = [blob](std::uint64_t offset) { return reinterpret_cast<const float*>(blob.data() + offset); };
  const auto integers_at = [blob](std::uint64_t offset) {
    return reinterpret_cast<const std::int32_t*>(blob.data() + offset);
  };
  const auto codes_at = [blob](std::uint64_t offset) {
    return reinterpret_cast<const std::int8_t*>(blob.data() + offset);
  };
  const auto norm_at = [&](const NormOffsets& offsets) {
    return PackedNorm{floats_at(offsets.gamma), floats_at(offsets.beta)};
  };
  const auto linear_at = [&](const LinearOffsets& offsets, std::size_t input_count) {
    return PackedLinear{offsets.outputs / kInt8PanelColumns,
                        input_count,
                        offsets.depth,
                        codes_at(offsets.codes),
                        floats_at(offsets.scales),
                        floats_at(offsets.bias),
                        floats_at(offsets.column_weights),
                        integers_at(offsets.column_sums),
                        integers_at(offsets.pair_sums)};
  };
  const BertConfig& config = packed.config_;
  const Layout layout(config);
  packed.word_codes_ = codes_at(layout.word_codes);
  packed.word_scales_ = floats_at(layout.word_scales);
  packed.positions_ = floats_at(layout.positions);
  packed.types_ = floats_at(layout.types);
  packed.norm_ = norm_at(layout.norm);
  for (const LayerOffsets& offsets : layout.layers) {
    packed.layers_.push_back({linear_at(offsets.qkv, config.hidden_size), linear_at(offsets.output, config.hidden_size),
                              norm_at(offsets.attention_norm), linear_at(offsets.up, config.hidden_size),
                              linear_at(offsets.down, config.intermediate_size), norm_at(offsets.norm)});
  }
  return packed;
}

}  // namespace foreshore
