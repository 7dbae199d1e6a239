#include "engine/query/collection_cursor.h"

#include <algorithm>

#include "engine/database/field_entries.h"
#include "engine/database/stored_vector.h"
#include "engine/database/vector_reader.h"
#include "engine/document/json.h"
#include "engine/query/predicted_scan.h"
#include "engine/query/sql_json.h"
#include "engine/query/sqlite_callback.h"
#include "engine/query/text_functions.h"
#include "engine/query/vector_argument.h"
#include "index/quantizer.h"
#include "index/vector_query.h"
#include "storage/base/coding.h"

namespace foreshore {

namespace {

// What an id is compared with. A blob or NULL equals no text.
std::optional<std::string> IdOf(sqlite3_value* value) {
  const int type = sqlite3_value_type(value);
  if (type == SQLITE_NULL || type == SQLITE_BLOB) return std::nullopt;
  return std::string(TextOf(value));
}

}  // namespace

CollectionCursor::CollectionCursor(CollectionTable& table)
    : sqlite3_vtab_cursor{}, table_(table), fields_(std::move(table.spare_fields)) {
  // Most scans read a row or a few, and the tables of names cost more than that.
  if (!fields_) fields_ = std::make_unique<RowFields>(table.field_keys);
  if (table.session.running) ++table.session.running->opened_cursor_count;
}

CollectionCursor::~CollectionCursor() {
  table_.spare_fields = std::move(fields_);
  table_.session.text_cursors.erase(text_number_);
  if (table_.session.last_array.cursor == this) table_.session.last_array = {};
}

std::uint64_t CollectionCursor::write_count() const {
  const auto found = table_.session.write_counts.find(table_.collection_id);
  return (found == table_.session.write_counts.end() ? 0 : found->second) + table_.session.rollback_count;
}

void CollectionCursor::SetRow(std::int64_t docid, std::string_view id, std::string_view body) {
  docid_ = docid;
  id_ = id;
  body_ = body;
  has_document_ = true;
  has_fields_ = false;
}

Status CollectionCursor::StandOn(std::int64_t docid) {
  FORESHORE_ASSIGN_OR_RETURN(const auto record, view_->GetByDocid(*definition_, docid));
  at_end_ = !record.has_value();
  if (at_end_) return Status::Ok();
  const std::size_t id_bytes = record->id.size();
  copy_.assign(record->id);
  copy_.append(record->body);
  SetRow(docid, std::string_view(copy_).substr(0, id_bytes), std::string_view(copy_).substr(id_bytes));
  return Status::Ok();
}

Status CollectionCursor::Filter(const ScanPlan& plan, std::string_view text, sqlite3_value** arguments) {
  FORESHORE_ASSIGN_OR_RETURN(view_, table_.session.View());
  scan_.reset();
  window_.reset();
  field_scan_.reset();
  sorted_.clear();
  nearest_.reset();
  ids_.reset();
  measured_.clear();
  text_.reset();
  plan_ = plan;
  at_end_ = true;
  seen_write_count_ = write_count();
  auto definition = table_.DefinitionIn(*view_);
  // A collection that came after this snapshot has no documents in it.
  if (!definition.ok()) return Status::Ok();
  definition_ = *definition;
  only_ = table_.session.running->only;
  if (only_ && only_->collection_id != table_.collection_id) only_ = nullptr;
  only_position_ = 0;
  tests_documents_ = false;
  if (only_) return StartListed(text, arguments);
  switch (plan.kind) {
    case ScanKind::kFull: return StartFull();
    case ScanKind::kById: {
      const auto id = IdOf(arguments[0]);
      if (!id) return Status::Ok();
      FORESHORE_ASSIGN_OR_RETURN(const auto docid, view_->FindDocid(*definition_, *id));
      return docid ? StandOn(*docid) : Status::Ok();
    }
    case ScanKind::kByRowid:
      if (sqlite3_value_type(arguments[0]) == SQLITE_NULL) return Status::Ok();
      return StandOn(sqlite3_value_int64(arguments[0]));
    case ScanKind::kNearest: return StartNearest(plan, text, arguments);
    case ScanKind::kByIdOrder: return StartIdOrder(plan, arguments);
    case ScanKind::kField: return StartField(text, arguments);
    case ScanKind::kText: return StartText(plan, arguments);
  }
  return Status::Internal("SQL: unknown plan of a scan");
}

Status CollectionCursor::StartListed(std::string_view text, sqlite3_value** arguments) {
  if (plan_.kind == ScanKind::kField) {
    FORESHORE_ASSIGN_OR_RETURN(const FieldScanPlan* plan, FindFieldScan(text));
    field_terms_ = FieldTerms(*plan, arguments);
    tests_documents_ = !field_terms_.empty();
  }
  return NextListed();
}

Status CollectionCursor::NextListed() {
  for (at_end_ = true; at_end_ && only_position_ < only_->docids.size();) {
    FORESHORE_RETURN_IF_ERROR(StandOn(only_->docids[only_position_++]));
    if (!at_end_ && !Passes()) at_end_ = true;
  }
  return Status::Ok();
}

Status CollectionCursor::StartFull() {
  FORESHORE_ASSIGN_OR_RETURN(scan_, view_->Scan(*definition_));
  at_end_ = false;
  return Next();
}

Result<const FieldScanPlan*> CollectionCursor::FindFieldScan(std::string_view text) const {
  const auto found = table_.field_scans.find(text);
  if (found == table_.field_scans.end()) return Status::Internal("SQL: unknown plan of a scan over an index");
  return &found->second;
}

Result<std::unique_ptr<EntryScan>> CollectionCursor::MakeEntryScan(const FieldScanPlan& plan,
                                                                   std::vector<KeyRange> ranges) {
  const FieldIndexDefinition* index = definition_->FindFieldIndex(plan.index_id);
  if (!plan.is_predictive) {
    return std::unique_ptr<EntryScan>(
        std::make_unique<FieldScanCursor>(*view_, *definition_, *index, plan, std::move(ranges)));
  }
  const auto source = [this, index_id = plan.index_id] {
    return table_.session.Predictions().Rows(*view_, *definition_, index_id, write_count());
  };
  FORESHORE_ASSIGN_OR_RETURN(const auto rows, source());
  std::unique_ptr<FieldScanCursor> stored;
  if (!rows->ReplacesAll()) {
    stored = std::make_unique<FieldScanCursor>(*view_, *definition_, *index, plan, ranges);
  }
  return std::unique_ptr<EntryScan>(
      std::make_unique<PredictedScan>(std::move(stored), source, std::move(ranges), plan.descending));
}

Status CollectionCursor::StartField(std::string_view text, sqlite3_value** arguments) {
  FORESHORE_ASSIGN_OR_RETURN(const FieldScanPlan* plan, FindFieldScan(text));
  field_terms_ = FieldTerms(*plan, arguments);
  const FieldIndexDefinition* index = definition_->FindFieldIndex(plan->index_id);
  if (plan->is_predictive) {
    FORESHORE_ASSIGN_OR_RETURN(const auto* predictive, table_.session.Predictions().Find(*definition_, plan->index_id));
    index = &predictive->field;
  }
  // The plan is of another version of the catalogue than the snapshot.
  if (index == nullptr || !index->is_ready) return StartWithoutIndex(*plan);
  tests_documents_ = field_terms_.needs_documents();
  field_parts_.assign(table_.columns.size(), -1);
  for (std::size_t column = 0; column < table_.columns.size(); ++column) {
    const std::string& path = table_.columns[column].path;
    for (std::size_t part = 0; part < index->paths.size() && !path.empty(); ++part) {
      const IndexedPath& indexed = index->paths[part];
      if (!indexed.is_each_element && indexed.path == path) field_parts_[column] = static_cast<int>(part);
    }
  }
  FORESHORE_ASSIGN_OR_RETURN(auto ranges, RangesOf(*plan, arguments));
  FORESHORE_ASSIGN_OR_RETURN(field_scan_, MakeEntryScan(*plan, std::move(ranges)));
  return NextField();
}

// Only the order has to be made, and the terms tested that SQLite leaves to the scan.
Status CollectionCursor::StartWithoutIndex(const FieldScanPlan& plan) {
  tests_documents_ = !field_terms_.empty();
  if (!plan.in_order) return StartFull();
  const CollectionDefinition* planned = table_.session.declared->FindById(table_.collection_id);
  const FieldIndexDefinition* index = planned ? planned->FindFieldIndex(plan.index_id) : nullptr;
  if (index == nullptr) {
    return Status::Conflict("collection \"" + table_.name +
                            "\": an index was dropped while the statement began, expected it: run it again");
  }
  std::vector<std::pair<ByteString, std::int64_t>> order;
  std::string buffer;
  FORESHORE_ASSIGN_OR_RETURN(const auto documents, view_->Scan(*definition_));
  while (true) {
    FORESHORE_ASSIGN_OR_RETURN(const bool more, documents->Next());
    if (!more) break;
    auto& [key, docid] = order.emplace_back(ByteString(), documents->docid());
    for (const IndexedPath& path : index->paths) {
      if (!path.is_each_element) AppendWholeTokenKey(key, FindValue(documents->body(), path.path), buffer);
    }
  }
  std::sort(order.begin(), order.end());
  if (!plan.descending) std::reverse(order.begin(), order.end());
  for (const auto& [key, docid] : order) sorted_.push_back(docid);
  return NextSorted();
}

Status CollectionCursor::NextSorted() {
  for (at_end_ = true; at_end_ && !sorted_.empty();) {
    const std::int64_t docid = sorted_.back();
    sorted_.pop_back();
    FORESHORE_RETURN_IF_ERROR(StandOn(docid));
    if (!at_end_ && !Passes()) at_end_ = true;
  }
  return Status::Ok();
}

Status CollectionCursor::NextField() {
  const bool written = was_written();
  if (written) seen_write_count_ = write_count();
  FORESHORE_ASSIGN_OR_RETURN(bool found, field_scan_->Next(written));
  // Expired documents keep their entries, and a text that is cut in its key does not decide a term.
  const bool reads_documents = tests_documents_ || !definition_->expiry_field.empty();
  for (int skipped_count = 1; found && reads_documents; ++skipped_count) {
    FORESHORE_RETURN_IF_ERROR(StandOn(field_scan_->docid()));
    if (!at_end_ && Passes()) return Status::Ok();
    if (skipped_count % 256 == 0) FORESHORE_RETURN_IF_ERROR(table_.session.Check());
    FORESHORE_ASSIGN_OR_RETURN(found, field_scan_->Next(false));
  }
  at_end_ = !found;
  if (!found) return Status::Ok();
  docid_ = field_scan_->docid();
  has_document_ = false;  // Read when a column asks for what the index does not have.
  has_fields_ = false;
  return Status::Ok();
}

// Among what the filter's scan of a secondary index finds; of all neighbours where this snapshot does not have the
// index, as SQLite tests the terms anyway.
Result<std::unique_ptr<NeighbourCursor>> CollectionCursor::NearestAmong(const VectorIndexDefinition& index,
                                                                        std::vector<float> query,
                                                                        const NeighbourOptions& options,
                                                                        std::string_view text,
                                                                        sqlite3_value** arguments) {
  FORESHORE_ASSIGN_OR_RETURN(const FieldScanPlan* plan, FindFieldScan(text));
  const FieldIndexDefinition* field_index = definition_->FindFieldIndex(plan->index_id);
  if (field_index == nullptr || !field_index->is_ready) return view_->Nearest(index, query, options);
  FORESHORE_ASSIGN_OR_RETURN(auto ranges, RangesOf(*plan, arguments));
  NearestFilterKey key{plan->index_id, view_->sequence(), ranges};
  NearestScan::Request request;
  request.index = &index;
  request.query = std::move(query);
  request.options = options;
  // A transaction's own writes are in no sequence, and nor are the weights that a statement predicts by.
  request.filter =
      can_be_written() || plan->is_predictive ? std::make_shared<NearestFilter>() : table_.nearest_filters.Of(key);
  request.expected_count = plan->nearest_count;
  request.vector_count = table_.session.core.VectorCount(index);
  request.gather = [this, plan, ranges](std::size_t count_max) { return GatherDocids(*plan, ranges, count_max); };
  FORESHORE_ASSIGN_OR_RETURN(auto scan, NearestScan::Start(*view_, std::move(request)));
  return std::unique_ptr<NeighbourCursor>(std::move(scan));
}

Result<std::optional<std::vector<std::int64_t>>> CollectionCursor::GatherDocids(const FieldScanPlan& plan,
                                                                                std::vector<KeyRange> ranges,
                                                                                std::size_t count_max) {
  std::optional<std::vector<std::int64_t>> docids;
  FORESHORE_ASSIGN_OR_RETURN(const auto scan, MakeEntryScan(plan, std::move(ranges)));
  docids.emplace();
  while (true) {
    FORESHORE_ASSIGN_OR_RETURN(const bool found, scan->Next(false));
    if (!found) break;
    if (docids->size() % 256 == 0) FORESHORE_RETURN_IF_ERROR(table_.session.Check());
    if (docids->size() >= count_max) return std::optional<std::vector<std::int64_t>>();
    docids->push_back(scan->docid());
  }
  return docids;
}

Status CollectionCursor::StartNearest(const ScanPlan& plan, std::string_view text, sqlite3_value** arguments) {
  const TableColumn* column = nullptr;
  int vector_number = 0;
  for (const TableColumn& candidate : table_.columns) {
    if (candidate.kind != ColumnKind::kVector) continue;
    if (vector_number++ == plan.vector_number) column = &candidate;
  }
  const VectorIndexDefinition* index = column ? table_.FindIndex(*definition_, *column) : nullptr;
  if (index == nullptr) {
    return Status::NotFound("collection \"" + table_.name +
                            "\": the vector field of MATCH does not exist in this snapshot");
  }
  if (sqlite3_value_type(arguments[0]) == SQLITE_NULL) return Status::Ok();
  if (sqlite3_value_type(arguments[0]) == SQLITE_BLOB &&
      IsHybridQuery(
          AsBytes(sqlite3_value_blob(arguments[0]), static_cast<std::size_t>(sqlite3_value_bytes(arguments[0]))))) {
    return Status::InvalidArgument(
        "collection \"" + table_.name +
        "\": hybrid() is for MATCH on the collection's own name, found it on vector field \"" + column->name + "\"");
  }
  FORESHORE_ASSIGN_OR_RETURN(const auto query,
                             VectorFromValue(arguments[0], "MATCH on \"" + table_.name + "." + column->name + "\""));
  if (plan.has_id) {
    FORESHORE_RETURN_IF_ERROR(MeasureListed(*index, query, plan.id_is_list, arguments[1]));
    at_end_ = false;
    return Next();
  }
  NeighbourOptions options;
  int next_argument = 1;
  remaining_ = INT64_MAX;
  if (plan.has_count) {
    FORESHORE_RETURN_IF_ERROR(SetCount(arguments[next_argument++]));
    options.k_hint = static_cast<std::size_t>(std::min<std::int64_t>(count_, 100'000));
  }
  if (plan.has_bound) {
    sqlite3_value* bound = arguments[next_argument++];
    // A number is less than any text or blob, so that those bound nothing.
    const int type = sqlite3_value_type(bound);
    if (type == SQLITE_INTEGER || type == SQLITE_FLOAT) options.distance_max = sqlite3_value_double(bound);
  }
  if (plan.has_filter) {
    FORESHORE_ASSIGN_OR_RETURN(nearest_, NearestAmong(*index, query, options, text, arguments + next_argument));
  } else {
    FORESHORE_ASSIGN_OR_RETURN(nearest_, view_->Nearest(*index, query, options));
  }
  at_end_ = false;
  return Next();
}

Status CollectionCursor::SetCount(sqlite3_value* value) {
  count_ = sqlite3_value_int64(value);
  if (sqlite3_value_type(value) != SQLITE_INTEGER || count_ < 1) {
    return Status::InvalidArgument("collection \"" + table_.name + "\": k is " +
                                   (TextOf(value).empty() ? "NULL" : std::string(TextOf(value))) +
                                   ", expected a whole number from 1");
  }
  remaining_ = count_;
  return Status::Ok();
}

Status CollectionCursor::StartText(const ScanPlan& plan, sqlite3_value** arguments) {
  int next_argument = 0;
  sqlite3_value* query = arguments[next_argument++];
  if (sqlite3_value_type(query) == SQLITE_NULL) return Status::Ok();
  TextScanRequest request;
  if (sqlite3_value_type(query) == SQLITE_BLOB) {
    const Bytes blob = AsBytes(sqlite3_value_blob(query), static_cast<std::size_t>(sqlite3_value_bytes(query)));
    if (!IsHybridQuery(blob)) {
      return Status::InvalidArgument("collection \"" + table_.name +
                                     "\": MATCH with a blob, expected a text query or hybrid(text, vector)");
    }
    if (plan.by_rank) {
      return Status::InvalidArgument("collection \"" + table_.name +
                                     "\": hybrid() with ORDER BY rank, expected ORDER BY score DESC");
    }
    FORESHORE_ASSIGN_OR_RETURN(request.hybrid, DecodeHybridQuery(blob));
    request.match = request.hybrid->match;
  } else {
    request.match = TextOf(query);
  }
  if (plan.vector_number > 0) request.column = table_.columns[static_cast<std::size_t>(plan.vector_number)].name;
  if (plan.has_rank) request.rank = TextOf(arguments[next_argument++]);
  request.is_ordered = plan.best_first;
  request.with_rank = plan.reads_rank;
  remaining_ = INT64_MAX;
  if (plan.has_count) FORESHORE_RETURN_IF_ERROR(SetCount(arguments[next_argument++]));
  if (plan.has_id) {
    request.docids.emplace();
    FORESHORE_RETURN_IF_ERROR(VisitIds(plan.id_is_list, arguments[next_argument], [&](std::int64_t docid) {
      request.docids->insert(docid);
      return Status::Ok();
    }));
  }
  FORESHORE_ASSIGN_OR_RETURN(text_, TextScan::Start(*view_, *definition_, std::move(request)));
  if (text_number_ == 0) {
    text_number_ = ++table_.session.last_text_cursor;
    table_.session.text_cursors[text_number_] = this;
  }
  at_end_ = false;
  return NextText();
}

Status CollectionCursor::NextText() {
  std::optional<TextRow> row;
  if (remaining_ > 0) {
    FORESHORE_ASSIGN_OR_RETURN(row, text_->Next());
    --remaining_;
  }
  at_end_ = !row.has_value();
  if (at_end_) return Status::Ok();
  text_row_ = *row;
  docid_ = row->docid;
  has_document_ = false;
  has_fields_ = false;
  return Status::Ok();
}

Status CollectionCursor::VisitIds(bool is_list, sqlite3_value* ids, const std::function<Status(std::int64_t)>& visit) {
  const auto visit_one = [&](sqlite3_value* value) -> Status {
    const auto id = IdOf(value);
    if (!id) return Status::Ok();
    FORESHORE_ASSIGN_OR_RETURN(const auto docid, view_->FindDocid(*definition_, *id));
    return docid ? visit(*docid) : Status::Ok();
  };
  if (!is_list) return visit_one(ids);
  sqlite3_value* value = nullptr;
  int code = sqlite3_vtab_in_first(ids, &value);
  for (; code == SQLITE_OK && value != nullptr; code = sqlite3_vtab_in_next(ids, &value)) {
    FORESHORE_RETURN_IF_ERROR(visit_one(value));
  }
  if (code != SQLITE_OK && code != SQLITE_DONE) return Status::Internal("SQL: the list of ids cannot be read");
  return Status::Ok();
}

// The distances come from the same place as the index's own, so that a row has one distance whatever the plan.
Status CollectionCursor::MeasureListed(const VectorIndexDefinition& index, std::span<const float> query, bool is_list,
                                       sqlite3_value* ids) {
  auto prepared = VectorQuery::Prepare(index.options.metric, index.options.dimension, query);
  if (!prepared.ok()) return prepared.status().WithContext("vector index \"" + index.name + "\"");
  VectorReader vectors(view_->txn(), index);
  const Status measured = VisitIds(is_list, ids, [&](std::int64_t docid) -> Status {
    FORESHORE_RETURN_IF_ERROR(table_.session.Check());
    if (!definition_->expiry_field.empty()) {
      FORESHORE_ASSIGN_OR_RETURN(const auto document, view_->GetByDocid(*definition_, docid));
      if (!document) return Status::Ok();
    }
    FORESHORE_ASSIGN_OR_RETURN(const auto stored_bytes, vectors.Get(docid));
    if (!stored_bytes) return Status::Ok();
    FORESHORE_ASSIGN_OR_RETURN(const StoredVector stored, DecodeStoredVector(*stored_bytes));
    FORESHORE_ASSIGN_OR_RETURN(const double distance, NearestRecord(*prepared, stored));
    measured_.push_back({docid, distance});
    return Status::Ok();
  });
  if (!measured.ok()) return measured;
  std::sort(measured_.begin(), measured_.end(),
            [](const Neighbour& a, const Neighbour& b) { return a.distance > b.distance; });
  return Status::Ok();
}

Status CollectionCursor::StartIdOrder(const ScanPlan& plan, sqlite3_value** arguments) {
  id_lower_.reset();
  id_upper_.reset();
  int next_argument = 0;
  // SQLite tests the bounds again; here they only say where to begin and end. Text sorts before every blob.
  if (plan.has_lower) {
    sqlite3_value* bound = arguments[next_argument++];
    id_lower_ = IdOf(bound);
    if (!id_lower_) return Status::Ok();
  }
  if (plan.has_upper) {
    sqlite3_value* bound = arguments[next_argument++];
    if (sqlite3_value_type(bound) == SQLITE_NULL) return Status::Ok();
    id_upper_ = IdOf(bound);
  }
  FORESHORE_ASSIGN_OR_RETURN(ids_, view_->txn().NewCursor(definition_->ids));
  if (!plan.descending) {
    FORESHORE_RETURN_IF_ERROR(id_lower_ ? ids_->Seek(Bytes(*id_lower_)) : ids_->SeekFirst());
  } else {
    FORESHORE_RETURN_IF_ERROR(id_upper_ ? ids_->SeekBackward(Bytes(*id_upper_)) : ids_->SeekLast());
  }
  at_end_ = false;
  return NextInIdOrder();
}

// Stands on the document of the present entry or the first one behind it that is alive.
Status CollectionCursor::NextInIdOrder() {
  bool found = false;
  for (int skipped_count = 1; !found; ++skipped_count) {
    if (skipped_count % 256 == 0) FORESHORE_RETURN_IF_ERROR(table_.session.Check());
    if (!ids_->valid()) {
      at_end_ = true;
      return Status::Ok();
    }
    const Bytes id = ids_->bytes_key();
    if (plan_.descending ? (id_lower_ && id < *id_lower_) : (id_upper_ && id > *id_upper_)) {
      at_end_ = true;
      return Status::Ok();
    }
    FORESHORE_RETURN_IF_ERROR(ReadIdOrderEntry(found));
    if (!found) FORESHORE_RETURN_IF_ERROR(plan_.descending ? ids_->Previous() : ids_->Next());
  }
  return Status::Ok();
}

Status CollectionCursor::ReadIdOrderEntry(bool& found) {
  if (ids_->value().size() != sizeof(std::int64_t)) {
    return Status::Corruption("collection \"" + table_.name + "\": an id's entry has " +
                              std::to_string(ids_->value().size()) + " bytes, expected 8");
  }
  FORESHORE_RETURN_IF_ERROR(StandOn(LoadFixed<std::int64_t>(ids_->value().data())));
  found = !at_end_;
  at_end_ = false;
  return Status::Ok();
}

Status CollectionCursor::MoveIdOrder() {
  if (was_written()) {
    seen_write_count_ = write_count();
    const std::string id(id_);
    FORESHORE_RETURN_IF_ERROR(plan_.descending ? ids_->SeekBackward(Bytes(id)) : ids_->Seek(Bytes(id)));
    if (!ids_->valid() || ids_->bytes_key() != id) return NextInIdOrder();
  }
  FORESHORE_RETURN_IF_ERROR(plan_.descending ? ids_->Previous() : ids_->Next());
  return NextInIdOrder();
}

void CollectionCursor::PredictAhead(int column, const std::string& model_name,
                                    const std::shared_ptr<NumberModel>& model) {
  if (!scan_ || can_be_written()) return;
  if (!window_) {
    window_ = std::make_unique<RowWindow>();
    // The row that the scan stands on must outlive the scan's moves; predict() is at it now.
    copy_.assign(id_);
    copy_.append(body_);
    const std::size_t id_bytes = id_.size();
    SetRow(docid_, std::string_view(copy_).substr(0, id_bytes), std::string_view(copy_).substr(id_bytes));
  }
  if (window_->FeedOf(column, model_name) != nullptr) return;
  window_->feeds().push_back(std::make_unique<PredictFeed>(model_name, model, column));
}

const std::string* CollectionCursor::Predicted(int column, std::string_view model_name) {
  PredictFeed* feed = window_ && !window_->rows().empty() ? window_->FeedOf(column, model_name) : nullptr;
  return feed != nullptr ? feed->ResultOf(window_->at()) : nullptr;
}

std::string_view CollectionCursor::FieldToken(const TableColumn& column) {
  if (column.kind == ColumnKind::kPath) return FindValue(body_, column.path);
  if (!has_fields_) {
    fields_->SetBody(body_);
    has_fields_ = true;
  }
  return fields_->Find(static_cast<std::size_t>(column.field_number));
}

// The tokens of the window's rows to those who predict from them.
void CollectionCursor::FillFeeds() {
  auto& feeds = window_->feeds();
  for (const auto& feed : feeds) feed->Begin();
  for (const RowWindow::Row& row : window_->rows()) {
    SetRow(row.docid, row.id, row.body);
    for (const auto& feed : feeds) {
      if (feed->is_on()) feed->AddRow(FieldToken(table_.columns[static_cast<std::size_t>(feed->column())]));
    }
  }
  for (const auto& feed : feeds) feed->Run(table_.session.core.models().costs(), &table_.session);
}

Status CollectionCursor::NextAhead() {
  if (!window_->Next()) {
    FORESHORE_ASSIGN_OR_RETURN(const bool found, window_->Fill(*scan_));
    at_end_ = !found;
    if (!found) return Status::Ok();
    FillFeeds();
  }
  const RowWindow::Row& row = window_->rows()[window_->at()];
  SetRow(row.docid, row.id, row.body);
  return Status::Ok();
}

Status CollectionCursor::NextScanned() {
  if (window_) return NextAhead();
  if (was_written()) {
    seen_write_count_ = write_count();
    FORESHORE_ASSIGN_OR_RETURN(scan_, view_->Scan(*definition_, docid_ + 1));
  }
  FORESHORE_ASSIGN_OR_RETURN(const bool found, scan_->Next());
  at_end_ = !found;
  if (!found) return Status::Ok();
  // Bytes of a store cursor do not outlive a write.
  if (!can_be_written()) {
    SetRow(scan_->docid(), scan_->id(), scan_->body());
    return Status::Ok();
  }
  const std::size_t id_bytes = scan_->id().size();
  copy_.assign(scan_->id());
  copy_.append(scan_->body());
  SetRow(scan_->docid(), std::string_view(copy_).substr(0, id_bytes), std::string_view(copy_).substr(id_bytes));
  return Status::Ok();
}

Status CollectionCursor::Next() {
  if (only_) return NextListed();
  if (scan_) {
    FORESHORE_RETURN_IF_ERROR(NextScanned());
    for (int skipped_count = 1; !at_end_ && !Passes(); ++skipped_count) {
      if (skipped_count % 256 == 0) FORESHORE_RETURN_IF_ERROR(table_.session.Check());
      FORESHORE_RETURN_IF_ERROR(NextScanned());
    }
    return Status::Ok();
  }
  if (field_scan_) return NextField();
  if (plan_.kind == ScanKind::kField) return NextSorted();
  if (text_) return NextText();
  if (ids_) return MoveIdOrder();
  std::optional<Neighbour> neighbour;
  if (plan_.kind == ScanKind::kNearest && !nearest_) {
    if (!measured_.empty()) {
      neighbour = measured_.back();
      measured_.pop_back();
    }
  } else if (nearest_ && remaining_ > 0) {
    FORESHORE_ASSIGN_OR_RETURN(neighbour, nearest_->Next());
    --remaining_;
  }
  at_end_ = !neighbour.has_value();
  if (at_end_) return Status::Ok();
  docid_ = neighbour->docid;
  distance_ = neighbour->distance;
  has_document_ = false;  // Read when a column asks for it: terms on distance alone need no document.
  has_fields_ = false;
  return Status::Ok();
}

Status CollectionCursor::EnsureDocument() {
  if (has_document_) return Status::Ok();
  FORESHORE_RETURN_IF_ERROR(StandOn(docid_));
  if (!at_end_) return Status::Ok();
  at_end_ = false;
  // A statement of the same transaction may have deleted it since the search began.
  if (was_written()) {
    SetRow(docid_, {}, {});
    return Status::Ok();
  }
  return Status::Corruption("collection \"" + table_.name + "\": an index names document " + std::to_string(docid_) +
                            ", which is not there");
}

Status CollectionCursor::VectorColumn(sqlite3_context* context, const TableColumn& column) {
  const VectorIndexDefinition* index = table_.FindIndex(*definition_, column);
  if (index == nullptr) return Status::Ok();
  if (!index->has_model()) {
    FORESHORE_RETURN_IF_ERROR(EnsureDocument());
    SetResultFromJson(context, FindValue(body_, index->paths.empty() ? "" : index->paths[0]));
    return Status::Ok();
  }
  FORESHORE_ASSIGN_OR_RETURN(const auto stored_bytes, view_->txn().Get(index->vectors, docid_));
  if (!stored_bytes) return Status::Ok();
  FORESHORE_ASSIGN_OR_RETURN(const StoredVector stored, DecodeStoredVector(*stored_bytes));
  FORESHORE_ASSIGN_OR_RETURN(const VectorRecord record,
                             DecodeVectorRecord(stored.records[0], index->options.dimension));
  std::vector<float> vector(record.codes.size());
  DequantizeVector(record, vector);
  const ByteString blob = BlobFromVector(vector);
  sqlite3_result_blob64(context, blob.data(), blob.size(), SQLITE_TRANSIENT);
  return Status::Ok();
}

Status CollectionCursor::PredictedColumn(sqlite3_context* context, const TableColumn& column) {
  FORESHORE_RETURN_IF_ERROR(EnsureDocument());
  if (id_.empty()) return Status::Ok();  // Deleted meanwhile.
  FORESHORE_ASSIGN_OR_RETURN(
      const std::string_view token,
      table_.session.Predictions().Token(*view_, *definition_, column.index_id, docid_, body_,
                                         plan_.kind == ScanKind::kFull && only_ == nullptr, write_count()));
  SetResultFromJson(context, token);
  return Status::Ok();
}

std::string_view CollectionCursor::TokenOf(const TableColumn& column, int number) {
  if (window_ && !window_->rows().empty()) {
    for (const auto& feed : window_->feeds()) {
      if (feed->column() == number && feed->HasRow(window_->at())) return feed->TokenOf(window_->at());
    }
  }
  return FieldToken(column);
}

Status CollectionCursor::Column(sqlite3_context* context, const TableColumn& column) {
  // An UPDATE that leaves the column alone: xUpdate sees that and keeps what is there, type and all.
  if (table_.session.running->writes && sqlite3_vtab_nochange(context)) return Status::Ok();
  if (field_scan_ && (!has_document_ || column.kind == ColumnKind::kPredicted)) {
    const int part = field_parts_[static_cast<std::size_t>(&column - table_.columns.data())];
    if (part >= 0 && field_scan_->Column(context, static_cast<std::size_t>(part))) return Status::Ok();
  }
  const auto set_text = [&](std::string_view text) {
    sqlite3_result_text64(context, text.data(), text.size(), SQLITE_TRANSIENT, SQLITE_UTF8);
  };
  switch (column.kind) {
    case ColumnKind::kDistance:
      if (plan_.kind == ScanKind::kNearest) sqlite3_result_double(context, distance_);
      if (plan_.kind == ScanKind::kText && text_row_.distance) sqlite3_result_double(context, *text_row_.distance);
      return Status::Ok();
    case ColumnKind::kRank:
      if (plan_.kind == ScanKind::kText && text_row_.rank) sqlite3_result_double(context, *text_row_.rank);
      return Status::Ok();
    case ColumnKind::kScore:
      if (plan_.kind == ScanKind::kText && text_row_.score) sqlite3_result_double(context, *text_row_.score);
      return Status::Ok();
    case ColumnKind::kNearestCount:
      if (plan_.has_count) sqlite3_result_int64(context, count_);
      return Status::Ok();
    case ColumnKind::kFullText:
      // A number in a pointer's clothes: it reads as NULL, and nobody can make one up.
      if (text_) sqlite3_result_pointer(context, reinterpret_cast<void*>(text_number_), kTextCursorPointer, nullptr);
      return Status::Ok();
    case ColumnKind::kVector:
      if (column.field_number < 0) return VectorColumn(context, column);
      break;
    case ColumnKind::kPredicted: return PredictedColumn(context, column);
    default: break;
  }
  FORESHORE_RETURN_IF_ERROR(EnsureDocument());
  if (id_.empty()) return Status::Ok();  // Deleted meanwhile.
  if (column.kind == ColumnKind::kId) {
    set_text(id_);
    return Status::Ok();
  }
  if (column.kind == ColumnKind::kBody) {
    set_text(body_);
    sqlite3_result_subtype(context, kJsonSubtype);
    return Status::Ok();
  }
  const auto number = static_cast<int>(&column - table_.columns.data());
  const std::string_view token = TokenOf(column, number);
  if (token.starts_with('[')) table_.session.last_array = {this, number, token};
  SetResultFromJson(context, token);
  return Status::Ok();
}

namespace {

CollectionCursor& CursorOf(sqlite3_vtab_cursor* base) {
  return *static_cast<CollectionCursor*>(base);
}

int CodeOf(CollectionCursor& cursor, const Status& status) {
  return status.ok() ? SQLITE_OK : cursor.table().Fail(status);
}

int OpenCursor(sqlite3_vtab* table, sqlite3_vtab_cursor** cursor) {
  *cursor = new CollectionCursor(*static_cast<CollectionTable*>(table));
  return SQLITE_OK;
}

int CloseCursor(sqlite3_vtab_cursor* cursor) {
  delete &CursorOf(cursor);
  return SQLITE_OK;
}

int FilterCursor(sqlite3_vtab_cursor* base, int plan, const char* text, int /*argument_count*/,
                 sqlite3_value** arguments) {
  CollectionCursor& cursor = CursorOf(base);
  return CodeOf(cursor, cursor.Filter(ScanPlan::Decode(plan), text ? text : "", arguments));
}

int NextOfCursor(sqlite3_vtab_cursor* base) {
  CollectionCursor& cursor = CursorOf(base);
  return CodeOf(cursor, cursor.Next());
}

int CursorAtEnd(sqlite3_vtab_cursor* base) {
  return CursorOf(base).at_end() ? 1 : 0;
}

int ColumnOfCursor(sqlite3_vtab_cursor* base, sqlite3_context* context, int number) {
  CollectionCursor& cursor = CursorOf(base);
  const Status status = cursor.Column(context, cursor.table().columns[static_cast<std::size_t>(number)]);
  if (status.ok()) return SQLITE_OK;
  cursor.table().session.FailFunction(context, status);
  return SQLITE_ERROR;
}

int RowidOfCursor(sqlite3_vtab_cursor* base, sqlite3_int64* rowid) {
  *rowid = CursorOf(base).docid();
  return SQLITE_OK;
}

}  // namespace

void SetCursorFunctions(sqlite3_module& module) {
  module.xOpen = SqliteCallback<&OpenCursor>;
  module.xClose = SqliteCallback<&CloseCursor>;
  module.xFilter = SqliteCallback<&FilterCursor>;
  module.xNext = SqliteCallback<&NextOfCursor>;
  module.xEof = SqliteCallback<&CursorAtEnd>;
  module.xColumn = SqliteCallback<&ColumnOfCursor>;
  module.xRowid = SqliteCallback<&RowidOfCursor>;
}

}  // namespace foreshore
