// The types in which GGUF files store tensors, and their values as 32-bit floats.
//
// Layouts: https://github.com/ggml-org/ggml/blob/master/docs/gguf.md (types) and ggml's block structures: a row is cut
// into blocks of 32 (Q4_0 … Q8_0) or 256 elements (the K types); a block holds scales as f16 and codes.
//
// Threads: pure functions.
#pragma once

#include <cstdint>
#include <string_view>
#include <vector>

#include "foreshore/bytes.h"

namespace foreshore {

struct GgmlType {
  using Dequantize = void (*)(const char* block, float* values);

  std::uint32_t id = 0;  // As in the file.
  std::string_view name;
  std::uint32_t block_elements = 1;
  std::uint32_t block_bytes = 0;
  Dequantize dequantize = nullptr;  // One block's values; null where this library cannot read the type.
};

// Null for a number that names no type known here.
const GgmlType* FindGgmlType(std::uint32_t id);

// The names of the types that can be read, for messages.
std::string_view ReadableGgmlTypes();

// All values, in order. Each is a product and at most one difference of floats rounded to nearest, in the order of the
// specification, so that equal files give equal bits on every processor.
// Invariants of the caller: `type.dequantize` is set, `bytes` are whole blocks.
std::vector<float> DequantizeGgml(const GgmlType& type, Bytes bytes);

}  // namespace foreshore
