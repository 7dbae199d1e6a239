#include "index/hnsw_snapshot.h"

#include <unistd.h>

#include <algorithm>
#include <atomic>
#include <cmath>
#include <limits>
#include <unordered_set>

#include "index/quantizer.h"
#include "index/vector_code.h"
#include "storage/base/checksum.h"
#include "storage/base/coding.h"
#include "storage/base/file.h"

namespace foreshore {
namespace {

constexpr Bytes kMagic = "FSVINDEX";
constexpr std::uint32_t kVersion = 1;
constexpr std::uint8_t kFlagFine = static_cast<std::uint8_t>(VectorPrecision::kInt16);
constexpr std::size_t kHeaderBytes = 56;
constexpr std::size_t kTrailerBytes = 4;
constexpr std::size_t kChunkBytes = 1 << 20;

std::uint64_t NodeBytesMin(std::uint32_t dimension) {
  return 1 + 3 * 8 + 4 + dimension + 2;  // Its level byte, entry, scale, codes, and an empty list of links.
}

std::uint64_t SnapshotBytes(const HnswGraph& graph, bool is_fine) {
  std::uint64_t bytes = kHeaderBytes + kTrailerBytes;
  if (is_fine) bytes += std::uint64_t{graph.node_count()} * graph.config().dimension;
  for (std::uint32_t slot = 0; slot < graph.node_count(); ++slot) {
    bytes += NodeBytesMin(graph.config().dimension) - 2;
    for (int level = 0; level <= graph.level(slot); ++level) bytes += 2 + 4 * graph.links(slot, level).size();
  }
  return bytes;
}

ByteString EncodeHeader(const HnswGraph& graph, bool is_fine, std::uint64_t applied_seq) {
  const HnswGraphConfig& config = graph.config();
  ByteString header(kMagic);
  AppendFixed<std::uint32_t>(header, kVersion);
  AppendFixed<std::uint8_t>(header, static_cast<std::uint8_t>(config.metric));
  AppendFixed<std::uint8_t>(header, is_fine ? kFlagFine : 0);
  AppendFixed<std::uint16_t>(header, static_cast<std::uint16_t>(config.dimension));
  AppendFixed<std::uint32_t>(header, config.links_per_node);
  AppendFixed<std::uint32_t>(header, config.ef_construction);
  AppendFixed<std::uint64_t>(header, applied_seq);
  AppendFixed<std::uint32_t>(header, graph.node_count());
  AppendFixed<std::uint32_t>(header, graph.entry_point());
  AppendFixed<std::uint64_t>(header, SnapshotBytes(graph, is_fine));
  AppendFixed<std::uint32_t>(header, 0);
  AppendFixed<std::uint32_t>(header, Crc32c(header));
  return header;
}

void AppendNode(ByteString& out, const HnswGraph& graph, const HnswEntry& entry, const FineCodes* fine_codes,
                std::uint32_t slot) {
  AppendFixed(out, entry.docid);
  AppendFixed(out, entry.born);
  AppendFixed(out, entry.LoadDied());
  const char* code = graph.code(slot);
  const CodeSpace space(graph.config().metric, graph.config().dimension);
  AppendFixed<float>(out, space.Scale(code));
  out.append(AsBytes(CodeValues(code), graph.config().dimension));
  if (fine_codes != nullptr) out.append(AsBytes((*fine_codes)[slot].data(), graph.config().dimension));
  for (int level = 0; level <= graph.level(slot); ++level) {
    const std::span<const std::uint32_t> links = graph.links(slot, level);
    AppendFixed<std::uint16_t>(out, static_cast<std::uint16_t>(links.size()));
    for (const std::uint32_t link : links) AppendFixed<std::uint32_t>(out, link);
  }
}

// Appends to a file in large pieces and sums up what went by.
class SummedWriter {
 public:
  explicit SummedWriter(File& file) : file_(file) {}
  ByteString& buffer() { return buffer_; }
  Status FlushIfLarge() { return buffer_.size() < kChunkBytes ? Status::Ok() : Flush(); }
  Status Flush() {
    crc_ = Crc32c(buffer_, crc_);
    FORESHORE_RETURN_IF_ERROR(file_.Append(buffer_));
    buffer_.clear();
    return Status::Ok();
  }
  std::uint32_t crc() const { return crc_; }

