// A BERT version opened for use: tokenizer and executor over weights that are mapped, not copied.
//
// Threads: safe from any thread; calls take turns, because they share one arena.
#pragma once

#include <memory>
#include <mutex>
#include <optional>
#include <string>
#include <vector>

#include "engine/inference/bert_executor.h"
#include "engine/inference/wordpiece.h"
#include "engine/model/model_registry.h"
#include "storage/base/file.h"
#include "storage/base/thread_pool.h"

namespace foreshore {

class BertTextModel : public TextModel {
 public:
  // `packed_path` is a file that PackBertInt8 made.
  static Result<std::shared_ptr<BertTextModel>> Open(ModelInfo info, WordPieceTokenizer tokenizer,
                                                     const std::string& packed_path, ThreadPool* pool);

  const ModelInfo& info() const override { return info_; }
  Status Embed(std::span<const std::string_view> texts, std::span<float> out) override;

 private:
  BertTextModel(ModelInfo info, WordPieceTokenizer tokenizer, std::unique_ptr<MappedFile> file, PackedBert packed)
      : info_(std::move(info)), tokenizer_(std::move(tokenizer)), file_(std::move(file)), packed_(std::move(packed)) {}

  ModelInfo info_;
  WordPieceTokenizer tokenizer_;
  std::unique_ptr<MappedFile> file_;
  PackedBert packed_;
  std::mutex mutex_;
  std::unique_ptr<BertExecutor> executor_;       // Guarded by mutex_.
  std::vector<std::vector<std::uint32_t>> ids_;  // Guarded by mutex_; kept, so that a call allocates nothing.
};

}  // namespace foreshore
