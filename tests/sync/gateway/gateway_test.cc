// Goal: whatever arrives on the socket, the gateway answers clearly, keeps its limits, and goes on serving others.
// Method: raw sockets against a real gateway.
#include <arpa/inet.h>
#include <doctest/doctest.h>
#include <netinet/in.h>
#include <sys/socket.h>
#include <unistd.h>

#include <atomic>
#include <chrono>
#include <filesystem>
#include <thread>
#include <vector>

#include "engine/document/stamp.h"
#include "foreshore/gateway.h"
#include "storage/base/clock.h"
#include "sync/protocol/document_codec.h"
#include "sync/protocol/frame.h"
#include "sync/protocol/limits.h"
#include "sync/protocol/messages.h"
#include "tests/temporary_directory.h"

namespace foreshore {
namespace {

using Milliseconds = std::chrono::milliseconds;
constexpr std::int64_t kNowMs = 1'795'000'000'000;

class Socket {
 public:
  explicit Socket(std::uint16_t port) : descriptor_(::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0)) {
    sockaddr_in address{};
    address.sin_family = AF_INET;
    address.sin_port = htons(port);
    address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    REQUIRE(::connect(descriptor_, reinterpret_cast<sockaddr*>(&address), sizeof address) == 0);
    timeval patience{20, 0};
    ::setsockopt(descriptor_, SOL_SOCKET, SO_RCVTIMEO, &patience, sizeof patience);
  }
  ~Socket() { ::close(descriptor_); }
  Socket(const Socket&) = delete;
  Socket& operator=(const Socket&) = delete;

  // False where the gateway has closed.
  bool Send(std::string_view bytes) {
    while (!bytes.empty()) {
      const ssize_t sent = ::send(descriptor_, bytes.data(), bytes.size(), MSG_NOSIGNAL);
      if (sent <= 0) return false;
      bytes.remove_prefix(static_cast<std::size_t>(sent));
    }
    return true;
  }
  void EndSending() { ::shutdown(descriptor_, SHUT_WR); }
  // Until the gateway closes.
  std::string ReadAll() {
    std::string text;
    char buffer[4096];
    for (ssize_t got; (got = ::recv(descriptor_, buffer, sizeof buffer, 0)) > 0;) {
      text.append(buffer, static_cast<std::size_t>(got));
    }
    return text;
  }
  // Until a whole reply is there.
  std::string ReadReply() {
    std::string text;
    char byte = 0;
    while (!text.ends_with("\r\n\r\n") && ::recv(descriptor_, &byte, 1, 0) == 1) text += byte;
    const std::size_t at = text.find("Content-Length: ");
    if (at == text.npos) return text;
    std::size_t left = std::stoul(text.substr(at + 16));
    while (left-- > 0 && ::recv(descriptor_, &byte, 1, 0) == 1) text += byte;
    return text;
  }

 private:
  int descriptor_;
};

std::string HttpPost(std::string_view body, std::string_view headers = "") {
  return "POST /v1/sync HTTP/1.1\r\nHost: x\r\nContent-Length: " + std::to_string(body.size()) + "\r\n" +
         std::string(headers) + "\r\n" + std::string(body);
}

struct Fixture {
  Fixture() {
    options.store_path = directory.path() + "/gateway";
    options.durability = Durability::kNormal;
    options.now_unix_ms = [] { return kNowMs; };
  }
  void Start() {
    auto started = Gateway::Start(options);
    REQUIRE_MESSAGE(started.ok(), started.status().ToString());
    gateway = std::move(started).value();
  }
  std::string Ask(std::string_view bytes) {
    Socket socket(gateway->port());
    socket.Send(bytes);
    socket.EndSending();
    return socket.ReadAll();
  }
  // The reply's message, over a connection of its own.
  Result<SyncReply> Call(const SyncRequest& request) {
    const std::string reply = Ask(HttpPost(*EncodeFrame(EncodeRequest(request)), "Connection: close\r\n"));
    if (!reply.starts_with("HTTP/1.1 200")) return Status::Network(reply.substr(0, 100));
    FORESHORE_ASSIGN_OR_RETURN(const ByteString message, DecodeFrame(reply.substr(reply.find("\r\n\r\n") + 4)));
    return DecodeReply(message);
  }
  bool IsAlive() { return Ask("GET /health HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n").ends_with("ok\n"); }

