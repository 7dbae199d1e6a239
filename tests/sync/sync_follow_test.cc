// Goal: Follow carries changes both ways as they happen, survives the gateway's absence, and ends when asked.
// Method: real threads and a real gateway; waiting is for conditions, pauses are injected.
#include <atomic>
#include <mutex>
#include <thread>

#include "engine/model/model_registry.h"
#include "tests/sync/sync_fixture.h"

namespace foreshore {
namespace {

// A device whose Follow runs in a thread of its own.
class Follower {
 public:
  explicit Follower(Device& device) : device_(device) {
    SyncOptions options = device.sync_options;
    options.transport = nullptr;  // libcurl itself, which Cancel interrupts.
    options.wait = [this](std::chrono::milliseconds pause, std::stop_token) {
      std::lock_guard lock(mutex_);
      pauses_.push_back(pause);
      std::this_thread::yield();
    };
    auto made = SyncClient::Create(*device.core, options);
    REQUIRE(made.ok());
    client = std::move(made).value();
    thread_ = std::jthread([this](std::stop_token stop) { result_ = client->Follow(stop); });
  }
  Status Stop() {
    thread_.request_stop();
    thread_.join();
    return result_;
  }
  std::size_t pause_count() {
    std::lock_guard lock(mutex_);
    return pauses_.size();
  }
  std::vector<std::chrono::milliseconds> pauses() {
    std::lock_guard lock(mutex_);
    return pauses_;
  }
  std::unique_ptr<SyncClient> client;

