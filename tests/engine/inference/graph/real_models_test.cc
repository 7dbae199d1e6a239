// Goal: models that people use give what ONNX Runtime gives: voice activity (If, LSTM), text direction, text detection
// and text recognition (a MobileNet, a network with transposed convolutions, a transformer), sentence embedding.
// Method: expected numbers are in tests/golden/graph_models, made by make_graph_models.py with ONNX Runtime on inputs
// that both sides compute. The models come from scripts/fetch.sh; without them the test says so and is skipped, where
// CI is "true" it fails.
#include <doctest/doctest.h>

#include <algorithm>
#include <cmath>
#include <cstdio>
#include <cstdlib>

#include "engine/inference/graph/graph_quantize.h"
#include "engine/inference/import_model.h"
#include "storage/base/file.h"
#include "tests/engine/inference/graph/graph_runner.h"
#include "tests/engine/inference/quantized_model.h"
#include "tests/temporary_directory.h"

namespace foreshore::graph {
namespace {

std::string CachePath() {
  if (const char* cache = std::getenv("FORESHORE_CACHE"); cache != nullptr) return cache;
  if (const char* cache = std::getenv("XDG_CACHE_HOME"); cache != nullptr) return std::string(cache) + "/foreshore";
  const char* home = std::getenv("HOME");
  return std::string(home != nullptr ? home : ".") + "/.cache/foreshore";
}

// Null where the file is not there.
std::unique_ptr<MappedFile> OpenModel(const std::string& item, const std::string& name) {
  const std::string path = CachePath() + "/models/" + item + "/" + name;
  auto file = MappedFile::Open(path);
  if (file.ok()) return std::move(file).value();
  const char* ci = std::getenv("CI");
  if (ci != nullptr && std::string(ci) == "true") FAIL("no " << path << "; scripts/fetch.sh " << item);
  std::printf("**** SKIPPED: no %s; scripts/fetch.sh %s\n", path.c_str(), item.c_str());
  return nullptr;
}

// Uniform in [-scale, scale), as make_graph_models.py makes them.
std::vector<float> Numbers(std::int64_t count, std::uint64_t seed, float scale) {
  std::vector<float> values;
  for (std::int64_t i = 0; i < count; ++i) {
    seed = seed * 6364136223846793005ULL + 1442695040888963407ULL;
    values.push_back(static_cast<float>(static_cast<double>(seed >> 40) / 8388608.0 - 1.0) * scale);
  }
  return values;
}

void CheckGolden(const std::string& name, const std::vector<float>& found) {
  const auto bytes = ReadFile(std::string(FORESHORE_GOLDEN_DIR) + "/graph_models/" + name + ".f32", 1 << 20);
  REQUIRE(bytes.ok());
  std::vector<float> expected(bytes->size() / sizeof(float));
  std::memcpy(expected.data(), bytes->data(), expected.size() * sizeof(float));
  REQUIRE(found.size() == expected.size());
  double largest = 0;
  double scale = 0;
  for (std::size_t i = 0; i < expected.size(); ++i) {
    const double difference = std::fabs(static_cast<double>(found[i]) - static_cast<double>(expected[i]));
    scale = std::max(scale, std::fabs(static_cast<double>(expected[i])));
    largest = std::max(largest, std::isnan(difference) ? INFINITY : difference);
  }
  std::printf("%s: %zu numbers, largest difference %.2g\n", name.c_str(), expected.size(), largest);
  CHECK(scale > 0.1);  // Outputs that are all near 0 would prove nothing.
  CHECK(largest < 1e-3 * scale);
}

void RunVoice(const std::string& golden, const std::string& name, std::int64_t rate, std::int64_t width) {
  const auto file = OpenModel("silero-vad", name);
  if (file == nullptr) return;
  auto model = ReadOnnx(name, file->bytes());
  REQUIRE_MESSAGE(model.ok(), model.status().message());
  const auto graph = Graph::Build(name, std::move(model).value());
  REQUIRE_MESSAGE(graph.ok(), graph.status().message());
  GraphExecutor executor(*graph);
  std::vector<float> state(256, 0.0F);
  std::vector<float> kept;
  for (std::uint64_t call = 0; call < 3; ++call) {
    std::vector<OwnedTensor> inputs;
    for (const GraphPort& port : graph->inputs()) {
      if (port.name == "input") inputs.push_back(Make<float>({1, width}, Numbers(width, 100 + call, 0.3F)));
      if (port.name == "state") inputs.push_back(Make<float>({2, 1, 128}, state));
      if (port.name == "sr") inputs.push_back(Make<std::int64_t>({}, {rate}));
    }
    std::vector<TensorRef> refs;
    for (const OwnedTensor& input : inputs) refs.push_back(input.ref());
    const auto outputs = executor.Run(refs);
    REQUIRE_MESSAGE(outputs.ok(), outputs.status().message());
    state = Values<float>((*outputs)[1]);
    for (const OwnedTensor& output : *outputs) {
      const auto values = Values<float>(output);
      kept.insert(kept.end(), values.begin(), values.end());
    }
  }
  CheckGolden(golden, kept);
}

TEST_CASE("real models: silero's voice activity, at two rates and in three exports") {
  RunVoice("silero_16k", "silero_vad.onnx", 16'000, 576);
  RunVoice("silero_8k", "silero_vad.onnx", 8'000, 288);
  RunVoice("silero_op15", "silero_vad_16k_op15.onnx", 16'000, 576);
  RunVoice("silero_op18", "silero_vad_op18_ifless.onnx", 16'000, 576);
}

// A light page with a line of dark strokes, which the detector takes for text.
std::vector<float> Letters(const Shape& shape) {
  std::vector<float> page;
  for (std::int64_t i = 0; i < ElementCount(shape); ++i) {
    const std::int64_t x = i % shape[3];
    const std::int64_t y = i / shape[3] % shape[2];
    const bool is_stroke = x % 16 < 4 || (y / 4 % 4 == 0 && x % 16 < 12);
    page.push_back(y >= 32 && y < 64 && x >= 16 && x < 144 && is_stroke ? -1.0F : 1.0F);
  }
  return page;
}

void RunImage(const std::string& golden, const std::string& name, const Shape& shape, std::size_t step,
              const std::vector<float>& values) {
  const auto file = OpenModel("ppocr", name);
  if (file == nullptr) return;
  auto model = ReadOnnx(name, file->bytes());
  REQUIRE_MESSAGE(model.ok(), model.status().message());
  const auto graph = Graph::Build(name, std::move(model).value());
  REQUIRE_MESSAGE(graph.ok(), graph.status().message());
  std::printf("%s: %s\n", golden.c_str(), graph->fusions().Text().c_str());
  if (golden == "ppocr_recogniser") {  // Its two blocks of a transformer.
    CHECK(graph->fusions()[Fusion::kAttention] == 2);
    CHECK(graph->fusions()[Fusion::kLayerNorm] == 5);
  }
  GraphExecutor executor(*graph);
  const OwnedTensor input = Make<float>(shape, values);
  const std::vector<TensorRef> refs{input.ref()};
  std::vector<float> kept;
  for (int call = 0; call < 2; ++call) {  // The second call finds the first one's plan, arena and packed weights.
    const auto outputs = executor.Run(refs);
    REQUIRE_MESSAGE(outputs.ok(), outputs.status().message());
    const auto result = Values<float>((*outputs)[0]);
    kept.clear();
    for (std::size_t i = 0; i < result.size(); i += step) kept.push_back(result[i]);
  }
  CheckGolden(golden, kept);
  // On a packed graph everything is as it was, without the memory.
  const PackedGraphKey key = Graph::KeyOf({});
  const TemporaryDirectory folder;
  REQUIRE(WriteFileAtomic(folder.path() + "/packed", graph->constants().Pack(key)).ok());
  const auto mapping = MappedFile::Open(folder.path() + "/packed");
  REQUIRE(mapping.ok());
  auto constants = ConstantStore::Open((*mapping)->bytes(), key);
  REQUIRE_MESSAGE(constants.ok(), constants.status().message());
  const auto opened = Graph::Build(name, *ReadOnnx(name, file->bytes()), {}, graph->kernels(), *constants);
  REQUIRE_MESSAGE(opened.ok(), opened.status().message());
  CHECK(opened->constant_bytes() < (64 << 10));
  const auto before = executor.Run(refs);
  const auto after = GraphExecutor(*opened).Run(refs);
  REQUIRE_MESSAGE(after.ok(), after.status().message());
  CHECK(Values<float>((*after)[0]) == Values<float>((*before)[0]));
}

TEST_CASE("real models: PP-OCR's classifier, detector and recogniser") {
  const Shape lines{2, 3, 48, 192};
  const Shape page{1, 3, 96, 160};
  const Shape line{1, 3, 48, 96};
  RunImage("ppocr_classifier", "ch_ppocr_mobile_v2.0_cls_infer.onnx", lines, 1, Numbers(ElementCount(lines), 7, 1.0F));
  RunImage("ppocr_detector", "ch_PP-OCRv4_det_infer.onnx", page, 7, Letters(page));
  RunImage("ppocr_recogniser", "ch_PP-OCRv4_rec_infer.onnx", line, 61, Numbers(ElementCount(line), 7, 1.0F));
}

// Rows of MNIST's digits in 0..1, as the network takes them.
std::vector<OwnedTensor> Digits(const std::string& file, std::int64_t count) {
  constexpr std::int64_t kPixels = 784;
  const auto bytes = ReadFile(CachePath() + "/vectors/mnist/" + file, 1ULL << 28);
  REQUIRE(bytes.ok());
  std::vector<OwnedTensor> digits;
  for (std::int64_t i = 0; i < count; ++i) {
    auto digit = MakeTensor({OnnxType::kFloat, {1, 1, 28, 28}}, 1 << 20);
    auto* pixels = reinterpret_cast<float*>(digit->bytes.get());
    std::memcpy(pixels, bytes->data() + i * (kPixels + 1) * 4 + 4, kPixels * 4);
    for (std::int64_t k = 0; k < kPixels; ++k) pixels[k] /= 255.0F;
    digits.push_back(std::move(digit).value());
  }
  return digits;
}

std::int64_t RightOnes(const Graph& graph, const std::vector<OwnedTensor>& digits, const std::string& labels) {
  GraphExecutor executor(graph);
  std::int64_t right = 0;
  for (std::size_t i = 0; i < digits.size(); ++i) {
    const TensorRef ref = digits[i].ref();
    const auto scores = executor.Run(std::span(&ref, 1));
    REQUIRE(scores.ok());
    const auto values = Values<float>((*scores)[0]);
    const auto best = std::max_element(values.begin(), values.end()) - values.begin();
    right += best == static_cast<std::ptrdiff_t>(static_cast<unsigned char>(labels[i])) ? 1 : 0;
  }
  return right;
}

// A network of the MobileNet type (scripts/make_digit_cnn.py says what is trained of it) on 1,000 digits that neither
// its training nor its quantizing has seen.
TEST_CASE("real models: static int8 keeps a digit network's accuracy to half a point") {
  const auto file = OpenModel("digit-cnn", "digits.onnx");
  if (file == nullptr) return;
  const auto labels = ReadFile(CachePath() + "/vectors/mnist/query.labels", 1 << 20);
  REQUIRE(labels.ok());
  const auto quantizer = GraphQuantizer::Make("digits", file->bytes());
  REQUIRE_MESSAGE(quantizer.ok(), quantizer.status().message());
  for (const OwnedTensor& digit : Digits("base.fvecs", 256)) {
    const TensorRef ref = digit.ref();
    REQUIRE((*quantizer)->Observe(std::span(&ref, 1)).ok());
  }
  const auto quantized = (*quantizer)->Write();
  REQUIRE(quantized.ok());
  const auto before = Graph::Build("digits", *ReadOnnx("digits", file->bytes()));
  const auto after = Graph::Build("digits8", *ReadOnnx("digits8", *quantized));
  REQUIRE(before.ok());
  REQUIRE(after.ok());
  const auto digits = Digits("query.fvecs", 1'000);
  const std::int64_t floats = RightOnes(*before, digits, std::string(*labels));
  const std::int64_t codes = RightOnes(*after, digits, std::string(*labels));
  std::printf("digits: %lld of 1,000 right in f32, %lld in int8\n", static_cast<long long>(floats),
              static_cast<long long>(codes));
  CHECK(floats >= 900);
  CHECK(codes >= floats - 5);
}

// Two sequences of tokens, of which the second one is padded, for MiniLM as its exporter wrote it.
const std::vector<std::int64_t> kWords{101, 1996, 10216, 2003, 2058, 20821, 2075, 102,
                                       101, 3435, 2482,  102,  0,    0,     0,    0};

std::vector<OwnedTensor> Tokens(const Graph& graph) {
  std::vector<OwnedTensor> inputs;
  for (const GraphPort& port : graph.inputs()) {
    std::vector<std::int64_t> values(kWords.size(), 0);
    for (std::size_t i = 0; i < kWords.size(); ++i) {
      if (port.name == "input_ids") values[i] = kWords[i];
      if (port.name == "attention_mask") values[i] = kWords[i] != 0 ? 1 : 0;
    }
    inputs.push_back(Make<std::int64_t>({2, 8}, values));
  }
  return inputs;
}

TEST_CASE("real models: a transformer as a general graph embeds as ONNX Runtime and as the BERT of the same file do") {
  const auto file = OpenModel("minilm-int8-onnx", "model.onnx");
  if (file == nullptr) return;
  const auto graph = Graph::Build("minilm", *ReadOnnx("minilm", file->bytes()));
  REQUIRE_MESSAGE(graph.ok(), graph.status().message());
  std::printf("minilm: %s\n", graph->fusions().Text().c_str());
  CHECK(graph->fusions()[Fusion::kAttention] == 6);
  CHECK(graph->fusions()[Fusion::kQkv] == 6);
  CHECK(graph->fusions()[Fusion::kResidual] == 13);  // Two of each layer, and the embeddings'.
  CHECK(graph->fusions()[Fusion::kGelu] == 6);
  const std::vector<OwnedTensor> inputs = Tokens(*graph);
  std::vector<TensorRef> refs;
  for (const OwnedTensor& input : inputs) refs.push_back(input.ref());
  const auto outputs = GraphExecutor(*graph).Run(refs);
  REQUIRE_MESSAGE(outputs.ok(), outputs.status().message());
  const auto hidden = Values<float>((*outputs)[0]);
  REQUIRE(hidden.size() == 16 * 384);
  std::vector<float> kept;
  std::vector<std::vector<std::int32_t>> sequences(2);
  std::vector<std::vector<float>> means(2, std::vector<float>(384, 0.0F));
  for (std::size_t token = 0; token < kWords.size(); ++token) {
    if (kWords[token] == 0) continue;
    sequences[token / 8].push_back(static_cast<std::int32_t>(kWords[token]));
    for (std::size_t i = 0; i < 384; ++i) {
      kept.push_back(hidden[token * 384 + i]);
      means[token / 8][i] += hidden[token * 384 + i];
    }
  }
  std::vector<float> golden;
  for (std::size_t i = 0; i < kept.size(); i += 5) golden.push_back(kept[i]);
  CheckGolden("minilm", golden);
  const auto imported = ImportModel(CachePath() + "/models/minilm-int8-onnx/model.onnx",
                                    {.tokenizer_path = CachePath() + "/models/all-minilm-l6-v2"});
  if (!imported.ok() && imported.status().code() == ErrorCode::kNotFound) return;
  REQUIRE_MESSAGE(imported.ok(), imported.status().message());
  const auto embeddings = RunningModel(imported->model, WeightFormat::Float()).Embed(sequences);
  for (std::size_t i = 0; i < 2; ++i) {
    CHECK(CosineOf(means[i], std::span(embeddings).subspan(i * 384, 384)) > 0.99999);
  }
}

TEST_CASE("real models: a transformer's products become int8, and its embeddings stay where they are") {
  const auto file = OpenModel("minilm-int8-onnx", "model.onnx");
  if (file == nullptr) return;
  const auto floats = Graph::Build("minilm", *ReadOnnx("minilm", file->bytes()));
  REQUIRE_MESSAGE(floats.ok(), floats.status().message());
  const auto quantizer = GraphQuantizer::Make("minilm", file->bytes());
  REQUIRE_MESSAGE(quantizer.ok(), quantizer.status().message());
  const std::vector<OwnedTensor> inputs = Tokens(*floats);
  std::vector<TensorRef> refs;
  for (const OwnedTensor& input : inputs) refs.push_back(input.ref());
  REQUIRE((*quantizer)->Observe(refs).ok());
  const auto bytes = (*quantizer)->Write();
  REQUIRE(bytes.ok());
  const auto codes = Graph::Build("minilm8", *ReadOnnx("minilm8", *bytes));
  REQUIRE_MESSAGE(codes.ok(), codes.status().message());
  std::size_t products = 0;
  for (const GraphStep& step : codes->steps()) {
    products += step.op->name == "DynamicProduct" ? step.outputs.size() : 0;
  }
  CHECK(products == 36);  // Six of each of six layers.
  CHECK(codes->fusions()[Fusion::kDynamicProduct] == 36);
  CHECK(codes->fusions()[Fusion::kQkv] == 6);
  CHECK(codes->fusions()[Fusion::kAttention] == 6);
  CHECK(codes->fusions()[Fusion::kGelu] == 6);
  const auto before = GraphExecutor(*floats).Run(refs);
  const auto after = GraphExecutor(*codes).Run(refs);
  REQUIRE_MESSAGE(before.ok(), before.status().message());
  REQUIRE_MESSAGE(after.ok(), after.status().message());
  const auto a = Values<float>((*before)[0]);
  const auto b = Values<float>((*after)[0]);
  REQUIRE(a.size() == 16 * 384);
  double least = 1;
  for (std::size_t row = 0; row < 12; ++row) {
    double product = 0;
    double left = 0;
    double right = 0;
    for (std::size_t i = row * 384; i < (row + 1) * 384; ++i) {
      product += static_cast<double>(a[i]) * static_cast<double>(b[i]);
      left += static_cast<double>(a[i]) * static_cast<double>(a[i]);
      right += static_cast<double>(b[i]) * static_cast<double>(b[i]);
    }
    least = std::min(least, product / std::sqrt(left * right));
  }
  std::printf("minilm in int8: %zu products, least cosine of a token %.4f\n", products, least);
  CHECK(least > 0.97);
}

}  // namespace
}  // namespace foreshore::graph
