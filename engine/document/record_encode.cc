#include <algorithm>
#include <cassert>

#include "engine/document/json.h"
#include "engine/document/json_walk.h"
#include "engine/document/record.h"
#include "engine/document/record_format.h"
#include "storage/base/coding.h"

namespace foreshore {
namespace {

using record_format::Flag;

// (session number, hlc) pairs, each once, ascending: what stamps in a header refer to by slot.
class TimeTable {
 public:
  void Add(const Stamp& stamp, SessionTable& sessions) {
    times_.emplace_back(sessions.NumberOf(stamp.session), stamp.hlc);
  }
  void Finish() {
    std::sort(times_.begin(), times_.end());
    times_.erase(std::unique(times_.begin(), times_.end()), times_.end());
  }
  std::uint64_t SlotOf(const Stamp& stamp, SessionTable& sessions) const {
    const std::pair time(sessions.NumberOf(stamp.session), stamp.hlc);
    return static_cast<std::uint64_t>(std::lower_bound(times_.begin(), times_.end(), time) - times_.begin());
  }
  const std::vector<std::pair<std::uint32_t, std::uint64_t>>& times() const { return times_; }

 private:
  std::vector<std::pair<std::uint32_t, std::uint64_t>> times_;
};

// Six bytes of milliseconds and a varint counter.
void AppendHlc(ByteString& out, std::uint64_t hlc) {
  char bytes[8];
  const std::uint64_t milliseconds = hlc >> 16;
  std::memcpy(bytes, &milliseconds, 8);
  out.append(bytes, 6);
  AppendVarint(out, hlc & 0xFFFF);
}

// The frame around a header. The checksum covers all other bytes.
ByteString Frame(std::uint16_t flags, std::string_view id, Bytes header, std::string_view body) {
  ByteString record;
  record.reserve(record_format::kFixedBytes + 4 + id.size() + header.size() + body.size());
  AppendFixed<std::uint16_t>(
      record, static_cast<std::uint16_t>(flags << record_format::kVersionBits | record_format::kVersion));
  AppendFixed<std::uint32_t>(record, 0);
  AppendPrefixed(record, id);
  AppendPrefixed(record, header);
  record += body;
  const std::uint32_t checksum = record_format::ChecksumOf(record);
  std::memcpy(record.data() + record_format::kChecksumOffset, &checksum, sizeof(checksum));
  return record;
}

class HeaderWriter {
 public:
  HeaderWriter(const DocumentState& state, SessionTable& sessions) : state_(state), sessions_(sessions) {}

  ByteString Write(std::string_view body) {
    if (state_.alive()) flags_ |= Flag::kAlive;
    CollectLeaves(body);
    if (state_.life_stamp.hlc != 0) table_.Add(state_.life_stamp, sessions_);
    for (const auto& [path, content] : state_.registers) {
      table_.Add(content.stamp, sessions_);
      table_.Add(content.creation, sessions_);
    }
    table_.Finish();
    WriteTimes();
    WriteLife();
    WriteCreations();
    WriteChangedLeaves();
    WriteHidden();
    WriteSeen();
    WriteMemory();
    return Frame(flags_, state_.id, out_, body);
  }

 private:
  void CollectLeaves(std::string_view body) {
    for (const JsonLeaf& leaf : FlattenDocument(body)) {
      auto found = state_.registers.find(leaf.path);
      assert(found != state_.registers.end() && "the body is not that of the state");
      leaves_.push_back(&found->second);
    }
    std::vector<const Register*> sorted = leaves_;
    std::sort(sorted.begin(), sorted.end());
    for (const auto& place : state_.registers) {
      if (!std::binary_search(sorted.begin(), sorted.end(), &place.second)) hidden_.push_back(&place);
    }
  }

