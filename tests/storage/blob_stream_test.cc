// Goal: blobs written from streams and read at any place; no damaged byte is given out; nothing is collected under a
// hold.
#include <doctest/doctest.h>

#include <fstream>

#include "storage/base/clock.h"
#include "storage/base/coding.h"
#include "storage/blob_reader.h"
#include "storage/blob_writer.h"
#include "tests/temporary_directory.h"

namespace foreshore {
namespace {

struct Fixture {
  Fixture() {
    auto opened = BlobStore::Open(directory.path() + "/blobs");
    REQUIRE(opened.ok());
    store = std::move(opened).value();
  }
  BlobId Write(Bytes content, std::size_t step = 100'000) {
    auto writer = BlobWriter::Create(*store);
    REQUIRE(writer.ok());
    for (; !content.empty(); content.remove_prefix(std::min(step, content.size()))) {
      REQUIRE((*writer)->Append(content.substr(0, step)).ok());
    }
    const auto id = (*writer)->Finish();
    REQUIRE_MESSAGE(id.ok(), id.status().ToString());
    return *id;
  }
  std::size_t TemporaryCount() const { return ListDirectory(directory.path() + "/blobs/tmp")->size(); }

  TemporaryDirectory directory;
  std::unique_ptr<BlobStore> store;
};

Result<ByteString> ReadAll(BlobReader& reader, std::uint64_t offset = 0, std::size_t count = SIZE_MAX) {
  ByteString out;
  while (out.size() < count) {
    FORESHORE_ASSIGN_OR_RETURN(const Bytes piece, reader.ReadAt(offset + out.size(), count - out.size()));
    if (piece.empty()) break;
    out += piece;
  }
  return out;
}

void FlipByte(const std::string& path, std::uint64_t offset) {
  std::fstream file(path, std::ios::in | std::ios::out | std::ios::binary);
  file.seekg(static_cast<std::streamoff>(offset));
  const char byte = static_cast<char>(file.get());
  file.seekp(static_cast<std::streamoff>(offset));
  file.put(static_cast<char>(byte ^ 1));
}

TEST_CASE("blob stream: content of every size comes back, whole and in ranges") {
  Fixture fixture;
  for (const std::size_t size : {std::size_t{0}, std::size_t{1}, kBlobPieceBytes - 1, kBlobPieceBytes,
                                 kBlobPieceBytes + 1, 3 * kBlobPieceBytes, 3 * kBlobPieceBytes + 77}) {
    CAPTURE(size);
    const ByteString content = SeededRandom(size).Generate(size);
    const BlobId id = fixture.Write(content, 77'777);
    CHECK(id == Sha256Of(content));
    const auto reader = BlobReader::Open(*fixture.store, id);
    REQUIRE_MESSAGE(reader.ok(), reader.status().ToString());
    CHECK((*reader)->size_bytes() == size);
    CHECK(*ReadAll(**reader) == content);
    for (const std::size_t offset : {std::size_t{0}, size / 3, size / 2, size - std::min<std::size_t>(size, 1), size}) {
      CHECK(*ReadAll(**reader, offset, 300'000) == content.substr(offset, 300'000));
    }
    CHECK((*reader)->ReadAt(size + 5, 10)->empty());
  }
  CHECK(fixture.TemporaryCount() == 0);
}

TEST_CASE("blob stream: equal content is stored once, and a writer that is dropped leaves nothing") {
  Fixture fixture;
  const ByteString content = SeededRandom(1).Generate(400'000);
  CHECK(fixture.Write(content) == fixture.Write(content, 1'000));
  CHECK(fixture.store->List()->size() == 1);
  {
    auto writer = BlobWriter::Create(*fixture.store);
    REQUIRE(writer.ok());
    REQUIRE((*writer)->Append(content).ok());
    CHECK(fixture.TemporaryCount() == 1);
  }
  CHECK(fixture.TemporaryCount() == 0);
  CHECK(fixture.store->List()->size() == 1);
}

TEST_CASE("blob stream: a flipped bit is refused where it is, and only there") {
  Fixture fixture;
  const std::size_t size = 3 * kBlobPieceBytes + 500;
  const ByteString content = SeededRandom(2).Generate(size);
  for (const std::uint64_t damaged : {std::uint64_t{0}, std::uint64_t{kBlobPieceBytes}, std::uint64_t{size - 1}}) {
    CAPTURE(damaged);
    const BlobId id = fixture.Write(content);
    FlipByte(fixture.store->PathOf(id), damaged);
    const auto reader = BlobReader::Open(*fixture.store, id);
    REQUIRE(reader.ok());
    const std::uint64_t bad_piece = damaged / kBlobPieceBytes;
    for (std::uint64_t piece = 0; piece < 4; ++piece) {
      const auto read = (*reader)->ReadAt(piece * kBlobPieceBytes, 100);
      CHECK(read.ok() == (piece != bad_piece));
      if (piece == bad_piece) CHECK(read.status().code() == ErrorCode::kCorruption);
    }
    CHECK(fixture.store->Verify(id).code() == ErrorCode::kCorruption);
    REQUIRE(fixture.store->Remove(id).ok());
  }
}

TEST_CASE("blob stream: a blob of one piece is checked against its name") {
  Fixture fixture;
  const BlobId id = fixture.Write("a small one");
  FlipByte(fixture.store->PathOf(id), 3);
  const auto reader = BlobReader::Open(*fixture.store, id);
  REQUIRE(reader.ok());
  CHECK((*reader)->ReadAt(0, 5).status().code() == ErrorCode::kCorruption);
}

TEST_CASE("blob stream: a truncated or grown blob is refused, with its sums and without") {
  for (const bool keep_sums : {true, false}) {
    for (const std::uintmax_t size :
         {std::uintmax_t{100}, std::uintmax_t{2 * kBlobPieceBytes + 1}, std::uintmax_t{3 * kBlobPieceBytes}}) {
      CAPTURE(keep_sums);
      CAPTURE(size);
      Fixture fixture;
      const BlobId id = fixture.Write(SeededRandom(3).Generate(2 * kBlobPieceBytes + 5000));
      if (!keep_sums) std::filesystem::remove(fixture.store->SumsPathOf(id));
      std::filesystem::resize_file(fixture.store->PathOf(id), size);
      const auto reader = BlobReader::Open(*fixture.store, id);
      const Status status = reader.ok() ? (*reader)->ReadAt(0, 10).status() : reader.status();
      CHECK(status.code() == ErrorCode::kCorruption);
    }
  }
}

TEST_CASE("blob stream: sums that are missing, damaged or of another blob are made again") {
  Fixture fixture;
  const ByteString content = SeededRandom(4).Generate(2 * kBlobPieceBytes + 9);
  const BlobId id = fixture.Write(content);
  const std::string path = fixture.store->SumsPathOf(id);
  const ByteString good = *ReadFile(path);
  const BlobId other = fixture.Write(SeededRandom(5).Generate(content.size()));
  const ByteString foreign = *ReadFile(fixture.store->SumsPathOf(other));
  ByteString flipped = good;
  flipped[60] = static_cast<char>(flipped[60] ^ 4);
  for (const ByteString& bad : {ByteString(), good.substr(0, 40), flipped, foreign}) {
    if (bad.empty()) {
      std::filesystem::remove(path);
    } else {
      REQUIRE(WriteFileAtomic(path, bad).ok());
    }
    const auto reader = BlobReader::Open(*fixture.store, id);
    REQUIRE_MESSAGE(reader.ok(), reader.status().ToString());
    CHECK(*ReadAll(**reader) == content);
    CHECK(*ReadFile(path) == good);
  }
}

TEST_CASE("blob stream: nothing is collected while somebody holds") {
  Fixture fixture;
  const BlobId id = fixture.Write("content");
  BlobHold first = fixture.store->Hold();
  BlobHold second = fixture.store->Hold();
  CHECK(!*fixture.store->Collect(id));
  first.reset();
  CHECK(!*fixture.store->Collect(id));
  second.reset();
  CHECK(*fixture.store->Collect(id));
  CHECK(!fixture.store->Contains(id));
  CHECK(*fixture.store->Collect(id));
}

}  // namespace
}  // namespace foreshore
