// Goal: whatever bytes a peer sends, decoding returns an error or a value that keeps every rule, and allocates within
// the limits.
#include <doctest/doctest.h>
#include <zstd.h>

#include <functional>

#include "storage/base/clock.h"
#include "storage/base/coding.h"
#include "sync/protocol/document_codec.h"
#include "sync/protocol/frame.h"
#include "sync/protocol/limits.h"
#include "sync/protocol/messages.h"

namespace foreshore {
namespace {

SessionKey Session(std::uint8_t number) {
  SessionKey key;
  key.replica.fill(number);
  key.session = 1000U + number;
  return key;
}

constexpr std::uint64_t kHlc = 1'795'000'000'000ULL << 16;

// Two groups of two sessions, with everything a change may hold.
SyncChange SampleChange() {
  WriteGroup first;
  first.hlc = kHlc;
  first.session = Session(1);
  first.op_last = 3;
  first.changes_life = true;
  first.life_op = 0;
  Register value;
  value.stamp = {kHlc, Session(1), 1};
  value.creation = value.stamp;
  value.value = R"([1,{"a":"x"}])";
  first.writes.emplace_back(std::string("site\xFFname"), value);
  value.stamp.op = 2;
  value.creation = {kHlc - 5, Session(2), 7};
  value.value = "\"text\"";
  first.writes.emplace_back("text", value);

  WriteGroup second;
  second.hlc = kHlc + 70'000;
  second.session = Session(2);
  second.op_last = 9;
  second.seen.Add({kHlc, Session(1), 3});
  Register tombstone;
  tombstone.stamp = {second.hlc, Session(2), 9};
  tombstone.creation = tombstone.stamp;
  tombstone.is_tombstone = true;
  second.writes.emplace_back("site", tombstone);
  return {"notes", {"n1", {first, second}}};
}

void CheckEqual(const SyncChange& a, const SyncChange& b) {
  CHECK(a.collection == b.collection);
  CHECK(a.change.id == b.change.id);
  REQUIRE(a.change.groups.size() == b.change.groups.size());
  for (std::size_t i = 0; i < a.change.groups.size(); ++i) {
    const WriteGroup& x = a.change.groups[i];
    const WriteGroup& y = b.change.groups[i];
    CHECK(x.dot() == y.dot());
    CHECK(x.seen == y.seen);
    CHECK(x.life == y.life);
    CHECK(x.changes_life == y.changes_life);
    CHECK(x.life_op == y.life_op);
    CHECK(x.writes == y.writes);
  }
}

SyncRequest SampleRequest(decltype(SyncRequest::body) body) {
  SyncRequest request;
  request.channel = "default";
  request.replica.fill(7);
  request.body = std::move(body);
  return request;
}

PushRequest SamplePush() {
  PushRequest push;
  push.base.chain.fill(3);
  push.base.sequence = 4;
  push.base.hash.fill(5);
  push.changes = {EncodeChange(SampleChange()), EncodeChange(SampleChange())};
  push.unit_ends = {0, 1};
  push.cursor = {12, {}};
  return push;
}

TEST_CASE("change: encodes and decodes to the same") {
  const SyncChange change = SampleChange();
  const auto decoded = DecodeChange(EncodeChange(change));
  REQUIRE_MESSAGE(decoded.ok(), decoded.status().ToString());
  CheckEqual(change, *decoded);
  CHECK(HighestHlc(*decoded) == kHlc + 70'000);
}

TEST_CASE("change: what a merge could not join is refused") {
  const std::map<std::string, std::function<void(SyncChange&)>> spoilers = {
      {"no groups", [](SyncChange& c) { c.change.groups.clear(); }},
      {"empty id", [](SyncChange& c) { c.change.id.clear(); }},
      {"long id", [](SyncChange& c) { c.change.id.assign(256, 'x'); }},
      {"collection name", [](SyncChange& c) { c.collection = "no-tes"; }},
      {"empty collection name", [](SyncChange& c) { c.collection = "_"; }},
      {"groups out of order", [](SyncChange& c) { std::swap(c.change.groups[0], c.change.groups[1]); }},
      {"the same group twice", [](SyncChange& c) { c.change.groups[1] = c.change.groups[0]; }},
      {"time zero", [](SyncChange& c) { c.change.groups[0].hlc = 0; }},
      {"time without room to tick", [](SyncChange& c) { c.change.groups[1].hlc = kHlcMax + 1; }},
      {"session zero", [](SyncChange& c) { c.change.groups[0].session.session = 0; }},
      {"life zero", [](SyncChange& c) { c.change.groups[0].life = 0; }},
      {"life without end", [](SyncChange& c) { c.change.groups[1].life = kLifeMax + 1; }},
      {"life operation above the last", [](SyncChange& c) { c.change.groups[0].life_op = 4; }},
      {"a group that says nothing", [](SyncChange& c) { c.change.groups[1].writes.clear(); }},
      {"write in a deleted life", [](SyncChange& c) { c.change.groups[0].writes[0].second.life = 2; }},
      {"write in a later life", [](SyncChange& c) { c.change.groups[0].writes[0].second.life = 3; }},
      {"operation above the last", [](SyncChange& c) { c.change.groups[0].writes[1].second.stamp.op = 4; }},
      {"one operation twice", [](SyncChange& c) { c.change.groups[0].writes[1].second.stamp.op = 1; }},
      {"the life's operation again", [](SyncChange& c) { c.change.groups[0].writes[1].second.stamp.op = 0; }},
      {"key younger than its value",
       [](SyncChange& c) { c.change.groups[0].writes[1].second.creation.hlc = kHlc + 9; }},
      {"path too long", [](SyncChange& c) { c.change.groups[0].writes[0].first.assign(513, 'p'); }},
      {"path too deep", [](SyncChange& c) { c.change.groups[0].writes[0].first.assign(64, '\xFF'); }},
      {"path that is no UTF-8", [](SyncChange& c) { c.change.groups[0].writes[0].first = "a\xC3"; }},
      {"tombstone with a value", [](SyncChange& c) { c.change.groups[1].writes[0].second.value = "1"; }},
      {"empty value", [](SyncChange& c) { c.change.groups[0].writes[0].second.value.clear(); }},
      {"value that is not normalised", [](SyncChange& c) { c.change.groups[0].writes[0].second.value = "[1, 2]"; }},
      {"broken value", [](SyncChange& c) { c.change.groups[0].writes[0].second.value = "[1,2}"; }},
      {"object for a value", [](SyncChange& c) { c.change.groups[0].writes[0].second.value = R"({"a":1})"; }},
      {"value nested too deep with its path",
       [](SyncChange& c) { c.change.groups[0].writes[0].second.value = std::string(63, '[') + std::string(63, ']'); }},
  };
  for (const auto& [name, spoil] : spoilers) {
    CAPTURE(name);
    SyncChange change = SampleChange();
    spoil(change);
    const auto decoded = DecodeChange(EncodeChange(change));
    CHECK(!decoded.ok());
  }
}

TEST_CASE("change: a value as deep as a document may be is accepted") {
  SyncChange change = SampleChange();
  change.change.groups[0].writes[0].second.value = std::string(62, '[') + std::string(62, ']');
  CHECK(DecodeChange(EncodeChange(change)).ok());
}

// Everything that decodes is encoded again, so that a value that breaks a rule cannot hide.
void DecodeAnything(Bytes bytes) {
  if (auto message = DecodeFrame(bytes); message.ok()) {
    DecodeRequest(*message).status().IgnoreError();
    DecodeReply(*message).status().IgnoreError();
  }
  if (auto change = DecodeChange(bytes); change.ok()) CHECK(DecodeChange(EncodeChange(*change)).ok());
  if (auto request = DecodeRequest(bytes); request.ok()) CHECK(DecodeRequest(EncodeRequest(*request)).ok());
  if (auto reply = DecodeReply(bytes); reply.ok()) CHECK(DecodeReply(EncodeReply(*reply)).ok());
}

std::vector<ByteString> Samples() {
  PageReply page;
  page.changes = {EncodeChange(SampleChange())};
  page.next = {9, {}};
  std::vector<ByteString> samples = {
      EncodeChange(SampleChange()),
      EncodeRequest(SampleRequest(SamplePush())),
      EncodeRequest(SampleRequest(PullRequest{{3, {}}, 9, 100, 1000, 5, SamplePush().base})),
      EncodeRequest(SampleRequest(BlobHaveRequest{{BlobId{}, BlobId{}}})),
      EncodeRequest(SampleRequest(BlobPutRequest{{}, 10, 2, "abc"})),
      EncodeReply(page),
      EncodeReply(HelloReply{5, {7, {}}, SamplePush().base}),
      EncodeReply(BlobNeedReply{{{BlobId{}, 4}}}),
      EncodeReply(RefusedReply{ErrorCode::kLimit, "too much"}),
  };
  const std::size_t message_count = samples.size();
  for (std::size_t i = 0; i < message_count; ++i) samples.push_back(*EncodeFrame(samples[i]));
  return samples;
}

TEST_CASE("protocol: truncated bytes are refused or decode to something valid") {
  for (const ByteString& sample : Samples()) {
    for (std::size_t size = 0; size < sample.size(); ++size) DecodeAnything(Bytes(sample).substr(0, size));
  }
}

TEST_CASE("protocol: flipped and random bytes are refused or decode to something valid") {
  SeededRandom random(20261122);
  const std::vector<ByteString> samples = Samples();
  for (int i = 0; i < 20'000; ++i) {
    ByteString bytes = samples[random.Next64() % samples.size()];
    const std::size_t flips = 1 + random.Next64() % 4;
    for (std::size_t flip = 0; flip < flips; ++flip) {
      char& byte = bytes[random.Next64() % bytes.size()];
      byte = static_cast<char>(byte ^ (1 << (random.Next64() % 8)));
    }
    if (random.Next64() % 4 == 0) bytes.insert(random.Next64() % bytes.size(), random.Generate(random.Next64() % 9));
    DecodeAnything(bytes);
  }
  for (int i = 0; i < 2'000; ++i) DecodeAnything(random.Generate(random.Next64() % 200));
}

TEST_CASE("frame: text is compressed, noise and what inflates too much are sent as they are") {
  SeededRandom random(1);
  std::string text;
  for (int i = 0; i < 1'000; ++i) text += "{\"pump\":" + std::to_string(random.Next64() % 100) + "}";
  for (const ByteString& message :
       {ByteString(text), random.Generate(5'000), ByteString(1'000'000, 'x'), ByteString()}) {
    const auto frame = EncodeFrame(message);
    REQUIRE_MESSAGE(frame.ok(), frame.status().ToString());
    const auto decoded = DecodeFrame(*frame);
    REQUIRE_MESSAGE(decoded.ok(), decoded.status().ToString());
    CHECK(*decoded == message);
  }
  CHECK(EncodeFrame(text)->size() < text.size() / 3);
  CHECK(EncodeFrame(ByteString(kMessageBytesMax + 1, 'x')).status().code() == ErrorCode::kLimit);
}

ByteString ZstdFrame(Bytes content) {
  ByteString frame(1 + ZSTD_compressBound(content.size()), '\1');
  frame.resize(1 + ZSTD_compress(frame.data() + 1, frame.size() - 1, content.data(), content.size(), 3));
  return frame;
}

TEST_CASE("frame: a zip bomb is refused before it is inflated") {
  CHECK(DecodeFrame(ZstdFrame(ByteString(10'000'000, '\0'))).status().code() == ErrorCode::kLimit);
  CHECK(DecodeFrame(ZstdFrame(ByteString(200'000'000, '\0'))).status().code() == ErrorCode::kLimit);
  // A content size that lies: RFC 8878's frame header with the single-segment flag and an 8-byte size.
  ByteString lie("\1\x28\xB5\x2F\xFD\xE0", 6);
  AppendFixed<std::uint64_t>(lie, 1ULL << 60);
  lie.append(ZstdFrame("abc").substr(6));
  CHECK(!DecodeFrame(lie).ok());
}

TEST_CASE("frame: bytes after the zstd frame, an unknown kind and no bytes at all are refused") {
  ByteString frame = ZstdFrame("hello");
  CHECK(DecodeFrame(frame).ok());
  CHECK(DecodeFrame(frame + "x").status().code() == ErrorCode::kCorruption);
  frame[0] = 2;
  CHECK(DecodeFrame(frame).status().code() == ErrorCode::kCorruption);
  CHECK(DecodeFrame("").status().code() == ErrorCode::kCorruption);
  CHECK(DecodeFrame(ByteString(kFrameBytesMax + 1, '\0')).status().code() == ErrorCode::kLimit);
}

void AppendField(ByteString& out, std::uint32_t number, Bytes content) {
  AppendVarint(out, number << 3 | 2);
  AppendPrefixed(out, content);
}

TEST_CASE("message: counts are bounded before anything is built") {
  PushRequest push = SamplePush();
  push.changes.assign(kBatchChangeCountMax, push.changes[0]);
  push.unit_ends = {static_cast<std::uint32_t>(kBatchChangeCountMax - 1)};
  CHECK(DecodeRequest(EncodeRequest(SampleRequest(push))).ok());
  push.changes.push_back(push.changes[0]);
  push.unit_ends[0] += 1;
  CHECK(DecodeRequest(EncodeRequest(SampleRequest(push))).status().code() == ErrorCode::kLimit);
  // Groups of nothing: two bytes each on the wire, much more in memory.
  ByteString change;
  for (int i = 0; i < 5'000'000; ++i) AppendField(change, 4, "");
  CHECK(DecodeChange(change).status().code() == ErrorCode::kLimit);
}

TEST_CASE("message: nesting, wire groups and endless varints are refused") {
  ByteString nested;
  for (int depth = 0; depth < 100; ++depth) {
    ByteString outer;
    AppendField(outer, 11, nested);
    nested = outer;
  }
  CHECK(!DecodeRequest(nested).ok());
  CHECK(!DecodeRequest(ByteString("\x0B\x0C", 2)).ok());
  CHECK(!DecodeRequest(ByteString(64, '\xFF')).ok());
}

TEST_CASE("message: push units must be in order and complete") {
  for (const std::vector<std::uint32_t>& ends : {std::vector<std::uint32_t>{}, {0}, {1, 0}, {0, 0, 1}, {0, 2}, {2}}) {
    PushRequest push = SamplePush();
    push.unit_ends = ends;
    CHECK(!DecodeRequest(EncodeRequest(SampleRequest(push))).ok());
  }
}

TEST_CASE("message: blob ranges beyond the blob or the limits are refused") {
  CHECK(DecodeRequest(EncodeRequest(SampleRequest(BlobPutRequest{{}, 10, 7, "abc"}))).ok());
  CHECK(!DecodeRequest(EncodeRequest(SampleRequest(BlobPutRequest{{}, 10, 8, "abc"}))).ok());
  CHECK(!DecodeRequest(EncodeRequest(SampleRequest(BlobPutRequest{{}, 10, UINT64_MAX, "abc"}))).ok());
  CHECK(!DecodeRequest(EncodeRequest(SampleRequest(BlobPutRequest{{}, kBlobBytesMax + 1, 0, "abc"}))).ok());
  CHECK(!DecodeReply(EncodeReply(BlobChunkReply{{}, false, 4, 2, "abc"})).ok());
}

}  // namespace
}  // namespace foreshore
