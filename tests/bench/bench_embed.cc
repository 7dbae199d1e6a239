// Embeds texts, a line each on standard input, with a model of the BERT family by our own int8 executor, and writes the
// vectors in that order as fvecs (scripts/make_vectors.py) to standard output. Makes the set "minilm" of bench
// "vectors".
//
//   bench_embed MODEL_FOLDER THREADS <texts >vectors
#include <algorithm>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <iostream>
#include <memory>
#include <numeric>
#include <span>
#include <string>
#include <vector>

#include "engine/inference/bert_executor.h"
#include "engine/inference/bert_packed.h"
#include "engine/inference/bert_quantize.h"
#include "engine/inference/import_model.h"
#include "storage/base/file.h"
#include "storage/base/thread_pool.h"
#include "tests/temporary_directory.h"

namespace foreshore {
namespace {

constexpr std::size_t kBatchMax = 32;

Status Run(const std::string& model_path, unsigned thread_count) {
  FORESHORE_ASSIGN_OR_RETURN(const ImportedModel imported, ImportModel(model_path));
  FORESHORE_ASSIGN_OR_RETURN(const BertModel int8, QuantizeBertInt8(imported.model));
  std::vector<TensorView> views;
  for (const Tensor& tensor : int8.tensors) views.push_back(tensor.view());
  FORESHORE_ASSIGN_OR_RETURN(const ByteString blob, PackBertInt8(int8.config, views));
  const TemporaryDirectory folder;
  FORESHORE_RETURN_IF_ERROR(WriteFileAtomic(folder.path() + "/packed", blob));
  FORESHORE_ASSIGN_OR_RETURN(const auto mapped, MappedFile::Open(folder.path() + "/packed"));
  FORESHORE_ASSIGN_OR_RETURN(const PackedBert packed, PackedBert::Open(mapped->bytes()));
  ThreadPool pool(thread_count - 1);  // Beside the caller's.
  BertExecutor::Options options;
  options.pool = &pool;
  FORESHORE_ASSIGN_OR_RETURN(const auto executor, BertExecutor::Create(packed, options));

  std::vector<std::vector<std::int32_t>> texts;
  std::vector<std::uint32_t> tokens;
  for (std::string line; std::getline(std::cin, line);) {
    imported.tokenizer.Encode(line, tokens, packed.config().token_count_max);
    texts.emplace_back(tokens.begin(), tokens.end());
  }
  // Batches of texts of like lengths.
  std::vector<std::size_t> order(texts.size());
  std::iota(order.begin(), order.end(), std::size_t{0});
  std::sort(order.begin(), order.end(),
            [&](std::size_t a, std::size_t b) { return texts[a].size() < texts[b].size(); });
  const std::size_t dimension = packed.config().hidden_size;
  std::vector<float> vectors(texts.size() * dimension);
  std::vector<float> embedded(kBatchMax * dimension);
  for (std::size_t first = 0; first < order.size(); first += kBatchMax) {
    std::vector<std::span<const std::int32_t>> batch;
    for (std::size_t i = first; i < std::min(first + kBatchMax, order.size()); ++i) batch.emplace_back(texts[order[i]]);
    FORESHORE_RETURN_IF_ERROR(executor->Embed(batch, std::span(embedded).first(batch.size() * dimension)));
    for (std::size_t i = 0; i < batch.size(); ++i) {
      std::copy_n(embedded.begin() + static_cast<std::ptrdiff_t>(i * dimension), dimension,
                  vectors.begin() + static_cast<std::ptrdiff_t>(order[first + i] * dimension));
    }
    if (first / kBatchMax % 64 == 0) std::fprintf(stderr, "\rembedding %zu of %zu", first, texts.size());
  }
  std::fprintf(stderr, "\n");
  const auto header = static_cast<std::int32_t>(dimension);
  for (std::size_t row = 0; row < texts.size(); ++row) {
    std::fwrite(&header, sizeof(header), 1, stdout);
    std::fwrite(vectors.data() + row * dimension, sizeof(float), dimension, stdout);
  }
  return std::fflush(stdout) == 0 ? Status::Ok() : Status::Io("standard output: cannot be written");
}

}  // namespace
}  // namespace foreshore

int main(int argc, char** argv) {
  if (argc != 3) {
    std::fprintf(stderr, "usage: bench_embed MODEL_FOLDER THREADS <texts >vectors\n");
    return 2;
  }
  const foreshore::Status status = foreshore::Run(argv[1], static_cast<unsigned>(std::atoi(argv[2])));
  if (!status.ok()) std::fprintf(stderr, "bench_embed: %s\n", status.ToString().c_str());
  return status.ok() ? 0 : 1;
}
