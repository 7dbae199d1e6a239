#include "storage/base/coding.h"

#include <doctest/doctest.h>

#include <limits>

using namespace foreshore;

TEST_CASE("varint: every width round-trips and ends the reader") {
  for (int bit = 0; bit < 64; ++bit) {
    const std::uint64_t value = (1ULL << bit) | (bit > 3 ? 5 : 0);
    ByteString bytes;
    AppendVarint(bytes, value);
    ByteReader reader(bytes);
    CHECK(reader.Varint() == value);
    CHECK(reader.ok());
    CHECK(reader.at_end());
  }
}

TEST_CASE("varint: an eleventh byte or a 65th bit is refused") {
  const ByteString endless(11, '\x80');
  ByteReader too_long(endless);
  too_long.Varint();
  CHECK_FALSE(too_long.ok());
  ByteString overflow(9, '\xff');
  overflow.push_back('\x02');
  ByteReader too_large(overflow);
  too_large.Varint();
  CHECK_FALSE(too_large.ok());
}

TEST_CASE("reader: a length past the end fails and touches nothing") {
  ByteString bytes;
  AppendVarint(bytes, 1'000'000'000'000ULL);
  bytes += "abc";
  ByteReader reader(bytes);
  CHECK(reader.Prefixed().empty());
  CHECK_FALSE(reader.ok());
  CHECK(reader.Fixed<std::uint32_t>() == 0);
  CHECK(reader.remaining_bytes() == 0);
}

TEST_CASE("sortable: byte order is number order") {
  const std::int64_t numbers[] = {std::numeric_limits<std::int64_t>::min(), -300, -1, 0, 1, 255, 256,
                                  std::numeric_limits<std::int64_t>::max()};
  ByteString previous;
  for (const std::int64_t number : numbers) {
    ByteString key;
    AppendSortable64(key, number);
    CHECK(LoadSortable64(key.data()) == number);
    if (!previous.empty()) CHECK(previous < key);
    previous = key;
  }
}

TEST_CASE("hex: round trip, and odd or foreign text is refused") {
  CHECK(ToHex(ByteString("\x00\xff\x10", 3)) == "00ff10");
  CHECK(FromHex("00ff10") == ByteString("\x00\xff\x10", 3));
  CHECK_FALSE(FromHex("abc").has_value());
  CHECK_FALSE(FromHex("zz").has_value());
}
