// The side of bench "inference" that runs ours: a line protocol on standard input and output, so that the driver
// (inference.py) can interleave it with peers, text by text, in one run.
//
//   bench_inference MODEL_FOLDER
//   "tokenize TEXT"        -> ids, separated by spaces (TEXT is one line)
//   "embed ID ID …"        -> nanoseconds of the call by the clock and on the processor, then the embedding's floats
//   "load"                 -> nanoseconds to open the packed blob and make an executor, arena bytes, packed bytes
#include <time.h>

#include <charconv>
#include <chrono>
#include <cstdint>
#include <cstdio>
#include <iostream>
#include <memory>
#include <span>
#include <string>
#include <vector>

#include "engine/inference/bert_executor.h"
#include "engine/inference/bert_packed.h"
#include "engine/inference/bert_quantize.h"
#include "engine/inference/import_model.h"
#include "storage/base/file.h"
#include "tests/temporary_directory.h"

namespace foreshore {
namespace {

std::int64_t NowNs() {
  return std::chrono::duration_cast<std::chrono::nanoseconds>(std::chrono::steady_clock::now().time_since_epoch())
      .count();
}

// Time that the process was given: what a call costs on a machine that others use as well.
std::int64_t ProcessorNs() {
  timespec time{};
  clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &time);
  return std::int64_t{time.tv_sec} * 1'000'000'000 + time.tv_nsec;
}

struct Server {
  TemporaryDirectory folder;
  std::unique_ptr<MappedFile> mapped;
  std::unique_ptr<PackedBert> packed;
  std::unique_ptr<BertExecutor> executor;
};

Status PrepareModel(const BertModel& f32, Server& server) {
  FORESHORE_ASSIGN_OR_RETURN(const BertModel int8, QuantizeBertInt8(f32));
  std::vector<TensorView> views;
  for (const Tensor& tensor : int8.tensors) views.push_back(tensor.view());
  FORESHORE_ASSIGN_OR_RETURN(const ByteString blob, PackBertInt8(int8.config, views));
  FORESHORE_RETURN_IF_ERROR(WriteFileAtomic(server.folder.path() + "/packed", blob));
  FORESHORE_ASSIGN_OR_RETURN(server.mapped, MappedFile::Open(server.folder.path() + "/packed"));
  return Status::Ok();
}

Status Load(Server& server) {
  server.executor.reset();
  FORESHORE_ASSIGN_OR_RETURN(PackedBert packed, PackedBert::Open(server.mapped->bytes()));
  server.packed = std::make_unique<PackedBert>(std::move(packed));
  FORESHORE_ASSIGN_OR_RETURN(server.executor, BertExecutor::Create(*server.packed, {}));
  return Status::Ok();
}

std::vector<std::int32_t> ParseIds(std::string_view text) {
  std::vector<std::int32_t> ids;
  const char* cursor = text.data();
  const char* end = cursor + text.size();
  while (cursor < end) {
    if (*cursor == ' ') {
      ++cursor;
      continue;
    }
    std::int32_t id = 0;
    const auto parsed = std::from_chars(cursor, end, id);
    if (parsed.ec != std::errc()) break;
    ids.push_back(id);
    cursor = parsed.ptr;
  }
  return ids;
}

Status Serve(const WordPieceTokenizer& tokenizer, Server& server) {
  std::vector<float> embedding(server.packed->config().hidden_size);
  std::vector<std::uint32_t> tokens;
  for (std::string line; std::getline(std::cin, line);) {
    const std::string_view text(line);
    if (text.starts_with("tokenize ")) {
      tokenizer.Encode(text.substr(9), tokens, server.packed->config().token_count_max);
      for (const std::uint32_t token : tokens) std::printf("%u ", token);
    } else if (text.starts_with("embed ")) {
      const std::vector<std::int32_t> ids = ParseIds(text.substr(6));
      const std::span<const std::int32_t> sequence(ids);
      const std::int64_t start = NowNs();
      const std::int64_t processor_start = ProcessorNs();
      FORESHORE_RETURN_IF_ERROR(server.executor->Embed({&sequence, 1}, embedding));
      const std::int64_t processor_ns = ProcessorNs() - processor_start;
      std::printf("%lld %lld", static_cast<long long>(NowNs() - start), static_cast<long long>(processor_ns));
      for (const float value : embedding) std::printf(" %.9g", static_cast<double>(value));
    } else if (text == "load") {
      const std::int64_t start = NowNs();
      FORESHORE_RETURN_IF_ERROR(Load(server));
      std::printf("%lld %zu %zu", static_cast<long long>(NowNs() - start), server.executor->MemoryBytes(),
                  server.mapped->bytes().size());
    } else {
      return Status::InvalidArgument("bench_inference: unknown command \"" + line.substr(0, 40) + "\"");
    }
    std::printf("\n");
    std::fflush(stdout);
  }
  return Status::Ok();
}

Status Run(const std::string& model_path) {
  Server server;
  FORESHORE_ASSIGN_OR_RETURN(const ImportedModel imported, ImportModel(model_path));
  FORESHORE_RETURN_IF_ERROR(PrepareModel(imported.model, server));
  FORESHORE_RETURN_IF_ERROR(Load(server));
  return Serve(imported.tokenizer, server);
}

}  // namespace
}  // namespace foreshore

int main(int argument_count, char** arguments) {
  if (argument_count != 2) {
    std::fprintf(stderr, "usage: bench_inference MODEL_FOLDER\n");
    return 2;
  }
  const foreshore::Status status = foreshore::Run(arguments[1]);
  if (!status.ok()) std::fprintf(stderr, "bench_inference: %s\n", status.ToString().c_str());
  return status.ok() ? 0 : 1;
}
