#include "sync/client/push_plan.h"

#include <algorithm>
#include <iterator>
#include <set>
#include <utility>

#include "engine/database/blob_references.h"
#include "sync/protocol/document_codec.h"

namespace foreshore {
namespace {

// Small transactions travel together up to this many changes, so that a document that was written often is sent once.
constexpr std::size_t kUnitEntryCountMax = 64;

using DocumentKey = std::pair<std::uint32_t, std::int64_t>;  // Collection id, docid.

// What is not acknowledged of the document, lost values included; no groups where nothing is left.
Result<DocumentChange> LoadUnsent(ReadView& view, const CollectionDefinition& collection, const DocumentState& state,
                                  std::uint64_t acknowledged_hlc) {
  FORESHORE_ASSIGN_OR_RETURN(const std::vector<LostValue> lost, view.LoadRescued(collection, state.id));
  const SessionTable& sessions = view.core().sessions();
  return BuildChange(
      state, lost, [&](const SessionKey& key) { return sessions.IsLocal(key); }, acknowledged_hlc);
}

// The local changes of documents in the log after the cursor, each document once.
Result<std::vector<DocumentKey>> ReadChangedDocuments(ReadView& view, std::int64_t push_cursor) {
  std::vector<DocumentKey> keys;
  FORESHORE_RETURN_IF_ERROR(view.core().log().ReadAfter(view.txn(), push_cursor, [&](const Change& change) {
    const bool is_document = change.kind == ChangeKind::kDocument || change.kind == ChangeKind::kModel;
    if (is_document && change.origin == ChangeOrigin::kLocal) keys.emplace_back(change.collection_id, change.docid);
    return true;
  }));
  std::sort(keys.begin(), keys.end());
  keys.erase(std::unique(keys.begin(), keys.end()), keys.end());
  return keys;
}

void SortOnce(std::vector<BlobId>& blobs) {
  std::sort(blobs.begin(), blobs.end());
  blobs.erase(std::unique(blobs.begin(), blobs.end()), blobs.end());
}

}  // namespace

struct PushPlan::Unit {
  std::vector<ByteString> changes;
  std::size_t size_bytes = 0;
  std::vector<BlobId> blobs;

