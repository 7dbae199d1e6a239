// A snapshot of a vector index (index/hnsw_layout.h) that is used where it lies: mapped from its file, or a copy.
//
// It is there twice: as it was written, for checking, and as memory that its user may change; the second begins equal
// to the first and costs memory only where it is changed. A checksum stands over every group of rows. Header, nodes,
// docids, places and upper links are checked when the image is opened. Base links, codes and fine codes are checked
// group by group, when somebody first relies on them: CheckLinks() before a row of links is changed or taken as a
// whole, CheckCodes() before a distance is told to anyone. Walks may read both unchecked, as long as they look whether
// a link is a slot: what they are led astray to is checked before it is told.
//
// Threads: the checks are safe from any thread.
#pragma once

#include <algorithm>
#include <atomic>
#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "foreshore/bytes.h"
#include "foreshore/status.h"
#include "index/hnsw_graph.h"
#include "index/hnsw_layout.h"
#include "index/page_ahead.h"
#include "index/vector_code.h"
#include "storage/base/file.h"

namespace foreshore {

class HnswImage {
 public:
  // Maps `path`, whose configuration must be `config` and `precision`. `name` opens every message. kNotFound where
  // there is no file.
  static Result<std::shared_ptr<HnswImage>> Map(const std::string& name, const HnswGraphConfig& config,
                                                VectorPrecision precision, const std::string& path);
  // The same from a copy of bytes.
  static Result<std::shared_ptr<HnswImage>> Copy(const std::string& name, const HnswGraphConfig& config,
                                                 VectorPrecision precision, Bytes bytes);
  HnswImage(const HnswImage&) = delete;
  HnswImage& operator=(const HnswImage&) = delete;

  // What it was opened with, and the mean of its small codes.
  const HnswGraphConfig& config() const { return config_; }
  std::uint64_t applied_seq() const { return applied_seq_; }
  std::uint64_t generation() const { return generation_; }
  std::uint32_t node_count() const { return counts_.nodes; }
  std::uint32_t upper_row_count() const { return counts_.upper_rows; }
  std::uint32_t entry_point() const { return entry_point_; }
  bool knows_parents() const { return knows_parents_; }
  const HnswLayout& layout() const { return layout_; }

  // For use: rows that may be changed.
  char* rows(HnswArea area) const { return working_ + layout_[area].offset; }
  HnswNode* nodes() const { return reinterpret_cast<HnswNode*>(rows(kNodeArea)); }
  const std::int64_t* docids() const { return reinterpret_cast<const std::int64_t*>(rows(kDocidArea)); }
  const std::uint64_t* dead_words() const { return reinterpret_cast<const std::uint64_t*>(rows(kDeadArea)); }

  // Calls visit(slot) for each slot of `docid` that lived when the snapshot was written.
  template <typename Visit>
  void ForEachPlaced(std::int64_t docid, Visit visit) const;

  // kCorruption where the group of the slot's row is damaged. Slots from node_count() on are not of this image: Ok.
  Status CheckLinks(std::uint32_t slot) const { return CheckRow(kBaseLinkArea, slot); }
  Status CheckCodes(std::uint32_t slot) const {
    FORESHORE_RETURN_IF_ERROR(CheckRow(kCodeArea, slot));
    return layout_[kFineCodeArea].row_count == 0 ? Status::Ok() : CheckRow(kFineCodeArea, slot);
  }
  // All of what CheckLinks() and CheckCodes() check, and the small codes.
  Status CheckAll() const;
  bool is_damaged() const { return is_damaged_; }

  // Tells the system how walks will read within `memory_bytes_max` (0: no limit). A file that fits is read ahead; of a
  // larger one every fault reads its own page only: what lies around it would push out what is wanted.
  void Advise(std::uint64_t memory_bytes_max);
  // Whether the file is larger than the memory it may have, so that WantRow() is worth calling.
  bool exceeds_memory() const { return pages_ != nullptr; }
  std::uint64_t pages_asked() const { return pages_ ? pages_->asked_count() : 0; }
  // Asks for what CheckCodes() and a look at the slot's codes will read.
  void WantCodes(std::uint32_t slot) const {
    if (!pages_) return;
    for (const HnswArea area : {kCodeArea, kFineCodeArea}) {
      if (slot >= layout_[area].row_count) continue;
      if (IsChecked(area, GroupOf(area, slot))) {
        WantRow(area, slot);
      } else {
        WantGroup(area, GroupOf(area, slot));
      }
    }
  }
  // Asks for the row before it is touched. Rows that are not of this image are in memory.
  void WantRow(HnswArea area, std::uint32_t row) const {
    if (pages_ && row < layout_[area].row_count) {
      pages_->Want(working_ + layout_[area].offset + row * layout_[area].row_bytes, layout_[area].row_bytes);
    }
  }

