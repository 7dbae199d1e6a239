// What one document costs on its way in: validator, join, materialisation and record, for a 500-byte document.
// Prints nanoseconds of processor time per call, the median of several rounds, and the validator's throughput.
#include <time.h>

#include <algorithm>
#include <cstdio>
#include <functional>
#include <string>
#include <vector>

#include "engine/document/json.h"
#include "engine/document/record.h"
#include "engine/document/registers.h"

namespace foreshore {
namespace {

constexpr int kRounds = 9;

double ProcessorNs() {
  timespec now{};
  ::clock_gettime(CLOCK_THREAD_CPUTIME_ID, &now);
  return static_cast<double>(now.tv_sec) * 1e9 + static_cast<double>(now.tv_nsec);
}

double MedianNs(int calls, const std::function<void(int)>& call) {
  std::vector<double> rounds;
  for (int round = 0; round < kRounds; ++round) {
    const double begin = ProcessorNs();
    for (int i = 0; i < calls; ++i) call(i);
    rounds.push_back((ProcessorNs() - begin) / calls);
  }
  std::sort(rounds.begin(), rounds.end());
  return rounds[kRounds / 2];
}

// Volatile, so that no result is optimised away.
volatile std::size_t sink;

void Print(const char* what, double nanoseconds) {
  std::printf("%-58s %9.0f ns\n", what, nanoseconds);
}

void PrintThroughput(const char* what, const std::string& text) {
  const int calls = static_cast<int>(20'000'000 / text.size());
  const double nanoseconds = MedianNs(calls, [&text](int) { sink = NormaliseDocument(text).value().size(); });
  std::printf("%-58s %9.0f MB/s\n", what, static_cast<double>(text.size()) * 1000 / nanoseconds);
}

int Run() {
  const std::string text =
      R"({"package": "libfoo-dev", "section": "libdevel", "priority": "optional", "size": 184320, )"
      R"("maintainer": {"name": "A. Developer", "mail": "a@example.org"}, "tags": ["devel::library", "role::devel-lib"], )"
      R"("description": "Development files for a library that reads and writes the formats that instruments on a plant's )"
      R"(floor speak, with its headers, a static archive and the manual pages. Programs that only use the library need the )"
      R"(shared one alone; this package is for those who compile against it.", "installed": true})";
  const std::string body = NormaliseDocument(text).value();
  std::printf("document: %zu bytes, %zu leaves\n", body.size(), FlattenDocument(body).size());
  SessionKey session;
  session.session = 1;
  const std::uint64_t hlc = HlcFromUnixMs(1'790'000'000'000);
  SessionTable sessions;
  sessions.AddLocal(session);
  const LocalSessions local{[&session](const SessionKey& key) { return key == session; }, 0};
  constexpr int kCalls = 20'000;

  Print("NormaliseDocument", MedianNs(kCalls, [&](int) { sink = NormaliseDocument(text).value().size(); }));
  Print("EncodeNewDocument", MedianNs(kCalls, [&](int i) {
          sink = EncodeNewDocument("id", body, hlc + static_cast<std::uint64_t>(i), session, 0, sessions).record.size();
        }));
  Print("a first put: NormaliseDocument + EncodeNewDocument", MedianNs(kCalls, [&](int i) {
          const std::string normal = NormaliseDocument(text).value();
          sink =
              EncodeNewDocument("id", normal, hlc + static_cast<std::uint64_t>(i), session, 0, sessions).record.size();
        }));

  DocumentState state;
  state.id = "id";
  const WriteGroup creation = DiffPut(state, "", state.seen, body, hlc, session, 0);
  Print("JoinGroup of a new document", MedianNs(kCalls, [&](int) {
          DocumentState fresh;
          sink = JoinGroup(fresh, creation, {}, local).value().lost.size() + fresh.registers.size();
        }));
  JoinGroup(state, creation, {}, local).status().IgnoreError();
  Print("Materialise", MedianNs(kCalls, [&](int) { sink = Materialise(state).size(); }));
  Print("EncodeRecord", MedianNs(kCalls, [&](int) { sink = EncodeRecord(state, body, sessions).size(); }));
  const ByteString record = EncodeRecord(state, body, sessions);
  Print("ViewRecord", MedianNs(kCalls, [&](int) { sink = ViewRecord(record).value().body.size(); }));
  Print("DecodeRecord", MedianNs(kCalls, [&](int) { sink = DecodeRecord(record, sessions).value().registers.size(); }));
  Print("an update of one field: Decode to EncodeRecord", MedianNs(kCalls, [&](int i) {
          DocumentState updated = DecodeRecord(record, sessions).value();
          const std::string after = MergePatch(body, "{\"size\":" + std::to_string(i) + "}").value();
          const WriteGroup group = DiffPut(updated, body, updated.seen, after, hlc + 65'536, session, 0);
          JoinGroup(updated, group, {}, local).status().IgnoreError();
          sink = EncodeRecord(updated, Materialise(updated), sessions).size();
        }));

  std::string before = "{";
  std::string after = "{";
  for (int i = 0; i < 4096; ++i) {
    const std::string key = (i > 0 ? ",\"key" : "\"key") + std::to_string(i) + "\":";
    before += key + "1";
    after += key + "2";
  }
  before += "}";
  after += "}";
  DocumentState large;
  JoinGroup(large, DiffPut(large, "", {}, before, hlc, session, 0), {}, local).status().IgnoreError();
  const WriteGroup rewrite = DiffPut(large, before, {}, after, hlc + 65'536, session, 0);
  Print("JoinGroup of 4096 changed fields that all lose", MedianNs(1, [&](int) {
          DocumentState updated = large;
          sink = JoinGroup(updated, rewrite, {}, local).value().lost.size();
        }));

  PrintThroughput("NormaliseDocument, the same document", text);
  std::string list = "{\"list\":[";
  for (int i = 0; i < 800; ++i)
    list += (i > 0 ? ",\n  {\"id\": " : "{\"id\": ") + std::to_string(i) + ", \"value\": 1.5}";
  PrintThroughput("NormaliseDocument, many small members and numbers", list + "]}");
  std::string keys = "{";
  for (int i = 0; i < 4000; ++i) keys += (i > 0 ? ",\"key" : "\"key") + std::to_string(i) + "\":" + std::to_string(i);
  PrintThroughput("NormaliseDocument, 4000 keys in one object", keys + "}");
  std::string words = "{\"text\":\"";
  for (int i = 0; i < 2000; ++i) words += "\xC3\xA9t\xC3\xA9 \xE6\xB0\xB4 ";
  PrintThroughput("NormaliseDocument, text outside ASCII", words + "\"}");
  return 0;
}

}  // namespace
}  // namespace foreshore

int main() {
  return foreshore::Run();
}
