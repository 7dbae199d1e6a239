#include "index/hnsw_snapshot.h"

#include <unistd.h>

#include <atomic>
#include <exception>
#include <functional>
#include <random>
#include <vector>

#include "index/hnsw_layout.h"
#include "index/page_ahead.h"
#include "index/vector_code.h"
#include "storage/base/checksum.h"
#include "storage/base/coding.h"
#include "storage/base/file.h"

namespace foreshore {
namespace {

constexpr std::size_t kChunkBytes = 1 << 20;

VectorPrecision PrecisionOf(const HnswContent& content) {
  if (content.fine_codes != nullptr) return VectorPrecision::kInt16;
  const std::optional<SmallCodeConfig>& small_codes = content.graph.config().small_codes;
  if (!small_codes) return VectorPrecision::kInt8;
  return small_codes->bits == 4 ? VectorPrecision::kInt4 : VectorPrecision::kInt1;
}

std::uint8_t FlagsOf(const HnswContent& content) {
  std::uint8_t flags = content.graph.knows_parents() ? kHnswFlagParents : 0;
  switch (PrecisionOf(content)) {
    case VectorPrecision::kInt16: flags |= kHnswFlagFine; break;
    case VectorPrecision::kInt4: flags |= kHnswFlagFourBits; break;
    case VectorPrecision::kInt1: flags |= kHnswFlagOneBit; break;
    case VectorPrecision::kInt8: break;
  }
  const std::optional<SmallCodeConfig>& small_codes = content.graph.config().small_codes;
  if (small_codes && !small_codes->mean.empty()) flags |= kHnswFlagMean;
  return flags;
}

// Writes one snapshot. The rows of an area are made twice: for their sums, which come before them, and to be written.
class SnapshotWriter {
 public:
  explicit SnapshotWriter(const HnswContent& content) : content_(content), config_(content.graph.config()) {}

  Status WriteTo(const std::string& path) {
    Survey();
    layout_ = HnswLayout(config_, PrecisionOf(content_), counts_);
    for (int area = 0; area < kHnswAreaCount; ++area) Sum(static_cast<HnswArea>(area));
    FORESHORE_ASSIGN_OR_RETURN(file_, File::Create(path));
    buffer_ = EncodeHeader();
    for (int area = 0; area < kHnswAreaCount; ++area) {
      if (area == kBaseLinkArea) {
        PadTo(layout_.sums_offset());
        buffer_.append(sums_);
      }
      FORESHORE_RETURN_IF_ERROR(WriteArea(static_cast<HnswArea>(area)));
    }
    FORESHORE_RETURN_IF_ERROR(Flush());
    FORESHORE_RETURN_IF_ERROR(file_->Sync());
    return file_->Close();
  }
  HnswSaved saved() const { return {generation_, layout_.file_bytes(), 0, counts_.nodes, false}; }

 private:
  void Survey() {
    counts_.nodes = content_.graph.node_count();
    std::uint64_t live_count = 0;
    dead_words_.assign((std::size_t{counts_.nodes} + 63) / 64, 0);
    for (std::uint32_t slot = 0; slot < counts_.nodes; ++slot) {
      upper_first_.push_back(counts_.upper_rows);
      counts_.upper_rows += static_cast<std::uint32_t>(content_.graph.level(slot));
      if (content_.entries[slot].is_live()) {
        ++live_count;
      } else {
        dead_words_[slot / 64] |= std::uint64_t{1} << (slot % 64);
      }
    }
    counts_.places = HnswLayout::PlaceCount(live_count);
    places_.assign(counts_.places, kNoSlot);
    for (std::uint32_t slot = 0; slot < counts_.nodes; ++slot) {
      if (!content_.entries[slot].is_live()) continue;
      std::uint32_t place = HnswLayout::FirstPlace(content_.entries[slot].docid, counts_.places);
      while (places_[place] != kNoSlot) place = (place + 1) & (counts_.places - 1);
      places_[place] = slot;
    }
    for (std::uint32_t slot = 0; slot < counts_.nodes; ++slot) {
      for (int level = 1; level <= content_.graph.level(slot); ++level) upper_rows_.emplace_back(slot, level);
    }
    std::random_device device;
    generation_ = (std::uint64_t{device()} << 32) | device();
  }

