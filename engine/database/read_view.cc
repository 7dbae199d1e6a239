#include <algorithm>
#include <unordered_set>

#include "engine/database/core.h"
#include "engine/database/derived_vector_index.h"
#include "engine/database/expiry.h"
#include "engine/database/rescue.h"
#include "engine/database/stamp_coding.h"
#include "engine/database/stored_vector.h"
#include "engine/database/vector_reader.h"
#include "storage/base/coding.h"

namespace foreshore {

namespace {

// The graph's stream, without the documents of the overlay, merged with the overlay by distance.
class MergedNeighbourCursor : public NeighbourCursor {
 public:
  std::unordered_set<std::int64_t> hidden;    // Documents that the graph must not yield.
  std::vector<Neighbour> overlay;             // Nearest last.
  std::shared_ptr<DerivedVectorIndex> index;  // Keeps the graph alive while it streams.
  std::unique_ptr<VectorCursor> graph;
  std::function<Result<bool>(std::int64_t)> shows;  // Where set: which documents may be yielded.

  Result<std::optional<Neighbour>> Next() override {
    while (true) {
      FORESHORE_ASSIGN_OR_RETURN(const auto next, NextOfAll());
      if (!next || !shows) return next;
      FORESHORE_ASSIGN_OR_RETURN(const bool is_shown, shows(next->docid));
      if (is_shown) return next;
    }
  }

 private:
  Result<std::optional<Neighbour>> NextOfAll() {
    if (!graph_next_ && !graph_done_) {
      FORESHORE_ASSIGN_OR_RETURN(const auto match, graph->Next());
      if (match) {
        graph_next_ = Neighbour{match->docid, match->distance};
      } else {
        graph_done_ = true;
      }
    }
    if (!overlay.empty() && (!graph_next_ || overlay.back().distance <= graph_next_->distance)) {
      const Neighbour next = overlay.back();
      overlay.pop_back();
      return std::optional<Neighbour>(next);
    }
    return std::exchange(graph_next_, std::nullopt);
  }

