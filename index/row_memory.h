// Memory for what is read in no order.
//
// A walk reads a row here and a row there of many megabytes; with pages of 4 KB the processor looks up the place of
// nearly every one of them anew, with pages of 2 MB seldom. Rows that no walk reads may lie in an unnamed file instead,
// and occupy memory only while they are read.
//
// Threads: pure functions.
#pragma once

#include <cstddef>
#include <memory>
#include <string>

namespace foreshore {

struct RowMemoryDelete {
  std::size_t alignment = 1;
  std::size_t scratch_bytes = 0;  // Not 0: an unnamed file of so many bytes.
  void operator()(char* bytes) const;
};
using RowMemory = std::unique_ptr<char, RowMemoryDelete>;

// `size_bytes` bytes that hold anything and start at a multiple of `alignment`, a power of two up to that of pages; of
// huge pages where they fill some and the system has any to give. std::bad_alloc where memory is short.
RowMemory AllocateRows(std::size_t size_bytes, std::size_t alignment);
// The same in an unnamed file of `folder`; of memory where that cannot be had.
RowMemory AllocateScratchRows(const std::string& folder, std::size_t size_bytes, std::size_t alignment);

}  // namespace foreshore
