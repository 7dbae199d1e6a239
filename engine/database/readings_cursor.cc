// Reading readings: runs that overlap are merged by time, each opened when the merge reaches it.
#include <algorithm>
#include <charconv>

#include "engine/database/readings.h"
#include "engine/database/readings_keys.h"

namespace foreshore {
namespace {

Status Damaged(const CollectionDefinition& collection, const std::string& what) {
  return Status::Corruption("collection \"" + collection.name + "\": " + what);
}

Status AddContext(const Status& status, const CollectionDefinition& collection, std::int64_t record_number) {
  return status.WithContext("collection \"" + collection.name + "\": record " + std::to_string(record_number));
}

std::int64_t SaturatingMinus(std::int64_t value, std::uint64_t step) {
  const std::uint64_t room = static_cast<std::uint64_t>(value) - static_cast<std::uint64_t>(INT64_MIN);
  return step >= room ? INT64_MIN : static_cast<std::int64_t>(static_cast<std::uint64_t>(value) - step);
}

}  // namespace

void AppendReadingId(std::string& out, std::string_view series_token, std::int64_t time, std::int64_t number) {
  if (!series_token.empty()) {
    out += series_token.front() == '"' ? series_token.substr(1, series_token.size() - 2) : series_token;
    out += '@';
  }
  char digits[48];
  char* end = std::to_chars(digits, digits + 24, time).ptr;
  *end++ = '.';
  end = std::to_chars(end, digits + sizeof digits, number).ptr;
  out.append(digits, end);
}

std::vector<ReadingId> ParseReadingId(std::string_view id) {
  const std::size_t at = id.rfind('@');
  const std::string_view series = at == id.npos ? std::string_view() : id.substr(0, at);
  const std::string_view rest = at == id.npos ? id : id.substr(at + 1);
  ReadingId parsed;
  const char* end = rest.data() + rest.size();
  const auto time = std::from_chars(rest.data(), end, parsed.time);
  if (time.ec != std::errc() || time.ptr == end || *time.ptr != '.') return {};
  const auto number = std::from_chars(time.ptr + 1, end, parsed.number);
  if (number.ec != std::errc() || number.ptr != end || parsed.number < 0) return {};
  if (at == id.npos) return {parsed};
  std::vector<ReadingId> all;
  parsed.series = "\"" + std::string(series) + "\"";
  all.push_back(parsed);
  std::int64_t ignored = 0;
  const auto integer = std::from_chars(series.data(), series.data() + series.size(), ignored);
  if (integer.ec == std::errc() && integer.ptr == series.data() + series.size()) {
    parsed.series = std::string(series);
    all.push_back(parsed);
  }
  return all;
}

Result<std::unique_ptr<ReadingsCursor>> ReadingsCursor::Open(ReadTxn& txn, const CollectionDefinition& collection,
                                                             const ReadingsFilter& filter, ReadingsOrder order) {
  std::unique_ptr<ReadingsCursor> cursor(new ReadingsCursor(txn, collection, filter, order));
  FORESHORE_RETURN_IF_ERROR(cursor->LoadTail());
  if (order != ReadingsOrder::kAny || filter.series) {
    std::vector<Source> sources = std::move(cursor->tail_);
    cursor->tail_.clear();
    FORESHORE_RETURN_IF_ERROR(cursor->LoadSealed(filter.series, &sources));
    FORESHORE_RETURN_IF_ERROR(cursor->BeginSources(std::move(sources)));
    return cursor;
  }
  // Series by series, so that few records are open at a time.
  std::vector<std::string> all;
  for (const Source& source : cursor->tail_) all.push_back(source.series);
  {
    FORESHORE_ASSIGN_OR_RETURN(const auto index, txn.NewCursor(collection.ids));
    FORESHORE_RETURN_IF_ERROR(index->Seek(Bytes(&kSealedEntry, 1)));
    while (index->valid() && index->bytes_key().starts_with(kSealedEntry)) {
      SealedEntry entry;
      if (!DecodeSealedEntry(index->bytes_key(), index->value(), entry)) return Damaged(collection, "an index entry");
      ByteString next = SealedPrefix(entry.series);
      next.back() = '\1';
      all.emplace_back(entry.series);
      FORESHORE_RETURN_IF_ERROR(index->Seek(Bytes(next)));
    }
  }
  std::sort(all.begin(), all.end(), std::greater<>());
  all.erase(std::unique(all.begin(), all.end()), all.end());
  cursor->series_left_ = std::move(all);
  return cursor;
}

bool ReadingsCursor::Within(const Source& source) const {
  if (filter_.series && *filter_.series != source.series) return false;
  return source.first_time <= filter_.time_max && source.last_time >= filter_.time_min;
}

Status ReadingsCursor::LoadTail() {
  FORESHORE_ASSIGN_OR_RETURN(const auto records, txn_.NewCursor(collection_.tail));
  for (Status status = records->SeekFirst();; status = records->Next()) {
    FORESHORE_RETURN_IF_ERROR(status);
    if (!records->valid()) return Status::Ok();
    const auto record = DecodeReadingRecord(records->value());
    if (!record.ok()) return AddContext(record.status(), collection_, records->integer_key());
    for (const ReadingRunView& run : record->runs) {
      Source source;
      source.series = run.series;
      source.record_number = records->integer_key();
      source.first_time = run.first_time;
      source.last_time = run.last_time;
      if (!Within(source)) continue;
      source.bytes = run.columns;
      source.view = run;
      tail_.push_back(std::move(source));
    }
  }
}

Status ReadingsCursor::LoadSealed(const std::optional<std::string>& series, std::vector<Source>* sources) {
  FORESHORE_ASSIGN_OR_RETURN(const auto index, txn_.NewCursor(collection_.ids));
  ByteString prefix(1, kSealedEntry);
  if (!series) {
    FORESHORE_RETURN_IF_ERROR(index->Seek(Bytes(prefix)));
  } else {
    // No record that begins earlier than this reaches into the range.
    FORESHORE_ASSIGN_OR_RETURN(const auto stored, txn_.Get(collection_.ids, Bytes(SpanKey(*series))));
    const std::uint64_t span = stored ? ByteReader(*stored).Varint() : UINT64_MAX;
    prefix = SealedPrefix(*series);
    ByteString from = prefix;
    AppendSortable64(from, SaturatingMinus(filter_.time_min, span));
    FORESHORE_RETURN_IF_ERROR(index->Seek(Bytes(from)));
  }
  while (index->valid() && index->bytes_key().starts_with(prefix)) {
    SealedEntry entry;
    if (!DecodeSealedEntry(index->bytes_key(), index->value(), entry)) return Damaged(collection_, "an index entry");
    if (series && entry.first_time > filter_.time_max) return Status::Ok();
    Source source;
    source.series = entry.series;
    source.record_number = entry.record_number;
    source.first_time = entry.first_time;
    source.last_time = entry.last_time;
    source.is_sealed = true;
    if (Within(source)) sources->push_back(std::move(source));
    FORESHORE_RETURN_IF_ERROR(index->Next());
  }
  return Status::Ok();
}

Status ReadingsCursor::BeginSources(std::vector<Source> sources) {
  sources_ = std::move(sources);
  std::sort(sources_.begin(), sources_.end(), [this](const Source& a, const Source& b) {
    return IsUp() ? a.first_time < b.first_time : a.last_time > b.last_time;
  });
  next_source_ = 0;
  heap_.clear();
  current_ = nullptr;
  emitted_number_ = -1;
  return Status::Ok();
}

Result<bool> ReadingsCursor::NextSeries() {
  if (series_left_.empty()) return false;
  const std::string series = std::move(series_left_.back());
  series_left_.pop_back();
  std::vector<Source> sources;
  for (Source& source : tail_) {
    if (source.series == series) sources.push_back(std::move(source));
  }
  std::erase_if(tail_, [](const Source& source) { return source.bytes.empty(); });
  FORESHORE_RETURN_IF_ERROR(LoadSealed(series, &sources));
  FORESHORE_RETURN_IF_ERROR(BeginSources(std::move(sources)));
  return true;
}

Status ReadingsCursor::OpenSource(Source& source) {
  if (source.is_sealed) {
    FORESHORE_ASSIGN_OR_RETURN(const auto stored, txn_.Get(collection_.documents, source.record_number));
    // Removed by this very transaction since the cursor was opened.
    if (!stored) return Status::Ok();
    source.bytes = ByteString(*stored);
    const auto record = DecodeReadingRecord(source.bytes);
    if (!record.ok()) return AddContext(record.status(), collection_, source.record_number);
    source.view = record->runs[0];
  } else {
    source.view.columns = source.bytes;
  }
  auto run = ReadingRun::Open(source.view);
  if (!run.ok()) return AddContext(run.status(), collection_, source.record_number);
  source.run.emplace(std::move(run).value());
  const ReadingRun& opened = *source.run;
  // The first row in the range, from the side where the scan begins.
  std::size_t low = 0;
  std::size_t high = opened.count();
  while (low < high) {
    const std::size_t middle = (low + high) / 2;
    const bool left = IsUp() ? opened.time(middle) < filter_.time_min : opened.time(middle) <= filter_.time_max;
    (left ? low : high) = left ? middle + 1 : middle;
  }
  source.row = IsUp() ? low : low - 1;  // SIZE_MAX where there is none.
  Push(&source);
  return Status::Ok();
}

// Ends a source that has left the range.
void ReadingsCursor::Push(Source* source) {
  const bool is_over =
      source->row >= source->run->count() ||
      (IsUp() ? source->run->time(source->row) > filter_.time_max : source->run->time(source->row) < filter_.time_min);
  if (is_over) {
    source->run.reset();
    source->bytes = ByteString();
    return;
  }
  heap_.push_back(source);
  std::push_heap(heap_.begin(), heap_.end(), [this](const Source* a, const Source* b) { return IsLater(*a, *b); });
}

bool ReadingsCursor::IsLater(const Source& a, const Source& b) const {
  const std::int64_t a_time = a.run->time(a.row);
  const std::int64_t b_time = b.run->time(b.row);
  if (a_time != b_time) return IsUp() ? a_time > b_time : a_time < b_time;
  if (const int order = a.series.compare(b.series); order != 0) return order > 0;
  const std::int64_t a_number = a.run->number(a.row);
  const std::int64_t b_number = b.run->number(b.row);
  if (a_number != b_number) return IsUp() ? a_number > b_number : a_number < b_number;
  return a.record_number < b.record_number;  // Of one that was written twice, the newer first.
}

Result<bool> ReadingsCursor::Next() {
  while (true) {
    if (current_ != nullptr) {
      IsUp() ? ++current_->row : --current_->row;
      Push(std::exchange(current_, nullptr));
    }
    while (next_source_ < sources_.size()) {
      Source& next = sources_[next_source_];
      if (!heap_.empty()) {
        const std::int64_t top = heap_.front()->run->time(heap_.front()->row);
        if (IsUp() ? next.first_time > top : next.last_time < top) break;
      }
      ++next_source_;
      FORESHORE_RETURN_IF_ERROR(OpenSource(next));
    }
    if (heap_.empty()) {
      FORESHORE_ASSIGN_OR_RETURN(const bool more, NextSeries());
      if (!more) return false;
      continue;
    }
    std::pop_heap(heap_.begin(), heap_.end(), [this](const Source* a, const Source* b) { return IsLater(*a, *b); });
    current_ = heap_.back();
    heap_.pop_back();
    const bool is_older_copy =
        emitted_number_ == number() && emitted_time_ == time() && emitted_series_ == current_->series;
    if (is_older_copy || (filter_.number && *filter_.number != number())) continue;
    emitted_number_ = number();
    emitted_time_ = time();
    if (emitted_series_ != current_->series) emitted_series_ = current_->series;
    return true;
  }
}

void ReadingsCursor::AppendId(std::string& out) const {
  AppendReadingId(out, series(), time(), number());
}

}  // namespace foreshore
