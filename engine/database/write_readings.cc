// How a writing transaction deals with collections of readings.
#include "engine/database/core.h"
#include "engine/document/json.h"

namespace foreshore {
namespace {

Status Missing(const CollectionDefinition& collection, std::string_view id) {
  return Status::NotFound("collection \"" + collection.name + "\": reading \"" + std::string(id) + "\" does not exist");
}

// The largest time that a retention lets go, in the collection's unit.
std::int64_t LastExpired(const CollectionOptions& options, std::int64_t now_unix_ms) {
  const std::int64_t cut_ms = now_unix_ms - options.retention_ms;
  switch (options.time_unit) {
    case TimeUnit::kSeconds: return cut_ms / 1000 - 1;
    case TimeUnit::kMilliseconds: return cut_ms - 1;
    case TimeUnit::kMicroseconds: return cut_ms * 1000 - 1;
    case TimeUnit::kNanoseconds: return cut_ms * 1'000'000 - 1;
  }
  return INT64_MIN;
}

}  // namespace

Result<ReadingsWriter*> WriteView::ReadingsOf(const CollectionDefinition& collection) {
  std::unique_ptr<ReadingsWriter>& writer = readings_[collection.id];
  if (writer == nullptr) {
    const auto known = core_.readings_.find(collection.id);
    auto begun =
        ReadingsWriter::Begin(*write_txn_, collection, known == core_.readings_.end() ? nullptr : &known->second);
    if (!begun.ok()) {
      readings_.erase(collection.id);
      return Fail(begun.status());
    }
    writer = std::move(begun).value();
  }
  return writer.get();
}

Status WriteView::PutReading(const CollectionDefinition& collection, std::string_view given_id, std::string_view json,
                             std::string* id) {
  if (finished_) return Status::Cancelled("transaction: already ended, expected an open one");
  FORESHORE_ASSIGN_OR_RETURN(const std::string body, NormaliseDocument(json));
  std::vector<ReadingId> ids;
  if (!given_id.empty()) {
    ids = ParseReadingId(given_id);
    if (ids.empty()) {
      return Status::InvalidArgument("collection \"" + collection.name + "\": id \"" + std::string(given_id) +
                                     "\", expected none or one that was made here: ids of readings say series, time "
                                     "and number");
    }
  }
  FORESHORE_ASSIGN_OR_RETURN(ReadingsWriter * writer, ReadingsOf(collection));
  bool is_new_shape = false;
  Status put;
  for (std::size_t i = 0; i == 0 || i < ids.size(); ++i) {
    put = writer->Put(body, ids.empty() ? std::nullopt : std::optional<ReadingId>(ids[i]), id, &is_new_shape);
    if (put.code() != ErrorCode::kInvalidArgument) break;
  }
  if (!put.ok()) return put.code() == ErrorCode::kInvalidArgument || put.code() == ErrorCode::kLimit ? put : Fail(put);
  if (is_new_shape) NoteFields(collection, body);
  wrote_ = true;
  ++changed_count_;
  return Status::Ok();
}

Status WriteView::DeleteReading(const CollectionDefinition& collection, std::string_view id) {
  FORESHORE_ASSIGN_OR_RETURN(ReadingsWriter * writer, ReadingsOf(collection));
  for (const ReadingId& wanted : ParseReadingId(id)) {
    const auto removed = writer->Remove(
        {.series = wanted.series, .time_min = wanted.time, .time_max = wanted.time, .number = wanted.number});
    if (!removed.ok()) return Fail(removed.status());
    if (*removed == 0) continue;
    wrote_ = true;
    ++changed_count_;
    return Status::Ok();
  }
  return Missing(collection, id);
}

Result<std::uint64_t> WriteView::DeleteReadings(const CollectionDefinition& collection, const ReadingRange& range) {
  if (finished_) return Status::Cancelled("transaction: already ended, expected an open one");
  if (!collection.is_readings()) {
    return Status::InvalidArgument("collection \"" + collection.name + "\": holds documents, expected readings");
  }
  if (range.to <= range.from) return std::uint64_t{0};
  FORESHORE_ASSIGN_OR_RETURN(ReadingsWriter * writer, ReadingsOf(collection));
  ReadingsFilter filter;
  filter.time_min = range.from;
  filter.time_max = range.to == INT64_MAX ? INT64_MAX : range.to - 1;
  std::uint64_t total = 0;
  std::vector<std::optional<std::string>> series = {std::nullopt};
  if (!range.series.empty()) {
    series = {"\"" + range.series + "\""};
    // A series that is named by a number.
    if (range.series.find_first_not_of("-0123456789") == std::string::npos) series.emplace_back(range.series);
  }
  for (const auto& one : series) {
    filter.series = one;
    const auto removed = writer->Remove(filter);
    if (!removed.ok()) return Fail(removed.status());
    total += *removed;
  }
  if (total > 0) wrote_ = true;
  changed_count_ += static_cast<std::int64_t>(total);
  return total;
}

Status WriteView::FlushReadings(const CollectionDefinition& collection) {
  const auto found = readings_.find(collection.id);
  return found == readings_.end() ? Status::Ok() : Fail(found->second->Flush());
}

Status WriteView::FinishReadings() {
  for (const auto& [collection_id, writer] : readings_) {
    FORESHORE_RETURN_IF_ERROR(Fail(writer->Flush()));
    if (!writer->has_flushed()) continue;
    const auto sealed = writer->SealWhereLong();
    if (!sealed.ok()) return Fail(sealed.status());
    const CollectionDefinition* collection = catalog_->FindById(collection_id);
    if (*sealed && collection != nullptr && collection->options.retention_ms > 0) {
      ReadingsFilter expired;
      expired.time_max = LastExpired(collection->options, core_.clock().NowUnixMs());
      FORESHORE_RETURN_IF_ERROR(Fail(writer->Remove(expired).status()));
    }
    Change change;
    change.kind = ChangeKind::kReadings;
    change.collection_id = collection_id;
    change.docid = writer->last_record();
    changes_.push_back(change);
    wrote_ = true;
  }
  return Status::Ok();
}

Status DatabaseCore::DropExpiredReadings() {
  const auto present = catalog();
  for (const CollectionDefinition& collection : present->collections) {
    if (!collection.is_readings() || collection.options.retention_ms == 0) continue;
    FORESHORE_ASSIGN_OR_RETURN(const auto view, BeginWrite());
    const std::int64_t last = LastExpired(collection.options, clock_->NowUnixMs());
    FORESHORE_ASSIGN_OR_RETURN(const std::uint64_t count,
                               view->DeleteReadings(collection, {.series = {}, .from = INT64_MIN, .to = last + 1}));
    if (count > 0) FORESHORE_RETURN_IF_ERROR(view->Commit());
  }
  return Status::Ok();
}

}  // namespace foreshore
