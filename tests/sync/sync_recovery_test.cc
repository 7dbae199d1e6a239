// Goal: nothing is lost and nothing doubled, whatever breaks off, is copied, restored, reset or set wrong.
// Method: real gateways and databases; each fault at each place in turn, with the database reopened in between.
#include <signal.h>
#include <sys/wait.h>
#include <unistd.h>

#include "storage/base/coding.h"
#include "storage/base/file.h"
#include "sync/client/sync_state.h"
#include "tests/sync/sync_fixture.h"

namespace foreshore {
namespace {

using Fault = FaultyTransport::Fault;

void WriteSome(Device& device, const std::string& prefix, int count) {
  for (int i = 0; i < count; ++i) {
    device.Put(prefix + std::to_string(i), "{\"by\":\"" + prefix + "\",\"n\":" + std::to_string(i) + "}");
  }
}

void SyncAll(const std::vector<Device*>& devices) {
  for (int round = 0; round < 2; ++round) {
    for (Device* device : devices) device->Sync();
  }
}

// Whatever call fails, and however, the next synchronisation goes on, and the channel holds each write once.
TEST_CASE("sync: a failure at any call, followed by a crash, loses and doubles nothing") {
  for (const Fault fault : {Fault::kBeforeSending, Fault::kReplyLost}) {
    bool has_failed = true;
    for (std::size_t failing = 0; has_failed; ++failing) {
      CAPTURE(failing);
      GatewayFixture gateway;
      gateway.Start();
      Device a(gateway);
      Device b(gateway);
      a.Open();
      b.Open();
      WriteSome(b, "b", 12);
      b.Sync();
      WriteSome(a, "a", 12);
      for (int i = 0; i < 12; ++i) a.Patch("a" + std::to_string(i), R"({"again":true})");
      a.sync_options.batch_change_count_max = 5;
      a.sync_options.page_change_count_max = 5;
      a.transport->fail = [&](std::size_t number) { return number == failing ? fault : Fault::kNone; };
      const Result<SyncReport> report = a.TrySync();
      has_failed = !report.ok();
      if (has_failed) CHECK(report.status().code() == ErrorCode::kNetwork);
      a.transport->fail = {};
      a.Reopen();
      a.Put("a0", R"({"by":"a","n":0,"later":1})");
      const SyncReport second = a.Sync();
      CHECK(!second.identity_forked);
      CHECK(!second.resynced);
      SyncAll({&b, &a});
      CHECK(a.Export() == b.Export());
      const std::string text = a.Export();
      CHECK(std::count(text.begin(), text.end(), '\n') == 24);
      // 12 of b, 24 of a (batches are too small here for a put and its patch to travel as one), and the later one,
      // which travels with the first put of "a0" where that had not been sent.
      const std::int64_t head = gateway.gateway->Stats().head;
      CHECK((head == 36 || head == 37));
    }
  }
}

TEST_CASE("sync: a batch whose reply was lost is not sent again") {
  GatewayFixture gateway;
  gateway.Start();
  Device a(gateway);
  a.Open();
  WriteSome(a, "a", 3);
  a.transport->fail = [](std::size_t number) { return number == 1 ? Fault::kReplyLost : Fault::kNone; };
  CHECK(!a.TrySync().ok());
  CHECK(gateway.gateway->Stats().head == 3);
  a.Reopen();
  const SyncReport report = a.Sync();
  CHECK(report.totals.documents_pushed == 0);
  CHECK(gateway.gateway->Stats().head == 3);
}

TEST_CASE("sync: a copied directory goes on as a device of its own, and nothing of either is lost") {
  GatewayFixture gateway;
  gateway.Start();
  Device original(gateway);
  Device copy(gateway);
  Device other(gateway);
  original.Open();
  WriteSome(original, "shared", 3);
  original.Sync();
  original.Put("unsent", R"({"n":1})");
  original.Close();
  original.CopyTo(copy);
  original.Open();
  copy.Open();
  other.Open();
  const ReplicaId before = copy.core->replica();
  CHECK(before == original.core->replica());
  copy.clock->Advance(1'000);
  WriteSome(original, "original", 3);
  WriteSome(copy, "copy", 3);
  copy.Patch("shared0", R"({"copy":1})");
  original.Patch("shared0", R"({"original":1})");
  CHECK(!original.Sync().identity_forked);
  CHECK(copy.Sync().identity_forked);
  CHECK(copy.core->replica() != before);
  SyncAll({&original, &copy, &other});
  CHECK(original.Export() == copy.Export());
  CHECK(original.Export() == other.Export());
  CHECK(other.Get("shared0").find("copy") != std::string::npos);
  CHECK(other.Get("shared0").find("original") != std::string::npos);
  CHECK(!other.Get("unsent").empty());
  CHECK(!other.Get("copy2").empty());
  CHECK(!other.Get("original2").empty());
}

TEST_CASE("sync: a copy that has nothing to send still receives what the original sends") {
  GatewayFixture gateway;
  gateway.Start();
  Device original(gateway);
  Device copy(gateway);
  original.Open();
  WriteSome(original, "shared", 3);
  original.Sync();
  original.Close();
  original.CopyTo(copy);
  original.Open();
  copy.Open();
  copy.Sync();
  WriteSome(original, "later", 3);
  original.Sync();
  copy.Sync();
  CHECK(copy.Export() == original.Export());
}

TEST_CASE("sync: copies of a directory that never synchronised are told apart") {
  GatewayFixture gateway;
  gateway.Start();
  Device original(gateway);
  Device copy(gateway);
  original.Open();
  WriteSome(original, "shared", 3);
  original.Close();
  original.CopyTo(copy);
  original.Open();
  copy.Open();
  WriteSome(original, "original", 3);
  WriteSome(copy, "copy", 3);
  CHECK(!original.Sync().identity_forked);
  CHECK(copy.Sync().identity_forked);
  SyncAll({&original, &copy});
  CHECK(original.Export() == copy.Export());
  CHECK(!original.Get("copy2").empty());
}

// Goal: writes made after a restore are neither dropped nor taken for those that the backup had not yet made.
TEST_CASE("sync: a restored backup gets back what it had sent, and its later writes arrive") {
  for (const bool whole_directory : {true, false}) {
    CAPTURE(whole_directory);
    GatewayFixture gateway;
    gateway.Start();
    Device device(gateway);
    Device backup(gateway);
    Device other(gateway);
    device.Open();
    other.Open();
    WriteSome(device, "first", 3);
    device.Sync();
    device.Close();
    device.CopyTo(backup);
    device.Open();
    WriteSome(device, "second", 3);
    device.Patch("first0", R"({"second":1})");
    device.Sync();
    device.Close();
    const Result<ByteString> instance = ReadFile(device.path() + "/INSTANCE");
    REQUIRE(instance.ok());
    backup.CopyTo(device);
    if (!whole_directory) REQUIRE(WriteFileAtomic(device.path() + "/INSTANCE", *instance).ok());
    device.clock->Advance(10);
    device.Open();
    CHECK(device.Get("second0").empty());
    WriteSome(device, "third", 3);
    device.Patch("first1", R"({"third":1})");
    CHECK(device.Sync().identity_forked);
    SyncAll({&other, &device});
    CHECK(device.Export() == other.Export());
    for (const char* id : {"second2", "third2", "first0"}) CHECK(!other.Get(id).empty());
    CHECK(device.Get("first0").find("second") != std::string::npos);
    CHECK(other.Get("first1").find("third") != std::string::npos);
  }
}

TEST_CASE("sync: a gateway that was wiped is given everything again, tombstones included") {
  GatewayFixture gateway;
  gateway.Start();
  Device a(gateway);
  Device b(gateway);
  a.Open();
  b.Open();
  WriteSome(a, "a", 20);
  WriteSome(b, "b", 20);
  SyncAll({&a, &b});
  a.Delete("a3");
  a.Sync();
  b.Put("unsent", R"({"n":1})");
  gateway.Stop();
  gateway.Wipe();
  gateway.Start();
  a.sync_options.batch_change_count_max = 7;
  const SyncReport report = a.Sync();
  CHECK(report.resynced);
  CHECK(report.totals.documents_pushed == 40);
  Device fresh(gateway);
  fresh.Open();
  fresh.Sync();
  CHECK(fresh.Export() == a.Export());
  CHECK(b.Sync().resynced);
  SyncAll({&a, &b, &fresh});
  CHECK(a.Export() == b.Export());
  CHECK(fresh.Export() == b.Export());
  CHECK(fresh.Get("a3").empty());
  CHECK(!fresh.Get("unsent").empty());
  CHECK(!a.Sync().resynced);
}

TEST_CASE("sync: a gateway restored from a backup is given what it lost, though others went on") {
  GatewayFixture gateway;
  gateway.Start();
  Device a(gateway);
  Device b(gateway);
  Device late(gateway);
  a.Open();
  b.Open();
  late.Open();
  WriteSome(a, "a", 5);
  SyncAll({&a, &b});
  gateway.Stop();
  gateway.Save();
  gateway.Start();
  WriteSome(a, "lost", 5);
  a.Sync();
  b.Sync();
  gateway.Stop();
  gateway.Restore();
  gateway.Start();
  // Moves the restored head past everyone's cursor, so that numbers alone tell nothing.
  WriteSome(late, "late", 20);
  late.Sync();
  b.Patch("lost0", R"({"b":1})");
  CHECK(b.Sync().resynced);
  SyncAll({&a, &late, &b});
  CHECK(a.Export() == b.Export());
  CHECK(a.Export() == late.Export());
  CHECK(!late.Get("lost4").empty());
  CHECK(late.Get("lost0").find("\"b\":1") != std::string::npos);
}

TEST_CASE("sync: a full push that breaks off anywhere goes on where it was") {
  bool has_failed = true;
  for (std::size_t failing = 0; has_failed; ++failing) {
    CAPTURE(failing);
    GatewayFixture gateway;
    gateway.Start();
    Device a(gateway);
    a.Open();
    WriteSome(a, "a", 20);
    a.Sync();
    a.Put("unsent", R"({"n":1})");
    gateway.Stop();
    gateway.Wipe();
    gateway.Start();
    a.sync_options.batch_change_count_max = 6;
    const std::size_t base = a.transport->call_count;
    a.transport->fail = [&](std::size_t number) { return number == base + failing ? Fault::kReplyLost : Fault::kNone; };
    has_failed = !a.TrySync().ok();
    a.transport->fail = {};
    a.Reopen();
    const SyncReport report = a.Sync();
    CHECK(!report.identity_forked);
    Device fresh(gateway);
    fresh.Open();
    fresh.Sync();
    CHECK(fresh.Export() == a.Export());
    CHECK(!fresh.Get("unsent").empty());
    // At most one portion is sent twice.
    CHECK(gateway.gateway->Stats().head <= 21 + 6 + 1);
  }
}

TEST_CASE("sync: a log that was trimmed before the first synchronisation leads to a full push") {
  GatewayFixture gateway;
  gateway.Start();
  Device a(gateway);
  Device b(gateway);
  a.Open();
  b.Open();
  WriteSome(a, "a", 20);
  auto txn = a.core->store().BeginWrite();
  REQUIRE(txn.ok());
  REQUIRE(a.core->log().SetCursor(**txn, "test", 10).ok());
  REQUIRE(a.core->log().Trim(**txn, 100).ok());
  REQUIRE((*txn)->Commit().ok());
  a.Patch("a1", R"({"later":1})");
  a.Sync();
  b.Sync();
  CHECK(b.Export() == a.Export());
  CHECK(!a.Sync().resynced);
}

TEST_CASE("sync: a clock that is ahead is refused, corrected, and the writes keep their order") {
  GatewayFixture gateway;
  gateway.Start();
  Device a(gateway);
  Device b(gateway);
  a.Open();
  b.Open();
  a.clock->Advance(3'600'000);
  a.Put("n1", R"({"v":1})");
  a.Put("n1", R"({"v":2})");
  a.Put("n2", R"({"v":1})");
  a.Delete("n2");
  const SyncReport report = a.Sync();
  CHECK(report.clock_corrected);
  b.Sync();
  CHECK(b.Export() == a.Export());
  CHECK(b.Get("n1") == R"({"v":2})");
  // A later write of a device with a right clock wins over the corrected one.
  b.clock->Advance(60'000);
  b.Put("n1", R"({"v":3})");
  SyncAll({&b, &a});
  CHECK(a.Get("n1") == R"({"v":3})");
  // The correction holds for what comes.
  a.Put("n3", R"({"v":1})");
  CHECK(!a.Sync().clock_corrected);
}

// Goal: what a concurrent write had hidden before it was sent stays hidden when the clock is corrected. With a newer
// stamp it would win on every device but its own.
TEST_CASE("sync: a correction of the clock does not bring back a removal that had lost") {
  GatewayFixture gateway;
  gateway.Start();
  Device a(gateway);
  Device b(gateway);
  a.Open();
  b.Open();
  a.Put("n1", R"({"x":1,"y":1})");
  SyncAll({&a, &b});
  a.clock->Advance(100);
  a.Patch("n1", R"({"x":2})");
  a.Sync();
  // Between b's push and its pull: it loses before it is sent. What comes after the pull fails.
  const std::size_t first = b.transport->call_count;
  b.transport->after = [&](std::size_t number) {
    if (number == first + 1) b.Patch("n1", R"({"x":null})");
  };
  b.transport->fail = [&](std::size_t number) { return number > first + 2 ? Fault::kBeforeSending : Fault::kNone; };
  b.Put("n2", R"({"v":1})");
  CHECK(!b.TrySync().ok());
  CHECK(b.Get("n1") == R"({"x":2,"y":1})");
  b.transport->after = {};
  b.transport->fail = {};
  b.clock->Advance(3'600'000);
  b.Put("n3", R"({"v":1})");
  CHECK(b.Sync().clock_corrected);
  SyncAll({&a, &b});
  CHECK(a.Export() == b.Export());
}

TEST_CASE("sync: a gateway whose own clock is behind what it holds ends in an error, not in a loop") {
  GatewayFixture gateway;
  gateway.Start();
  Device a(gateway);
  Device b(gateway);
  a.Open();
  b.Open();
  a.Put("n1", R"({"v":1})");
  SyncAll({&a, &b});
  gateway.Stop();
  gateway.Wipe();
  gateway.now_unix_ms -= 3'600'000;
  gateway.Start();
  const Result<SyncReport> report = b.TrySync();
  REQUIRE(!report.ok());
  CHECK(report.status().code() == ErrorCode::kConflict);
  CHECK(!b.Get("n1").empty());
}

// The gateway runs in a process of its own, which dies without warning.
class GatewayProcess {
 public:
  explicit GatewayProcess(GatewayOptions options) : options_(std::move(options)) {}
  ~GatewayProcess() { Kill(); }

  void Start() {
    int pipe_ends[2];
    REQUIRE(::pipe(pipe_ends) == 0);
    pid_ = ::fork();
    REQUIRE(pid_ >= 0);
    if (pid_ == 0) {
      options_.now_unix_ms = [] { return kTestUnixMs; };
      const auto started = Gateway::Start(options_);
      const std::uint16_t port = started.ok() ? (*started)->port() : 0;
      const bool is_told = ::write(pipe_ends[1], &port, sizeof port) == sizeof port;
      while (is_told) ::pause();
      ::_exit(1);
    }
    ::close(pipe_ends[1]);
    std::uint16_t port = 0;
    REQUIRE(::read(pipe_ends[0], &port, sizeof port) == sizeof port);
    ::close(pipe_ends[0]);
    REQUIRE(port != 0);
    options_.port = port;
  }
  void Kill() {
    if (pid_ <= 0) return;
    ::kill(pid_, SIGKILL);
    ::waitpid(pid_, nullptr, 0);
    pid_ = 0;
  }
  std::uint16_t port() const { return options_.port; }

 private:
  GatewayOptions options_;
  pid_t pid_ = 0;
};

TEST_CASE("sync: a gateway killed in the middle of a push keeps what it acknowledged, and the rest follows") {
  GatewayFixture fixture;  // Never started: its directory and options are what counts.
  fixture.options.durability = Durability::kFull;
  GatewayOptions options = fixture.options;
  options.now_unix_ms = {};
  for (std::size_t deadly = 1; deadly < 8; ++deadly) {
    CAPTURE(deadly);
    fixture.Wipe();
    options.port = 0;
    GatewayProcess process(options);
    process.Start();
    Device a(fixture);
    Device b(fixture);
    const std::string url = "http://127.0.0.1:" + std::to_string(process.port());
    a.sync_options.url = url;
    b.sync_options.url = url;
    a.Open();
    b.Open();
    WriteSome(a, "a", 30);
    a.sync_options.batch_change_count_max = 5;
    // Odd ones die with the request unsent but the connection open, even ones after the commit.
    a.transport->fail = [&](std::size_t number) {
      if (number != deadly) return Fault::kNone;
      if (number % 2 == 1) process.Kill();
      return number % 2 == 1 ? Fault::kNone : Fault::kReplyLost;
    };
    const Result<SyncReport> broken = a.TrySync();
    CHECK(!broken.ok());
    CHECK(broken.status().code() == ErrorCode::kNetwork);
    process.Kill();
    a.transport->fail = {};
    a.Reopen();
    process.Start();
    const SyncReport report = a.Sync();
    CHECK(!report.resynced);
    CHECK(!report.identity_forked);
    const SyncReport pulled = b.Sync();
    CHECK(pulled.totals.documents_pulled == 30);
    CHECK(b.Export() == a.Export());
  }
}

TEST_CASE("sync: the network's failures shrink what is sent, and success lets it grow") {
  GatewayFixture gateway;
  gateway.Start();
  Device a(gateway);
  Device b(gateway);
  a.Open();
  b.Open();
  SeededRandom random(5);  // What does not compress.
  for (int i = 0; i < 60; ++i) a.Put("a" + std::to_string(i), "{\"v\":\"" + ToHex(random.Generate(200)) + "\"}");
  a.sync_options.batch_change_count_max = 32;
  // A path that swallows large requests: those with more than a few changes never arrive.
  struct Narrow : HttpTransport {
    explicit Narrow(std::shared_ptr<HttpTransport> transport) : inner(std::move(transport)) {}
    Result<HttpReply> Post(const HttpRequest& request) override {
      if (request.body.size() > 2'500) return Status::Network("swallowed");
      return inner->Post(request);
    }
    std::shared_ptr<HttpTransport> inner;
  };
  SyncOptions options = a.sync_options;
  options.transport = std::make_shared<Narrow>(a.transport);
  auto client = SyncClient::Create(*a.core, options);
  REQUIRE(client.ok());
  int attempt_count = 1;
  while (attempt_count < 60 && !(*client)->SyncOnce().ok()) ++attempt_count;
  CHECK(attempt_count > 1);
  CHECK(attempt_count < 60);
  b.Sync();
  CHECK(b.Export() == a.Export());
}

TEST_CASE("sync state: what is stored reads back, and damage is an error") {
  SyncState state;
  state.replica.fill(1);
  state.chain.chain.fill(2);
  state.chain.sequence = 3;
  state.chain.hash.fill(4);
  state.replaces.emplace().fill(5);
  state.pull.sequence = 6;
  state.pull.hash.fill(7);
  state.resync = ResyncPosition{8, 9, 10};
  for (std::size_t i = 0; i < kPendingCountMax; ++i) {
    PendingBatch& batch = state.pending.emplace_back();
    batch.hash.fill(static_cast<std::uint8_t>(i));
    batch.end_hlc = i;
    batch.resync = ResyncPosition{1, 2, 3};
    batch.ends_resync = i % 2 == 0;
  }
  const ByteString bytes = EncodeSyncState(state);
  CHECK(bytes.size() <= 2048);  // What a setting takes.
  const auto decoded = DecodeSyncState(bytes);
  REQUIRE(decoded.ok());
  CHECK(EncodeSyncState(*decoded) == bytes);
  CHECK(decoded->chain == state.chain);
  CHECK(decoded->pull == state.pull);
  CHECK(decoded->resync == state.resync);
  for (std::size_t size = 0; size < bytes.size(); ++size) CHECK(!DecodeSyncState(bytes.substr(0, size)).ok());
}

}  // namespace
}  // namespace foreshore
