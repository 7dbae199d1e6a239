// The bytes of a snapshot, for tests that damage them.
#pragma once

#include <cstdint>

#include "foreshore/bytes.h"
#include "index/hnsw_layout.h"
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

}  // namespace foreshore
