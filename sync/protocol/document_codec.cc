#include "sync/protocol/document_codec.h"

#include <algorithm>
#include <array>
#include <map>
#include <set>
#include <vector>

#include "engine/document/json.h"
#include "foreshore_sync.pb.h"
#include "sync/protocol/limits.h"
#include "sync/protocol/protobuf_parse.h"
#include "sync/protocol/wire_shape.h"

namespace foreshore {
namespace {

namespace pb = sync::v1;

constexpr std::array<FieldShape, 2> kGroupFields = {{{4, kSeenCountMax, nullptr}, {8, kWriteCountMax, nullptr}}};
constexpr MessageShape kGroupShape = {"group", kGroupFields};
constexpr std::array<FieldShape, 2> kChangeFields = {
    {{3, kSessionCountMax, nullptr}, {4, kGroupCountMax, &kGroupShape}}};
constexpr MessageShape kChangeShape = {"change", kChangeFields};
constexpr std::size_t kChangeFieldCountMax = kSeenCountMax + kWriteCountMax;

constexpr std::size_t kCollectionNameBytesMax = 48;

// Numbers the sessions of one change in order of first use.
class SessionNumbers {
 public:
  explicit SessionNumbers(pb::Change& wire) : wire_(wire) {}
  std::uint32_t NumberOf(const SessionKey& key) {
    auto [place, is_new] = numbers_.try_emplace(key, static_cast<std::uint32_t>(numbers_.size()));
    if (is_new) {
      pb::Session& added = *wire_.add_sessions();
      added.set_replica(key.replica.data(), key.replica.size());
      added.set_session(key.session);
    }
    return place->second;
  }
  void Write(const Stamp& stamp, pb::Stamp& to) {
    to.set_hlc(stamp.hlc);
    to.set_session(NumberOf(stamp.session));
    to.set_op(stamp.op);
  }

