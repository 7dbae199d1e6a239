#include "index/vector_filter.h"

#include <algorithm>
#include <utility>

#include "index/slot_set.h"

namespace foreshore {
namespace {

// A bit per docid between the first and the last is worth it up to so many, or so many a document.
constexpr std::uint64_t kBitsFree = 1 << 20;
constexpr std::uint64_t kBitsPerDocument = 64;

}  // namespace

VectorFilter::VectorFilter(std::vector<std::int64_t> docids) : docids_(std::move(docids)) {
  if (!std::is_sorted(docids_.begin(), docids_.end())) std::sort(docids_.begin(), docids_.end());
  docids_.erase(std::unique(docids_.begin(), docids_.end()), docids_.end());
  if (docids_.empty()) return;
  const std::uint64_t span = static_cast<std::uint64_t>(docids_.back()) - static_cast<std::uint64_t>(docids_.front());
  if (span >= std::max(kBitsFree, kBitsPerDocument * docids_.size())) return;
  bits_.resize(span / 64 + 1);
  for (const std::int64_t docid : docids_) {
    const std::uint64_t bit = static_cast<std::uint64_t>(docid) - static_cast<std::uint64_t>(docids_.front());
    bits_[bit / 64] |= std::uint64_t{1} << (bit % 64);
  }
}

bool VectorFilter::Contains(std::int64_t docid) const {
  if (bits_.empty()) return std::binary_search(docids_.begin(), docids_.end(), docid);
  const std::uint64_t bit = static_cast<std::uint64_t>(docid) - static_cast<std::uint64_t>(docids_.front());
  return bit / 64 < bits_.size() && (bits_[bit / 64] >> (bit % 64) & 1) != 0;
}

std::uint64_t VectorFilter::memory_bytes() const {
  const std::lock_guard lock(mutex_);
  const std::uint64_t slot_bytes = slots_ ? slots_->slots.size() * 4 + slots_->bits.size() * 8 : 0;
  return docids_.size() * 8 + bits_.size() * 8 + slot_bytes;
}

}  // namespace foreshore
