// Positions that prove themselves: a number, and a hash over everything up to it. Two histories that differ anywhere
// before a position differ in its hash, so a copied device and a restored gateway are noticed.
//
// Threads: values.
#pragma once

#include <array>
#include <cstdint>
#include <span>
#include <string>

#include "foreshore/bytes.h"
#include "storage/base/checksum.h"

namespace foreshore {

using ChainId = std::array<std::uint8_t, 16>;
using LogHash = std::array<std::uint8_t, 16>;  // The first half of a SHA-256.

// How far a device has pushed.
struct ChainPosition {
  ChainId chain{};
  std::uint64_t sequence = 0;  // Batches acknowledged.
  Sha256Digest hash{};         // All zero at sequence 0.

  friend bool operator==(const ChainPosition&, const ChainPosition&) = default;
};

// A place in a channel's log.
struct LogPosition {
  std::int64_t sequence = 0;
  LogHash hash{};  // All zero at sequence 0.

  friend bool operator==(const LogPosition&, const LogPosition&) = default;
};

// The position after a batch of these changes.
ChainPosition NextChainPosition(const ChainPosition& base, std::span<const ByteString> changes);
// The position after one more entry.
LogPosition NextLogPosition(const LogPosition& base, Bytes change);

}  // namespace foreshore
