// CRC-32C for bytes that we wrote ourselves, SHA-256 for names of content and for bytes from elsewhere.
//
// Threads: free functions are safe from any thread; a Sha256 belongs to one thread at a time.
#pragma once

#include <array>
#include <cstdint>
#include <memory>

#include "foreshore/bytes.h"

namespace foreshore {

// CRC-32C (Castagnoli, polynomial 0x1EDC6F41 reflected, as in RFC 3720). `seed` is the crc of what came before.
std::uint32_t Crc32c(Bytes bytes, std::uint32_t seed = 0);

// 32 bytes of SHA-256 (FIPS 180-4).
using Sha256Digest = std::array<std::uint8_t, 32>;

class Sha256 {
 public:
  Sha256();
  ~Sha256();
  Sha256(Sha256&&) noexcept;
  Sha256& operator=(Sha256&&) noexcept;

  void Update(Bytes bytes);
  // Ends the computation; only destruction may follow.
  Sha256Digest Finish();

 private:
  struct Context;
  std::unique_ptr<Context> context_;
};

Sha256Digest Sha256Of(Bytes bytes);
inline Bytes AsBytes(const Sha256Digest& digest) {
  return AsBytes(digest.data(), digest.size());
}

// FNV-1a, 64 bits (http://www.isthe.com/chongo/tech/comp/fnv/): for tables in memory and stored tie-breaks, so
// it never changes.
std::uint64_t Fnv1a64(Bytes bytes);

}  // namespace foreshore
