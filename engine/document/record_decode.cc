#include <limits>

#include "engine/document/json.h"
#include "engine/document/json_walk.h"
#include "engine/document/record.h"
#include "engine/document/record_format.h"
#include "engine/document/registers_internal.h"
#include "storage/base/coding.h"

namespace foreshore {
namespace {

using record_format::Flag;

Status Damaged(std::string_view id, const std::string& what) {
  return Status::Corruption("record of document \"" + std::string(id) + "\": " + what);
}

std::uint64_t ReadHlc(ByteReader& reader) {
  std::uint64_t milliseconds = 0;
  const Bytes bytes = reader.Take(6);
  if (!bytes.empty()) std::memcpy(&milliseconds, bytes.data(), bytes.size());
  return milliseconds << 16 | reader.VarintAtMost(0xFFFF);
}

std::uint32_t ReadVarint32(ByteReader& reader) {
  return static_cast<std::uint32_t>(reader.VarintAtMost(std::numeric_limits<std::uint32_t>::max()));
}

class HeaderReader {
 public:
  HeaderReader(std::uint16_t flags, Bytes header, std::string_view body, const SessionTable& sessions,
               DocumentState& state)
      : flags_(flags),
        reader_(header),
        sessions_(sessions),
        state_(state),
        leaves_(FlattenDocument(body)),
        has_body_(!body.empty()) {}

  // False where something does not fit; what() says which part.
  bool Read() {
    return Part("times", ReadTimes()) && Part("life", ReadLife()) && Part("key runs", ReadCreations()) &&
           Part("changed leaves", ReadChangedLeaves()) && Part("leaves", PlaceLeaves()) &&
           Part("hidden registers", ReadHidden()) && Part("version vector", ReadSeen()) &&
           Part("unsent writes", ReadMemory()) && Part("length", reader_.at_end());
  }
  const std::string& what() const { return what_; }

 private:
  bool Has(Flag flag) const { return (flags_ & flag) != 0; }
  bool Part(const char* name, bool holds) {
    if (holds && reader_.ok()) return true;
    if (what_.empty()) what_ = std::string(name) + " do not hold together";
    return false;
  }

  const SessionKey* FindSession(std::uint32_t number) {
    const SessionKey* key = sessions_.KeyOf(number);
    if (key == nullptr) what_ = "session number " + std::to_string(number) + " is not in the session table";
    return key;
  }

  // A count of things that take at least one byte each.
  std::uint64_t ReadCount() { return reader_.VarintAtMost(reader_.remaining_bytes()); }

  bool ReadTimes() {
    if (Has(Flag::kOneTime)) {
      const std::uint32_t number = ReadVarint32(reader_);
      return AddTime(number, ReadHlc(reader_));
    }
    const std::uint64_t count = ReadCount();
    std::uint32_t number = 0;
    for (std::uint64_t i = 0; i < count && reader_.ok(); ++i) {
      bool is_first = i == 0;
      if (i == 0 || !Has(Flag::kOneSession)) {
        const std::uint64_t session = reader_.VarintAtMost(std::numeric_limits<std::uint32_t>::max() * 2ULL + 1);
        is_first = (session & 1) != 0;
        if (i == 0 && !is_first) return false;
        if (!is_first && session >> 1 != number) return false;
        if (is_first && i > 0 && session >> 1 <= number) return false;
        number = static_cast<std::uint32_t>(session >> 1);
      }
      std::uint64_t hlc = 0;
      if (is_first) {
        hlc = ReadHlc(reader_);
      } else {
        const std::uint64_t step = reader_.Varint();
        const std::uint64_t counter = (step & 1) != 0 ? reader_.VarintAtMost(0xFFFF) : 0;
        const std::uint64_t before = times_.back().hlc;
        if (step >> 1 > (std::numeric_limits<std::uint64_t>::max() - before) >> 16) return false;
        hlc = ((before >> 16) + (step >> 1)) << 16 | counter;
        if (hlc <= before) return false;
      }
      if (!AddTime(number, hlc)) return false;
    }
    return true;
  }

  bool AddTime(std::uint32_t number, std::uint64_t hlc) {
    const SessionKey* key = FindSession(number);
    if (key == nullptr || hlc == 0) return false;
    times_.push_back({hlc, *key, 0});
    return true;
  }

  bool ReadLife() {
    if (Has(Flag::kFirstLife)) {
      if (times_.empty()) return false;
      state_.life = 1;
      state_.life_stamp = times_.front();
      state_.life_stamp.op = ReadVarint32(reader_);
    } else {
      state_.life = ReadVarint32(reader_);
      if (reader_.VarintAtMost(1) == 1 && !ReadStamp(state_.life_stamp)) return false;
    }
    return state_.life > 0 && state_.alive() == Has(Flag::kAlive) && state_.alive() == has_body_;
  }

