#include "storage/base/checksum.h"

#include <openssl/evp.h>
#if defined(__x86_64__)
#include <nmmintrin.h>
#endif

#include <cassert>

#include "storage/base/coding.h"
#include "storage/base/cpu.h"
#include "storage/base/crc32c.h"

namespace foreshore {
namespace {

constexpr std::uint32_t kCastagnoliReflected = 0x82F63B78;

// Slicing by four: row s holds the crc of a byte followed by s zero bytes.
struct CrcTables {
  std::uint32_t rows[4][256];
  constexpr CrcTables() : rows() {
    for (std::uint32_t byte = 0; byte < 256; ++byte) {
      std::uint32_t crc = byte;
      for (int bit = 0; bit < 8; ++bit) crc = (crc >> 1) ^ ((crc & 1) != 0 ? kCastagnoliReflected : 0);
      rows[0][byte] = crc;
    }
    for (std::uint32_t byte = 0; byte < 256; ++byte) {
      for (int row = 1; row < 4; ++row) {
        rows[row][byte] = (rows[row - 1][byte] >> 8) ^ rows[0][rows[row - 1][byte] & 0xff];
      }
    }
  }
};
constexpr CrcTables kCrcTables;

// `crc` is inverted already, here and below.
std::uint32_t ExtendByTable(std::uint32_t crc, Bytes bytes) {
  const auto* cursor = reinterpret_cast<const std::uint8_t*>(bytes.data());
  std::size_t left = bytes.size();
  for (; left >= 4; left -= 4, cursor += 4) {
    crc ^= static_cast<std::uint32_t>(cursor[0]) | static_cast<std::uint32_t>(cursor[1]) << 8 |
           static_cast<std::uint32_t>(cursor[2]) << 16 | static_cast<std::uint32_t>(cursor[3]) << 24;
    crc = kCrcTables.rows[3][crc & 0xff] ^ kCrcTables.rows[2][(crc >> 8) & 0xff] ^
          kCrcTables.rows[1][(crc >> 16) & 0xff] ^ kCrcTables.rows[0][crc >> 24];
  }
  for (; left > 0; --left, ++cursor) crc = (crc >> 8) ^ kCrcTables.rows[0][(crc ^ *cursor) & 0xff];
  return crc;
}

#if defined(__x86_64__)
__attribute__((target("sse4.2"))) std::uint32_t ExtendBySse42(std::uint32_t crc, Bytes bytes) {
  std::uint64_t wide = crc;
  const char* cursor = bytes.data();
  std::size_t left = bytes.size();
  for (; left >= 8; left -= 8, cursor += 8) wide = _mm_crc32_u64(wide, LoadFixed<std::uint64_t>(cursor));
  auto narrow = static_cast<std::uint32_t>(wide);
  for (; left > 0; --left, ++cursor) narrow = _mm_crc32_u8(narrow, static_cast<std::uint8_t>(*cursor));
  return narrow;
}
#endif

using ExtendFunction = std::uint32_t (*)(std::uint32_t, Bytes);

ExtendFunction ChooseExtend() {
#if defined(__x86_64__)
  // Every level above the scalar one has it; FORESHORE_CPU=scalar chooses the table.
  if (DetectCpuLevel() != CpuLevel::kScalar) return &ExtendBySse42;
#endif
  return &ExtendByTable;
}

}  // namespace

std::uint32_t Crc32c(Bytes bytes, std::uint32_t seed) {
  static const ExtendFunction extend = ChooseExtend();
  return ~extend(~seed, bytes);
}

std::uint32_t Crc32cByTable(Bytes bytes, std::uint32_t seed) {
  return ~ExtendByTable(~seed, bytes);
}

struct Sha256::Context {
  EVP_MD_CTX* evp = EVP_MD_CTX_new();
  ~Context() { EVP_MD_CTX_free(evp); }
};

Sha256::Sha256() : context_(std::make_unique<Context>()) {
  const int initialised = EVP_DigestInit_ex(context_->evp, EVP_sha256(), nullptr);
  assert(initialised == 1);
  (void)initialised;
}
Sha256::~Sha256() = default;
Sha256::Sha256(Sha256&&) noexcept = default;
Sha256& Sha256::operator=(Sha256&&) noexcept = default;

void Sha256::Update(Bytes bytes) {
  EVP_DigestUpdate(context_->evp, bytes.data(), bytes.size());
}

Sha256Digest Sha256::Finish() {
  Sha256Digest digest{};
  unsigned int size = 0;
  EVP_DigestFinal_ex(context_->evp, digest.data(), &size);
  assert(size == digest.size());
  return digest;
}

Sha256Digest Sha256Of(Bytes bytes) {
  Sha256 hash;
  hash.Update(bytes);
  return hash.Finish();
}

std::uint64_t Fnv1a64(Bytes bytes) {
  std::uint64_t hash = 14695981039346656037ULL;
  for (const char byte : bytes) {
    hash ^= static_cast<std::uint8_t>(byte);
    hash *= 1099511628211ULL;
  }
  return hash;
}

}  // namespace foreshore
