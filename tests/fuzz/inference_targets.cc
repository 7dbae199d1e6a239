// Model files: ONNX, safetensors, GGUF, GPTQ checkpoints, LoRA adapters and packed weights.
#include "engine/inference/bert_adapter.h"
#include "engine/inference/bert_packed.h"
#include "engine/inference/bert_packed_layout.h"
#include "engine/inference/gguf_bert.h"
#include "engine/inference/gptq_checkpoint.h"
#include "engine/inference/graph/graph_executor.h"
#include "engine/inference/graph/graph_plan.h"
#include "engine/inference/onnx_bert_import.h"
#include "engine/inference/peft_adapter.h"
#include "engine/inference/safetensors.h"
#include "engine/inference/safetensors_bert.h"
#include "storage/base/checksum.h"
#include "storage/base/coding.h"
#include "storage/base/file.h"
#include "tests/engine/inference/low_rank_model.h"
#include "tests/engine/inference/onnx_writer.h"
#include "tests/engine/inference/quantized_model.h"
#include "tests/engine/inference/random_bert.h"
#include "tests/fuzz/fuzz_target.h"

namespace foreshore {
namespace {

const std::string kGolden = FORESHORE_GOLDEN_DIR;

// Magic, version, layout, nine words of configuration, normalise, size.
constexpr std::size_t kBodySumOffset = 8 + 4 + 4 + 9 * 4 + 4 + 8;

ByteString Golden(const std::string& file) {
  return ReadFile(kGolden + "/" + file).value();
}

// A general graph: convolution, branches and a loop are the operators whose sizes come from attributes.
ByteString SmallGraph(const std::string& op, const std::vector<ByteString>& attributes,
                      const std::vector<std::int64_t>& shape, const std::vector<std::int64_t>& weight_shape) {
  OnnxWriter writer;
  writer.Input("x", shape, 1);
  std::int64_t count = 1;
  for (const std::int64_t size : weight_shape) count *= size;
  const std::string weight =
      writer.Floats("w", weight_shape, std::vector<float>(static_cast<std::size_t>(count), 0.5F));
  writer.Output(writer.Node(op, {"x", weight}, attributes), {});
  return writer.Finish();
}

std::vector<ByteString> OnnxSeeds() {
  return {Golden("bert_tiny/opset13.onnx"),
          Golden("bert_tiny/opset17.onnx"),
          SmallGraph("Conv", {IntsAttribute("pads", {1, 1, 1, 1}), IntsAttribute("strides", {2, 2})}, {1, 3, -1, 8},
                     {4, 3, 3, 3}),
          SmallGraph("MatMul", {}, {-1, 4}, {4, 4}),
          SmallGraph("Add", {}, {2, 4}, {1, 4}),
          SmallGraph("Concat", {IntAttribute("axis", 1)}, {2, 3}, {2, 3})};
}

std::vector<ByteString> OnnxBertSeeds() {
  return {Golden("bert_tiny/opset13.onnx"), Golden("bert_tiny/opset17.onnx"), TinyBert(TinyBertForm{}).Build()};
}

bool RunOnnx(Bytes input) {
  auto onnx = ReadOnnx("fuzz", input);
  if (!onnx.ok()) return false;
  const graph::GraphLimits limits{16ULL << 20};
  const auto built = graph::Graph::Build("fuzz", std::move(onnx).value(), limits);
  if (!built.ok()) return false;
  std::vector<graph::TensorInfo> infos;
  for (const graph::GraphPort& port : built->inputs()) {
    graph::Shape shape = port.shape;
    for (std::int64_t& size : shape) size = size < 0 ? 2 : size;
    infos.push_back({port.type, shape});
  }
  const auto plan = graph::PlanGraph(*built, infos, limits.memory_bytes_max);
  if (plan.ok()) FuzzCheck(plan->arena_bytes <= limits.memory_bytes_max, "a plan keeps to its memory");
  return plan.ok();
}

bool RunGguf(Bytes input) {
  const auto file = ReadGguf("fuzz", input);
  if (!file.ok()) return false;
  for (const auto& [key, value] : file->values) {
    file->Unsigned(key);
    file->Number(key);
    file->Bool(key);
    file->Strings(key);
    file->UnsignedArray(key);
  }
  for (const GgufTensor& tensor : file->tensors) {
    if (tensor.type != nullptr && tensor.type->dequantize != nullptr) DequantizeGgml(*tensor.type, tensor.bytes);
  }
  return BertFromGguf("fuzz", *file).ok();
}

std::vector<ByteString> SafetensorsSeeds() {
  std::vector<TensorView> views;
  const BertModel model = RandomBert(TinyBertConfig(), 1);
  for (const Tensor& tensor : model.tensors) views.push_back(tensor.view());
  return {Golden("bert_tiny/model.safetensors"), WriteSafetensors(views), WriteSafetensors({}),
          SafetensorsBytes({{"a", "BF16", {2, 2}, ByteString(8, 'a')}, {"b", "F64", {1}, ByteString(8, 'b')}})};
}

bool RunSafetensors(Bytes input) {
  const auto file = ReadSafetensors("fuzz", input);
  if (!file.ok()) return false;
  std::size_t total_bytes = 0;
  for (const TensorView& tensor : file->tensors) total_bytes += tensor.bytes.size();
  FuzzCheck(total_bytes <= input.size(), "tensors share no byte");
  CanonicalBertTensors(file->tensors).status().IgnoreError();
  static const BertConfig golden = ReadBertConfigJson("c", Golden("bert_tiny/config.json"))->config;
  const bool is_tiny = BertFromSafetensors("fuzz", TinyBertConfig(), file->tensors).ok();
  return BertFromSafetensors("fuzz", golden, file->tensors).ok() || is_tiny;
}

bool RunGptq(Bytes input) {
  const FuzzPair pair = SplitFuzzInput(input);
  const auto file = ReadSafetensors("fuzz", pair.second);
  if (!file.ok()) return false;
  GptqCheckpointConfig gptq{4, 32, false};
  if (!pair.first.empty()) gptq.bits = static_cast<std::uint8_t>(pair.first[0]);
  if (pair.first.size() > 1) gptq.group_size = static_cast<std::int8_t>(pair.first[1]);
  if (pair.first.size() > 2) gptq.is_v2 = (pair.first[2] & 1) != 0;
  return BertFromGptq("fuzz", TinyBertConfig(), gptq, file->tensors).ok();
}

std::vector<ByteString> GptqSeeds() {
  std::vector<ByteString> seeds;
  for (const bool act_order : {false, true}) {
    BertModel dequantized;
    const auto file =
        GptqWriter{32, act_order, !act_order, act_order}.Write(RandomBert(TinyBertConfig(), 2), dequantized);
    seeds.push_back(JoinFuzzInput({act_order ? "\x04\x20\x01" : "\x04\x20\x00", 3}, SafetensorsBytes(file)));
  }
  return seeds;
}

bool RunPeft(Bytes input) {
  const FuzzPair pair = SplitFuzzInput(input);
  const auto adapter = ReadPeftAdapter("fuzz", pair.first, "fuzz", pair.second);
  if (!adapter.ok()) return false;
  std::vector<TensorView> views;
  for (const Tensor& tensor : adapter->tensors) views.push_back(tensor.view());
  return BertAdapter::Create(TinyBertConfig(), views).ok();
}

std::vector<ByteString> PeftSeeds() {
  BertModel merged = RandomBert(TinyBertConfig(), 3);
  const LoraWriter writer;
  const ByteString weights = SafetensorsBytes(writer.Write(merged));
  return {JoinFuzzInput(writer.Config(), weights),
          JoinFuzzInput(writer.Config(R"(,"rank_pattern":{},"alpha_pattern":{})"), weights)};
}

bool RunBertConfig(Bytes input) {
  const auto config = ReadBertConfigJson("fuzz", input);
  if (config.ok()) FuzzCheck(ValidateBertConfig(config->config).ok(), "a configuration that is read is valid");
  return config.ok();
}

// Both checksums are made right, so that what lies behind them is met.
bool RunPacked(Bytes input) {
  ByteString bytes(input);
  const auto put = [&](std::size_t place, std::uint32_t sum) {
    ByteString piece;
    AppendFixed(piece, sum);
    bytes.replace(place, piece.size(), piece);
  };
  if (bytes.size() >= kPackedBertHeaderBytes) {
    put(kBodySumOffset, Crc32c(Bytes(bytes).substr(kPackedBertHeaderBytes)));
    put(kPackedBertHeaderCrcOffset, Crc32c(Bytes(bytes).substr(0, kPackedBertHeaderCrcOffset)));
  }
  const AlignedBlob blob(bytes);
  return PackedBert::Open(blob.bytes()).ok();
}

std::vector<ByteString> PackedSeeds() {
  std::vector<ByteString> seeds;
  const BertModel f32 = RandomBert(TinyBertConfig(), 4);
  for (const WeightFormat& format : {WeightFormat::Int8(), WeightFormat::Float(), WeightFormat::Gptq(4, 32),
                                     WeightFormat::Gptq(3, 32, true), WeightFormat::Nf4()}) {
    seeds.push_back(PackBert(f32.config, format, ViewsOf(QuantizedModel(f32, format))).value());
  }
  return seeds;
}

}  // namespace

std::vector<FuzzTarget> InferenceFuzzTargets() {
  return {
      {"onnx", OnnxSeeds, RunOnnx},
      {"onnx_bert", OnnxBertSeeds, [](Bytes input) { return ImportOnnxBert("fuzz", input).ok(); }},
      {"safetensors", SafetensorsSeeds, RunSafetensors, 2},
      {"gguf",
       [] {
         return std::vector{Golden("gguf/bert_tiny.gguf"), Golden("gguf/types.gguf")};
       },
       RunGguf, 1},
      {"gptq", GptqSeeds, RunGptq},
      {"peft", PeftSeeds, RunPeft},
      {"bert_config",
       [] {
         return std::vector<ByteString>{Golden("bert_tiny/config.json"),
                                        R"({"quantization_config":{"quant_method":"gptq","bits":4,"group_size":-1},)" +
                                            Golden("bert_tiny/config.json").substr(1)};
       },
       RunBertConfig},
      {"packed_bert", PackedSeeds, RunPacked, 0, 500, 256 * 1024},
  };
}

}  // namespace foreshore
