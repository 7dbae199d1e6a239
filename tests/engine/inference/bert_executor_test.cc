#include "engine/inference/bert_executor.h"

#include <doctest/doctest.h>

#include <cmath>
#include <limits>

#include "tests/engine/inference/packed_model.h"

namespace foreshore {
namespace {

using Sequences = std::vector<std::vector<std::int32_t>>;

// A model with everything that must outlive its executors.
struct TestModel {
  explicit TestModel(const BertModel& f32)
      : int8(QuantizeBertInt8(f32).value()),
        blob(PackBertInt8(int8.config, ViewsOf(int8)).value()),
        packed(PackedBert::Open(blob.bytes()).value()) {}

  std::unique_ptr<BertExecutor> Executor(const BertExecutor::Options& options = {}) const {
    return BertExecutor::Create(packed, options).value();
  }

  BertModel int8;
  AlignedBlob blob;
  PackedBert packed;
};

Status TryEmbed(BertExecutor& executor, const Sequences& sequences, std::vector<float>& out) {
  const std::vector<std::span<const std::int32_t>> spans(sequences.begin(), sequences.end());
  out.assign(sequences.size() * executor.config().hidden_size, -1.0F);
  return executor.Embed(spans, out);
}

std::vector<float> Embed(BertExecutor& executor, const Sequences& sequences) {
  std::vector<float> out;
  const Status status = TryEmbed(executor, sequences, out);
  CHECK(status.ToString() == "ok");
  return out;
}

Sequences MixedSequences(const BertConfig& config, std::size_t count) {
  Sequences sequences;
  for (std::size_t i = 0; i < count; ++i) {
    sequences.push_back(RandomIds(config, 1 + i * 7 % config.token_count_max, static_cast<std::uint32_t>(i)));
  }
  return sequences;
}

double Cosine(std::span<const float> a, const std::vector<double>& b) {
  double dot = 0;
  double a_squares = 0;
  double b_squares = 0;
  for (std::size_t i = 0; i < a.size(); ++i) {
    dot += a[i] * b[i];
    a_squares += static_cast<double>(a[i]) * a[i];
    b_squares += b[i] * b[i];
  }
  return dot / std::sqrt(a_squares * b_squares);
}

std::vector<CpuLevel> Levels() {
  std::vector<CpuLevel> levels;
  for (const CpuLevel level :
       {CpuLevel::kScalar, CpuLevel::kAvx2, CpuLevel::kAvx512Vnni, CpuLevel::kAmxInt8, CpuLevel::kNeonDot}) {
    if (CpuSupports(level)) levels.push_back(level);
  }
  return levels;
}

}  // namespace

TEST_CASE("executor: embeddings follow the plain forward pass over the same weights") {
  for (const std::uint32_t hidden : {64U, 36U}) {
    BertConfig config = SmallBertConfig();
    config.hidden_size = hidden;
    const TestModel model(RandomBert(config, 21));
    const ReferenceBert reference(Dequantize(model.int8));
    const Sequences sequences = MixedSequences(config, 12);
    for (const CpuLevel level : Levels()) {
      CAPTURE(CpuLevelName(level));
      const auto executor = model.Executor({.cpu_level = level});
      const std::vector<float> out = Embed(*executor, sequences);
      for (std::size_t i = 0; i < sequences.size(); ++i) {
        const std::span<const float> embedding(out.data() + i * hidden, hidden);
        // What remains is the rounding of activations to 8 bits.
        CHECK(Cosine(embedding, reference.Embed(sequences[i])) > 0.9995);
        double squares = 0;
        for (const float value : embedding) squares += static_cast<double>(value) * value;
        CHECK(squares == doctest::Approx(1.0).epsilon(1e-5));
      }
    }
  }
}

TEST_CASE("executor: without normalisation the embedding has the mean's length") {
  BertConfig config = SmallBertConfig();
  config.normalise = false;
  const TestModel model(RandomBert(config, 22));
  const ReferenceBert reference(Dequantize(model.int8));
  const Sequences sequences = {RandomIds(config, 9, 1)};
  const auto executor = model.Executor();
  const std::vector<float> out = Embed(*executor, sequences);
  const std::vector<double> expected = reference.Embed(sequences[0]);
  double squares = 0;
  double expected_squares = 0;
  for (std::size_t i = 0; i < out.size(); ++i) {
    squares += static_cast<double>(out[i]) * out[i];
    expected_squares += expected[i] * expected[i];
  }
  CHECK(std::sqrt(squares) == doctest::Approx(std::sqrt(expected_squares)).epsilon(0.01));
  CHECK(std::fabs(expected_squares - 1.0) > 0.1);
}

TEST_CASE("executor: processors with and without vector instructions agree but for rounding") {
  const TestModel model(RandomBert(SmallBertConfig(), 23));
  const Sequences sequences = MixedSequences(model.int8.config, 12);
  const auto scalar = model.Executor({.cpu_level = CpuLevel::kScalar});
  const std::vector<float> expected = Embed(*scalar, sequences);
  for (const CpuLevel level : Levels()) {
    const auto executor = model.Executor({.cpu_level = level});
    const std::vector<float> out = Embed(*executor, sequences);
    for (std::size_t i = 0; i < sequences.size(); ++i) {
      const std::vector<double> row(expected.begin() + static_cast<std::ptrdiff_t>(i * 64),
                                    expected.begin() + static_cast<std::ptrdiff_t>((i + 1) * 64));
      CHECK(Cosine({out.data() + i * 64, 64}, row) > 0.9999);
    }
  }
}

TEST_CASE("executor: an embedding does not depend on its batch mates, bit for bit") {
  const TestModel model(RandomBert(SmallBertConfig(), 24));
  const Sequences sequences = MixedSequences(model.int8.config, 40);
  const auto executor = model.Executor();
  const std::vector<float> together = Embed(*executor, sequences);
  for (std::size_t i = 0; i < sequences.size(); ++i) {
    CAPTURE(i);
    const std::vector<float> alone = Embed(*executor, {sequences[i]});
    CHECK(std::memcmp(alone.data(), together.data() + i * 64, 64 * sizeof(float)) == 0);
  }
}

TEST_CASE("executor: neither the number of threads nor the budget changes a bit") {
  const TestModel model(RandomBert(SmallBertConfig(), 25));
  const Sequences sequences = MixedSequences(model.int8.config, 60);
  const auto plain = model.Executor();
  const std::vector<float> expected = Embed(*plain, sequences);
  for (const std::size_t thread_count : {0, 1, 3}) {
    ThreadPool pool(thread_count);
    for (const std::size_t token_budget : {40, 41, 200, 5000}) {
      CAPTURE(thread_count);
      CAPTURE(token_budget);
      const auto executor = model.Executor({.token_budget = token_budget, .pool = &pool});
      CHECK(Embed(*executor, sequences) == expected);
      CHECK(Embed(*executor, sequences) == expected);
    }
  }
}

TEST_CASE("executor: two executors over one packed model run side by side") {
  const TestModel model(RandomBert(SmallBertConfig(), 26));
  const Sequences sequences = MixedSequences(model.int8.config, 20);
  const auto plain = model.Executor();
  const std::vector<float> expected = Embed(*plain, sequences);
  std::vector<std::vector<float>> outs(3);
  std::vector<std::thread> threads;
  for (auto& out : outs) {
    threads.emplace_back([&model, &sequences, &out] {
      const auto executor = model.Executor();
      TryEmbed(*executor, sequences, out).IgnoreError();
    });
  }
  for (std::thread& thread : threads) thread.join();
  for (const auto& out : outs) CHECK(out == expected);
}

TEST_CASE("executor: no sequences is fine, the longest sequence is fine") {
  const TestModel model(RandomBert(SmallBertConfig(), 27));
  const auto executor = model.Executor({.token_budget = 40});
  CHECK(Embed(*executor, {}).empty());
  CHECK(Embed(*executor, {RandomIds(model.int8.config, 40, 1), RandomIds(model.int8.config, 40, 2)}).size() == 128);
}

TEST_CASE("executor: bad input is refused by sequence and token, and nothing is written") {
  const TestModel model(RandomBert(SmallBertConfig(), 28));
  const auto executor = model.Executor();
  const std::vector<std::int32_t> good = {1, 2, 3};
  struct Case {
    Sequences sequences;
    const char* message;
  };
  const Case cases[] = {
      {{good, {}}, "embed: sequence 1 has 0 tokens, expected 1..40"},
      {{good, good, std::vector<std::int32_t>(41, 1)}, "embed: sequence 2 has 41 tokens, expected 1..40"},
      {{{1, 100}}, "embed: sequence 0 token 1 is 100, expected 0..99"},
      {{{1, 2, -1}}, "embed: sequence 0 token 2 is -1, expected 0..99"},
  };
  for (const Case& bad : cases) {
    std::vector<float> out;
    const Status status = TryEmbed(*executor, bad.sequences, out);
    CHECK(status.code() == ErrorCode::kInvalidArgument);
    CHECK(status.message() == bad.message);
    CHECK(out == std::vector<float>(out.size(), -1.0F));
  }
  std::vector<float> short_out(63);
  const std::span<const std::int32_t> sequence(good);
  CHECK(executor->Embed({&sequence, 1}, short_out).code() == ErrorCode::kInvalidArgument);
}

TEST_CASE("executor: a budget below the longest sequence and a missing instruction set are refused") {
  const TestModel model(RandomBert(SmallBertConfig(), 29));
  CHECK(BertExecutor::Create(model.packed, {.token_budget = 39}).status().code() == ErrorCode::kInvalidArgument);
  for (const CpuLevel level : {CpuLevel::kAvx2, CpuLevel::kAvx512Vnni, CpuLevel::kAmxInt8, CpuLevel::kNeonDot}) {
    if (CpuSupports(level)) continue;
    CHECK(BertExecutor::Create(model.packed, {.cpu_level = level}).status().code() == ErrorCode::kInvalidArgument);
  }
}

TEST_CASE("executor: a model that yields infinity is reported, not stored") {
  BertModel f32 = RandomBert(SmallBertConfig(), 30);
  const float huge = std::numeric_limits<float>::max();
  for (Tensor& tensor : f32.tensors) {
    if (tensor.name != "layer.1.norm.gamma") continue;
    for (std::size_t i = 0; i < 64; ++i) std::memcpy(tensor.bytes.data() + i * 4, &huge, sizeof(huge));
  }
  const TestModel model(f32);
  const auto executor = model.Executor();
  std::vector<float> out;
  const Status status = TryEmbed(*executor, {{1, 2, 3}}, out);
  CHECK(status.code() == ErrorCode::kCorruption);
  CHECK(status.message() == "embed: the model's embedding of sequence 0 is not finite");
}

TEST_CASE("executor: memory follows the budget and is known before the first call") {
  const TestModel model(RandomBert(SmallBertConfig(), 31));
  const auto small = model.Executor({.token_budget = 40});
  const auto large = model.Executor({.token_budget = 4000});
  CHECK(small->token_budget() == 40);
  // Per token: hidden 64, context 64, qkv 192 floats, id, position, start.
  CHECK(large->MemoryBytes() >= 4000 * (320 * sizeof(float) + 16));
  // What a block of tokens takes grows from 40 tokens to 96, most where kernels have their codes in 16 bits.
  CHECK(large->MemoryBytes() < small->MemoryBytes() + 4000 * 1300 + 250'000);
}

}  // namespace foreshore
