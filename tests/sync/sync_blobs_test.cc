// Goal: what documents refer to arrives whole, resumes where it broke off, and never holds up the documents of others.
#include "engine/database/attachments.h"
#include "engine/database/blob_references.h"
#include "storage/base/clock.h"
#include "storage/base/coding.h"
#include "storage/base/file.h"
#include "tests/engine/database/attachment_source.h"
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

void Attach(Device& device, const std::string& id, const std::string& name, std::string_view content) {
  const auto staged = AttachmentAccess::Stage(*device.core, SourceOf(content));
  REQUIRE_MESSAGE(staged.ok(), staged.status().ToString());
  device.Write([&](WriteView& view, const CollectionDefinition& notes) {
    return AttachmentAccess::Put(view, notes, id, name, "image/jpeg", *staged).status();
  });
}

Result<std::string> Attached(Device& device, const std::string& id, const std::string& name) {
  FORESHORE_ASSIGN_OR_RETURN(const auto view, device.core->BeginRead());
  FORESHORE_ASSIGN_OR_RETURN(const auto attachment,
                             AttachmentAccess::Open(*view, **view->catalog().Require("notes"), id, name));
  std::string content(attachment->info().size_bytes, '\0');
  FORESHORE_RETURN_IF_ERROR(attachment->ReadAt(0, content.data(), content.size()).status());
  return content;
}

std::vector<std::string> Problems(Device& device) {
  const auto report = device.core->Verify();
  REQUIRE(report.ok());
  return report->problems;
}

TEST_CASE("attachments: two devices attach apart, and both have both") {
  BlobPair pair;
  pair.a.Put("n1", R"({"text":"pump"})");
  pair.a.Sync();
  pair.b.Sync();
  Attach(pair.a, "n1", "from-a", "content of a");
  Attach(pair.b, "n1", "from-b", "content of b");
  pair.a.Sync();
  pair.b.Sync();
  pair.a.Sync();
  for (Device* device : {&pair.a, &pair.b}) {
    CHECK(*Attached(*device, "n1", "from-a") == "content of a");
    CHECK(*Attached(*device, "n1", "from-b") == "content of b");
    CHECK(Problems(*device).empty());
  }
  CHECK(pair.a.Get("n1") == pair.b.Get("n1"));
  // Replacing concurrently: name, size and hash of one of the two, never a mixture.
  Attach(pair.a, "n1", "shared", "one of a");
  Attach(pair.b, "n1", "shared", "the other, of b");
  pair.a.Sync();
  pair.b.Sync();
  pair.a.Sync();
  CHECK(*Attached(pair.a, "n1", "shared") == *Attached(pair.b, "n1", "shared"));
  CHECK(Problems(pair.a).empty());
}

TEST_CASE("attachments: one whose content has not arrived is wanted, says so, and may be kept by an edit") {
  BlobPair pair;
  pair.a.Put("n1", R"({"text":"pump"})");
  Attach(pair.a, "n1", "photo", pair.content);
  pair.a.Sync();
  const std::string path = pair.gateway.options.store_path + "/channel/blobs";
  std::filesystem::rename(path, path + ".away");
  std::filesystem::create_directories(path);
  CHECK(pair.b.Sync().blobs_missing.size() == 1);
  const auto refused = Attached(pair.b, "n1", "photo");
  CHECK(refused.status().code() == ErrorCode::kNotFound);
  CHECK(refused.status().message().find("has not arrived yet") != std::string::npos);
  const auto report = pair.b.core->Verify();
  REQUIRE(report.ok());
  CHECK(report->problems.empty());
  CHECK(report->wanted_blob_count == 1);
  pair.b.Patch("n1", R"({"text":"pump 3"})");
  REQUIRE(pair.b.core->Compact().ok());
  std::filesystem::remove_all(path);
  std::filesystem::rename(path + ".away", path);
  pair.b.Sync();
  CHECK(*Attached(pair.b, "n1", "photo") == pair.content);
  CHECK(Problems(pair.b).empty());
}

TEST_CASE("attachments: removing one frees it on the other device as well") {
  BlobPair pair;
  pair.a.Put("n1", R"({"text":"pump"})");
  Attach(pair.a, "n1", "photo", "content");
  pair.a.Sync();
  pair.b.Sync();
  REQUIRE(pair.b.core->blobs().Contains(Sha256Of("content")));
  pair.a.Write([&](WriteView& view, const CollectionDefinition& notes) {
    return AttachmentAccess::Remove(view, notes, "n1", "photo");
  });
  pair.a.Sync();
  pair.b.Sync();
  REQUIRE(pair.b.core->Checkpoint().ok());
  CHECK(!pair.b.core->blobs().Contains(Sha256Of("content")));
  CHECK(Problems(pair.b).empty());
}

}  // namespace
}  // namespace foreshore
