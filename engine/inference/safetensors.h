// Reader of safetensors files: a 64-bit little-endian header length, that many bytes of JSON, the tensors' bytes.
// Format: https://github.com/huggingface/safetensors (section "Format").
//
// Lifetime: views point into the bytes that were given; nothing is copied. Alignment is not guaranteed.
// Threads: a pure function.
#pragma once

#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "engine/inference/tensor.h"
#include "foreshore/bytes.h"
#include "foreshore/status.h"

namespace foreshore {

// Limits of design section 8.
inline constexpr std::size_t kModelHeaderBytesMax = 16ULL << 20;
inline constexpr std::size_t kModelMetadataPairsMax = 4'096;
inline constexpr std::size_t kModelStringBytesMax = 64ULL << 10;

struct SafetensorsFile {
  std::vector<TensorView> tensors;  // In the order of their bytes in the file.
  std::vector<std::pair<std::string, std::string>> metadata;
};

// `name` is what messages call the file. Tensors must cover the bytes after the header exactly: no gap, no overlap,
// nothing left over. kCorruption for bytes that contradict the format, kLimit above a limit, kUnsupported naming every
// tensor whose element type TensorType does not have.
Result<SafetensorsFile> ReadSafetensors(std::string_view name, Bytes bytes);

// A file of these tensors, whose names need no escaping in JSON, by name, without metadata; the same tensors give the
// same bytes.
ByteString WriteSafetensors(std::vector<TensorView> tensors);

}  // namespace foreshore
