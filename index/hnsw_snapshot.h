// The HNSW index as a file, so that opening a database builds no graph.
//
//   Vector index snapshot, little-endian         code: index/hnsw_snapshot.cc
//     OFFSET SIZE FIELD
//          0    8 magic "FSVINDEX"
//          8    4 version = 1
//         12    1 metric: 0 cosine, 1 dot, 2 l2
//         13    1 flags: 1 with fine codes, else 0
//         14    2 dimension, 2..4096
//         16    4 links_per_node (M), 4..64
//         20    4 ef_construction, 8..4096
//         24    8 applied_seq: the last change-log sequence that is fully in here
//         32    4 node_count, at most 2^31 - 16, and no more than the file can hold
//         36    4 entry_point: a slot below node_count; 0xFFFFFFFF where node_count is 0
//         40    8 file_bytes: size of the whole file
//         48    4 reserved = 0
//         52    4 crc32c of bytes 0..51
//         56    n levels: one byte per node, 0..63; the entry point's is the greatest
//               then per node, in order of slots:
//            8    docid
//            8    born, the sequence from which the entry is visible
//            8    died, the sequence from which it no longer is, at least born; 2^64 - 1 while it lives
//            4    scale, float, as in the vector record
//            d    codes, d = dimension, int8 in -127..127
//            d    fine codes (index/quantizer.h) with flag 1, the same
//               then per level 0..level of the node:
//            2    link_count: at most 2 * M on level 0, M above
//          4 * c  links: slots below node_count, not the node itself, whose level reaches this one
//      end-4    4 crc32c of bytes 56..end-5
//   At most one entry of a docid has died = 2^64 - 1.
//   Reader: an unknown version or flag is kUnsupported; any other mismatch is kCorruption. The checksums are checked
//   before anything is believed, and everything is checked all the same before it is used.
//
// Threads: free functions; the caller holds what they read still.
#pragma once

#include <cstdint>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include "foreshore/bytes.h"
#include "foreshore/status.h"
#include "index/fine_codes.h"
#include "index/hnsw_graph.h"
#include "index/segmented_rows.h"

namespace foreshore {

inline constexpr std::uint64_t kNeverDied = UINT64_MAX;

// What the index knows of a slot beside its code.
struct HnswEntry {
  std::int64_t docid = 0;
  std::uint64_t born = 0;
  std::uint64_t died = kNeverDied;  // The one field that changes, while searches read it.
  std::uint64_t LoadDied() const { return __atomic_load_n(&died, __ATOMIC_ACQUIRE); }
  void StoreDied(std::uint64_t sequence) { __atomic_store_n(&died, sequence, __ATOMIC_RELEASE); }
  bool VisibleAt(std::uint64_t sequence) const { return born <= sequence && sequence < LoadDied(); }
};
using HnswEntries = SegmentedArray<HnswEntry>;  // By slot.

struct HnswSnapshot {
  std::unique_ptr<HnswGraph> graph;
  HnswEntries entries;                  // As many as the graph has nodes.
  std::optional<FineCodes> fine_codes;  // With VectorPrecision::kInt16, the same.
  std::uint64_t applied_seq = 0;
};

// Writes graph and entries to `path`: a temporary file beside it, synced, then renamed over it.
Status WriteHnswSnapshot(const std::string& path, const HnswGraph& graph, const HnswEntries& entries,
                         const FineCodes* fine_codes, std::uint64_t applied_seq);

// Reads a snapshot whose configuration must be `config` and `precision`. `name` opens every message. kNotFound where
// there is no file.
Result<HnswSnapshot> ReadHnswSnapshot(const std::string& name, const HnswGraphConfig& config, VectorPrecision precision,
                                      const std::string& path);
// The same from bytes.
Result<HnswSnapshot> DecodeHnswSnapshot(const std::string& name, const HnswGraphConfig& config,
                                        VectorPrecision precision, Bytes bytes);

}  // namespace foreshore
