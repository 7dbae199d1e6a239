// Asks the system for pages of a mapped file before they are touched. Where a file is larger than the memory it may
// have, a walk that only touches waits for the device once a row; asked for a hop's rows together, a device answers
// them side by side (NVMe and flash keep tens of requests in flight).
//
// A page is asked for once in a period, so rows that are in memory cost a look at a bit and not a system call. A period
// begins as long as the memory has pages; each that passes without a sign of pages that were pushed out makes the next
// twice as long, and a sign ends it: every so often it is looked whether a page that was asked for is still there.
//
// Threads: safe from any thread; two that meet may ask twice or leave a page to the fault.
#pragma once

#include <atomic>
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
  void Ask(std::uint64_t page);
  bool IsResident(std::uint64_t page) const;
  void BeginPeriod(std::uint64_t wants);

  const std::uintptr_t begin_;
  const std::uint64_t page_bytes_;
  const std::uint64_t word_count_;
  const std::uint64_t wants_min_;                              // Of a period.
  const std::unique_ptr<std::atomic<std::uint64_t>[]> asked_;  // A bit for each page.
  std::atomic<std::uint64_t> wants_{0};                        // In this period; about, where threads meet.
  std::atomic<std::uint64_t> period_;                          // Wants after which the bits are cleared.
  std::atomic<std::uint64_t> asked_count_{0};
};

}  // namespace foreshore