  // Appends `count` registers' worth of ascending stamps.
  static bool AppendRun(std::vector<Stamp>& stamps, Stamp first, std::uint64_t count) {
    if (count > std::numeric_limits<std::uint32_t>::max() - first.op) return false;
    for (; count > 0; --count, ++first.op) stamps.push_back(first);
    return true;
  }

  bool ReadCreations() {
    if (Has(Flag::kPlainKeys)) {
      Stamp first = state_.life_stamp;
      if (leaves_.empty()) return true;
      if (first.hlc == 0 || first.op == std::numeric_limits<std::uint32_t>::max()) return false;
      ++first.op;
      return AppendRun(creations_, first, leaves_.size());
    }
    while (creations_.size() < leaves_.size()) {
      const std::uint64_t count = reader_.VarintAtMost(leaves_.size() - creations_.size());
      Stamp first;
      if (count == 0 || !ReadStamp(first) || !AppendRun(creations_, first, count)) return false;
    }
    return true;
  }

  bool ReadChangedLeaves() {
    stamps_ = creations_;
    if (!Has(Flag::kChangedLeaves)) return true;
    std::size_t next = 0;
    for (std::uint64_t runs = ReadCount(); runs > 0; --runs) {
      const std::uint64_t gap = reader_.Varint();
      const std::uint64_t count = (gap & 1) != 0 ? reader_.Varint() : 1;
      const std::size_t left = stamps_.size() - next;
      Stamp stamp;
      if (gap >> 1 >= left || count == 0 || count > left - (gap >> 1) || !ReadStamp(stamp)) return false;
      if (count > std::numeric_limits<std::uint32_t>::max() - stamp.op) return false;
      next += gap >> 1;
      for (std::uint64_t i = 0; i < count; ++i, ++next, ++stamp.op) stamps_[next] = stamp;
    }
    return true;
  }

  bool PlaceLeaves() {
    for (std::size_t i = 0; i < leaves_.size(); ++i) {
      if (creations_[i] > stamps_[i]) return false;
      Register content;
      content.life = state_.life;
      content.stamp = stamps_[i];
      content.creation = creations_[i];
      content.value = leaves_[i].value;
      if (!state_.registers.emplace(std::move(leaves_[i].path), std::move(content)).second) return false;
    }
    return true;
  }

  bool ReadHidden() {
    if (!Has(Flag::kHidden)) return true;
    if (!state_.alive()) return false;
    for (std::uint64_t count = ReadCount(); count > 0; --count) {
      std::string path(reader_.Prefixed());
      Register content;
      content.life = state_.life;
      content.is_tombstone = reader_.VarintAtMost(1) == 1;
      if (!ReadStamp(content.stamp)) return false;
      content.creation = content.stamp;
      if (!content.is_tombstone) {
        if (!ReadStamp(content.creation) || content.creation > content.stamp) return false;
        content.value = reader_.Prefixed();
        auto normalised = NormaliseValue(content.value);
        if (!normalised.ok() || *normalised != content.value) return false;
        if (content.value.front() == '{' && content.value != "{}") return false;
      }
      if (!reader_.ok() || path.size() > kPathBytesMax) return false;
      if (!state_.registers.emplace(std::move(path), std::move(content)).second) return false;
    }
    return true;
  }

  bool ReadSeen() {
    record_format::AddMentioned(state_.seen, state_);
    if (!Has(Flag::kSeenMore)) return true;
    VersionVector more;
    if (!ReadVector(more)) return false;
    state_.seen.Join(more);
    return true;
  }

  bool ReadMemory() {
    if (!Has(Flag::kMemory)) return true;
    std::uint64_t previous = 0;
    for (std::uint64_t count = ReadCount(); count > 0; --count) {
      DocumentState::SeenBefore entry;
      entry.hlc_boundary = ReadHlc(reader_);
      if (entry.hlc_boundary <= previous || !ReadVector(entry.seen)) return false;
      previous = entry.hlc_boundary;
      state_.seen_history.push_back(std::move(entry));
    }
    for (std::uint64_t count = ReadCount(); count > 0; --count) {
      DocumentState::Overtaken entry;
      const std::uint64_t kind = reader_.VarintAtMost(2);
      entry.is_life_change = kind == 2;
      entry.write.is_tombstone = kind == 1;
      entry.write.life = ReadVarint32(reader_);
      if (entry.write.life > state_.life || !ReadFullStamp(entry.write.stamp)) return false;
      if (!entry.is_life_change) {
        entry.path = reader_.Prefixed();
        entry.write.creation = entry.write.stamp;
        if (entry.path.size() > kPathBytesMax) return false;
        if (kind == 0) {
          entry.write.value = "{}";
          if (!ReadFullStamp(entry.write.creation) || entry.write.creation > entry.write.stamp) return false;
        }
      }
      state_.overtaken.push_back(std::move(entry));
    }
    return true;
  }

