// Writing readings: gathering, sealing, removing, checking.
#include <algorithm>
#include <set>

#include "engine/database/readings.h"
#include "engine/database/readings_keys.h"
#include "engine/document/json.h"

namespace foreshore {
namespace {

// A record of the tail ends here.
constexpr std::size_t kBufferReadingsMax = 1 << 16;
constexpr std::size_t kBufferBytesMax = 4 << 20;
// A tail is sealed when it has so many readings (a reader looks through all of it) or records.
constexpr std::uint64_t kTailReadingsMax = 1 << 17;
constexpr std::uint64_t kTailRecordsMax = 512;
constexpr std::size_t kSealedReadingsMax = 1024;

std::string JsonKey(const std::string& name) {
  std::string key;
  if (!name.empty()) AppendJsonString(key, name);
  return key;
}

Status Damaged(const CollectionDefinition& collection, const std::string& what) {
  return Status::Corruption("collection \"" + collection.name + "\": " + what);
}

std::uint64_t CountOf(const ReadingRecordView& record) {
  std::uint64_t count = 0;
  for (const ReadingRunView& run : record.runs) count += run.count;
  return count;
}

}  // namespace

ReadingRecordBuilder MakeReadingBuilder(const CollectionDefinition& collection) {
  return {JsonKey(collection.options.time_field), JsonKey(collection.options.series_field)};
}

ReadingsWriter::ReadingsWriter(WriteTxn& txn, const CollectionDefinition& collection)
    : txn_(txn), collection_(collection), builder_(MakeReadingBuilder(collection)) {}

Result<std::unique_ptr<ReadingsWriter>> ReadingsWriter::Begin(WriteTxn& txn, const CollectionDefinition& collection,
                                                              const ReadingsState* known) {
  std::unique_ptr<ReadingsWriter> writer(new ReadingsWriter(txn, collection));
  if (known != nullptr) {
    writer->state_ = *known;
  } else {
    FORESHORE_RETURN_IF_ERROR(writer->LoadState());
  }
  return writer;
}

Status ReadingsWriter::LoadState() {
  FORESHORE_ASSIGN_OR_RETURN(const auto stored, txn_.Get(collection_.ids, Bytes(&kNumberEntry, 1)));
  if (stored) state_.next_number = static_cast<std::int64_t>(ByteReader(*stored).VarintAtMost(INT64_MAX));
  {
    FORESHORE_ASSIGN_OR_RETURN(const auto sealed, txn_.NewCursor(collection_.documents));
    FORESHORE_RETURN_IF_ERROR(sealed->SeekLast());
    if (sealed->valid()) {
      FORESHORE_ASSIGN_OR_RETURN(const auto record, DecodeReadingRecord(sealed->value()));
      state_.next_number = std::max({state_.next_number, record.next_number, sealed->integer_key() + 1});
    }
  }
  FORESHORE_ASSIGN_OR_RETURN(const auto tail, txn_.NewCursor(collection_.tail));
  for (Status status = tail->SeekFirst();; status = tail->Next()) {
    FORESHORE_RETURN_IF_ERROR(status);
    if (!tail->valid()) return Status::Ok();
    FORESHORE_ASSIGN_OR_RETURN(const auto record, DecodeReadingRecord(tail->value()));
    state_.next_number = std::max({state_.next_number, record.next_number, tail->integer_key() + 1});
    ++state_.tail_record_count;
    state_.tail_reading_count += CountOf(record);
  }
}

Status ReadingsWriter::Put(std::string_view body, const std::optional<ReadingId>& as, std::string* id,
                           bool* is_new_shape) {
  const auto place = builder_.Parse(body);
  if (!place.ok()) return place.status().WithContext("collection \"" + collection_.name + "\"");
  std::int64_t number = state_.next_number;
  if (as) {
    if (as->series != place->series || as->time != place->time) {
      return Status::InvalidArgument("collection \"" + collection_.name +
                                     "\": the id of a reading says another time or series than its fields");
    }
    if (as->number == INT64_MAX) return Status::Limit("collection \"" + collection_.name + "\": number of a reading");
    number = as->number;
  }
  state_.next_number = std::max(state_.next_number, number + 1);
  builder_.Add(number);
  *is_new_shape = place->is_new_shape;
  id->clear();
  AppendReadingId(*id, place->series, place->time, number);
  if (builder_.count() < kBufferReadingsMax && builder_.size_bytes() < kBufferBytesMax) return Status::Ok();
  return Flush();
}

Status ReadingsWriter::Flush() {
  if (builder_.count() == 0) return Status::Ok();
  const std::size_t count = builder_.count();
  last_record_ = state_.next_number++;
  const ByteString record = builder_.TakeRecord(state_.next_number);
  FORESHORE_RETURN_IF_ERROR(txn_.Put(collection_.tail, last_record_, record));
  ++state_.tail_record_count;
  state_.tail_reading_count += count;
  has_flushed_ = true;
  return Status::Ok();
}

Result<bool> ReadingsWriter::SealWhereLong() {
  if (state_.tail_reading_count < kTailReadingsMax && state_.tail_record_count < kTailRecordsMax) return false;
  FORESHORE_RETURN_IF_ERROR(Seal());
  return true;
}

Status ReadingsWriter::Seal() {
  FORESHORE_RETURN_IF_ERROR(Flush());
  ReadingRecordBuilder builder = MakeReadingBuilder(collection_);
  std::vector<std::int64_t> records;
  {
    FORESHORE_ASSIGN_OR_RETURN(const auto tail, txn_.NewCursor(collection_.tail));
    for (Status status = tail->SeekFirst();; status = tail->Next()) {
      FORESHORE_RETURN_IF_ERROR(status);
      if (!tail->valid()) break;
      std::uint64_t removed = 0;
      FORESHORE_RETURN_IF_ERROR(
          Thin(tail->value(), {.series = {}, .time_min = 1, .time_max = 0, .number = {}}, builder, &removed));
      records.push_back(tail->integer_key());
    }
  }
  FORESHORE_RETURN_IF_ERROR(PutSealed(builder));
  for (const std::int64_t record : records) FORESHORE_RETURN_IF_ERROR(txn_.Delete(collection_.tail, record));
  state_.tail_record_count = 0;
  state_.tail_reading_count = 0;
  return Status::Ok();
}

Status ReadingsWriter::PutSealed(ReadingRecordBuilder& builder) {
  for (const ReadingRecordBuilder::Sealed& sealed : builder.TakeSealed(kSealedReadingsMax)) {
    const std::int64_t number = state_.next_number++;
    FORESHORE_RETURN_IF_ERROR(
        txn_.Put(collection_.documents, number, FinishRecord(state_.next_number, sealed.runs_bytes)));
    FORESHORE_RETURN_IF_ERROR(txn_.Put(collection_.ids, Bytes(SealedKey(sealed.series, sealed.first_time, number)),
                                       SealedValue(sealed.first_time, sealed.last_time, sealed.count)));
    const std::uint64_t span =
        static_cast<std::uint64_t>(sealed.last_time) - static_cast<std::uint64_t>(sealed.first_time);
    const ByteString span_key = SpanKey(sealed.series);
    FORESHORE_ASSIGN_OR_RETURN(const auto stored, txn_.Get(collection_.ids, Bytes(span_key)));
    if (stored && ByteReader(*stored).Varint() >= span) continue;
    ByteString value;
    AppendVarint(value, span);
    FORESHORE_RETURN_IF_ERROR(txn_.Put(collection_.ids, Bytes(span_key), value));
  }
  return Status::Ok();
}

Status ReadingsWriter::Thin(Bytes record, const ReadingsFilter& filter, ReadingRecordBuilder& rest,
                            std::uint64_t* removed) {
  FORESHORE_ASSIGN_OR_RETURN(const ReadingRecordView view, DecodeReadingRecord(record));
  for (const ReadingRunView& run_view : view.runs) {
    FORESHORE_ASSIGN_OR_RETURN(ReadingRun run, ReadingRun::Open(run_view));
    const bool is_series = !filter.series || *filter.series == run_view.series;
    for (std::size_t row = 0; row < run.count(); ++row) {
      const bool goes = is_series && run.time(row) >= filter.time_min && run.time(row) <= filter.time_max &&
                        (!filter.number || *filter.number == run.number(row));
      if (goes) {
        ++*removed;
      } else {
        FORESHORE_RETURN_IF_ERROR(rest.AddRow(run_view.series, run, row));
      }
    }
  }
  return Status::Ok();
}

Result<std::uint64_t> ReadingsWriter::RemoveFromTail(const ReadingsFilter& filter) {
  std::uint64_t total = 0;
  std::vector<std::pair<std::int64_t, ByteString>> changed;  // Empty: the record goes.
  {
    FORESHORE_ASSIGN_OR_RETURN(const auto tail, txn_.NewCursor(collection_.tail));
    ReadingRecordBuilder rest = MakeReadingBuilder(collection_);
    for (Status status = tail->SeekFirst();; status = tail->Next()) {
      FORESHORE_RETURN_IF_ERROR(status);
      if (!tail->valid()) break;
      FORESHORE_ASSIGN_OR_RETURN(const ReadingRecordView view, DecodeReadingRecord(tail->value()));
      const bool touched = std::any_of(view.runs.begin(), view.runs.end(), [&](const ReadingRunView& run) {
        return (!filter.series || *filter.series == run.series) && run.first_time <= filter.time_max &&
               run.last_time >= filter.time_min;
      });
      if (!touched) continue;
      std::uint64_t removed = 0;
      rest.Clear();
      FORESHORE_RETURN_IF_ERROR(Thin(tail->value(), filter, rest, &removed));
      if (removed == 0) continue;
      total += removed;
      const bool is_empty = rest.count() == 0;
      changed.emplace_back(tail->integer_key(), is_empty ? ByteString() : rest.TakeRecord(view.next_number));
    }
  }
  for (const auto& [number, record] : changed) {
    FORESHORE_RETURN_IF_ERROR(record.empty() ? txn_.Delete(collection_.tail, number)
                                             : txn_.Put(collection_.tail, number, record));
    if (record.empty()) --state_.tail_record_count;
  }
  state_.tail_reading_count -= total;
  return total;
}

Result<std::uint64_t> ReadingsWriter::RemoveSealed(const ReadingsFilter& filter) {
  struct Touched {
    ByteString key;
    SealedEntry entry;
    bool whole = false;
  };
  std::vector<Touched> touched;
  {
    FORESHORE_ASSIGN_OR_RETURN(const auto index, txn_.NewCursor(collection_.ids));
    const ByteString prefix = filter.series ? SealedPrefix(*filter.series) : ByteString(1, kSealedEntry);
    FORESHORE_RETURN_IF_ERROR(index->Seek(Bytes(prefix)));
    while (index->valid() && index->bytes_key().starts_with(prefix)) {
      Touched one;
      if (!DecodeSealedEntry(index->bytes_key(), index->value(), one.entry)) {
        return Damaged(collection_, "an index entry of readings does not follow the format");
      }
      if (one.entry.first_time > filter.time_max) {
        // Entries of a series are in order of time: on with the next one.
        ByteString next = SealedPrefix(one.entry.series);
        next.back() = '\1';
        FORESHORE_RETURN_IF_ERROR(index->Seek(Bytes(next)));
        continue;
      }
      if (one.entry.last_time >= filter.time_min) {
        one.key = ByteString(index->bytes_key());
        one.whole = !filter.number && one.entry.first_time >= filter.time_min && one.entry.last_time <= filter.time_max;
        touched.push_back(std::move(one));
      }
      FORESHORE_RETURN_IF_ERROR(index->Next());
    }
  }
  std::uint64_t total = 0;
  ReadingRecordBuilder rest = MakeReadingBuilder(collection_);
  for (const Touched& one : touched) {
    std::uint64_t removed = one.entry.count;
    rest.Clear();
    if (!one.whole) {
      FORESHORE_ASSIGN_OR_RETURN(const auto stored, txn_.Get(collection_.documents, one.entry.record_number));
      if (!stored) return Damaged(collection_, "record " + std::to_string(one.entry.record_number) + " is not there");
      removed = 0;
      FORESHORE_RETURN_IF_ERROR(Thin(ByteString(*stored), filter, rest, &removed));
      if (removed == 0) continue;
    }
    total += removed;
    FORESHORE_RETURN_IF_ERROR(txn_.Delete(collection_.documents, one.entry.record_number));
    FORESHORE_RETURN_IF_ERROR(txn_.Delete(collection_.ids, Bytes(one.key)));
    // What is left keeps its number, so that it still counts as older than what came later.
    for (const ReadingRecordBuilder::Sealed& sealed : rest.TakeSealed(kReadingsInRunMax)) {
      FORESHORE_RETURN_IF_ERROR(txn_.Put(collection_.documents, one.entry.record_number,
                                         FinishRecord(state_.next_number, sealed.runs_bytes)));
      FORESHORE_RETURN_IF_ERROR(txn_.Put(collection_.ids,
                                         Bytes(SealedKey(sealed.series, sealed.first_time, one.entry.record_number)),
                                         SealedValue(sealed.first_time, sealed.last_time, sealed.count)));
    }
  }
  return total;
}

Result<std::uint64_t> ReadingsWriter::Remove(const ReadingsFilter& filter) {
  FORESHORE_RETURN_IF_ERROR(Flush());
  FORESHORE_ASSIGN_OR_RETURN(const std::uint64_t from_tail, RemoveFromTail(filter));
  FORESHORE_ASSIGN_OR_RETURN(const std::uint64_t sealed, RemoveSealed(filter));
  if (from_tail + sealed == 0) return std::uint64_t{0};
  // The record that knew the next number may be among those that went.
  ByteString value;
  AppendVarint(value, static_cast<std::uint64_t>(state_.next_number));
  FORESHORE_RETURN_IF_ERROR(txn_.Put(collection_.ids, Bytes(&kNumberEntry, 1), value));
  has_flushed_ = true;
  return from_tail + sealed;
}

Result<std::uint64_t> CountReadings(ReadTxn& txn, const CollectionDefinition& collection) {
  std::uint64_t count = 0;
  FORESHORE_ASSIGN_OR_RETURN(const auto index, txn.NewCursor(collection.ids));
  FORESHORE_RETURN_IF_ERROR(index->Seek(Bytes(&kSealedEntry, 1)));
  while (index->valid() && index->bytes_key().starts_with(kSealedEntry)) {
    SealedEntry entry;
    if (!DecodeSealedEntry(index->bytes_key(), index->value(), entry)) {
      return Damaged(collection, "an index entry of readings does not follow the format");
    }
    count += entry.count;
    FORESHORE_RETURN_IF_ERROR(index->Next());
  }
  FORESHORE_ASSIGN_OR_RETURN(const auto tail, txn.NewCursor(collection.tail));
  for (Status status = tail->SeekFirst();; status = tail->Next()) {
    FORESHORE_RETURN_IF_ERROR(status);
    if (!tail->valid()) return count;
    FORESHORE_ASSIGN_OR_RETURN(const auto record, DecodeReadingRecord(tail->value()));
    count += CountOf(record);
  }
}

namespace {

// Everything in a record that can be decoded was written so.
Status CheckRecord(Bytes bytes, std::uint64_t* count, std::string* series, std::int64_t* first, std::int64_t* last) {
  FORESHORE_ASSIGN_OR_RETURN(const ReadingRecordView record, DecodeReadingRecord(bytes));
  *count = CountOf(record);
  *series = record.runs[0].series;
  *first = record.runs[0].first_time;
  *last = record.runs[0].last_time;
  for (const ReadingRunView& view : record.runs) {
    FORESHORE_ASSIGN_OR_RETURN(ReadingRun run, ReadingRun::Open(view));
    std::string body;
    for (std::size_t row = 0; row < run.count(); ++row) {
      body.clear();
      FORESHORE_RETURN_IF_ERROR(run.AppendBody(body, view.series, row));
      // One of each run in full: the columns' own checks are behind the checksum already.
      if (row > 0) continue;
      FORESHORE_ASSIGN_OR_RETURN(const std::string normalised, NormaliseDocument(body));
      if (normalised != body) return Status::Corruption("readings: a body is not normalised JSON");
    }
  }
  return Status::Ok();
}

}  // namespace

Result<std::uint64_t> VerifyReadings(ReadTxn& txn, const CollectionDefinition& collection,
                                     const std::function<void(std::string)>& problem) {
  const std::string where = "collection \"" + collection.name + "\": ";
  std::uint64_t total = 0;
  std::set<ByteString> expected;  // Index entries, key and value.
  for (const KeyspaceId keyspace : {collection.tail, collection.documents}) {
    FORESHORE_ASSIGN_OR_RETURN(const auto cursor, txn.NewCursor(keyspace));
    for (Status status = cursor->SeekFirst();; status = cursor->Next()) {
      FORESHORE_RETURN_IF_ERROR(status);
      if (!cursor->valid()) break;
      std::uint64_t count = 0;
      std::string series;
      std::int64_t first = 0;
      std::int64_t last = 0;
      if (const Status checked = CheckRecord(cursor->value(), &count, &series, &first, &last); !checked.ok()) {
        problem(where + "record " + std::to_string(cursor->integer_key()) + ": " + checked.message());
        continue;
      }
      total += count;
      if (keyspace != collection.documents) continue;
      expected.insert(SealedKey(series, first, cursor->integer_key()) + SealedValue(first, last, count));
    }
  }
  FORESHORE_ASSIGN_OR_RETURN(const auto index, txn.NewCursor(collection.ids));
  FORESHORE_RETURN_IF_ERROR(index->Seek(Bytes(&kSealedEntry, 1)));
  while (index->valid() && index->bytes_key().starts_with(kSealedEntry)) {
    if (expected.erase(ByteString(index->bytes_key()) + ByteString(index->value())) == 0) {
      problem(where + "an index entry agrees with no record of readings");
    }
    FORESHORE_RETURN_IF_ERROR(index->Next());
  }
  if (!expected.empty()) problem(where + std::to_string(expected.size()) + " records of readings are not in the index");
  return total;
}

}  // namespace foreshore
