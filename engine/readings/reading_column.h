// One field of many readings, column by column: numbers that differ little take a byte or two each, and every token
// comes back to the digit.
//
//   kind 1  fixed decimals    u8 scale, then the whole numbers token * 10^scale as deltas
//   kind 2  trimmed decimals  the same for tokens that are shortest: "20", "20.5", "20.25"
//   kind 3  trimmed, but one  the same with at least one decimal: "20.0", "20.5", "20.25"
//   kind 4  constant          one prefixed token
//   kind 5  tokens            varint 0: as the one before; else length + 1 and the token
//
// Deltas are zigzag varints; a zero is followed by a varint that says how many more zeros come. Times and numbers of
// readings are deltas of deltas, as in Gorilla (Pelkonen et al., VLDB 2015), so that a steady clock costs nothing.
//
// Threads: free functions, safe from any thread.
#pragma once

#include <cstdint>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "foreshore/bytes.h"
#include "foreshore/status.h"

namespace foreshore {

inline constexpr std::uint64_t kReadingsInRunMax = 1 << 17;

// A column that was decoded. Lifetime: tokens point into the encoded bytes.
struct ReadingColumn {
  enum class Kind : std::uint8_t { kFixed = 1, kTrimmed = 2, kTrimmedButOne = 3, kConstant = 4, kTokens = 5 };
  Kind kind = Kind::kConstant;
  std::uint8_t scale = 0;
  std::vector<std::int64_t> mantissas;   // Kinds 1 to 3.
  std::vector<std::string_view> tokens;  // Kinds 4 (one) and 5.

  bool is_decimal() const { return kind <= Kind::kTrimmedButOne; }
  // Of kinds 4 and 5.
  std::string_view TokenAt(std::size_t row) const { return kind == Kind::kConstant ? tokens[0] : tokens[row]; }
  void AppendToken(std::string& out, std::size_t row) const;
};

void EncodeReadingColumn(ByteString& out, std::span<const std::string_view> tokens);
Result<ReadingColumn> DecodeReadingColumn(Bytes bytes, std::size_t count);

void EncodeSteadyColumn(ByteString& out, std::span<const std::int64_t> values);
Result<std::vector<std::int64_t>> DecodeSteadyColumn(Bytes bytes, std::size_t count);

}  // namespace foreshore
