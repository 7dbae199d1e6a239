// Asks the system for pages of a mapped file before they are touched. Where a file is larger than the memory it may
// have, a walk that only touches waits for the device once a row; asked for a hop's rows together, a device answers
// them side by side (NVMe and flash keep tens of requests in flight).
//
// A page is asked for once in a period, so rows that are in memory cost a look at a bit and not a system call. A period
// begins as long as the memory has pages; each that passes without a sign of pages that were pushed out makes the next
// twice as long, and a sign ends it: every so often it is looked whether a page that was asked for is still there.
//
// Threads: PageAhead is safe from any thread; two that meet may ask twice or leave a page to the fault. PagesInOrder is
// one pass's own.
#pragma once

#include <atomic>
#include <cstddef>
#include <cstdint>
#include <memory>

namespace foreshore {

class PageAhead {
 public:
  // For a mapping of `size_bytes` at `begin`, which outlives this object, of which `memory_bytes` fit in memory.
  PageAhead(const char* begin, std::uint64_t size_bytes, std::uint64_t memory_bytes);

  // Asks for the pages under these bytes, which are of the mapping.
  void Want(const char* first, std::size_t size_bytes);
  // System calls so far.
  std::uint64_t asked_count() const { return asked_count_.load(std::memory_order_relaxed); }

 private:
  bool ShouldAsk(std::uint64_t page);  // What is wanted now counts.
  bool IsResident(std::uint64_t page) const;
  void BeginPeriod(std::uint64_t wants);

  const std::uintptr_t begin_;
  const std::uint64_t page_bytes_;
  const std::uint64_t word_count_;
  const std::uint64_t wants_min_;                              // Of a period.
  const std::unique_ptr<std::atomic<std::uint64_t>[]> asked_;  // A bit for each page.
  std::atomic<std::uint64_t> period_;                          // Wants after which the bits are cleared.
  // Each on a cache line of its own: what stands above is read for every row, by all threads.
  alignas(64) std::atomic<std::uint64_t> wants_{0};  // In this period; about, where threads meet.
  alignas(64) std::atomic<std::uint64_t> asked_count_{0};
};

// The same for a pass over rows in the order of memory, of a mapping whose faults read their own page only. Asks for
// some hundred kilobytes ahead, so that the device has always something to do, and asks again only once half of that
// was reached.
class PagesInOrder {
 public:
  // Before these bytes are touched, or as they are. Bytes before those of the last call begin a new pass.
  void Reach(const void* first, std::size_t size_bytes) {
    const auto begin = reinterpret_cast<std::uintptr_t>(first);
    if (begin < begin_ || begin + size_bytes > ask_from_) Ask(begin, size_bytes);
  }

 private:
  void Ask(std::uintptr_t begin, std::size_t size_bytes);

  std::uintptr_t begin_ = 0;     // Where asking began last.
  std::uintptr_t ask_from_ = 0;  // Behind it, the next is asked for.
  std::uintptr_t end_ = 0;       // Of what was asked for.
};

}  // namespace foreshore