 private:
  File& file_;
  ByteString buffer_;
  std::uint32_t crc_ = 0;
};

Status WriteTo(const std::string& path, const HnswGraph& graph, const HnswEntries& entries, const FineCodes* fine_codes,
               std::uint64_t applied_seq) {
  FORESHORE_ASSIGN_OR_RETURN(auto file, File::Create(path));
  FORESHORE_RETURN_IF_ERROR(file->Append(EncodeHeader(graph, fine_codes != nullptr, applied_seq)));
  SummedWriter writer(*file);
  for (std::uint32_t slot = 0; slot < graph.node_count(); ++slot) {
    AppendFixed<std::uint8_t>(writer.buffer(), static_cast<std::uint8_t>(graph.level(slot)));
  }
  for (std::uint32_t slot = 0; slot < graph.node_count(); ++slot) {
    AppendNode(writer.buffer(), graph, entries[slot], fine_codes, slot);
    FORESHORE_RETURN_IF_ERROR(writer.FlushIfLarge());
  }
  FORESHORE_RETURN_IF_ERROR(writer.Flush());
  ByteString trailer;
  AppendFixed<std::uint32_t>(trailer, writer.crc());
  FORESHORE_RETURN_IF_ERROR(file->Append(trailer));
  FORESHORE_RETURN_IF_ERROR(file->Sync());
  return file->Close();
}

// Reads one snapshot. The checks run in the order of the file; `bytes_` outlives the decoder.
class SnapshotDecoder {
 public:
  SnapshotDecoder(const std::string& name, const HnswGraphConfig& config, VectorPrecision precision, Bytes bytes)
      : name_(name), config_(config), precision_(precision), bytes_(bytes), reader_(bytes) {}

  Result<HnswSnapshot> Decode() {
    FORESHORE_RETURN_IF_ERROR(ReadHeader());
    FORESHORE_RETURN_IF_ERROR(CheckChecksum());
    FORESHORE_RETURN_IF_ERROR(ReadLevels());
    FORESHORE_ASSIGN_OR_RETURN(snapshot_.graph, HnswGraph::Create(config_, node_count_));
    if (precision_ == VectorPrecision::kInt16) snapshot_.fine_codes.emplace(config_.dimension);
    FORESHORE_RETURN_IF_ERROR(ReadNodes());
    return std::move(snapshot_);
  }

 private:
  Status Corrupt(const std::string& what) const {
    return Status::Corruption(name_ + ": snapshot of " + std::to_string(bytes_.size()) + " bytes: " + what);
  }

  template <typename Found, typename Expected>
  Status CheckEqual(const char* field, Found found, Expected expected) const {
    if (found == static_cast<Found>(expected)) return Status::Ok();
    return Corrupt(std::string(field) + " is " + std::to_string(found) + ", expected " + std::to_string(expected));
  }

  Status ReadHeader() {
    if (bytes_.size() < kHeaderBytes + kTrailerBytes) {
      return Corrupt("expected at least " + std::to_string(kHeaderBytes + kTrailerBytes));
    }
    if (reader_.Take(kMagic.size()) != kMagic) return Corrupt("expected the magic \"" + std::string(kMagic) + "\"");
    const auto stored_crc = LoadFixed<std::uint32_t>(bytes_.data() + kHeaderBytes - 4);
    FORESHORE_RETURN_IF_ERROR(CheckEqual("header checksum", stored_crc, Crc32c(bytes_.substr(0, kHeaderBytes - 4))));
    const auto version = reader_.Fixed<std::uint32_t>();
    const auto metric = reader_.Fixed<std::uint8_t>();
    const auto flags = reader_.Fixed<std::uint8_t>();
    if (version != kVersion || (flags & ~kFlagFine) != 0) {
      return Status::Unsupported(name_ + ": snapshot of version " + std::to_string(version) + " with flags " +
                                 std::to_string(flags) + ", expected version 1 with flags 0 or 1");
    }
    FORESHORE_RETURN_IF_ERROR(CheckEqual("precision", flags, static_cast<std::uint8_t>(precision_)));
    FORESHORE_RETURN_IF_ERROR(CheckEqual("metric", metric, static_cast<std::uint8_t>(config_.metric)));
    FORESHORE_RETURN_IF_ERROR(CheckEqual("dimension", reader_.Fixed<std::uint16_t>(), config_.dimension));
    FORESHORE_RETURN_IF_ERROR(CheckEqual("links_per_node", reader_.Fixed<std::uint32_t>(), config_.links_per_node));
    FORESHORE_RETURN_IF_ERROR(CheckEqual("ef_construction", reader_.Fixed<std::uint32_t>(), config_.ef_construction));
    snapshot_.applied_seq = reader_.Fixed<std::uint64_t>();
    node_count_ = reader_.Fixed<std::uint32_t>();
    entry_point_ = reader_.Fixed<std::uint32_t>();
    FORESHORE_RETURN_IF_ERROR(CheckEqual("file_bytes", reader_.Fixed<std::uint64_t>(), bytes_.size()));
    FORESHORE_RETURN_IF_ERROR(CheckEqual("reserved", reader_.Fixed<std::uint32_t>(), 0));
    reader_.Take(4);  // The checksum.
    const std::uint64_t node_count_max = std::min<std::uint64_t>(
        (bytes_.size() - kHeaderBytes - kTrailerBytes) / NodeBytesMin(config_.dimension), kHnswNodeCountMax);
    if (node_count_ > node_count_max) {
      return Corrupt("node_count is " + std::to_string(node_count_) + ", expected at most " +
                     std::to_string(node_count_max));
    }
    if (node_count_ == 0) return CheckEqual("entry_point", entry_point_, kNoSlot);
    if (entry_point_ < node_count_) return Status::Ok();
    return Corrupt("entry_point is " + std::to_string(entry_point_) + " of " + std::to_string(node_count_) + " nodes");
  }

