#include "engine/inference/json_reader.h"

#include <doctest/doctest.h>

namespace foreshore {
namespace {

TEST_CASE("json reader: integers beyond 64 bits are floats, and text that looks like them is kept") {
  JsonReader reader;
  const Status status = reader.Parse(
      "f",
      R"({"a":1000000000000000019884624838656,"b":-99999999999999999999,"c":0.12345678901234567890123,)"
      R"("d":"1000000000000000019884624838656\"1000000000000000019884624838656","e":1E+0000000000000000000001,"f":18446744073709551615,"g":[123456789012345678901]})",
      1000);
  REQUIRE_MESSAGE(status.ok(), status.message());
  CHECK(*JsonNumber(reader.root(), "a") == 1e30);
  CHECK(*JsonNumber(reader.root(), "b") == -1e20);
  CHECK(*JsonNumber(reader.root(), "c") == doctest::Approx(0.123456789));
  CHECK(*JsonString(reader.root(), "d") == "1000000000000000019884624838656\"1000000000000000019884624838656");
  CHECK(*JsonNumber(reader.root(), "e") == 10);
  CHECK(!JsonUnsigned(reader.root(), "a").has_value());
}

TEST_CASE("json reader: keys that come twice are refused at any depth") {
  JsonReader reader;
  CHECK(reader.Parse("f", R"({"a":[{"b":1,"c":2,"b":3}]})", 1000).message() ==
        "f: JSON has the key \"b\" twice in one object");
  // An escaped spelling is the same key.
  CHECK(reader.Parse("f", R"({"a":1,"\u0061":2})", 1000).code() == ErrorCode::kCorruption);
}

TEST_CASE("json reader: no bytes at all are no JSON, wherever they do not lie") {
  for (const Bytes text : {Bytes(), Bytes("")}) {
    const Status status = JsonReader().Parse("j", text, 100);
    CHECK(status.code() == ErrorCode::kCorruption);
    CHECK(status.message() == "j: not valid JSON: empty");
  }
}

TEST_CASE("json reader: what is large, deep, or no object is refused") {
  JsonReader reader;
  CHECK(reader.Parse("f", "{\"a\":1}", 6).code() == ErrorCode::kLimit);
  CHECK(reader.Parse("f", "[1]", 100).code() == ErrorCode::kCorruption);
  CHECK(reader.Parse("f", "", 100).code() == ErrorCode::kCorruption);
  std::string text = "{\"a\":" + std::string(100, '[') + std::string(100, ']') + "}";
  CHECK(reader.Parse("f", text, 1000).code() == ErrorCode::kLimit);
  CHECK(reader.Parse("f", R"({"a":1})", 1000).ok());
}

}  // namespace
}  // namespace foreshore
