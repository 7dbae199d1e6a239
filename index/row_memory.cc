#include "index/row_memory.h"

#include <sys/mman.h>

#include <algorithm>
#include <new>

#include "storage/base/log.h"
#include "storage/base/scratch_map.h"

namespace foreshore {
namespace {

// Of x86-64, and of ARM64 with pages of 4 KB.
constexpr std::size_t kHugePageBytes = std::size_t{2} << 20;

}  // namespace

void RowMemoryDelete::operator()(char* bytes) const {
  if (scratch_bytes != 0) return ReleaseScratch(bytes, scratch_bytes);
  ::operator delete (bytes, std::align_val_t{alignment});
}

RowMemory AllocateRows(std::size_t size_bytes, std::size_t alignment) {
  const bool is_huge = size_bytes >= kHugePageBytes;
  if (is_huge) alignment = std::max(alignment, kHugePageBytes);
  RowMemory bytes(static_cast<char*>(::operator new (size_bytes, std::align_val_t{alignment})),
                  RowMemoryDelete{alignment});
#ifdef MADV_HUGEPAGE
  // Only a wish. Whole pages alone: what follows them belongs to others.
  if (is_huge) ::madvise(bytes.get(), size_bytes / kHugePageBytes * kHugePageBytes, MADV_HUGEPAGE);
#endif
  return bytes;
}

RowMemory AllocateScratchRows(const std::string& folder, std::size_t size_bytes, std::size_t alignment) {
  const Result<char*> mapped = MapScratch(folder, size_bytes);
  if (mapped.ok()) return RowMemory(*mapped, RowMemoryDelete{alignment, size_bytes});
  Log(LogLevel::kWarning, "index", mapped.status().message() + "; keeping these rows in memory");
  return AllocateRows(size_bytes, alignment);
}

}  // namespace foreshore
