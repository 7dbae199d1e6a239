// The HNSW index on disk, so that opening a database builds no graph: a snapshot that is searched where it lies
// (index/hnsw_layout.h), and behind it a delta file with what changed since (index/hnsw_delta.h).
//
// Threads: free functions; the caller holds what they read still.
#pragma once

#include <cstdint>
#include <memory>
#include <optional>
#include <string>

#include "foreshore/bytes.h"
#include "foreshore/status.h"
#include "index/fine_codes.h"
#include "index/hnsw_entries.h"
#include "index/hnsw_graph.h"
#include "index/hnsw_image.h"

namespace foreshore {

struct HnswSnapshot {
  std::shared_ptr<HnswImage> image;  // What the others borrow from; none where the index began empty.
  std::unique_ptr<HnswGraph> graph;
  HnswEntries entries;                  // As many as the graph has nodes.
  std::optional<FineCodes> fine_codes;  // With VectorPrecision::kInt16, the same.
  std::uint64_t applied_seq = 0;
};

// How far the files of an index go.
struct HnswSaved {
  std::uint64_t generation = 0;
  std::uint64_t snapshot_bytes = 0;
  std::uint64_t delta_bytes = 0;  // 0: there is no delta yet.
  std::uint32_t node_count = 0;
  bool is_torn = false;  // Behind delta_bytes stands what no record may follow.
};

// What a snapshot is written from.
struct HnswContent {
  const HnswGraph& graph;
  const HnswEntries& entries;
  const FineCodes* fine_codes = nullptr;
  std::uint64_t applied_seq = 0;
  bool may_lie_in_files = false;  // Rows of graph and fine codes, of which a fault reads one page.
};

// Writes everything to `path`: a temporary file beside it, synced, then renamed over it. What died is written as dead,
// and is seen by nobody who reads it.
Result<HnswSaved> WriteHnswSnapshot(const std::string& path, const HnswContent& content);

// An index over the image: our own graph where it lies, hnswlib's from a copy.
Result<HnswSnapshot> SnapshotOf(VectorPrecision precision, std::shared_ptr<HnswImage> image);

}  // namespace foreshore
