// What a push sends, and in which portions.
//
// A plan lists the local transactions that no peer has acknowledged, in order of their hybrid time, which is the order
// of their commits. Batches are runs of it. A batch is made of units: runs of whole transactions, in which a document
// appears once; a receiver shows a unit whole or not at all. Only a transaction larger than a batch is cut, between
// documents.
//
// A full push, for a gateway that lost what it had, sends every document whole, tombstones included.
//
// Threads: one at a time.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "engine/database/core.h"
#include "sync/client/sync_state.h"
#include "sync/protocol/messages.h"

namespace foreshore {

struct BatchLimits {
  std::size_t change_count_max = 500;
  std::size_t bytes_max = 1 << 20;
};

struct PushPortion {
  std::vector<ByteString> changes;
  std::vector<std::uint32_t> unit_ends;
  std::vector<BlobId> blobs;  // That its documents refer to; sorted, each once.
  PendingBatch after;         // Without the hash.
  bool is_last = false;       // Nothing is left afterwards.
};

class PushPlan {
 public:
  // Of the present snapshot. kConflict where the log no longer reaches back: a full push is due. Writes after `hlc_max`
  // are left out (a gateway would refuse their time).
  static Result<PushPlan> Make(DatabaseCore& core, std::int64_t push_cursor, std::uint64_t acknowledged_hlc,
                               std::uint64_t hlc_max = UINT64_MAX);

  // The next portion; `changes` is empty where nothing is left to say (the cursor may still move).
  Result<PushPortion> Next(const BatchLimits& limits);
  std::size_t left_count() const { return entries_.size() - position_; }
  std::int64_t sequence() const { return sequence_; }

 private:
  struct Entry {
    std::uint64_t hlc = 0;
    std::uint32_t collection_id = 0;
    std::int64_t docid = 0;
    friend auto operator<=>(const Entry&, const Entry&) = default;
  };
  struct Unit;
  explicit PushPlan(DatabaseCore& core) : core_(&core) {}
  // Index after the last entry of the transaction that begins at `begin`.
  std::size_t TransactionEnd(std::size_t begin) const;
  // What entries [begin, end) say, each document once.
  Result<Unit> MakeUnit(ReadView& view, std::size_t begin, std::size_t end) const;
  // Fills an empty portion from a transaction that is above the limits.
  Status CutTransaction(ReadView& view, const BatchLimits& limits, PushPortion& portion);

  DatabaseCore* core_;
  std::vector<Entry> entries_;  // Sorted.
  std::size_t position_ = 0;
  std::uint64_t acknowledged_hlc_ = 0;
  std::uint64_t done_hlc_ = 0;  // Of the last transaction that was handed out whole.
  std::int64_t sequence_ = 0;
};

// The next portion of a full push.
Result<PushPortion> NextFullPortion(DatabaseCore& core, const ResyncPosition& from, const BatchLimits& limits);

}  // namespace foreshore
