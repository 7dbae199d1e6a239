// ReadFloatArray against simdjson and a cast.
#include "engine/document/json_floats.h"

#include <doctest/doctest.h>
#include <simdjson.h>

#include <bit>
#include <charconv>
#include <cmath>
#include <cstring>
#include <random>
#include <string>
#include <vector>

#include "engine/document/json_walk.h"

using namespace foreshore;

namespace {

// Bits of each number, as simdjson's tree and a cast give them.
std::vector<std::uint32_t> Expected(const std::string& json) {
  simdjson::dom::parser parser;
  std::vector<std::uint32_t> bits;
  simdjson::dom::array list;
  REQUIRE(parser.parse(json).get(list) == simdjson::SUCCESS);
  for (const simdjson::dom::element item : list) {
    std::int64_t whole = 0;
    double number = 0;
    const bool is_whole = item.get(whole) == simdjson::SUCCESS;
    if (!is_whole) REQUIRE(item.get(number) == simdjson::SUCCESS);
    bits.push_back(std::bit_cast<std::uint32_t>(is_whole ? static_cast<float>(whole) : static_cast<float>(number)));
  }
  return bits;
}

// By every kernel that this machine has, which agree.
bool IsRead(const std::string& json, std::vector<float>& out) {
  const bool is_read = ReadFloatArray(json, out, CpuLevel::kScalar);
  for (const CpuLevel level : {CpuLevel::kAvx2, CpuLevel::kAvx512Vnni, CpuLevel::kAmxInt8}) {
    if (!CpuSupports(level)) continue;
    std::vector<float> found(out.size());
    CHECK(ReadFloatArray(json, found, level) == is_read);
    const bool is_same = std::memcmp(found.data(), out.data(), out.size() * sizeof(float)) == 0;
    CHECK((!is_read || is_same));
  }
  return is_read;
}
bool IsRead(const std::string& json, std::size_t count) {
  std::vector<float> out(count);
  return IsRead(json, out);
}

void CheckLikeSimdjson(const std::string& json) {
  CAPTURE(json);
  const auto expected = Expected(json);
  std::vector<float> out(expected.size());
  REQUIRE(IsRead(json, out));
  for (std::size_t i = 0; i < out.size(); ++i) CHECK(std::bit_cast<std::uint32_t>(out[i]) == expected[i]);
}

}  // namespace

TEST_CASE("float arrays: numbers of every form are those of simdjson, bit for bit") {
  for (const char* json :
       {"[0]", "[-0]", "[-0.0]", "[1,2,3]", "[0.1,0.25,-3.14159]", "[16777217,33554433,-9007199254740993]",
        "[123456789012345678]", "[0.123456789012345678,1234567.12345678901]", "[1e5,1E-5,2.5e+10,-1.5e-30,1e-46]",
        "[0.000000000000000000000000000001]", "[9007199254740993.5]", "[3.4028235e38,1e39,-1e300]",
        "[0.30000001192092896,7.0064923216240854e-46,1.17549435e-38]", "[12345678,123456789,1234567.8,0.12345678]"}) {
    CheckLikeSimdjson(json);
  }
}

TEST_CASE("float arrays: random numbers of random lengths are those of simdjson, bit for bit") {
  constexpr unsigned kSeed = 7;
  CAPTURE(kSeed);
  std::mt19937_64 random(kSeed);
  for (int round = 0; round < 2000; ++round) {
    std::string json = "[";
    for (int i = 0; i < 20; ++i) {
      if (i > 0) json += ',';
      char digits[64];
      const auto bits = static_cast<std::uint32_t>(random());
      const double exact = std::ldexp(static_cast<double>(static_cast<std::int64_t>(random())), -63);
      switch (random() % 5) {
        case 0: json.append(digits, std::to_chars(digits, digits + 64, exact).ptr); break;
        case 1: json += std::to_string(static_cast<std::int32_t>(bits)); break;
        case 2:
          json.append(digits, std::to_chars(digits, digits + 64, exact * 1000, std::chars_format::fixed,
                                            1 + static_cast<int>(random() % 17))
                                  .ptr);
          break;
        case 3:  // One digit, a point and some more; an exponent now and then.
          json.append(digits, std::to_chars(digits, digits + 64, exact * 9, std::chars_format::fixed,
                                            1 + static_cast<int>(random() % 9))
                                  .ptr);
          if (random() % 8 == 0) json += random() % 2 == 0 ? "e-3" : "E2";
          break;
        default: json.append(digits, std::to_chars(digits, digits + 64, static_cast<float>(exact)).ptr);
      }
    }
    CheckLikeSimdjson(json + "]");
  }
}