  std::optional<Neighbour> graph_next_;
  bool graph_done_ = false;
};

}  // namespace

ReadView::~ReadView() {
  owned_txn_.reset();
  if (registered_) {
    const std::lock_guard lock(core_.snapshots_mutex_);
    core_.snapshots_.erase(core_.snapshots_.find(registered_sequence_));
  }
}

Result<std::optional<ReadView::Found>> ReadView::Find(const CollectionDefinition& collection, std::string_view id) {
  FORESHORE_ASSIGN_OR_RETURN(const auto docid, FindDocid(collection, id));
  if (!docid) return std::optional<Found>();
  FORESHORE_ASSIGN_OR_RETURN(const auto record, txn_->Get(collection.documents, *docid));
  if (!record) {
    return Status::Corruption("collection \"" + collection.name + "\": id \"" + std::string(id) + "\" names document " +
                              std::to_string(*docid) + ", which is not there");
  }
  return std::optional<Found>(Found{*docid, *record});
}

Result<std::optional<std::int64_t>> ReadView::FindDocid(const CollectionDefinition& collection, std::string_view id) {
  if (collection.is_readings()) return std::optional<std::int64_t>();
  FORESHORE_ASSIGN_OR_RETURN(const auto entry, txn_->Get(collection.ids, Bytes(id)));
  if (!entry) return std::optional<std::int64_t>();
  if (entry->size() != 8) {
    return Status::Corruption("collection \"" + collection.name + "\": entry of id \"" + std::string(id) + "\" has " +
                              std::to_string(entry->size()) + " bytes, expected 8");
  }
  return std::optional<std::int64_t>(LoadFixed<std::int64_t>(entry->data()));
}

Result<std::optional<RecordView>> ReadView::Get(const CollectionDefinition& collection, std::string_view id) {
  if (collection.is_readings()) return GetReading(collection, id);
  FORESHORE_ASSIGN_OR_RETURN(const auto found, Find(collection, id));
  if (!found) return std::optional<RecordView>();
  FORESHORE_ASSIGN_OR_RETURN(const RecordView view, ViewRecord(found->record));
  return IsVisible(collection, view) ? std::optional<RecordView>(view) : std::nullopt;
}

bool ReadView::IsVisible(const CollectionDefinition& collection, const RecordView& document) const {
  return document.alive && !IsExpired(collection.expiry_field, document.body, now_unix_ms_);
}

Result<std::optional<RecordView>> ReadView::GetByDocid(const CollectionDefinition& collection, std::int64_t docid) {
  if (collection.is_readings()) return std::optional<RecordView>();  // Readings are found by id or by time.
  FORESHORE_ASSIGN_OR_RETURN(const auto record, txn_->Get(collection.documents, docid));
  if (!record) return std::optional<RecordView>();
  FORESHORE_ASSIGN_OR_RETURN(const RecordView view, ViewRecord(*record));
  return IsVisible(collection, view) ? std::optional<RecordView>(view) : std::nullopt;
}

Result<std::uint64_t> ReadView::GuessCount(const CollectionDefinition& collection, std::int64_t from_docid) {
  FORESHORE_ASSIGN_OR_RETURN(const auto cursor, txn_->NewCursor(collection.documents));
  FORESHORE_RETURN_IF_ERROR(cursor->Seek(from_docid));
  if (!cursor->valid()) return std::uint64_t{0};
  const std::int64_t first_docid = cursor->integer_key();
  FORESHORE_RETURN_IF_ERROR(cursor->SeekLast());
  if (!cursor->valid()) return std::uint64_t{0};
  return static_cast<std::uint64_t>(cursor->integer_key() - first_docid) + 1;
}

Result<Document> ReadView::Read(const CollectionDefinition& collection, std::string_view id) {
  if (collection.is_readings()) {
    FORESHORE_ASSIGN_OR_RETURN(const auto reading, GetReading(collection, id));
    if (reading) {
      Document read;
      read.id_ = reading->id;
      read.body_ = reading->body;
      read.seen_ = EncodeVersionVector({});
      return read;
    }
  }
  FORESHORE_ASSIGN_OR_RETURN(const auto found, Find(collection, id));
  Document document;
  if (found) {
    FORESHORE_ASSIGN_OR_RETURN(const RecordView view, ViewRecord(found->record));
    if (IsVisible(collection, view)) {
      document.id_ = view.id;
      document.body_ = view.body;
      FORESHORE_ASSIGN_OR_RETURN(const DocumentState state, DecodeRecord(found->record, core_.sessions()));
      document.seen_ = EncodeVersionVector(state.seen);
      return document;
    }
  }
  return Status::NotFound("collection \"" + collection.name + "\": document \"" + std::string(id) +
                          "\" does not exist");
}

Result<std::unique_ptr<DocumentCursor>> ReadView::Scan(const CollectionDefinition& collection,
                                                       std::int64_t from_docid) {
  if (collection.is_readings()) {
    FORESHORE_ASSIGN_OR_RETURN(auto readings, ScanReadings(collection, {}, ReadingsOrder::kAny));
    return std::unique_ptr<DocumentCursor>(new DocumentCursor(std::move(readings), cancellation_));
  }
  FORESHORE_ASSIGN_OR_RETURN(auto cursor, txn_->NewCursor(collection.documents));
  return std::unique_ptr<DocumentCursor>(
      new DocumentCursor(std::move(cursor), from_docid, cancellation_, collection.expiry_field, now_unix_ms_));
}

Result<bool> DocumentCursor::Next() {
  if (readings_) {
    FORESHORE_ASSIGN_OR_RETURN(const bool more, readings_->Next());
    if (!more) return false;
    reading_id_.clear();
    reading_body_.clear();
    readings_->AppendId(reading_id_);
    FORESHORE_RETURN_IF_ERROR(readings_->AppendBody(reading_body_));
    view_.id = reading_id_;
    view_.body = reading_body_;
    view_.alive = true;
    return true;
  }
  if (started_) {
    FORESHORE_RETURN_IF_ERROR(cursor_->Next());
  } else {
    FORESHORE_RETURN_IF_ERROR(cursor_->Seek(from_));
    started_ = true;
  }
  for (int skipped_count = 1; cursor_->valid(); ++skipped_count) {
    FORESHORE_ASSIGN_OR_RETURN(view_, ViewRecord(cursor_->value()));
    if (view_.alive && !IsExpired(expiry_field_, view_.body, now_unix_ms_)) return true;
    // Deleted documents may follow each other by the thousand, and the caller sees none of them.
    if (cancellation_ != nullptr && skipped_count % 256 == 0) FORESHORE_RETURN_IF_ERROR(cancellation_->Check());
    FORESHORE_RETURN_IF_ERROR(cursor_->Next());
  }
  return false;
}

Result<std::unique_ptr<NeighbourCursor>> ReadView::Nearest(const VectorIndexDefinition& index,
                                                           std::span<const float> query,
                                                           const NeighbourOptions& options) {
  auto merged = std::make_unique<MergedNeighbourCursor>();
  merged->index = core_.FindDerived(index.id);
  if (!merged->index) return Status::NotFound("vector index \"" + index.name + "\" does not exist");
  if (sequence_ < merged->index->first_sequence()) {
    return Status::Busy("vector index \"" + index.name + "\" was made at sequence " +
                        std::to_string(merged->index->first_sequence()) + ", and this transaction is at " +
                        std::to_string(sequence_) + "; begin another");
  }
  // The graph's cursor makes its own; most searches have nothing else to compare with.
  std::optional<VectorQuery> prepared;
  const auto add = [&](std::int64_t docid, Bytes stored_bytes) -> Status {
    if (!merged->hidden.insert(docid).second || stored_bytes.empty()) return Status::Ok();
    if (options.among && !options.among->Contains(docid)) return Status::Ok();
    if (!prepared) {
      auto made = VectorQuery::Prepare(index.options.metric, index.options.dimension, query);
      if (!made.ok()) return made.status().WithContext("vector index \"" + index.name + "\"");
      prepared.emplace(std::move(made).value());
    }
    FORESHORE_ASSIGN_OR_RETURN(const StoredVector stored, DecodeStoredVector(stored_bytes));
    FORESHORE_ASSIGN_OR_RETURN(const double distance, NearestRecord(*prepared, stored));
    merged->overlay.push_back({docid, distance});
    return Status::Ok();
  };
  const CollectionDefinition* collection = catalog_->FindById(index.collection_id);
  if (collection != nullptr && !collection->expiry_field.empty()) {
    merged->shows = [this, collection](std::int64_t docid) -> Result<bool> {
      FORESHORE_ASSIGN_OR_RETURN(const auto document, GetByDocid(*collection, docid));
      return document.has_value();
    };
  }
  // First this transaction's own writes, which hide what the store and the graph say.
  FORESHORE_RETURN_IF_ERROR(VisitOwnVectors(index.id, add));
  // Then what was committed before this snapshot and is not in the graph yet.
  if (const std::int64_t applied = merged->index->applied_sequence(); applied < sequence_) {
    std::vector<std::int64_t> changed;
    FORESHORE_RETURN_IF_ERROR(core_.log().ReadAfter(*txn_, applied, [&](const Change& change) {
      if (change.sequence > sequence_) return false;
      if (change.kind == ChangeKind::kVector && change.index_id == index.id) changed.push_back(change.docid);
      return true;
    }));
    VectorReader vectors(*txn_, index);
    for (const std::int64_t docid : changed) {
      if (cancellation_ != nullptr) FORESHORE_RETURN_IF_ERROR(cancellation_->Check());
      if (merged->hidden.contains(docid)) continue;
      FORESHORE_ASSIGN_OR_RETURN(const auto stored, vectors.Get(docid));
      FORESHORE_RETURN_IF_ERROR(add(docid, stored.value_or(Bytes())));
    }
  }
  std::sort(merged->overlay.begin(), merged->overlay.end(),
            [](const Neighbour& a, const Neighbour& b) { return a.distance > b.distance; });
  VectorSearchOptions search = merged->index->SearchOptions(options.k_hint, options.ef);
  search.distance_max = options.distance_max;
  search.among = options.among;
  if (!merged->hidden.empty()) {
    search.predicate = [hidden = &merged->hidden](std::int64_t docid) { return !hidden->contains(docid); };
  }
  FORESHORE_ASSIGN_OR_RETURN(
      merged->graph, merged->index->graph().NewCursor(query, static_cast<std::uint64_t>(sequence_), std::move(search)));
  merged->index->recent_queries().Note(query);  // One that can be asked.
  return std::unique_ptr<NeighbourCursor>(std::move(merged));
}

Result<std::unique_ptr<Cursor>> ReadView::ScanFieldIndex(const FieldIndexDefinition& index) {
  FORESHORE_RETURN_IF_ERROR(SettleFieldIndexes());
  return txn_->NewCursor(index.entries);
}

Status ReadView::FlushReadings(const CollectionDefinition&) {
  return Status::Ok();
}

Result<std::unique_ptr<ReadingsCursor>> ReadView::ScanReadings(const CollectionDefinition& collection,
                                                               const ReadingsFilter& filter, ReadingsOrder order) {
  FORESHORE_RETURN_IF_ERROR(FlushReadings(collection));
  return ReadingsCursor::Open(*txn_, collection, filter, order);
}

Result<std::optional<RecordView>> ReadView::GetReading(const CollectionDefinition& collection, std::string_view id) {
  for (const ReadingId& wanted : ParseReadingId(id)) {
    const ReadingsFilter filter{
        .series = wanted.series, .time_min = wanted.time, .time_max = wanted.time, .number = wanted.number};
    FORESHORE_ASSIGN_OR_RETURN(const auto cursor, ScanReadings(collection, filter, ReadingsOrder::kAny));
    FORESHORE_ASSIGN_OR_RETURN(const bool found, cursor->Next());
    if (!found) continue;
    reading_id_.clear();
    reading_body_.clear();
    cursor->AppendId(reading_id_);
    FORESHORE_RETURN_IF_ERROR(cursor->AppendBody(reading_body_));
    RecordView view;
    view.id = reading_id_;
    view.body = reading_body_;
    view.alive = true;
    return std::optional<RecordView>(view);
  }
  return std::optional<RecordView>();
}

Status ReadView::VisitOwnVectors(std::uint32_t, const std::function<Status(std::int64_t, Bytes)>&) {
  return Status::Ok();
}

Result<DocumentState> ReadView::LoadState(const CollectionDefinition& collection, std::string_view id) {
  FORESHORE_ASSIGN_OR_RETURN(const auto found, Find(collection, id));
  if (found) return DecodeRecord(found->record, core_.sessions());
  DocumentState state;
  state.id = id;
  return state;
}

Result<std::optional<DocumentState>> ReadView::LoadStateByDocid(const CollectionDefinition& collection,
                                                                std::int64_t docid) {
  FORESHORE_ASSIGN_OR_RETURN(const auto record, txn_->Get(collection.documents, docid));
  if (!record) return std::optional<DocumentState>();
  FORESHORE_ASSIGN_OR_RETURN(DocumentState state, DecodeRecord(*record, core_.sessions()));
  return std::optional<DocumentState>(std::move(state));
}

Result<std::uint64_t> ReadView::RevisionOf(const CollectionDefinition& collection, std::int64_t docid) {
  FORESHORE_ASSIGN_OR_RETURN(const auto state, LoadStateByDocid(collection, docid));
  std::uint64_t newest = 0;
  if (!state) return newest;
  for (const VersionVector::Entry& entry : state->seen.entries()) newest = std::max(newest, entry.hlc);
  return newest;
}

Result<std::vector<LostValue>> ReadView::LoadRescued(const CollectionDefinition& collection,
                                                     std::string_view document_id) {
  // Most databases never have one; this keeps the look-up out of every put.
  if (core_.rescued_count_.load() == 0 && !has_own_rescued_) return std::vector<LostValue>();
  return RescuedOf(*txn_, core_.rescue_keyspaces(), collection.id, document_id);
}

}  // namespace foreshore
