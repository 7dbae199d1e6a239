// The writer of packed weights; the reader is bert_packed.cc.
#include <cstring>
#include <string>
#include <utility>

#include "engine/inference/bert_packed.h"
#include "engine/inference/bert_packed_layout.h"
#include "engine/inference/grouped_weights.h"
#include "storage/base/checksum.h"
#include "storage/base/coding.h"

namespace foreshore {
namespace {

class Packer {
 public:
  Packer(const WeightFormat& format, const std::vector<TensorView>& canonical, ByteString& blob)
      : format_(format), blob_(blob) {
    for (const TensorView& tensor : canonical) tensors_.emplace(tensor.name, tensor);
  }

  void Copy(const std::string& name, std::uint64_t offset) {
    const Bytes bytes = tensors_.at(name).bytes;
    std::memcpy(blob_.data() + offset, bytes.data(), bytes.size());
  }
  void CopyNorm(const std::string& name, const PackedBertLayout::Norm& offsets) {
    Copy(name + ".gamma", offsets.gamma);
    Copy(name + ".beta", offsets.beta);
  }
  // Lays `name` out from output `first_output` on; `first_output` becomes the output after its last.
  Status CopyLinear(const std::string& name, const PackedBertLayout::Linear& offsets, std::uint64_t& first_output) {
    const std::uint64_t output_count = tensors_.at(name + ".weight").shape[0];
    if (format_.kind == WeightKind::kInt8) CopyInt8(name, offsets, first_output);
    if (format_.kind == WeightKind::kFloat) CopyFloats(name, offsets, first_output);
    if (format_.kind == WeightKind::kGrouped || format_.kind == WeightKind::kNf4) {
      FORESHORE_RETURN_IF_ERROR(CopyGrouped(name, offsets, first_output));
    }
    Copy(name + ".bias", offsets.bias + first_output * sizeof(float));
    first_output += output_count;
    return Status::Ok();
  }

 private:
  void CopyInt8(const std::string& name, const PackedBertLayout::Linear& offsets, std::uint64_t first_output) {
    const TensorView& weight = tensors_.at(name + ".weight");
    const std::uint64_t output_count = weight.shape[0];
    const Bytes scales = tensors_.at(name + ".weight.scale").bytes;
    for (std::uint64_t output = 0; output < output_count; ++output) {
      const std::int32_t column_sum =
          CopyRow(weight.bytes.substr(output * weight.shape[1], weight.shape[1]), offsets, first_output + output);
      const float column_weight =
          LoadFixed<float>(scales.data() + output * sizeof(float)) * static_cast<float>(column_sum);
      Store(offsets.column_weights, first_output + output, column_weight);
    }
    Copy(name + ".weight.scale", offsets.scales + first_output * sizeof(float));
  }

  void CopyFloats(const std::string& name, const PackedBertLayout::Linear& offsets, std::uint64_t first_output) {
    const char* source = tensors_.at(name + ".weight").bytes.data();
    const std::uint64_t output_count = tensors_.at(name + ".weight").shape[0];
    for (std::uint64_t row = 0; row < output_count; ++row) {
      const std::uint64_t output = first_output + row;
      const std::uint64_t panel = output / kInt8PanelColumns * kInt8PanelColumns * offsets.depth;
      for (std::uint64_t k = 0; k < offsets.depth; ++k, source += sizeof(float)) {
        Store(offsets.codes, panel + k * kInt8PanelColumns + output % kInt8PanelColumns, LoadFixed<float>(source));
      }
    }
  }

  Status CopyGrouped(const std::string& name, const PackedBertLayout::Linear& offsets, std::uint64_t first_output) {
    FORESHORE_ASSIGN_OR_RETURN(const GroupedWeights weights,
                               ReadGroupedTensors(name + ".weight", offsets.inputs, format_, tensors_));
    if (format_.ordered) FORESHORE_RETURN_IF_ERROR(StoreOrder(name, weights.order, offsets, first_output));
    for (std::uint64_t row = 0; row < weights.row_count; ++row) {
      const std::uint64_t output = first_output + row;
      const std::uint64_t panel = output / kInt8PanelColumns;
      char* codes = blob_.data() + offsets.codes + panel * kInt8PanelColumns * offsets.depth / 2;
      double column_weight = 0;
      for (std::size_t k = 0; k < weights.column_count; ++k) {
        char& both = codes[(k / 8 * kInt8PanelColumns + output % kInt8PanelColumns) * 4 + k % 4];
        const unsigned code = weights.codes[row * weights.column_count + k];
        both = static_cast<char>(static_cast<unsigned char>(both) | (k % 8 < 4 ? code : code << 4));
        column_weight += weights.ValueAt(row, k);
      }
      Store(offsets.column_weights, output, static_cast<float>(column_weight));
      for (std::uint64_t group = 0; group < offsets.group_count; ++group) {
        const std::uint64_t place =
            (panel * offsets.group_count + group) * kInt8PanelColumns + output % kInt8PanelColumns;
        Store(offsets.scales, place, weights.scales[row * offsets.group_count + group]);
        Store(offsets.zeros, place, weights.zeros[row * offsets.group_count + group]);
      }
    }
    return Status::Ok();
  }

