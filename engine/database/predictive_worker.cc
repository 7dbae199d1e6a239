#include "engine/database/predictive_worker.h"

#include <algorithm>

#include "engine/database/core.h"
#include "engine/database/field_statistics.h"
#include "engine/database/predicted_rows.h"
#include "engine/document/json.h"
#include "engine/model/model_registry.h"
#include "storage/base/log.h"

namespace foreshore {
namespace {

constexpr std::size_t kBatchDocumentCount = 1024;
constexpr std::size_t kBatchBytesMax = 8U << 20;  // Of inputs, as soon as there are so many.
constexpr std::size_t kPieceCount = 256;          // Inputs between two looks at the clock, where calls take many;
constexpr std::size_t kPieceCountAlone = 8;       // where they take one.
constexpr std::int64_t kBatchUs = 100'000;        // Of inference.
constexpr std::uint64_t kBacklogMax = 10'000;     // More than that makes no other plan.

}  // namespace

struct PredictiveWorker::Batch {
  std::shared_ptr<const Predictor> predictor;
  struct Item {
    std::int64_t docid = 0;
    PredictionSource source;
  };
  std::vector<Item> items;
  std::vector<PredictedValue> values;  // Of the first items, as many as time allowed.
  std::int64_t fill = INT64_MAX;       // Where the filling stands; INT64_MAX: it is done.
  std::int64_t next_fill = INT64_MAX;  // And goes, where all items are computed.
  std::size_t pending_count = 0;       // The first items are of documents that were written.
};

Result<bool> PredictiveWorker::Step() {
  const std::lock_guard lock(step_mutex_);
  Status first = ReleaseRetired();
  const auto catalog = core_.catalog();
  for (const CollectionDefinition& collection : catalog->collections) {
    for (const PredictiveIndexDefinition& index : collection.predictive_indexes) {
      const Result<bool> worked = StepIndex(collection, index);
      if (worked.ok() && *worked) return true;
      if (!worked.ok() && first.ok()) first = worked.status().WithContext("index \"" + index.name + "\"");
    }
  }
  if (!first.ok()) return first;
  return false;
}

Result<bool> PredictiveWorker::StepIndex(const CollectionDefinition& collection,
                                         const PredictiveIndexDefinition& index) {
  FORESHORE_ASSIGN_OR_RETURN(const ModelPin pin, core_.models().PinNow(index.options.model, index.options.adapter));
  // predict() follows the row at once, so that values of other weights serve nobody.
  if (pin != index.pin) {
    FORESHORE_RETURN_IF_ERROR(core_.BeginPredictions(index, pin));
    return true;
  }
  FORESHORE_ASSIGN_OR_RETURN(const bool has_arrived, TakeArrived(collection, index));
  if (has_arrived) return true;
  Batch batch;
  {
    FORESHORE_ASSIGN_OR_RETURN(const auto view, core_.BeginRead());
    // Dropped or begun anew before this snapshot: the catalogue has changed, and its keyspaces may be gone.
    if (FindSame(view->catalog(), collection, index).second == nullptr) return true;
    view->ShowExpired();  // A filling passes a document once, and it may be extended after that.
    FORESHORE_ASSIGN_OR_RETURN(const std::uint64_t count, GuessPending(*view, collection, index, kBacklogMax));
    SetBacklog(index.id, count);
    if (count == 0) return false;
    // Before documents are read: a model that is not here is asked for again and again.
    FORESHORE_ASSIGN_OR_RETURN(batch.predictor,
                               core_.models().LoadPredictor(index.options.model, index.options.adapter));
    if (batch.predictor->pin() != index.pin) return true;  // The row has gone on: what it is comes with the next step.
    FORESHORE_RETURN_IF_ERROR(Collect(*view, collection, index, batch));
  }
  FORESHORE_RETURN_IF_ERROR(Compute(index, batch));
  return Store(collection, index, batch);
}

Result<bool> PredictiveWorker::TakeArrived(const CollectionDefinition& collection,
                                           const PredictiveIndexDefinition& index) {
  if (!index.input.is_image()) return false;
  const std::uint64_t arrival_count = core_.blobs().arrival_count();  // Before they are looked for.
  {
    const std::lock_guard lock(mutex_);
    const auto seen = arrivals_.find(index.storage);
    if (seen != arrivals_.end() && seen->second == arrival_count) return false;
  }
  std::vector<std::int64_t> arrived;
  {
    FORESHORE_ASSIGN_OR_RETURN(const auto view, core_.BeginRead());
    if (FindSame(view->catalog(), collection, index).second == nullptr) return true;
    FORESHORE_RETURN_IF_ERROR(VisitAwaitedPredictions(*view, index, [&](std::int64_t docid, const BlobId& content) {
      if (core_.blobs().Contains(content)) arrived.push_back(docid);
      return arrived.size() < kBatchDocumentCount;
    }));
  }
  if (arrived.empty()) {
    const std::lock_guard lock(mutex_);
    arrivals_[index.storage] = arrival_count;
    return false;
  }
  FORESHORE_ASSIGN_OR_RETURN(const auto view, core_.BeginWrite(std::chrono::minutes(10), "the predictive worker"));
  const auto [present, now] = FindSame(view->catalog(), collection, index);
  if (now == nullptr) return true;
  for (const std::int64_t docid : arrived) {
    // Dropped, or written, since.
    FORESHORE_ASSIGN_OR_RETURN(const auto entry, view->txn().Get(now->pending, -docid));
    if (entry) FORESHORE_RETURN_IF_ERROR(view->PutPredictionPending(*now, docid));
  }
  FORESHORE_RETURN_IF_ERROR(view->Commit());
  return true;
}

std::pair<const CollectionDefinition*, const PredictiveIndexDefinition*> PredictiveWorker::FindSame(
    const Catalog& catalog, const CollectionDefinition& collection, const PredictiveIndexDefinition& index) {
  const CollectionDefinition* present = catalog.FindById(collection.id);
  const PredictiveIndexDefinition* now = present != nullptr ? present->FindPredictiveIndex(index.id) : nullptr;
  return {present, now != nullptr && now->storage == index.storage ? now : nullptr};
}

Status PredictiveWorker::Collect(ReadView& view, const CollectionDefinition& collection,
                                 const PredictiveIndexDefinition& index, Batch& batch) const {
  FORESHORE_ASSIGN_OR_RETURN(batch.fill, ReadPredictionFill(view, index));
  std::vector<std::int64_t> docids;
  FORESHORE_RETURN_IF_ERROR(VisitPendingPredictions(view, index, [&](std::int64_t docid) {
    if (docid >= batch.fill) return false;  // The filling comes by.
    docids.push_back(docid);
    return docids.size() < kBatchDocumentCount;
  }));
  std::size_t bytes = 0;
  for (const std::int64_t docid : docids) {
    if (bytes > kBatchBytesMax) break;
    FORESHORE_ASSIGN_OR_RETURN(const auto document, view.GetByDocid(collection, docid));
    batch.items.push_back({docid, index.input.SourceOf(document ? document->body : std::string_view())});
    bytes += batch.items.back().source.text.size();
  }
  batch.pending_count = batch.items.size();
  batch.next_fill = batch.fill;
  if (batch.fill == INT64_MAX) return Status::Ok();
  FORESHORE_ASSIGN_OR_RETURN(const auto documents, view.Scan(collection, batch.fill));
  while (batch.items.size() < kBatchDocumentCount && bytes <= kBatchBytesMax) {
    FORESHORE_ASSIGN_OR_RETURN(const bool more, documents->Next());
    batch.next_fill = more ? documents->docid() + 1 : INT64_MAX;
    if (!more) break;
    batch.items.push_back({documents->docid(), index.input.SourceOf(documents->body())});
    bytes += batch.items.back().source.text.size();
  }
  return Status::Ok();
}

Status PredictiveWorker::Compute(const PredictiveIndexDefinition& index, Batch& batch) {
  const auto& numbers = batch.predictor->numbers();
  const bool takes_rows = numbers && numbers->has_independent_rows() && !index.input.is_image();
  const std::size_t piece_count = takes_rows ? kPieceCount : kPieceCountAlone;
  const std::int64_t begun_us = core_.clock().NowMonotonicUs();
  std::vector<PredictionSource> sources;
  std::vector<PredictedValue> values;
  while (batch.values.size() < batch.items.size()) {
    sources.clear();
    const std::size_t end = std::min(batch.items.size(), batch.values.size() + piece_count);
    for (std::size_t i = batch.values.size(); i < end; ++i) sources.push_back(batch.items[i].source);
    FORESHORE_RETURN_IF_ERROR(PredictValues(index, *batch.predictor, core_.blobs(), sources, values, nullptr));
    batch.values.insert(batch.values.end(), values.begin(), values.end());
    if (core_.clock().NowMonotonicUs() - begun_us > kBatchUs) break;
  }
  return Status::Ok();
}

Result<bool> PredictiveWorker::Store(const CollectionDefinition& collection, const PredictiveIndexDefinition& index,
                                     const Batch& batch) {
  FORESHORE_ASSIGN_OR_RETURN(const auto view, core_.BeginWrite(std::chrono::minutes(10), "the predictive worker"));
  view->ShowExpired();
  const auto [present, now] = FindSame(view->catalog(), collection, index);
  // It was dropped or began anew: that brings no work, but the catalogue has changed.
  if (now == nullptr) return true;
  for (std::size_t i = 0; i < batch.values.size(); ++i) {
    const Batch::Item& item = batch.items[i];
    FORESHORE_ASSIGN_OR_RETURN(const auto document, view->GetByDocid(*present, item.docid));
    if (!document) {
      FORESHORE_RETURN_IF_ERROR(view->ForgetPrediction(*now, item.docid));
    } else if (index.input.SourceOf(document->body).text == item.source.text) {
      FORESHORE_RETURN_IF_ERROR(view->PutPrediction(*now, item.docid, batch.values[i]));
    }  // Else it was written since, and waits for its turn.
  }
  std::int64_t next_fill = batch.next_fill;
  if (batch.values.size() < batch.items.size()) {
    const bool is_in_fill = batch.values.size() >= batch.pending_count;
    next_fill = is_in_fill ? batch.items[batch.values.size()].docid : batch.fill;
  }
  if (next_fill != batch.fill) FORESHORE_RETURN_IF_ERROR(view->PutPredictionFill(*now, next_fill));
  FORESHORE_RETURN_IF_ERROR(view->Commit());
  if (next_fill == INT64_MAX && batch.fill != INT64_MAX) {
    // A filling moves no sequence, by which statistics know that they are old.
    core_.field_statistics().Refresh(index.id).IgnoreError();
    Log(LogLevel::kInfo, "predict", "index \"" + index.name + "\" is filled");
  }
  return true;
}

Result<PredictiveWorker::Pending> PredictiveWorker::CountWritten(ReadView& view, const PredictiveIndexDefinition& index,
                                                                 std::uint64_t count_max) {
  Pending pending;
  FORESHORE_ASSIGN_OR_RETURN(pending.fill, ReadPredictionFill(view, index));
  const auto now = core_.models().PinNow(index.options.model, index.options.adapter);
  if (now.ok() && *now != index.pin) pending.fill = INT64_MIN;
  FORESHORE_RETURN_IF_ERROR(VisitPendingPredictions(view, index, [&](std::int64_t docid) {
    if (docid >= pending.fill) return false;
    return ++pending.written_count < count_max;
  }));
  return pending;
}

Result<std::uint64_t> PredictiveWorker::PendingCount(ReadView& view, const CollectionDefinition& collection,
                                                     const PredictiveIndexDefinition& index) {
  FORESHORE_ASSIGN_OR_RETURN(const Pending pending, CountWritten(view, index, UINT64_MAX));
  if (pending.fill == INT64_MAX) return pending.written_count;
  std::uint64_t count = pending.written_count;
  FORESHORE_ASSIGN_OR_RETURN(const auto documents, view.Scan(collection, pending.fill));
  while (true) {
    FORESHORE_ASSIGN_OR_RETURN(const bool more, documents->Next());
    if (!more) break;
    ++count;
  }
  return std::max<std::uint64_t>(count, 1);  // The filling itself has to be marked as done.
}

Result<std::uint64_t> PredictiveWorker::GuessPending(ReadView& view, const CollectionDefinition& collection,
                                                     const PredictiveIndexDefinition& index, std::uint64_t count_max) {
  FORESHORE_ASSIGN_OR_RETURN(const Pending pending, CountWritten(view, index, count_max));
  if (pending.fill == INT64_MAX) return pending.written_count;
  FORESHORE_ASSIGN_OR_RETURN(const std::uint64_t left, view.GuessCount(collection, pending.fill));
  return pending.written_count + std::max<std::uint64_t>(left, 1);  // As PendingCount says.
}

std::uint64_t PredictiveWorker::Backlog(std::uint32_t index_id) const {
  const std::lock_guard lock(mutex_);
  const auto found = backlogs_.find(index_id);
  return found == backlogs_.end() ? 0 : found->second;
}

void PredictiveWorker::SetBacklog(std::uint32_t index_id, std::uint64_t count) {
  const std::lock_guard lock(mutex_);
  backlogs_[index_id] = count;
}

void PredictiveWorker::Retire(std::uint32_t storage, std::int64_t sequence) {
  const std::lock_guard lock(mutex_);
  retired_.emplace_back(storage, sequence);
}

Status PredictiveWorker::ReleaseRetired() {
  const std::int64_t oldest = core_.OldestSnapshot();
  std::vector<std::uint32_t> freed;
  {
    const std::lock_guard lock(mutex_);
    std::erase_if(retired_, [&](const auto& each) {
      if (each.second > oldest) return false;
      arrivals_.erase(each.first);
      freed.push_back(each.first);
      return true;
    });
  }
  Status first;
  for (const std::uint32_t storage : freed) {
    for (const std::string& name : DatabaseCore::PredictionKeyspaces(storage)) {
      // What stays of it is freed by the next open.
      if (const Status dropped = core_.store().DropKeyspace(name); first.ok()) first = dropped;
    }
  }
  return first;
}

}  // namespace foreshore
