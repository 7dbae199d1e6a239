// Rows of equal size, each at a multiple of 64 bytes so that it begins with a cache line. They lie in blocks that stay
// where they are while rows are added.
//
// Threads: const members may run side by side.
#pragma once

#include <cstdint>
#include <cstring>
#include <memory>
#include <new>
#include <vector>

namespace foreshore {

class AlignedRows {
 public:
  explicit AlignedRows(std::size_t row_bytes) : stride_bytes_((row_bytes + kAlignment - 1) / kAlignment * kAlignment) {}

  // Adds one row of zeros. std::bad_alloc where memory is short; then nothing was added.
  void Add() {
    if (row_count_ % kRowsPerBlock == 0) {
      blocks_.reserve(blocks_.size() + 1);
      const std::size_t block_bytes = kRowsPerBlock * stride_bytes_;
      blocks_.emplace_back(static_cast<char*>(::operator new (block_bytes, std::align_val_t{kAlignment})));
    }
    ++row_count_;
    std::memset((*this)[row_count_ - 1], 0, stride_bytes_);
  }
  char* operator[](std::size_t row) { return blocks_[row / kRowsPerBlock].get() + row % kRowsPerBlock * stride_bytes_; }
  const char* operator[](std::size_t row) const {
    return blocks_[row / kRowsPerBlock].get() + row % kRowsPerBlock * stride_bytes_;
  }
  std::size_t stride_bytes() const { return stride_bytes_; }
  std::uint64_t memory_bytes() const { return blocks_.size() * (kRowsPerBlock * stride_bytes_ + sizeof(char*)); }

 private:
  static constexpr std::size_t kAlignment = 64;
  static constexpr std::size_t kRowsPerBlock = 256;
  struct Free {
    void operator()(char* block) const { ::operator delete (block, std::align_val_t{kAlignment}); }
  };

  std::size_t stride_bytes_;
  std::size_t row_count_ = 0;
  std::vector<std::unique_ptr<char, Free>> blocks_;
};

}  // namespace foreshore
