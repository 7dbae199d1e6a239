// Goal: attachments go in and out as streams, are counted right, and are collected exactly when nobody can see them.
#include "engine/database/attachments.h"

#include <sys/resource.h>

#include <cstdlib>
#include <fstream>

#include "engine/database/blob_index.h"
#include "storage/base/coding.h"
#include "storage/blob_sums.h"
#include "tests/engine/database/attachment_source.h"
#include "tests/engine/database/core_test.h"

namespace foreshore {
namespace {

class Fixture : public CoreFixture {
 public:
  explicit Fixture(StorageKind kind = StorageKind::kSqlite) : CoreFixture(kind) {
    Open();
    REQUIRE(core->CreateCollection("notes").ok());
    REQUIRE(Put("notes", "n1", R"({"text":"pump"})").ok());
    REQUIRE(Put("notes", "n2", R"({"text":"valve"})").ok());
  }
  Status Attach(const std::string& id, const std::string& name, std::string_view content,
                const std::string& type = "text/plain") {
    FORESHORE_ASSIGN_OR_RETURN(const auto staged, AttachmentAccess::Stage(*core, SourceOf(content)));
    FORESHORE_ASSIGN_OR_RETURN(const auto view, core->BeginWrite());
    const CollectionDefinition& notes = **view->catalog().Require("notes");
    FORESHORE_RETURN_IF_ERROR(AttachmentAccess::Put(*view, notes, id, name, type, staged).status());
    return view->Commit();
  }
  Status Detach(const std::string& id, const std::string& name) {
    FORESHORE_ASSIGN_OR_RETURN(const auto view, core->BeginWrite());
    FORESHORE_RETURN_IF_ERROR(AttachmentAccess::Remove(*view, **view->catalog().Require("notes"), id, name));
    return view->Commit();
  }
  Result<std::string> Content(ReadView& view, const std::string& id, const std::string& name) {
    FORESHORE_ASSIGN_OR_RETURN(const auto attachment,
                               AttachmentAccess::Open(view, **view.catalog().Require("notes"), id, name));
    std::string content(attachment->info().size_bytes + 10, '\0');
    FORESHORE_ASSIGN_OR_RETURN(const std::size_t count, attachment->ReadAt(0, content.data(), content.size()));
    content.resize(count);
    return content;
  }
  Result<std::string> Content(const std::string& id, const std::string& name) {
    FORESHORE_ASSIGN_OR_RETURN(const auto view, core->BeginRead());
    return Content(*view, id, name);
  }
  std::size_t BlobCount() { return core->blobs().List()->size(); }
  std::vector<std::string> Problems() {
    const auto report = core->Verify();
    REQUIRE_MESSAGE(report.ok(), report.status().ToString());
    return report->problems;
  }
};

TEST_CASE("attachments: what is put is listed and read, after reopening too, on either backend") {
  for (const StorageKind kind : kKinds) {
    Fixture fixture(kind);
    const std::string large = SeededRandom(1).Generate(1'000'000);
    REQUIRE(fixture.Attach("n1", "photo.jpg", large, "image/jpeg").ok());
    REQUIRE(fixture.Attach("n1", "a \"quoted\" name", "text").ok());
    fixture.Reopen();
    {
      const auto view = fixture.core->BeginRead();
      const auto infos = AttachmentAccess::List(**view, **(*view)->catalog().Require("notes"), "n1");
      REQUIRE(infos.ok());
      REQUIRE(infos->size() == 2);
      CHECK((*infos)[0].name == "photo.jpg");
      CHECK((*infos)[0].content_type == "image/jpeg");
      CHECK((*infos)[0].size_bytes == large.size());
      CHECK((*infos)[0].sha256 == ToHex(AsBytes(Sha256Of(large))));
      CHECK((*infos)[0].is_here);
      CHECK((*infos)[1].name == "a \"quoted\" name");
    }
    CHECK(*fixture.Content("n1", "photo.jpg") == large);
    CHECK(*fixture.Content("n1", "a \"quoted\" name") == "text");
    CHECK(fixture.Get("notes", "n1").find("\"text\":\"pump\"") != std::string::npos);
    CHECK(fixture.Problems().empty());
  }
}

TEST_CASE("attachments: errors name the attachment and change nothing") {
  Fixture fixture;
  CHECK(fixture.Attach("n9", "a", "x").code() == ErrorCode::kNotFound);
  CHECK(fixture.Attach("n1", "", "x").code() == ErrorCode::kInvalidArgument);
  CHECK(fixture.Attach("n1", "a\nb", "x").code() == ErrorCode::kInvalidArgument);
  CHECK(fixture.Attach("n1", "a", "x", std::string(256, 't')).code() == ErrorCode::kLimit);
  CHECK(fixture.Detach("n1", "a").code() == ErrorCode::kNotFound);
  CHECK(fixture.Content("n1", "a").status().code() == ErrorCode::kNotFound);
  REQUIRE(fixture.Put("notes", "n2", R"({"_attachments":"mine"})").ok());
  CHECK(fixture.Attach("n2", "a", "x").code() == ErrorCode::kConflict);
  const auto failing = AttachmentAccess::Stage(
      *fixture.core, [](char*, std::size_t) -> Result<std::size_t> { return Status::Io("the camera went away"); });
  CHECK(failing.status().code() == ErrorCode::kIo);
  CHECK(ListDirectory(fixture.path() + "/blobs/tmp")->empty());
  REQUIRE(fixture.core->Compact().ok());
  CHECK(fixture.BlobCount() == 0);
  CHECK(fixture.Problems().empty());
}

TEST_CASE("attachments: a reference to content that is not here is refused") {
  Fixture fixture;
  const std::string hex(64, 'a');
  const Status put = fixture.Put("notes", "n3", R"({"photo":{"$blob":")" + hex + R"("}})");
  CHECK(put.code() == ErrorCode::kNotFound);
  CHECK(put.message().find(hex) != std::string::npos);
  CHECK(fixture.Get("notes", "n3").empty());
  CHECK(fixture.Problems().empty());
}

// The order that the library keeps is blob first, then the reference. Planted here: the other order, cut in between.
TEST_CASE("attachments: a reference that was committed before its blob is found by verify") {
  Fixture fixture;
  REQUIRE(fixture.Attach("n1", "a", "content").ok());
  const BlobId id = Sha256Of("content");
  REQUIRE(fixture.core->blobs().Remove(id).ok());
  const auto problems = fixture.Problems();
  REQUIRE(problems.size() == 1);
  CHECK(problems[0].find("not here") != std::string::npos);
  CHECK(fixture.Content("n1", "a").status().code() == ErrorCode::kNotFound);
}

TEST_CASE("attachments: equal content is one blob until its last reference goes") {
  Fixture fixture;
  REQUIRE(fixture.Attach("n1", "a", "content").ok());
  REQUIRE(fixture.Attach("n1", "b", "content").ok());
  REQUIRE(fixture.Attach("n2", "c", "content").ok());
  CHECK(fixture.BlobCount() == 1);
  REQUIRE(fixture.Detach("n1", "a").ok());
  REQUIRE(fixture.core->Checkpoint().ok());
  CHECK(*fixture.Content("n1", "b") == "content");
  REQUIRE(fixture.Delete("notes", "n1").ok());
  REQUIRE(fixture.core->Checkpoint().ok());
  CHECK(*fixture.Content("n2", "c") == "content");
  CHECK(fixture.Problems().empty());
  REQUIRE(fixture.Put("notes", "n2", R"({"text":"no attachments any more"})").ok());
  CHECK(fixture.BlobCount() == 1);
  REQUIRE(fixture.core->Checkpoint().ok());
  CHECK(fixture.BlobCount() == 0);
  CHECK(fixture.Problems().empty());
}

TEST_CASE("attachments: a snapshot keeps what it sees from being collected") {
  for (const StorageKind kind : kKinds) {
    Fixture fixture(kind);
    REQUIRE(fixture.Attach("n1", "a", "old").ok());
    {
      const auto view = fixture.core->BeginRead();
      REQUIRE(fixture.Attach("n1", "a", "new").ok());
      REQUIRE(fixture.core->CollectBlobs(DatabaseCore::BlobSweep::kAll).ok());
      CHECK(fixture.BlobCount() == 2);
      CHECK(*fixture.Content(**view, "n1", "a") == "old");
      CHECK(*fixture.Content("n1", "a") == "new");
    }
    REQUIRE(fixture.core->Checkpoint().ok());
    CHECK(fixture.BlobCount() == 1);
    CHECK(*fixture.Content("n1", "a") == "new");
    CHECK(fixture.Problems().empty());
  }
}

TEST_CASE("attachments: an open one stays readable after it was collected") {
  Fixture fixture;
  const std::string large = SeededRandom(2).Generate(3 * kBlobPieceBytes);
  REQUIRE(fixture.Attach("n1", "a", large).ok());
  std::unique_ptr<Attachment> attachment;
  {
    const auto view = fixture.core->BeginRead();
    auto opened = AttachmentAccess::Open(**view, **(*view)->catalog().Require("notes"), "n1", "a");
    REQUIRE(opened.ok());
    attachment = std::move(opened).value();
  }
  REQUIRE(fixture.Detach("n1", "a").ok());
  REQUIRE(fixture.core->Checkpoint().ok());
  CHECK(fixture.BlobCount() == 0);
  std::string content(large.size(), '\0');
  CHECK(*attachment->ReadAt(0, content.data(), content.size()) == large.size());
  CHECK(content == large);
}

TEST_CASE("attachments: staged content waits for its transaction, and is garbage once that is given up") {
  Fixture fixture;
  {
    const auto staged = AttachmentAccess::Stage(*fixture.core, SourceOf("staged"));
    REQUIRE(staged.ok());
    REQUIRE(fixture.core->Compact().ok());
    CHECK(fixture.BlobCount() == 1);
    {
      const auto view = fixture.core->BeginWrite();
      REQUIRE(AttachmentAccess::Put(**view, **(*view)->catalog().Require("notes"), "n1", "a", "", *staged).ok());
    }
    CHECK(fixture.Content("n1", "a").status().code() == ErrorCode::kNotFound);  // Rolled back.
    REQUIRE(fixture.core->Compact().ok());
    CHECK(fixture.BlobCount() == 1);
  }
  REQUIRE(fixture.core->Compact().ok());
  CHECK(fixture.BlobCount() == 0);
}

TEST_CASE("attachments: going back to a savepoint takes the reference back") {
  Fixture fixture;
  {
    const auto staged = AttachmentAccess::Stage(*fixture.core, SourceOf("content"));
    REQUIRE(staged.ok());
    const auto view = fixture.core->BeginWrite();
    const CollectionDefinition& notes = **(*view)->catalog().Require("notes");
    REQUIRE((*view)->MakeSavepoint().ok());
    REQUIRE(AttachmentAccess::Put(**view, notes, "n1", "a", "", *staged).ok());
    REQUIRE((*view)->RollbackToSavepoint().ok());
    REQUIRE((*view)->Commit().ok());
  }
  CHECK(fixture.Content("n1", "a").status().code() == ErrorCode::kNotFound);
  REQUIRE(fixture.core->Compact().ok());
  CHECK(fixture.BlobCount() == 0);
  CHECK(fixture.Problems().empty());
}

TEST_CASE("attachments: content that is unreferenced but not collected yet comes back to life") {
  Fixture fixture;
  REQUIRE(fixture.Attach("n1", "a", "content").ok());
  REQUIRE(fixture.Detach("n1", "a").ok());
  REQUIRE(fixture.Attach("n2", "b", "content").ok());
  REQUIRE(fixture.core->Compact().ok());
  CHECK(*fixture.Content("n2", "b") == "content");
  CHECK(fixture.Problems().empty());
}

TEST_CASE("attachments: damage is found by verify and refused by reading") {
  Fixture fixture;
  const std::string large = SeededRandom(3).Generate(3 * kBlobPieceBytes);
  REQUIRE(fixture.Attach("n1", "a", large).ok());
  const std::string path = fixture.core->blobs().PathOf(Sha256Of(large));
  {
    std::fstream file(path, std::ios::in | std::ios::out | std::ios::binary);
    file.seekp(kBlobPieceBytes + 7);
    file.put(static_cast<char>(large[kBlobPieceBytes + 7] ^ 16));
  }
  CHECK(fixture.Problems().size() == 1);
  CHECK(fixture.Content("n1", "a").status().code() == ErrorCode::kCorruption);
  std::filesystem::resize_file(path, 1000);
  CHECK(fixture.Problems().size() == 2);  // Size and hash.
  CHECK(fixture.Content("n1", "a").status().code() == ErrorCode::kCorruption);
}

TEST_CASE("attachments: a count that disagrees with the documents is found by verify") {
  Fixture fixture;
  REQUIRE(fixture.Attach("n1", "a", "content").ok());
  {
    const auto txn = fixture.core->store().BeginWrite();
    REQUIRE(fixture.core->blob_index().Remove(**txn, {Sha256Of("content"), 1, 1, ChangeOrigin::kLocal}, 0).ok());
    REQUIRE((*txn)->Commit().ok());
  }
  const auto problems = fixture.Problems();
  REQUIRE(problems.size() == 1);
  CHECK(problems[0].find("0 references counted") != std::string::npos);
}

// FORESHORE_LARGE_ATTACHMENT_MIB=1024 measures a gigabyte.
TEST_CASE("attachments: memory does not grow with the content") {
  const char* asked = std::getenv("FORESHORE_LARGE_ATTACHMENT_MIB");
  const std::uint64_t size_bytes = (asked != nullptr ? std::strtoull(asked, nullptr, 10) : 64) << 20;
  Fixture fixture;
  const auto peak_kib = [] {
    struct rusage usage {};
    getrusage(RUSAGE_SELF, &usage);
    return usage.ru_maxrss;
  };
  const long before = peak_kib();
  SeededRandom random(4);
  const std::string block = random.Generate(1 << 20);
  std::uint64_t given = 0;
  const auto staged =
      AttachmentAccess::Stage(*fixture.core, [&](char* buffer, std::size_t capacity) -> Result<std::size_t> {
        const std::size_t count =
            std::min({capacity, block.size() - given % block.size(), static_cast<std::size_t>(size_bytes - given)});
        std::copy_n(block.data() + given % block.size(), count, buffer);
        given += count;
        return count;
      });
  REQUIRE_MESSAGE(staged.ok(), staged.status().ToString());
  {
    const auto view = fixture.core->BeginWrite();
    REQUIRE(AttachmentAccess::Put(**view, **(*view)->catalog().Require("notes"), "n1", "big", "", *staged).ok());
    REQUIRE((*view)->Commit().ok());
  }
  const auto view = fixture.core->BeginRead();
  const auto attachment = AttachmentAccess::Open(**view, **(*view)->catalog().Require("notes"), "n1", "big");
  REQUIRE(attachment.ok());
  std::string buffer(1 << 20, '\0');
  std::uint64_t offset = 0;
  while (true) {
    const auto count = (*attachment)->ReadAt(offset, buffer.data(), buffer.size());
    REQUIRE_MESSAGE(count.ok(), count.status().ToString());
    if (*count == 0) break;
    if (std::string_view(buffer).substr(0, *count) != std::string_view(block).substr(0, *count)) FAIL("other bytes");
    offset += *count;
  }
  CHECK(offset == size_bytes);
  const long grown_kib = peak_kib() - before;
  MESSAGE((size_bytes >> 20) << " MiB in and out, peak memory grew by " << grown_kib << " KiB");
  CHECK(grown_kib < 24 * 1024);
}

}  // namespace
}  // namespace foreshore
