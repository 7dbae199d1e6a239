#include "storage/base/checksum.h"

#include <doctest/doctest.h>

#include "storage/base/coding.h"

using namespace foreshore;

TEST_CASE("crc32c: RFC 3720 appendix B.4 vectors") {
  CHECK(Crc32c(ByteString(32, '\0')) == 0x8A9136AA);
  CHECK(Crc32c(ByteString(32, '\xff')) == 0x62A8AB43);
  CHECK(Crc32c("123456789") == 0xE3069283);
  CHECK(Crc32c("6789", Crc32c("12345")) == Crc32c("123456789"));
}

TEST_CASE("sha256: FIPS 180-4 example, whole and in parts") {
  CHECK(ToHex(AsBytes(Sha256Of("abc"))) == "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad");
  Sha256 hash;
  hash.Update("a");
  hash.Update("bc");
  CHECK(hash.Finish() == Sha256Of("abc"));
}
