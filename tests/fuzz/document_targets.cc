// Documents, their stored records, changes of a peer and sync's messages.
#include "engine/document/json.h"
#include "engine/document/record.h"
#include "engine/document/record_format.h"
#include "engine/readings/reading_column.h"
#include "engine/readings/reading_record.h"
#include "storage/base/checksum.h"
#include "storage/base/coding.h"
#include "sync/protocol/document_codec.h"
#include "sync/protocol/frame.h"
#include "sync/protocol/limits.h"
#include "sync/protocol/messages.h"
#include "tests/engine/document/builders.h"
#include "tests/fuzz/fuzz_target.h"

namespace foreshore {
namespace {

constexpr char kDocument[] =
    R"({ "a" : [1, -2.50e+3, true, null, {"b.c": "\u00e4\n\ud83d\ude00"}], "site": {"name": "A", "x": {}} })";
constexpr char kPatch[] = R"({"site":{"name":null,"y":[1]},"a":"x"})";

bool RunDocument(Bytes input) {
  const FuzzPair pair = SplitFuzzInput(input);
  const auto value = NormaliseValue(pair.first);
  const auto document = NormaliseDocument(pair.first);
  FuzzCheck(!document.ok() || value.ok(), "a document is a value");
  ParsePath(pair.first).status().IgnoreError();
  UnescapeString(pair.first).status().IgnoreError();
  if (!document.ok()) return false;
  const auto again = NormaliseDocument(*document);
  FuzzCheck(again.ok() && *again == *document, "a normalised document stays as it is");
  for (const JsonLeaf& leaf : FlattenDocument(*document)) {
    FuzzCheck(FindValue(*document, leaf.path) == leaf.value, "a leaf is found by its path");
  }
  const auto patch = NormaliseDocument(pair.second);
  if (!patch.ok()) return true;
  const auto merged = MergePatch(*document, *patch);
  if (merged.ok()) FuzzCheck(NormaliseDocument(*merged).ok(), "a merge is a document");
  return true;
}

ByteString Record(SessionTable& sessions) {
  const std::string body = NormaliseDocument(kDocument).value();
  return EncodeNewDocument("d", body, TestHlc(5), TestSession(1), 1, sessions).record;
}

// With its checksum made right, so that what lies behind it is met.
bool RunRecord(Bytes given) {
  ByteString input(given);
  if (input.size() >= record_format::kFixedBytes) {
    ByteString sum;
    AppendFixed(sum, record_format::ChecksumOf(input));
    input.replace(record_format::kChecksumOffset, sum.size(), sum);
  }
  SessionTable sessions;
  sessions.AddLocal(TestSession(1));
  ViewRecord(input).status().IgnoreError();
  SessionTable::DecodeEntry(input).status().IgnoreError();
  return DecodeRecord(input, sessions).ok();
}

// A version and the checksum of the rest, which is made right, so that what lies behind it is met.
bool RunReadings(Bytes input) {
  constexpr std::size_t kHeadBytes = 5;
  ByteString bytes(input);
  if (bytes.size() >= kHeadBytes) {
    ByteString sum;
    AppendFixed(sum, Crc32c(Bytes(bytes).substr(kHeadBytes)));
    bytes.replace(1, 4, sum);
  }
  const auto view = DecodeReadingRecord(bytes);
  if (!view.ok()) return false;
  for (const ReadingRunView& run_view : view->runs) {
    auto run = ReadingRun::Open(run_view);
    if (!run.ok()) continue;
    std::string body;
    for (std::size_t row = 0; row < run->count() && row < 64; ++row) {
      body.clear();
      if (!run->AppendBody(body, run_view.series, row).ok()) break;
    }
  }
  return true;
}

bool RunColumn(Bytes input) {
  const FuzzPair pair = SplitFuzzInput(input);
  const std::size_t count = pair.first.size();
  const auto column = DecodeReadingColumn(pair.second, count);
  std::string token;
  for (std::size_t i = 0; column.ok() && i < count; ++i) column->AppendToken(token, i);
  return DecodeSteadyColumn(pair.second, count).ok() || column.ok();
}

std::vector<ByteString> ColumnSeeds() {
  std::vector<ByteString> seeds;
  for (const std::vector<std::string_view>& tokens :
       std::vector<std::vector<std::string_view>>{{"1", "2", "-3"},
                                                  {"20", "20.5", "20.25"},
                                                  {"\"a\"", "\"b\"", "null"},
                                                  {"7", "7", "7"},
                                                  {"1e3", "2", "{}"}}) {
    ByteString encoded;
    EncodeReadingColumn(encoded, tokens);
    seeds.push_back(JoinFuzzInput("123", encoded));
  }
  ByteString steady;
  EncodeSteadyColumn(steady, std::vector<std::int64_t>{INT64_MIN, 0, INT64_MAX});
  seeds.push_back(JoinFuzzInput("123", steady));
  return seeds;
}

std::vector<ByteString> ReadingSeeds() {
  ReadingRecordBuilder builder("\"t\"", "\"s\"");
  std::int64_t number = 1;
  for (const char* body : {R"({"t":5,"s":"a","v":1.50})", R"({"s":"b","v":2,"t":1})", R"({"t":3,"s":"a","v":1.25})",
                           R"({"t":4,"s":"a"})", R"({"t":2,"s":7,"v":{"x":[1]}})"}) {
    FuzzCheck(builder.Parse(body).ok(), "a seed is a reading");
    builder.Add(number++);
  }
  return {builder.TakeRecord(100)};
}

SyncChange SampleChange() {
  WriteGroup group;
  group.hlc = TestHlc(1);
  group.session = TestSession(1);
  group.op_last = 3;
  group.changes_life = true;
  Register value;
  value.stamp = {group.hlc, group.session, 1};
  value.creation = value.stamp;
  value.value = R"([1,{"a":"x"}])";
  group.writes.emplace_back("site\xFFname", value);
  WriteGroup second;
  second.hlc = TestHlc(2);
  second.session = TestSession(2);
  second.op_last = 9;
  second.seen.Add({group.hlc, group.session, 3});
  Register tombstone;
  tombstone.stamp = {second.hlc, second.session, 9};
  tombstone.creation = tombstone.stamp;
  tombstone.is_tombstone = true;
  second.writes.emplace_back("site", tombstone);
  return {"notes", {"n1", {group, second}}};
}

// What decodes must be what every device can join, and encode to what decodes to the same.
bool RunChange(Bytes input) {
  const auto change = DecodeChange(input);
  if (!change.ok()) return false;
  const ByteString encoded = EncodeChange(*change);
  const auto again = DecodeChange(encoded);
  FuzzCheck(again.ok() && EncodeChange(*again) == encoded, "a change comes back");
  DocumentState state = EmptyState(change->change.id);
  for (const WriteGroup& group : change->change.groups) {
    FuzzCheck(JoinGroup(state, group, {}).ok(), "a change that decodes can be joined");
  }
  return true;
}

std::vector<ByteString> MessageSeeds() {
  const ByteString change = EncodeChange(SampleChange());
  PushRequest push;
  push.changes = {change, change};
  push.unit_ends = {0, 1};
  PageReply page;
  page.changes = {change};
  return {EncodeRequest({"c", {}, HelloRequest{}}),
          EncodeRequest({"c", {}, push}),
          EncodeRequest({"c", {}, PullRequest{}}),
          EncodeRequest({"c", {}, BlobHaveRequest{{BlobId{}, BlobId{}}}}),
          EncodeRequest({"c", {}, BlobPutRequest{BlobId{}, 100, 4, "data"}}),
          EncodeReply(page),
          EncodeReply(BlobNeedReply{{{BlobId{}, 5}}}),
          EncodeReply(BlobChunkReply{BlobId{}, false, 100, 4, "data"}),
          EncodeReply(RefusedReply{ErrorCode::kLimit, "too much"})};
}

bool RunMessage(Bytes input) {
  const auto request = DecodeRequest(input);
  if (request.ok()) FuzzCheck(DecodeRequest(EncodeRequest(*request)).ok(), "a request comes back");
  const auto reply = DecodeReply(input);
  if (reply.ok()) FuzzCheck(DecodeReply(EncodeReply(*reply)).ok(), "a reply comes back");
  return request.ok() || reply.ok();
}

std::vector<ByteString> FrameSeeds() {
  std::vector<ByteString> frames;
  for (const ByteString& message : MessageSeeds()) frames.push_back(EncodeFrame(message).value());
  frames.push_back(EncodeFrame(ByteString(5'000, 'a')).value());
  return frames;
}

}  // namespace

std::vector<FuzzTarget> DocumentFuzzTargets() {
  return {
      {"document",
       [] {
         return std::vector{JoinFuzzInput(kDocument, kPatch), JoinFuzzInput(kPatch, kDocument)};
       },
       RunDocument, 0, 3'000},
      {"record",
       [] {
         SessionTable sessions;
         return std::vector{Record(sessions)};
       },
       RunRecord, 0, 3'000},
      {"reading_record", ReadingSeeds, RunReadings, 0, 3'000},
      {"reading_column", ColumnSeeds, RunColumn, 0, 3'000},
      {"sync_change", [] { return std::vector{EncodeChange(SampleChange())}; }, RunChange, 0, 3'000},
      {"sync_message", MessageSeeds, RunMessage, 0, 3'000},
      {"sync_frame", FrameSeeds, [](Bytes input) { return DecodeFrame(input).ok(); }, 0, 3'000},
  };
}

}  // namespace foreshore