  void WriteTimes() {
    const auto& times = table_.times();
    if (times.size() == 1) {
      flags_ |= Flag::kOneTime;
      AppendVarint(out_, times.front().first);
      AppendHlc(out_, times.front().second);
      return;
    }
    AppendVarint(out_, times.size());
    if (times.empty()) return;
    const bool is_one_session = times.front().first == times.back().first;
    if (is_one_session) flags_ |= Flag::kOneSession;
    for (std::size_t i = 0; i < times.size(); ++i) {
      const auto [session, hlc] = times[i];
      const bool is_first = i == 0 || times[i - 1].first != session;
      if (i == 0 || !is_one_session) AppendVarint(out_, session << 1 | (is_first ? 1 : 0));
      if (is_first) {
        AppendHlc(out_, hlc);
        continue;
      }
      const std::uint64_t milliseconds = (hlc >> 16) - (times[i - 1].second >> 16);
      const std::uint64_t counter = hlc & 0xFFFF;
      AppendVarint(out_, milliseconds << 1 | (counter != 0 ? 1 : 0));
      if (counter != 0) AppendVarint(out_, counter);
    }
  }

  void WriteLife() {
    const bool has_stamp = state_.life_stamp.hlc != 0;
    if (state_.life == 1 && has_stamp && table_.SlotOf(state_.life_stamp, sessions_) == 0) {
      flags_ |= Flag::kFirstLife;
      AppendVarint(out_, state_.life_stamp.op);
      return;
    }
    AppendVarint(out_, state_.life);
    AppendVarint(out_, has_stamp ? 1 : 0);
    if (has_stamp) WriteStamp(state_.life_stamp);
  }

  // Where each leaf's key was created, in body order: runs of one time and ascending ops.
  void WriteCreations() {
    Stamp expected = state_.life_stamp;
    bool is_plain = true;
    for (const Register* leaf : leaves_) {
      ++expected.op;
      if (leaf->creation != expected) is_plain = false;
    }
    if (is_plain) {
      flags_ |= Flag::kPlainKeys;
      return;
    }
    for (std::size_t begin = 0, end = 0; begin < leaves_.size(); begin = end) {
      Stamp next = leaves_[begin]->creation;
      for (end = begin; end < leaves_.size() && leaves_[end]->creation == next; ++end) ++next.op;
      AppendVarint(out_, end - begin);
      WriteStamp(leaves_[begin]->creation);
    }
  }

  // Leaves that were written again after their key was created.
  void WriteChangedLeaves() {
    ByteString runs;
    std::size_t run_count = 0;
    std::size_t last_end = 0;
    std::swap(out_, runs);
    for (std::size_t begin = 0, end = 0; begin < leaves_.size(); begin = end) {
      end = begin + 1;
      if (leaves_[begin]->stamp == leaves_[begin]->creation) continue;
      Stamp next = leaves_[begin]->stamp;
      for (end = begin; end < leaves_.size() && leaves_[end]->stamp == next && next != leaves_[end]->creation; ++end) {
        ++next.op;
      }
      const std::size_t count = end - begin;
      AppendVarint(out_, (begin - last_end) << 1 | (count > 1 ? 1 : 0));
      if (count > 1) AppendVarint(out_, count);
      WriteStamp(leaves_[begin]->stamp);
      last_end = end;
      ++run_count;
    }
    std::swap(out_, runs);
    if (run_count == 0) return;
    flags_ |= Flag::kChangedLeaves;
    AppendVarint(out_, run_count);
    out_ += runs;
  }

  void WriteHidden() {
    if (hidden_.empty()) return;
    flags_ |= Flag::kHidden;
    AppendVarint(out_, hidden_.size());
    for (const auto* place : hidden_) {
      const Register& content = place->second;
      AppendPrefixed(out_, place->first);
      AppendVarint(out_, content.is_tombstone ? 1 : 0);
      WriteStamp(content.stamp);
      if (content.is_tombstone) continue;
      WriteStamp(content.creation);
      AppendPrefixed(out_, content.value);
    }
  }