  bool Fits(const PushPortion& portion, std::size_t portion_bytes, const BatchLimits& limits) const {
    return portion.changes.size() + changes.size() <= limits.change_count_max &&
           portion_bytes + size_bytes <= limits.bytes_max;
  }
  void MoveInto(PushPortion& portion) {
    if (changes.empty()) return;
    std::move(changes.begin(), changes.end(), std::back_inserter(portion.changes));
    portion.blobs.insert(portion.blobs.end(), blobs.begin(), blobs.end());
    portion.unit_ends.push_back(static_cast<std::uint32_t>(portion.changes.size() - 1));
  }
};

Result<PushPlan> PushPlan::Make(DatabaseCore& core, std::int64_t push_cursor, std::uint64_t acknowledged_hlc,
                                std::uint64_t hlc_max) {
  PushPlan plan(core);
  FORESHORE_ASSIGN_OR_RETURN(const auto view, core.BeginRead());
  plan.sequence_ = view->sequence();
  plan.acknowledged_hlc_ = acknowledged_hlc;
  plan.done_hlc_ = acknowledged_hlc;
  FORESHORE_ASSIGN_OR_RETURN(const std::vector<DocumentKey> keys, ReadChangedDocuments(*view, push_cursor));
  for (const auto& [collection_id, docid] : keys) {
    const CollectionDefinition* collection = view->catalog().FindById(collection_id);
    if (collection == nullptr) continue;
    FORESHORE_ASSIGN_OR_RETURN(const auto state, view->LoadStateByDocid(*collection, docid));
    if (!state) continue;
    FORESHORE_ASSIGN_OR_RETURN(const DocumentChange change, LoadUnsent(*view, *collection, *state, acknowledged_hlc));
    for (const WriteGroup& group : change.groups) {
      if (group.hlc <= hlc_max) plan.entries_.push_back({group.hlc, collection_id, docid});
    }
  }
  std::sort(plan.entries_.begin(), plan.entries_.end());
  return plan;
}

std::size_t PushPlan::TransactionEnd(std::size_t begin) const {
  std::size_t end = begin;
  while (end < entries_.size() && entries_[end].hlc == entries_[begin].hlc) ++end;
  return end;
}

Result<PushPlan::Unit> PushPlan::MakeUnit(ReadView& view, std::size_t begin, std::size_t end) const {
  Unit unit;
  std::set<DocumentKey> done;
  const std::uint64_t end_hlc = entries_[end - 1].hlc;
  for (std::size_t i = begin; i < end; ++i) {
    const Entry& entry = entries_[i];
    if (!done.insert({entry.collection_id, entry.docid}).second) continue;
    const CollectionDefinition* collection = view.catalog().FindById(entry.collection_id);
    if (collection == nullptr) continue;
    FORESHORE_ASSIGN_OR_RETURN(const auto state, view.LoadStateByDocid(*collection, entry.docid));
    if (!state) continue;
    FORESHORE_ASSIGN_OR_RETURN(DocumentChange change, LoadUnsent(view, *collection, *state, acknowledged_hlc_));
    // Later transactions have units of their own.
    std::erase_if(change.groups,
                  [&](const WriteGroup& group) { return group.hlc <= done_hlc_ || group.hlc > end_hlc; });
    if (change.groups.empty()) continue;
    FORESHORE_ASSIGN_OR_RETURN(const auto blobs, BlobsOfDocument(*core_, *collection, Materialise(*state)));
    unit.blobs.insert(unit.blobs.end(), blobs.begin(), blobs.end());
    unit.changes.push_back(EncodeChange({collection->name, std::move(change)}));
    unit.size_bytes += unit.changes.back().size();
  }
  return unit;
}

Status PushPlan::CutTransaction(ReadView& view, const BatchLimits& limits, PushPortion& portion) {
  const std::size_t end = TransactionEnd(position_);
  std::size_t portion_bytes = 0;
  while (position_ < end) {
    FORESHORE_ASSIGN_OR_RETURN(Unit unit, MakeUnit(view, position_, position_ + 1));
    if (!portion.changes.empty() && !unit.Fits(portion, portion_bytes, limits)) return Status::Ok();
    portion_bytes += unit.size_bytes;
    unit.MoveInto(portion);
    ++position_;
  }
  done_hlc_ = entries_[end - 1].hlc;
  return Status::Ok();
}

Result<PushPortion> PushPlan::Next(const BatchLimits& limits) {
  PushPortion portion;
  FORESHORE_ASSIGN_OR_RETURN(const auto view, core_->BeginRead());
  std::size_t portion_bytes = 0;
  const std::size_t unit_entry_count_max = std::min(kUnitEntryCountMax, limits.change_count_max);
  while (position_ < entries_.size()) {
    const std::size_t transaction_end = TransactionEnd(position_);
    std::size_t end = transaction_end;
    while (end < entries_.size() && TransactionEnd(end) - position_ <= unit_entry_count_max) end = TransactionEnd(end);
    FORESHORE_ASSIGN_OR_RETURN(Unit unit, MakeUnit(*view, position_, end));
    if (!unit.Fits(portion, portion_bytes, limits)) {
      if (!portion.changes.empty()) break;
      if (end != transaction_end) {
        end = transaction_end;
        FORESHORE_ASSIGN_OR_RETURN(unit, MakeUnit(*view, position_, end));
      }
      if (!unit.Fits(portion, portion_bytes, limits)) {
        FORESHORE_RETURN_IF_ERROR(CutTransaction(*view, limits, portion));
        break;
      }
    }
    portion_bytes += unit.size_bytes;
    unit.MoveInto(portion);
    position_ = end;
    done_hlc_ = entries_[end - 1].hlc;
  }
  portion.is_last = position_ == entries_.size();
  portion.after.end_hlc = done_hlc_;
  if (portion.is_last) portion.after.push_cursor = sequence_;
  SortOnce(portion.blobs);
  return portion;
}

Result<PushPortion> NextFullPortion(DatabaseCore& core, const ResyncPosition& from, const BatchLimits& limits) {
  PushPortion portion;
  FORESHORE_ASSIGN_OR_RETURN(const auto view, core.BeginRead());
  std::vector<const CollectionDefinition*> collections;
  for (const CollectionDefinition& collection : view->catalog().collections) {
    // Readings stay on their device.
    if (collection.id >= from.collection_id && !collection.is_readings()) collections.push_back(&collection);
  }
  std::sort(collections.begin(), collections.end(), [](const auto* a, const auto* b) { return a->id < b->id; });
  ResyncPosition after = from;
  std::size_t portion_bytes = 0;
  bool is_full = false;
  for (const CollectionDefinition* collection : collections) {
    const bool resumes = collection->id == from.collection_id && from.docid != INT64_MIN;
    FORESHORE_ASSIGN_OR_RETURN(const auto cursor, view->txn().NewCursor(collection->documents));
    FORESHORE_RETURN_IF_ERROR(resumes ? cursor->Seek(from.docid + 1) : cursor->SeekFirst());
    while (cursor->valid() && !is_full) {
      FORESHORE_ASSIGN_OR_RETURN(const DocumentState state, DecodeRecord(cursor->value(), core.sessions()));
      DocumentChange change = BuildFullChange(state);
      if (!change.groups.empty()) {
        ByteString encoded = EncodeChange({collection->name, std::move(change)});
        is_full = !portion.changes.empty() && (portion.changes.size() >= limits.change_count_max ||
                                               portion_bytes + encoded.size() > limits.bytes_max);
        if (is_full) break;
        FORESHORE_ASSIGN_OR_RETURN(const auto blobs, BlobsOfDocument(core, *collection, Materialise(state)));
        portion.blobs.insert(portion.blobs.end(), blobs.begin(), blobs.end());
        portion_bytes += encoded.size();
        portion.unit_ends.push_back(static_cast<std::uint32_t>(portion.changes.size()));
        portion.changes.push_back(std::move(encoded));
      }
      after.collection_id = collection->id;
      after.docid = cursor->integer_key();
      FORESHORE_RETURN_IF_ERROR(cursor->Next());
    }
    if (is_full) break;
  }
  portion.is_last = !is_full;
  portion.after.resync = after;
  portion.after.ends_resync = portion.is_last;
  if (portion.is_last) portion.after.push_cursor = from.push_cursor;
  SortOnce(portion.blobs);
  return portion;
}

}  // namespace foreshore
