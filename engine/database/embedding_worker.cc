#include "engine/database/embedding_worker.h"

#include <set>

#include "engine/database/core.h"
#include "engine/database/derived_vector_index.h"
#include "engine/database/full_text_indexes.h"
#include "engine/database/predictive_worker.h"
#include "engine/database/stored_vector.h"
#include "engine/model/model_registry.h"
#include "index/quantizer.h"
#include "storage/base/coding.h"
#include "storage/base/log.h"

namespace foreshore {
namespace {

constexpr std::size_t kBatchTextCount = 64;            // Texts embedded per transaction.
constexpr std::size_t kBatchVisitCount = 4096;         // Documents or log entries looked at per batch.
constexpr std::int64_t kIdleCursorLag = 4096;          // Entries of no concern after which a cursor moves on its own.
constexpr std::chrono::seconds kRebuildPause(60);      // After a rebuild that failed.
constexpr std::uint64_t kSaveOperationCount = 20'000;  // Unsaved graph changes after which a snapshot is written.

constexpr std::int64_t kSliceUs = 2000;              // Of dropping garbage, and of sampling recall.
constexpr std::chrono::milliseconds kSlicePause(2);  // Between two slices.
constexpr std::size_t kSettleTextCount = 16;         // Texts embedded under the write lock as a field changes over.

constexpr std::chrono::milliseconds kTextFillBudget(200);  // Of full-text indexes, between two batches.

}  // namespace

struct EmbeddingWorker::Batch {
  struct Item {
    std::int64_t docid = 0;
    std::string text;  // Empty: there is no source, the vector goes.
  };
  std::vector<Item> items;
  std::int64_t cursor = 0;           // Where the log cursor goes with this batch.
  std::optional<std::int64_t> fill;  // Where the filling goes; nullopt: not filling.
  bool fill_done = false;
  bool moved = false;          // Something was looked at.
  std::vector<float> vectors;  // Of the items that have a text, one behind the other.
};

void EmbeddingWorker::Start() {
  thread_ = std::thread([this] { Run(); });
}

void EmbeddingWorker::Stop() {
  stopping_ = true;
  if (thread_.joinable()) thread_.join();
  sampler_.Drop();
}

namespace {

// Logs an error when it first appears. Cancelled is the database closing under a step: what is pending is durable and
// goes on at the next open.
bool NoteStep(const Result<bool>& worked, std::string_view component, std::string& last_error) {
  if (worked.ok()) {
    last_error.clear();
    return *worked;
  }
  if (worked.status().code() != ErrorCode::kCancelled && worked.status().ToString() != last_error) {
    last_error = worked.status().ToString();
    Log(LogLevel::kWarning, component, last_error);
  }
  return false;
}

}  // namespace

void EmbeddingWorker::Run() {
  std::string embed_error;
  std::string predict_error;
  while (!stopping_) {
    const std::int64_t sequence = core_.last_sequence();
    const bool has_embedded = NoteStep(Step(), "embed", embed_error);
    const bool has_predicted = NoteStep(core_.predictive().Step(), "predict", predict_error);
    const auto fills = core_.text().Fill(kTextFillBudget);  // An error was logged, and is tried again.
    const bool has_slices = RunSlices();
    if (has_embedded || has_predicted || (fills.ok() && *fills)) continue;
    TendGraphs();
    // Half of the time is others': a slice is what a writer may have to wait for.
    if (has_slices) std::this_thread::sleep_for(kSlicePause);
    if (!has_slices) core_.WaitForChange(sequence, std::chrono::milliseconds(200));
  }
}

bool EmbeddingWorker::RunSlices() {
  bool has_more = false;
  for (const auto& [id, derived] : core_.derived_by_id()) {
    if (derived->NeedsRebuild()) continue;
    const Result<bool> compacted = derived->graph().CompactSome(core_.clock(), kSliceUs);
    if (!compacted.ok()) Log(LogLevel::kWarning, "index", compacted.status().ToString());
    has_more = has_more || (compacted.ok() && *compacted);
  }
  const Result<bool> sampled = sampler_.Step(kSliceUs);
  if (!sampled.ok() && sampled.status().code() != ErrorCode::kCancelled)
    Log(LogLevel::kWarning, "index", "sampling recall: " + sampled.status().ToString());
  return has_more || (sampled.ok() && *sampled);
}

void EmbeddingWorker::TendGraphs() {
  if (const auto purged = core_.PurgeExpiredNowAndThen(); !purged.ok() && !stopping_) {
    Log(LogLevel::kWarning, "expiry", purged.status().ToString());
  }
  for (const auto& [id, derived] : core_.derived_by_id()) {
    if (derived->NeedsRebuild()) {
      if (std::chrono::steady_clock::now() < next_rebuild_time_) continue;
      const Status rebuilt = core_.RebuildVectorIndex(id);
      if (!rebuilt.ok()) next_rebuild_time_ = std::chrono::steady_clock::now() + kRebuildPause;
      if (!rebuilt.ok() && !stopping_) Log(LogLevel::kWarning, "index", rebuilt.ToString());
      continue;
    }
    if (derived->unsaved_operation_count() >= kSaveOperationCount) {
      const Status saved = core_.Checkpoint();
      // Cancelled: the database is being closed, which saves too.
      if (!saved.ok() && saved.code() != ErrorCode::kCancelled) Log(LogLevel::kWarning, "index", saved.ToString());
    }
  }
}

Result<bool> EmbeddingWorker::Step() {
  const std::lock_guard lock(step_mutex_);
  Status first = core_.ReleaseRetired();
  const auto catalog = core_.catalog();
  // What answers comes before what is to replace it.
  for (const bool is_next : {false, true}) {
    for (const CollectionDefinition& collection : catalog->collections) {
      for (const VectorIndexDefinition& index : collection.vector_indexes) {
        if (!index.has_model() || (!is_next && !index.pin.is_known())) continue;
        const Result<bool> worked = is_next ? StepNext(*catalog, collection, index) : StepIndex(collection, index);
        if (worked.ok() && *worked) return true;
        if (!worked.ok() && first.ok()) first = worked.status();
      }
    }
  }
  if (!first.ok()) return first;
  return false;
}

Result<bool> EmbeddingWorker::StepNext(const Catalog& catalog, const CollectionDefinition& collection,
                                       const VectorIndexDefinition& index) {
  FORESHORE_ASSIGN_OR_RETURN(const ModelPin pin, core_.models().PinNow(index.options.model, index.options.adapter));
  const VectorIndexDefinition* next = collection.FindNextOf(index.id);
  if (pin == index.pin) return next != nullptr ? core_.DropNextVectorIndex(index) : false;
  if (next == nullptr || next->pin != pin) {
    // Not before all of it is here and opens: until then the old one is the better.
    FORESHORE_ASSIGN_OR_RETURN(const auto model, core_.models().LoadPinned(pin));
    return core_.BeginNextVectorIndex(index, pin, model->info().dimension);
  }
  FORESHORE_ASSIGN_OR_RETURN(const bool worked, StepIndex(collection, *next));
  if (worked) return true;
  return CutOver(catalog, pin);
}

Result<bool> EmbeddingWorker::CutOver(const Catalog& catalog, const ModelPin& pin) {
  std::vector<VectorIndexDefinition> indexes;
  std::vector<std::uint32_t> ids;
  for (const CollectionDefinition& collection : catalog.collections) {
    for (const VectorIndexDefinition& index : collection.vector_indexes) {
      if (index.options.model != pin.model || index.options.adapter != pin.adapter) continue;
      const VectorIndexDefinition* next = collection.FindNextOf(index.id);
      if (next == nullptr || next->pin != pin) return false;
      FORESHORE_ASSIGN_OR_RETURN(const auto fill, core_.GetSetting(FillSetting(next->id)));
      if (fill) return false;
      indexes.push_back(*next);
      ids.push_back(next->id);
    }
  }
  bool is_settled = false;
  FORESHORE_ASSIGN_OR_RETURN(const bool is_done, core_.CutOver(ids, [&](WriteView& view) -> Result<bool> {
    FORESHORE_ASSIGN_OR_RETURN(is_settled, Settle(view, indexes));
    return is_settled;
  }));
  if (is_done) Log(LogLevel::kInfo, "embed", "model \"" + pin.model + "\": its fields answer by its new version");
  return is_done || !is_settled;
}

Result<bool> EmbeddingWorker::Settle(WriteView& view, std::span<const VectorIndexDefinition> indexes) {
  std::size_t text_count = 0;
  for (const VectorIndexDefinition& index : indexes) {
    const CollectionDefinition* collection = view.catalog().FindById(index.collection_id);
    if (collection == nullptr) return false;
    while (true) {
      Batch batch;
      FORESHORE_RETURN_IF_ERROR(Collect(view, *collection, index, batch));
      if (!batch.moved) break;
      text_count += batch.items.size();
      if (text_count > kSettleTextCount) return false;
      FORESHORE_RETURN_IF_ERROR(EmbedBatch(index, batch));
      FORESHORE_RETURN_IF_ERROR(Store(view, *collection, index, batch));
    }
  }
  return true;
}

Result<bool> EmbeddingWorker::StepIndex(const CollectionDefinition& collection, const VectorIndexDefinition& index) {
  Batch batch;
  {
    FORESHORE_ASSIGN_OR_RETURN(const auto view, core_.BeginRead());
    view->ShowExpired();  // A filling passes a document once, and it may be extended after that.
    FORESHORE_ASSIGN_OR_RETURN(const std::uint64_t pending, PendingCount(*view, collection, index, 1));
    if (pending == 0) {
      FORESHORE_ASSIGN_OR_RETURN(const auto cursor, core_.log().GetCursor(view->txn(), CursorName(index.id)));
      if (view->sequence() - cursor.value_or(0) < kIdleCursorLag) return false;
    }
    FORESHORE_RETURN_IF_ERROR(Collect(*view, collection, index, batch));
  }
  if (!batch.moved) return false;
  FORESHORE_RETURN_IF_ERROR(EmbedBatch(index, batch));
  FORESHORE_ASSIGN_OR_RETURN(const auto view, core_.BeginWrite(std::chrono::minutes(10), "the embedding worker"));
  view->ShowExpired();
  const CollectionDefinition* present = view->catalog().FindById(collection.id);
  // It was dropped, or another one has taken its place: that brings no work, but the catalogue has changed.
  if (present == nullptr || present->FindVectorIndexById(index.id) == nullptr) return true;
  FORESHORE_RETURN_IF_ERROR(Store(*view, *present, index, batch));
  FORESHORE_RETURN_IF_ERROR(view->Commit());
  return true;
}

Status EmbeddingWorker::EmbedBatch(const VectorIndexDefinition& index, Batch& batch) {
  std::vector<std::string_view> texts;
  for (const Batch::Item& item : batch.items) {
    if (!item.text.empty()) texts.push_back(item.text);
  }
  if (texts.empty()) return Status::Ok();
  FORESHORE_ASSIGN_OR_RETURN(const auto model, core_.models().LoadPinned(index.pin));
  if (model->info().dimension != index.options.dimension) {
    return Status::Conflict("vector index \"" + index.name + "\": model \"" + index.options.model + "\" has " +
                            std::to_string(model->info().dimension) + " dimensions, index has " +
                            std::to_string(index.options.dimension));
  }
  batch.vectors.resize(texts.size() * index.options.dimension);
  return model->Embed(texts, batch.vectors);
}

Status EmbeddingWorker::Collect(ReadView& view, const CollectionDefinition& collection,
                                const VectorIndexDefinition& index, Batch& batch) {
  FORESHORE_ASSIGN_OR_RETURN(const auto cursor, core_.log().GetCursor(view.txn(), CursorName(index.id)));
  batch.cursor = cursor.value_or(0);
  FORESHORE_ASSIGN_OR_RETURN(const auto fill, core_.ReadSettingIn(view, FillSetting(index.id)));
  std::vector<std::int64_t> docids;
  if (fill) {
    ByteReader reader(*fill);
    batch.fill = reader.Fixed<std::int64_t>();
    batch.moved = true;
    FORESHORE_ASSIGN_OR_RETURN(const auto documents, view.Scan(collection, *batch.fill));
    while (docids.size() < kBatchTextCount) {
      FORESHORE_ASSIGN_OR_RETURN(const bool more, documents->Next());
      if (!more) {
        batch.fill_done = true;
        break;
      }
      docids.push_back(documents->docid());
    }
    if (!docids.empty()) batch.fill = docids.back() + 1;
  } else {
    std::size_t visited = 0;
    std::set<std::int64_t> distinct;
    FORESHORE_RETURN_IF_ERROR(core_.log().ReadAfter(view.txn(), batch.cursor, [&](const Change& change) {
      batch.moved = true;
      batch.cursor = change.sequence;
      if (change.kind == ChangeKind::kDocument && change.collection_id == collection.id) distinct.insert(change.docid);
      return ++visited < kBatchVisitCount && distinct.size() < kBatchTextCount;
    }));
    docids.assign(distinct.begin(), distinct.end());
  }
  for (const std::int64_t docid : docids) {
    FORESHORE_RETURN_IF_ERROR(Consider(view, collection, index, docid, batch));
  }
  return Status::Ok();
}

Status EmbeddingWorker::Consider(ReadView& view, const CollectionDefinition& collection,
                                 const VectorIndexDefinition& index, std::int64_t docid, Batch& batch) {
  FORESHORE_ASSIGN_OR_RETURN(const auto document, view.GetByDocid(collection, docid));
  if (!document) return Status::Ok();  // Its vector went with it.
  std::string text = SourceTextOf(index, document->body);
  const std::uint64_t hash = Fnv1a64(text);
  FORESHORE_ASSIGN_OR_RETURN(const auto bytes, view.txn().Get(index.vectors, docid));
  if (bytes) {
    FORESHORE_ASSIGN_OR_RETURN(const StoredVector stored, DecodeStoredVector(*bytes));
    if (!text.empty() && stored.source_hash == hash && stored.model_tag == ModelTagOf(index.pin)) return Status::Ok();
  } else if (text.empty()) {
    return Status::Ok();
  }
  batch.items.push_back({docid, std::move(text)});
  return Status::Ok();
}

Status EmbeddingWorker::Store(WriteView& view, const CollectionDefinition& collection,
                              const VectorIndexDefinition& index, const Batch& batch) {
  std::size_t row = 0;
  for (const Batch::Item& item : batch.items) {
    const std::span<const float> values(batch.vectors.data() + row * index.options.dimension, index.options.dimension);
    if (!item.text.empty()) ++row;
    // A document that changed meanwhile stands again behind the cursor; its vector would be of the old text.
    FORESHORE_ASSIGN_OR_RETURN(const auto document, view.GetByDocid(collection, item.docid));
    if (!document || SourceTextOf(index, document->body) != item.text) continue;
    if (item.text.empty()) {
      FORESHORE_RETURN_IF_ERROR(view.PutVector(index, item.docid, {}));
      continue;
    }
    FORESHORE_ASSIGN_OR_RETURN(const ByteString record,
                               EncodeVectorRecord(values, index.options.dimension, index.options.precision));
    StoredVector stored;
    stored.is_from_model = true;
    stored.source_hash = Fnv1a64(item.text);
    stored.model_tag = ModelTagOf(index.pin);
    stored.made_unix_ms = core_.clock().NowUnixMs();
    FORESHORE_ASSIGN_OR_RETURN(stored.document_revision, view.RevisionOf(collection, item.docid));
    stored.records.push_back(record);
    FORESHORE_RETURN_IF_ERROR(view.PutVector(index, item.docid, EncodeStoredVector(stored)));
  }
  if (batch.fill_done) {
    FORESHORE_RETURN_IF_ERROR(view.DropSetting(FillSetting(index.id)));
  } else if (batch.fill) {
    ByteString place;
    AppendFixed(place, *batch.fill);
    FORESHORE_RETURN_IF_ERROR(view.PutSetting(FillSetting(index.id), place));
  }
  return view.MoveLogCursor(CursorName(index.id), batch.cursor);
}

Result<std::uint64_t> EmbeddingWorker::PendingCount(ReadView& view, const CollectionDefinition& collection,
                                                    const VectorIndexDefinition& index, std::uint64_t count_max) {
  FORESHORE_ASSIGN_OR_RETURN(const auto fill, core_.ReadSettingIn(view, FillSetting(index.id)));
  if (fill) {
    ByteReader reader(*fill);
    FORESHORE_ASSIGN_OR_RETURN(const auto documents, view.Scan(collection, reader.Fixed<std::int64_t>()));
    std::uint64_t count = 1;  // The filling itself, which has to be marked as done.
    while (count < count_max) {
      FORESHORE_ASSIGN_OR_RETURN(const bool more, documents->Next());
      if (!more) break;
      ++count;
    }
    return count;
  }
  std::set<std::int64_t> changed;
  FORESHORE_ASSIGN_OR_RETURN(const auto cursor, core_.log().GetCursor(view.txn(), CursorName(index.id)));
  FORESHORE_RETURN_IF_ERROR(core_.log().ReadAfter(view.txn(), cursor.value_or(0), [&](const Change& change) {
    if (change.kind == ChangeKind::kDocument && change.collection_id == collection.id) changed.insert(change.docid);
    return changed.size() < count_max;
  }));
  return changed.size();
}

}  // namespace foreshore