  void WriteSeen() {
    VersionVector mentioned;
    record_format::AddMentioned(mentioned, state_);
    VersionVector more;
    for (const auto& entry : state_.seen.entries()) {
      const Stamp stamp{entry.hlc, entry.session, entry.op};
      if (!mentioned.Contains(stamp)) more.Add(stamp);
    }
    if (more.empty()) return;
    flags_ |= Flag::kSeenMore;
    WriteVector(more);
  }

  void WriteMemory() {
    if (state_.seen_history.empty() && state_.overtaken.empty()) return;
    flags_ |= Flag::kMemory;
    AppendVarint(out_, state_.seen_history.size());
    for (const auto& entry : state_.seen_history) {
      AppendHlc(out_, entry.hlc_boundary);
      WriteVector(entry.seen);
    }
    AppendVarint(out_, state_.overtaken.size());
    for (const auto& entry : state_.overtaken) {
      const Register& write = entry.write;
      AppendVarint(out_, entry.is_life_change ? 2 : (write.is_tombstone ? 1 : 0));
      AppendVarint(out_, write.life);
      WriteFullStamp(write.stamp);
      if (entry.is_life_change) continue;
      AppendPrefixed(out_, entry.path);
      if (!write.is_tombstone) WriteFullStamp(write.creation);
    }
  }

  // Slot and op; one byte where both are small.
  void WriteStamp(const Stamp& stamp) {
    const std::uint64_t slot = table_.SlotOf(stamp, sessions_);
    const std::uint32_t low = std::min(stamp.op, record_format::kOpEscape);
    AppendVarint(out_, slot << record_format::kOpBits | low);
    if (low == record_format::kOpEscape) AppendVarint(out_, stamp.op - low);
  }
  void WriteFullStamp(const Stamp& stamp) {
    AppendVarint(out_, sessions_.NumberOf(stamp.session));
    AppendHlc(out_, stamp.hlc);
    AppendVarint(out_, stamp.op);
  }
  void WriteVector(const VersionVector& vector) {
    AppendVarint(out_, vector.entries().size());
    for (const auto& entry : vector.entries()) WriteFullStamp({entry.hlc, entry.session, entry.op});
  }

  const DocumentState& state_;
  SessionTable& sessions_;
  std::uint16_t flags_ = 0;
  std::vector<const Register*> leaves_;  // In body order.
  std::vector<const std::pair<const std::string, Register>*> hidden_;
  TimeTable table_;
  ByteString out_;
};

// How many leaves a normalised document has.
std::size_t CountLeaves(std::string_view object) {
  std::size_t count = 0;
  std::size_t open_count = 0;
  for (std::size_t i = 0; i < object.size();) {
    const char c = object[i];
    if (c == '"') {
      i = SkipStringToken(object, i);
      continue;
    }
    if (c == ':') {
      ++count;  // Unless an object with members follows, which is no leaf.
      if (object.substr(i + 1, 1) == "[") {
        i = SkipValueToken(object, i + 1);
        continue;
      }
    } else if (c == '{' && open_count++ > 0 && object.substr(i + 1, 1) != "}") {
      --count;
    }
    ++i;
  }
  return count;
}

}  // namespace

ByteString EncodeRecord(const DocumentState& state, std::string_view body, SessionTable& sessions) {
  return HeaderWriter(state, sessions).Write(body);
}

NewRecord EncodeNewDocument(std::string_view id, std::string_view body, std::uint64_t hlc, const SessionKey& session,
                            std::uint32_t first_op, SessionTable& sessions) {
  ByteString header;
  AppendVarint(header, sessions.NumberOf(session));
  AppendHlc(header, hlc);
  AppendVarint(header, first_op);
  const std::uint16_t flags = Flag::kAlive | Flag::kOneTime | Flag::kFirstLife | Flag::kPlainKeys;
  return {Frame(flags, id, header, body), first_op + static_cast<std::uint32_t>(CountLeaves(body))};
}

}  // namespace foreshore
