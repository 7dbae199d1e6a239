#include "engine/query/field_scan.h"

#include <algorithm>
#include <cctype>

#include "engine/database/field_entries.h"
#include "engine/document/json.h"
#include "engine/query/field_terms.h"
#include "engine/query/sql_json.h"

namespace foreshore {
namespace {

// What one path's values may be: intervals of the bytes behind the prefix. A point is an interval [value, value ff),
// and can be narrowed further by the paths behind it.
struct Interval {
  ByteString begin;
  ByteString end;
  bool is_point = false;
};
using Intervals = std::vector<Interval>;

Interval TagInterval(char first, char behind) {
  return {ByteString(1, first), ByteString(1, behind), false};
}
Interval AllNumbers() {
  return TagInterval(kNegativeTag, kAfterNumbersTag);
}
// Text that SQLite may take for a number begins with white space, a sign, a point or a digit.
Interval NumericText() {
  return {ByteString{kTextTag, '\t'}, ByteString{kTextTag, '9' + 1}, false};
}
Interval Point(const ByteString& value) {
  return {value, value + kKeyEnd, true};
}

bool IsNumeric(sqlite3_value* value) {
  const int type = sqlite3_value_type(value);
  return type == SQLITE_INTEGER || type == SQLITE_FLOAT;
}

ByteString KeyOf(sqlite3_value* value) {
  ByteString key;
  switch (sqlite3_value_type(value)) {
    case SQLITE_INTEGER: AppendIntegerKey(key, sqlite3_value_int64(value)); break;
    case SQLITE_FLOAT: AppendRealKey(key, sqlite3_value_double(value)); break;
    case SQLITE_TEXT: AppendTextKey(key, TextOf(value)); break;
    default: AppendNullKey(key); break;
  }
  return key;
}

// Values equal to `value`; with `converts`, under any affinity that the other side may have.
void AddEqual(sqlite3_value* value, FieldMatch match, bool converts, Intervals& intervals) {
  const int type = sqlite3_value_type(value);
  if (type == SQLITE_BLOB) return;  // No document has one.
  if (type == SQLITE_NULL) {
    if (match == FieldMatch::kIs) intervals.push_back(Point(ByteString(1, kNullTag)));
    return;
  }
  intervals.push_back(Point(KeyOf(value)));
  if (converts && match != FieldMatch::kElement && IsNumeric(value)) intervals.push_back(NumericText());
}

Status MatchIntervals(FieldMatch match, sqlite3_value* argument, bool converts, Intervals& intervals) {
  if (match != FieldMatch::kInList) {
    AddEqual(argument, match, converts, intervals);
    return Status::Ok();
  }
  sqlite3_value* value = nullptr;
  int code = sqlite3_vtab_in_first(argument, &value);
  for (; code == SQLITE_OK && value != nullptr; code = sqlite3_vtab_in_next(argument, &value)) {
    AddEqual(value, FieldMatch::kEqual, converts, intervals);
  }
  if (code != SQLITE_OK && code != SQLITE_DONE) return Status::Internal("SQL: the list of an IN cannot be read");
  return Status::Ok();
}

Intervals AboveBound(sqlite3_value* value, FieldBound bound) {
  const int type = sqlite3_value_type(value);
  if (type == SQLITE_NULL || type == SQLITE_BLOB) return {};
  const ByteString key = KeyOf(value);
  const bool from_value = bound == FieldBound::kInclusive || IsCutInKeys(value);
  const ByteString begin = from_value ? key : key + kKeyEnd;
  return {{begin, ByteString(1, kAfterTextTag), false}};  // Every text is above every number.
}

Intervals BelowBound(sqlite3_value* value, FieldBound bound, bool converts) {
  const int type = sqlite3_value_type(value);
  if (type == SQLITE_NULL) return {};
  if (type == SQLITE_BLOB) return {TagInterval(kNegativeTag, kAfterTextTag)};  // Every blob is above every text.
  const ByteString key = KeyOf(value);
  const bool with_value = bound == FieldBound::kInclusive || IsCutInKeys(value);
  const ByteString end = with_value ? key + kKeyEnd : key;
  if (converts && IsNumeric(value)) return {{ByteString(1, kNegativeTag), end, false}, NumericText()};
  return {{ByteString(1, kNegativeTag), end, false}};
}

// What may match a pattern: texts with its beginning, and numbers where their text may have it.
Intervals PatternIntervals(sqlite3_value* value, FieldPattern pattern) {
  if (sqlite3_value_type(value) == SQLITE_NULL) return {};
  const bool is_like = pattern == FieldPattern::kLike;
  const std::string_view text = TextOf(value);
  std::string low;
  std::string high;
  for (const char c : text) {
    const auto byte = static_cast<unsigned char>(c);
    const bool is_special = is_like ? c == '%' || c == '_' : c == '*' || c == '?' || c == '[';
    if (is_special || byte >= 0x80 || byte == 0 || low.size() >= kIndexedTextBytesMax) break;
    // LIKE does not tell the case of ASCII letters apart: every spelling lies between all upper and all lower case.
    low += is_like ? static_cast<char>(std::toupper(byte)) : c;
    high += is_like ? static_cast<char>(std::tolower(byte)) : c;
  }
  if (low.empty()) return {TagInterval(kNegativeTag, kAfterTextTag)};
  Interval texts;
  AppendTextPrefixKey(texts.begin, low);
  AppendTextPrefixKey(texts.end, high);
  texts.end += kKeyEnd;
  const char first = low.front();
  const bool numbers_may = std::isdigit(static_cast<unsigned char>(first)) != 0 || first == '-' || first == 'I';
  if (!numbers_may) return {texts};
  return {AllNumbers(), texts};
}

bool IsBefore(const ByteString& end, const ByteString& begin) {
  return !end.empty() && end <= begin;
}

Intervals Intersection(const Intervals& a, const Intervals& b) {
  Intervals both;
  for (const Interval& x : a) {
    for (const Interval& y : b) {
      Interval common;
      common.begin = std::max(x.begin, y.begin);
      common.end = x.end.empty() ? y.end : y.end.empty() ? x.end : std::min(x.end, y.end);
      if (!IsBefore(common.end, common.begin)) both.push_back(std::move(common));
    }
  }
  return both;
}

// Sorted, with those that touch joined.
std::vector<KeyRange> Joined(std::vector<KeyRange> ranges) {
  std::sort(ranges.begin(), ranges.end(), [](const KeyRange& a, const KeyRange& b) { return a.begin < b.begin; });
  std::vector<KeyRange> joined;
  for (KeyRange& range : ranges) {
    if (!joined.empty() && (joined.back().end.empty() || range.begin <= joined.back().end)) {
      KeyRange& last = joined.back();
      if (!last.end.empty() && (range.end.empty() || range.end > last.end)) last.end = std::move(range.end);
    } else {
      joined.push_back(std::move(range));
    }
  }
  return joined;
}

}  // namespace

Result<std::vector<KeyRange>> RangesOf(const FieldScanPlan& plan, sqlite3_value** arguments) {
  std::size_t next_argument = 0;
  std::vector<KeyRange> ranges;
  std::vector<ByteString> prefixes = {ByteString()};
  for (const FieldMatch match : plan.matches) {
    Intervals intervals;
    FORESHORE_RETURN_IF_ERROR(MatchIntervals(match, arguments[next_argument++], plan.converts, intervals));
    std::vector<ByteString> longer;
    for (const ByteString& prefix : prefixes) {
      for (const Interval& interval : intervals) {
        if (interval.is_point) {
          longer.push_back(prefix + interval.begin);
        } else {
          ranges.push_back({prefix + interval.begin, prefix + interval.end});
        }
      }
    }
    prefixes = std::move(longer);
  }
  const bool is_narrowed = plan.lower != FieldBound::kNone || plan.upper != FieldBound::kNone ||
                           plan.pattern != FieldPattern::kNone || plan.not_null;
  Intervals last;
  if (is_narrowed) {
    last = {TagInterval(kNegativeTag, kAfterTextTag)};
    if (plan.lower != FieldBound::kNone) last = Intersection(last, AboveBound(arguments[next_argument++], plan.lower));
    if (plan.upper != FieldBound::kNone)
      last = Intersection(last, BelowBound(arguments[next_argument++], plan.upper, plan.converts));
    if (plan.pattern != FieldPattern::kNone) {
      last = Intersection(last, PatternIntervals(arguments[next_argument++], plan.pattern));
    }
  }
  for (const ByteString& prefix : prefixes) {
    if (!is_narrowed) {
      ranges.push_back({prefix, prefix.empty() ? prefix : prefix + kKeyEnd});
      continue;
    }
    for (const Interval& interval : last) ranges.push_back({prefix + interval.begin, prefix + interval.end});
  }
  return Joined(std::move(ranges));
}

FieldScanCursor::FieldScanCursor(ReadView& view, const CollectionDefinition& collection,
                                 const FieldIndexDefinition& index, const FieldScanPlan& plan,
                                 std::vector<KeyRange> ranges)
    : view_(view),
      collection_(collection),
      index_(index),
      descending_(plan.descending),
      in_order_(plan.in_order),
      ranges_(std::move(ranges)) {
  if (!descending_) std::reverse(ranges_.begin(), ranges_.end());
}

Status FieldScanCursor::Enter() {
  if (!cursor_) {
    FORESHORE_ASSIGN_OR_RETURN(cursor_, view_.ScanFieldIndex(index_));
  }
  entered_ = true;
  const KeyRange& range = ranges_.back();
  if (!descending_) return range.begin.empty() ? cursor_->SeekFirst() : cursor_->Seek(Bytes(range.begin));
  if (range.end.empty()) return cursor_->SeekLast();
  FORESHORE_RETURN_IF_ERROR(cursor_->SeekBackward(Bytes(range.end)));
  if (cursor_->valid() && cursor_->bytes_key() == range.end) return cursor_->Previous();
  return Status::Ok();
}

bool FieldScanCursor::InRange() const {
  return cursor_->valid() && InRange(cursor_->bytes_key());
}

bool FieldScanCursor::InRange(Bytes key) const {
  const KeyRange& range = ranges_.back();
  return descending_ ? key >= range.begin : range.end.empty() || key < range.end;
}

Status FieldScanCursor::StepOn() {
  return descending_ ? cursor_->Previous() : cursor_->Next();
}

Status FieldScanCursor::Reposition(bool was_written) {
  if (was_written) FORESHORE_RETURN_IF_ERROR(view_.SettleFieldIndexes());
  if (!entered_) return Status::Ok();
  if (!was_written) return stands_ahead_ ? Status::Ok() : StepOn();
  const ByteString& place = stands_ahead_ ? run_end_ : key_;
  FORESHORE_RETURN_IF_ERROR(descending_ ? cursor_->SeekBackward(Bytes(place)) : cursor_->Seek(Bytes(place)));
  return cursor_->valid() && cursor_->bytes_key() == place ? StepOn() : Status::Ok();
}

Status FieldScanCursor::TakeEntry(Bytes key, Bytes marks) {
  key_.assign(key);
  if (!marks.empty() || !marks_.empty()) marks_.assign(marks);
  docid_ = DocidOfKey(key_);
  if (docid_ > 0) return Status::Ok();
  return Status::Corruption("index \"" + index_.name + "\": an entry of " + std::to_string(key_.size()) +
                            " bytes names no document");
}

Result<bool> FieldScanCursor::Next(bool was_written) {
  if (entered_ && !was_written && !is_stale_ && !stands_ahead_ && run_.empty()) {
    FORESHORE_RETURN_IF_ERROR(StepOn());
  } else {
    is_stale_ |= was_written;
    FORESHORE_ASSIGN_OR_RETURN(const bool found, TakeFromRun());
    if (found) return true;
    FORESHORE_RETURN_IF_ERROR(Reposition(std::exchange(is_stale_, false)));
    stands_ahead_ = false;
  }
  while (!ranges_.empty()) {
    if (!entered_) FORESHORE_RETURN_IF_ERROR(Enter());
    if (cursor_->valid()) {
      const Bytes key = cursor_->bytes_key();
      if (InRange(key)) return TakeNext(key);
    }
    ranges_.pop_back();
    entered_ = false;
  }
  return false;
}

Result<bool> FieldScanCursor::TakeNext(Bytes key) {
  const Bytes marks = cursor_->value();
  std::size_t prefix_bytes = 0;
  // Only texts that were cut have marks.
  if (in_order_ && !marks.empty() && IsCut(key, prefix_bytes)) {
    FORESHORE_RETURN_IF_ERROR(GatherRun(ByteString(key.substr(0, prefix_bytes))));
    return TakeFromRun();
  }
  FORESHORE_RETURN_IF_ERROR(TakeEntry(key, marks));
  return true;
}

Result<bool> FieldScanCursor::TakeFromRun() {
  while (!run_.empty()) {
    FORESHORE_RETURN_IF_ERROR(TakeEntry(run_.back().key, run_.back().marks));
    run_.pop_back();
    if (!is_stale_) return true;
    FORESHORE_ASSIGN_OR_RETURN(const bool is_there, IsThere());
    if (is_there) return true;
  }
  return false;
}

Result<bool> FieldScanCursor::IsThere() const {
  FORESHORE_RETURN_IF_ERROR(view_.SettleFieldIndexes());
  FORESHORE_ASSIGN_OR_RETURN(const auto entry, view_.txn().Get(index_.entries, Bytes(key_)));
  return entry.has_value();
}

// `prefix_bytes` gets where the first text that was cut ends.
bool FieldScanCursor::IsCut(Bytes key, std::size_t& prefix_bytes) const {
  bool is_cut = false;
  const std::size_t values_bytes = key.size() - std::min(key.size(), kDocidKeyBytes);
  Bytes rest = key.substr(0, values_bytes);
  while (!rest.empty() && !is_cut && SkipKeyValue(rest, &is_cut)) continue;
  prefix_bytes = values_bytes - rest.size();
  return is_cut;
}

Status FieldScanCursor::GatherRun(const ByteString& prefix) {
  while (InRange() && cursor_->bytes_key().starts_with(prefix)) {
    run_end_.assign(cursor_->bytes_key());
    run_.push_back({run_end_, ByteString(cursor_->value()), {}});
    FORESHORE_RETURN_IF_ERROR(StepOn());
  }
  stands_ahead_ = true;
  for (Entry& entry : run_) FORESHORE_RETURN_IF_ERROR(OrderOf(entry));
  std::sort(run_.begin(), run_.end(), [this](const Entry& a, const Entry& b) {
    return descending_ ? a.order < b.order : a.order > b.order;  // The next one last.
  });
  return Status::Ok();
}

Status FieldScanCursor::OrderOf(Entry& entry) {
  const std::int64_t docid = DocidOfKey(entry.key);
  FORESHORE_ASSIGN_OR_RETURN(const auto record, view_.GetByDocid(collection_, docid));
  if (record) {
    for (const IndexedPath& path : index_.paths) {
      // A scan through elements has one of them, so it has no part in the order.
      if (!path.is_each_element) AppendWholeTokenKey(entry.order, FindValue(record->body, path.path), buffer_);
    }
  }
  AppendDocidKey(entry.order, docid);
  return Status::Ok();
}

bool FieldScanCursor::Column(sqlite3_context* context, std::size_t path_number) {
  FieldMark mark = FieldMark::kPlain;
  if (!marks_.empty()) {
    if (path_number >= marks_.size()) return false;
    mark = static_cast<FieldMark>(marks_[path_number]);
  }
  if (mark == FieldMark::kDocument) return false;
  Bytes rest = Bytes(key_).substr(0, key_.size() - kDocidKeyBytes);
  for (std::size_t i = 0; i < path_number; ++i) {
    if (!SkipKeyValue(rest)) return false;
  }
  const auto value = ReadKeyValue(rest, buffer_);
  if (!value) return false;
  switch (value->kind) {
    case KeyValue::Kind::kNull: sqlite3_result_null(context); return true;
    case KeyValue::Kind::kReal: sqlite3_result_double(context, value->real); return true;
    case KeyValue::Kind::kInteger:
      if (mark == FieldMark::kReal) {
        sqlite3_result_double(context, value->real);
      } else {
        sqlite3_result_int64(context, value->integer);
      }
      return true;
    case KeyValue::Kind::kText:
      sqlite3_result_text64(context, value->text.data(), value->text.size(), SQLITE_TRANSIENT, SQLITE_UTF8);
      return true;
    case KeyValue::Kind::kCutText: return false;
  }
  return false;
}

}  // namespace foreshore