  // query, key and value read the same activations, gathered once.
  Status StoreOrder(const std::string& name, const std::vector<std::uint32_t>& order,
                    const PackedBertLayout::Linear& offsets, std::uint64_t first_output) {
    char* stored = blob_.data() + offsets.order;
    const std::size_t size_bytes = order.size() * sizeof(std::uint32_t);
    if (first_output > 0 && std::memcmp(stored, order.data(), size_bytes) != 0) {
      return Status::Unsupported("tensor \"" + name +
                                 ".weight.order\": differs from the query's of its layer, expected one order of inputs "
                                 "for query, key and value");
    }
    std::memcpy(stored, order.data(), size_bytes);
    return Status::Ok();
  }

  template <typename T>
  void Store(std::uint64_t section, std::uint64_t index, T value) {
    std::memcpy(blob_.data() + section + index * sizeof(T), &value, sizeof(T));
  }

  // Returns the sum of the row's codes.
  std::int32_t CopyRow(Bytes row, const PackedBertLayout::Linear& offsets, std::uint64_t output) {
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

  const WeightFormat& format_;
  ByteString& blob_;
  TensorsByName tensors_;
};

ByteString MakeHeader(const BertConfig& config, const WeightFormat& format, std::uint64_t size_bytes,
                      std::uint32_t body_crc) {
  ByteString header(kPackedBertMagic);
  for (const std::uint32_t value :
       {kPackedBertVersion, static_cast<std::uint32_t>(format.kind), config.hidden_size, config.layer_count,
        config.head_count, config.intermediate_size, config.vocabulary_size, config.position_count, config.type_count,
        config.token_count_max}) {
    AppendFixed(header, value);
  }
  AppendFixed(header, config.layer_norm_epsilon);
  AppendFixed(header, static_cast<std::uint32_t>(config.normalise ? 1 : 0));
  AppendFixed(header, size_bytes);
  AppendFixed(header, body_crc);
  if (format.kind != WeightKind::kInt8) {
    for (const std::uint32_t value : {format.bits, format.group_size, format.ordered ? 1U : 0U}) {
      AppendFixed(header, value);
    }
  }
  header.resize(kPackedBertHeaderCrcOffset, '\0');
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

}  // namespace

Result<ByteString> PackBert(const BertConfig& config, const WeightFormat& format,
                            const std::vector<TensorView>& canonical) {
  FORESHORE_RETURN_IF_ERROR(ValidateBertTensors(config, format, canonical));
  FORESHORE_RETURN_IF_ERROR(CheckCodes(canonical));
  const PackedBertLayout layout(config, format);
  ByteString blob(layout.size_bytes(), '\0');
  Packer packer(format, canonical, blob);
  packer.Copy("embeddings.word", layout.word_codes);
  if (format.kind != WeightKind::kFloat) packer.Copy("embeddings.word.scale", layout.word_scales);
  packer.Copy("embeddings.position", layout.positions);
  packer.Copy("embeddings.type", layout.types);
  packer.CopyNorm("embeddings.norm", layout.norm);
  for (std::size_t i = 0; i < layout.layers.size(); ++i) {
    const PackedBertLayout::Layer& offsets = layout.layers[i];
    const std::string layer = "layer." + std::to_string(i) + ".";
    std::uint64_t output = 0;
    for (const char* part : {"query", "key", "value"}) {
      FORESHORE_RETURN_IF_ERROR(packer.CopyLinear(layer + part, offsets.qkv, output));
    }
    const std::pair<const char*, const PackedBertLayout::Linear*> others[] = {
        {"output", &offsets.output}, {"up", &offsets.up}, {"down", &offsets.down}};
    for (const auto& [part, linear] : others) {
      output = 0;
      FORESHORE_RETURN_IF_ERROR(packer.CopyLinear(layer + part, *linear, output));
    }
    packer.CopyNorm(layer + "attention.norm", offsets.attention_norm);
    packer.CopyNorm(layer + "norm", offsets.norm);
  }
  const ByteString header = MakeHeader(config, format, blob.size(), Crc32c(Bytes(blob).substr(kPackedBertHeaderBytes)));
  std::memcpy(blob.data(), header.data(), header.size());
  return blob;
}

}  // namespace foreshore
