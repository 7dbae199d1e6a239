#include "index/hnsw_delta.h"

#include <algorithm>
#include <exception>
#include <utility>
#include <vector>

#include "index/vector_code.h"
#include "storage/base/checksum.h"
#include "storage/base/coding.h"
#include "storage/base/file.h"

namespace foreshore {
namespace {

constexpr Bytes kMagic = "FSVDELTA";
constexpr std::uint32_t kVersion = 1;
constexpr std::size_t kHeaderBytes = 32;
constexpr std::size_t kRecordHeaderBytes = 48;

ByteString EncodeHeader(std::uint64_t generation) {
  ByteString header(kMagic);
  AppendFixed<std::uint32_t>(header, kVersion);
  AppendFixed<std::uint32_t>(header, 0);
  AppendFixed<std::uint64_t>(header, generation);
  AppendFixed<std::uint32_t>(header, 0);
  AppendFixed<std::uint32_t>(header, Crc32c(header));
  return header;
}

struct RecordHeader {
  std::uint64_t body_bytes = 0;
  std::uint64_t applied_seq = 0;
  std::uint32_t first_slot = 0;
  std::uint32_t node_count = 0;
  std::uint32_t entry_point = kNoSlot;
  std::uint32_t death_count = 0;
  std::uint64_t row_count = 0;
  std::uint32_t body_crc = 0;
};

ByteString EncodeRecordHeader(const RecordHeader& header) {
  ByteString bytes;
  AppendFixed(bytes, header.body_bytes);
  AppendFixed(bytes, header.applied_seq);
  AppendFixed(bytes, header.first_slot);
  AppendFixed(bytes, header.node_count);
  AppendFixed(bytes, header.entry_point);
  AppendFixed(bytes, header.death_count);
  AppendFixed(bytes, header.row_count);
  AppendFixed(bytes, header.body_crc);
  AppendFixed<std::uint32_t>(bytes, Crc32c(bytes));
  return bytes;
}

// Nothing where the bytes are not a whole record's header.
std::optional<RecordHeader> DecodeRecordHeader(Bytes bytes) {
  if (bytes.size() < kRecordHeaderBytes) return std::nullopt;
  ByteReader reader(bytes);
  RecordHeader header;
  header.body_bytes = reader.Fixed<std::uint64_t>();
  header.applied_seq = reader.Fixed<std::uint64_t>();
  header.first_slot = reader.Fixed<std::uint32_t>();
  header.node_count = reader.Fixed<std::uint32_t>();
  header.entry_point = reader.Fixed<std::uint32_t>();
  header.death_count = reader.Fixed<std::uint32_t>();
  header.row_count = reader.Fixed<std::uint64_t>();
  header.body_crc = reader.Fixed<std::uint32_t>();
  if (reader.Fixed<std::uint32_t>() != Crc32c(bytes.substr(0, kRecordHeaderBytes - 4))) return std::nullopt;
  return header;
}

class RecordWriter {
 public:
  RecordWriter(const HnswContent& content, std::uint32_t first_slot) : content_(content), graph_(content.graph) {
    header_.applied_seq = content.applied_seq;
    header_.first_slot = first_slot;
    header_.node_count = graph_.node_count();
    header_.entry_point = graph_.entry_point();
  }

  ByteString Write(std::span<const std::uint32_t> deaths) {
    for (std::uint32_t slot = header_.first_slot; slot < header_.node_count; ++slot) AppendNode(slot);
    header_.death_count = static_cast<std::uint32_t>(deaths.size());
    std::uint32_t before = 0;
    for (const std::uint32_t slot : deaths) AppendVarint(body_, slot - std::exchange(before, slot));
    graph_.ForEachChangedRow([this](std::uint32_t slot, int level, std::size_t kept) { AppendRow(slot, level, kept); });
    for (std::uint32_t slot = header_.first_slot; slot < header_.node_count; ++slot) {
      for (int level = 0; level <= graph_.level(slot); ++level) AppendRow(slot, level, 0);
    }
    header_.body_bytes = body_.size();
    header_.body_crc = Crc32c(body_);
    return EncodeRecordHeader(header_) + body_;
  }

 private:
  void AppendNode(std::uint32_t slot) {
    const HnswEntry entry = content_.entries[slot];
    const HnswNode node = graph_.node(slot);
    AppendFixed(body_, entry.docid);
    AppendFixed(body_, node.parent);
    AppendFixed(body_, node.level);
    AppendFixed<std::uint8_t>(body_, entry.is_live() ? 0 : 1);
    body_.append(AsBytes(graph_.code(slot), VectorCodeBytes(graph_.config().dimension)));
    if (content_.fine_codes == nullptr) return;
    body_.append(AsBytes(content_.fine_codes->row(slot), content_.fine_codes->row_bytes()));
  }

