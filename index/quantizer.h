// Float vectors to int8 codes, and the record that the storage floor keeps per document and vector field.
//
// Quantization is symmetric with one scale per vector: scale = max|v| / 127, code[i] = round(v[i] / scale), so codes
// are in -127..127 and v[i] is within scale / 2 of code[i] * scale. The record is the same for every metric.
// Vectors whose largest component is below 127 * 2^-126 (about 1.5e-36) become zeros, because their scale would leave
// the normal range of float.
// Where the vector is kept with 16 bits (VectorPrecision::kInt16), as many fine codes say what the codes left over, in
// units of scale / 254: v[i] is then within scale / 508 of scale * (code[i] + fine[i] / 254).
//
//   Vector record, little-endian                code: index/quantizer.cc
//     OFFSET SIZE FIELD
//          0    1 version = 1
//          1    1 flags: 1 with fine codes, else 0
//          2    2 dimension, 2..4096
//          4    4 scale, float: finite and at least 2^-126, or 0 with every code 0
//          8    n codes, n = dimension, int8 in -127..127
//              n fine codes with flag 1, the same
//   Reader: an unknown version or flag is kUnsupported; any other mismatch is kCorruption.
//
// Threads: free functions are safe from any thread; a VectorRecord is a view.
#pragma once

#include <cstdint>
#include <span>

#include "foreshore/bytes.h"
#include "foreshore/status.h"
#include "index/vector_metric.h"

namespace foreshore {

inline constexpr std::size_t kVectorRecordHeaderBytes = 8;
inline constexpr std::int8_t kVectorCodeMax = 127;

// A fine code counts one 254th of a code: the rest is at most half a code, and 127 of these.
inline constexpr double kFineCodesPerCode = 2.0 * kVectorCodeMax;

// A decoded record. The spans are views into the bytes that were decoded and live as long as they do.
struct VectorRecord {
  float scale = 0;
  std::span<const std::int8_t> codes;
  std::span<const std::int8_t> fine_codes;  // As many, or none.
};

// Encodes `values`, whose length must be `dimension`. kInvalidArgument for another length, a dimension outside
// 2..4096, NaN or infinity. A vector of zeros is accepted (see index/vector_metric.h for its distances).
Result<ByteString> EncodeVectorRecord(std::span<const float> values, std::uint32_t dimension,
                                      VectorPrecision precision = VectorPrecision::kInt8);

// Decodes a record that must have `dimension` codes.
Result<VectorRecord> DecodeVectorRecord(Bytes record, std::uint32_t dimension);

// The vector that the record stands for; `values` has room for exactly the record's codes.
void DequantizeVector(const VectorRecord& record, std::span<float> values);

// One step of quantization: the largest |value| becomes +-127 and the scale is returned, 0 when all are (nearly) zero.
// `values` are finite and `codes` has as many places. EncodeVectorRecord() is this with checks and a frame.
float QuantizeVector(std::span<const float> values, std::span<std::int8_t> codes);

// What `codes` of QuantizeVector() left over of `values`, as fine codes.
void QuantizeRest(std::span<const float> values, float scale, std::span<const std::int8_t> codes,
                  std::span<std::int8_t> fine_codes);

// The squared norm of codes and fine codes together, in units of the squared scale.
double FineSquaredNorm(std::span<const std::int8_t> codes, std::span<const std::int8_t> fine_codes);

// kCorruption unless `scale` and `codes` are what QuantizeVector() can produce: for decoders.
Status CheckVectorCode(float scale, std::span<const std::int8_t> codes);

// kInvalidArgument unless `values` has `dimension` finite numbers; `what` opens the message.
Status CheckVector(std::string_view what, std::span<const float> values, std::uint32_t dimension);

}  // namespace foreshore
