// Where everything lies in a snapshot of a vector index, so that it can be searched as it lies there.
//
//   Vector index snapshot, little-endian         code: index/hnsw_image.cc reads, index/hnsw_snapshot.cc writes
//     OFFSET SIZE FIELD
//          0    8 magic "FSVINDEX"
//          8    4 version = 2
//         12    1 metric: 0 cosine, 1 dot, 2 l2
//         13    1 flags: 1 with fine codes, 2 where nodes name their parents, 4 or 8 with small codes of 4 bits or of
//                 1 bit (index/small_code.h), 16 where these have a mean
//         14    2 dimension, 2..4096
//         16    4 links_per_node (M), 4..64
//         20    4 ef_construction, 8..4096
//         24    8 applied_seq: the last change-log sequence that is fully in here
//         32    4 node_count, at most 2^31 - 16
//         36    4 entry_point: a slot below node_count; 0xFFFFFFFF where node_count is 0
//         40    8 file_bytes: size of the whole file
//         48    8 generation: a number that tells this file from every other, for deltas (index/hnsw_delta.h)
//         56    4 upper_row_count: the sum of all levels
//         60    4 place_count: 0, or a power of two greater than the count of what lives
//         64    4 crc32c of the area of sums
//         68    4 crc32c of bytes 0..67
//         72   56 zeros
//   then the areas, in this order, each beginning at a multiple of 64, with zeros before it:
//     nodes        12 each: parent (a lower slot, or 0xFFFFFFFF: none or unknown), first upper row (4; the sum of the
//     levels before),
//                  level (1, 0..63; the entry point's is the greatest), count of children (1), 1 (1), 0 (1)
//     docids        8 each, by slot
//     dead          8 for 64 slots: bit i of word w is set where slot 64 w + i no longer lives
//     places        4 each: a table of the slots that live, by docid; 0xFFFFFFFF where empty. A docid is looked for
//                  from the place that (docid * 0x9E3779B97F4A7C15 mod 2^64) >> (64 - log2(place_count)) names
//                  onwards, round the end, to the first empty one
//     upper links   4 M each: links of a node on level 1, 2 …, then 0xFFFFFFFF
//     small config  with small codes, one row: what all of them have in common
//     sums          crc32c of each group of rows, of every other area in turn
//     base links    8 M each, padded to a multiple of 64: links on level 0, then 0xFFFFFFFF, then zeros
//     codes         as index/vector_code.h lays them out
//     fine codes    with flag 1: as index/fine_codes.h lays them out
//     small codes   with flag 4 or 8: as index/small_code.h lays them out
//   A group is as many rows, a power of two, as 16 KiB hold, at least one. Links are slots below node_count, not the
//   node itself, whose level reaches theirs.
//   Reader: an unknown version or flag is kUnsupported; any other mismatch is kCorruption. Base links, codes and fine
//   codes are checked when they are first relied on, everything else at once but small codes, which no result is told
//   by.
//
// Threads: values.
#pragma once

#include <array>
#include <cstdint>

#include "index/hnsw_graph.h"
#include "index/vector_index.h"

namespace foreshore {

inline constexpr std::size_t kHnswHeaderBytes = 128;
inline constexpr std::uint32_t kHnswSnapshotVersion = 2;
inline constexpr std::uint8_t kHnswFlagFine = 1;
inline constexpr std::uint8_t kHnswFlagParents = 2;
inline constexpr std::uint8_t kHnswFlagFourBits = 4;
inline constexpr std::uint8_t kHnswFlagOneBit = 8;
inline constexpr std::uint8_t kHnswFlagMean = 16;
inline constexpr std::uint8_t kHnswFlagsMax = 31;

enum HnswArea : std::uint8_t {
  kNodeArea,
  kDocidArea,
  kDeadArea,
  kPlaceArea,
  kUpperLinkArea,
  kSmallConfigArea,
  kBaseLinkArea,
  kCodeArea,
  kFineCodeArea,
  kSmallCodeArea,
  kHnswAreaCount,
};

struct HnswCounts {
  std::uint32_t nodes = 0;
  std::uint32_t upper_rows = 0;
  std::uint32_t places = 0;
};

class HnswLayout {
 public:
  struct Area {
    std::uint64_t offset = 0;
    std::uint64_t row_bytes = 0;
    std::uint64_t row_count = 0;
    unsigned group_shift = 0;       // A group is 2^group_shift rows.
    std::uint64_t first_group = 0;  // Its place among the sums.
    std::uint64_t group_count() const { return (row_count + (1ULL << group_shift) - 1) >> group_shift; }
    std::uint64_t bytes() const { return row_bytes * row_count; }
  };

  HnswLayout() = default;
  // Of small codes, their mean counts by its size alone.
  HnswLayout(const HnswGraphConfig& config, VectorPrecision precision, const HnswCounts& counts);

  const Area& operator[](HnswArea area) const { return areas_[area]; }
  std::uint64_t sums_offset() const { return sums_offset_; }
  std::uint64_t sum_count() const { return sum_count_; }
  std::uint64_t file_bytes() const { return file_bytes_; }

  // How many of so many places there are for the slots that live.
  static std::uint32_t PlaceCount(std::uint64_t live_count);
  // Where the search for a docid begins. `place_count` is not 0.
  static std::uint32_t FirstPlace(std::int64_t docid, std::uint32_t place_count);

 private:
  std::array<Area, kHnswAreaCount> areas_;
  std::uint64_t sums_offset_ = 0;
  std::uint64_t sum_count_ = 0;
  std::uint64_t file_bytes_ = 0;
};

}  // namespace foreshore