  bool ReadStamp(Stamp& stamp) {
    const std::uint64_t packed = reader_.Varint();
    const std::uint64_t slot = packed >> record_format::kOpBits;
    if (!reader_.ok() || slot >= times_.size()) return false;
    stamp = times_[slot];
    stamp.op = packed & record_format::kOpEscape;
    if (stamp.op == record_format::kOpEscape) {
      stamp.op += static_cast<std::uint32_t>(
          reader_.VarintAtMost(std::numeric_limits<std::uint32_t>::max() - record_format::kOpEscape));
    }
    return reader_.ok();
  }
  bool ReadFullStamp(Stamp& stamp) {
    const SessionKey* key = FindSession(ReadVarint32(reader_));
    stamp.hlc = ReadHlc(reader_);
    stamp.op = ReadVarint32(reader_);
    if (key == nullptr || !reader_.ok()) return false;
    stamp.session = *key;
    return true;
  }
  bool ReadVector(VersionVector& vector) {
    for (std::uint64_t count = ReadCount(); count > 0; --count) {
      Stamp stamp;
      if (!ReadFullStamp(stamp)) return false;
      vector.Add(stamp);
    }
    return reader_.ok();
  }

  std::uint16_t flags_;
  ByteReader reader_;
  const SessionTable& sessions_;
  DocumentState& state_;
  std::vector<JsonLeaf> leaves_;
  bool has_body_;
  std::vector<Stamp> times_;  // By slot; ops are 0.
  std::vector<Stamp> creations_;
  std::vector<Stamp> stamps_;
  std::string what_;
};

struct Frame {
  RecordView view;
  std::uint16_t flags = 0;
  Bytes header;
};

Result<Frame> OpenFrame(Bytes record) {
  ByteReader reader(record);
  const std::uint16_t first = reader.Fixed<std::uint16_t>();
  reader.Fixed<std::uint32_t>();
  Frame frame;
  frame.view.id = reader.Prefixed();
  frame.header = reader.Prefixed();
  if (!reader.ok()) {
    return Status::Corruption("document record: found " + std::to_string(record.size()) + " bytes that end too early");
  }
  frame.view.body = reader.Rest();
  frame.view.header_bytes = record.size() - frame.view.id.size() - frame.view.body.size();
  const std::uint16_t version = first & ((1 << record_format::kVersionBits) - 1);
  if (version > record_format::kVersion) {
    return Status::Unsupported("record of document \"" + std::string(frame.view.id) + "\": found version " +
                               std::to_string(version) + ", expected " + std::to_string(record_format::kVersion));
  }
  if (version == 0) return Damaged(frame.view.id, "found version 0");
  frame.flags = first >> record_format::kVersionBits;
  frame.view.alive = (frame.flags & Flag::kAlive) != 0;
  if ((frame.flags & ~record_format::kKnownFlags) != 0) return Damaged(frame.view.id, "found unknown flags");
  if (frame.view.alive == frame.view.body.empty()) {
    return Damaged(frame.view.id, frame.view.alive ? "alive and has no body" : "deleted and has a body");
  }
  return frame;
}

// Whether the registers are a state that JoinGroup can have left behind with this body.
Status CheckState(const DocumentState& state, std::string_view body) {
  for (const auto& [path, content] : state.registers) {
    if (IsHiddenByAncestor(state.registers, path, content.stamp)) {
      return Damaged(state.id, "field \"" + PathForPeople(path) + "\" is hidden by a newer one above it");
    }
  }
  if (Materialise(state) != body) return Damaged(state.id, "body and registers disagree");
  return Status::Ok();
}

}  // namespace

Result<RecordView> ViewRecord(Bytes record) {
  FORESHORE_ASSIGN_OR_RETURN(Frame frame, OpenFrame(record));
  return frame.view;
}

Result<DocumentState> DecodeRecord(Bytes record, const SessionTable& sessions) {
  FORESHORE_ASSIGN_OR_RETURN(Frame frame, OpenFrame(record));
  const std::string_view id = frame.view.id;
  const std::string_view body = frame.view.body;
  if (LoadFixed<std::uint32_t>(record.data() + record_format::kChecksumOffset) != record_format::ChecksumOf(record)) {
    return Damaged(id, "checksum does not match");
  }
  if (!body.empty()) {
    auto normalised = NormaliseMergedDocument(body);
    if (!normalised.ok()) return Damaged(id, "body: " + normalised.status().message());
    if (*normalised != body) return Damaged(id, "body is not in normal form");
  }
  DocumentState state;
  state.id = id;
  HeaderReader reader(frame.flags, frame.header, body, sessions, state);
  if (!reader.Read()) return Damaged(id, "header: " + reader.what());
  const bool is_plain =
      (frame.flags & Flag::kPlainKeys) != 0 && (frame.flags & (Flag::kChangedLeaves | Flag::kHidden)) == 0;
  if (!is_plain) FORESHORE_RETURN_IF_ERROR(CheckState(state, body));
  return state;
}

}  // namespace foreshore
