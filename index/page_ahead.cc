#include "index/page_ahead.h"

#include <sys/mman.h>
#include <unistd.h>

#include <algorithm>

namespace foreshore {
namespace {

constexpr std::uint64_t kWordBits = 64;
constexpr std::uint64_t kWantsBetweenLooks = 256;
constexpr std::uint64_t kPeriodGrowthMax = 64;       // Where the system does not tell what is in memory.
constexpr std::uintptr_t kInOrderBytes = 256 << 10;  // Once and twice this are on their way in a pass.

std::uint64_t PageBytes() {
  return static_cast<std::uint64_t>(::sysconf(_SC_PAGESIZE));
}

}  // namespace

PageAhead::PageAhead(const char* begin, std::uint64_t size_bytes, std::uint64_t memory_bytes)
    : begin_(reinterpret_cast<std::uintptr_t>(begin) / PageBytes() * PageBytes()),
      page_bytes_(PageBytes()),
      word_count_(size_bytes / page_bytes_ / kWordBits + 1),
      wants_min_(std::max<std::uint64_t>(memory_bytes / page_bytes_, 1)),
      asked_(std::make_unique<std::atomic<std::uint64_t>[]>(word_count_)),
      period_(wants_min_) {}

void PageAhead::Want(const char* first, std::size_t size_bytes) {
  const std::uint64_t offset = reinterpret_cast<std::uintptr_t>(first) - begin_;
  const std::uint64_t end = (offset + size_bytes - 1) / page_bytes_ + 1;
  std::uint64_t run = 0;  // Pages in a row, the last before `page`, that one call asks for.
  for (std::uint64_t page = offset / page_bytes_; page <= end; ++page) {
    if (page < end && ShouldAsk(page)) {
      ++run;
    } else if (run != 0) {
      void* const run_begin = reinterpret_cast<void*>(begin_ + (page - run) * page_bytes_);
      ::madvise(run_begin, run * page_bytes_, MADV_WILLNEED);  // Only a wish.
      asked_count_.fetch_add(1, std::memory_order_relaxed);
      run = 0;
    }
  }
}

bool PageAhead::ShouldAsk(std::uint64_t page) {
  const std::uint64_t wants = wants_.load(std::memory_order_relaxed) + 1;
  wants_.store(wants, std::memory_order_relaxed);
  const std::uint64_t period = period_.load(std::memory_order_relaxed);
  if (wants >= period) BeginPeriod(std::min(period * 2, wants_min_ * kPeriodGrowthMax));
  std::atomic<std::uint64_t>& word = asked_[page / kWordBits];
  const std::uint64_t bit = std::uint64_t{1} << (page % kWordBits);
  if ((word.load(std::memory_order_relaxed) & bit) != 0) {
    if (wants % kWantsBetweenLooks != 0 || IsResident(page)) return false;
    BeginPeriod(wants_min_);  // It was pushed out, and so may others be.
  }
  word.fetch_or(bit, std::memory_order_relaxed);
  return true;
}

bool PageAhead::IsResident(std::uint64_t page) const {
  unsigned char found = 0;
  return ::mincore(reinterpret_cast<void*>(begin_ + page * page_bytes_), page_bytes_, &found) != 0 || (found & 1) != 0;
}

void PageAhead::BeginPeriod(std::uint64_t wants) {
  period_.store(wants, std::memory_order_relaxed);
  wants_.store(0, std::memory_order_relaxed);
  for (std::uint64_t i = 0; i < word_count_; ++i) asked_[i].store(0, std::memory_order_relaxed);
}

void PagesInOrder::Ask(std::uintptr_t begin, std::size_t size_bytes) {
  if (begin < begin_ || begin > end_) end_ = begin;  // Another pass, or another place.
  begin_ = begin;
  const std::uintptr_t first = end_ / PageBytes() * PageBytes();
  end_ = std::max(end_, begin + size_bytes + 2 * kInOrderBytes);
  ask_from_ = end_ - kInOrderBytes;
  // Only a wish. Where nothing is mapped it says so and does the rest.
  ::madvise(reinterpret_cast<void*>(first), end_ - first, MADV_WILLNEED);
}

}  // namespace foreshore
