#include "index/hnswlib_file.h"

#include <algorithm>
#include <bit>
#include <cmath>
#include <cstring>
#include <exception>
#include <unordered_set>

#include "index/hnsw_graph.h"
#include "index/hnsw_index.h"
#include "index/hnsw_snapshot.h"
#include "index/quantizer.h"
#include "index/vector_code.h"
#include "storage/base/coding.h"

namespace foreshore {
namespace {

constexpr std::size_t kHeaderBytes = 96;
constexpr std::size_t kListHeaderBytes = 4;
constexpr std::size_t kLabelBytes = 8;
constexpr std::size_t kUpperHeaderBytes = 4;
constexpr std::uint64_t kLinksMax = 10'000;  // hnswlib's own bound on M.

std::string NameOf(std::uint32_t element) {
  return "element " + std::to_string(element);
}

}  // namespace

Result<HnswlibFile> HnswlibFile::Read(std::string name, Bytes bytes) {
  HnswlibFile file(std::move(name), bytes);
  try {
    FORESHORE_RETURN_IF_ERROR(file.ReadHeader());
    FORESHORE_RETURN_IF_ERROR(file.ReadLevels());
    FORESHORE_RETURN_IF_ERROR(file.CheckElements());
  } catch (const std::bad_alloc&) {
    return Status::Limit(file.name_ + ": memory: none left for " + std::to_string(file.element_count_) + " elements");
  }
  return file;
}

Status HnswlibFile::Corrupt(const std::string& what) const {
  return Status::Corruption(name_ + ": hnswlib index of " + std::to_string(bytes_.size()) + " bytes: " + what);
}

Status HnswlibFile::CheckEqual(const char* field, std::uint64_t found, std::uint64_t expected) const {
  if (found == expected) return Status::Ok();
  return Corrupt(std::string(field) + " is " + std::to_string(found) + ", expected " + std::to_string(expected));
}

Status HnswlibFile::CheckRange(const char* field, std::uint64_t found, std::uint64_t min, std::uint64_t max) const {
  if (found >= min && found <= max) return Status::Ok();
  return Corrupt(std::string(field) + " is " + std::to_string(found) + ", expected " + std::to_string(min) + ".." +
                 std::to_string(max));
}

Status HnswlibFile::ReadHeader() {
  if (bytes_.size() < kHeaderBytes) return Corrupt("expected at least " + std::to_string(kHeaderBytes));
  ByteReader reader(bytes_);
  FORESHORE_RETURN_IF_ERROR(CheckEqual("offset of links", reader.Fixed<std::uint64_t>(), 0));
  const auto max_elements = reader.Fixed<std::uint64_t>();
  const auto element_count = reader.Fixed<std::uint64_t>();
  const auto element_bytes = reader.Fixed<std::uint64_t>();
  const auto label_offset = reader.Fixed<std::uint64_t>();
  const auto vector_offset = reader.Fixed<std::uint64_t>();
  level_max_ = reader.Fixed<std::int32_t>();
  entry_point_ = reader.Fixed<std::uint32_t>();
  const auto upper_links_max = reader.Fixed<std::uint64_t>();
  const auto base_links_max = reader.Fixed<std::uint64_t>();
  const auto links = reader.Fixed<std::uint64_t>();
  const auto level_factor = std::bit_cast<double>(reader.Fixed<std::uint64_t>());
  const auto ef_construction = reader.Fixed<std::uint64_t>();

  // In an order in which each number is bounded before another is made of it.
  FORESHORE_RETURN_IF_ERROR(CheckRange("M", links, 2, kLinksMax));
  FORESHORE_RETURN_IF_ERROR(CheckEqual("links above level 0", upper_links_max, links));
  FORESHORE_RETURN_IF_ERROR(CheckEqual("links on level 0", base_links_max, 2 * links));
  FORESHORE_RETURN_IF_ERROR(CheckEqual("vector_offset", vector_offset, kListHeaderBytes + 4 * 2 * links));
  FORESHORE_RETURN_IF_ERROR(CheckRange("label_offset", label_offset,
                                       vector_offset + sizeof(float) * kVectorDimensionMin,
                                       vector_offset + sizeof(float) * kVectorDimensionMax));
  if ((label_offset - vector_offset) % sizeof(float) != 0) {
    return Corrupt("vectors have " + std::to_string(label_offset - vector_offset) + " bytes, expected whole floats");
  }
  FORESHORE_RETURN_IF_ERROR(CheckEqual("element_bytes", element_bytes, label_offset + kLabelBytes));
  const std::uint64_t element_count_max =
      std::min<std::uint64_t>((bytes_.size() - kHeaderBytes) / (element_bytes + kUpperHeaderBytes), kHnswNodeCountMax);
  FORESHORE_RETURN_IF_ERROR(CheckRange("element_count", element_count, 0, element_count_max));
  FORESHORE_RETURN_IF_ERROR(CheckRange("max_elements", max_elements, element_count, UINT64_MAX));
  if (!std::isfinite(level_factor) || level_factor <= 0) {
    return Corrupt("factor of levels is " + std::to_string(level_factor) + ", expected a number above 0");
  }
  FORESHORE_RETURN_IF_ERROR(CheckRange("ef_construction", ef_construction, 1, UINT64_MAX));
  if (element_count == 0) {
    FORESHORE_RETURN_IF_ERROR(CheckEqual("entry point", entry_point_, kNoSlot));
    if (level_max_ != -1) return Corrupt("level is " + std::to_string(level_max_) + ", expected -1 without elements");
  } else {
    FORESHORE_RETURN_IF_ERROR(CheckRange("entry point", entry_point_, 0, element_count - 1));
    if (level_max_ < 0 || level_max_ > kHnswLevelMax) {
      return Corrupt("level is " + std::to_string(level_max_) + ", expected 0..63");
    }
  }
  links_per_node_ = static_cast<std::uint32_t>(links);
  element_count_ = static_cast<std::uint32_t>(element_count);
  dimension_ = static_cast<std::uint32_t>((label_offset - vector_offset) / sizeof(float));
  vector_offset_ = vector_offset;
  label_offset_ = label_offset;
  element_bytes_ = element_bytes;
  return Status::Ok();
}

Status HnswlibFile::ReadLevels() {
  levels_.resize(element_count_);
  upper_lists_.resize(element_count_);
  ByteReader reader(bytes_);
  reader.Take(kHeaderBytes + element_count_ * element_bytes_);
  for (std::uint32_t element = 0; element < element_count_; ++element) {
    const auto list_bytes = reader.Fixed<std::uint32_t>();
    upper_lists_[element] = reader.offset();
    if (!reader.ok() || list_bytes > reader.remaining_bytes()) {
      return Corrupt("ends in the upper links of " + NameOf(element) + ", expected " + std::to_string(element_count_) +
                     " elements");
    }
    const std::uint64_t level = list_bytes / UpperListBytes();
    if (list_bytes % UpperListBytes() != 0 || level > static_cast<std::uint64_t>(level_max_)) {
      return Corrupt(NameOf(element) + " has " + std::to_string(list_bytes) + " bytes of upper links, expected " +
                     std::to_string(UpperListBytes()) + " for each of at most " + std::to_string(level_max_) +
                     " levels");
    }
    levels_[element] = static_cast<std::uint8_t>(level);
    reader.Take(list_bytes);
  }
  FORESHORE_RETURN_IF_ERROR(CheckEqual("number of bytes after the last element", reader.remaining_bytes(), 0));
  if (element_count_ == 0) return Status::Ok();
  return CheckEqual("level of the entry point", levels_[entry_point_], static_cast<std::uint64_t>(level_max_));
}

Status HnswlibFile::CheckElements() const {
  std::unordered_set<std::uint64_t> labels;
  labels.reserve(element_count_);
  std::vector<float> values(dimension_);
  for (std::uint32_t element = 0; element < element_count_; ++element) {
    if (!labels.insert(label(element)).second) {
      return Corrupt("label " + std::to_string(label(element)) + " is there twice, expected it once");
    }
    CopyVector(element, values);
    const auto bad = std::find_if(values.begin(), values.end(), [](float value) { return !std::isfinite(value); });
    if (bad != values.end()) {
      return Corrupt(NameOf(element) + " with label " + std::to_string(label(element)) + " has " +
                     std::to_string(*bad) + " at " + std::to_string(bad - values.begin()) + ", expected numbers");
    }
    for (int level = 0; level <= levels_[element]; ++level) FORESHORE_RETURN_IF_ERROR(CheckLinks(element, level));
  }
  return Status::Ok();
}

Status HnswlibFile::CheckLinks(std::uint32_t element, int level) const {
  const char* list = LinkList(element, level);
  const auto count = LoadFixed<std::uint16_t>(list);
  const auto flags = LoadFixed<std::uint16_t>(list + 2);
  const std::uint32_t count_max = level == 0 ? 2 * links_per_node_ : links_per_node_;
  if (count > count_max || flags > (level == 0 ? 1 : 0)) {
    return Corrupt(NameOf(element) + " has " + std::to_string(count) + " links on level " + std::to_string(level) +
                   " and flags " + std::to_string(flags) + ", expected at most " + std::to_string(count_max) +
                   " and flags 0" + (level == 0 ? " or 1" : ""));
  }
  for (std::uint16_t i = 0; i < count; ++i) {
    const auto link = LoadFixed<std::uint32_t>(list + kListHeaderBytes + std::size_t{4} * i);
    if (link < element_count_ && link != element && levels_[link] >= level) continue;
    return Corrupt(NameOf(element) + " links to " + std::to_string(link) + " on level " + std::to_string(level) +
                   ", expected another of " + std::to_string(element_count_) + " elements, that reaches it");
  }
  return Status::Ok();
}

const char* HnswlibFile::Element(std::uint32_t element) const {
  return bytes_.data() + kHeaderBytes + element * element_bytes_;
}

const char* HnswlibFile::LinkList(std::uint32_t element, int level) const {
  if (level == 0) return Element(element);
  return bytes_.data() + upper_lists_[element] + static_cast<std::size_t>(level - 1) * UpperListBytes();
}

std::uint64_t HnswlibFile::label(std::uint32_t element) const {
  return LoadFixed<std::uint64_t>(Element(element) + label_offset_);
}

bool HnswlibFile::is_deleted(std::uint32_t element) const {
  return LoadFixed<std::uint16_t>(Element(element) + 2) != 0;
}

void HnswlibFile::CopyVector(std::uint32_t element, std::span<float> values) const {
  const char* from = Element(element) + vector_offset_;
  for (std::size_t i = 0; i < values.size(); ++i) values[i] = LoadFixed<float>(from + sizeof(float) * i);
}

void HnswlibFile::CopyLinks(std::uint32_t element, int level, std::vector<std::uint32_t>& links) const {
  const char* list = LinkList(element, level);
  links.resize(LoadFixed<std::uint16_t>(list));
  for (std::size_t i = 0; i < links.size(); ++i) {
    links[i] = LoadFixed<std::uint32_t>(list + kListHeaderBytes + std::size_t{4} * i);
  }
}

namespace {

Result<HnswSnapshot> RestoreSnapshot(const VectorIndexConfig& config, const HnswlibFile& file,
                                     std::span<const std::optional<std::int64_t>> docids, std::uint64_t born) {
  HnswSnapshot snapshot;
  FORESHORE_ASSIGN_OR_RETURN(const HnswGraphConfig graph_config, GraphConfigOf(config));
  FORESHORE_ASSIGN_OR_RETURN(snapshot.graph, HnswGraph::Create(graph_config, file.element_count()));
  if (config.precision == VectorPrecision::kInt16) snapshot.fine_codes.emplace(config.dimension);
  std::vector<float> values(config.dimension);
  std::vector<char> code(VectorCodeBytes(config.dimension));
  for (std::uint32_t element = 0; element < file.element_count(); ++element) {
    file.CopyVector(element, values);
    FORESHORE_ASSIGN_OR_RETURN(const ByteString encoded,
                               EncodeVectorRecord(values, config.dimension, config.precision));
    FORESHORE_ASSIGN_OR_RETURN(const VectorRecord record, DecodeVectorRecord(encoded, config.dimension));
    PackVectorCode(record.scale, record.codes, code.data());
    // What died at 0 is visible to nobody.
    HnswEntry entry{0, 0, 0};
    if (docids[element].has_value()) entry = {*docids[element], born, kNeverDied};
    snapshot.entries.Put(element, entry);
    if (snapshot.fine_codes) snapshot.fine_codes->Put(element, record.codes, record.fine_codes);
    FORESHORE_RETURN_IF_ERROR(snapshot.graph->RestoreNode(code.data(), file.level(element), kNoSlot));
  }
  std::vector<std::uint32_t> links;
  for (std::uint32_t element = 0; element < file.element_count(); ++element) {
    for (int level = 0; level <= file.level(element); ++level) {
      file.CopyLinks(element, level, links);
      snapshot.graph->RestoreLinks(element, level, links);
    }
  }
  if (file.element_count() > 0) snapshot.graph->RestoreEntryPoint(file.entry_point(), false);
  return snapshot;
}

}  // namespace

Result<std::unique_ptr<VectorIndex>> RestoreHnswlibIndex(VectorIndexConfig config, const HnswlibFile& file,
                                                         std::span<const std::optional<std::int64_t>> docids,
                                                         std::uint64_t born) {
  if (config.dimension != file.dimension() || config.links_per_node != file.links_per_node()) {
    return Status::InvalidArgument(config.name + ": has " + std::to_string(config.dimension) + " dimensions and " +
                                   std::to_string(config.links_per_node) + " links, expected those of " + file.name() +
                                   ": " + std::to_string(file.dimension()) + " and " +
                                   std::to_string(file.links_per_node()));
  }
  try {
    FORESHORE_ASSIGN_OR_RETURN(HnswSnapshot snapshot, RestoreSnapshot(config, file, docids, born));
    return std::unique_ptr<VectorIndex>(std::make_unique<HnswIndex>(std::move(config), std::move(snapshot)));
  } catch (const std::exception& exception) {
    return Status::Internal(config.name + ": taking over " + file.name() + ": " + exception.what());
  }
}

}  // namespace foreshore