  void Reach(const void* row, std::size_t row_bytes) {
    if (content_.may_lie_in_files) ahead_.Reach(row, row_bytes);
  }

  void AppendBytes(const char* row, std::size_t row_bytes) {
    Reach(row, row_bytes);
    buffer_.append(AsBytes(row, row_bytes));
  }

  void AppendLinks(std::uint32_t slot, int level, std::size_t row_bytes) {
    const std::size_t end = buffer_.size() + row_bytes;
    const std::span<const std::uint32_t> links = content_.graph.links(slot, level);
    Reach(links.data(), row_bytes);
    for (const std::uint32_t link : links) AppendFixed(buffer_, link);
    for (std::size_t i = links.size(); i < content_.graph.links_max(level); ++i) AppendFixed(buffer_, kNoSlot);
    buffer_.resize(end, '\0');
  }

  void AppendRow(HnswArea area, std::uint32_t row) {
    const std::size_t row_bytes = layout_[area].row_bytes;
    switch (area) {
      case kNodeArea: {
        HnswNode node = content_.graph.node(row);
        node.upper_first = upper_first_[row];
        buffer_.append(AsBytes(&node, sizeof(node)));
        return;
      }
      case kDocidArea: AppendFixed(buffer_, content_.entries[row].docid); return;
      case kDeadArea: AppendFixed(buffer_, dead_words_[row]); return;
      case kPlaceArea: AppendFixed(buffer_, places_[row]); return;
      case kUpperLinkArea: AppendLinks(upper_rows_[row].first, upper_rows_[row].second, row_bytes); return;
      case kBaseLinkArea: AppendLinks(row, 0, row_bytes); return;
      case kCodeArea: return AppendBytes(content_.graph.code(row), row_bytes);
      case kFineCodeArea: return AppendBytes(content_.fine_codes->row(row), row_bytes);
      case kSmallConfigArea: buffer_.append(config_.small_codes->Encode(config_.dimension)); return;
      case kSmallCodeArea: return AppendBytes(content_.graph.walked_row(row), row_bytes);
      case kHnswAreaCount: return;
    }
  }

  void Sum(HnswArea area) {
    const HnswLayout::Area& where = layout_[area];
    for (std::uint64_t group = 0; group < where.group_count(); ++group) {
      buffer_.clear();
      const std::uint64_t end = std::min(where.row_count, (group + 1) << where.group_shift);
      for (std::uint64_t row = group << where.group_shift; row < end; ++row) {
        AppendRow(area, static_cast<std::uint32_t>(row));
      }
      AppendFixed<std::uint32_t>(sums_, Crc32c(buffer_));
    }
  }

  ByteString EncodeHeader() const {
    ByteString header("FSVINDEX");
    AppendFixed<std::uint32_t>(header, kHnswSnapshotVersion);
    AppendFixed<std::uint8_t>(header, static_cast<std::uint8_t>(config_.metric));
    AppendFixed(header, FlagsOf(content_));
    AppendFixed<std::uint16_t>(header, static_cast<std::uint16_t>(config_.dimension));
    AppendFixed<std::uint32_t>(header, config_.links_per_node);
    AppendFixed<std::uint32_t>(header, config_.ef_construction);
    AppendFixed<std::uint64_t>(header, content_.applied_seq);
    AppendFixed<std::uint32_t>(header, counts_.nodes);
    AppendFixed<std::uint32_t>(header, content_.graph.entry_point());
    AppendFixed<std::uint64_t>(header, layout_.file_bytes());
    AppendFixed<std::uint64_t>(header, generation_);
    AppendFixed<std::uint32_t>(header, counts_.upper_rows);
    AppendFixed<std::uint32_t>(header, counts_.places);
    AppendFixed<std::uint32_t>(header, Crc32c(sums_));
    AppendFixed<std::uint32_t>(header, Crc32c(header));
    header.resize(kHnswHeaderBytes, '\0');
    return header;
  }

  Status WriteArea(HnswArea area) {
    if (layout_[area].row_count == 0) return Status::Ok();
    PadTo(layout_[area].offset);
    for (std::uint64_t row = 0; row < layout_[area].row_count; ++row) {
      AppendRow(area, static_cast<std::uint32_t>(row));
      if (buffer_.size() >= kChunkBytes) FORESHORE_RETURN_IF_ERROR(Flush());
    }
    return Status::Ok();
  }

