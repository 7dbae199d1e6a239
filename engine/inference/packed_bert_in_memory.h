// Packed weights in memory, of a model that is in no file yet.
#pragma once

#include <memory>
#include <new>

#include "engine/inference/bert_packed.h"

namespace foreshore {

class PackedBertInMemory {
 public:
  // Errors as PackBert gives them.
  static Result<PackedBertInMemory> Make(const BertModel& model, const WeightFormat& format);
  const PackedBert& packed() const { return *packed_; }

 private:
  static constexpr std::align_val_t kAlignment{kPackedBertAlignment};
  struct Delete {
    void operator()(char* memory) const { ::operator delete[](memory, kAlignment); }
  };
  PackedBertInMemory() = default;
  std::unique_ptr<char[], Delete> memory_;
  std::unique_ptr<PackedBert> packed_;  // Its address stays when this moves.
};

}  // namespace foreshore