  void AppendRow(std::uint32_t slot, int level, std::size_t kept_count) {
    const std::span<const std::uint32_t> links = graph_.links(slot, level).subspan(kept_count);
    AppendVarint(body_, slot - std::exchange(row_before_, slot));
    AppendFixed(body_, static_cast<std::uint8_t>(level));
    AppendFixed(body_, static_cast<std::uint8_t>(kept_count));
    AppendFixed(body_, static_cast<std::uint8_t>(links.size()));
    for (const std::uint32_t link : links) AppendFixed(body_, link);
    ++header_.row_count;
  }

  const HnswContent& content_;
  const HnswGraph& graph_;
  RecordHeader header_;
  ByteString body_;
  std::uint32_t row_before_ = 0;
};

// Applies one record whose checksums fit.
class RecordReader {
 public:
  RecordReader(const std::string& name, HnswSnapshot& snapshot, const RecordHeader& header, Bytes body)
      : name_(name),
        snapshot_(snapshot),
        graph_(*snapshot.graph),
        space_(graph_.config().metric, graph_.config().dimension),
        header_(header),
        reader_(body) {}

  Status Apply() {
    if (header_.first_slot != graph_.node_count() || header_.node_count < header_.first_slot ||
        header_.node_count > kHnswNodeCountMax) {
      return Corrupt("has slots " + std::to_string(header_.first_slot) + " to " + std::to_string(header_.node_count) +
                     ", expected them from " + std::to_string(graph_.node_count()) + " on");
    }
    for (std::uint32_t slot = header_.first_slot; slot < header_.node_count; ++slot) {
      FORESHORE_RETURN_IF_ERROR(ReadNode(slot));
    }
    FORESHORE_RETURN_IF_ERROR(ReadDeaths());
    std::uint64_t slot = 0;
    for (std::uint64_t row = 0; row < header_.row_count; ++row) {
      slot += reader_.VarintAtMost(kHnswNodeCountMax);
      FORESHORE_RETURN_IF_ERROR(ReadRow(slot));
    }
    if (!reader_.ok() || !reader_.at_end()) return Corrupt("is not as long as it says");
    return MoveEntryPoint();
  }

 private:
  Status Corrupt(const std::string& what) const {
    return Status::Corruption(name_ + ": delta up to sequence " + std::to_string(header_.applied_seq) + " " + what);
  }

  Status ReadNode(std::uint32_t slot) {
    const std::string node = "node " + std::to_string(slot);
    const auto docid = reader_.Fixed<std::int64_t>();
    const auto parent = reader_.Fixed<std::uint32_t>();
    const auto level = reader_.Fixed<std::uint8_t>();
    const auto is_dead = reader_.Fixed<std::uint8_t>();
    const Bytes code = reader_.Take(space_.code_bytes());
    const Bytes fine = reader_.Take(snapshot_.fine_codes ? snapshot_.fine_codes->row_bytes() : 0);
    if (!reader_.ok()) return Corrupt("ends in " + node);
    if (level > kHnswLevelMax || is_dead > 1 || (parent != kNoSlot && parent >= slot)) {
      return Corrupt("says of " + node + " level " + std::to_string(level) + ", parent " + std::to_string(parent) +
                     " and dead " + std::to_string(is_dead));
    }
    if (Status valid = CheckVectorCodeRow(space_, code.data()); !valid.ok())
      return Corrupt(node + ": " + valid.message());
    const std::uint64_t died = is_dead == 1 ? header_.applied_seq : kNeverDied;
    snapshot_.entries.Put(slot, {docid, header_.applied_seq, died});
    if (snapshot_.fine_codes) {
      const std::span<const std::int8_t> codes(CodeValues(code.data()), space_.dimension());
      if (Status valid = FineCodes::CheckRow(codes, fine.data()); !valid.ok())
        return Corrupt(node + ": " + valid.message());
      snapshot_.fine_codes->Put(slot, codes, {reinterpret_cast<const std::int8_t*>(fine.data()), space_.dimension()});
    }
    return graph_.RestoreNode(code.data(), level, parent);
  }

  Status ReadDeaths() {
    std::uint64_t slot = 0;
    for (std::uint32_t i = 0; i < header_.death_count; ++i) {
      slot += reader_.VarintAtMost(kHnswNodeCountMax);
      if (!reader_.ok() || slot >= header_.first_slot ||
          !snapshot_.entries[static_cast<std::uint32_t>(slot)].is_live()) {
        return Corrupt("kills slot " + std::to_string(slot) + ", expected one that lives");
      }
      snapshot_.entries.StoreDied(static_cast<std::uint32_t>(slot), header_.applied_seq);
    }
    return Status::Ok();
  }

