// Many readings in one value of the store: runs, each of one series and one shape (the same fields in the same order),
// column by column and sorted by time. Readings of one transaction are one record of the tail; later they are sealed
// into records of one series each.
//
//   Record, version 1
//   OFFSET SIZE   FIELD
//        0    1   version = 1
//        1    4   crc32c of all behind it
//        5 varint next number: all readings written up to here have smaller ones
//          varint shape count, each: varint key count, varint place of the time, varint place of the series + 1 (0:
//          none),
//                 then each key as prefixed JSON token
//          varint run count, each: prefixed series token, varint shape, varint reading count, zigzag varint first time,
//                 varint last time - first time, varint size of the columns, then each prefixed: times, numbers (both
//                 steady columns), and one column for every other key
//
// Threads: values; no sharing.
#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <string_view>
#include <unordered_map>
#include <vector>

#include "engine/readings/reading_column.h"

namespace foreshore {

struct ReadingShape {
  std::vector<std::string> keys;  // JSON string tokens, in the order of the document.
  std::size_t time_at = 0;
  std::size_t series_at = SIZE_MAX;  // SIZE_MAX: none.

  bool IsColumn(std::size_t key) const { return key != time_at && key != series_at; }
};

// One run of a record as its header says it. Lifetime: views into the record's bytes.
struct ReadingRunView {
  std::string_view series;
  std::shared_ptr<const ReadingShape> shape;  // Shared by the runs of a record.
  std::size_t count = 0;
  std::int64_t first_time = 0;
  std::int64_t last_time = 0;
  Bytes columns;
};

struct ReadingRecordView {
  std::int64_t next_number = 0;
  std::vector<ReadingRunView> runs;
};

// Checks the checksum and every header, not the columns.
Result<ReadingRecordView> DecodeReadingRecord(Bytes bytes);

// A run with its columns decoded as they are asked for.
class ReadingRun {
 public:
  // `columns` of the view must outlive this object.
  static Result<ReadingRun> Open(const ReadingRunView& view);

  const ReadingShape& shape() const { return *shape_; }
  // Who keeps it may tell shapes apart by their address.
  const std::shared_ptr<const ReadingShape>& shared_shape() const { return shape_; }
  std::size_t count() const { return times_.size(); }
  std::int64_t time(std::size_t row) const { return times_[row]; }
  std::int64_t number(std::size_t row) const { return numbers_[row]; }
  // Of a key that IsColumn.
  Result<const ReadingColumn*> Column(std::size_t key);
  // The document as it was written.
  Status AppendBody(std::string& out, std::string_view series, std::size_t row);

 private:
  std::shared_ptr<const ReadingShape> shape_;  // Shared with the other runs of its record.
  std::vector<std::int64_t> times_;
  std::vector<std::int64_t> numbers_;
  std::vector<Bytes> encoded_;                           // By key; empty for time and series.
  std::vector<std::unique_ptr<ReadingColumn>> columns_;  // By key; null until asked for.
};

// Gathers readings in any order.
class ReadingRecordBuilder {
 public:
  ReadingRecordBuilder(std::string time_key, std::string series_key)
      : time_key_(std::move(time_key)), series_key_(std::move(series_key)) {}

  // `body` is a normalised object. kInvalidArgument where its time or series is not what it must be; then nothing of it
  // is in the builder.
  struct Place {
    std::int64_t time = 0;
    std::string_view series;  // JSON token into `body`; empty without a series field.
    bool is_new_shape = false;
  };
  Result<Place> Parse(std::string_view body);
  // Adds what Parse looked at last.
  void Add(std::int64_t number);
  // One row of a run.
  Status AddRow(std::string_view series, ReadingRun& run, std::size_t row);

  std::size_t count() const { return rows_.size(); }
  std::size_t size_bytes() const { return arena_.size(); }
  // All readings, sorted, one run for each series and shape. Clears.
  ByteString TakeRecord(std::int64_t next_number);
  // One record for each run.
  struct Sealed {
    std::string series;
    std::int64_t first_time = 0;
    std::int64_t last_time = 0;
    std::size_t count = 0;
    ByteString runs_bytes;  // All of the record but its head; see FinishRecord.
  };
  std::vector<Sealed> TakeSealed(std::size_t count_max);
  void Clear();

 private:
  struct Row {
    std::int64_t time;
    std::int64_t number;
    std::uint32_t series;
    std::uint32_t shape;
    std::size_t token_begin;  // Into tokens_.
  };
  struct Token {
    std::size_t offset;
    std::size_t size;
  };
  std::uint32_t ShapeOfMembers();
  std::uint32_t SeriesNumber(std::string_view token);
  void SortRows();
  void AppendShape(ByteString& out, const ReadingShape& shape) const;
  void AppendRun(ByteString& out, std::size_t begin, std::size_t end, std::uint64_t shape_number);

  std::string time_key_;    // JSON tokens.
  std::string series_key_;  // Empty: none.
  std::string arena_;
  std::string joined_keys_;
  std::vector<Token> tokens_;
  std::vector<Row> rows_;
  std::vector<ReadingShape> shapes_;
  std::vector<std::string> series_;
  // Found by a view, so that a look-up makes no string.
  struct Hash {
    using is_transparent = void;
    std::size_t operator()(std::string_view text) const { return std::hash<std::string_view>()(text); }
  };
  std::unordered_map<std::string, std::uint32_t, Hash, std::equal_to<>> series_numbers_;
  std::unordered_map<std::string, std::uint32_t, Hash, std::equal_to<>> shape_numbers_;  // By the keys, joined.
  // What Parse found.
  std::vector<std::pair<std::string_view, std::string_view>> members_;
  std::uint32_t parsed_shape_ = 0;
  std::uint32_t parsed_series_ = 0;
  std::int64_t parsed_time_ = 0;
  // Scratch of AppendRun.
  std::vector<std::int64_t> integers_;
  std::vector<std::string_view> texts_;
  ByteString column_;
};

// A record from what TakeSealed gave.
ByteString FinishRecord(std::int64_t next_number, Bytes runs_bytes);

}  // namespace foreshore
