#include "engine/inference/bert_quantize.h"

#include <doctest/doctest.h>

#include <cmath>
#include <limits>

#include "tests/engine/inference/random_bert.h"

namespace foreshore {

TEST_CASE("quantize: the result is a valid int8 model with codes in -127..127") {
  const BertModel f32 = RandomBert(SmallBertConfig(), 1);
  const Result<BertModel> int8 = QuantizeBertInt8(f32);
  REQUIRE(int8.ok());
  CHECK(ValidateBertTensors(int8->config, /*int8=*/true, ViewsOf(*int8)).ok());
  for (const Tensor& tensor : int8->tensors) {
    if (tensor.type == TensorType::kI8) CHECK(tensor.bytes.find('\x80') == ByteString::npos);
  }
}

TEST_CASE("quantize: a row's error is no more than that of the scale by its largest value") {
  const BertModel f32 = RandomBert(SmallBertConfig(), 2);
  const Result<BertModel> int8 = QuantizeBertInt8(f32);
  REQUIRE(int8.ok());
  const BertModel back = Dequantize(*int8);
  for (std::size_t i = 0; i < f32.tensors.size(); ++i) {
    REQUIRE(back.tensors[i].name == f32.tensors[i].name);
    const std::vector<float> before = FloatsOf(f32.tensors[i].view());
    const std::vector<float> after = FloatsOf(back.tensors[i].view());
    const bool is_matrix = before != after;
    CHECK(is_matrix == (f32.tensors[i].name == "embeddings.word" || f32.tensors[i].name.ends_with(".weight")));
    if (!is_matrix) continue;
    const std::size_t columns = f32.tensors[i].shape[1];
    for (std::size_t row = 0; row < f32.tensors[i].shape[0]; ++row) {
      float max = 0;
      double error = 0;
      double plain_error = 0;
      for (std::size_t k = row * columns; k < (row + 1) * columns; ++k) max = std::max(max, std::fabs(before[k]));
      for (std::size_t k = row * columns; k < (row + 1) * columns; ++k) {
        const double plain = std::nearbyint(before[k] / (max / 127.0)) * (max / 127.0);
        plain_error += (before[k] - plain) * (before[k] - plain);
        error += (before[k] - after[k]) * (before[k] - after[k]);
      }
      CHECK(error <= plain_error * 1.0001);
    }
  }
}

TEST_CASE("quantize: a row of zeros stays zero") {
  BertModel f32 = RandomBert(SmallBertConfig(), 3);
  for (Tensor& tensor : f32.tensors) {
    if (tensor.name == "layer.0.up.weight") tensor.bytes.replace(0, 64 * 4, 64 * 4, '\0');
  }
  const Result<BertModel> int8 = QuantizeBertInt8(f32);
  REQUIRE(int8.ok());
  const BertModel back = Dequantize(*int8);
  for (const Tensor& tensor : back.tensors) {
    if (tensor.name != "layer.0.up.weight") continue;
    CHECK(tensor.bytes.substr(0, 64 * 4) == ByteString(64 * 4, '\0'));
    CHECK(tensor.bytes.substr(64 * 4, 64 * 4) != ByteString(64 * 4, '\0'));
  }
}

TEST_CASE("quantize: NaN and infinity are refused by the tensor's name") {
  for (const float bad : {std::numeric_limits<float>::quiet_NaN(), -std::numeric_limits<float>::infinity()}) {
    for (const char* name : {"layer.1.down.weight", "embeddings.norm.beta"}) {
      BertModel f32 = RandomBert(SmallBertConfig(), 4);
      for (Tensor& tensor : f32.tensors) {
        if (tensor.name == name) std::memcpy(tensor.bytes.data() + 8, &bad, sizeof(bad));
      }
      const Result<BertModel> int8 = QuantizeBertInt8(f32);
      REQUIRE_FALSE(int8.ok());
      CHECK(int8.status().code() == ErrorCode::kInvalidArgument);
      CHECK(int8.status().message().find(name) != std::string::npos);
      CHECK(int8.status().message().find("value 2") != std::string::npos);
    }
  }
}

TEST_CASE("quantize: a missing tensor is refused by name") {
  BertModel f32 = RandomBert(SmallBertConfig(), 5);
  f32.tensors.pop_back();
  const Result<BertModel> int8 = QuantizeBertInt8(f32);
  REQUIRE_FALSE(int8.ok());
  CHECK(int8.status().message().find("layer.1.norm.beta") != std::string::npos);
}

}  // namespace foreshore
