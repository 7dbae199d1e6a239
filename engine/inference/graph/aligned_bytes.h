// Memory on a cache line's boundary, for what kernels read by whole vectors. Zeroed.
//
// Threads: a value; no sharing.
#pragma once

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <memory>
#include <new>
#include <string>

#include "foreshore/status.h"

namespace foreshore::graph {

class AlignedBytes {
 public:
  static constexpr std::size_t kAlignment = 64;
  // Up to the next boundary, for parts of one block that each begin at one.
  static constexpr std::uint64_t RoundUp(std::uint64_t size_bytes) {
    return (size_bytes + kAlignment - 1) / kAlignment * kAlignment;
  }

  AlignedBytes() = default;
  // kLimit where the memory is not to be had.
  static Result<AlignedBytes> Make(std::uint64_t size_bytes) {
    const std::size_t size = std::max<std::uint64_t>(size_bytes, 1);
    void* data = ::operator new(size, std::align_val_t(kAlignment), std::nothrow);
    if (data == nullptr) return Status::Limit("no memory for " + std::to_string(size_bytes) + " bytes");
    std::memset(data, 0, size);
    AlignedBytes bytes;
    bytes.data_.reset(static_cast<std::byte*>(data));
    bytes.size_bytes_ = size_bytes;
    return bytes;
  }

  std::byte* data() const { return data_.get(); }
  float* floats() const { return reinterpret_cast<float*>(data_.get()); }
  std::uint64_t size_bytes() const { return size_bytes_; }
  explicit operator bool() const { return data_ != nullptr; }

 private:
  struct Delete {
    void operator()(std::byte* data) const { ::operator delete(data, std::align_val_t(kAlignment)); }
  };
  std::unique_ptr<std::byte, Delete> data_;
  std::uint64_t size_bytes_ = 0;
};

}  // namespace foreshore::graph
