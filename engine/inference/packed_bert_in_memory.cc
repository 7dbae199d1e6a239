#include "engine/inference/packed_bert_in_memory.h"

#include <cstring>
#include <utility>

namespace foreshore {

Result<PackedBertInMemory> PackedBertInMemory::Make(const BertModel& model, const WeightFormat& format) {
  std::vector<TensorView> views;
  for (const Tensor& tensor : model.tensors) views.push_back(tensor.view());
  FORESHORE_ASSIGN_OR_RETURN(const ByteString blob, PackBert(model.config, format, views));
  PackedBertInMemory packed;
  packed.memory_.reset(static_cast<char*>(::operator new[](blob.size(), kAlignment)));
  std::memcpy(packed.memory_.get(), blob.data(), blob.size());
  FORESHORE_ASSIGN_OR_RETURN(PackedBert opened, PackedBert::Open({packed.memory_.get(), blob.size()}));
  packed.packed_ = std::make_unique<PackedBert>(std::move(opened));
  return packed;
}

}  // namespace foreshore
