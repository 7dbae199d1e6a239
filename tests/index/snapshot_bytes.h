// The bytes of a snapshot, for tests that damage them.
#pragma once

#include <algorithm>
#include <cstdint>

#include "foreshore/bytes.h"
#include "index/hnsw_layout.h"
#include "storage/base/checksum.h"
#include "storage/base/coding.h"

namespace foreshore {

inline HnswCounts CountsOf(Bytes snapshot) {
  HnswCounts counts;
  counts.nodes = LoadFixed<std::uint32_t>(snapshot.data() + 32);
  counts.upper_rows = LoadFixed<std::uint32_t>(snapshot.data() + 56);
  counts.places = LoadFixed<std::uint32_t>(snapshot.data() + 60);
  return counts;
}

template <typename Value>
void Overwrite(ByteString& bytes, std::size_t offset, Value value) {
  ByteString piece;
  AppendFixed(piece, value);
  bytes.replace(offset, piece.size(), piece);
}

// Makes every checksum of a damaged snapshot right again, so that the checks behind them are met.
inline void RepairSnapshotSums(ByteString& bytes, const HnswGraphConfig& config, VectorPrecision precision) {
  if (bytes.size() < kHnswHeaderBytes) return;
  const HnswLayout layout(config, precision, CountsOf(bytes));
  if (layout.file_bytes() == bytes.size()) {
    for (int i = 0; i < kHnswAreaCount; ++i) {
      const HnswLayout::Area& area = layout[static_cast<HnswArea>(i)];
      for (std::uint64_t group = 0; group < area.group_count(); ++group) {
        const std::uint64_t first = group << area.group_shift;
        const std::uint64_t end = std::min(area.row_count, (group + 1) << area.group_shift);
        const Bytes rows = Bytes(bytes).substr(area.offset + first * area.row_bytes, (end - first) * area.row_bytes);
        Overwrite(bytes, layout.sums_offset() + 4 * (area.first_group + group), Crc32c(rows));
      }
    }
    Overwrite(bytes, 64, Crc32c(Bytes(bytes).substr(layout.sums_offset(), 4 * layout.sum_count())));
  }
  Overwrite(bytes, 68, Crc32c(Bytes(bytes).substr(0, 68)));
}

inline constexpr std::size_t kDeltaHeaderBytes = 32;
inline constexpr std::size_t kDeltaRecordHeaderBytes = 48;

// The same of a delta's header and of the one record behind it.
inline void RepairDeltaSums(ByteString& bytes) {
  if (bytes.size() >= kDeltaHeaderBytes) Overwrite(bytes, 28, Crc32c(Bytes(bytes).substr(0, 28)));
  if (bytes.size() < kDeltaHeaderBytes + kDeltaRecordHeaderBytes) return;
  Overwrite(bytes, kDeltaHeaderBytes + 40, Crc32c(Bytes(bytes).substr(kDeltaHeaderBytes + kDeltaRecordHeaderBytes)));
  Overwrite(bytes, kDeltaHeaderBytes + 44, Crc32c(Bytes(bytes).substr(kDeltaHeaderBytes, 44)));
}

}  // namespace foreshore
