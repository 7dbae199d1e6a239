#include "index/hnsw_image.h"

#include <sys/mman.h>
#include <unistd.h>

#include <algorithm>
#include <bit>
#include <cstring>
#include <utility>

#include "index/fine_codes.h"
#include "index/quantizer.h"
#include "storage/base/checksum.h"
#include "storage/base/coding.h"

namespace foreshore {

Status HnswImage::Corrupt(const std::string& what) const {
  is_damaged_ = true;
  return Status::Corruption(name_ + ": snapshot of " + std::to_string(bytes_.size()) + " bytes: " + what);
}

template <typename Found, typename Expected>
Status HnswImage::CheckEqual(const char* field, Found found, Expected expected) const {
  if (found == static_cast<Found>(expected)) return Status::Ok();
  return Corrupt(std::string(field) + " is " + std::to_string(found) + ", expected " + std::to_string(expected));
}

Result<std::shared_ptr<HnswImage>> HnswImage::Map(const std::string& name, const HnswGraphConfig& config,
                                                  VectorPrecision precision, const std::string& path) {
  if (!FileExists(path)) return Status::NotFound(name + ": no snapshot at " + path);
  std::shared_ptr<HnswImage> image(new HnswImage(name, config, precision));
  FORESHORE_ASSIGN_OR_RETURN(image->file_, OverlaidFile::Open(path));
  image->bytes_ = image->file_->bytes();
  image->working_ = image->file_->overlay();
  return Checked(std::move(image));
}

Result<std::shared_ptr<HnswImage>> HnswImage::Copy(const std::string& name, const HnswGraphConfig& config,
                                                   VectorPrecision precision, Bytes bytes) {
  std::shared_ptr<HnswImage> image(new HnswImage(name, config, precision));
  for (auto& copy : image->copies_) {
    copy.reset(static_cast<char*>(::operator new (bytes.size() + 1, std::align_val_t{64})));
    std::memcpy(copy.get(), bytes.data(), bytes.size());
  }
  image->bytes_ = Bytes(image->copies_[0].get(), bytes.size());
  image->working_ = image->copies_[1].get();
  return Checked(std::move(image));
}

Result<std::shared_ptr<HnswImage>> HnswImage::Checked(std::shared_ptr<HnswImage> image) {
  FORESHORE_RETURN_IF_ERROR(image->CheckHeader());
  FORESHORE_RETURN_IF_ERROR(image->CheckSmallAreas());
  FORESHORE_RETURN_IF_ERROR(image->ReadSmallConfig());
  FORESHORE_RETURN_IF_ERROR(image->CheckNodes());
  FORESHORE_RETURN_IF_ERROR(image->CheckUpperLinks());
  return image;
}

Status HnswImage::CheckHeader() {
  if (bytes_.size() < kHnswHeaderBytes) return Corrupt("expected at least " + std::to_string(kHnswHeaderBytes));
  ByteReader reader(bytes_.substr(0, kHnswHeaderBytes));
  constexpr Bytes kMagic = "FSVINDEX";
  if (reader.Take(kMagic.size()) != kMagic) return Corrupt("expected the magic \"" + std::string(kMagic) + "\"");
  const auto version = reader.Fixed<std::uint32_t>();
  const auto metric = reader.Fixed<std::uint8_t>();
  const auto flags = reader.Fixed<std::uint8_t>();
  if (version != kHnswSnapshotVersion || flags > kHnswFlagsMax) {
    return Status::Unsupported(name_ + ": snapshot of version " + std::to_string(version) + " with flags " +
                               std::to_string(flags) + ", expected version 2 with flags 0..31");
  }
  const auto dimension = reader.Fixed<std::uint16_t>();
  const auto links_per_node = reader.Fixed<std::uint32_t>();
  const auto ef_construction = reader.Fixed<std::uint32_t>();
  applied_seq_ = reader.Fixed<std::uint64_t>();
  counts_.nodes = reader.Fixed<std::uint32_t>();
  entry_point_ = reader.Fixed<std::uint32_t>();
  const auto file_bytes = reader.Fixed<std::uint64_t>();
  generation_ = reader.Fixed<std::uint64_t>();
  counts_.upper_rows = reader.Fixed<std::uint32_t>();
  counts_.places = reader.Fixed<std::uint32_t>();
  const auto sums_crc = reader.Fixed<std::uint32_t>();
  const auto header_crc = reader.Fixed<std::uint32_t>();
  FORESHORE_RETURN_IF_ERROR(CheckEqual("header checksum", header_crc, Crc32c(bytes_.substr(0, 68))));
  for (const char byte : reader.Rest()) {
    FORESHORE_RETURN_IF_ERROR(CheckEqual("a reserved byte", static_cast<unsigned char>(byte), 0));
  }
  FORESHORE_RETURN_IF_ERROR(CheckFlags(flags));
  FORESHORE_RETURN_IF_ERROR(CheckEqual("metric", metric, static_cast<std::uint8_t>(config_.metric)));
  FORESHORE_RETURN_IF_ERROR(CheckEqual("dimension", dimension, config_.dimension));
  FORESHORE_RETURN_IF_ERROR(CheckEqual("links_per_node", links_per_node, config_.links_per_node));
  FORESHORE_RETURN_IF_ERROR(CheckEqual("ef_construction", ef_construction, config_.ef_construction));
  FORESHORE_RETURN_IF_ERROR(CheckEqual("file_bytes", file_bytes, bytes_.size()));
  if (counts_.nodes > kHnswNodeCountMax) {
    return Corrupt("node_count is " + std::to_string(counts_.nodes) + ", expected at most " +
                   std::to_string(kHnswNodeCountMax));
  }
  if (counts_.places != 0 && !std::has_single_bit(counts_.places)) {
    return Corrupt("place_count is " + std::to_string(counts_.places) + ", expected 0 or a power of two");
  }
  layout_ = HnswLayout(config_, precision_, counts_);  // No sum of it can pass 2^64.
  if (layout_.file_bytes() != bytes_.size()) {
    return Corrupt(std::to_string(counts_.nodes) + " nodes, " + std::to_string(counts_.upper_rows) +
                   " upper rows and " + std::to_string(counts_.places) + " places take " +
                   std::to_string(layout_.file_bytes()) + " bytes");
  }
  const Bytes sums = bytes_.substr(layout_.sums_offset(), 4 * layout_.sum_count());
  FORESHORE_RETURN_IF_ERROR(CheckEqual("checksum of the sums", sums_crc, Crc32c(sums)));
  is_checked_ = std::make_unique<std::atomic<std::uint8_t>[]>(layout_.sum_count());
  if (counts_.nodes == 0) return CheckEqual("entry_point", entry_point_, kNoSlot);
  if (entry_point_ < counts_.nodes) return Status::Ok();
  return Corrupt("entry_point is " + std::to_string(entry_point_) + " of " + std::to_string(counts_.nodes) + " nodes");
}

Status HnswImage::CheckFlags(std::uint8_t flags) {
  int bits = (flags & kHnswFlagFine) != 0 ? 16 : 8;
  if ((flags & kHnswFlagFourBits) != 0) bits = 4;
  if ((flags & kHnswFlagOneBit) != 0) bits = 1;
  FORESHORE_RETURN_IF_ERROR(CheckEqual("precision", bits, VectorPrecisionBits(precision_)));
  const int kind_count =
      std::popcount(static_cast<unsigned>(flags & (kHnswFlagFine | kHnswFlagFourBits | kHnswFlagOneBit)));
  const bool has_mean = (flags & kHnswFlagMean) != 0;
  if (kind_count > 1 || (has_mean && !config_.small_codes)) {
    return Corrupt("flags are " + std::to_string(flags) +
                   ", expected one precision, and a mean with small codes alone");
  }
  knows_parents_ = (flags & kHnswFlagParents) != 0;
  // As long as the one that is there: ReadSmallConfig().
  if (config_.small_codes) config_.small_codes->mean.assign(has_mean ? config_.dimension : 0, 0.0F);
  return Status::Ok();
}

Status HnswImage::ReadSmallConfig() {
  if (!config_.small_codes) return Status::Ok();
  const Bytes bytes(pristine(kSmallConfigArea, 0), layout_[kSmallConfigArea].row_bytes);
  Result<SmallCodeConfig> read = SmallCodeConfig::Decode(bytes, config_.metric, config_.dimension);
  if (!read.ok()) return Corrupt(read.status().message());
  FORESHORE_RETURN_IF_ERROR(CheckEqual("bits of small codes", read->bits, config_.small_codes->bits));
  config_.small_codes = std::move(read).value();
  small_space_.emplace(config_.metric, config_.dimension, *config_.small_codes);
  return Status::Ok();
}

Status HnswImage::CheckSmallAreas() {
  for (const HnswArea area : {kNodeArea, kDocidArea, kDeadArea, kPlaceArea, kUpperLinkArea, kSmallConfigArea}) {
    for (std::uint64_t group = 0; group < layout_[area].group_count(); ++group) {
      FORESHORE_RETURN_IF_ERROR(CheckGroup(area, group));
    }
  }
  if (counts_.nodes % 64 != 0 && dead_words()[counts_.nodes / 64] >> (counts_.nodes % 64) != 0) {
    return Corrupt("slots from " + std::to_string(counts_.nodes) + " on are dead, expected them not to be there");
  }
  const auto* places = reinterpret_cast<const std::uint32_t*>(rows(kPlaceArea));
  for (std::uint32_t place = 0; place < counts_.places; ++place) {
    if (places[place] < counts_.nodes || places[place] == kNoSlot) continue;
    return Corrupt("place " + std::to_string(place) + " names slot " + std::to_string(places[place]) + " of " +
                   std::to_string(counts_.nodes));
  }
  return Status::Ok();
}

Status HnswImage::CheckNodes() {
  std::uint64_t level_sum = 0;
  const int level_max = counts_.nodes == 0 ? 0 : std::min<int>(kHnswLevelMax, node(entry_point_).level);
  for (std::uint32_t slot = 0; slot < counts_.nodes; ++slot) {
    const HnswNode& each = node(slot);
    if (each.level > level_max) {
      return Corrupt("node " + std::to_string(slot) + " has level " + std::to_string(each.level) +
                     ", expected at most " + std::to_string(level_max));
    }
    if (each.upper_first != level_sum || each.is_linked != 1 || each.reserved != 0) {
      return Corrupt("node " + std::to_string(slot) + " has upper row " + std::to_string(each.upper_first) + ", " +
                     std::to_string(each.is_linked) + " and " + std::to_string(each.reserved) + ", expected " +
                     std::to_string(level_sum) + ", 1 and 0");
    }
    if (each.parent != kNoSlot && each.parent >= slot) {
      return Corrupt("node " + std::to_string(slot) + " has parent " + std::to_string(each.parent) +
                     ", expected a lower slot or none");
    }
    level_sum += each.level;
  }
  return CheckEqual("sum of the levels", level_sum, counts_.upper_rows);
}

Status HnswImage::CheckUpperLinks() const {
  for (std::uint32_t slot = 0; slot < counts_.nodes; ++slot) {
    for (int level = 1; level <= node(slot).level; ++level) {
      const char* row = pristine(kUpperLinkArea, node(slot).upper_first + static_cast<std::uint32_t>(level) - 1);
      FORESHORE_RETURN_IF_ERROR(CheckLinkRow(slot, level, row, config_.links_per_node));
    }
  }
  return Status::Ok();
}

Status HnswImage::CheckLinkRow(std::uint32_t slot, int level, const char* row, std::uint32_t links_max) const {
  bool has_ended = false;
  for (std::uint32_t i = 0; i < links_max; ++i) {
    const auto link = LoadFixed<std::uint32_t>(row + std::size_t{4} * i);
    if (link == kNoSlot) {
      has_ended = true;
      continue;
    }
    if (has_ended || link >= counts_.nodes || link == slot || node(link).level < level) {
      return Corrupt("node " + std::to_string(slot) + " links to " + std::to_string(link) + " on level " +
                     std::to_string(level) + ", expected another node that reaches it" +
                     (has_ended ? ", and none behind the end" : ""));
    }
  }
  return Status::Ok();
}

Status HnswImage::CheckContent(HnswArea area, std::uint32_t row) const {
  Status valid;
  switch (area) {
    case kBaseLinkArea: return CheckLinkRow(row, 0, pristine(area, row), config_.links_per_node * 2);
    case kCodeArea: valid = CheckVectorCodeRow(space_, pristine(area, row)); break;
    case kFineCodeArea:
      valid = FineCodes::CheckRow({CodeValues(pristine(kCodeArea, row)), config_.dimension}, pristine(area, row));
      break;
    case kSmallCodeArea: valid = small_space_->CheckRow(pristine(area, row)); break;
    default: break;
  }
  return valid.ok() ? valid : Corrupt("node " + std::to_string(row) + ": " + valid.message());
}

Status HnswImage::CheckGroup(HnswArea area, std::uint64_t group) const {
  const HnswLayout::Area& where = layout_[area];
  const std::uint64_t first = group << where.group_shift;
  const Bytes rows = GroupBytes(area, group);
  const auto sum = LoadFixed<std::uint32_t>(bytes_.data() + layout_.sums_offset() + 4 * (where.first_group + group));
  FORESHORE_RETURN_IF_ERROR(CheckEqual("a checksum", sum, Crc32c(rows)));
  if (area >= kBaseLinkArea) {  // The others as wholes: Checked().
    for (std::uint64_t row = first; row < first + rows.size() / where.row_bytes; ++row) {
      FORESHORE_RETURN_IF_ERROR(CheckContent(area, static_cast<std::uint32_t>(row)));
    }
  }
  is_checked_[where.first_group + group].store(1, std::memory_order_release);
  return Status::Ok();
}

Status HnswImage::CheckAll() const {
  for (const HnswArea area : {kBaseLinkArea, kCodeArea, kFineCodeArea, kSmallCodeArea}) {
    PagesInOrder ahead;
    for (std::uint64_t group = 0; group < layout_[area].group_count(); ++group) {
      if (IsChecked(area, group)) continue;
      if (exceeds_memory()) ahead.Reach(GroupBytes(area, group).data(), GroupBytes(area, group).size());
      FORESHORE_RETURN_IF_ERROR(CheckGroup(area, group));
    }
  }
  return Status::Ok();
}

Status CheckVectorCodeRow(const CodeSpace& space, const char* row) {
  const std::span<const std::int8_t> codes(CodeValues(row), space.dimension());
  FORESHORE_RETURN_IF_ERROR(CheckVectorCode(space.Scale(row), codes));
  std::vector<char> expected(space.code_bytes());
  PackVectorCode(space.Scale(row), codes, expected.data());
  if (std::memcmp(row, expected.data(), expected.size()) == 0) return Status::Ok();
  return Status::Corruption("what follows its codes is not of them");
}

void HnswImage::Advise(std::uint64_t memory_bytes_max) {
  if (!file_) return;
  const auto page_bytes = static_cast<std::uintptr_t>(::sysconf(_SC_PAGESIZE));
  const auto advise = [&](const char* first, std::uint64_t size_bytes, int advice) {
    const std::uintptr_t begin = reinterpret_cast<std::uintptr_t>(first) / page_bytes * page_bytes;
    const std::uintptr_t end = reinterpret_cast<std::uintptr_t>(first) + size_bytes;
    ::madvise(reinterpret_cast<void*>(begin), end - begin, advice);  // Only a wish.
  };
  if (memory_bytes_max != 0 && layout_.file_bytes() > memory_bytes_max) {
    advise(working_, bytes_.size(), MADV_RANDOM);
    advise(bytes_.data(), bytes_.size(), MADV_RANDOM);
    pages_ = std::make_unique<PageAhead>(working_, bytes_.size(), memory_bytes_max);
    return;
  }
  for (const HnswArea area : {kBaseLinkArea, config_.small_codes ? kSmallCodeArea : kCodeArea}) {
    advise(rows(area), layout_[area].bytes(), MADV_WILLNEED);
  }
}

}  // namespace foreshore