  Status ReadRow(std::uint64_t wide_slot) {
    const int level = reader_.Fixed<std::uint8_t>();
    const auto kept_count = reader_.Fixed<std::uint8_t>();
    const auto count = reader_.Fixed<std::uint8_t>();
    if (!reader_.ok() || wide_slot >= header_.node_count)
      return Corrupt("has links of slot " + std::to_string(wide_slot));
    const auto slot = static_cast<std::uint32_t>(wide_slot);
    const std::string row = "row of slot " + std::to_string(slot) + " on level " + std::to_string(level);
    if (level > graph_.level(slot)) return Corrupt("has a " + row + ", above " + std::to_string(graph_.level(slot)));
    const std::span<const std::uint32_t> old = graph_.links(slot, level);
    if (kept_count > old.size() || std::size_t{kept_count} + count > graph_.links_max(level)) {
      return Corrupt("has a " + row + " that keeps " + std::to_string(kept_count) + " of " +
                     std::to_string(old.size()) + " links and adds " + std::to_string(count));
    }
    links_.assign(old.begin(), old.begin() + kept_count);
    for (unsigned i = 0; i < count; ++i) {
      const auto link = reader_.Fixed<std::uint32_t>();
      if (!reader_.ok() || link >= header_.node_count || link == slot || graph_.level(link) < level) {
        return Corrupt("has a " + row + " with a link to " + std::to_string(link));
      }
      links_.push_back(link);
    }
    graph_.RestoreLinks(slot, level, links_);
    return Status::Ok();
  }

  Status MoveEntryPoint() {
    if (header_.node_count == 0) return Status::Ok();
    int level_max = 0;
    const std::uint32_t before = graph_.entry_point();
    if (before != kNoSlot) level_max = graph_.level(before);
    for (std::uint32_t slot = header_.first_slot; slot < header_.node_count; ++slot) {
      level_max = std::max(level_max, graph_.level(slot));
    }
    if (header_.entry_point >= header_.node_count || graph_.level(header_.entry_point) != level_max) {
      return Corrupt("has entry point " + std::to_string(header_.entry_point) + ", expected a slot of level " +
                     std::to_string(level_max));
    }
    graph_.RestoreEntryPoint(header_.entry_point, graph_.knows_parents());
    return Status::Ok();
  }

  const std::string& name_;
  HnswSnapshot& snapshot_;
  HnswGraph& graph_;
  const CodeSpace space_;
  const RecordHeader& header_;
  ByteReader reader_;
  std::vector<std::uint32_t> links_;  // Scratch.
};

}  // namespace

std::string HnswDeltaPath(const std::string& snapshot_path) {
  return snapshot_path + "-delta";
}

Status AppendHnswDelta(const std::string& snapshot_path, const HnswContent& content,
                       std::span<const std::uint32_t> deaths, HnswSaved& saved) {
  const std::string path = HnswDeltaPath(snapshot_path);
  ByteString bytes;
  if (saved.delta_bytes == 0) bytes = EncodeHeader(saved.generation);
  bytes += RecordWriter(content, saved.node_count).Write(deaths);
  std::unique_ptr<File> file;
  if (saved.delta_bytes == 0) {
    FORESHORE_ASSIGN_OR_RETURN(file, File::Create(path));
  } else {
    FORESHORE_ASSIGN_OR_RETURN(file, File::OpenForAppend(path));
  }
  FORESHORE_RETURN_IF_ERROR(file->Append(bytes));
  FORESHORE_RETURN_IF_ERROR(file->Sync());
  FORESHORE_RETURN_IF_ERROR(file->Close());
  if (saved.delta_bytes == 0) FORESHORE_RETURN_IF_ERROR(SyncDirectory(path.substr(0, path.rfind('/'))));
  saved.delta_bytes += bytes.size();
  saved.node_count = content.graph.node_count();
  return Status::Ok();
}

Result<HnswSaved> ReplayHnswDelta(const std::string& name, const std::string& snapshot_path, HnswSnapshot& snapshot) {
  HnswSaved saved;
  saved.generation = snapshot.image->generation();
  saved.snapshot_bytes = snapshot.image->layout().file_bytes();
  saved.node_count = snapshot.graph->node_count();
  const std::string path = HnswDeltaPath(snapshot_path);
  if (!FileExists(path)) return saved;
  FORESHORE_ASSIGN_OR_RETURN(const auto file, MappedFile::Open(path));
  Bytes rest = file->bytes();
  if (rest.substr(0, kHeaderBytes) != EncodeHeader(saved.generation)) return saved;  // It will be written over.
  saved.delta_bytes = kHeaderBytes;
  rest.remove_prefix(kHeaderBytes);
  try {
    while (!rest.empty()) {
      const std::optional<RecordHeader> header = DecodeRecordHeader(rest);
      saved.is_torn = !header || header->body_bytes > rest.size() - kRecordHeaderBytes ||
                      Crc32c(rest.substr(kRecordHeaderBytes, header->body_bytes)) != header->body_crc;
      if (saved.is_torn) break;
      const Bytes body = rest.substr(kRecordHeaderBytes, header->body_bytes);
      FORESHORE_RETURN_IF_ERROR(RecordReader(name, snapshot, *header, body).Apply());
      snapshot.applied_seq = header->applied_seq;
      saved.node_count = header->node_count;
      saved.delta_bytes += kRecordHeaderBytes + header->body_bytes;
      rest.remove_prefix(kRecordHeaderBytes + header->body_bytes);
    }
  } catch (const std::exception& exception) {
    return GraphFailure("replaying a delta", exception);
  }
  snapshot.graph->MarkSaved();
  return saved;
}

}  // namespace foreshore
