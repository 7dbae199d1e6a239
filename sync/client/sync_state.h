// What a device remembers between two synchronisations, kept in the database's settings and moved in the same
// transaction as what it speaks of.
//
// Threads: values; load and store follow the view they are given.
#pragma once

#include <cstdint>
#include <optional>
#include <vector>

#include "engine/database/core.h"
#include "sync/protocol/chain.h"

namespace foreshore {

// Cursors of the change log; they keep entries from being trimmed.
inline constexpr char kPushCursor[] = "sync.push";    // Local changes up to here are acknowledged.
inline constexpr char kBlobsCursor[] = "sync.blobs";  // Blobs of documents pulled up to here have been asked for.

// How far a full push came: all documents up to here, by collection and docid, are at the gateway.
struct ResyncPosition {
  std::uint32_t collection_id = 0;
  std::int64_t docid = INT64_MIN;
  // Where the push cursor goes when it is done; -1: it stays.
  std::int64_t push_cursor = -1;

  friend bool operator==(const ResyncPosition&, const ResyncPosition&) = default;
};

// A batch that was sent, or was about to be, and whose reply has not come. Where the gateway turns out to have it, it
// counts as acknowledged.
struct PendingBatch {
  Sha256Digest hash{};  // Of the chain after it.
  std::uint64_t end_hlc = 0;
  std::int64_t push_cursor = -1;         // Where the push cursor goes with it; -1: it stays.
  std::optional<ResyncPosition> resync;  // Of a full push: how far it comes with it.
  bool ends_resync = false;
};
inline constexpr std::size_t kPendingCountMax = 8;  // Attempts after one acknowledgement; the oldest is forgotten.

struct SyncState {
  ReplicaId replica{};  // Whose chain it is; another than the database's: the identity was forked.
  ChainPosition chain;
  std::optional<ChainId> replaces;  // Until the chain's first batch is acknowledged.
  std::vector<PendingBatch> pending;
  LogPosition pull;
  std::optional<ResyncPosition> resync;  // A full push is under way.
  std::uint64_t acknowledged_hlc = 0;

  // Begins a chain of its own.
  void MintChain(const ReplicaId& owner, Random& random);
  // The push of everything starts over, and so does the pull.
  void BeginResync(std::int64_t push_cursor);
  const PendingBatch* FindPending(const ChainPosition& position) const;
};

// A fresh chain where there is none, or where it belongs to another identity.
Result<SyncState> LoadSyncState(DatabaseCore& core);
Status StoreSyncState(WriteView& view, const SyncState& state);

// For tests: the stored form.
ByteString EncodeSyncState(const SyncState& state);
Result<SyncState> DecodeSyncState(Bytes bytes);

}  // namespace foreshore
