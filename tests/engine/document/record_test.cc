#include "engine/document/record.h"

#include <doctest/doctest.h>

#include <fstream>
#include <sstream>

#include "engine/document/record_format.h"
#include "storage/base/checksum.h"
#include "storage/base/coding.h"
#include "tests/engine/document/builders.h"

namespace foreshore {
namespace {

// Writes to one document by several sessions; joins everything at once.
struct Writer {
  explicit Writer(const std::string& id = "d") : state(EmptyState(id)) {}

  Writer& Put(const std::string& body, std::int64_t ms, std::uint64_t session = 1, std::uint32_t first_op = 0) {
    const WriteGroup group = DiffPut(state, Materialise(state), state.seen, NormaliseDocument(body).value(),
                                     TestHlc(ms), TestSession(session), first_op);
    return Join(group);
  }
  Writer& Delete(std::int64_t ms, std::uint64_t session = 1) {
    return Join(MakeDelete(state, TestHlc(ms), TestSession(session), 0));
  }
  Writer& Join(const WriteGroup& group) {
    const auto outcome = JoinGroup(state, group, {}, {[](const SessionKey& key) { return key == TestSession(1); }, 0});
    REQUIRE_MESSAGE(outcome.ok(), outcome.status().ToString());
    return *this;
  }
  ByteString Encode(SessionTable& sessions) const { return EncodeRecord(state, Materialise(state), sessions); }
  std::size_t HeaderBytes() const {
    SessionTable sessions;
    return ViewRecord(Encode(sessions))->header_bytes;
  }

