// The side of bench "inference" that runs ours: a line protocol on standard input and output, so that the driver
// (inference.py) can interleave it with peers, call by call, in one run.
//
//   bench_inference MODEL_FOLDER int8|gptq4 THREADS [CALIBRATION]
//     CALIBRATION: texts, a line each, that gptq4 (groups of 128) is made on
//   "tokenize TEXT"        -> ids, separated by spaces (TEXT is one line)
//   "embed ID ID … | ID …" -> nanoseconds of the call by the clock and on the processor, then the embeddings' floats
//   "adapter none|qv|all"  -> the rank of the LoRA adapter that later calls take, on the linear layers that are named
//   "load"                 -> nanoseconds to open the packed blob and make an executor, arena bytes, packed bytes
//   "error"                -> gptq4's output error over that of rounding to nearest, on the calibration texts; the
//                             seconds that quantizing took and the peak of the process's resident set, in KiB
//   "gemm"                 -> operations a nanosecond of 128 × 384 × 1,536 by the best kernel and by AVX-512 VNNI, and
//   of
//                             VPDPBUSD alone; zeros where the processor lacks it
//
//   bench_inference MODEL_FOLDER pack FOLDER        packed weights and tokenizer, for
//   bench_inference FOLDER memory <texts            which embeds them and prints, ten times on the way, how many it
//   has,
//                                                   and the peak of the resident set in KiB
#include <algorithm>
#include <charconv>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <fstream>
#include <iostream>
#include <memory>
#include <optional>
#include <random>
#include <span>
#include <string>
#include <vector>

#include "engine/inference/bert_adapter.h"
#include "engine/inference/bert_executor.h"
#include "engine/inference/bert_gptq.h"
#include "engine/inference/bert_packed.h"
#include "engine/inference/bert_quantize.h"
#include "engine/inference/import_model.h"
#include "storage/base/file.h"
#include "storage/base/thread_pool.h"
#include "tests/bench/bench_clock.h"
#include "tests/bench/inference_peak.h"
#include "tests/temporary_directory.h"

