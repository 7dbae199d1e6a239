#include "storage/blob_store.h"

#include <doctest/doctest.h>

#include <fstream>

#include "tests/storage/store_backends.h"

namespace foreshore {
namespace {

void WriteRaw(const std::string& path, const std::string& content) {
  std::ofstream(path, std::ios::binary) << content;
}

TEST_CASE("blob: what was put is found by its hash, once") {
  TemporaryDirectory directory;
  const std::string path = directory.path() + "/blobs";
  const auto blobs = Take(BlobStore::Open(path));
  const std::string content(3 << 20, 'b');
  const BlobId id = Take(blobs->Put(content));
  CHECK(id == Sha256Of(content));
  CHECK(Take(blobs->Put(content)) == id);
  CHECK(blobs->Contains(id));
  CHECK(Take(blobs->SizeBytes(id)) == content.size());
  CHECK(Take(blobs->Open(id))->bytes() == content);
  const BlobId empty = Take(blobs->Put(""));
  CHECK(Take(blobs->Open(empty))->bytes().empty());
  CHECK(Take(blobs->List()).size() == 2);
  Ok(blobs->Verify(id));
  Ok(blobs->Remove(id));
  CHECK_FALSE(blobs->Contains(id));
  CHECK(blobs->Remove(id).code() == ErrorCode::kNotFound);
  CHECK(blobs->Open(id).status().code() == ErrorCode::kNotFound);
  CHECK(blobs->SizeBytes(id).status().code() == ErrorCode::kNotFound);
  CHECK(blobs->Verify(id).code() == ErrorCode::kNotFound);
}

TEST_CASE("blob: a file is copied in and hashed") {
  TemporaryDirectory directory;
  const auto blobs = Take(BlobStore::Open(directory.path() + "/blobs"));
  const std::string content(2500000, 'f');
  WriteRaw(directory.path() + "/file", content);
  const BlobId id = Take(blobs->PutFile(directory.path() + "/file"));
  CHECK(id == Sha256Of(content));
  CHECK(Take(blobs->PutFile(directory.path() + "/file")) == id);
  CHECK(Take(blobs->Open(id))->bytes() == content);
  CHECK(blobs->PutFile(directory.path() + "/none").status().code() == ErrorCode::kNotFound);
  CHECK(Take(ListDirectory(directory.path() + "/blobs/tmp")).empty());
}

TEST_CASE("blob: changed content is kCorruption") {
  TemporaryDirectory directory;
  const auto blobs = Take(BlobStore::Open(directory.path() + "/blobs"));
  const BlobId id = Take(blobs->Put("content"));
  WriteRaw(blobs->PathOf(id), "contenT");
  CHECK(blobs->Verify(id).code() == ErrorCode::kCorruption);
}

TEST_CASE("blob: a crashed writer's temporary goes at open, a partial blob stays") {
  TemporaryDirectory directory;
  const std::string path = directory.path() + "/blobs";
  const std::string content = "arrives in pieces";
  const BlobId id = Sha256Of(content);
  {
    const auto blobs = Take(BlobStore::Open(path));
    WriteRaw(path + "/tmp/7", "half");
    Ok(blobs->AppendPartial(id, 0, Bytes(content).substr(0, 7)));
  }
  const auto blobs = Take(BlobStore::Open(path));
  CHECK(Take(ListDirectory(path + "/tmp")).empty());
  CHECK(Take(blobs->PartialBytes(id)) == 7);
  CHECK(blobs->AppendPartial(id, 0, "x").code() == ErrorCode::kConflict);
  CHECK(blobs->AppendPartial(id, 8, "x").code() == ErrorCode::kConflict);
  Ok(blobs->AppendPartial(id, 7, Bytes(content).substr(7)));
  CHECK_FALSE(blobs->Contains(id));
  CHECK(Take(blobs->List()).empty());
  Ok(blobs->FinishPartial(id));
  CHECK(Take(blobs->Open(id))->bytes() == content);
  CHECK(Take(blobs->PartialBytes(id)) == 0);
  Ok(blobs->FinishPartial(id));  // A retry after a lost answer.
}

TEST_CASE("blob: pieces with the wrong hash are refused and removed") {
  TemporaryDirectory directory;
  const auto blobs = Take(BlobStore::Open(directory.path() + "/blobs"));
  const BlobId id = Sha256Of("expected");
  Ok(blobs->AppendPartial(id, 0, "something else"));
  CHECK(blobs->FinishPartial(id).code() == ErrorCode::kCorruption);
  CHECK(Take(blobs->PartialBytes(id)) == 0);
  CHECK_FALSE(blobs->Contains(id));
  CHECK(blobs->FinishPartial(id).code() == ErrorCode::kNotFound);
}

TEST_CASE("blob: more than 8 GiB is refused before anything is copied") {
  TemporaryDirectory directory;
  const auto blobs = Take(BlobStore::Open(directory.path() + "/blobs"));
  WriteRaw(directory.path() + "/sparse", "");
  std::filesystem::resize_file(directory.path() + "/sparse", kBlobBytesMax + 1);
  CHECK(blobs->PutFile(directory.path() + "/sparse").status().code() == ErrorCode::kLimit);
}

}  // namespace
}  // namespace foreshore
