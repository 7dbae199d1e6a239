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
  // `packed_path` is a file that PackBert made.
  static Result<std::shared_ptr<BertTextModel>> Open(ModelInfo info, WordPieceTokenizer tokenizer,
                                                     const std::string& packed_path, ThreadPool* pool);

  const ModelInfo& info() const override { return info_; }
  Status Embed(std::span<const std::string_view> texts, std::span<float> out) override {
    return EmbedWith(texts, nullptr, out);
  }
  Status EmbedWith(std::span<const std::string_view> texts, const BertAdapter* adapter, std::span<float> out);

  const WordPieceTokenizer& tokenizer() const { return tokenizer_; }
  const PackedBert& packed() const { return packed_; }

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

// A model as one of its LoRA adapters makes it. Both are shared with other calls.
class AdaptedTextModel : public TextModel {
 public:
  AdaptedTextModel(std::shared_ptr<BertTextModel> base, std::shared_ptr<const BertAdapter> adapter)
      : base_(std::move(base)), adapter_(std::move(adapter)) {}

  const ModelInfo& info() const override { return base_->info(); }
  Status Embed(std::span<const std::string_view> texts, std::span<float> out) override {
    return base_->EmbedWith(texts, adapter_.get(), out);
  }

 private:
  std::shared_ptr<BertTextModel> base_;
  std::shared_ptr<const BertAdapter> adapter_;
};

}  // namespace foreshore
