// A packed blob at an aligned address, as a mapped file would give it.
#pragma once

#include <cstdlib>
#include <cstring>
#include <memory>

#include "engine/inference/bert_packed.h"
#include "engine/inference/bert_quantize.h"
#include "tests/engine/inference/random_bert.h"

namespace foreshore {

class AlignedBlob {
 public:
  explicit AlignedBlob(Bytes bytes)
      : size_bytes_(bytes.size()), memory_(std::aligned_alloc(64, (bytes.size() + 64) / 64 * 64)) {
    std::memcpy(memory_.get(), bytes.data(), bytes.size());
  }
  Bytes bytes() const { return AsBytes(memory_.get(), size_bytes_); }
  char* data() { return static_cast<char*>(memory_.get()); }

 private:
  struct Free {
    void operator()(void* memory) const { std::free(memory); }
  };
  std::size_t size_bytes_;
  std::unique_ptr<void, Free> memory_;
};

inline ByteString PackedBytesOf(const BertModel& f32) {
  const BertModel int8 = QuantizeBertInt8(f32).value();
  return PackBertInt8(int8.config, ViewsOf(int8)).value();
}

}  // namespace foreshore