namespace foreshore {
namespace {

using Sequences = std::vector<std::vector<std::int32_t>>;

struct Server {
  TemporaryDirectory folder;
  std::unique_ptr<ThreadPool> pool;
  std::unique_ptr<MappedFile> mapped;
  std::unique_ptr<PackedBert> packed;
  std::unique_ptr<BertExecutor> executor;
  std::optional<BertAdapter> adapter;
  GptqReport report;
  double quantize_seconds = 0;
};

Result<ByteString> Pack(const BertModel& model, const WeightFormat& format) {
  std::vector<TensorView> views;
  for (const Tensor& tensor : model.tensors) views.push_back(tensor.view());
  return PackBert(model.config, format, views);
}

std::vector<std::int32_t> Tokenize(const WordPieceTokenizer& tokenizer, std::string_view text, std::size_t count_max) {
  std::vector<std::uint32_t> tokens;
  tokenizer.Encode(text, tokens, count_max);
  return {tokens.begin(), tokens.end()};
}

long PeakResidentKiB() {
  std::ifstream status("/proc/self/status");
  for (std::string line; std::getline(status, line);) {
    if (line.starts_with("VmHWM:")) return std::strtol(line.c_str() + 6, nullptr, 10);
  }
  return 0;
}

Status PrepareModel(const ImportedModel& imported, const std::string& format, const char* calibration, Server& server) {
  FORESHORE_ASSIGN_OR_RETURN(const BertModel int8, QuantizeBertInt8(imported.model));
  FORESHORE_ASSIGN_OR_RETURN(ByteString blob, Pack(int8, WeightFormat::Int8()));
  const std::string path = server.folder.path() + "/packed";
  FORESHORE_RETURN_IF_ERROR(WriteFileAtomic(path, blob));
  FORESHORE_ASSIGN_OR_RETURN(server.mapped, MappedFile::Open(path));
  if (format == "int8") return Status::Ok();
  std::ifstream texts(calibration);
  Sequences sequences;
  for (std::string line; std::getline(texts, line);) sequences.push_back(Tokenize(imported.tokenizer, line, 128));
  const GptqOptions options;
  const std::int64_t start = ClockNs();
  FORESHORE_ASSIGN_OR_RETURN(const BertModel gptq,
                             QuantizeBertGptq(imported.model, sequences, options, &server.report));
  server.quantize_seconds = static_cast<double>(ClockNs() - start) * 1e-9;
  FORESHORE_ASSIGN_OR_RETURN(blob, Pack(gptq, WeightFormat::Gptq(options.bits, options.group_size)));
  FORESHORE_RETURN_IF_ERROR(WriteFileAtomic(path + "4", blob));
  FORESHORE_ASSIGN_OR_RETURN(server.mapped, MappedFile::Open(path + "4"));
  return Status::Ok();
}

Status Load(Server& server) {
  server.executor.reset();
  FORESHORE_ASSIGN_OR_RETURN(PackedBert packed, PackedBert::Open(server.mapped->bytes()));
  server.packed = std::make_unique<PackedBert>(std::move(packed));
  BertExecutor::Options options;
  options.pool = server.pool.get();
  FORESHORE_ASSIGN_OR_RETURN(server.executor, BertExecutor::Create(*server.packed, options));
  return Status::Ok();
}

// Of rank 8, small numbers.
Status SetAdapter(std::string_view where, Server& server) {
  server.adapter.reset();
  if (where == "none") return Status::Ok();
  constexpr std::uint64_t kRank = 8;
  const BertConfig& config = server.packed->config();
  std::mt19937 random(8);
  std::normal_distribution<float> normal(0.0F, 0.02F);
  std::vector<Tensor> tensors;
  const auto add = [&](const std::string& name, std::uint64_t rows, std::uint64_t columns) {
    std::vector<float> values(rows * columns);
    for (float& value : values) value = normal(random);
    tensors.push_back({name,
                       TensorType::kF32,
                       {rows, columns},
                       ByteString(reinterpret_cast<const char*>(values.data()), values.size() * sizeof(float))});
  };
  for (std::uint32_t layer = 0; layer < config.layer_count; ++layer) {
    for (std::size_t i = 0; i < kBertLinearCount; ++i) {
      const auto linear = static_cast<BertLinear>(i);
      if (where == "qv" && linear != BertLinear::kQuery && linear != BertLinear::kValue) continue;
      const std::string module = "layer." + std::to_string(layer) + "." + BertLinearName(linear);
      const BertLinearShape shape = ShapeOf(config, linear);
      add(module + ".lora_a", kRank, shape.in);
      add(module + ".lora_b", shape.out, kRank);
    }
  }
  std::vector<TensorView> views;
  for (const Tensor& tensor : tensors) views.push_back(tensor.view());
  FORESHORE_ASSIGN_OR_RETURN(server.adapter, BertAdapter::Create(config, views));
  return Status::Ok();
}

// "ID ID … | ID …"
Sequences ParseSequences(std::string_view text) {
  Sequences sequences(1);
  const char* cursor = text.data();
  const char* end = cursor + text.size();
  while (cursor < end) {
    if (*cursor == ' ') {
      ++cursor;
    } else if (*cursor == '|') {
      ++cursor;
      sequences.emplace_back();
    } else {
      std::int32_t id = 0;
      const auto parsed = std::from_chars(cursor, end, id);
      if (parsed.ec != std::errc()) break;
      sequences.back().push_back(id);
      cursor = parsed.ptr;
    }
  }
  return sequences;
}

Status Embed(std::string_view text, Server& server) {
  const Sequences sequences = ParseSequences(text);
  const std::vector<std::span<const std::int32_t>> spans(sequences.begin(), sequences.end());
  std::vector<float> embeddings(sequences.size() * server.packed->config().hidden_size);
  const BertAdapter* adapter = server.adapter ? &*server.adapter : nullptr;
  const std::int64_t start = ClockNs();
  const std::int64_t processor_start = ProcessorNs();
  FORESHORE_RETURN_IF_ERROR(server.executor->Embed(spans, embeddings, adapter));
  const std::int64_t processor_ns = ProcessorNs() - processor_start;
  std::printf("%lld %lld", static_cast<long long>(ClockNs() - start), static_cast<long long>(processor_ns));
  for (const float value : embeddings) std::printf(" %.9g", static_cast<double>(value));
  return Status::Ok();
}

Status Answer(std::string_view text, const WordPieceTokenizer& tokenizer, Server& server) {
  if (text.starts_with("tokenize ")) {
    for (const std::int32_t token : Tokenize(tokenizer, text.substr(9), server.packed->config().token_count_max)) {
      std::printf("%d ", token);
    }
    return Status::Ok();
  }
  if (text.starts_with("embed ")) return Embed(text.substr(6), server);
  if (text.starts_with("adapter ")) {
    FORESHORE_RETURN_IF_ERROR(SetAdapter(text.substr(8), server));
    std::printf("%d", server.adapter ? 8 : 0);
    return Status::Ok();
  }
  if (text == "load") {
    const std::int64_t start = ClockNs();
    FORESHORE_RETURN_IF_ERROR(Load(server));
    std::printf("%lld %zu %zu", static_cast<long long>(ClockNs() - start), server.executor->MemoryBytes(),
                server.mapped->bytes().size());
    return Status::Ok();
  }
  if (text == "error") {
    std::printf("%.4f %.2f %ld", server.report.ErrorRatio(), server.quantize_seconds, PeakResidentKiB());
    return Status::Ok();
  }
  if (text == "gemm") {
    const GemmRates rates = MeasureGemm();
    std::printf("%.1f %.1f %.1f", rates.best, rates.vnni, rates.vnni_peak);
    return Status::Ok();
  }
  return Status::InvalidArgument("unknown command \"" + std::string(text.substr(0, 40)) + "\"");
}

Status Serve(const std::string& model_path, const std::string& format, int thread_count, const char* calibration) {
  Server server;
  if (thread_count > 1) server.pool = std::make_unique<ThreadPool>(static_cast<std::size_t>(thread_count - 1));
  std::optional<WordPieceTokenizer> tokenizer;
  {
    FORESHORE_ASSIGN_OR_RETURN(ImportedModel imported, ImportModel(model_path));
    FORESHORE_RETURN_IF_ERROR(PrepareModel(imported, format, calibration, server));
    tokenizer = std::move(imported.tokenizer);
  }
  FORESHORE_RETURN_IF_ERROR(Load(server));
  for (std::string line; std::getline(std::cin, line);) {
    FORESHORE_RETURN_IF_ERROR(Answer(line, *tokenizer, server));
    std::printf("\n");
    std::fflush(stdout);
  }
  return Status::Ok();
}

Status WritePacked(const std::string& model_path, const std::string& folder) {
  FORESHORE_ASSIGN_OR_RETURN(const ImportedModel imported, ImportModel(model_path));
  FORESHORE_ASSIGN_OR_RETURN(const BertModel int8, QuantizeBertInt8(imported.model));
  FORESHORE_ASSIGN_OR_RETURN(const ByteString blob, Pack(int8, WeightFormat::Int8()));
  FORESHORE_RETURN_IF_ERROR(WriteFileAtomic(folder + "/packed", blob));
  return WriteFileAtomic(folder + "/tokenizer", imported.tokenizer.Serialise());
}

// As a database does it: texts come in batches, tokens and embeddings of one batch are in memory.
Status EmbedAll(const std::string& folder) {
  constexpr std::size_t kBatch = 32;
  constexpr std::size_t kTextsPerReport = 10'000;
  FORESHORE_ASSIGN_OR_RETURN(const auto mapped, MappedFile::Open(folder + "/packed"));
  FORESHORE_ASSIGN_OR_RETURN(const PackedBert packed, PackedBert::Open(mapped->bytes()));
  std::optional<WordPieceTokenizer> tokenizer;
  {
    FORESHORE_ASSIGN_OR_RETURN(const auto bytes, MappedFile::Open(folder + "/tokenizer"));
    FORESHORE_ASSIGN_OR_RETURN(tokenizer, WordPieceTokenizer::Parse(bytes->bytes()));
  }
  FORESHORE_ASSIGN_OR_RETURN(const auto executor, BertExecutor::Create(packed, {}));
  std::vector<float> out(kBatch * packed.config().hidden_size);
  Sequences batch;
  std::size_t count = 0;
  const auto flush = [&]() -> Status {
    const std::vector<std::span<const std::int32_t>> spans(batch.begin(), batch.end());
    FORESHORE_RETURN_IF_ERROR(executor->Embed(spans, std::span(out).first(batch.size() * packed.config().hidden_size)));
    batch.clear();
    return Status::Ok();
  };
  for (std::string line; std::getline(std::cin, line);) {
    batch.push_back(Tokenize(*tokenizer, line, packed.config().token_count_max));
    if (batch.size() == kBatch) FORESHORE_RETURN_IF_ERROR(flush());
    if (++count % kTextsPerReport == 0) std::printf("%zu %ld\n", count, PeakResidentKiB());
    std::fflush(stdout);
  }
  FORESHORE_RETURN_IF_ERROR(flush());
  std::printf("%zu %ld\n", count, PeakResidentKiB());
  return Status::Ok();
}

Status Run(std::span<char*> arguments) {
  const std::string verb = arguments[2];
  if (verb == "memory") return EmbedAll(arguments[1]);
  if (verb == "pack") return WritePacked(arguments[1], arguments[3]);
  return Serve(arguments[1], verb, std::atoi(arguments[3]), arguments.size() > 4 ? arguments[4] : "");
}

}  // namespace
}  // namespace foreshore

int main(int argument_count, char** arguments) {
  const bool is_memory = argument_count == 3 && std::strcmp(arguments[2], "memory") == 0;
  if (!is_memory && argument_count != 4 && argument_count != 5) {
    std::fprintf(stderr,
                 "usage: bench_inference MODEL_FOLDER int8|gptq4 THREADS [CALIBRATION]\n"
                 "       bench_inference MODEL_FOLDER pack FOLDER\n"
                 "       bench_inference FOLDER memory <texts\n");
    return 2;
  }
  const foreshore::Status status = foreshore::Run({arguments, static_cast<std::size_t>(argument_count)});
  if (!status.ok()) std::fprintf(stderr, "bench_inference: %s\n", status.ToString().c_str());
  return status.ok() ? 0 : 1;
}