 private:
  pb::Change& wire_;
  std::map<SessionKey, std::uint32_t> numbers_;
};

Status Contradiction(const std::string& what) {
  return Status::InvalidArgument("sync change: " + what);
}

// "_models" and its like are the library's; both kinds travel.
Status CheckCollectionName(std::string_view name) {
  auto is_letter = [](char c) { return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z'); };
  std::string_view rest = name.starts_with('_') ? name.substr(1) : name;
  bool is_valid =
      name.size() <= kCollectionNameBytesMax && !rest.empty() && is_letter(rest[0]) &&
      std::all_of(rest.begin(), rest.end(), [&](char c) { return is_letter(c) || (c >= '0' && c <= '9') || c == '_'; });
  return is_valid ? Status::Ok() : Contradiction("collection name out of rule");
}

// How deep arrays and objects nest in normalised JSON.
std::size_t NestingDepth(std::string_view json) {
  std::size_t depth = 0;
  std::size_t deepest = 0;
  bool in_string = false;
  for (std::size_t i = 0; i < json.size(); ++i) {
    char c = json[i];
    if (in_string) {
      if (c == '\\') {
        ++i;
      } else if (c == '"') {
        in_string = false;
      }
    } else if (c == '"') {
      in_string = true;
    } else if (c == '[' || c == '{') {
      deepest = std::max(deepest, ++depth);
    } else if (c == ']' || c == '}') {
      --depth;
    }
  }
  return deepest;
}

// Keys must be UTF-8: each is checked as the JSON string it will become. Returns how many there are.
Result<std::size_t> CheckPath(std::string_view path) {
  if (path.size() > kPathBytesMax) {
    return Status::Limit("sync change: path of " + std::to_string(path.size()) + " bytes, at most " +
                         std::to_string(kPathBytesMax));
  }
  std::size_t key_count = 0;
  std::size_t begin = 0;
  while (true) {
    std::size_t end = std::min(path.find(kPathSeparator, begin), path.size());
    std::string quoted;
    AppendJsonString(quoted, path.substr(begin, end - begin));
    if (!NormaliseValue(quoted).ok()) return Contradiction("path is not UTF-8");
    ++key_count;
    if (end == path.size()) return key_count;
    begin = end + 1;
  }
}

Status CheckValue(const std::string& value, std::size_t path_depth) {
  if (value.size() > kDocumentBytesMax) {
    return Status::Limit("sync change: value of " + std::to_string(value.size()) + " bytes, at most " +
                         std::to_string(kDocumentBytesMax));
  }
  Result<std::string> normalised = NormaliseValue(value);
  if (!normalised.ok()) return normalised.status().WithContext("sync change");
  if (*normalised != value) return Contradiction("value is not normalised JSON");
  if (value[0] == '{' && value != "{}") return Contradiction("an object is no register's value");
  // The document's own object is one level, and one more for every key but the last.
  if (path_depth + NestingDepth(value) > kDocumentDepthMax) return Status::Limit("sync change: nested too deep");
  return Status::Ok();
}

class Decoder {
 public:
  explicit Decoder(const pb::Change& wire) : wire_(wire) {}

  Result<SyncChange> Decode() {
    SyncChange change;
    FORESHORE_RETURN_IF_ERROR(CheckCollectionName(wire_.collection()));
    FORESHORE_RETURN_IF_ERROR(ValidateDocumentId(wire_.id()).WithContext("sync change"));
    change.collection = wire_.collection();
    change.change.id = wire_.id();
    FORESHORE_RETURN_IF_ERROR(DecodeSessions());
    if (wire_.groups().empty()) return Contradiction("no writes");
    for (const pb::Group& group : wire_.groups()) {
      FORESHORE_ASSIGN_OR_RETURN(WriteGroup decoded, DecodeGroup(group));
      if (!change.change.groups.empty()) {
        const WriteGroup& previous = change.change.groups.back();
        if (std::pair(previous.hlc, previous.session) >= std::pair(decoded.hlc, decoded.session)) {
          return Contradiction("groups out of order");
        }
      }
      change.change.groups.push_back(std::move(decoded));
    }
    return change;
  }

 private:
  Status DecodeSessions() {
    for (const pb::Session& session : wire_.sessions()) {
      SessionKey& key = sessions_.emplace_back();
      if (session.replica().size() != key.replica.size()) return Contradiction("replica id is not 16 bytes");
      std::copy(session.replica().begin(), session.replica().end(), key.replica.begin());
      key.session = session.session();
      if (key.session == 0) return Contradiction("session 0");
    }
    return Status::Ok();
  }

  Status DecodeStamp(const pb::Stamp& wire, Stamp& stamp) {
    if (wire.session() >= sessions_.size()) return Contradiction("session number out of range");
    if (wire.hlc() == 0 || wire.hlc() > kHlcMax) return Contradiction("time out of range");
    stamp = {wire.hlc(), sessions_[wire.session()], wire.op()};
    return Status::Ok();
  }

  Result<WriteGroup> DecodeGroup(const pb::Group& wire) {
    WriteGroup group;
    if (wire.session() >= sessions_.size()) return Contradiction("session number out of range");
    if (wire.hlc() == 0 || wire.hlc() > kHlcMax) return Contradiction("time out of range");
    group.hlc = wire.hlc();
    group.session = sessions_[wire.session()];
    group.op_last = wire.op_last();
    for (const pb::Stamp& seen : wire.seen()) {
      Stamp stamp;
      FORESHORE_RETURN_IF_ERROR(DecodeStamp(seen, stamp));
      group.seen.Add(stamp);
    }
    if (wire.life() == 0 || wire.life() > kLifeMax) return Contradiction("life out of range");
    group.life = wire.life();
    group.changes_life = wire.changes_life();
    group.life_op = wire.life_op();
    if (group.life_op > group.op_last) return Contradiction("operation above the group's last");
    std::set<std::uint32_t> ops;
    if (group.changes_life) ops.insert(group.life_op);
    for (const pb::Write& write : wire.writes()) {
      FORESHORE_RETURN_IF_ERROR(DecodeWrite(write, group));
      if (!ops.insert(write.op()).second) return Contradiction("two writes with one operation number");
    }
    if (group.writes.empty() && !group.changes_life) return Contradiction("a group that says nothing");
    return group;
  }

  Status DecodeWrite(const pb::Write& wire, WriteGroup& group) {
    Register written;
    if (wire.life() % 2 == 0 || wire.life() > group.life) return Contradiction("write in a life that is none");
    if (wire.op() > group.op_last) return Contradiction("operation above the group's last");
    written.life = wire.life();
    written.stamp = {group.hlc, group.session, wire.op()};
    written.creation = written.stamp;
    if (wire.has_creation()) FORESHORE_RETURN_IF_ERROR(DecodeStamp(wire.creation(), written.creation));
    if (written.creation > written.stamp) return Contradiction("a key younger than its value");
    FORESHORE_ASSIGN_OR_RETURN(std::size_t depth, CheckPath(wire.path()));
    if (depth > kDocumentDepthMax) return Status::Limit("sync change: path too deep");
    written.is_tombstone = wire.is_tombstone();
    if (written.is_tombstone) {
      if (!wire.value().empty()) return Contradiction("a tombstone with a value");
      if (written.creation != written.stamp) return Contradiction("a tombstone that keeps its key's age");
    } else {
      FORESHORE_RETURN_IF_ERROR(CheckValue(wire.value(), depth));
      written.value = wire.value();
    }
    group.writes.emplace_back(wire.path(), std::move(written));
    return Status::Ok();
  }

  const pb::Change& wire_;
  std::vector<SessionKey> sessions_;
};

void EncodeGroup(const WriteGroup& group, SessionNumbers& sessions, pb::Group& to) {
  to.set_hlc(group.hlc);
  to.set_session(sessions.NumberOf(group.session));
  to.set_op_last(group.op_last);
  for (const VersionVector::Entry& seen : group.seen.entries()) {
    sessions.Write({seen.hlc, seen.session, seen.op}, *to.add_seen());
  }
  to.set_life(group.life);
  to.set_changes_life(group.changes_life);
  to.set_life_op(group.life_op);
  for (const auto& [path, written] : group.writes) {
    pb::Write& write = *to.add_writes();
    write.set_path(path);
    write.set_life(written.life);
    write.set_op(written.stamp.op);
    if (written.creation != written.stamp) sessions.Write(written.creation, *write.mutable_creation());
    write.set_is_tombstone(written.is_tombstone);
    write.set_value(written.value);
  }
}

}  // namespace

ByteString EncodeChange(const SyncChange& change) {
  pb::Change wire;
  SessionNumbers sessions(wire);
  wire.set_collection(change.collection);
  wire.set_id(change.change.id);
  for (const WriteGroup& group : change.change.groups) EncodeGroup(group, sessions, *wire.add_groups());
  return wire.SerializeAsString();
}

Result<SyncChange> DecodeChange(Bytes bytes) {
  if (bytes.size() > kChangeBytesMax) return Status::Limit("sync change: above " + std::to_string(kChangeBytesMax));
  FORESHORE_RETURN_IF_ERROR(CheckShape(bytes, kChangeShape, kChangeFieldCountMax));
  pb::Change wire;
  FORESHORE_RETURN_IF_ERROR(ParseBounded(bytes, wire));
  return Decoder(wire).Decode();
}

std::uint64_t HighestHlc(const SyncChange& change) {
  std::uint64_t highest = 0;
  for (const WriteGroup& group : change.change.groups) highest = std::max(highest, group.hlc);
  return highest;
}

}  // namespace foreshore
