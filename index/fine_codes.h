// The fine codes (index/quantizer.h) of an index's slots, apart from the graph: only what a search found is looked up.
//
// Threads: as SegmentedRows.
#pragma once

#include <algorithm>
#include <cstdint>
#include <cstring>
#include <span>

#include "index/quantizer.h"
#include "index/segmented_rows.h"

namespace foreshore {

class FineCodes {
 public:
  explicit FineCodes(std::uint32_t dimension)
      : dimension_(dimension), norm_offset_((dimension + std::size_t{7}) / 8 * 8), rows_(norm_offset_ + 8, 8) {}

  // `fine_codes` may be empty: all 0. std::bad_alloc where memory is short.
  void Put(std::uint32_t slot, std::span<const std::int8_t> codes, std::span<const std::int8_t> fine_codes) {
    rows_.Reserve(slot + 1);
    char* row = rows_[slot];
    std::memset(row, 0, norm_offset_);
    std::copy(fine_codes.begin(), fine_codes.end(), row);
    const double squared_norm = FineSquaredNorm(codes, (*this)[slot]);
    std::memcpy(row + norm_offset_, &squared_norm, sizeof(squared_norm));
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

 private:
  std::uint32_t dimension_;
  std::size_t norm_offset_;
  SegmentedRows rows_;
};

}  // namespace foreshore