  Status CheckChecksum() const {
    const Bytes body = bytes_.substr(kHeaderBytes, bytes_.size() - kHeaderBytes - kTrailerBytes);
    const auto stored_crc = LoadFixed<std::uint32_t>(bytes_.data() + bytes_.size() - kTrailerBytes);
    return CheckEqual("checksum", stored_crc, Crc32c(body));
  }

  Status ReadLevels() {
    levels_ = reader_.Take(node_count_);
    std::uint64_t level_sum = 0;
    for (std::uint32_t slot = 0; slot < node_count_; ++slot) {
      if (LevelOf(slot) > std::min(kHnswLevelMax, LevelOf(entry_point_))) {
        return Corrupt("node " + std::to_string(slot) + " has level " + std::to_string(LevelOf(slot)) +
                       ", expected at most " + std::to_string(LevelOf(entry_point_)) + " and 63");
      }
      level_sum += static_cast<std::uint64_t>(LevelOf(slot));
    }
    // Memory is taken per level before its links are read: the file must have room for the least of them.
    if (level_sum * 2 <= reader_.remaining_bytes()) return Status::Ok();
    return Corrupt("levels add up to " + std::to_string(level_sum) + ", more than the file can hold");
  }

  int LevelOf(std::uint32_t slot) const { return static_cast<std::uint8_t>(levels_[slot]); }

  Status ReadNodes() {
    code_.resize(VectorCodeBytes(config_.dimension));
    for (std::uint32_t slot = 0; slot < node_count_; ++slot) {
      FORESHORE_RETURN_IF_ERROR(ReadEntry(slot));
      FORESHORE_RETURN_IF_ERROR(ReadCode(slot));
      for (int level = 0; level <= LevelOf(slot); ++level) FORESHORE_RETURN_IF_ERROR(ReadLinks(slot, level));
    }
    FORESHORE_RETURN_IF_ERROR(CheckEqual("bytes after the last node", reader_.remaining_bytes(), kTrailerBytes));
    if (node_count_ > 0) snapshot_.graph->RestoreEntryPoint(entry_point_);
    return Status::Ok();
  }

  Status ReadEntry(std::uint32_t slot) {
    HnswEntry entry;
    entry.docid = reader_.Fixed<std::int64_t>();
    entry.born = reader_.Fixed<std::uint64_t>();
    entry.died = reader_.Fixed<std::uint64_t>();
    if (!reader_.ok()) return Truncated(slot);
    if (entry.born > entry.died || entry.born == kNeverDied) {
      return Corrupt("node " + std::to_string(slot) + " is born at " + std::to_string(entry.born) + " and died at " +
                     std::to_string(entry.died));
    }
    if (entry.died == kNeverDied && !live_.insert(entry.docid).second) {
      return Corrupt("document " + std::to_string(entry.docid) + " has two live entries, expected one");
    }
    snapshot_.entries.Put(slot, entry);
    return Status::Ok();
  }

