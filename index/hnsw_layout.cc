#include "index/hnsw_layout.h"

#include <algorithm>
#include <bit>

#include "index/fine_codes.h"
#include "index/vector_code.h"

namespace foreshore {
namespace {

constexpr std::uint64_t kAreaAlignment = 64;
constexpr std::uint64_t kGroupBytes = 16 << 10;

std::uint64_t Aligned(std::uint64_t offset) {
  return (offset + kAreaAlignment - 1) / kAreaAlignment * kAreaAlignment;
}

}  // namespace

HnswLayout::HnswLayout(const HnswGraphConfig& config, VectorPrecision precision, const HnswCounts& counts) {
  const auto set = [this](HnswArea area, std::uint64_t row_bytes, std::uint64_t row_count) {
    areas_[area].row_bytes = row_bytes;
    areas_[area].row_count = row_count;
    const std::uint64_t group_rows = std::max<std::uint64_t>(1, kGroupBytes / std::max<std::uint64_t>(1, row_bytes));
    areas_[area].group_shift = static_cast<unsigned>(std::bit_width(group_rows) - 1);
    areas_[area].first_group = sum_count_;
    sum_count_ += areas_[area].group_count();
  };
  const std::uint64_t fine_bytes =
      precision == VectorPrecision::kInt16 ? FineCodes::RowBytes(config.dimension) : std::size_t{0};
  set(kNodeArea, sizeof(HnswNode), counts.nodes);
  set(kDocidArea, sizeof(std::int64_t), counts.nodes);
  set(kDeadArea, sizeof(std::uint64_t), (std::uint64_t{counts.nodes} + 63) / 64);
  set(kPlaceArea, sizeof(std::uint32_t), counts.places);
  set(kUpperLinkArea, std::uint64_t{4} * config.links_per_node, counts.upper_rows);
  const bool is_small = config.small_codes.has_value();
  set(kSmallConfigArea, is_small ? config.small_codes->Encode(config.dimension).size() : 0, is_small ? 1 : 0);
  set(kBaseLinkArea, Aligned(std::uint64_t{8} * config.links_per_node), counts.nodes);
  set(kCodeArea, VectorCodeBytes(config.dimension), counts.nodes);
  set(kFineCodeArea, fine_bytes, fine_bytes == 0 ? 0 : counts.nodes);
  const std::uint64_t small_bytes =
      is_small ? SmallCodeSpace(config.metric, config.dimension, *config.small_codes).row_bytes() : std::size_t{0};
  set(kSmallCodeArea, small_bytes, is_small ? counts.nodes : 0);
  std::uint64_t offset = kHnswHeaderBytes;
  for (int area = 0; area < kHnswAreaCount; ++area) {
    if (area == kBaseLinkArea) {
      sums_offset_ = Aligned(offset);
      offset = sums_offset_ + 4 * sum_count_;
    }
    if (areas_[area].row_count == 0) continue;
    areas_[area].offset = Aligned(offset);
    offset = areas_[area].offset + areas_[area].bytes();
  }
  file_bytes_ = offset;
}

std::uint32_t HnswLayout::PlaceCount(std::uint64_t live_count) {
  if (live_count == 0) return 0;
  return static_cast<std::uint32_t>(std::bit_ceil(live_count + live_count / 2 + 1));
}

std::uint32_t HnswLayout::FirstPlace(std::int64_t docid, std::uint32_t place_count) {
  if (place_count == 1) return 0;
  const std::uint64_t mixed = static_cast<std::uint64_t>(docid) * 0x9E3779B97F4A7C15ULL;
  return static_cast<std::uint32_t>(mixed >> (64 - std::countr_zero(place_count)));
}

}  // namespace foreshore
