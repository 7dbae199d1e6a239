// What a collection is made for.
//
// Threads: values.
#pragma once

#include <cstdint>
#include <string>

namespace foreshore {

enum class CollectionKind : std::uint8_t {  // Stored: never renumber.
  kDocuments = 1,                           // Documents under ids of their own, merged between devices.
  // Time-ordered readings, written once and mostly appended: compact, fast, read by series and time. A reading is a
  // document with an integer time and, where there is a series field, a text or integer that names its series. Its id
  // is
  // "<series>@<time>.<number>", made by the database. Readings stay on this device: they are not synced.
  kReadings = 2,
};

enum class TimeUnit : std::uint8_t { kSeconds = 1, kMilliseconds = 2, kMicroseconds = 3, kNanoseconds = 4 };  // Stored.

struct CollectionOptions {
  CollectionKind kind = CollectionKind::kDocuments;
  // The rest is for readings.
  std::string time_field = {};    // A top-level field; integers since 1970-01-01 UTC.
  std::string series_field = {};  // A top-level field, or empty: all readings are one series.
  TimeUnit time_unit = TimeUnit::kMilliseconds;
  std::int64_t retention_ms = 0;  // Readings older than this are removed now and then; 0 keeps all.
};

// Readings of one series (empty: of all) with from <= time < to.
struct ReadingRange {
  std::string series = {};
  std::int64_t from = INT64_MIN;
  std::int64_t to = INT64_MAX;
};

}  // namespace foreshore