TEST_CASE("float arrays: any count of numbers of any length is read, and no other count") {
  constexpr unsigned kSeed = 11;
  CAPTURE(kSeed);
  std::mt19937_64 random(kSeed);
  for (std::size_t count = 1; count < 200; ++count) {
    std::string json = "[";
    for (std::size_t i = 0; i < count; ++i) {
      if (i > 0) json += ',';
      if (random() % 2 == 0) json += '-';
      json += std::to_string(random() % (random() % 4 == 0 ? 100'000 : 10));
      if (random() % 8 == 0) continue;
      json += "." + std::to_string(random() % 100'000'000).substr(0, 1 + random() % 8);
    }
    json += ']';
    const std::string exact(json.data(), json.size());  // Its own allocation, so that a sanitizer sees its end.
    CheckLikeSimdjson(exact);
    CHECK_FALSE(IsRead(exact, count - 1));
    CHECK_FALSE(IsRead(exact, count + 1));
    // A byte that belongs to no number, wherever it is.
    std::string spoilt = exact;
    spoilt[1 + random() % (spoilt.size() - 2)] = "x ,:[;-."[random() % 8];
    simdjson::dom::parser parser;
    simdjson::dom::array list;
    const bool is_json = parser.parse(spoilt).get(list) == simdjson::SUCCESS;
    CAPTURE(spoilt);
    CHECK((is_json || !IsRead(spoilt, count)));
  }
}

// Goal: of numbers side by side each is judged by itself, and by nothing before or behind it.
// Method: one number of any form and length at every place among short ones, at the text's ends too.
TEST_CASE("float arrays: a number of another form is read among short ones, wherever it stands") {
  const std::vector<std::string> others = {"7",           "-7",          "0.5",        "-0.5",
                                           "0.12345678",  "-9.87654321", "12.5",       "0.000001",
                                           "0.123456789", "-1.5e3",      "100000000",  "0.1234567890123456",
                                           "3.14159265",  "-0.0",        "1234567.125"};
  for (const std::string& other : others) {
    for (std::size_t count : {1, 3, 4, 5, 8, 64, 65, 68}) {
      for (std::size_t place = 0; place < count; ++place) {
        std::string json = "[";
        for (std::size_t i = 0; i < count; ++i) {
          json += (i > 0 ? "," : "") + (i == place ? other : i % 3 == 0 ? "-1.5" : "0.2500001");
        }
        CheckLikeSimdjson(std::string((json + "]").data(), json.size() + 1));
      }
    }
  }
  for (const char* wrong :
       {"", "-", "1.", ".5", "1.x", "x.1", "1.2.3", "01.5", "1:5", "1./", "1.:5", "--1.5", "1.5-", "1 .5"}) {
    for (std::size_t place = 0; place < 5; ++place) {
      std::string json = "[";
      for (std::size_t i = 0; i < 5; ++i) json += (i > 0 ? "," : "") + std::string(i == place ? wrong : "-1.25");
      CAPTURE(json);
      CHECK_FALSE(IsRead(json + "]", 5));
    }
  }
}

TEST_CASE("float arrays: what is no array of that many numbers is not read") {
  for (const char* json :
       {"",        "[",       "]",       "[]",    "[1",    "1]",    "[1,2]",  "[,1]",    "[1,]",
        "[ 1]",    "[1 ]",    "[01]",    "[-]",   "[1.]",  "[.5]",  "[+1]",   "[1e]",    "[1e+]",
        "[true]",  "[null]",  "[\"1\"]", "[[1]]", "[nan]", "[inf]", "[0x10]", "[1e999]", "[1234567890123456789]",
        "[-01.5]", "[1.5.5]", "{1}"}) {
    CAPTURE(json);
    CHECK_FALSE(IsRead(json, 1));
  }
  CHECK(IsRead("[1,2]", 2));
  CHECK_FALSE(IsRead("[1,2]", 3));
  CHECK_FALSE(IsRead("[]", 0));
}

// Goal: the text of a float does not depend on who writes it.
// Method: std::to_chars, over every exponent with the significands at its ends, numbers that people write, and chance.
TEST_CASE("a float is written as the standard library writes it") {
  const auto check = [](float value) {
    char expected[64];
    const std::string_view text(
        expected, static_cast<std::size_t>(std::to_chars(expected, expected + sizeof expected, value).ptr - expected));
    char found[kFloatCharsMax];
    const auto count = static_cast<std::size_t>(WriteFloat(found, value) - found);
    if (std::string_view(found, count) == text) return true;
    FAIL_CHECK(std::string(found, count), " is not ", std::string(text));
    return false;
  };
  for (std::uint32_t exponent = 0; exponent < 255; ++exponent) {
    for (std::uint32_t i = 0; i < 3000; ++i) {
      const std::uint32_t fraction = i < 1500 ? i : 0x7FFFFF - (i - 1500);
      REQUIRE(check(std::bit_cast<float>(exponent << 23 | fraction)));
      REQUIRE(check(std::bit_cast<float>(0x80000000U | exponent << 23 | fraction)));
    }
  }
  for (int whole = 0; whole < 200'000; ++whole) {
    REQUIRE(check(static_cast<float>(whole)));
    REQUIRE(check(static_cast<float>(whole) / 10.0F));
    REQUIRE(check(static_cast<float>(-whole) / 1000.0F));
    REQUIRE(check(static_cast<float>(whole) * 1e-7F));
  }
  constexpr unsigned kSeed = 19;
  CAPTURE(kSeed);
  std::mt19937 random(kSeed);
  std::normal_distribution<float> normal;
  for (int i = 0; i < 1'000'000; ++i) {
    const auto any = std::bit_cast<float>(static_cast<std::uint32_t>(random()));
    if (std::isfinite(any)) REQUIRE(check(any));
    REQUIRE(check(normal(random)));
  }
}

TEST_CASE("a value's end is found behind nested arrays of any length") {
  for (std::size_t size = 0; size < 70; ++size) {
    std::string inner = "[[" + std::string(size, '1') + "],{\"a]}\\\"\":[" + std::string(size, '2') + "]}]";
    const std::string text = "{\"x\":" + inner + ",\"y\":1}";
    CAPTURE(text);
    CHECK(SkipValueToken(text, 5) == 5 + inner.size());
    CHECK(SkipValueToken(text, 0) == text.size());
  }
}
