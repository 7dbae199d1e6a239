// The fine codes (index/quantizer.h) of an index's slots, apart from the graph: only what a search found is looked up.
//
// Threads: as SegmentedRows.
#pragma once

#include <algorithm>
#include <cstdint>
#include <cstring>
#include <span>
#include <vector>

#include "foreshore/status.h"
#include "index/quantizer.h"
#include "index/segmented_rows.h"

namespace foreshore {

class FineCodes {
 public:
  // `scratch_folder`: as of SegmentedRows.
  explicit FineCodes(std::uint32_t dimension, std::string scratch_folder = {})
      : dimension_(dimension),
        norm_offset_(NormOffset(dimension)),
        rows_(norm_offset_ + 8, 8, std::move(scratch_folder)) {}

  // What a row is: fine codes, zeros up to a multiple of 8, and the squared norm of codes and fine codes, a double.
  static std::size_t RowBytes(std::uint32_t dimension) { return NormOffset(dimension) + 8; }
  static void WriteRow(std::span<const std::int8_t> codes, std::span<const std::int8_t> fine_codes, char* row) {
    const std::size_t norm_offset = NormOffset(codes.size());
    std::memset(row, 0, norm_offset);
    std::copy(fine_codes.begin(), fine_codes.end(), row);
    const double squared_norm = FineSquaredNorm(codes, {reinterpret_cast<const std::int8_t*>(row), codes.size()});
    std::memcpy(row + norm_offset, &squared_norm, sizeof(squared_norm));
  }

  // kCorruption unless the row is one that WriteRow() can have written over these codes.
  static Status CheckRow(std::span<const std::int8_t> codes, const char* row) {
    const std::span<const std::int8_t> fine_codes(reinterpret_cast<const std::int8_t*>(row), codes.size());
    // As codes of any scale: they must be in range.
    FORESHORE_RETURN_IF_ERROR(CheckVectorCode(1.0F, fine_codes));
    std::vector<char> expected(RowBytes(static_cast<std::uint32_t>(codes.size())));
    WriteRow(codes, fine_codes, expected.data());
    if (std::memcmp(row, expected.data(), expected.size()) == 0) return Status::Ok();
    return Status::Corruption("what follows its fine codes is not of them");
  }

  // The rows of a snapshot, which outlives this object.
  void Borrow(char* rows, std::uint32_t count) { rows_.Borrow(rows, count); }
  // `fine_codes` may be empty: all 0. std::bad_alloc where memory is short.
  void Put(std::uint32_t slot, std::span<const std::int8_t> codes, std::span<const std::int8_t> fine_codes) {
    rows_.Reserve(slot + 1);
    WriteRow(codes, fine_codes, rows_[slot]);
  }
  std::span<const std::int8_t> operator[](std::uint32_t slot) const {
    return {reinterpret_cast<const std::int8_t*>(rows_[slot]), dimension_};
  }
  double squared_norm(std::uint32_t slot) const {
    double squared_norm = 0;
    std::memcpy(&squared_norm, rows_[slot] + norm_offset_, sizeof(squared_norm));
    return squared_norm;
  }
  void Prefetch(std::uint32_t slot) const { rows_.Prefetch(slot); }
  std::size_t row_bytes() const { return rows_.stride_bytes(); }
  std::uint64_t memory_bytes(std::uint32_t count) const { return rows_.memory_bytes(count); }
  std::uint64_t scratch_bytes(std::uint32_t count) const { return rows_.scratch_bytes(count); }
  const char* row(std::uint32_t slot) const { return rows_[slot]; }

 private:
  static std::size_t NormOffset(std::size_t dimension) { return (dimension + 7) / 8 * 8; }

  std::uint32_t dimension_;
  std::size_t norm_offset_;
  SegmentedRows rows_;
};

}  // namespace foreshore