  Status ReadCode(std::uint32_t slot) {
    const auto scale = reader_.Fixed<float>();
    const Bytes raw = reader_.Take(config_.dimension);
    if (!reader_.ok()) return Truncated(slot);
    const std::span<const std::int8_t> codes(reinterpret_cast<const std::int8_t*>(raw.data()), raw.size());
    if (Status valid = CheckVectorCode(scale, codes); !valid.ok()) {
      return Corrupt("node " + std::to_string(slot) + ": " + valid.message());
    }
    PackVectorCode(scale, codes, code_.data());
    if (snapshot_.fine_codes) FORESHORE_RETURN_IF_ERROR(ReadFineCodes(slot, codes));
    return snapshot_.graph->RestoreNode(code_.data(), LevelOf(slot));
  }

  Status ReadFineCodes(std::uint32_t slot, std::span<const std::int8_t> codes) {
    const Bytes raw = reader_.Take(config_.dimension);
    if (!reader_.ok()) return Truncated(slot);
    const std::span<const std::int8_t> fine_codes(reinterpret_cast<const std::int8_t*>(raw.data()), raw.size());
    // As codes of any scale: they must be in range.
    if (Status valid = CheckVectorCode(1.0F, fine_codes); !valid.ok()) {
      return Corrupt("node " + std::to_string(slot) + ": " + valid.message());
    }
    snapshot_.fine_codes->Put(slot, codes, fine_codes);
    return Status::Ok();
  }

  Status ReadLinks(std::uint32_t slot, int level) {
    const auto count = reader_.Fixed<std::uint16_t>();
    if (count > snapshot_.graph->links_max(level)) {
      return Corrupt("node " + std::to_string(slot) + " has " + std::to_string(count) + " links on level " +
                     std::to_string(level) + ", expected at most " + std::to_string(snapshot_.graph->links_max(level)));
    }
    links_.clear();
    for (std::uint16_t i = 0; i < count; ++i) {
      const auto link = reader_.Fixed<std::uint32_t>();
      if (!reader_.ok()) return Truncated(slot);
      if (link >= node_count_ || link == slot || LevelOf(link) < level) {
        return Corrupt("node " + std::to_string(slot) + " links to " + std::to_string(link) + " on level " +
                       std::to_string(level) + ", expected another node that reaches it");
      }
      links_.push_back(link);
    }
    if (!reader_.ok()) return Truncated(slot);
    snapshot_.graph->RestoreLinks(slot, level, links_);
    return Status::Ok();
  }

  Status Truncated(std::uint32_t slot) const {
    return Corrupt("ends in node " + std::to_string(slot) + " of " + std::to_string(node_count_));
  }

  const std::string& name_;
  const HnswGraphConfig& config_;
  const VectorPrecision precision_;
  Bytes bytes_;
  ByteReader reader_;
  HnswSnapshot snapshot_;
  std::uint32_t node_count_ = 0;
  std::uint32_t entry_point_ = kNoSlot;
  Bytes levels_;
  std::unordered_set<std::int64_t> live_;
  std::vector<char> code_;            // Scratch.
  std::vector<std::uint32_t> links_;  // Scratch.
};

}  // namespace

Status WriteHnswSnapshot(const std::string& path, const HnswGraph& graph, const HnswEntries& entries,
                         const FineCodes* fine_codes, std::uint64_t applied_seq) {
  static std::atomic<unsigned> counter{0};  // Two writers of one path must not share a temporary.
  const std::string temporary =
      path + ".tmp-" + std::to_string(::getpid()) + "-" + std::to_string(counter.fetch_add(1));
  Status written = WriteTo(temporary, graph, entries, fine_codes, applied_seq);
  if (written.ok()) written = RenameDurably(temporary, path);
  if (!written.ok()) RemoveFile(temporary).IgnoreError();
  return written;
}

Result<HnswSnapshot> ReadHnswSnapshot(const std::string& name, const HnswGraphConfig& config, VectorPrecision precision,
                                      const std::string& path) {
  if (!FileExists(path)) return Status::NotFound(name + ": no snapshot at " + path);
  FORESHORE_ASSIGN_OR_RETURN(const auto file, MappedFile::Open(path));
  return DecodeHnswSnapshot(name, config, precision, file->bytes());
}

Result<HnswSnapshot> DecodeHnswSnapshot(const std::string& name, const HnswGraphConfig& config,
                                        VectorPrecision precision, Bytes bytes) {
  return SnapshotDecoder(name, config, precision, bytes).Decode();
}

}  // namespace foreshore
