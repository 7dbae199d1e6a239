// Float vectors to int8 codes, and the record that the storage floor keeps per document and vector field.
//
// Quantization is symmetric with one scale per vector: scale = max|v| / 127, code[i] = round(v[i] / scale), so codes
// are in -127..127 and v[i] is within scale / 2 of code[i] * scale. The record is the same for every metric.
// Vectors whose largest component is below 127 * 2^-126 (about 1.5e-36) become zeros, because their scale would leave
// the normal range of float.
// (Mean-centring for L2 would be announced by a flag; version 1 defines none.)
//
//   Vector record, little-endian                code: index/quantizer.cc
//     OFFSET SIZE FIELD
//          0    1 version = 1
//          1    1 flags = 0
//          2    2 dimension, 2..4096
//          4    4 scale, float: finite and at least 2^-126, or 0 with every code 0
//          8    n codes, n = dimension, int8 in -127..127
//   Reader: an unknown version or flag is kUnsupported; any other mismatch is kCorruption.
//
// Threads: free functions are safe from any thread; a VectorRecord is a view.
#pragma once

#include <cstdint>
#include <span>

#include "foreshore/bytes.h"
#include "foreshore/status.h"

namespace foreshore {

inline constexpr std::size_t kVectorRecordHeaderBytes = 8;
inline constexpr std::int8_t kVectorCodeMax = 127;

// A decoded record. `codes` is a view into the bytes that were decoded and lives as long as they do.
struct VectorRecord {
  float scale = 0;
  std::span<const std::int8_t> codes;
};

// Encodes `values`, whose length must be `dimension`. kInvalidArgument for another length, a dimension outside
// 2..4096, NaN or infinity. A vector of zeros is accepted (see index/vector_metric.h for its distances).
Result<ByteString> EncodeVectorRecord(std::span<const float> values, std::uint32_t dimension);

// Decodes a record that must have `dimension` codes.
Result<VectorRecord> DecodeVectorRecord(Bytes record, std::uint32_t dimension);

// The vector that the record stands for, code[i] * scale; `values` has room for exactly the record's codes.
void DequantizeVector(const VectorRecord& record, std::span<float> values);

// One step of quantization: the largest |value| becomes +-127 and the scale is returned, 0 when all are (nearly) zero.
// `values` are finite and `codes` has as many places. EncodeVectorRecord() is this with checks and a frame.
float QuantizeVector(std::span<const float> values, std::span<std::int8_t> codes);

// kCorruption unless `scale` and `codes` are what QuantizeVector() can produce: for decoders.
Status CheckVectorCode(float scale, std::span<const std::int8_t> codes);

// kInvalidArgument unless `values` has `dimension` finite numbers; `what` opens the message.
Status CheckVector(std::string_view what, std::span<const float> values, std::uint32_t dimension);

}  // namespace foreshore
