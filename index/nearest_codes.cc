// The nearest of some slots of a graph, by all of their codes.
#include <algorithm>
#include <bit>
#include <exception>
#include <utility>

#include "index/hnsw_graph.h"
#include "index/vector_code.h"

namespace foreshore {
namespace {

constexpr std::size_t kBlockSlots = 64;
constexpr std::size_t kAheadBytes = 4096;  // Of codes on their way: more than one waits for, less than the first cache.

// Orders as the proximities do, and where they are equal as the slots; what is no number (a damaged code) comes last.
std::uint64_t KeyOf(float proximity, std::uint32_t slot) {
  constexpr std::uint32_t kSign = 0x80000000;
  const auto bits = std::bit_cast<std::uint32_t>(proximity);
  const std::uint32_t ordered = proximity != proximity ? UINT32_MAX : (bits & kSign) != 0 ? ~bits : bits | kSign;
  return std::uint64_t{ordered} << 32 | slot;
}

// Keeps the `count_max` lowest of the keys it is offered: what may be one of them is gathered, and now and then all
// that is too high is dropped. A heap would be put in order for each.
class Lowest {
 public:
  explicit Lowest(std::size_t count_max) : count_max_(count_max) { keys_.reserve(2 * count_max); }
  void Offer(std::uint64_t key) {
    if (key >= end_) return;
    keys_.push_back(key);
    if (keys_.size() == 2 * count_max_) Drop();
  }
  std::vector<std::uint32_t> Slots() && {
    if (keys_.size() > count_max_) Drop();
    std::sort(keys_.begin(), keys_.end());
    return {keys_.begin(), keys_.end()};  // The lower halves.
  }

 private:
  void Drop() {
    const auto last = keys_.begin() + static_cast<std::ptrdiff_t>(count_max_) - 1;
    std::nth_element(keys_.begin(), last, keys_.end());
    end_ = *last;
    keys_.resize(count_max_);
  }

  std::size_t count_max_;
  std::uint64_t end_ = UINT64_MAX;  // What is offered from here on is not among the lowest.
  std::vector<std::uint64_t> keys_;
};

}  // namespace

Result<std::vector<std::uint32_t>> HnswGraph::NearestOf(const void* code, std::span<const std::uint32_t> slots,
                                                        std::size_t count) const {
  if (count == 0 || slots.empty()) return std::vector<std::uint32_t>();
  try {
    const CodeSpace space(config().metric, config().dimension);
    const std::size_t ahead = std::clamp<std::size_t>(kAheadBytes / space.code_bytes(), 4, kBlockSlots);
    const char* codes[2 * kBlockSlots];
    Lowest lowest(std::min(count, slots.size()));
    for (std::size_t first = 0; first < slots.size(); first += kBlockSlots) {
      const std::size_t block = std::min(kBlockSlots, slots.size() - first);
      const std::size_t known = std::min(block + ahead, slots.size() - first);
      CodesOf(slots.subspan(first, known), codes);
      for (std::size_t i = 0; i < block; i += 4) {
        for (std::size_t at = i + ahead; at < std::min(i + ahead + 4, known); ++at) {
          for (std::size_t offset = 0; offset < space.code_bytes(); offset += 64)
            __builtin_prefetch(codes[at] + offset);
        }
        const std::size_t some = std::min<std::size_t>(4, block - i);
        const void* four[4];
        for (std::size_t at = 0; at < 4; ++at) four[at] = codes[i + std::min(at, some - 1)];
        float proximities[4];
        space.ProximityOfFour(code, four, proximities);
        for (std::size_t at = 0; at < some; ++at) lowest.Offer(KeyOf(proximities[at], slots[first + i + at]));
      }
    }
    return std::move(lowest).Slots();
  } catch (const std::exception& exception) {
    return GraphFailure("scanning codes", exception);
  }
}

}  // namespace foreshore
