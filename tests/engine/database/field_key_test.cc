#include "engine/database/field_key.h"

#include <doctest/doctest.h>

#include <algorithm>
#include <cmath>
#include <cstdlib>
#include <cstring>
#include <limits>
#include <random>
#include <string>
#include <variant>
#include <vector>

using namespace foreshore;

namespace {

using Value = std::variant<std::monostate, std::int64_t, double, std::string>;

ByteString KeyOf(const Value& value) {
  ByteString key;
  if (const auto* integer = std::get_if<std::int64_t>(&value)) {
    AppendIntegerKey(key, *integer);
  } else if (const auto* real = std::get_if<double>(&value)) {
    AppendRealKey(key, *real);
  } else if (const auto* text = std::get_if<std::string>(&value)) {
    AppendTextKey(key, *text);
  } else {
    AppendNullKey(key);
  }
  return key;
}

// SQLite's order, by long double arithmetic that holds every int64 and every double exactly.
int Compare(const Value& a, const Value& b) {
  static_assert(std::numeric_limits<long double>::digits >= 64);
  const auto rank = [](const Value& value) { return value.index() == 0 ? 0 : value.index() == 3 ? 2 : 1; };
  if (rank(a) != rank(b)) return rank(a) < rank(b) ? -1 : 1;
  if (rank(a) == 0) return 0;
  if (rank(a) == 2) {
    const std::string& x = std::get<std::string>(a);
    const std::string& y = std::get<std::string>(b);
    const int compared = std::memcmp(x.data(), y.data(), std::min(x.size(), y.size()));
    if (compared != 0) return compared < 0 ? -1 : 1;
    return x.size() == y.size() ? 0 : x.size() < y.size() ? -1 : 1;
  }
  const auto number = [](const Value& value) {
    const auto* integer = std::get_if<std::int64_t>(&value);
    return integer ? static_cast<long double>(*integer) : static_cast<long double>(std::get<double>(value));
  };
  return number(a) < number(b) ? -1 : number(a) > number(b) ? 1 : 0;
}

class Values {
 public:
  explicit Values(unsigned seed) : random_(seed) {}

  Value Next() {
    switch (random_() % 8) {
      case 0: return std::monostate();
      case 1: return static_cast<std::int64_t>(random_());
      case 2: return static_cast<std::int64_t>(random_() % 41) - 20;
      case 3: return Near(std::ldexp(1.0, static_cast<int>(random_() % 66)));
      case 4:
        return std::ldexp(static_cast<double>(static_cast<std::int64_t>(random_())),
                          -static_cast<int>(random_() % 1100));
      case 5: return static_cast<double>(static_cast<std::int64_t>(random_() % 41) - 20) / 4;
      default: return Text();
    }
  }

 private:
  // Integers and doubles about a power of two, where they round into each other.
  Value Near(double power) {
    const double sign = random_() % 2 == 0 ? 1 : -1;
    const auto step = static_cast<std::int64_t>(random_() % 5) - 2;
    if (random_() % 2 == 0 || power >= 9223372036854775808.0) {
      const double real = sign * power;
      return random_() % 2 == 0 ? std::nextafter(real, 0.0) : real;
    }
    return static_cast<std::int64_t>(sign * power) + step;
  }
  std::string Text() {
    static constexpr char kCharacters[] = {'\0', '\1', 'a', 'b', '\x7f', '\xc3', '\xff'};
    std::string text;
    for (std::uint64_t left = random_() % 6; left > 0; --left) text += kCharacters[random_() % sizeof(kCharacters)];
    return text;
  }
  std::mt19937_64 random_;
};

unsigned Seed() {
  const char* given = std::getenv("FORESHORE_TEST_SEED");
  return given ? static_cast<unsigned>(std::strtoul(given, nullptr, 10)) : std::random_device{}();
}

}  // namespace

TEST_CASE("field key: bytes sort as SQL sorts values, and equal values have equal bytes") {
  const unsigned seed = Seed();
  INFO("FORESHORE_TEST_SEED=", seed);
  Values values(seed);
  std::vector<Value> fixed = {std::int64_t{0},
                              -0.0,
                              std::numeric_limits<std::int64_t>::min(),
                              std::numeric_limits<std::int64_t>::max(),
                              9223372036854775808.0,
                              -9223372036854775808.0,
                              std::numeric_limits<double>::infinity(),
                              -std::numeric_limits<double>::infinity(),
                              std::numeric_limits<double>::denorm_min(),
                              std::numeric_limits<double>::max(),
                              9007199254740993LL,
                              9007199254740992.0,
                              std::string(),
                              std::string(1, '\0')};
  for (int i = 0; i < 3000; ++i) fixed.push_back(values.Next());
  for (std::size_t i = 0; i < 200'000; ++i) {
    const Value& a = fixed[i * 7919 % fixed.size()];
    const Value& b = fixed[i * 104729 % fixed.size() * 31 % fixed.size()];
    const int compared = KeyOf(a).compare(KeyOf(b));
    CHECK((compared < 0 ? -1 : compared > 0 ? 1 : 0) == Compare(a, b));
  }
}

