// Goal: a manifest or a row that came by sync or from a damaged disk is an error or what it was.
#include "engine/model/model_manifest.h"

#include <doctest/doctest.h>

#include "engine/model/model_row.h"
#include "tests/engine/inference/random_bert.h"

namespace foreshore {
namespace {

ModelManifest Sample() {
  ModelManifest manifest;
  SetFormat(manifest, WeightFormat::Gptq(4, 64, true));
  manifest.config = TinyBertConfig();
  manifest.tensors.push_back({"a", TensorType::kI8, {2, 3}, BlobId{}});
  return manifest;
}

// The sample's text with one part replaced.
std::string With(const std::string& from, const std::string& to) {
  std::string text = EncodeManifest(Sample());
  const std::size_t place = text.find(from);
  REQUIRE(place != std::string::npos);
  return text.replace(place, from.size(), to);
}

}  // namespace

TEST_CASE("model manifest: what is written is read again") {
  const std::string text = EncodeManifest(Sample());
  const auto read = DecodeManifest(text);
  REQUIRE_MESSAGE(read.ok(), read.status().ToString());
  CHECK(EncodeManifest(*read) == text);
  CHECK(read->format == WeightFormat::Gptq(4, 64, true));
  CHECK(read->tensors[0].shape == std::vector<std::uint64_t>{2, 3});
}

TEST_CASE("model manifest: shapes that wrap, ranks that grow, sizes cut to 32 bits and keys twice are refused") {
  for (const char* shape : {"[4294967296,4294967296]", "[9223372036854775808]", "[18446744073709551615,2]", "[-1]",
                            "[1.5]", "[1,1,1,1,1,1,1,1,1]", "[\"2\"]", "{}"}) {
    CAPTURE(shape);
    CHECK(!DecodeManifest(With("\"shape\":[2,3]", std::string("\"shape\":") + shape)).ok());
  }
  for (const char* size : {"4294967328", "0", "-32", "32.0", "16385"}) {
    CAPTURE(size);
    CHECK(!DecodeManifest(With("\"hidden_size\":32", std::string("\"hidden_size\":") + size)).ok());
  }
  for (const char* size : {"4294967360", "0", "48"}) {
    CAPTURE(size);
    CHECK(!DecodeManifest(With("\"group_size\":64", std::string("\"group_size\":") + size)).ok());
  }
  CHECK(DecodeManifest(With("\"format\":1", "\"format\":1,\"format\":1")).status().code() == ErrorCode::kCorruption);
  CHECK(DecodeManifest(With("\"name\":\"a\"", "\"name\":\"a\",\"name\":\"b\"")).status().code() ==
        ErrorCode::kCorruption);
  CHECK(DecodeManifest(With("\"format\":1", "\"x\":" + std::string(100'000, '['))).status().code() ==
        ErrorCode::kLimit);
  CHECK(DecodeManifest(With("\"format\":1", "\"format\":2")).status().code() == ErrorCode::kUnsupported);
  CHECK(DecodeManifest(With("\"bert\"", "\"llama\"")).status().code() == ErrorCode::kUnsupported);
  CHECK(!DecodeManifest(With("\"blob\":\"00", "\"blob\":\"../")).ok());
}

TEST_CASE("model manifest: no prefix is a manifest, and no flipped bit does harm") {
  const std::string text = EncodeManifest(Sample());
  for (std::size_t size = 0; size < text.size(); ++size) CHECK(!DecodeManifest(Bytes(text).substr(0, size)).ok());
  for (std::size_t bit = 0; bit < text.size() * 8; ++bit) {
    std::string flipped = text;
    flipped[bit / 8] = static_cast<char>(flipped[bit / 8] ^ (1 << (bit % 8)));
    const auto read = DecodeManifest(flipped);
    if (read.ok()) CHECK(DecodeManifest(EncodeManifest(*read)).ok());
  }
}

TEST_CASE("model row: licence and origin come back, and a damaged row is refused") {
  ModelRow row;
  row.info.name = "m";
  row.info.version = std::string(64, 'a');
  row.info.architecture = "bert";
  row.info.licence = "apache-2.0";
  row.info.origin = "https://example.org/\"m\"";
  const std::string text = EncodeModelRow(row);
  const auto read = DecodeModelRow(text);
  REQUIRE_MESSAGE(read.ok(), read.status().ToString());
  CHECK(read->info.licence == row.info.licence);
  CHECK(read->info.origin == row.info.origin);
  for (std::size_t size = 0; size < text.size(); ++size) CHECK(!DecodeModelRow(Bytes(text).substr(0, size)).ok());
}

}  // namespace foreshore