 private:
  HnswImage(std::string name, const HnswGraphConfig& config, VectorPrecision precision)
      : name_(std::move(name)), config_(config), precision_(precision), space_(config.metric, config.dimension) {}
  static Result<std::shared_ptr<HnswImage>> Checked(std::shared_ptr<HnswImage> image);

  Status CheckHeader();
  Status CheckFlags(std::uint8_t flags);
  Status CheckSmallAreas();
  Status ReadSmallConfig();
  Status CheckNodes();
  Status CheckUpperLinks() const;
  Status CheckRow(HnswArea area, std::uint32_t row) const {
    if (row >= layout_[area].row_count) return Status::Ok();
    const std::uint64_t group = GroupOf(area, row);
    if (IsChecked(area, group)) return Status::Ok();
    WantGroup(area, group);
    return CheckGroup(area, group);
  }
  std::uint64_t GroupOf(HnswArea area, std::uint32_t row) const { return row >> layout_[area].group_shift; }
  bool IsChecked(HnswArea area, std::uint64_t group) const {
    return is_checked_[layout_[area].first_group + group].load(std::memory_order_acquire) != 0;
  }
  // The rows of the group as they were written.
  Bytes GroupBytes(HnswArea area, std::uint64_t group) const {
    const HnswLayout::Area& where = layout_[area];
    const std::uint64_t first = group << where.group_shift;
    const std::uint64_t end = std::min(where.row_count, (group + 1) << where.group_shift);
    return {pristine(area, first), (end - first) * where.row_bytes};
  }
  // A check reads the whole group: its pages come side by side.
  void WantGroup(HnswArea area, std::uint64_t group) const {
    if (!pages_) return;
    const Bytes rows = GroupBytes(area, group);
    pages_->Want(working_ + (rows.data() - bytes_.data()), rows.size());
  }
  Status CheckGroup(HnswArea area, std::uint64_t group) const;
  Status CheckContent(HnswArea area, std::uint32_t row) const;
  Status CheckLinkRow(std::uint32_t slot, int level, const char* row, std::uint32_t links_max) const;
  const char* pristine(HnswArea area, std::uint64_t row) const {
    return bytes_.data() + layout_[area].offset + row * layout_[area].row_bytes;
  }
  const HnswNode& node(std::uint32_t slot) const {
    return *reinterpret_cast<const HnswNode*>(pristine(kNodeArea, slot));
  }
  Status Corrupt(const std::string& what) const;
  template <typename Found, typename Expected>
  Status CheckEqual(const char* field, Found found, Expected expected) const;

  const std::string name_;
  HnswGraphConfig config_;
  const VectorPrecision precision_;
  const CodeSpace space_;
  std::optional<SmallCodeSpace> small_space_;

  std::unique_ptr<OverlaidFile> file_;  // Or:
  struct FreeAligned {
    void operator()(char* bytes) const { ::operator delete (bytes, std::align_val_t{64}); }
  };
  std::unique_ptr<char, FreeAligned> copies_[2];

  Bytes bytes_;
  char* working_ = nullptr;
  HnswLayout layout_;
  HnswCounts counts_;
  std::uint64_t applied_seq_ = 0;
  std::uint64_t generation_ = 0;
  std::uint32_t entry_point_ = kNoSlot;
  bool knows_parents_ = false;
  std::unique_ptr<std::atomic<std::uint8_t>[]> is_checked_;  // By sum.
  std::unique_ptr<PageAhead> pages_;                         // Of working_; where the file exceeds its memory.
  mutable std::atomic<bool> is_damaged_{false};
};

// kCorruption unless the row is one that PackVectorCode() can have written.
Status CheckVectorCodeRow(const CodeSpace& space, const char* row);

template <typename Visit>
void HnswImage::ForEachPlaced(std::int64_t docid, Visit visit) const {
  if (counts_.places == 0) return;
  const auto* places = reinterpret_cast<const std::uint32_t*>(rows(kPlaceArea));
  std::uint32_t place = HnswLayout::FirstPlace(docid, counts_.places);
  for (std::uint32_t i = 0; i < counts_.places; ++i, place = (place + 1) & (counts_.places - 1)) {
    const std::uint32_t slot = places[place];
    if (slot == kNoSlot) return;
    if (docids()[slot] == docid) visit(slot);
  }
}

}  // namespace foreshore
