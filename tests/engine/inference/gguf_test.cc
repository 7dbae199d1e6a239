// Goal: a GGUF file is read to the bit, and one that lies about anything is an error that says what.
#include "engine/inference/gguf.h"

#include <doctest/doctest.h>

#include "storage/base/checksum.h"
#include "storage/base/file.h"
#include "tests/engine/inference/gguf_writer.h"

namespace foreshore {
namespace {

const std::string kGolden = FORESHORE_GOLDEN_DIR "/gguf";

void CheckRefused(Bytes file, ErrorCode code, std::string_view part) {
  const Status status = ReadGguf("m.gguf", file).status();
  CAPTURE(status.ToString());
  CAPTURE(part);
  CHECK(status.code() == code);
  CHECK(status.message().find(part) != std::string::npos);
  CHECK(status.message().starts_with("m.gguf: "));
}

GgufWriter OneTensor() {
  GgufWriter writer;
  writer.Tensor("a", {4}, 0, ByteString(16, '\0'));
  return writer;
}

}  // namespace

// Reference: the package gguf 0.19.0 (tests/golden/make_gguf_types.py).
TEST_CASE("gguf: every readable type is dequantized to the reference's bits") {
  const ByteString bytes = ReadFile(kGolden + "/types.gguf").value();
  const auto file = ReadGguf("types.gguf", bytes);
  REQUIRE_MESSAGE(file.ok(), file.status().ToString());
  const ByteString sums = ReadFile(kGolden + "/types.sums").value();
  CHECK(file->tensors.size() == 11);
  for (const GgufTensor& tensor : file->tensors) {
    CAPTURE(tensor.name);
    REQUIRE(tensor.type != nullptr);
    CHECK(tensor.type->name == tensor.name);
    const bool is_readable = tensor.type->dequantize != nullptr;
    REQUIRE(is_readable);
    const std::vector<float> values = DequantizeGgml(*tensor.type, tensor.bytes);
    CHECK(values.size() == tensor.shape[0] * tensor.shape[1]);
    const std::string sum = ToHex(AsBytes(Sha256Of(AsBytes(values.data(), values.size() * sizeof(float)))));
    CHECK(sums.find(sum + " " + tensor.name + "\n") != std::string::npos);
    CHECK(std::string(ReadableGgmlTypes()).find(tensor.name) != std::string::npos);
  }
}

TEST_CASE("gguf: values of every type are read, and one of another type is none") {
  GgufWriter writer = OneTensor();
  writer.Key("u8", GgufValueType::kU8, "\x07").Key("i8", GgufValueType::kI8, "\xFE");
  writer.Key("u16", GgufValueType::kU16, FixedBytesOf<std::uint16_t>(60'000));
  writer.Key("i16", GgufValueType::kI16, FixedBytesOf<std::int16_t>(7));
  writer.Key("u64", GgufValueType::kU64, FixedBytesOf<std::uint64_t>(1ULL << 63));
  writer.Key("i64", GgufValueType::kI64, FixedBytesOf<std::int64_t>(5));
  writer.Key("f64", GgufValueType::kF64, FixedBytesOf(0.25)).F32("f32", 0.5F);
  writer.Key("yes", GgufValueType::kBool, "\x01").Text("text", "word").Texts("texts", {"a", "", "b"});
  ByteString numbers = FixedBytesOf(static_cast<std::uint32_t>(GgufValueType::kI32));
  AppendFixed<std::uint64_t>(numbers, 2);
  AppendFixed<std::int32_t>(numbers, 1);
  AppendFixed<std::int32_t>(numbers, 3);
  writer.Key("numbers", GgufValueType::kArray, numbers);
  for (const std::uint32_t version : {2U, 3U}) {
    writer.version = version;
    const ByteString bytes = writer.Finish();
    const auto read = ReadGguf("m.gguf", bytes);
    REQUIRE_MESSAGE(read.ok(), read.status().ToString());
    CHECK(read->Unsigned("u8") == 7);
    CHECK(!read->Unsigned("i8"));  // Negative.
    CHECK(read->Unsigned("u16") == 60'000);
    CHECK(read->Unsigned("i16") == 7);
    CHECK(read->Unsigned("u64") == 1ULL << 63);
    CHECK(read->Unsigned("i64") == 5);
    CHECK(read->Number("f64") == 0.25);
    CHECK(read->Number("f32") == 0.5);
    CHECK(read->Bool("yes") == true);
    CHECK(read->String("text") == "word");
    CHECK(read->Strings("texts") == std::vector<std::string_view>{"a", "", "b"});
    CHECK(read->UnsignedArray("numbers") == std::vector<std::uint64_t>{1, 3});
    CHECK(!read->Unsigned("text"));
    CHECK(!read->Strings("numbers"));
    CHECK(!read->UnsignedArray("texts"));
    CHECK(!read->String("none"));
  }
}

TEST_CASE("gguf: other versions, big-endian files and files of another kind are told apart") {
  GgufWriter writer = OneTensor();
  writer.version = 1;
  CheckRefused(writer.Finish(), ErrorCode::kUnsupported, "GGUF version 1, expected 2 or 3");
  writer.version = 0x03000000;
  CheckRefused(writer.Finish(), ErrorCode::kUnsupported, "big-endian GGUF, expected little-endian");
  CheckRefused("GGML....", ErrorCode::kCorruption, "does not begin with GGUF");
  CheckRefused("", ErrorCode::kCorruption, "does not begin with GGUF");
}

TEST_CASE("gguf: every prefix of a file is refused, and bytes after its end are") {
  GgufWriter writer = OneTensor();
  writer.Text("a", "b").Texts("c", {"d", "e"}).U32("general.alignment", 32);
  const ByteString file = writer.Finish();
  REQUIRE(ReadGguf("m.gguf", file).ok());
  for (std::size_t size = 0; size + 16 < file.size(); ++size) {
    CAPTURE(size);
    CHECK(ReadGguf("m.gguf", Bytes(file).substr(0, size)).status().code() == ErrorCode::kCorruption);
  }
  CHECK(ReadGguf("m.gguf", Bytes(file).substr(0, file.size() - 16)).ok());  // Padding behind the last may be absent.
  CheckRefused(file + "x", ErrorCode::kCorruption, "tensors end at 32, the file holds 33 bytes of data");
}

// CVE-2025-53630, CVE-2026-27940, CVE-2026-33298: a size that wraps.
TEST_CASE("gguf: counts, lengths and dimensions that wrap are refused before they are used") {
  for (const std::uint64_t huge : {1ULL << 32, 1ULL << 61, 1ULL << 62, 1ULL << 63, ~0ULL}) {
    CAPTURE(huge);
    GgufWriter writer = OneTensor();
    writer.tensor_count_added = static_cast<std::int64_t>(huge);
    // A count that wraps back to what is there is that count.
    if (huge != ~0ULL) CheckRefused(writer.Finish(), ErrorCode::kLimit, "tensors, at most 65536");
    writer.tensor_count_added = 0;
    writer.key_count_added = static_cast<std::int64_t>(huge);
    CheckRefused(writer.Finish(), ErrorCode::kLimit, "metadata pairs, at most 4096");

    CheckRefused(GgufWriter().TensorAt("a", {huge, huge}, 0, 0).Finish(), ErrorCode::kLimit, "dimensions multiply");
    CheckRefused(GgufWriter().TensorAt("a", {32, huge, 8}, 8, 0).Finish(),
                 huge >> 50 == 0 ? ErrorCode::kCorruption : ErrorCode::kLimit, "tensor \"a\"");
    CheckRefused(GgufWriter().TensorAt("a", {4}, 0, huge / 32 * 32).Finish(), ErrorCode::kCorruption, "expected 0");

    ByteString text = FixedBytesOf(huge) + "abc";
    CheckRefused(GgufWriter().Key("k", GgufValueType::kString, text).Finish(), ErrorCode::kLimit, "the value of \"k\"");
    for (const GgufValueType type : {GgufValueType::kU8, GgufValueType::kU64, GgufValueType::kString}) {
      ByteString array = FixedBytesOf(static_cast<std::uint32_t>(type)) + FixedBytesOf(huge) + ByteString(64, '\0');
      CheckRefused(GgufWriter().Key("k", GgufValueType::kArray, array).Finish(), ErrorCode::kCorruption,
                   "inside the value of \"k\"");
    }
  }
  GgufWriter many = OneTensor();
  many.tensor_count_added = 60'000;
  CheckRefused(many.Finish(), ErrorCode::kCorruption, "60001 tensors and 0 metadata pairs, more than the file's");
}

// CVE-2026-7482: a shape larger than the data. CVE-2026-53923: a dimension cut to 32 bits.
TEST_CASE("gguf: a tensor that is larger than the data is refused, also where 32 bits of its size are not") {
  CheckRefused(GgufWriter().TensorAt("a", {5}, 0, 0).Data(ByteString(16, '\0')).Finish(), ErrorCode::kCorruption,
               "has 20 bytes at 0, the file holds 16 bytes of data");
  CheckRefused(GgufWriter().TensorAt("a", {(1ULL << 32) + 4}, 0, 0).Data(ByteString(16, '\0')).Finish(),
               ErrorCode::kCorruption, "has 17179869200 bytes at 0");
  CheckRefused(GgufWriter().TensorAt("a", {1ULL << 32, 1}, 0, 0).Data(ByteString(16, '\0')).Finish(),
               ErrorCode::kCorruption, "has 17179869184 bytes at 0");
}

TEST_CASE("gguf: a tensor that is misaligned, overlaps, leaves a gap or is empty is refused") {
  const ByteString data(64, '\0');
  CheckRefused(GgufWriter().TensorAt("a", {4}, 0, 4).Data(data).Finish(), ErrorCode::kCorruption,
               "lies at 4, expected a multiple of 32");
  CheckRefused(GgufWriter().TensorAt("a", {16}, 0, 0).TensorAt("b", {8}, 0, 32).Data(data).Finish(),
               ErrorCode::kCorruption, "tensor \"b\" lies at 32, expected 64");
  CheckRefused(GgufWriter().TensorAt("a", {8}, 0, 0).TensorAt("b", {8}, 0, 0).Data(data).Finish(),
               ErrorCode::kCorruption, "tensor \"b\" lies at 0, expected 32");
  CheckRefused(GgufWriter().TensorAt("a", {4}, 0, 32).Data(data).Finish(), ErrorCode::kCorruption, "expected 0");
  CheckRefused(GgufWriter().TensorAt("a", {0}, 0, 0).TensorAt("b", {16}, 0, 0).Data(data).Finish(),
               ErrorCode::kCorruption, "tensor \"a\" has a dimension of 0");
  CheckRefused(GgufWriter().TensorAt("a", {0, 1ULL << 63, 4}, 0, 0).Finish(), ErrorCode::kCorruption, "of 0");
}

TEST_CASE("gguf: only alignments that are powers of two are taken, and they hold") {
  for (const std::uint32_t wrong : {0U, 1U, 4U, 24U, 33U, 131'072U}) {
    CheckRefused(OneTensor().U32("general.alignment", wrong).Finish(), ErrorCode::kCorruption,
                 "general.alignment is " + std::to_string(wrong));
  }
  CheckRefused(OneTensor().Text("general.alignment", "64").Finish(), ErrorCode::kCorruption, "no unsigned number");
  GgufWriter wide;
  wide.alignment = 128;
  wide.U32("general.alignment", 128).Tensor("a", {4}, 0, ByteString(16, 'a')).Tensor("b", {1}, 0, "bbbb");
  const ByteString bytes = wide.Finish();
  const auto file = ReadGguf("m.gguf", bytes);
  REQUIRE_MESSAGE(file.ok(), file.status().ToString());
  CHECK(file->tensors[1].bytes == "bbbb");
}

TEST_CASE("gguf: names twice, empty or too long, and ranks that grow, are refused") {
  CheckRefused(OneTensor().Text("k", "1").Text("k", "2").Finish(), ErrorCode::kCorruption,
               "the key \"k\" appears twice");
  CheckRefused(GgufWriter().Tensor("a", {1}, 0, "aaaa").Tensor("a", {1}, 0, "bbbb").Finish(), ErrorCode::kCorruption,
               "tensor \"a\" appears twice");
  CheckRefused(OneTensor().Text("", "1").Finish(), ErrorCode::kCorruption, "a key is empty");
  CheckRefused(GgufWriter().Tensor("", {1}, 0, "aaaa").Finish(), ErrorCode::kCorruption, "a tensor's name is empty");
  CheckRefused(OneTensor().Text(std::string(70'000, 'k'), "1").Finish(), ErrorCode::kLimit, "a key has 70000 bytes");
  CheckRefused(GgufWriter().Tensor("a", {1, 1, 1, 1, 1}, 0, "aaaa").Finish(), ErrorCode::kLimit, "has 5 dimensions");
  CheckRefused(GgufWriter().Tensor("a", {}, 0, "aaaa").Finish(), ErrorCode::kLimit, "has 0 dimensions");
  CheckRefused(GgufWriter().Tensor("a", {48}, 8, ByteString(64, 'a')).Finish(), ErrorCode::kCorruption,
               "rows of 48 elements, type Q8_0 needs a multiple of 32");
}

TEST_CASE("gguf: nesting is bounded, and a type that is none is refused") {
  const auto nested = [](int depth) {
    ByteString array = FixedBytesOf(static_cast<std::uint32_t>(GgufValueType::kU8)) + FixedBytesOf<std::uint64_t>(0);
    for (int i = 1; i < depth; ++i) {
      array = FixedBytesOf(static_cast<std::uint32_t>(GgufValueType::kArray)) + FixedBytesOf<std::uint64_t>(1) + array;
    }
    return OneTensor().Key("k", GgufValueType::kArray, array).Finish();
  };
  CHECK(ReadGguf("m.gguf", nested(4)).ok());
  CheckRefused(nested(5), ErrorCode::kLimit, "nests arrays deeper than 4");
  CheckRefused(nested(100'000), ErrorCode::kLimit, "nests arrays deeper than 4");
  CheckRefused(OneTensor().Key("k", static_cast<GgufValueType>(13), "abcdefgh").Finish(), ErrorCode::kCorruption,
               "the value of \"k\" is of the unknown type 13");
  CheckRefused(OneTensor().Key("k", GgufValueType::kBool, "\x02").Finish(), ErrorCode::kCorruption,
               "neither true nor false");
}

}  // namespace foreshore