 private:
  Device& device_;
  std::mutex mutex_;
  std::vector<std::chrono::milliseconds> pauses_;  // Guarded by mutex_.
  Status result_;
  std::jthread thread_;
};

bool Eventually(const std::function<bool()>& holds) {
  const auto end = std::chrono::steady_clock::now() + std::chrono::seconds(60);
  while (!holds()) {
    if (std::chrono::steady_clock::now() > end) return false;
    std::this_thread::yield();
  }
  return true;
}

TEST_CASE("follow: writes travel both ways while both follow, and stop ends it") {
  GatewayFixture gateway;
  gateway.Start();
  Device a(gateway);
  Device b(gateway);
  a.Open();
  b.Open();
  {
    Follower follows_a(a);
    Follower follows_b(b);
    a.Put("from-a", R"({"v":1})");
    CHECK(Eventually([&] { return !b.Get("from-a").empty(); }));
    b.Put("from-b", R"({"v":2})");
    CHECK(Eventually([&] { return !a.Get("from-b").empty(); }));
    // It is one at a time.
    CHECK(follows_a.client->SyncOnce().status().code() == ErrorCode::kBusy);
    CHECK(follows_a.Stop().ok());
    CHECK(follows_b.Stop().ok());
  }
  CHECK(a.Export() == b.Export());
}

TEST_CASE("follow: a gateway that is away is tried again with growing, jittered pauses") {
  GatewayFixture gateway;
  gateway.Start();
  Device a(gateway);
  a.Open();
  a.Put("n1", R"({"v":1})");
  gateway.Stop();
  Follower follower(a);
  CHECK(Eventually([&] { return follower.pause_count() >= 12; }));
  gateway.Start();
  CHECK(Eventually([&] { return gateway.gateway->Stats().head == 1; }));
  CHECK(follower.Stop().ok());
  const auto pauses = follower.pauses();
  std::chrono::milliseconds expected = a.sync_options.backoff_min;
  for (std::size_t i = 0; i < 12; ++i) {
    CHECK(pauses[i] >= expected / 2);
    CHECK(pauses[i] <= expected);
    expected = std::min(expected * 2, a.sync_options.backoff_max);
  }
}

TEST_CASE("follow: a refused token ends it") {
  GatewayFixture gateway;
  gateway.options.token = "right";
  gateway.Start();
  Device a(gateway);
  a.sync_options.token = "wrong";
  a.Open();
  auto client = SyncClient::Create(*a.core, a.sync_options);
  REQUIRE(client.ok());
  CHECK((*client)->Follow(std::stop_token()).code() == ErrorCode::kUnauthorised);
  CHECK((*client)->SyncOnce().status().code() == ErrorCode::kUnauthorised);
  a.sync_options.token = "right";
  CHECK(a.TrySync().ok());
}

TEST_CASE("sync: progress is reported, and its caller can stop and go on later") {
  GatewayFixture gateway;
  gateway.Start();
  Device a(gateway);
  Device b(gateway);
  a.Open();
  b.Open();
  for (int i = 0; i < 50; ++i) a.Put("n" + std::to_string(i), R"({"v":1})");
  a.sync_options.batch_change_count_max = 10;
  auto client = SyncClient::Create(*a.core, a.sync_options);
  REQUIRE(client.ok());
  std::vector<SyncProgress> seen;
  const auto stopped = (*client)->SyncOnce([&](const SyncProgress& progress) {
    seen.push_back(progress);
    return progress.documents_pushed < 20;
  });
  CHECK(stopped.status().code() == ErrorCode::kCancelled);
  REQUIRE(seen.size() == 2);
  CHECK(seen[0].documents_pushed == 10);
  CHECK(seen[0].bytes_sent > 0);
  CHECK(seen[0].push_lag == 50);
  CHECK(gateway.gateway->Stats().head == 20);
  const auto rest = (*client)->SyncOnce();
  REQUIRE(rest.ok());
  CHECK(rest->totals.documents_pushed == 30);
  CHECK(gateway.gateway->Stats().head == 50);
}

TEST_CASE("sync: options out of range and places that are no gateway are refused by name") {
  GatewayFixture gateway;
  gateway.Start();
  Device a(gateway);
  a.Open();
  const auto refused = [&](const std::function<void(SyncOptions&)>& spoil) {
    SyncOptions options = a.sync_options;
    spoil(options);
    return SyncClient::Create(*a.core, options).status().code() == ErrorCode::kInvalidArgument;
  };
  CHECK(refused([](SyncOptions& o) { o.url = "ftp://x"; }));
  CHECK(refused([](SyncOptions& o) { o.url = "http://x y"; }));
  CHECK(refused([](SyncOptions& o) { o.token = "a\r\nX-Evil: 1"; }));
  CHECK(refused([](SyncOptions& o) { o.batch_change_count_max = 1'001; }));
  CHECK(refused([](SyncOptions& o) { o.page_bytes_max = 1; }));
  CHECK(refused([](SyncOptions& o) { o.chunk_bytes = 4 << 20; }));
  CHECK(refused([](SyncOptions& o) { o.backoff_min = {}; }));
  a.sync_options.url += "/elsewhere";
  CHECK(a.TrySync().status().code() == ErrorCode::kUnsupported);
}

TEST_CASE("sync: a gateway's reply that is no message is corruption, one that is too long is a limit") {
  struct Fixed : HttpTransport {
    Result<HttpReply> Post(const HttpRequest&) override { return reply; }
    HttpReply reply{200, "\x07garbage"};
  };
  GatewayFixture gateway;
  gateway.Start();
  Device a(gateway);
  a.Open();
  auto fixed = std::make_shared<Fixed>();
  SyncOptions options = a.sync_options;
  options.transport = fixed;
  auto client = SyncClient::Create(*a.core, options);
  REQUIRE(client.ok());
  CHECK((*client)->SyncOnce().status().code() == ErrorCode::kCorruption);
  fixed->reply = {503, "busy"};
  CHECK((*client)->SyncOnce().status().code() == ErrorCode::kNetwork);
  fixed->reply = {413, "too much"};
  CHECK((*client)->SyncOnce().status().code() == ErrorCode::kInvalidArgument);
}

TEST_CASE("sync: a model travels with its manifest and tensors, and answers the same on the other device") {
  GatewayFixture gateway;
  gateway.Start();
  Device a(gateway);
  Device b(gateway);
  a.Open();
  b.Open();
  const auto added = a.core->models().Add("tiny", FORESHORE_GOLDEN_DIR "/bert_tiny", {});
  REQUIRE_MESSAGE(added.ok(), added.status().ToString());
  const SyncReport sent = a.Sync();
  CHECK(sent.totals.blobs_sent > 2);
  const SyncReport received = b.Sync();
  CHECK(received.blobs_missing.empty());
  CHECK(received.totals.blobs_received == sent.totals.blobs_sent);
  const auto arrived = b.core->models().Get("tiny");
  REQUIRE_MESSAGE(arrived.ok(), arrived.status().ToString());
  CHECK(arrived->is_complete);
  CHECK(arrived->version == added->version);
  const auto here = a.core->models().Load("tiny");
  const auto there = b.core->models().Load("tiny");
  REQUIRE_MESSAGE(there.ok(), there.status().ToString());
  const std::string_view text = "pump overheating";
  std::vector<float> first(added->dimension);
  std::vector<float> second(added->dimension);
  REQUIRE((*here)->Embed({&text, 1}, first).ok());
  REQUIRE((*there)->Embed({&text, 1}, second).ok());
  CHECK(first == second);
}

}  // namespace
}  // namespace foreshore
