// Rows of equal size that stay where they are while more are added: they lie in segments, each twice as long as the one
// before, so that a row's place is a few instructions away and nothing is ever copied. What a segment holds beyond the
// rows in use is untouched memory, which the system does not provide (but for the rest of its last page). The first
// rows may be borrowed: those of a snapshot that is mapped. The others may lie in unnamed files instead of memory.
//
// Threads: Reserve() must be alone; readers may go on beside it, on rows that were reserved before (in the sense of the
// memory model: whoever reserved them told the reader by a release and an acquire).
#pragma once

#include <algorithm>
#include <array>
#include <bit>
#include <cstdint>
#include <memory>
#include <new>
#include <string>
#include <type_traits>
#include <utility>

#include "index/row_memory.h"

namespace foreshore {

class SegmentedRows {
 public:
  // Rows start at multiples of `alignment`, a power of two. `scratch_folder`: where those that are not borrowed lie in
  // unnamed files; empty: they lie in memory.
  SegmentedRows(std::size_t row_bytes, std::size_t alignment, std::string scratch_folder = {})
      : stride_bytes_((row_bytes + alignment - 1) / alignment * alignment),
        alignment_(alignment),
        scratch_folder_(std::move(scratch_folder)) {}

  // Rows 0..row_count-1 lie at `rows`, which is aligned and outlives this object. Before any Reserve().
  void Borrow(char* rows, std::uint32_t row_count) {
    borrowed_count_ = row_count;
    origins_[0] = reinterpret_cast<std::uintptr_t>(rows);
    reserved_count_ = row_count;
  }
  std::uint32_t borrowed_count() const { return borrowed_count_; }

  // Makes rows 0..row_count-1 exist; new ones hold anything. std::bad_alloc where memory is short; nothing is lost
  // then.
  void Reserve(std::uint32_t row_count) {
    while (reserved_count_ < row_count) {
      const std::uint64_t segment_rows = std::uint64_t{kFirstSegmentRows} << segment_count_;
      const std::size_t segment_bytes = segment_rows * stride_bytes_;
      segments_[segment_count_] = scratch_folder_.empty()
                                      ? AllocateRows(segment_bytes, alignment_)
                                      : AllocateScratchRows(scratch_folder_, segment_bytes, alignment_);
      const char* bytes = segments_[segment_count_].get();
      // Of row 0, if the segment reached back to it: a row's address is then one multiplication away.
      origins_[segment_count_ + 1] = reinterpret_cast<std::uintptr_t>(bytes) - reserved_count_ * stride_bytes_;
      reserved_count_ += segment_rows;
      ++segment_count_;
    }
  }
  char* operator[](std::uint32_t row) { return reinterpret_cast<char*>(AddressOf(row)); }
  const char* operator[](std::uint32_t row) const { return reinterpret_cast<const char*>(AddressOf(row)); }
  // All of a row: what ends it is needed as well as what begins it.
  void Prefetch(std::uint32_t row) const {
    const char* bytes = (*this)[row];
    for (std::size_t offset = 0; offset < stride_bytes_; offset += 64) __builtin_prefetch(bytes + offset);
  }
  std::size_t stride_bytes() const { return stride_bytes_; }

  // Of the first `row_count` rows, which exist: what lies in memory, and in unnamed files. Nothing that is borrowed.
  std::uint64_t memory_bytes(std::uint32_t row_count) const { return BytesOf(row_count, false); }
  std::uint64_t scratch_bytes(std::uint32_t row_count) const { return BytesOf(row_count, true); }

 private:
  static constexpr std::uint32_t kFirstSegmentRows = 1024;
  static constexpr std::size_t kSegmentCountMax = 22;  // 2^32 rows and more.

  std::uint64_t BytesOf(std::uint32_t row_count, bool is_scratch) const {
    std::uint64_t bytes = 0;
    std::uint64_t first = borrowed_count_;
    for (std::size_t i = 0; i < segment_count_ && first < row_count; ++i) {
      const std::uint64_t end = first + (std::uint64_t{kFirstSegmentRows} << i);
      const bool is_in_scratch = segments_[i].get_deleter().scratch_bytes != 0;
      if (is_in_scratch == is_scratch) bytes += (std::min<std::uint64_t>(end, row_count) - first) * stride_bytes_;
      first = end;
    }
    return bytes;
  }
  std::uintptr_t AddressOf(std::uint32_t row) const {
    const auto segment = static_cast<std::size_t>(std::bit_width((row - borrowed_count_) / kFirstSegmentRows + 1));
    return origins_[row < borrowed_count_ ? 0 : segment] + static_cast<std::uintptr_t>(row) * stride_bytes_;
  }

  std::size_t stride_bytes_;
  std::size_t alignment_;
  std::string scratch_folder_;
  std::uint64_t reserved_count_ = 0;
  std::size_t segment_count_ = 0;
  std::uint32_t borrowed_count_ = 0;
  std::array<std::uintptr_t, kSegmentCountMax + 1> origins_{};  // That of what is borrowed, then of each segment.
  std::array<RowMemory, kSegmentCountMax> segments_;
};

// The same for values of a type that needs no destructor.
template <typename T>
class SegmentedArray {
  static_assert(std::is_trivially_destructible_v<T>);

 public:
  explicit SegmentedArray(std::string scratch_folder = {}) : rows_(sizeof(T), alignof(T), std::move(scratch_folder)) {}
  void Borrow(T* values, std::uint32_t count) { rows_.Borrow(reinterpret_cast<char*>(values), count); }
  // Stores `value` at `index`, which is new or is overwritten.
  void Put(std::uint32_t index, const T& value) {
    rows_.Reserve(index + 1);
    new (rows_[index]) T(value);
  }
  void Prefetch(std::uint32_t index) const { rows_.Prefetch(index); }
  std::uint64_t memory_bytes(std::uint32_t count) const { return rows_.memory_bytes(count); }
  std::uint64_t scratch_bytes(std::uint32_t count) const { return rows_.scratch_bytes(count); }
  T& operator[](std::uint32_t index) { return *std::launder(reinterpret_cast<T*>(rows_[index])); }
  const T& operator[](std::uint32_t index) const { return *std::launder(reinterpret_cast<const T*>(rows_[index])); }

 private:
  SegmentedRows rows_;
};

}  // namespace foreshore
