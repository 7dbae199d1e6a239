// Memory for what is read in no order. A walk reads a row here and a row there of many megabytes; with pages of 4 KB
// the processor looks up the place of nearly every one of them anew, with pages of 2 MB seldom.
//
// Threads: pure functions.
#pragma once

#include <cstddef>
#include <memory>
#include <new>

namespace foreshore {

struct AlignedDelete {
  std::size_t alignment = 1;
  void operator()(char* bytes) const { ::operator delete (bytes, std::align_val_t{alignment}); }
};
using AlignedBytes = std::unique_ptr<char, AlignedDelete>;

// `size_bytes` bytes that hold anything and start at a multiple of `alignment`, a power of two; of huge pages where
// they fill some and the system has any to give. std::bad_alloc where memory is short.
AlignedBytes AllocateRows(std::size_t size_bytes, std::size_t alignment);

}  // namespace foreshore
