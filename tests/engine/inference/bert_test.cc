#include "engine/inference/bert.h"

#include <doctest/doctest.h>

#include <string>

namespace foreshore {
namespace {

BertConfig SmallConfig() {
  BertConfig config;
  config.hidden_size = 8;
  config.layer_count = 2;
  config.head_count = 2;
  config.intermediate_size = 16;
  config.vocabulary_size = 20;
  config.position_count = 12;
  config.type_count = 2;
  config.token_count_max = 10;
  return config;
}

std::vector<Tensor> ZeroTensors(const BertConfig& config, bool int8) {
  std::vector<Tensor> tensors;
  for (const TensorView& row : BertTensorTable(config, int8)) {
    tensors.push_back({row.name, row.type, row.shape, ByteString(*TensorByteCount(row.type, row.shape), '\0')});
  }
  return tensors;
}

std::vector<TensorView> Views(const std::vector<Tensor>& tensors) {
  std::vector<TensorView> views;
  for (const Tensor& tensor : tensors) views.push_back(tensor.view());
  return views;
}

bool Contains(const Status& status, std::string_view text) {
  return status.message().find(text) != std::string::npos;
}

TEST_CASE("bert: a sound configuration passes, each broken field is named") {
  CHECK(ValidateBertConfig(SmallConfig()).ok());
  const auto names = [](auto change, const char* field) {
    BertConfig config = SmallConfig();
    change(config);
    const Status status = ValidateBertConfig(config);
    CAPTURE(status.message());
    CHECK(status.code() == ErrorCode::kInvalidArgument);
    CHECK(Contains(status, field));
  };
  names([](BertConfig& c) { c.hidden_size = 0; }, "hidden_size");
  names([](BertConfig& c) { c.hidden_size = 1U << 31; }, "hidden_size");
  names([](BertConfig& c) { c.layer_count = 100'000; }, "layer_count");
  names([](BertConfig& c) { c.head_count = 3; }, "head_count");
  names([](BertConfig& c) { c.intermediate_size = 0; }, "intermediate_size");
  names([](BertConfig& c) { c.vocabulary_size = 0xFFFFFFFF; }, "vocabulary_size");
  names([](BertConfig& c) { c.position_count = 0; }, "position_count");
  names([](BertConfig& c) { c.type_count = 0; }, "type_count");
  names([](BertConfig& c) { c.token_count_max = 13; }, "token_count_max");
  names([](BertConfig& c) { c.token_count_max = 1; }, "token_count_max");
  names([](BertConfig& c) { c.layer_norm_epsilon = 0.0F; }, "layer_norm_epsilon");
}

TEST_CASE("bert: the int8 table adds a scale to every matrix that the executor multiplies or gathers") {
  const BertConfig config = SmallConfig();
  const auto f32 = BertTensorTable(config, false);
  const auto int8 = BertTensorTable(config, true);
  CHECK(f32.size() == 5 + 16 * 2);
  CHECK(int8.size() == f32.size() + 1 + 6 * 2);
  CHECK(int8[0].type == TensorType::kI8);
  CHECK(int8[1].name == "embeddings.word.scale");
  CHECK(int8[1].shape == std::vector<std::uint64_t>{20});
}

TEST_CASE("bert: a complete set of tensors passes in both forms and not in the other") {
  const BertConfig config = SmallConfig();
  for (const bool int8 : {false, true}) {
    const auto tensors = ZeroTensors(config, int8);
    CHECK(ValidateBertTensors(config, int8, Views(tensors)).ok());
    CHECK(!ValidateBertTensors(config, !int8, Views(tensors)).ok());
  }
}

TEST_CASE("bert: everything wrong with the tensors is named in one message") {
  const BertConfig config = SmallConfig();
  const auto tensors = ZeroTensors(config, false);
  auto views = Views(tensors);
  views[0].shape = {8, 20};
  views[1].name = "embeddings.extra";
  views[2].bytes.remove_suffix(1);
  views.push_back(views[3]);
  const Status status = ValidateBertTensors(config, false, views);
  CAPTURE(status.message());
  CHECK(status.code() == ErrorCode::kInvalidArgument);
  CHECK(Contains(status, "\"embeddings.word\" is f32 [8,20], expected f32 [20,8]"));
  CHECK(Contains(status, "\"embeddings.position\" is missing"));
  CHECK(Contains(status, "\"embeddings.extra\" is unknown"));
  CHECK(Contains(status, "\"embeddings.type\" has 63 bytes, expected 64"));
  CHECK(Contains(status, "\"embeddings.norm.gamma\" appears twice"));
}

}  // namespace
}  // namespace foreshore
