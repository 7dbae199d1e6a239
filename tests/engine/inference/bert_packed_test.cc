#include "engine/inference/bert_packed.h"

#include <doctest/doctest.h>

#include <random>

#include "storage/base/checksum.h"
#include "tests/engine/inference/packed_model.h"

namespace foreshore {
namespace {

// Overwrites a header field and mends the header's checksum, as an attacker would.
void SetHeaderField(AlignedBlob& blob, std::size_t offset, std::uint32_t value) {
  std::memcpy(blob.data() + offset, &value, sizeof(value));
  const std::uint32_t crc = Crc32c(blob.bytes().substr(0, 124));
  std::memcpy(blob.data() + 124, &crc, sizeof(crc));
}

const Tensor& Find(const BertModel& model, const std::string& name) {
  for (const Tensor& tensor : model.tensors) {
    if (tensor.name == name) return tensor;
  }
  FAIL("no tensor ", name);
  return model.tensors.front();
}

}  // namespace

TEST_CASE("packed bert: what was packed is found again, query, key and value below each other") {
  BertConfig config = SmallBertConfig();
  config.hidden_size = 36;  // Neither a multiple of 8 nor of 64.
  config.normalise = false;
  const BertModel int8 = QuantizeBertInt8(RandomBert(config, 6)).value();
  const AlignedBlob blob(PackBertInt8(config, ViewsOf(int8)).value());
  const Result<PackedBert> packed = PackedBert::Open(blob.bytes());
  REQUIRE(packed.ok());
  CHECK(packed->config() == config);
  const Tensor& words = Find(int8, "embeddings.word");
  CHECK(std::memcmp(packed->word_codes(), words.bytes.data(), words.bytes.size()) == 0);
  const char* parts[] = {"query", "key", "value"};
  const PackedLinear& qkv = packed->layers()[1].qkv;
  CHECK(qkv.depth == 40);
  CHECK(qkv.panel_count == 2);
  for (std::size_t output = 0; output < 2 * 64; ++output) {
    const Int8Panel panel = qkv.panel(output / 64);
    std::int32_t column_sum = 0;
    std::int32_t pair_sum = 0;
    for (std::size_t k = 0; k < qkv.depth; ++k) {
      std::int32_t expected = 0;
      if (output < 3 * 36 && k < 36) {
        const Tensor& weight = Find(int8, std::string("layer.1.") + parts[output / 36] + ".weight");
        expected = static_cast<std::int8_t>(weight.bytes[output % 36 * 36 + k]);
      }
      const std::int32_t found = panel.codes[(k / 4 * 64 + output % 64) * 4 + k % 4];
      CHECK(found == expected);
      column_sum += found;
      if (k % 8 < 4) pair_sum += found * panel.codes[((k / 4 + 1) * 64 + output % 64) * 4 + k % 4];
    }
    CHECK(panel.column_sums[output % 64] == column_sum);
    CHECK(panel.pair_sums[output % 64] == pair_sum);
    const bool is_padding = output >= 3 * 36;
    const std::string name = std::string("layer.1.") + parts[is_padding ? 0 : output / 36];
    CHECK(qkv.scales[output] == (is_padding ? 0.0F : FloatsOf(Find(int8, name + ".weight.scale").view())[output % 36]));
    CHECK(qkv.column_weights[output] == qkv.scales[output] * static_cast<float>(column_sum));
    CHECK(qkv.bias[output] == (is_padding ? 0.0F : FloatsOf(Find(int8, name + ".bias").view())[output % 36]));
  }
}

TEST_CASE("packed bert: packing the same model twice gives the same bytes") {
  const BertModel f32 = RandomBert(SmallBertConfig(), 7);
  CHECK(PackedBytesOf(f32) == PackedBytesOf(f32));
}

TEST_CASE("packed bert: a truncated or extended blob is corruption") {
  const ByteString bytes = PackedBytesOf(RandomBert(SmallBertConfig(), 8));
  std::vector<std::size_t> sizes = {0, 1, 7, 8, 127, 128, 129, bytes.size() / 2, bytes.size() - 64, bytes.size() - 1};
  for (const std::size_t size : sizes) {
    CAPTURE(size);
    const AlignedBlob blob(Bytes(bytes).substr(0, size));
    CHECK(PackedBert::Open(blob.bytes()).status().code() == ErrorCode::kCorruption);
  }
  const AlignedBlob extended(bytes + "x");
  CHECK(PackedBert::Open(extended.bytes()).status().code() == ErrorCode::kCorruption);
}

TEST_CASE("packed bert: any flipped bit is corruption") {
  AlignedBlob blob(PackedBytesOf(RandomBert(SmallBertConfig(), 9)));
  REQUIRE(PackedBert::Open(blob.bytes()).ok());
  std::mt19937 random(9);
  for (std::size_t round = 0; round < 128 * 8 + 300; ++round) {
    const std::size_t bit = round < 128 * 8 ? round : 128 * 8 + random() % ((blob.bytes().size() - 128) * 8);
    CAPTURE(bit);
    blob.data()[bit / 8] = static_cast<char>(blob.data()[bit / 8] ^ (1 << bit % 8));
    CHECK(PackedBert::Open(blob.bytes()).status().code() == ErrorCode::kCorruption);
    blob.data()[bit / 8] = static_cast<char>(blob.data()[bit / 8] ^ (1 << bit % 8));
  }
}

TEST_CASE("packed bert: a configuration that the bytes cannot hold is corruption even under a right checksum") {
  const ByteString bytes = PackedBytesOf(RandomBert(SmallBertConfig(), 10));
  for (std::size_t field = 16; field < 48; field += 4) {
    if (field == 24 || field == 44) continue;  // head_count and token_count_max do not change the size.
    for (const std::uint32_t value : {0U, 1U, 32U, 65'536U, 0x7fffffffU, 0xffffffffU}) {
      CAPTURE(field);
      CAPTURE(value);
      AlignedBlob blob(bytes);
      SetHeaderField(blob, field, value);
      CHECK(PackedBert::Open(blob.bytes()).status().code() == ErrorCode::kCorruption);
    }
  }
  AlignedBlob heads(bytes);
  SetHeaderField(heads, 24, 3);
  CHECK(PackedBert::Open(heads.bytes()).status().code() == ErrorCode::kCorruption);
  AlignedBlob tokens(bytes);
  SetHeaderField(tokens, 44, 49);
  CHECK(PackedBert::Open(tokens.bytes()).status().code() == ErrorCode::kCorruption);
}

TEST_CASE("packed bert: a later version or layout is unsupported") {
  for (const std::size_t field : {8, 12}) {
    AlignedBlob blob(PackedBytesOf(RandomBert(SmallBertConfig(), 11)));
    SetHeaderField(blob, field, 9);
    CHECK(PackedBert::Open(blob.bytes()).status().code() == ErrorCode::kUnsupported);
  }
}

TEST_CASE("packed bert: bytes at an unaligned address are refused") {
  const ByteString bytes = PackedBytesOf(RandomBert(SmallBertConfig(), 12));
  AlignedBlob blob(" " + bytes);
  CHECK(PackedBert::Open(blob.bytes().substr(1)).status().code() == ErrorCode::kInvalidArgument);
}

TEST_CASE("packed bert: a code of -128 and an f32 model are refused by name") {
  BertModel int8 = QuantizeBertInt8(RandomBert(SmallBertConfig(), 13)).value();
  for (Tensor& tensor : int8.tensors) {
    if (tensor.name == "layer.1.up.weight") tensor.bytes[5] = '\x80';
  }
  const Result<ByteString> packed = PackBertInt8(int8.config, ViewsOf(int8));
  REQUIRE_FALSE(packed.ok());
  CHECK(packed.status().message() == "tensor \"layer.1.up.weight\": code 5 is -128, expected -127..127");
  const BertModel f32 = RandomBert(SmallBertConfig(), 13);
  CHECK(PackBertInt8(f32.config, ViewsOf(f32)).status().code() == ErrorCode::kInvalidArgument);
}

}  // namespace foreshore
