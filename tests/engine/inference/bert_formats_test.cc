// Models whose weights are f32, 4 or 3 bits in groups, or nf4: packing, opening and running them.
#include <doctest/doctest.h>

#include <random>

#include "engine/inference/nf4.h"
#include "storage/base/checksum.h"
#include "tests/engine/inference/quantized_model.h"

namespace foreshore {
namespace {

std::vector<WeightFormat> FormatsToTest() {
  return {WeightFormat::Float(),     WeightFormat::Gptq(4, 32),       WeightFormat::Gptq(4, 128),
          WeightFormat::Gptq(3, 64), WeightFormat::Gptq(4, 32, true), WeightFormat::Gptq(4, kGroupSizeMax, true),
          WeightFormat::Nf4()};
}

std::vector<std::vector<std::int32_t>> SequencesFor(const BertConfig& config) {
  std::vector<std::vector<std::int32_t>> sequences;
  for (std::size_t i = 0; i < 12; ++i) {
    sequences.push_back(RandomIds(config, 1 + i * 7 % config.token_count_max, static_cast<std::uint32_t>(i)));
  }
  return sequences;
}

Tensor& Find(BertModel& model, const std::string& name) {
  for (Tensor& tensor : model.tensors) {
    if (tensor.name == name) return tensor;
  }
  FAIL("no tensor ", name);
  return model.tensors.front();
}

}  // namespace

TEST_CASE("formats: embeddings follow the plain forward pass over what the weights stand for") {
  for (const std::uint32_t hidden : {64U, 36U}) {
    BertConfig config = SmallBertConfig();
    config.hidden_size = hidden;
    const BertModel f32 = RandomBert(config, 41);
    const auto sequences = SequencesFor(config);
    for (const WeightFormat& format : FormatsToTest()) {
      const RunningModel running(QuantizedModel(f32, format), format);
      const ReferenceBert reference(DequantizeBert(config, format, ViewsOf(running.model)).value());
      for (const CpuLevel level :
           {CpuLevel::kScalar, CpuLevel::kAvx2, CpuLevel::kAvx512Vnni, CpuLevel::kAmxInt8, CpuLevel::kNeonDot}) {
        if (!CpuSupports(level)) continue;
        CAPTURE(WeightFormatName(format));
        CAPTURE(format.group_size);
        CAPTURE(CpuLevelName(level));
        const std::vector<float> out = running.Embed(sequences, {.cpu_level = level});
        for (std::size_t i = 0; i < sequences.size(); ++i) {
          const std::span<const float> embedding(out.data() + i * hidden, hidden);
          const double cosine = CosineOf(embedding, reference.Embed(sequences[i]));
          // What remains is the rounding of activations to 8 bits, where the weights are not f32.
          CHECK(cosine > (format.kind == WeightKind::kFloat ? 0.999999 : 0.9995));
        }
      }
    }
  }
}

TEST_CASE("formats: neither batch mates, threads nor budget change a bit") {
  const BertModel f32 = RandomBert(SmallBertConfig(), 42);
  const auto sequences = SequencesFor(f32.config);
  ThreadPool pool(2);
  for (const WeightFormat& format : FormatsToTest()) {
    CAPTURE(WeightFormatName(format));
    const RunningModel running(QuantizedModel(f32, format), format);
    const std::vector<float> together = running.Embed(sequences);
    CHECK(running.Embed(sequences, {.token_budget = 41, .pool = &pool}) == together);
    for (std::size_t i = 0; i < sequences.size(); ++i) {
      const std::vector<float> alone = running.Embed({sequences[i]});
      CHECK(std::memcmp(alone.data(), together.data() + i * 64, 64 * sizeof(float)) == 0);
    }
  }
}

TEST_CASE("formats: opening copies no weights, and 4 bits take half of 8") {
  BertConfig config = SmallBertConfig();
  config.hidden_size = 256;
  config.intermediate_size = 1024;
  const BertModel f32 = RandomBert(config, 43);
  std::size_t packed_bytes[2] = {};
  for (const bool four : {false, true}) {
    const WeightFormat format = four ? WeightFormat::Gptq(4, 128) : WeightFormat::Int8();
    const RunningModel running(QuantizedModel(f32, format), format);
    const Bytes blob = running.blob.bytes();
    const PackedLinear& up = running.packed.layers()[1].up;
    const char* codes = four ? reinterpret_cast<const char*>(up.group_codes) : reinterpret_cast<const char*>(up.codes);
    CHECK(codes >= blob.data());
    CHECK(codes < blob.data() + blob.size());
    packed_bytes[four ? 1 : 0] = blob.size();
  }
  const std::size_t weight_count = 2 * (4 * 256 * 256 + 2 * 256 * 1024);
  CHECK(packed_bytes[0] - packed_bytes[1] > weight_count * 4 / 10);
}

TEST_CASE("formats: a flipped bit, a truncated blob and a header that lies are corruption") {
  const BertModel f32 = RandomBert(SmallBertConfig(), 44);
  std::mt19937 random(44);
  for (const WeightFormat& format : FormatsToTest()) {
    CAPTURE(WeightFormatName(format));
    const BertModel model = QuantizedModel(f32, format);
    AlignedBlob blob(PackBert(model.config, format, ViewsOf(model)).value());
    REQUIRE(PackedBert::Open(blob.bytes()).ok());
    for (int round = 0; round < 1100; ++round) {
      const std::size_t bit = round < 1024 ? static_cast<std::size_t>(round) : random() % (blob.bytes().size() * 8);
      blob.data()[bit / 8] = static_cast<char>(blob.data()[bit / 8] ^ (1 << bit % 8));
      CHECK(PackedBert::Open(blob.bytes()).status().code() == ErrorCode::kCorruption);
      blob.data()[bit / 8] = static_cast<char>(blob.data()[bit / 8] ^ (1 << bit % 8));
    }
    CHECK(PackedBert::Open(blob.bytes().substr(0, blob.bytes().size() - 64)).status().code() == ErrorCode::kCorruption);
    // Fields under a right checksum: kind, bits, group size, order.
    for (const std::size_t offset : {12, 68, 72, 76}) {
      for (const std::uint32_t value : {0U, 1U, 5U, 33U, 65'568U, 0xFFFFFFFFU}) {
        std::uint32_t before;
        std::memcpy(&before, blob.data() + offset, sizeof(before));
        if (before == value) continue;
        AlignedBlob changed(blob.bytes());
        std::memcpy(changed.data() + offset, &value, sizeof(value));
        const std::uint32_t crc = Crc32c(changed.bytes().substr(0, 124));
        std::memcpy(changed.data() + 124, &crc, sizeof(crc));
        CAPTURE(offset);
        CAPTURE(value);
        CHECK_FALSE(PackedBert::Open(changed.bytes()).ok());
      }
    }
  }
}

TEST_CASE("formats: an order of inputs that leaves the layer is corruption even under right checksums") {
  const WeightFormat format = WeightFormat::Gptq(4, 32, true);
  const BertModel model = QuantizedModel(RandomBert(SmallBertConfig(), 45), format);
  AlignedBlob blob(PackBert(model.config, format, ViewsOf(model)).value());
  const PackedBert packed = PackedBert::Open(blob.bytes()).value();
  const std::uint32_t bad = 64;
  std::memcpy(const_cast<std::uint32_t*>(packed.layers()[0].output.order) + 5, &bad, sizeof(bad));
  const std::uint32_t body = Crc32c(blob.bytes().substr(128));
  std::memcpy(blob.data() + 64, &body, sizeof(body));
  const std::uint32_t head = Crc32c(blob.bytes().substr(0, 124));
  std::memcpy(blob.data() + 124, &head, sizeof(head));
  const auto opened = PackedBert::Open(blob.bytes());
  CHECK(opened.status().code() == ErrorCode::kCorruption);
  CHECK(opened.status().message() == "packed BERT: order of inputs names input 64 of 64");
}

TEST_CASE("formats: canonical tensors that contradict themselves are refused by name") {
  const BertModel f32 = RandomBert(SmallBertConfig(), 46);
  struct Case {
    WeightFormat format;
    const char* tensor;
    std::size_t offset;
    ByteString bytes;
    ErrorCode code;
    const char* message;
  };
  const ByteString nan("\x00\x00\xc0\x7f", 4);
  const Case cases[] = {
      {WeightFormat::Gptq(4, 32), "layer.0.up.weight.scale", 8, nan, ErrorCode::kCorruption, "scale 2 is not finite"},
      {WeightFormat::Gptq(4, 32), "layer.1.key.weight.zero", 3, "\x11", ErrorCode::kCorruption, "zero point 3 is 17"},
      {WeightFormat::Gptq(3, 32), "layer.1.key.weight.zero", 3, "\x09", ErrorCode::kCorruption, "zero point 3 is 9"},
      {WeightFormat::Gptq(4, 32, true), "layer.0.down.weight.order", 0, ByteString("\xff\xff\xff\xff", 4),
       ErrorCode::kCorruption, "input 4294967295 is out of range"},
      {WeightFormat::Gptq(4, 32, true), "layer.0.down.weight.order", 4, ByteString("\x03\0\0\0", 4),
       ErrorCode::kCorruption, "input 3 is out of range or named twice"},
      {WeightFormat::Nf4(), "layer.0.up.weight.scale.block", 0, nan, ErrorCode::kCorruption, "is not finite"},
  };
  for (const Case& bad : cases) {
    CAPTURE(bad.tensor);
    BertModel model = QuantizedModel(f32, bad.format);
    Find(model, bad.tensor).bytes.replace(bad.offset, bad.bytes.size(), bad.bytes);
    const Status status = PackBert(model.config, bad.format, ViewsOf(model)).status();
    CHECK(status.code() == bad.code);
    CHECK(status.message().find(bad.message) != std::string_view::npos);
    CHECK(DequantizeBert(model.config, bad.format, ViewsOf(model)).status().code() == bad.code);
  }
  BertModel mixed = QuantizedModel(f32, WeightFormat::Gptq(4, 32, true));
  ByteString& order = Find(mixed, "layer.1.value.weight.order").bytes;
  std::swap_ranges(order.begin(), order.begin() + 4, order.begin() + 4);
  const Status status = PackBert(mixed.config, WeightFormat::Gptq(4, 32, true), ViewsOf(mixed)).status();
  CHECK(status.code() == ErrorCode::kUnsupported);
  CHECK(PackBert(f32.config, WeightFormat::Gptq(4, 32), ViewsOf(f32)).status().code() == ErrorCode::kInvalidArgument);
  CHECK(PackBert(f32.config, WeightFormat::Gptq(4, 40), ViewsOf(f32)).status().code() == ErrorCode::kInvalidArgument);
}

TEST_CASE("formats: codes of 3 and 4 bits come back from their bits") {
  std::mt19937 random(47);
  for (const std::uint32_t bits : {3U, 4U}) {
    for (const std::size_t columns : {1, 7, 8, 64, 99}) {
      std::vector<std::uint8_t> codes(5 * columns);
      for (auto& code : codes) code = static_cast<std::uint8_t>(random() % (1U << bits));
      const ByteString bytes = PackCodeBits(codes, 5, bits);
      CHECK(bytes.size() == 5 * ((columns * bits + 7) / 8));
      CHECK(UnpackCodeBits(bytes, 5, columns, bits) == codes);
    }
  }
}

TEST_CASE("nf4: 4.13 bits a weight, levels of the paper, zeros stay zeros") {
  const std::size_t rows = 256;
  const std::size_t columns = 512;
  std::mt19937 random(48);
  std::normal_distribution<float> normal(0.0F, 0.02F);
  std::vector<float> values(rows * columns);
  for (float& value : values) value = normal(random);
  std::fill(values.begin(), values.begin() + 64, 0.0F);
  std::vector<Tensor> tensors;
  AppendNf4Tensors("w", values, rows, columns, tensors);
  std::size_t size_bytes = 0;
  TensorsByName by_name;
  for (const Tensor& tensor : tensors) {
    size_bytes += tensor.bytes.size();
    by_name.emplace(tensor.name, tensor.view());
  }
  CHECK(static_cast<double>(size_bytes) * 8 / static_cast<double>(values.size()) < 4.13);
  const GroupedWeights weights = ReadNf4Tensors("w", columns, by_name).value();
  const std::vector<float> back = weights.Dequantize();
  double error = 0;
  double best_error = 0;
  double squares = 0;
  for (std::size_t block = 0; block < values.size(); block += 64) {
    float max = 0;
    for (std::size_t i = block; i < block + 64; ++i) max = std::max(max, std::fabs(values[i]));
    for (std::size_t i = block; i < block + 64; ++i) {
      float nearest = 1e9F;
      for (const float level : Nf4Levels()) nearest = std::min(nearest, std::fabs(level * max - values[i]));
      best_error += static_cast<double>(nearest) * nearest;
      error += static_cast<double>(back[i] - values[i]) * (back[i] - values[i]);
      squares += static_cast<double>(values[i]) * values[i];
    }
  }
  // Integer levels and 8-bit scales cost little on top of what the 16 levels cost.
  CHECK(error < 1.08 * best_error);
  CHECK(error / squares < 0.012);
  for (std::size_t i = 0; i < 64; ++i) CHECK(back[i] == 0.0F);
}

}  // namespace foreshore