  TemporaryDirectory directory;
  GatewayOptions options;
  std::unique_ptr<Gateway> gateway;
};

SyncRequest Request(std::uint8_t replica, decltype(SyncRequest::body) body) {
  SyncRequest request;
  request.channel = "default";
  request.replica.fill(replica);
  request.body = std::move(body);
  return request;
}

ByteString Change(const std::string& id, std::int64_t unix_ms = kNowMs) {
  WriteGroup group;
  group.hlc = HlcFromUnixMs(unix_ms);
  group.session.replica.fill(9);
  group.session.session = 9;
  group.changes_life = true;
  return EncodeChange({"notes", {id, {group}}});
}

PushRequest Push(const ChainPosition& base, std::vector<ByteString> changes) {
  PushRequest push;
  push.base = base;
  push.changes = std::move(changes);
  for (std::uint32_t i = 0; i < push.changes.size(); ++i) push.unit_ends.push_back(i);
  return push;
}

ChainPosition NewChain(std::uint8_t number) {
  ChainPosition chain;
  chain.chain.fill(number);
  return chain;
}

template <typename Kind>
Kind Expect(const Result<SyncReply>& reply) {
  REQUIRE_MESSAGE(reply.ok(), reply.status().ToString());
  const Kind* found = std::get_if<Kind>(&*reply);
  REQUIRE(found != nullptr);
  return *found;
}

TEST_CASE("gateway: requests that are not HTTP, or not the protocol, are refused by name") {
  Fixture fixture;
  fixture.Start();
  const std::string frame = *EncodeFrame("nothing known");
  const std::pair<std::string, const char*> cases[] = {
      {"GARBAGE\r\n\r\n", "HTTP/1.1 400"},
      {std::string("\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03", 11) + "\r\n\r\n", "HTTP/1.1 400"},
      {"POST /v1/sync HTTP/9.9\r\n\r\n", "HTTP/1.1 400"},
      {"POST /v1/sync HTTP/1.1\r\nContent-Length: -1\r\n\r\n", "HTTP/1.1 400"},
      {"POST /v1/sync HTTP/1.1\r\nContent-Length: 5\r\nContent-Length: 6\r\n\r\nhello", "HTTP/1.1 400"},
      {"POST /v1/sync HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n", "HTTP/1.1 400"},
      {"GET / HTTP/1.1\r\nHost: x\r\n\r\n", "HTTP/1.1 404"},
      {"GET /../../etc/passwd HTTP/1.1\r\nHost: x\r\n\r\n", "HTTP/1.1 404"},
      {"GET /v1/sync HTTP/1.1\r\nHost: x\r\n\r\n", "HTTP/1.1 405"},
      {HttpPost(""), "HTTP/1.1 400"},
      {HttpPost("hello"), "HTTP/1.1 400"},
      {HttpPost(frame), "HTTP/1.1 400"},
      {HttpPost(std::string("\1(\xB5/\xFD junk", 10)), "HTTP/1.1 400"},
  };
  for (const auto& [bytes, expected] : cases) {
    CAPTURE(bytes);
    const std::string reply = fixture.Ask(bytes);
    CHECK_MESSAGE(reply.starts_with(expected), reply);
  }
  CHECK(fixture.IsAlive());
  CHECK(fixture.gateway->Stats().refused_count == std::size(cases));
}

TEST_CASE("gateway: heads and bodies above the limits are refused") {
  Fixture fixture;
  fixture.Start();
  std::string head = "POST /v1/sync HTTP/1.1\r\nHost: x\r\nX-Long: " + std::string(20'000, 'x') + "\r\n\r\n";
  CHECK(fixture.Ask(head).starts_with("HTTP/1.1 431"));
  head = "POST /v1/sync HTTP/1.1\r\n";
  for (int i = 0; i < 101; ++i) head += "X-" + std::to_string(i) + ": 1\r\n";
  CHECK(fixture.Ask(head + "\r\n").starts_with("HTTP/1.1 431"));
  CHECK(fixture.Ask("POST /v1/sync HTTP/1.1\r\nContent-Length: 4194305\r\n\r\n").starts_with("HTTP/1.1 413"));
  CHECK(fixture.Ask("POST /v1/sync HTTP/1.1\r\nContent-Length: 18446744073709551615\r\n\r\n").find("HTTP/1.1 4") == 0);
  CHECK(fixture.Ask(HttpPost(std::string(5 << 20, '\0'))).starts_with("HTTP/1.1 413"));
  // The same without saying so beforehand.
  std::string chunked = "POST /v1/sync HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n";
  for (int i = 0; i < 5; ++i) chunked += "100000\r\n" + std::string(1 << 20, '\0') + "\r\n";
  CHECK(fixture.Ask(chunked + "0\r\n\r\n").starts_with("HTTP/1.1 413"));
  CHECK(fixture.IsAlive());
}

TEST_CASE("gateway: peers that are too slow, or leave in the middle, are let go") {
  Fixture fixture;
  fixture.options.head_timeout = Milliseconds(200);
  fixture.options.body_timeout = Milliseconds(200);
  fixture.options.keep_alive_timeout = Milliseconds(200);
  fixture.Start();
  {
    Socket silent(fixture.gateway->port());
    Socket dripping(fixture.gateway->port());
    Socket bodiless(fixture.gateway->port());
    Socket idle(fixture.gateway->port());
    dripping.Send("POST /v1/sy");
    bodiless.Send("POST /v1/sync HTTP/1.1\r\nContent-Length: 100\r\n\r\nabc");
    idle.Send("GET /health HTTP/1.1\r\nHost: x\r\n\r\n");
    CHECK(idle.ReadReply().ends_with("ok\n"));
    // Each read ends because the gateway closes; the socket's own patience is 20 s.
    const auto begin = std::chrono::steady_clock::now();
    CHECK(silent.ReadAll().empty());
    CHECK(dripping.ReadAll().empty());
    CHECK(bodiless.ReadAll().empty());
    CHECK(idle.ReadAll().empty());
    CHECK(std::chrono::steady_clock::now() - begin < std::chrono::seconds(15));
    Socket leaving(fixture.gateway->port());
    leaving.Send("POST /v1/sync HTTP/1.1\r\nContent-Length: 100\r\n\r\nabc");
  }
  CHECK(fixture.IsAlive());
}

TEST_CASE("gateway: connections above the limit are turned away") {
  Fixture fixture;
  fixture.options.connection_count_max = 2;
  fixture.Start();
  Socket first(fixture.gateway->port());
  Socket second(fixture.gateway->port());
  first.Send("GET /health HTTP/1.1\r\nHost: x\r\n\r\n");
  second.Send("GET /health HTTP/1.1\r\nHost: x\r\n\r\n");
  CHECK(first.ReadReply().ends_with("ok\n"));
  CHECK(second.ReadReply().ends_with("ok\n"));
  Socket third(fixture.gateway->port());
  CHECK(third.ReadAll().starts_with("HTTP/1.1 503"));
}

TEST_CASE("gateway: a wrong or missing token is refused before the body is read") {
  Fixture fixture;
  fixture.options.token = "secret";
  fixture.Start();
  const std::string body = *EncodeFrame(EncodeRequest(Request(1, HelloRequest{})));
  CHECK(fixture.Ask(HttpPost(body)).starts_with("HTTP/1.1 401"));
  CHECK(fixture.Ask(HttpPost(body, "Authorization: Bearer\r\n")).starts_with("HTTP/1.1 401"));
  CHECK(fixture.Ask(HttpPost(body, "Authorization: Bearer secre\r\n")).starts_with("HTTP/1.1 401"));
  CHECK(fixture.Ask(HttpPost(body, "Authorization: Bearer secretx\r\n")).starts_with("HTTP/1.1 401"));
  CHECK(fixture.Ask("POST /v1/sync HTTP/1.1\r\nContent-Length: 4000000\r\n\r\n").starts_with("HTTP/1.1 401"));
  CHECK(
      fixture.Ask(HttpPost(body, "Authorization: Bearer secret\r\nConnection: close\r\n")).starts_with("HTTP/1.1 200"));
}

TEST_CASE("gateway: pipelined requests and 100-continue are answered in order") {
  Fixture fixture;
  fixture.Start();
  const std::string health = "GET /health HTTP/1.1\r\nHost: x\r\n\r\n";
  Socket socket(fixture.gateway->port());
  socket.Send(health + health);
  CHECK(socket.ReadReply().ends_with("ok\n"));
  CHECK(socket.ReadReply().ends_with("ok\n"));
  const std::string body = *EncodeFrame(EncodeRequest(Request(1, HelloRequest{})));
  const std::string whole = HttpPost(body, "Expect: 100-continue\r\n");
  socket.Send(whole.substr(0, whole.size() - body.size()));
  CHECK(socket.ReadReply().starts_with("HTTP/1.1 100"));
  socket.Send(body);
  CHECK(socket.ReadReply().starts_with("HTTP/1.1 200"));
}

TEST_CASE("gateway: a push is appended once, however often it comes") {
  Fixture fixture;
  fixture.Start();
  const PushRequest push = Push(NewChain(1), {Change("a"), Change("b")});
  const auto first = Expect<PushReply>(fixture.Call(Request(1, push)));
  CHECK(first.head.sequence == 2);
  CHECK(first.acknowledged == NextChainPosition(push.base, push.changes));
  CHECK(Expect<PushReply>(fixture.Call(Request(1, push))).head == first.head);
  const auto second = Expect<PushReply>(fixture.Call(Request(1, Push(first.acknowledged, {Change("c")}))));
  CHECK(second.head.sequence == 3);
  CHECK(second.acknowledged.sequence == 2);
}

TEST_CASE("gateway: a chain that does not fit is told what is there, and changes nothing") {
  Fixture fixture;
  fixture.Start();
  const auto ack = Expect<PushReply>(fixture.Call(Request(1, Push(NewChain(1), {Change("a")})))).acknowledged;
  const auto refuse = [&](const PushRequest& push) {
    const auto forked = Expect<ForkedReply>(fixture.Call(Request(1, push)));
    REQUIRE(forked.acknowledged.has_value());
    CHECK(*forked.acknowledged == ack);
  };
  refuse(Push(NewChain(1), {Change("other")}));
  refuse(Push(NewChain(2), {Change("other")}));
  ChainPosition ahead = ack;
  ahead.sequence = 9;
  refuse(Push(ahead, {Change("other")}));
  ChainPosition different = ack;
  different.hash.fill(1);
  refuse(Push(different, {Change("other")}));
  CHECK(!Expect<ForkedReply>(fixture.Call(Request(2, Push(ack, {Change("other")})))).acknowledged.has_value());
  CHECK(fixture.gateway->Stats().head == 1);
  PushRequest replacing = Push(NewChain(2), {Change("other")});
  replacing.replaces = ack.chain;
  CHECK(Expect<PushReply>(fixture.Call(Request(1, replacing))).head.sequence == 2);
}

TEST_CASE("gateway: changes that no device could apply never enter the log") {
  Fixture fixture;
  fixture.Start();
  CHECK(Expect<RefusedReply>(fixture.Call(Request(1, Push(NewChain(1), {Change("a"), "junk"})))).code ==
        ErrorCode::kCorruption);
  CHECK(Expect<RefusedReply>(fixture.Call(Request(1, Push(NewChain(1), {Change("")})))).code ==
        ErrorCode::kInvalidArgument);
  const auto refused =
      Expect<ClockRefusedReply>(fixture.Call(Request(1, Push(NewChain(1), {Change("a", kNowMs + 121'000)}))));
  CHECK(refused.server_unix_ms == kNowMs);
  CHECK(refused.ahead_ms == 121'000);
  CHECK(fixture.gateway->Stats().head == 0);
  Expect<PushReply>(fixture.Call(Request(1, Push(NewChain(1), {Change("a", kNowMs + 119'000)}))));
}

TEST_CASE("gateway: pages end at units, stay in the limits and leave out only the asker's own chain") {
  Fixture fixture;
  fixture.Start();
  PushRequest push = Push(NewChain(1), {Change("a"), Change("b"), Change("c"), Change("d"), Change("e")});
  push.unit_ends = {2, 3, 4};
  const auto own = Expect<PushReply>(fixture.Call(Request(1, push))).acknowledged;
  PullRequest pull;
  pull.change_count_max = 1;
  pull.page_bytes_max = 1;
  const auto first = Expect<PageReply>(fixture.Call(Request(2, pull)));
  CHECK(first.changes == std::vector<ByteString>(push.changes.begin(), push.changes.begin() + 3));
  CHECK(first.next.sequence == 3);
  CHECK(first.head == 5);
  pull.cursor = first.next;
  pull.change_count_max = 100;
  pull.page_bytes_max = 1'000'000;
  const auto second = Expect<PageReply>(fixture.Call(Request(2, pull)));
  CHECK(second.changes.size() == 2);
  pull.target = 4;
  CHECK(Expect<PageReply>(fixture.Call(Request(2, pull))).next.sequence == 4);
  pull.target = 0;
  pull.cursor = second.next;
  CHECK(Expect<UpToDateReply>(fixture.Call(Request(2, pull))).head == 5);
  // The pusher itself, and a copy of it that lags behind its chain.
  pull.cursor = {};
  pull.own = own;
  const auto skipped = Expect<PageReply>(fixture.Call(Request(1, pull)));
  CHECK(skipped.changes.empty());
  CHECK(skipped.next.sequence == 5);
  pull.own = NewChain(1);
  CHECK(Expect<PageReply>(fixture.Call(Request(1, pull))).changes.size() == 5);
}

TEST_CASE("gateway: a cursor of another history is told to start over, on hello, pull and push") {
  Fixture fixture;
  fixture.Start();
  const auto ack = Expect<PushReply>(fixture.Call(Request(1, Push(NewChain(1), {Change("a")}))));
  LogPosition beyond = ack.head;
  beyond.sequence = 5;
  LogPosition different = ack.head;
  different.hash.fill(1);
  for (const LogPosition& cursor : {beyond, different}) {
    PullRequest pull;
    pull.cursor = cursor;
    CHECK(Expect<MustResyncReply>(fixture.Call(Request(2, pull))).head == ack.head);
    Expect<MustResyncReply>(fixture.Call(Request(2, HelloRequest{cursor})));
    PushRequest push = Push(NewChain(2), {Change("b")});
    push.cursor = cursor;
    Expect<MustResyncReply>(fixture.Call(Request(2, push)));
  }
  CHECK(fixture.gateway->Stats().head == 1);
}

TEST_CASE("gateway: what was acknowledged is there after a restart, and another channel is not served") {
  Fixture fixture;
  fixture.Start();
  const auto ack = Expect<PushReply>(fixture.Call(Request(1, Push(NewChain(1), {Change("a")}))));
  SyncRequest other = Request(1, HelloRequest{});
  other.channel = "other";
  CHECK(Expect<RevokedReply>(fixture.Call(other)).channel == "other");
  REQUIRE(fixture.gateway->Stop().ok());
  fixture.Start();
  const auto hello = Expect<HelloReply>(fixture.Call(Request(1, HelloRequest{ack.head})));
  CHECK(hello.head == ack.head);
  CHECK(hello.acknowledged == ack.acknowledged);
  CHECK(hello.server_unix_ms == kNowMs);
}

TEST_CASE("gateway: a parked pull is answered by a push, by its time, or at once where too many are parked") {
  Fixture fixture;
  fixture.options.parked_count_max = 3;
  fixture.Start();
  PullRequest pull;
  pull.wait_ms = 30;
  CHECK(Expect<UpToDateReply>(fixture.Call(Request(2, pull))).head == 0);
  pull.wait_ms = 60'000;
  std::vector<std::thread> waiting;
  std::atomic<int> page_count{0};
  for (int i = 0; i < 3; ++i) {
    waiting.emplace_back([&] {
      Socket socket(fixture.gateway->port());
      socket.Send(HttpPost(*EncodeFrame(EncodeRequest(Request(3, pull))), "Connection: close\r\n"));
      const std::string reply = socket.ReadAll();
      const auto message = DecodeFrame(reply.substr(reply.find("\r\n\r\n") + 4));
      if (!message.ok()) return;
      const auto decoded = DecodeReply(*message);
      if (decoded.ok() && std::holds_alternative<PageReply>(*decoded)) ++page_count;
    });
  }
  while (fixture.gateway->Stats().parked_count < 3) std::this_thread::yield();
  CHECK(Expect<UpToDateReply>(fixture.Call(Request(2, pull))).head == 0);
  Expect<PushReply>(fixture.Call(Request(1, Push(NewChain(1), {Change("a")}))));
  for (std::thread& thread : waiting) thread.join();
  CHECK(page_count == 3);
  CHECK(fixture.gateway->Stats().parked_count == 0);
}

TEST_CASE("gateway: stopping ends parked requests and open connections") {
  Fixture fixture;
  fixture.Start();
  PullRequest pull;
  pull.wait_ms = 60'000;
  Socket parked(fixture.gateway->port());
  parked.Send(HttpPost(*EncodeFrame(EncodeRequest(Request(3, pull)))));
  while (fixture.gateway->Stats().parked_count == 0) std::this_thread::yield();
  CHECK(fixture.gateway->Stop().ok());
  CHECK(fixture.gateway->Stop().ok());
  CHECK(parked.ReadAll().empty());
}

TEST_CASE("gateway: blobs arrive in chunks, resume, and are checked") {
  Fixture fixture;
  fixture.Start();
  const ByteString content = SeededRandom(3).Generate(1'000);
  const BlobId id = Sha256Of(content);
  const auto need = [&](const Result<SyncReply>& reply) {
    const auto items = Expect<BlobNeedReply>(reply).items;
    return items.empty() ? -1 : static_cast<int>(items[0].offset);
  };
  CHECK(need(fixture.Call(Request(1, BlobHaveRequest{{id}}))) == 0);
  CHECK(Expect<BlobChunkReply>(fixture.Call(Request(1, BlobGetRequest{id, 0, 100}))).absent);
  CHECK(need(fixture.Call(Request(1, BlobPutRequest{id, 1'000, 0, content.substr(0, 600)}))) == 600);
  CHECK(need(fixture.Call(Request(1, BlobPutRequest{id, 1'000, 0, content.substr(0, 600)}))) == 600);
  CHECK(need(fixture.Call(Request(2, BlobHaveRequest{{id}}))) == 600);
  CHECK(need(fixture.Call(Request(1, BlobPutRequest{id, 1'000, 600, ByteString(400, 'x')}))) == 0);
  CHECK(need(fixture.Call(Request(1, BlobPutRequest{id, 1'000, 0, content}))) == -1);
  CHECK(need(fixture.Call(Request(1, BlobHaveRequest{{id}}))) == -1);
  const auto chunk = Expect<BlobChunkReply>(fixture.Call(Request(1, BlobGetRequest{id, 900, 500})));
  CHECK(chunk.data == content.substr(900));
  CHECK(chunk.size_bytes == 1'000);
  CHECK(Expect<RefusedReply>(fixture.Call(Request(1, BlobGetRequest{id, 1'001, 1}))).code ==
        ErrorCode::kInvalidArgument);
}

TEST_CASE("gateway: many devices push at once and the log has no gap") {
  Fixture fixture;
  fixture.Start();
  constexpr int kDevices = 6;
  constexpr int kPushes = 20;
  std::vector<std::thread> devices;
  std::atomic<int> accepted{0};
  for (std::uint8_t device = 1; device <= kDevices; ++device) {
    devices.emplace_back([&, device] {
      ChainPosition chain = NewChain(device);
      for (int i = 0; i < kPushes; ++i) {
        PushRequest push = Push(chain, {Change("x" + std::to_string(device)), Change("y" + std::to_string(i))});
        push.unit_ends = {1};
        const Result<SyncReply> reply = fixture.Call(Request(device, push));
        if (!reply.ok() || !std::holds_alternative<PushReply>(*reply)) return;
        chain = std::get<PushReply>(*reply).acknowledged;
        ++accepted;
      }
    });
  }
  for (std::thread& thread : devices) thread.join();
  CHECK(accepted == kDevices * kPushes);
  PullRequest pull;
  pull.change_count_max = 1'000;
  pull.page_bytes_max = 1'000'000;
  const auto page = Expect<PageReply>(fixture.Call(Request(99, pull)));
  CHECK(page.changes.size() == kDevices * kPushes * 2);
  LogPosition position;
  for (const ByteString& change : page.changes) position = NextLogPosition(position, change);
  CHECK(position == page.next);
  // Two changes of one push lie side by side.
  for (std::size_t i = 0; i < page.changes.size(); i += 2) {
    CHECK(DecodeChange(page.changes[i])->change.id[0] == 'x');
    CHECK(DecodeChange(page.changes[i + 1])->change.id[0] == 'y');
  }
}

TEST_CASE("gateway: wrong places are refused") {
  Fixture fixture;
  fixture.Start();
  CHECK(Gateway::Start(fixture.options).status().code() == ErrorCode::kBusy);
  GatewayOptions options = fixture.options;
  options.store_path = fixture.directory.path() + "/other";
  options.host = "not-an-address";
  CHECK(Gateway::Start(options).status().code() == ErrorCode::kInvalidArgument);
  options.host = "127.0.0.1";
  options.port = fixture.gateway->port();
  CHECK(Gateway::Start(options).status().code() == ErrorCode::kIo);
  options.port = 0;
  options.store_path = fixture.options.store_path + "/channel";  // A database's directory.
  CHECK(Gateway::Start(options).status().code() == ErrorCode::kInvalidArgument);
}

}  // namespace
}  // namespace foreshore
