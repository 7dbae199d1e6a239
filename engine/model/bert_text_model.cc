#include "engine/model/bert_text_model.h"

namespace foreshore {

Result<std::shared_ptr<BertTextModel>> BertTextModel::Open(ModelInfo info, WordPieceTokenizer tokenizer,
                                                           const std::string& packed_path, ThreadPool* pool) {
  FORESHORE_ASSIGN_OR_RETURN(auto file, MappedFile::Open(packed_path));
  FORESHORE_ASSIGN_OR_RETURN(PackedBert packed, PackedBert::Open(file->bytes()));
  std::shared_ptr<BertTextModel> model(
      new BertTextModel(std::move(info), std::move(tokenizer), std::move(file), std::move(packed)));
  BertExecutor::Options options;
  options.pool = pool;
  FORESHORE_ASSIGN_OR_RETURN(model->executor_, BertExecutor::Create(model->packed_, options));
  const BertConfig& config = model->executor_->config();
  if (model->tokenizer_.vocabulary_size() > config.vocabulary_size || config.hidden_size != model->info_.dimension) {
    return Status::Corruption("model \"" + model->info_.name + "\": packed weights have " +
                              std::to_string(config.vocabulary_size) + " tokens and " +
                              std::to_string(config.hidden_size) + " dimensions, the manifest says otherwise");
  }
  return model;
}

Status BertTextModel::EmbedWith(std::span<const std::string_view> texts, const BertAdapter* adapter,
                                std::span<float> out) {
  const std::lock_guard lock(mutex_);
  if (ids_.size() < texts.size()) ids_.resize(texts.size());
  std::vector<std::span<const std::int32_t>> sequences;
  sequences.reserve(texts.size());
  for (std::size_t i = 0; i < texts.size(); ++i) {
    tokenizer_.Encode(texts[i], ids_[i]);
    // Ids are below 2^31; the executor takes them signed, as model files do.
    sequences.emplace_back(reinterpret_cast<const std::int32_t*>(ids_[i].data()), ids_[i].size());
  }
  return executor_->Embed(sequences, out, adapter);
}

}  // namespace foreshore
