#include "storage/base/checksum.h"

#include <doctest/doctest.h>

#include "storage/base/coding.h"
#include "storage/base/crc32c.h"

using namespace foreshore;

TEST_CASE("crc32c: RFC 3720 appendix B.4 vectors") {
  CHECK(Crc32c(ByteString(32, '\0')) == 0x8A9136AA);
  CHECK(Crc32c(ByteString(32, '\xff')) == 0x62A8AB43);
  CHECK(Crc32c("123456789") == 0xE3069283);
  CHECK(Crc32c("6789", Crc32c("12345")) == Crc32c("123456789"));
}

TEST_CASE("crc32c: the processor's instruction and the table agree at every length, place and seed") {
  ByteString bytes;
  for (int i = 0; i < 300; ++i) bytes += static_cast<char>(i * 131 + i / 7);
  for (std::size_t begin = 0; begin < 9; ++begin) {
    for (std::size_t size = 0; size < 260; ++size) {
      const Bytes part = Bytes(bytes).substr(begin, size);
      REQUIRE(Crc32c(part) == Crc32cByTable(part));
      REQUIRE(Crc32c(part, 0x12345678 + static_cast<std::uint32_t>(size)) ==
              Crc32cByTable(part, 0x12345678 + static_cast<std::uint32_t>(size)));
    }
  }
}

TEST_CASE("sha256: FIPS 180-4 example, whole and in parts") {
  CHECK(ToHex(AsBytes(Sha256Of("abc"))) == "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad");
  Sha256 hash;
  hash.Update("a");
  hash.Update("bc");
  CHECK(hash.Finish() == Sha256Of("abc"));
}
