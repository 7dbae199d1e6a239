// Goal: a safetensors file is read exactly as it says, or refused with what was found and expected.
#include "engine/inference/safetensors.h"

#include <doctest/doctest.h>

#include "storage/base/coding.h"

namespace foreshore {
namespace {

ByteString File(const std::string& header, const ByteString& data) {
  ByteString file;
  AppendFixed<std::uint64_t>(file, header.size());
  return file + header + data;
}

void CheckRefused(const ByteString& file, ErrorCode code, std::string_view part) {
  const Status status = ReadSafetensors("m.safetensors", file).status();
  CAPTURE(status.ToString());
  CHECK(status.code() == code);
  CHECK(status.message().starts_with("m.safetensors: "));
  CHECK(status.message().find(part) != std::string::npos);
}

const std::string kTwo = R"({"__metadata__":{"format":"pt"},"b":{"dtype":"F32","shape":[2],"data_offsets":[2,10]},)"
                         R"("a":{"dtype":"I8","shape":[1,2],"data_offsets":[0,2]}})";

TEST_CASE("safetensors: tensors come in the order of their bytes, unaligned views into the file") {
  const ByteString file = File(kTwo, "xy12345678");
  const Result<SafetensorsFile> read = ReadSafetensors("m.safetensors", file);
  REQUIRE_MESSAGE(read.ok(), read.status().message());
  REQUIRE(read->tensors.size() == 2);
  CHECK(read->tensors[0].name == "a");
  CHECK(read->tensors[0].shape == std::vector<std::uint64_t>{1, 2});
  CHECK(read->tensors[1].type == TensorType::kF32);
  CHECK(read->tensors[1].bytes == "12345678");
  CHECK(read->tensors[1].bytes.data() == file.data() + file.size() - 8);
  CHECK(read->metadata[0] == std::pair<std::string, std::string>("format", "pt"));
}

TEST_CASE("safetensors: a header padded with spaces is read") {
  CHECK(ReadSafetensors("m", File(kTwo + "   ", "xy12345678")).ok());
}

TEST_CASE("safetensors: a header length beyond the file or the limit is refused") {
  ByteString file;
  AppendFixed<std::uint64_t>(file, 1000);
  CheckRefused(file + "{}", ErrorCode::kCorruption, "header of 1000 bytes");
  file.clear();
  AppendFixed<std::uint64_t>(file, ~0ULL);
  CheckRefused(file + "{}", ErrorCode::kLimit, "header of 18446744073709551615 bytes");
  CheckRefused("1234567", ErrorCode::kCorruption, "7 bytes");
}

TEST_CASE("safetensors: sizes that wrap are refused") {
  CheckRefused(File(R"({"a":{"dtype":"F32","shape":[4611686018427387904],"data_offsets":[0,0]}})", ""),
               ErrorCode::kLimit, "2^63");
  CheckRefused(File(R"({"a":{"dtype":"I8","shape":[4294967296,4294967296],"data_offsets":[0,0]}})", ""),
               ErrorCode::kLimit, "2^63");
  CheckRefused(File(R"({"a":{"dtype":"I8","shape":[18446744073709551616],"data_offsets":[0,0]}})", ""),
               ErrorCode::kCorruption, "dimension that is not an unsigned 64-bit integer");
}

TEST_CASE("safetensors: a shape that is larger or smaller than its bytes is refused") {
  CheckRefused(File(R"({"a":{"dtype":"F32","shape":[3],"data_offsets":[0,8]}})", "12345678"), ErrorCode::kCorruption,
               "has 8 bytes, its type and shape need 12");
  CheckRefused(File(R"({"a":{"dtype":"F32","shape":[1],"data_offsets":[0,8]}})", "12345678"), ErrorCode::kCorruption,
               "has 8 bytes, its type and shape need 4");
}

TEST_CASE("safetensors: dimensions that are negative or fractions are refused") {
  CheckRefused(File(R"({"a":{"dtype":"I8","shape":[-1],"data_offsets":[0,0]}})", ""), ErrorCode::kCorruption,
               "dimension");
  CheckRefused(File(R"({"a":{"dtype":"I8","shape":[1.0],"data_offsets":[0,1]}})", "x"), ErrorCode::kCorruption,
               "dimension");
  CheckRefused(File(R"({"a":{"dtype":"I8","shape":[1,1,1,1,1,1,1,1,1],"data_offsets":[0,1]}})", "x"), ErrorCode::kLimit,
               "8 dimensions");
}

TEST_CASE("safetensors: offsets outside the file, backwards, with gaps or overlaps are refused") {
  const auto two = [](const std::string& first, const std::string& second) {
    return R"({"a":{"dtype":"I8","shape":[4],"data_offsets":)" + first +
           R"(},"b":{"dtype":"I8","shape":[4],"data_offsets":)" + second + "}}";
  };
  CheckRefused(File(two("[0,4]", "[4,9]"), "12345678"), ErrorCode::kCorruption, "lies at 4..9");
  CheckRefused(File(two("[0,4]", "[8,4]"), "12345678"), ErrorCode::kCorruption, "lies at 8..4");
  CheckRefused(File(two("[0,4]", "[2,6]"), "12345678"), ErrorCode::kCorruption, "\"b\" begins at 2, expected 4");
  CheckRefused(File(two("[0,4]", "[0,4]"), "1234"), ErrorCode::kCorruption, "\"b\" begins at 0, expected 4");
  CheckRefused(File(two("[0,4]", "[5,9]"), "123456789"), ErrorCode::kCorruption, "begins at 5");
  CheckRefused(File(two("[0,4]", "[4,8]"), "123456789"), ErrorCode::kCorruption, "tensors end at 8, the file holds 9");
  CheckRefused(File(two("[0,4]", "[18446744073709551612,0]"), "1234"), ErrorCode::kCorruption, "lies at");
}

TEST_CASE("safetensors: an empty tensor inside another is refused") {
  CheckRefused(
      File(
          R"({"a":{"dtype":"I8","shape":[4],"data_offsets":[0,4]},"b":{"dtype":"I8","shape":[0],"data_offsets":[2,2]}})",
          "1234"),
      ErrorCode::kCorruption, "\"b\" begins at 2");
  CHECK(
      ReadSafetensors(
          "m",
          File(
              R"({"a":{"dtype":"I8","shape":[4],"data_offsets":[0,4]},"b":{"dtype":"I8","shape":[0],"data_offsets":[4,4]}})",
              "1234"))
          .ok());
}

TEST_CASE("safetensors: keys that come twice are refused") {
  CheckRefused(
      File(
          R"({"a":{"dtype":"I8","shape":[1],"data_offsets":[0,1]},"a":{"dtype":"I8","shape":[1],"data_offsets":[1,2]}})",
          "12"),
      ErrorCode::kCorruption, "key \"a\" twice");
  CheckRefused(File(R"({"a":{"dtype":"I8","dtype":"F32","shape":[1],"data_offsets":[0,1]}})", "1"),
               ErrorCode::kCorruption, "key \"dtype\" twice");
}

TEST_CASE("safetensors: every tensor of an unsupported type is named") {
  CheckRefused(
      File(
          R"({"a":{"dtype":"F64","shape":[1],"data_offsets":[0,8]},"b":{"dtype":"BOOL","shape":[1],"data_offsets":[8,9]}})",
          "123456789"),
      ErrorCode::kUnsupported, "\"b\" of type BOOL");
}

TEST_CASE("safetensors: deep, wrong or missing JSON is refused") {
  std::string nested;
  for (int i = 0; i < 10'000; ++i) nested += "{\"a\":";
  CheckRefused(File(nested + "{}" + std::string(10'000, '}'), ""), ErrorCode::kLimit, "nested deeper");
  CheckRefused(File("{\"a\":" + std::string(100'000, '[') + std::string(100'000, ']') + "}", ""), ErrorCode::kLimit,
               "nested deeper");
  CheckRefused(File("[]", ""), ErrorCode::kCorruption, "does not begin with {");
  CheckRefused(File("{", ""), ErrorCode::kCorruption, "JSON");
  CheckRefused(File(R"({"a":1})", ""), ErrorCode::kCorruption, "not described by an object");
  CheckRefused(File(R"({"a":{"shape":[1],"data_offsets":[0,1]}})", "1"), ErrorCode::kCorruption, "no dtype");
  CheckRefused(File(R"({"a":{"dtype":"I8","data_offsets":[0,1]}})", "1"), ErrorCode::kCorruption, "no shape");
  CheckRefused(File(R"({"a":{"dtype":"I8","shape":[1]}})", "1"), ErrorCode::kCorruption, "data_offsets");
  CheckRefused(File(R"({"a":{"dtype":"I8","shape":[1],"data_offsets":[0,1],"x":1}})", "1"), ErrorCode::kCorruption,
               "unknown member \"x\"");
  CheckRefused(File(R"({"__metadata__":{"a":1}})", ""), ErrorCode::kCorruption, "metadata \"a\" is not a string");
}

TEST_CASE("safetensors: metadata pairs, their length and the number of tensors are bounded") {
  std::string pairs;
  for (std::size_t i = 0; i <= kModelMetadataPairsMax; ++i)
    pairs += (i > 0 ? ",\"" : "\"") + std::to_string(i) + "\":\"\"";
  CheckRefused(File("{\"__metadata__\":{" + pairs + "}}", ""), ErrorCode::kLimit, "4096 metadata pairs");
  CheckRefused(File("{\"__metadata__\":{\"a\":\"" + std::string(kModelStringBytesMax + 1, 'x') + "\"}}", ""),
               ErrorCode::kLimit, "longer than 65536 bytes");
  std::string tensors;
  for (std::size_t i = 0; i <= kTensorsPerModelMax; ++i) {
    tensors += (i > 0 ? ",\"" : "{\"") + std::to_string(i) + R"(":{"dtype":"I8","shape":[0],"data_offsets":[0,0]})";
  }
  CheckRefused(File(tensors + "}", ""), ErrorCode::kLimit, "65536 tensors");
}

TEST_CASE("safetensors: no cut file is read, and no flipped bit crashes") {
  const ByteString file = File(kTwo, "xy12345678");
  for (std::size_t size = 0; size < file.size(); ++size) CHECK(!ReadSafetensors("m", Bytes(file).substr(0, size)).ok());
  for (std::size_t bit = 0; bit < file.size() * 8; ++bit) {
    ByteString flipped = file;
    flipped[bit / 8] = static_cast<char>(flipped[bit / 8] ^ (1 << (bit % 8)));
    const Result<SafetensorsFile> read = ReadSafetensors("m", flipped);
    if (!read.ok()) continue;
    for (const TensorView& tensor : read->tensors) {
      CHECK(tensor.bytes.size() == *TensorByteCount(tensor.type, tensor.shape));
    }
  }
}

}  // namespace
}  // namespace foreshore
