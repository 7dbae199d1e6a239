// One synchronisation: hello, push, pull, blobs, until both sides are level.
//
// What was acknowledged or applied is recorded step by step, each record in one transaction with what it speaks of, so
// that it may stop or die anywhere.
//
// Threads: one at a time.
#pragma once

#include <cstdint>
#include <optional>
#include <set>
#include <string>

#include "engine/database/core.h"
#include "foreshore/sync.h"
#include "sync/client/gateway_link.h"
#include "sync/client/push_plan.h"
#include "sync/client/sync_state.h"

namespace foreshore {

// How large the next requests may be. Shrinks when a request fails on the way (a network that swallows large packets
// would otherwise stall for ever) and grows back. Outlives sessions.
class TransferSizes {
 public:
  explicit TransferSizes(const SyncOptions& options) : options_(options) {}
  BatchLimits batch() const;
  BatchLimits page() const;
  std::size_t chunk_bytes() const;
  void NoteFailure();
  void NoteSuccess();  // Of a request that carried a portion, page or chunk.

 private:
  static constexpr unsigned kShrinkMax = 7;  // To a 128th.
  static constexpr unsigned kSuccessesToGrow = 8;
  const SyncOptions& options_;
  unsigned shrink_ = 0;
  unsigned success_count_ = 0;
};

class SyncSession {
 public:
  SyncSession(DatabaseCore& core, GatewayLink& link, const SyncOptions& options, TransferSizes& sizes,
              const SyncProgressCallback& progress);

  Result<SyncReport> Run();

 private:
  // Everything once; true where it is worth doing again.
  Result<bool> RunRound();
  Status BeginState();
  // Learns where both sides stand; false where they must talk again.
  Result<bool> SayHello();
  // Compares with what the gateway acknowledged; false where something changed here because of it.
  Result<bool> Reconcile(const std::optional<ChainPosition>& found);
  Status Fork();
  Status Resync(const std::optional<ChainPosition>& found);

  Result<bool> Push();
  // Sends one portion; false where the gateway's answer changed what is to be sent.
  Result<bool> SendPortion(PushPortion& portion);
  Status Acknowledge(const ChainPosition& position, const PendingBatch& batch);
  Status CorrectClock(const ClockRefusedReply& refused);
  Status UploadBlobs(const std::vector<BlobId>& blobs);
  Status UploadBlob(const BlobId& id, std::uint64_t offset);

  Result<bool> Pull();
  Status ApplyPage(const PageReply& page);
  Status MoveIdleCursors();

  Status FetchBlobs();
  // True: all that the document refers to is here.
  Result<bool> FetchBlobsOf(std::uint32_t collection_id, std::int64_t docid);
  Result<bool> DownloadChunks(const BlobId& id);
  // False: the gateway has not got it.
  Result<bool> FetchBlob(const BlobId& id);

  // A Call that shrinks the sizes where the network failed.
  Result<SyncReply> Call(decltype(SyncRequest::body) body);
  Status Store();
  Status Report();

  DatabaseCore& core_;
  GatewayLink& link_;
  const SyncOptions& options_;
  TransferSizes& sizes_;
  const SyncProgressCallback& progress_;
  SyncState state_;
  SyncReport report_;
  std::int64_t target_ = 0;            // Pull up to here.
  std::int64_t planned_sequence_ = 0;  // Local changes up to here were looked at.
  // After our clock was corrected: what lost before it was sent keeps its old stamp, and waits here with it.
  std::uint64_t hlc_max_ = UINT64_MAX;
  unsigned change_of_mind_count_ = 0;
  std::set<BlobId> at_gateway_;  // Known to be there.
  std::uint64_t bytes_sent_before_ = 0;
  std::uint64_t bytes_received_before_ = 0;
};

}  // namespace foreshore
