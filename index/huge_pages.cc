#include "index/huge_pages.h"

#include <sys/mman.h>

#include <algorithm>

namespace foreshore {
namespace {

// Of x86-64, and of ARM64 with pages of 4 KB.
constexpr std::size_t kHugePageBytes = std::size_t{2} << 20;

}  // namespace

AlignedBytes AllocateRows(std::size_t size_bytes, std::size_t alignment) {
  const bool is_huge = size_bytes >= kHugePageBytes;
  if (is_huge) alignment = std::max(alignment, kHugePageBytes);
  AlignedBytes bytes(static_cast<char*>(::operator new (size_bytes, std::align_val_t{alignment})),
                     AlignedDelete{alignment});
#ifdef MADV_HUGEPAGE
  // Only a wish. Whole pages alone: what follows them belongs to others.
  if (is_huge) ::madvise(bytes.get(), size_bytes / kHugePageBytes * kHugePageBytes, MADV_HUGEPAGE);
#endif
  return bytes;
}

}  // namespace foreshore