  DocumentState state;
};

// A local removal and an edit, both hidden by concurrent remote writes; a hidden scalar; a second life.
DocumentState BusyState() {
  Writer local("busy");
  local.Put(R"({"x":1})", 1).Delete(2).Put(R"({"a":{"x":1},"b":2,"c":{"k":1}})", 3);
  Writer remote("busy");
  remote.state = local.state;
  remote.state.seen_history.clear();
  local.Put(R"({"a":5,"b":3})", 70'004);
  const WriteGroup group = DiffPut(remote.state, Materialise(remote.state), remote.state.seen,
                                   R"({"a":{"x":1,"y":[7]},"b":9,"c":4})", TestHlc(80'000) + 5, TestSession(2), 20);
  local.Join(group);
  local.Put(R"({"a":{"y":[7]},"b":9,"c":4,"d":{}})", 90'000, 3);
  return local.state;
}

void FixChecksum(ByteString& record) {
  const std::uint32_t checksum = record_format::ChecksumOf(record);
  std::memcpy(record.data() + record_format::kChecksumOffset, &checksum, sizeof(checksum));
}

TEST_CASE("new document: the fast path writes the bytes of the general path") {
  for (const char* body : {"{}", R"({"a":1})", R"({"a":{"b":{},"c":[1,{"x":2}],"d":{"e":"t:{"}},"f":"q\"{:","g":[]})",
                           R"({"":{"":{}},"b":[[]],"c":"\\"})", R"({"a":{"b":{"c":{"d":1,"e":[{}]}}},"f":{}})"}) {
    CAPTURE(body);
    for (const std::uint32_t first_op : {0U, 6U, 7U, 1000U}) {
      SessionTable sessions;
      sessions.AddLocal(TestSession(9));
      sessions.AddLocal(TestSession(1));
      DocumentState state = EmptyState("some id");
      const WriteGroup group = DiffPut(state, "", state.seen, body, TestHlc(5) + 3, TestSession(1), first_op);
      REQUIRE(JoinGroup(state, group, {}).ok());
      const ByteString general = EncodeRecord(state, Materialise(state), sessions);
      const NewRecord direct = EncodeNewDocument("some id", body, TestHlc(5) + 3, TestSession(1), first_op, sessions);
      CHECK(direct.record == general);
      CHECK(direct.op_last == group.op_last);
      const auto decoded = DecodeRecord(general, sessions);
      REQUIRE_MESSAGE(decoded.ok(), decoded.status().ToString());
      CHECK(*decoded == state);
    }
  }
}

TEST_CASE("record: views and states come back, alive and deleted") {
  SessionTable sessions;
  for (const DocumentState& state :
       {Writer().Put("{}", 1).state, Writer().Put(R"({"a":1})", 1).Delete(2).state, BusyState(),
        Writer(std::string(255, 'i')).Put(R"({"a":{"b":1},"c":2})", 1).Put(R"({"a":3})", 2, 2).state}) {
    const std::string body = Materialise(state);
    const ByteString record = EncodeRecord(state, body, sessions);
    const auto view = ViewRecord(record);
    REQUIRE(view.ok());
    CHECK(view->id == state.id);
    CHECK(view->body == body);
    CHECK(view->alive == state.alive());
    CHECK(view->header_bytes + state.id.size() + body.size() == record.size());
    const auto decoded = DecodeRecord(record, sessions);
    REQUIRE_MESSAGE(decoded.ok(), decoded.status().ToString());
    CHECK(*decoded == state);
  }
  const DocumentState busy = BusyState();
  CHECK_FALSE(busy.seen_history.empty());
  CHECK_FALSE(busy.overtaken.empty());
  CHECK(busy.life == 3);
}

// Sizes of all but id and body. FORESHORE_PRINT_SIZES prints them.
TEST_CASE("record: a document that was never synced pays at most 32 bytes") {
  const std::string fields = R"("b":2,"c":{"d":"text","e":[1,2]},"f":true,"g":null,"h":{"i":1,"j":2,"k":3}})";
  const auto body = [&fields](int a) { return "{\"a\":" + std::to_string(a) + "," + fields; };
  const struct {
    const char* what;
    std::size_t bytes;
    std::size_t bytes_max;
  } sizes[] = {
      {"one put", Writer().Put(body(1), 0).HeaderBytes(), 20},
      {"one put, late in a large transaction", Writer().Put(body(1), 0, 1, 50'000).HeaderBytes(), 20},
      {"one put, an empty document", Writer().Put("{}", 0).HeaderBytes(), 20},
      {"a put and 1 change of one field, minutes apart", Writer().Put(body(1), 0).Put(body(2), 200'000).HeaderBytes(),
       32},
      {"a put and 2 changes of one field, minutes apart",
       Writer().Put(body(1), 0).Put(body(2), 200'000).Put(body(3), 400'000).HeaderBytes(), 32},
      {"a put and changes of two fields, minutes apart",
       Writer().Put(body(1), 0).Put(body(2), 200'000).Put("{\"a\":2,\"b\":9" + fields.substr(5), 400'000).HeaderBytes(),
       32},
      {"a put and changes of three fields, seconds apart",
       Writer()
           .Put(R"({"a":1,"b":2,"c":3,"d":4})", 0)
           .Put(R"({"a":2,"b":2,"c":3,"d":4})", 5'000)
           .Put(R"({"a":2,"b":3,"c":3,"d":4})", 10'000)
           .Put(R"({"a":2,"b":3,"c":4,"d":4})", 15'000)
           .HeaderBytes(),
       32},
      {"a put and another that changes all fields, hours apart",
       Writer().Put(R"({"a":1,"b":2,"c":3,"d":4})", 0).Put(R"({"a":2,"b":3,"c":4,"d":5})", 9'000'000).HeaderBytes(),
       32},
      {"a put and a field added, minutes apart",
       Writer().Put(R"({"a":1,"b":2})", 0).Put(R"({"a":1,"b":2,"c":3})", 100'000).HeaderBytes(), 32},
      {"a put and a field changed by another session, a day apart",
       Writer().Put(body(1), 0).Put(body(2), 86'400'000, 2).HeaderBytes(), 40},
      {"deleted", Writer().Put(body(1), 0).Delete(10'000).HeaderBytes(), 32},
  };
  for (const auto& size : sizes) {
    CAPTURE(size.what);
    CHECK(size.bytes <= size.bytes_max);
    if (std::getenv("FORESHORE_PRINT_SIZES") != nullptr) std::printf("%3zu bytes  %s\n", size.bytes, size.what);
  }
}

// Goal: bytes from a damaged file are an error, or a state that the codec itself stands by; never a crash.
bool IsRefusal(const Status& status) {
  return status.code() == ErrorCode::kCorruption || status.code() == ErrorCode::kUnsupported;
}

void CheckHostile(const ByteString& record, const SessionTable& sessions) {
  const auto view = ViewRecord(record);
  const auto decoded = DecodeRecord(record, sessions);
  if (!view.ok()) {
    CHECK(IsRefusal(view.status()));
    CHECK_FALSE(decoded.ok());
  }
  if (!decoded.ok()) {
    CHECK(IsRefusal(decoded.status()));
    return;
  }
  SessionTable again;  // The same numbers.
  for (std::uint32_t number = 0; sessions.KeyOf(number) != nullptr; ++number) again.NumberOf(*sessions.KeyOf(number));
  const ByteString encoded = EncodeRecord(*decoded, Materialise(*decoded), again);
  const auto second = DecodeRecord(encoded, again);
  REQUIRE_MESSAGE(second.ok(), second.status().ToString());
  CHECK(*second == *decoded);
}

TEST_CASE("record: truncated bytes are corruption, at each length") {
  SessionTable sessions;
  for (const DocumentState& state : {BusyState(), Writer().Put(R"({"a":1,"b":[2]})", 1).state}) {
    const ByteString record = EncodeRecord(state, Materialise(state), sessions);
    for (std::size_t size = 0; size < record.size(); ++size) {
      CAPTURE(size);
      ByteString part = record.substr(0, size);
      CHECK(DecodeRecord(part, sessions).status().code() == ErrorCode::kCorruption);
      if (size < record_format::kFixedBytes) continue;
      FixChecksum(part);
      CheckHostile(part, sessions);
    }
  }
}

TEST_CASE("record: a flipped bit is noticed by the checksum, and without it never crashes") {
  SessionTable sessions;
  for (const DocumentState& state : {BusyState(), Writer().Put(R"({"a":1,"b":[2]})", 1).state}) {
    const ByteString record = EncodeRecord(state, Materialise(state), sessions);
    for (std::size_t bit = 0; bit < record.size() * 8; ++bit) {
      CAPTURE(bit);
      ByteString damaged = record;
      damaged[bit / 8] = static_cast<char>(damaged[bit / 8] ^ (1 << (bit % 8)));
      CHECK(IsRefusal(DecodeRecord(damaged, sessions).status()));
      FixChecksum(damaged);
      CheckHostile(damaged, sessions);
    }
  }
}

TEST_CASE("record: random damage with a right checksum never crashes") {
  SessionTable sessions;
  SeededRandom random(7);
  const DocumentState state = BusyState();
  const ByteString record = EncodeRecord(state, Materialise(state), sessions);
  for (int i = 0; i < 20'000; ++i) {
    CAPTURE(i);
    ByteString damaged = record;
    for (std::uint64_t n = random.Next64() % 4 + 1; n > 0; --n) {
      const std::size_t at =
          record_format::kFixedBytes + random.Next64() % (damaged.size() - record_format::kFixedBytes);
      if (random.Next64() % 3 == 0) {
        damaged.erase(at, 1);
      } else {
        damaged[at] = static_cast<char>(random.Next64());
      }
    }
    FixChecksum(damaged);
    CheckHostile(damaged, sessions);
  }
}

TEST_CASE("record: an unknown session is corruption, a newer version is unsupported, and both say so") {
  SessionTable sessions;
  const ByteString record = Writer().Put(R"({"a":1})", 1).Encode(sessions);
  const auto unknown = DecodeRecord(record, SessionTable());
  REQUIRE_FALSE(unknown.ok());
  CHECK(unknown.status().code() == ErrorCode::kCorruption);
  CHECK(unknown.status().message() == "record of document \"d\": header: session number 0 is not in the session table");
  ByteString newer = record;
  newer[0] = static_cast<char>((newer[0] & ~15) | 2);
  CHECK(ViewRecord(newer).status().code() == ErrorCode::kUnsupported);
  CHECK(ViewRecord(newer).status().message() == "record of document \"d\": found version 2, expected 1");
}

TEST_CASE("record: a merge may hold more than one writer's limits") {
  std::string first = "{";
  std::string second = "{";
  for (int i = 0; i < 3000; ++i) {
    first += (i > 0 ? ",\"a" : "\"a") + std::to_string(i) + "\":1";
    second += (i > 0 ? ",\"b" : "\"b") + std::to_string(i) + "\":1";
  }
  Writer writer;
  writer.Put(first + "}", 1);
  const DocumentState blank = EmptyState();
  writer.Join(DiffPut(blank, "", blank.seen, second + "}", TestHlc(2), TestSession(2), 0));
  CHECK(writer.state.registers.size() == 6000);
  SessionTable sessions;
  const auto decoded = DecodeRecord(writer.Encode(sessions), sessions);
  REQUIRE_MESSAGE(decoded.ok(), decoded.status().ToString());
  CHECK(*decoded == writer.state);
}

// Goal: version 1 stays readable for ever.
// Method: a file of records written when version 1 was made. FORESHORE_WRITE_GOLDEN writes it anew, for a new version.
TEST_CASE("record: version 1 reads and writes its golden file") {
  SessionTable sessions;
  sessions.AddLocal(TestSession(1));
  sessions.NumberOf(TestSession(2));
  const std::pair<const char*, DocumentState> states[] = {
      {"one_put", Writer("note 1").Put(R"({"title":"pump","site":{"name":"A","floor":2},"tags":[1,2]})", 1).state},
      {"patched", Writer("note 2").Put(R"({"a":1,"b":{"c":2,"d":3}})", 1).Put(R"({"a":1,"b":{"c":5}})", 60'000).state},
      {"deleted", Writer("note 3").Put(R"({"a":1})", 1).Delete(2, 2).state},
      {"busy", BusyState()},
  };
  std::ostringstream written;
  for (const auto& [name, state] : states) {
    written << name << ' ' << ToHex(EncodeRecord(state, Materialise(state), sessions)) << '\n';
  }
  const std::string path = std::string(FORESHORE_GOLDEN_PATH) + "/document_record_v1.txt";
  if (std::getenv("FORESHORE_WRITE_GOLDEN") != nullptr) std::ofstream(path) << written.str();
  std::ifstream file(path);
  REQUIRE(file.good());
  std::ostringstream golden;
  golden << file.rdbuf();
  CHECK(golden.str() == written.str());
  std::istringstream lines(golden.str());
  for (const auto& [name, state] : states) {
    std::string found_name;
    std::string hex;
    lines >> found_name >> hex;
    CHECK(found_name == name);
    const auto decoded = DecodeRecord(FromHex(hex).value(), sessions);
    REQUIRE_MESSAGE(decoded.ok(), decoded.status().ToString());
    CHECK(*decoded == state);
  }
}

TEST_CASE("session table: numbers are given once, listed until saved and loaded again") {
  SessionTable sessions;
  CHECK(sessions.AddLocal(TestSession(1)) == 0);
  CHECK(sessions.NumberOf(TestSession(2)) == 1);
  CHECK(sessions.NumberOf(TestSession(1)) == 0);
  CHECK(sessions.IsLocal(TestSession(1)));
  CHECK_FALSE(sessions.IsLocal(TestSession(2)));
  CHECK_FALSE(sessions.IsLocal(TestSession(3)));
  CHECK(*sessions.KeyOf(1) == TestSession(2));
  CHECK(sessions.KeyOf(2) == nullptr);
  const auto unsaved = sessions.Unsaved();
  REQUIRE(unsaved.size() == 2);

  SessionTable loaded;
  for (const auto& [number, entry] : unsaved) {
    const auto decoded = SessionTable::DecodeEntry(SessionTable::EncodeEntry(entry));
    REQUIRE(decoded.ok());
    loaded.Load(number, *decoded);
  }
  sessions.MarkSaved(1);
  CHECK(sessions.Unsaved().empty());
  CHECK(loaded.Unsaved().empty());
  CHECK(loaded.IsLocal(TestSession(1)));
  CHECK(loaded.NumberOf(TestSession(3)) == 2);
  CHECK(loaded.Unsaved().size() == 1);
}

TEST_CASE("session table: damaged entries are refused") {
  const ByteString entry = SessionTable::EncodeEntry({TestSession(7), true});
  CHECK(entry.size() == 26);
  for (std::size_t size = 0; size < entry.size(); ++size) {
    CHECK(SessionTable::DecodeEntry(entry.substr(0, size)).status().code() == ErrorCode::kCorruption);
  }
  CHECK(SessionTable::DecodeEntry(entry + "x").status().code() == ErrorCode::kCorruption);
  ByteString damaged = entry;
  damaged[1] = 2;
  CHECK(SessionTable::DecodeEntry(damaged).status().code() == ErrorCode::kCorruption);
  damaged = entry;
  damaged[0] = 2;
  CHECK(SessionTable::DecodeEntry(damaged).status().code() == ErrorCode::kUnsupported);
}

}  // namespace
}  // namespace foreshore