  void PadTo(std::uint64_t offset) { buffer_.resize(offset - written_bytes_, '\0'); }

  Status Flush() {
    FORESHORE_RETURN_IF_ERROR(file_->Append(buffer_));
    written_bytes_ += buffer_.size();
    buffer_.clear();
    return Status::Ok();
  }

  const HnswContent& content_;
  const HnswGraphConfig& config_;
  HnswCounts counts_;
  HnswLayout layout_;
  std::uint64_t generation_ = 0;
  std::vector<std::uint32_t> upper_first_;                 // By slot.
  std::vector<std::pair<std::uint32_t, int>> upper_rows_;  // Slot and level, by upper row.
  std::vector<std::uint64_t> dead_words_;
  std::vector<std::uint32_t> places_;
  ByteString sums_;
  ByteString buffer_;
  std::uint64_t written_bytes_ = 0;
  PagesInOrder ahead_;  // Of the area that is passed over.
  std::unique_ptr<File> file_;
};

Status RestoreFrom(const HnswImage& image, HnswGraph& graph) {
  FORESHORE_RETURN_IF_ERROR(image.CheckAll());
  const HnswLayout& layout = image.layout();
  for (std::uint32_t slot = 0; slot < image.node_count(); ++slot) {
    const char* code = image.rows(kCodeArea) + slot * layout[kCodeArea].row_bytes;
    FORESHORE_RETURN_IF_ERROR(graph.RestoreNode(code, image.nodes()[slot].level, kNoSlot));
  }
  for (std::uint32_t slot = 0; slot < image.node_count(); ++slot) {
    for (int level = 0; level <= image.nodes()[slot].level; ++level) {
      const std::uint64_t row =
          level == 0 ? slot : image.nodes()[slot].upper_first + static_cast<std::uint32_t>(level) - 1;
      const HnswArea area = level == 0 ? kBaseLinkArea : kUpperLinkArea;
      const auto* links = reinterpret_cast<const std::uint32_t*>(image.rows(area) + row * layout[area].row_bytes);
      const auto* end = std::find(links, links + graph.links_max(level), kNoSlot);
      graph.RestoreLinks(slot, level, {links, end});
    }
  }
  if (image.node_count() > 0) graph.RestoreEntryPoint(image.entry_point(), false);
  return Status::Ok();
}

}  // namespace

Result<HnswSaved> WriteHnswSnapshot(const std::string& path, const HnswContent& content) {
  static std::atomic<unsigned> counter{0};  // Two writers of one path must not share a temporary.
  const std::string temporary =
      path + ".tmp-" + std::to_string(::getpid()) + "-" + std::to_string(counter.fetch_add(1));
  SnapshotWriter writer(content);
  Status written = writer.WriteTo(temporary);
  if (written.ok()) written = RenameDurably(temporary, path);
  if (!written.ok()) {
    RemoveFile(temporary).IgnoreError();
    return written;
  }
  return writer.saved();
}

Result<HnswSnapshot> SnapshotOf(VectorPrecision precision, std::shared_ptr<HnswImage> image) {
  const HnswGraphConfig config = image->config();
  try {
    HnswSnapshot snapshot;
    if (config.kind == VectorGraphKind::kFlat) {
      FORESHORE_ASSIGN_OR_RETURN(snapshot.graph, CreateFlatGraph(config, image));
    } else {
      FORESHORE_ASSIGN_OR_RETURN(snapshot.graph, HnswGraph::Create(config, image->node_count()));
      FORESHORE_RETURN_IF_ERROR(RestoreFrom(*image, *snapshot.graph));
    }
    snapshot.entries.Borrow(image->docids(), image->dead_words(), image->node_count(), image->applied_seq());
    if (precision == VectorPrecision::kInt16) {
      snapshot.fine_codes.emplace(config.dimension, config.scratch_folder);
      snapshot.fine_codes->Borrow(image->rows(kFineCodeArea), image->node_count());
    }
    snapshot.applied_seq = image->applied_seq();
    snapshot.image = std::move(image);
    return snapshot;
  } catch (const std::exception& exception) {
    return GraphFailure("opening a snapshot", exception);
  }
}

}  // namespace foreshore
