// Numbers of the stored form of a document, version 1, shared by its writer and its reader.
// docs/file-format-documents.md has the byte table. Stored: never renumber.
#pragma once

#include <cstdint>

#include "engine/document/registers.h"
#include "storage/base/checksum.h"

namespace foreshore::record_format {

inline constexpr std::uint16_t kVersion = 1;
inline constexpr int kVersionBits = 4;  // Low bits of the first two bytes; flags above.
inline constexpr std::size_t kChecksumOffset = 2;
inline constexpr std::size_t kFixedBytes = 6;

enum Flag : std::uint16_t {
  kAlive = 1 << 0,
  kOneTime = 1 << 1,     // All stamps share one session and hlc.
  kOneSession = 1 << 2,  // All stamps share one session.
  kFirstLife = 1 << 3,   // Life 1, begun at slot 0.
  kPlainKeys =
      1 << 4,  // Each leaf's key was created by the op after the one before, the first by that after the life's.
  kChangedLeaves = 1 << 5,
  kHidden = 1 << 6,
  kSeenMore = 1 << 7,
  kMemory = 1 << 8,
};
inline constexpr std::uint16_t kKnownFlags = (1 << 9) - 1;

// A stamp is a varint of slot << kOpBits | op; ops from kOpEscape on follow as a varint of what is above it.
inline constexpr int kOpBits = 3;
inline constexpr std::uint32_t kOpEscape = (1 << kOpBits) - 1;

inline std::uint32_t ChecksumOf(Bytes record) {
  return Crc32c(record.substr(kFixedBytes), Crc32c(record.substr(0, kChecksumOffset)));
}

// What `seen` is at least: the newest stamp of each session among the registers and the life.
inline void AddMentioned(VersionVector& seen, const DocumentState& state) {
  if (state.life_stamp.hlc != 0) seen.Add(state.life_stamp);
  for (const auto& [path, content] : state.registers) seen.Add(content.stamp);
}

}  // namespace foreshore::record_format
