// Goal: what documents refer to arrives whole, resumes where it broke off, and never holds up the documents of others.
#include "storage/base/clock.h"
#include "storage/base/coding.h"
#include "storage/base/file.h"
#include "sync/client/blob_references.h"
#include "tests/sync/sync_fixture.h"

namespace foreshore {
namespace {

using Fault = FaultyTransport::Fault;

std::string Reference(const BlobId& id) {
  return "{\"photo\":{\"$blob\":\"" + ToHex(AsBytes(id)) + "\"}}";
}

struct BlobPair {
  BlobPair() : a((gateway.Start(), gateway)), b(gateway) {
    a.Open();
    b.Open();
    for (Device* device : {&a, &b}) device->sync_options.chunk_bytes = 10'000;
    content = SeededRandom(7).Generate(95'000);
    auto put = a.core->blobs().Put(content);
    REQUIRE(put.ok());
    id = *put;
  }
  GatewayFixture gateway;
  Device a;
  Device b;
  ByteString content;
  BlobId id{};
};

ByteString Content(Device& device, const BlobId& id) {
  auto file = device.core->blobs().Open(id);
  return file.ok() ? ByteString((*file)->bytes()) : ByteString();
}

TEST_CASE("blobs: references are found wherever they stand, and only there") {
  BlobId id{};
  id.fill(0xAB);
  const std::string hex = ToHex(AsBytes(id));
  CHECK(FindBlobReferences("{\"a\":[{\"$blob\":\"" + hex + "\"}]}").size() == 1);
  CHECK(FindBlobReferences("{\"a\":\"\\\"$blob\\\":\\\"" + hex + "\\\"\"}").empty());
  CHECK(FindBlobReferences("{\"$blob\":\"" + hex.substr(1) + "\"}").empty());
  CHECK(FindBlobReferences("{\"$blob\":\"" + hex + "0\"}").empty());
  CHECK(FindBlobReferences("{\"$blob\":1}").empty());
  CHECK(FindBlobReferences("{\"$blob\":\"").empty());
}

TEST_CASE("blobs: an attachment arrives with its document") {
  BlobPair pair;
  pair.a.Put("n1", Reference(pair.id));
  const SyncReport sent = pair.a.Sync();
  CHECK(sent.totals.blobs_sent == 1);
  const SyncReport received = pair.b.Sync();
  CHECK(received.totals.blobs_received == 1);
  CHECK(received.blobs_missing.empty());
  CHECK(Content(pair.b, pair.id) == pair.content);
  CHECK(pair.b.Sync().totals.blobs_received == 0);
  // The gateway has it: another document that refers to it costs nothing.
  pair.b.Put("n2", Reference(pair.id));
  CHECK(pair.b.Sync().totals.blobs_sent == 0);
}

TEST_CASE("blobs: a transfer that breaks off at any chunk resumes there, after a crash too") {
  for (std::size_t failing = 2; failing < 12; failing += 3) {
    CAPTURE(failing);
    BlobPair pair;
    pair.a.Put("n1", Reference(pair.id));
    pair.a.transport->fail = [=](std::size_t n) { return n == failing ? Fault::kBeforeSending : Fault::kNone; };
    CHECK(!pair.a.TrySync().ok());
    pair.a.Reopen();
    const std::uint64_t sent = pair.a.Sync().totals.bytes_sent;
    CHECK(sent < pair.content.size() + 3'000 - (failing - 2) * 10'000);
    pair.b.transport->fail = [=](std::size_t n) { return n == failing ? Fault::kReplyLost : Fault::kNone; };
    CHECK(!pair.b.TrySync().ok());
    CHECK(!pair.b.Get("n1").empty());  // The document did not wait for it.
    pair.b.Reopen();
    const SyncReport resumed = pair.b.Sync();
    CHECK(resumed.totals.blobs_received == 1);
    CHECK(resumed.totals.bytes_received < pair.content.size() + 3'000 - (failing - 2) * 10'000);
    CHECK(Content(pair.b, pair.id) == pair.content);
  }
}

TEST_CASE("blobs: one that the gateway lost is reported, stays wanted, and is fetched once it is there") {
  BlobPair pair;
  pair.a.Put("n1", Reference(pair.id));
  pair.a.Sync();
  const std::string path = pair.gateway.options.store_path + "/channel/blobs";
  std::filesystem::rename(path, path + ".away");
  std::filesystem::create_directories(path);
  const SyncReport report = pair.b.Sync();
  REQUIRE(report.blobs_missing.size() == 1);
  CHECK(report.blobs_missing[0] == ToHex(AsBytes(pair.id)));
  pair.b.Reopen();
  CHECK(pair.b.Sync().blobs_missing.size() == 1);
  std::filesystem::remove_all(path);
  std::filesystem::rename(path + ".away", path);
  const SyncReport fetched = pair.b.Sync();
  CHECK(fetched.blobs_missing.empty());
  CHECK(fetched.totals.blobs_received == 1);
}

TEST_CASE("blobs: pieces that were damaged on the disk are fetched again") {
  BlobPair pair;
  pair.a.Put("n1", Reference(pair.id));
  pair.a.Sync();
  REQUIRE(pair.b.core->blobs().AppendPartial(pair.id, 0, ByteString(50'000, 'x')).ok());
  const SyncReport report = pair.b.Sync();
  CHECK(report.totals.blobs_received == 1);
  CHECK(Content(pair.b, pair.id) == pair.content);
}

TEST_CASE("blobs: a wiped gateway is given them again") {
  BlobPair pair;
  pair.a.Put("n1", Reference(pair.id));
  pair.a.Sync();
  pair.gateway.Stop();
  pair.gateway.Wipe();
  pair.gateway.Start();
  CHECK(pair.a.Sync().totals.blobs_sent == 1);
  pair.b.Sync();
  CHECK(Content(pair.b, pair.id) == pair.content);
}

}  // namespace
}  // namespace foreshore
