#include "engine/inference/bert_packed.h"

#include <string>

#include "engine/inference/bert_packed_layout.h"
#include "engine/inference/nf4.h"
#include "storage/base/checksum.h"
#include "storage/base/coding.h"

namespace foreshore {
namespace {

Status Corrupt(const std::string& what) {
  return Status::Corruption("packed BERT: " + what);
}

struct Header {
  BertConfig config;
  WeightFormat format;
};

Result<Header> ReadHeader(Bytes blob) {
  if (blob.size() < kPackedBertHeaderBytes) {
    return Corrupt("has " + std::to_string(blob.size()) + " bytes, the header alone needs 128");
  }
  if (blob.substr(0, kPackedBertMagic.size()) != kPackedBertMagic)
    return Corrupt("starts with the wrong magic, expected FSBERTQ8");
  if (Crc32c(blob.substr(0, kPackedBertHeaderCrcOffset)) !=
      LoadFixed<std::uint32_t>(blob.data() + kPackedBertHeaderCrcOffset)) {
    return Corrupt("header checksum does not match");
  }
  ByteReader reader(blob.substr(kPackedBertMagic.size(), kPackedBertHeaderBytes - kPackedBertMagic.size()));
  const auto version = reader.Fixed<std::uint32_t>();
  const auto layout = reader.Fixed<std::uint32_t>();
  if (version != kPackedBertVersion || layout < 1 || layout > 4) {
    return Status::Unsupported("packed BERT: version " + std::to_string(version) + " layout " + std::to_string(layout) +
                               ", this build reads version 1 layouts 1 to 4");
  }
  Header header;
  BertConfig& config = header.config;
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
  const auto body_crc = reader.Fixed<std::uint32_t>();
  WeightFormat& format = header.format;
  format.kind = static_cast<WeightKind>(layout);
  if (format.kind != WeightKind::kInt8) {
    format.bits = reader.Fixed<std::uint32_t>();
    format.group_size = reader.Fixed<std::uint32_t>();
    const auto ordered = reader.Fixed<std::uint32_t>();
    if (ordered > 1) return Corrupt("ordered is " + std::to_string(ordered) + ", expected 0 or 1");
    format.ordered = ordered == 1;
  }
  if (const Status status = ValidateWeightFormat(format); !status.ok()) return Corrupt(status.message());
  const std::uint64_t expected_bytes = PackedBertLayout(config, format).size_bytes();
  if (size_bytes != expected_bytes || blob.size() != expected_bytes) {
    return Corrupt("has " + std::to_string(blob.size()) + " bytes and says " + std::to_string(size_bytes) +
                   ", its configuration needs " + std::to_string(expected_bytes));
  }
  if (Crc32c(blob.substr(kPackedBertHeaderBytes)) != body_crc) return Corrupt("body checksum does not match");
  return header;
}

// Gathering trusts the order of inputs.
Status CheckOrder(const PackedLinear& linear) {
  for (std::size_t i = 0; linear.order != nullptr && i < linear.input_count; ++i) {
    if (linear.order[i] >= linear.input_count) {
      return Corrupt("order of inputs names input " + std::to_string(linear.order[i]) + " of " +
                     std::to_string(linear.input_count));
    }
  }
  return Status::Ok();
}

}  // namespace

Result<PackedBert> PackedBert::Open(Bytes blob) {
  if (reinterpret_cast<std::uintptr_t>(blob.data()) % kPackedBertAlignment != 0) {
    return Status::InvalidArgument("packed BERT: bytes start at an address that is not a multiple of 64");
  }
  PackedBert packed;
  FORESHORE_ASSIGN_OR_RETURN(const Header header, ReadHeader(blob));
  packed.config_ = header.config;
  packed.format_ = header.format;
  const auto floats_at = [blob](std::uint64_t offset) { return reinterpret_cast<const float*>(blob.data() + offset); };
  const auto integers_at = [blob](std::uint64_t offset) {
    return reinterpret_cast<const std::int32_t*>(blob.data() + offset);
  };
  const auto codes_at = [blob](std::uint64_t offset) {
    return reinterpret_cast<const std::int8_t*>(blob.data() + offset);
  };
  const auto norm_at = [&](const PackedBertLayout::Norm& offsets) {
    return PackedNorm{floats_at(offsets.gamma), floats_at(offsets.beta)};
  };
  const BertConfig& config = packed.config_;
  const WeightFormat& format = packed.format_;
  const auto linear_at = [&](const PackedBertLayout::Linear& offsets) {
    PackedLinear linear;
    linear.kind = format.kind;
    linear.panel_count = offsets.outputs / kInt8PanelColumns;
    linear.input_count = offsets.inputs;
    linear.depth = offsets.depth;
    linear.bias = floats_at(offsets.bias);
    if (format.kind == WeightKind::kFloat) {
      linear.weights = floats_at(offsets.codes);
      return linear;
    }
    linear.column_weights = floats_at(offsets.column_weights);
    if (format.kind == WeightKind::kInt8) {
      linear.codes = codes_at(offsets.codes);
      linear.scales = floats_at(offsets.scales);
      linear.column_sums = integers_at(offsets.column_sums);
      linear.pair_sums = integers_at(offsets.pair_sums);
      return linear;
    }
    linear.group_size = offsets.group_size;
    linear.group_count = offsets.group_count;
    linear.group_codes = reinterpret_cast<const std::uint8_t*>(codes_at(offsets.codes));
    linear.group_scales = floats_at(offsets.scales);
    linear.group_zeros = reinterpret_cast<const std::uint8_t*>(codes_at(offsets.zeros));
    if (format.kind == WeightKind::kNf4) linear.levels = Nf4IntegerLevels();
    if (format.ordered) linear.order = reinterpret_cast<const std::uint32_t*>(codes_at(offsets.order));
    return linear;
  };
  const PackedBertLayout layout(config, format);
  if (format.kind == WeightKind::kFloat) {
    packed.words_ = floats_at(layout.word_codes);
  } else {
    packed.word_codes_ = codes_at(layout.word_codes);
    packed.word_scales_ = floats_at(layout.word_scales);
  }
  packed.positions_ = floats_at(layout.positions);
  packed.types_ = floats_at(layout.types);
  packed.norm_ = norm_at(layout.norm);
  for (const PackedBertLayout::Layer& offsets : layout.layers) {
    packed.layers_.push_back({linear_at(offsets.qkv), linear_at(offsets.output), norm_at(offsets.attention_norm),
                              linear_at(offsets.up), linear_at(offsets.down), norm_at(offsets.norm)});
    const PackedBertLayer& layer = packed.layers_.back();
    for (const PackedLinear* linear : {&layer.qkv, &layer.output, &layer.up, &layer.down}) {
      FORESHORE_RETURN_IF_ERROR(CheckOrder(*linear));
    }
  }
  return packed;
}

}  // namespace foreshore
