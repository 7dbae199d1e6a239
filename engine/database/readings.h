// Collections of time-ordered readings in the store: a tail of what recent transactions brought, one record each, and
// sealed records of one series each, found by an index.
//
//   "t<collection>"  record number -> record of the tail          (engine/readings/reading_record.h)
//   "d<collection>"  record number -> sealed record
//   "i<collection>"  'c' series token, 0, first time (sortable i64), record number (sortable i64) -> varint last time -
//                    first time, varint count; 'm' series token -> varint longest span of a sealed record;
//                    'n' -> varint the next number, written where readings were removed
//
// Numbers are one run over readings and records of a collection, and never given out again. Where a reading was written
// twice (put under its id), the record with the higher number counts.
//
// Threads: as the transaction that is given.
#pragma once

#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "engine/database/catalog.h"
#include "engine/readings/reading_record.h"
#include "storage/store.h"

namespace foreshore {

struct ReadingsFilter {
  std::optional<std::string> series;  // JSON token.
  std::int64_t time_min = INT64_MIN;  // Both inclusive.
  std::int64_t time_max = INT64_MAX;
  std::optional<std::int64_t> number;
};

enum class ReadingsOrder : std::uint8_t { kAny, kTimeUp, kTimeDown };

// Lifetime: goes before its transaction. What is written after it was opened it may meet or not.
class ReadingsCursor {
 public:
  static Result<std::unique_ptr<ReadingsCursor>> Open(ReadTxn& txn, const CollectionDefinition& collection,
                                                      const ReadingsFilter& filter, ReadingsOrder order);
  // Moves to the next reading; false at the end. The rest is of the present one.
  Result<bool> Next();
  std::string_view series() const { return current_->series; }  // JSON token.
  std::int64_t time() const { return current_->run->time(current_->row); }
  std::int64_t number() const { return current_->run->number(current_->row); }
  ReadingRun& run() { return *current_->run; }
  std::size_t row() const { return current_->row; }
  void AppendId(std::string& out) const;
  Status AppendBody(std::string& out) { return run().AppendBody(out, series(), row()); }

 private:
  struct Source {
    std::string series;
    std::int64_t record_number = 0;
    std::int64_t first_time = 0;
    std::int64_t last_time = 0;
    bool is_sealed = false;
    ByteString bytes;  // Of the record, or in the tail of the run's columns; empty until it is needed.
    ReadingRunView view;
    std::optional<ReadingRun> run;
    std::size_t row = 0;
  };
  ReadingsCursor(ReadTxn& txn, const CollectionDefinition& collection, ReadingsFilter filter, ReadingsOrder order)
      : txn_(txn), collection_(collection), filter_(std::move(filter)), order_(order) {}
  Status LoadTail();
  Status LoadSealed(const std::optional<std::string>& series, std::vector<Source>* sources);
  // kAny: the sources of the next series. False where there is none left.
  Result<bool> NextSeries();
  Status BeginSources(std::vector<Source> sources);
  Status OpenSource(Source& source);
  bool IsUp() const { return order_ != ReadingsOrder::kTimeDown; }
  bool Within(const Source& source) const;
  // Whether `a` comes after `b`.
  bool IsLater(const Source& a, const Source& b) const;
  void Push(Source* source);

  ReadTxn& txn_;
  const CollectionDefinition& collection_;
  ReadingsFilter filter_;
  ReadingsOrder order_;
  std::vector<Source> tail_;              // kAny: what is left of it for the series to come.
  std::vector<std::string> series_left_;  // kAny: those to come, the next one last.
  std::vector<Source> sources_;           // Sorted by where they begin.
  std::size_t next_source_ = 0;           // The first that is not open yet.
  std::vector<Source*> heap_;             // Open, the next reading on top; without current_.
  Source* current_ = nullptr;
  std::int64_t emitted_time_ = 0;
  std::int64_t emitted_number_ = -1;  // -1: none yet.
  std::string emitted_series_;
};

// "<series>@<time>.<number>", or "<time>.<number>" without a series.
struct ReadingId {
  std::string series;  // JSON token that the id most likely means.
  std::int64_t time = 0;
  std::int64_t number = 0;
};
void AppendReadingId(std::string& out, std::string_view series_token, std::int64_t time, std::int64_t number);
// A series of digits may be a text or a number: both come back, the text first. Empty where it is no such id.
std::vector<ReadingId> ParseReadingId(std::string_view id);

// What is known about a collection between transactions; guarded by the core's writer lock.
struct ReadingsState {
  std::int64_t next_number = 1;
  std::uint64_t tail_record_count = 0;
  std::uint64_t tail_reading_count = 0;
};

// The writing side, one for each collection that a transaction writes to. Readings gather in memory and go to the store
// as one record when Flush is called: before the transaction reads them, before it commits, and when there are many.
class ReadingsWriter {
 public:
  // `known`: null where this is the first since the database was opened.
  static Result<std::unique_ptr<ReadingsWriter>> Begin(WriteTxn& txn, const CollectionDefinition& collection,
                                                       const ReadingsState* known);
  // `body` is normalised. Without an id the reading gets the next number. Sets `id` and whether the shape of the body
  // was new to this record. kInvalidArgument changes nothing.
  Status Put(std::string_view body, const std::optional<ReadingId>& as, std::string* id, bool* is_new_shape);
  Status Flush();
  // For savepoints: a mark is of what was flushed; going back to it drops what was not.
  struct Mark {
    ReadingsState state;
    bool has_flushed = false;
    std::int64_t last_record = 0;
  };
  Mark mark() const { return {state_, has_flushed_, last_record_}; }
  void GoBackTo(const Mark& mark) {
    builder_.Clear();
    state_ = mark.state;
    has_flushed_ = mark.has_flushed;
    last_record_ = mark.last_record;
  }
  // Turns a long tail into sealed records; says whether it was.
  Result<bool> SealWhereLong();
  // Returns how many.
  Result<std::uint64_t> Remove(const ReadingsFilter& filter);
  bool has_flushed() const { return has_flushed_; }
  std::int64_t last_record() const { return last_record_; }
  const ReadingsState& state() const { return state_; }

 private:
  ReadingsWriter(WriteTxn& txn, const CollectionDefinition& collection);
  Status LoadState();
  Status Seal();
  Status PutSealed(ReadingRecordBuilder& builder);
  // What is left of a record's readings without those of the filter; unchanged where `removed` is 0.
  Status Thin(Bytes record, const ReadingsFilter& filter, ReadingRecordBuilder& rest, std::uint64_t* removed);
  Result<std::uint64_t> RemoveFromTail(const ReadingsFilter& filter);
  Result<std::uint64_t> RemoveSealed(const ReadingsFilter& filter);

  WriteTxn& txn_;
  CollectionDefinition collection_;
  ReadingsState state_;
  ReadingRecordBuilder builder_;
  bool has_flushed_ = false;
  std::int64_t last_record_ = 0;
};

ReadingRecordBuilder MakeReadingBuilder(const CollectionDefinition& collection);
// How many there are, one that was written twice counted twice until both are sealed together.
Result<std::uint64_t> CountReadings(ReadTxn& txn, const CollectionDefinition& collection);
// Calls `problem` for what does not agree; returns the count.
Result<std::uint64_t> VerifyReadings(ReadTxn& txn, const CollectionDefinition& collection,
                                     const std::function<void(std::string)>& problem);

}  // namespace foreshore
