// How an HnswIndex comes from its files and goes back to them.
#include <algorithm>
#include <cassert>
#include <exception>
#include <utility>

#include "index/hnsw_index.h"
#include "storage/base/file.h"

namespace foreshore {
namespace {

// A delta grows up to VectorDeltaMax, then all is written anew: so each byte is written a few times over the life of an
// index, and what an open replays stays small.
constexpr std::uint64_t kSmallSnapshotBytes = 64 << 10;  // Not worth a second file.

// Where there is no room to write, each commit would write all that fits. So many nodes more, or such a part, are
// waited for.
constexpr std::uint32_t kNodesBetweenTries = 1024;
constexpr std::uint32_t kNodesBetweenTriesFraction = 16;

}  // namespace

Result<std::unique_ptr<VectorIndex>> LoadHnswIndex(VectorIndexConfig config, const std::string& path) {
  FORESHORE_ASSIGN_OR_RETURN(const HnswGraphConfig graph_config, GraphConfigOf(config));
  FORESHORE_ASSIGN_OR_RETURN(auto image, HnswImage::Map(config.name, graph_config, config.precision, path));
  image->Advise(config.memory_bytes_max);
  FORESHORE_ASSIGN_OR_RETURN(HnswSnapshot snapshot, SnapshotOf(config.precision, std::move(image)));
  FORESHORE_ASSIGN_OR_RETURN(const HnswSaved saved, ReplayHnswDelta(config.name, path, snapshot));
  return std::unique_ptr<VectorIndex>(std::make_unique<HnswIndex>(std::move(config), std::move(snapshot), saved, path));
}

std::vector<std::string> HnswFiles(const std::string& path) {
  return {path, HnswDeltaPath(path)};
}

Status RemoveHnswFiles(const std::string& path) {
  bool has_removed = false;
  for (const std::string& file : HnswFiles(path)) {
    if (!FileExists(file)) continue;
    FORESHORE_RETURN_IF_ERROR(RemoveFile(file));
    has_removed = true;
  }
  return has_removed ? SyncDirectory(path.substr(0, path.rfind('/'))) : Status::Ok();
}

Status HnswIndex::CheckMapped() const {
  const std::shared_ptr<State> now = state();
  return now->image ? now->image->CheckAll() : Status::Ok();
}

bool HnswIndex::CanAppendLocked(const std::string& path, VectorDeltaMax delta_max) const {
  const std::shared_ptr<State> now = state();
  if (path != saved_path_ || saved_.is_torn || !now->graph->knows_changes() || !FileExists(path)) return false;
  if (saved_.snapshot_bytes < kSmallSnapshotBytes) return false;
  const std::uint64_t node_bytes = saved_.snapshot_bytes / std::max(1U, saved_.node_count);
  const std::uint64_t delta_bytes =
      saved_.delta_bytes + (now->graph->node_count() - saved_.node_count) * node_bytes * 2;
  return delta_bytes <= saved_.snapshot_bytes / static_cast<std::uint64_t>(delta_max);
}

bool HnswIndex::IsSaved(const std::string& path, VectorDeltaMax delta_max) const {
  const std::lock_guard lock(write_mutex_);
  if (path != saved_path_ || saved_.is_torn || saved_seq_ != applied_seq_ || !FileExists(path)) return false;
  if (saved_.node_count != state()->graph->node_count() || !unsaved_deaths_.empty()) return false;
  return saved_.snapshot_bytes < kSmallSnapshotBytes ||
         saved_.delta_bytes <= saved_.snapshot_bytes / static_cast<std::uint64_t>(delta_max);
}

// Over the file, every reader sees what lives now: nobody may be behind. That brings down what is searched, and nothing
// of what a compaction keeps beside it, which therefore counts for half of the budget at most: else each save would
// call for the next. And so would a bound that what stays in memory passes by itself (all of hnswlib's graph): a save
// brings down half of the bound at least. A graph that a compaction made in unnamed files takes little memory, and is
// written once, so that they go.
bool HnswIndex::WantsToMapLocked() const {
  if (config_.memory_bytes_max == 0 || forgotten_seq_ < applied_seq_) return false;
  const HnswGraph& graph = *state()->graph;
  if (graph.node_count() < map_again_from_) return false;
  if (graph.config().is_all_scratch) return true;
  const std::uint64_t half = config_.memory_bytes_max / 2;
  const std::uint64_t bytes = MemoryBytesLocked();
  if (bytes + std::min(CompactionBytesLocked(), half) <= config_.memory_bytes_max) return false;
  return bytes > graph.reopened_bytes() + half;
}

bool HnswIndex::ShouldSave() const {
  const std::lock_guard lock(write_mutex_);
  return WantsToMapLocked();
}

HnswContent HnswIndex::ContentOf(const State& state) const {
  return {*state.graph, state.entries, state.fine_codes ? &*state.fine_codes : nullptr, applied_seq_,
          state.may_lie_in_files()};
}

Status HnswIndex::SaveSnapshot(const std::string& path, VectorDeltaMax delta_max) {
  const std::lock_guard lock(write_mutex_);
  FORESHORE_RETURN_IF_ERROR(CheckUsable());
  const bool wants_to_map = WantsToMapLocked();
  try {
    if (wants_to_map) {
      const std::uint32_t node_count = state()->graph->node_count();
      map_again_from_ = node_count + std::max(kNodesBetweenTries, node_count / kNodesBetweenTriesFraction);
    }
    if (wants_to_map || !CanAppendLocked(path, delta_max)) {
      FORESHORE_RETURN_IF_ERROR(SaveAllLocked(path).WithContext(config_.name));
      if (wants_to_map) FORESHORE_RETURN_IF_ERROR(MapSavedLocked(path));
      map_again_from_ = 0;
      return Status::Ok();
    }
    const std::shared_ptr<State> now = state();
    std::sort(unsaved_deaths_.begin(), unsaved_deaths_.end());
    saved_.is_torn = true;  // Until it is known to be whole.
    FORESHORE_RETURN_IF_ERROR(
        AppendHnswDelta(path, ContentOf(*now), unsaved_deaths_, saved_).WithContext(config_.name));
    saved_.is_torn = false;
    saved_seq_ = applied_seq_;
    unsaved_deaths_.clear();
    now->graph->MarkSaved();
    return Status::Ok();
  } catch (const std::exception& exception) {
    return Status::Internal(config_.name + ": saving: " + exception.what());
  }
}

Status HnswIndex::SaveAllLocked(const std::string& path) {
  const std::shared_ptr<State> now = state();
  if (now->image) FORESHORE_RETURN_IF_ERROR(now->image->CheckAll());  // Damage must not come under new checksums.
  FORESHORE_ASSIGN_OR_RETURN(const HnswSaved saved, WriteHnswSnapshot(path, ContentOf(*now)));
  saved_path_ = path;
  saved_ = saved;
  saved_seq_ = applied_seq_;
  unsaved_deaths_.clear();
  now->graph->MarkSaved();
  RemoveFile(HnswDeltaPath(path)).IgnoreError();  // It belongs to the snapshot of before.
  return Status::Ok();
}

void HnswIndex::ForgetSavedLocked() {
  saved_path_.clear();
  saved_ = HnswSaved();
  unsaved_deaths_.clear();
  map_again_from_ = 0;
}

// Goes on over the file that was just written.
Status HnswIndex::MapSavedLocked(const std::string& path) {
  const std::shared_ptr<State> now = state();
  HnswGraphConfig graph_config = now->graph->config();
  graph_config.is_all_scratch = false;  // What comes now is what the budget is for.
  FORESHORE_ASSIGN_OR_RETURN(auto image, HnswImage::Map(config_.name, graph_config, config_.precision, path));
  image->Advise(config_.memory_bytes_max);
  FORESHORE_ASSIGN_OR_RETURN(HnswSnapshot snapshot, SnapshotOf(config_.precision, std::move(image)));
  const std::shared_ptr<State> before = state();
  AdoptLocked(StateOf(std::move(snapshot)));
  FollowRemapLocked(*before);
  return Status::Ok();
}

}  // namespace foreshore