TEST_CASE("field key: several values in one key sort as tuples, and the range of a value holds just its keys") {
  const unsigned seed = Seed();
  INFO("FORESHORE_TEST_SEED=", seed);
  Values values(seed);
  for (int i = 0; i < 50'000; ++i) {
    const Value a[2] = {values.Next(), values.Next()};
    const Value b[2] = {values.Next(), values.Next()};
    ByteString key_a = KeyOf(a[0]) + KeyOf(a[1]);
    ByteString key_b = KeyOf(b[0]) + KeyOf(b[1]);
    AppendDocidKey(key_a, 7);
    AppendDocidKey(key_b, 7);
    const int first = Compare(a[0], b[0]);
    const int expected = first != 0 ? first : Compare(a[1], b[1]);
    const int compared = key_a.compare(key_b);
    CHECK((compared < 0 ? -1 : compared > 0 ? 1 : 0) == expected);
    const ByteString begin = KeyOf(a[0]);
    CHECK((key_b >= begin && key_b < begin + kKeyEnd) == (first == 0));
  }
}

TEST_CASE("field key: values read back") {
  const unsigned seed = Seed();
  INFO("FORESHORE_TEST_SEED=", seed);
  Values values(seed);
  for (int i = 0; i < 20'000; ++i) {
    const Value value = values.Next();
    ByteString key = KeyOf(value);
    AppendDocidKey(key, 42);
    Bytes rest = key;
    std::string buffer;
    const auto read = ReadKeyValue(rest, buffer);
    REQUIRE(read.has_value());
    CHECK(rest.size() == kDocidKeyBytes);
    CHECK(DocidOfKey(key) == 42);
    Bytes skipped = key;
    REQUIRE(SkipKeyValue(skipped));
    CHECK(skipped.size() == kDocidKeyBytes);
    Value back;
    if (read->kind == KeyValue::Kind::kInteger) back = read->integer;
    if (read->kind == KeyValue::Kind::kReal) back = read->real;
    if (read->kind == KeyValue::Kind::kText) back = std::string(read->text);
    CHECK(back.index() != 4);
    CHECK(Compare(value, back) == 0);
  }
}

TEST_CASE("field key: long text is cut, sorts behind what it begins with, and says so") {
  const std::string prefix(kIndexedTextBytesMax, 'x');
  ByteString exact;
  CHECK_FALSE(AppendTextKey(exact, prefix));
  ByteString cut;
  CHECK(AppendTextKey(cut, prefix + "a"));
  ByteString also_cut;
  CHECK(AppendTextKey(also_cut, prefix + "b"));
  CHECK(exact < cut);
  CHECK(cut == also_cut);
  CHECK(cut >= exact + kKeyEnd);
  Bytes rest = cut;
  bool is_cut = false;
  CHECK(SkipKeyValue(rest, &is_cut));
  CHECK(is_cut);
  CHECK(rest.empty());
  rest = exact;
  CHECK(SkipKeyValue(rest, &is_cut));
  CHECK_FALSE(is_cut);
  const std::string zeros(kIndexedTextBytesMax + 5, '\0');
  ByteString all_zero;
  CHECK(AppendTextKey(all_zero, zeros));
  CHECK(all_zero.size() == 2 + 2 * kIndexedTextBytesMax);
  std::string buffer;
  rest = all_zero;
  const auto read = ReadKeyValue(rest, buffer);
  REQUIRE(read.has_value());
  CHECK(read->kind == KeyValue::Kind::kCutText);
  CHECK(read->text.size() == kIndexedTextBytesMax);
}

TEST_CASE("field key: bytes that are no key are refused, and nothing is read beyond them") {
  std::mt19937 random(Seed());
  for (int i = 0; i < 100'000; ++i) {
    std::string bytes;
    for (unsigned left = random() % 14; left > 0; --left)
      bytes += static_cast<char>(random() % 3 == 0 ? random() % 0x22 : random());
    Bytes rest = bytes;
    std::string buffer;
    while (!rest.empty()) {
      const std::size_t before = rest.size();
      if (!ReadKeyValue(rest, buffer)) break;
      REQUIRE(rest.size() < before);
    }
    rest = bytes;
    while (!rest.empty() && SkipKeyValue(rest)) continue;
  }
  CHECK(DocidOfKey("short") == 0);
}
