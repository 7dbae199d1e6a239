#include "engine/readings/reading_record.h"

#include <algorithm>
#include <charconv>

#include "engine/document/json_walk.h"
#include "storage/base/checksum.h"
#include "storage/base/coding.h"

namespace foreshore {
namespace {

constexpr std::uint8_t kRecordVersion = 1;
constexpr std::size_t kHeadBytes = 5;
constexpr std::uint64_t kShapesMax = 1 << 17;
constexpr std::uint64_t kKeysMax = 4096;
constexpr std::size_t kSeriesTokenBytesMax = 162;

Status Damaged(Bytes bytes) {
  return Status::Corruption("readings: record of " + std::to_string(bytes.size()) +
                            " bytes does not follow the format");
}

bool ParseInteger(std::string_view token, std::int64_t& value) {
  const auto parsed = std::from_chars(token.data(), token.data() + token.size(), value);
  return parsed.ec == std::errc() && parsed.ptr == token.data() + token.size();
}

// Text that stands for itself, short enough for an id, or an integer.
bool IsSeriesToken(std::string_view token) {
  if (token.empty() || token.size() > kSeriesTokenBytesMax) return false;
  if (token.front() == '"') return token.size() > 2 && token.find('\\') == std::string_view::npos;
  std::int64_t ignored = 0;
  return ParseInteger(token, ignored);
}

bool ReadShape(ByteReader& reader, ReadingShape& shape) {
  const std::uint64_t key_count = reader.VarintAtMost(kKeysMax);
  shape.time_at = reader.VarintAtMost(kKeysMax);
  shape.series_at = static_cast<std::size_t>(reader.VarintAtMost(kKeysMax)) - 1;
  for (std::uint64_t i = 0; i < key_count && reader.ok(); ++i) shape.keys.emplace_back(reader.Prefixed());
  return reader.ok() && shape.time_at < key_count && (shape.series_at == SIZE_MAX || shape.series_at < key_count) &&
         shape.series_at != shape.time_at;
}

}  // namespace

Result<ReadingRecordView> DecodeReadingRecord(Bytes bytes) {
  ByteReader reader(bytes);
  const auto version = reader.Fixed<std::uint8_t>();
  if (reader.ok() && version != kRecordVersion) {
    return Status::Unsupported("readings: record of version " + std::to_string(version) + ", expected 1");
  }
  const auto crc = reader.Fixed<std::uint32_t>();
  if (!reader.ok() || crc != Crc32c(bytes.substr(kHeadBytes))) return Damaged(bytes);
  ReadingRecordView view;
  view.next_number = static_cast<std::int64_t>(reader.VarintAtMost(INT64_MAX));
  std::vector<std::shared_ptr<const ReadingShape>> shapes;
  const std::uint64_t shape_count = reader.VarintAtMost(kShapesMax);
  for (std::uint64_t i = 0; i < shape_count && reader.ok(); ++i) {
    auto shape = std::make_shared<ReadingShape>();
    if (!ReadShape(reader, *shape)) return Damaged(bytes);
    shapes.push_back(std::move(shape));
  }
  const std::uint64_t run_count = reader.VarintAtMost(kReadingsInRunMax);
  for (std::uint64_t i = 0; i < run_count && reader.ok(); ++i) {
    ReadingRunView run;
    run.series = reader.Prefixed();
    const std::uint64_t shape = reader.Varint();
    if (shape >= shapes.size()) return Damaged(bytes);
    run.shape = shapes[shape];
    run.count = reader.VarintAtMost(kReadingsInRunMax);
    run.first_time = UnZigZag(reader.Varint());
    run.last_time = static_cast<std::int64_t>(static_cast<std::uint64_t>(run.first_time) + reader.Varint());
    run.columns = reader.Prefixed();
    if (run.count == 0 || run.last_time < run.first_time) return Damaged(bytes);
    view.runs.push_back(std::move(run));
  }
  if (!reader.ok() || !reader.at_end() || view.runs.empty()) return Damaged(bytes);
  return view;
}

Result<ReadingRun> ReadingRun::Open(const ReadingRunView& view) {
  ReadingRun run;
  run.shape_ = view.shape;
  ByteReader reader(view.columns);
  const Bytes times = reader.Prefixed();
  const Bytes numbers = reader.Prefixed();
  run.encoded_.resize(view.shape->keys.size());
  run.columns_.resize(view.shape->keys.size());
  for (std::size_t key = 0; key < run.encoded_.size(); ++key) {
    if (view.shape->IsColumn(key)) run.encoded_[key] = reader.Prefixed();
  }
  if (!reader.ok() || !reader.at_end()) return Damaged(view.columns);
  FORESHORE_ASSIGN_OR_RETURN(run.times_, DecodeSteadyColumn(times, view.count));
  FORESHORE_ASSIGN_OR_RETURN(run.numbers_, DecodeSteadyColumn(numbers, view.count));
  if (run.times_.front() != view.first_time || run.times_.back() != view.last_time ||
      !std::is_sorted(run.times_.begin(), run.times_.end())) {
    return Damaged(view.columns);
  }
  return run;
}

Result<const ReadingColumn*> ReadingRun::Column(std::size_t key) {
  if (columns_[key] == nullptr) {
    FORESHORE_ASSIGN_OR_RETURN(auto column, DecodeReadingColumn(encoded_[key], count()));
    columns_[key] = std::make_unique<ReadingColumn>(std::move(column));
  }
  return columns_[key].get();
}

Status ReadingRun::AppendBody(std::string& out, std::string_view series, std::size_t row) {
  out += '{';
  for (std::size_t key = 0; key < shape_->keys.size(); ++key) {
    if (key > 0) out += ',';
    out.append(shape_->keys[key]).append(1, ':');
    if (key == shape_->time_at) {
      out += std::to_string(times_[row]);
    } else if (key == shape_->series_at) {
      out += series;
    } else {
      FORESHORE_ASSIGN_OR_RETURN(const ReadingColumn* column, Column(key));
      column->AppendToken(out, row);
    }
  }
  out += '}';
  return Status::Ok();
}

Result<ReadingRecordBuilder::Place> ReadingRecordBuilder::Parse(std::string_view body) {
  members_.clear();
  Place place;
  bool has_time = false;
  JsonMembers reader(body);
  for (JsonMember member; reader.Next(member);) {
    members_.emplace_back(member.key, member.value);
    if (member.key == time_key_) {
      // "-0" would come back as 0.
      has_time = ParseInteger(member.value, place.time) && member.value != "-0";
    } else if (!series_key_.empty() && member.key == series_key_) {
      place.series = member.value;
    }
  }
  if (!has_time) {
    return Status::InvalidArgument("field " + time_key_ + " of a reading: expected a time as an integer of 64 bits");
  }
  if (!series_key_.empty() && !IsSeriesToken(place.series)) {
    return Status::InvalidArgument(
        "field " + series_key_ + " of a reading: found " +
        (place.series.empty() ? std::string("none") : std::string(place.series.substr(0, 40))) +
        ", expected a text of 1 to 160 bytes without escapes, or an integer");
  }
  const std::size_t shape_count = shapes_.size();
  parsed_shape_ = ShapeOfMembers();
  parsed_series_ = SeriesNumber(place.series);
  parsed_time_ = place.time;
  place.is_new_shape = shapes_.size() > shape_count;
  return place;
}

std::uint32_t ReadingRecordBuilder::ShapeOfMembers() {
  // Mostly the one before; JSON tokens joined are still told apart.
  if (parsed_shape_ < shapes_.size()) {
    const ReadingShape& shape = shapes_[parsed_shape_];
    if (shape.keys.size() == members_.size() &&
        std::equal(shape.keys.begin(), shape.keys.end(), members_.begin(),
                   [](const std::string& key, const auto& member) { return key == member.first; })) {
      return parsed_shape_;
    }
  }
  joined_keys_.clear();
  for (const auto& [key, value] : members_) joined_keys_ += key;
  const auto [found, is_new] = shape_numbers_.try_emplace(joined_keys_, static_cast<std::uint32_t>(shapes_.size()));
  if (!is_new) return found->second;
  ReadingShape& shape = shapes_.emplace_back();
  for (std::size_t i = 0; i < members_.size(); ++i) {
    if (members_[i].first == time_key_) shape.time_at = i;
    if (!series_key_.empty() && members_[i].first == series_key_) shape.series_at = i;
    shape.keys.emplace_back(members_[i].first);
  }
  return static_cast<std::uint32_t>(shapes_.size() - 1);
}

std::uint32_t ReadingRecordBuilder::SeriesNumber(std::string_view token) {
  const auto found = series_numbers_.find(token);
  if (found != series_numbers_.end()) return found->second;
  const auto number = static_cast<std::uint32_t>(series_.size());
  series_numbers_.emplace(token, number);
  series_.emplace_back(token);
  return number;
}

void ReadingRecordBuilder::Add(std::int64_t number) {
  rows_.push_back({parsed_time_, number, parsed_series_, parsed_shape_, tokens_.size()});
  const ReadingShape& shape = shapes_[parsed_shape_];
  for (std::size_t i = 0; i < members_.size(); ++i) {
    if (!shape.IsColumn(i)) continue;
    tokens_.push_back({arena_.size(), members_[i].second.size()});
    arena_ += members_[i].second;
  }
}

Status ReadingRecordBuilder::AddRow(std::string_view series, ReadingRun& run, std::size_t row) {
  const ReadingShape& shape = run.shape();
  members_.clear();
  for (const std::string& key : shape.keys) members_.emplace_back(key, std::string_view());
  parsed_shape_ = ShapeOfMembers();
  rows_.push_back({run.time(row), run.number(row), SeriesNumber(series), parsed_shape_, tokens_.size()});
  for (std::size_t key = 0; key < shape.keys.size(); ++key) {
    if (!shape.IsColumn(key)) continue;
    FORESHORE_ASSIGN_OR_RETURN(const ReadingColumn* column, run.Column(key));
    const std::size_t offset = arena_.size();
    column->AppendToken(arena_, row);
    tokens_.push_back({offset, arena_.size() - offset});
  }
  return Status::Ok();
}

void ReadingRecordBuilder::SortRows() {
  std::stable_sort(rows_.begin(), rows_.end(), [](const Row& a, const Row& b) {
    if (a.series != b.series) return a.series < b.series;
    if (a.time != b.time) return a.time < b.time;
    return a.number < b.number;
  });
  // A reading that was written again: the later one, which stands behind the earlier, counts.
  const auto same = [](const Row& a, const Row& b) {
    return a.series == b.series && a.time == b.time && a.number == b.number;
  };
  std::size_t kept = 0;
  for (std::size_t i = 0; i < rows_.size(); ++i) {
    if (i + 1 < rows_.size() && same(rows_[i], rows_[i + 1])) continue;
    rows_[kept++] = rows_[i];
  }
  rows_.resize(kept);
  if (shapes_.size() < 2) return;
  std::stable_sort(rows_.begin(), rows_.end(), [](const Row& a, const Row& b) {
    return a.series != b.series ? a.series < b.series : a.shape < b.shape;
  });
}

void ReadingRecordBuilder::AppendShape(ByteString& out, const ReadingShape& shape) const {
  AppendVarint(out, shape.keys.size());
  AppendVarint(out, shape.time_at);
  AppendVarint(out, shape.series_at + 1);
  for (const std::string& key : shape.keys) AppendPrefixed(out, key);
}

void ReadingRecordBuilder::AppendRun(ByteString& out, std::size_t begin, std::size_t end, std::uint64_t shape_number) {
  const ReadingShape& shape = shapes_[rows_[begin].shape];
  AppendPrefixed(out, series_[rows_[begin].series]);
  AppendVarint(out, shape_number);
  AppendVarint(out, end - begin);
  AppendVarint(out, ZigZag(rows_[begin].time));
  AppendVarint(out, static_cast<std::uint64_t>(rows_[end - 1].time) - static_cast<std::uint64_t>(rows_[begin].time));
  ByteString columns;
  const auto append_steady = [&](std::int64_t Row::*member) {
    integers_.clear();
    for (std::size_t i = begin; i < end; ++i) integers_.push_back(rows_[i].*member);
    column_.clear();
    EncodeSteadyColumn(column_, integers_);
    AppendPrefixed(columns, column_);
  };
  append_steady(&Row::time);
  append_steady(&Row::number);
  std::size_t place = 0;
  for (std::size_t key = 0; key < shape.keys.size(); ++key) {
    if (!shape.IsColumn(key)) continue;
    texts_.clear();
    for (std::size_t i = begin; i < end; ++i) {
      const Token& token = tokens_[rows_[i].token_begin + place];
      texts_.push_back(std::string_view(arena_).substr(token.offset, token.size));
    }
    ++place;
    column_.clear();
    EncodeReadingColumn(column_, texts_);
    AppendPrefixed(columns, column_);
  }
  AppendPrefixed(out, columns);
}

ByteString ReadingRecordBuilder::TakeRecord(std::int64_t next_number) {
  SortRows();
  ByteString runs;
  std::uint64_t run_count = 0;
  for (std::size_t begin = 0; begin < rows_.size();) {
    std::size_t end = begin;
    while (end < rows_.size() && rows_[end].series == rows_[begin].series && rows_[end].shape == rows_[begin].shape)
      ++end;
    AppendRun(runs, begin, end, rows_[begin].shape);
    ++run_count;
    begin = end;
  }
  ByteString all;
  AppendVarint(all, shapes_.size());
  for (const ReadingShape& shape : shapes_) AppendShape(all, shape);
  AppendVarint(all, run_count);
  all += runs;
  Clear();
  return FinishRecord(next_number, all);
}

std::vector<ReadingRecordBuilder::Sealed> ReadingRecordBuilder::TakeSealed(std::size_t count_max) {
  SortRows();
  std::vector<Sealed> sealed;
  for (std::size_t begin = 0; begin < rows_.size();) {
    std::size_t end = begin;
    while (end < rows_.size() && rows_[end].series == rows_[begin].series && rows_[end].shape == rows_[begin].shape)
      ++end;
    // Even parts, so that no small rest is left.
    const std::size_t part_count = (end - begin + count_max - 1) / count_max;
    const std::size_t part = (end - begin + part_count - 1) / part_count;
    for (std::size_t from = begin; from < end; from += part) {
      const std::size_t to = std::min(from + part, end);
      Sealed& one = sealed.emplace_back();
      one.series = series_[rows_[from].series];
      one.first_time = rows_[from].time;
      one.last_time = rows_[to - 1].time;
      one.count = to - from;
      AppendVarint(one.runs_bytes, 1);
      AppendShape(one.runs_bytes, shapes_[rows_[from].shape]);
      AppendVarint(one.runs_bytes, 1);
      AppendRun(one.runs_bytes, from, to, 0);
    }
    begin = end;
  }
  Clear();
  return sealed;
}

void ReadingRecordBuilder::Clear() {
  arena_.clear();
  tokens_.clear();
  rows_.clear();
  shapes_.clear();
  shape_numbers_.clear();
  series_.clear();
  series_numbers_.clear();
}

ByteString FinishRecord(std::int64_t next_number, Bytes runs_bytes) {
  ByteString content;
  AppendVarint(content, static_cast<std::uint64_t>(next_number));
  content += runs_bytes;
  ByteString record;
  AppendFixed(record, kRecordVersion);
  AppendFixed(record, Crc32c(content));
  record += content;
  return record;
}

}  // namespace foreshore
