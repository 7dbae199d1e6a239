// One document's writes on the wire and in the gateway's log.
//
// Decoding checks everything that merging relies on, so that a change that decodes can be joined by every device:
// lengths, stamps inside their group, parity of lives, paths, normalised values.
//
// Threads: free functions.
#pragma once

#include <string>

#include "engine/document/registers.h"
#include "foreshore/bytes.h"
#include "foreshore/status.h"

namespace foreshore {

struct SyncChange {
  std::string collection;
  DocumentChange change;
};

ByteString EncodeChange(const SyncChange& change);
// kCorruption for bytes that are no change, kInvalidArgument for one that contradicts itself, kLimit above a limit.
Result<SyncChange> DecodeChange(Bytes bytes);
// The highest hybrid time of its writes.
std::uint64_t HighestHlc(const SyncChange& change);

}  // namespace foreshore
