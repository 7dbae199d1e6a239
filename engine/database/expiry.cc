#include "engine/database/expiry.h"

#include <charconv>
#include <chrono>
#include <cmath>

#include "engine/document/json.h"
#include "storage/base/coding.h"

namespace foreshore {

namespace {

// The year 5138 as seconds, the year 1973 as milliseconds: nothing in use is read wrongly.
constexpr double kMillisecondsFrom = 1e11;
constexpr double kUnixMsMax = 9e15;

// Reads fixed numbers of digits from the front of a text.
class TimeReader {
 public:
  explicit TimeReader(std::string_view text) : text_(text) {}

  int Digits(std::size_t count) {
    int value = 0;
    if (text_.size() < count) return Fail();
    for (std::size_t i = 0; i < count; ++i) {
      if (text_[i] < '0' || text_[i] > '9') return Fail();
      value = value * 10 + (text_[i] - '0');
    }
    text_.remove_prefix(count);
    return value;
  }
  // Takes the character where it is next.
  bool Take(char c) {
    if (text_.empty() || text_.front() != c) return false;
    text_.remove_prefix(1);
    return true;
  }
  void Expect(char c) {
    if (!Take(c)) Fail();
  }
  // After a point: milliseconds; further digits are cut off.
  int Fraction() {
    int milliseconds = 0;
    int digits = 0;
    for (; !text_.empty() && text_.front() >= '0' && text_.front() <= '9'; text_.remove_prefix(1)) {
      if (digits++ < 3) milliseconds = milliseconds * 10 + (text_.front() - '0');
    }
    if (digits == 0) return Fail();
    for (; digits < 3; ++digits) milliseconds *= 10;
    return milliseconds;
  }
  int Fail() {
    ok_ = false;
    return 0;
  }
  bool at_end() const { return text_.empty(); }
  bool ok() const { return ok_; }

 private:
  std::string_view text_;
  bool ok_ = true;
};

// The offset from UTC in minutes; 0 where none is written.
int ReadOffset(TimeReader& reader) {
  if (reader.Take('Z') || reader.at_end()) return 0;
  const bool is_west = reader.Take('-');
  if (!is_west) reader.Expect('+');
  const int hours = reader.Digits(2);
  reader.Take(':');
  const int minutes = reader.Digits(2);
  if (hours > 23 || minutes > 59) reader.Fail();
  return (is_west ? -1 : 1) * (hours * 60 + minutes);
}

std::optional<std::int64_t> ParseIsoTime(std::string_view text) {
  TimeReader reader(text);
  const int year = reader.Digits(4);
  reader.Expect('-');
  const int month = reader.Digits(2);
  reader.Expect('-');
  const int day = reader.Digits(2);
  const std::chrono::year_month_day date(std::chrono::year(year), std::chrono::month(static_cast<unsigned>(month)),
                                         std::chrono::day(static_cast<unsigned>(day)));
  if (!reader.ok() || !date.ok()) return std::nullopt;
  std::int64_t ms = std::chrono::sys_days(date).time_since_epoch().count() * 86'400'000LL;
  if (reader.at_end()) return ms;
  if (!reader.Take('T')) reader.Expect(' ');
  const int hour = reader.Digits(2);
  reader.Expect(':');
  const int minute = reader.Digits(2);
  const int second = reader.Take(':') ? reader.Digits(2) : 0;
  const int fraction_ms = reader.Take('.') ? reader.Fraction() : 0;
  const int offset_minutes = ReadOffset(reader);
  if (!reader.ok() || !reader.at_end() || hour > 24 || minute > 59 || second > 60) return std::nullopt;
  ms += ((hour * 60LL + minute - offset_minutes) * 60 + second) * 1000 + fraction_ms;
  return ms;
}

ByteString KeyOf(std::int64_t unix_ms, std::int64_t docid) {
  ByteString key;
  AppendSortable64(key, unix_ms);
  AppendSortable64(key, docid);
  return key;
}

Result<ExpiryEntry> DecodeKey(const CollectionDefinition& collection, Bytes key) {
  if (key.size() != 16) {
    return Status::Corruption("collection \"" + collection.name + "\": an expiry entry has " +
                              std::to_string(key.size()) + " bytes, expected 16");
  }
  return ExpiryEntry{LoadSortable64(key.data()), LoadSortable64(key.data() + 8)};
}

}  // namespace

std::optional<std::int64_t> ParseExpiry(std::string_view token) {
  if (token.empty()) return std::nullopt;
  if (token.front() == '"') return ParseIsoTime(token.substr(1, token.size() - 2));
  if (token.front() != '-' && (token.front() < '0' || token.front() > '9')) return std::nullopt;
  double number = 0;
  const auto [end, error] = std::from_chars(token.data(), token.data() + token.size(), number);
  if (error != std::errc() || end != token.data() + token.size()) return std::nullopt;
  if (number < kMillisecondsFrom) number *= 1000;
  if (!(std::abs(number) <= kUnixMsMax)) return std::nullopt;
  return static_cast<std::int64_t>(std::floor(number));
}

std::optional<std::int64_t> ExpiryOf(std::string_view expiry_field, std::string_view body) {
  if (expiry_field.empty() || body.empty()) return std::nullopt;
  return ParseExpiry(FindValue(body, expiry_field));
}

Status FollowExpiry(WriteTxn& txn, const CollectionDefinition& collection, std::int64_t docid,
                    std::string_view old_body, std::string_view body) {
  if (collection.expiry_field.empty()) return Status::Ok();
  const auto before = ExpiryOf(collection.expiry_field, old_body);
  const auto now = ExpiryOf(collection.expiry_field, body);
  if (before == now) return Status::Ok();
  if (before) FORESHORE_RETURN_IF_ERROR(txn.Delete(collection.expiries, Bytes(KeyOf(*before, docid))));
  return now ? PutExpiry(txn, collection, {*now, docid}) : Status::Ok();
}

Status PutExpiry(WriteTxn& txn, const CollectionDefinition& collection, const ExpiryEntry& entry) {
  // A value of one byte: the key says everything.
  return txn.Put(collection.expiries, Bytes(KeyOf(entry.unix_ms, entry.docid)), Bytes("\x01", 1));
}

Status VisitExpiries(ReadTxn& txn, const CollectionDefinition& collection, std::int64_t after_unix_ms,
                     std::int64_t until_unix_ms, const std::function<bool(const ExpiryEntry&)>& visit) {
  if (collection.expiry_field.empty() || after_unix_ms >= until_unix_ms) return Status::Ok();
  FORESHORE_ASSIGN_OR_RETURN(const auto cursor, txn.NewCursor(collection.expiries));
  for (Status status = cursor->Seek(Bytes(KeyOf(after_unix_ms + 1, INT64_MIN)));; status = cursor->Next()) {
    FORESHORE_RETURN_IF_ERROR(status);
    if (!cursor->valid()) return Status::Ok();
    FORESHORE_ASSIGN_OR_RETURN(const ExpiryEntry entry, DecodeKey(collection, cursor->bytes_key()));
    if (entry.unix_ms > until_unix_ms || !visit(entry)) return Status::Ok();
  }
}

Result<std::optional<std::int64_t>> NextExpiry(ReadTxn& txn, const CollectionDefinition& collection,
                                               std::int64_t after_unix_ms) {
  std::optional<std::int64_t> next;
  FORESHORE_RETURN_IF_ERROR(VisitExpiries(txn, collection, after_unix_ms, INT64_MAX, [&](const ExpiryEntry& entry) {
    next = entry.unix_ms;
    return false;
  }));
  return next;
}

}  // namespace foreshore
