// Goal: every face that exporters give to BERT yields the same model, and everything that is not BERT is refused by
// name.
#include "engine/inference/onnx_bert_import.h"

#include <doctest/doctest.h>

#include "tests/engine/inference/onnx_writer.h"

namespace foreshore {
namespace {

Result<OnnxBert> Import(const TinyBertForm& form) {
  return ImportOnnxBert("tiny.onnx", TinyBert(form).Build());
}

void CheckSameAsPlain(const TinyBertForm& form) {
  const Result<OnnxBert> plain = Import({});
  REQUIRE(plain.ok());
  const Result<OnnxBert> other = Import(form);
  REQUIRE_MESSAGE(other.ok(), other.status().message());
  CHECK(other->model.config == plain->model.config);
  REQUIRE(other->model.tensors.size() == plain->model.tensors.size());
  for (std::size_t i = 0; i < plain->model.tensors.size(); ++i) {
    CAPTURE(plain->model.tensors[i].name);
    CHECK(other->model.tensors[i].bytes == plain->model.tensors[i].bytes);
  }
}

void CheckRefused(const TinyBertForm& form, std::string_view part) {
  const Result<OnnxBert> result = Import(form);
  REQUIRE(!result.ok());
  CAPTURE(result.status().ToString());
  CHECK(result.status().code() == ErrorCode::kUnsupported);
  CHECK(result.status().message().starts_with("tiny.onnx: "));
  CHECK(result.status().message().find(part) != std::string::npos);
}

TEST_CASE("onnx bert: the configuration comes from the graph") {
  const Result<OnnxBert> result = Import({});
  REQUIRE_MESSAGE(result.ok(), result.status().message());
  const BertConfig& config = result->model.config;
  CHECK(config.hidden_size == 8);
  CHECK(config.head_count == 2);
  CHECK(config.layer_count == 1);
  CHECK(config.intermediate_size == 16);
  CHECK(config.vocabulary_size == 20);
  CHECK(config.position_count == 12);
  CHECK(config.type_count == 2);
  CHECK(config.layer_norm_epsilon == 1e-12F);
}

TEST_CASE("onnx bert: linear layers as Gemm over flattened rows") {
  CheckSameAsPlain({.gemm = true});
}
TEST_CASE("onnx bert: padding masked by Where with minus infinity") {
  CheckSameAsPlain({.masked_fill = true});
}
TEST_CASE("onnx bert: a guard against rows of NaN after softmax") {
  CheckSameAsPlain({.nan_guard = true});
}
TEST_CASE("onnx bert: the scale divided between queries and keys") {
  CheckSameAsPlain({.split_scale = true});
}
TEST_CASE("onnx bert: int8 weights unpacked by Cast and Mul") {
  CheckSameAsPlain({.cast_mul_weights = true});
}
TEST_CASE("onnx bert: int8 weights unpacked by DequantizeLinear") {
  CheckSameAsPlain({.dequantize_weights = true});
}
TEST_CASE("onnx bert: GELU as one operator") {
  CheckSameAsPlain({.opset = 20, .activation = "gelu"});
}
TEST_CASE("onnx bert: weights in Constant nodes") {
  CheckSameAsPlain({.constant_nodes = true});
}
TEST_CASE("onnx bert: a pooled output beside is left out, whatever makes it") {
  CheckSameAsPlain({.pooled_output = true});
}

TEST_CASE("onnx bert: without segments the type embedding is one row of zeros") {
  const Result<OnnxBert> result = Import({.type_input = false});
  REQUIRE_MESSAGE(result.ok(), result.status().message());
  CHECK(result->model.config.type_count == 1);
  CHECK(result->model.tensors[2].name == "embeddings.type");
  CHECK(result->model.tensors[2].bytes == ByteString(32, '\0'));
}

TEST_CASE("onnx bert: every unknown operator is named at once") {
  const Result<OnnxBert> result = Import({.activation = "relu", .extra_operators = true});
  REQUIRE(!result.ok());
  const std::string& message = result.status().message();
  CAPTURE(message);
  CHECK(message.find("Relu (node_Relu_") != std::string::npos);
  CHECK(message.find("Tanh (node_Tanh_") != std::string::npos);
  CHECK(message.find("com.example.QuickGelu (node_QuickGelu_") != std::string::npos);
}

TEST_CASE("onnx bert: GELU approximated by tanh is refused") {
  CheckRefused({.activation = "gelu-tanh"}, "tanh");
}
TEST_CASE("onnx bert: an erf that is not GELU's is refused") {
  CheckRefused({.activation = "quick"}, "GELU");
}
TEST_CASE("onnx bert: normalisation before the layers is refused") {
  CheckRefused({.pre_norm = true}, "layer normalisation (after the residual sum)");
}
TEST_CASE("onnx bert: scores of another scale are refused") {
  CheckRefused({.scale = 0.25F}, "scaled by 0.5");
}
TEST_CASE("onnx bert: a mask input that attention ignores is refused") {
  CheckRefused({.mask = false}, "mask");
}
TEST_CASE("onnx bert: causal attention is refused") {
  CheckRefused({.causal = true}, "padding");
}
TEST_CASE("onnx bert: relative position biases are refused") {
  CheckRefused({.relative_bias = true}, "nothing added");
}
TEST_CASE("onnx bert: heads cut across are refused") {
  CheckRefused({.swapped_heads = true}, "heads");
}
TEST_CASE("onnx bert: heads that are not joined again are refused") {
  CheckRefused({.unjoined_heads = true}, "heads joined in order");
}
TEST_CASE("onnx bert: positions that do not start at 0 are refused") {
  CheckRefused({.position_offset = 2}, "positions");
}
TEST_CASE("onnx bert: a residual from elsewhere is refused") {
  CheckRefused({.wrong_residual = true}, "residual sum");
}
TEST_CASE("onnx bert: keys from another value are refused") {
  CheckRefused({.other_key = true}, "residual sum");
}
TEST_CASE("onnx bert: a mask too weak to hide words is refused") {
  CheckRefused({.weak_mask = true}, "padding mask");
}
TEST_CASE("onnx bert: a mask that keeps the padding is refused") {
  CheckRefused({.inverted_mask = true}, "mask");
}
TEST_CASE("onnx bert: layers of different epsilon are refused") {
  CheckRefused({.other_epsilon = true}, "same epsilon");
}
TEST_CASE("onnx bert: a linear layer without bias is refused") {
  CheckRefused({.missing_bias = true}, "bias");
}
TEST_CASE("onnx bert: a fixed sequence length is refused") {
  CheckRefused({.sequence = 7}, "open sequence length");
}
TEST_CASE("onnx bert: an operator set that is too old is refused") {
  CheckRefused({.opset = 7}, "operator set 7");
}

TEST_CASE("onnx bert: no prefix of a file and no flipped bit crashes, and a cut file is never a model") {
  for (const TinyBertForm& form :
       {TinyBertForm{}, TinyBertForm{.gemm = true, .masked_fill = true, .dequantize_weights = true}}) {
    const ByteString file = TinyBert(form).Build();
    // A cut that leaves only whole fields off the end may still be a file, but then without operator set or graph.
    for (std::size_t size = 0; size < file.size(); size += 3) {
      CAPTURE(size);
      CHECK(!ImportOnnxBert("cut.onnx", Bytes(file).substr(0, size)).ok());
    }
    ByteString flipped = file;
    for (std::size_t i = 0; i < file.size(); i += 5) {
      const char original = flipped[i];
      flipped[i] = static_cast<char>(original ^ (1 << (i / 5 % 8)));
      ImportOnnxBert("flipped.onnx", flipped).status().IgnoreError();
      flipped[i] = original;
    }
  }
}

}  // namespace
}  // namespace foreshore
