// Keys of a readings collection's index (readings.h).
//
// Threads: free functions, safe from any thread.
#pragma once

#include <string>
#include <string_view>

#include "storage/base/coding.h"

namespace foreshore {

inline constexpr char kSealedEntry = 'c';
inline constexpr char kSpanEntry = 'm';
inline constexpr char kNumberEntry = 'n';

// JSON tokens contain no zero byte, so that one series' keys are together.
inline ByteString SealedPrefix(std::string_view series) {
  ByteString key(1, kSealedEntry);
  key += series;
  key += '\0';
  return key;
}
inline ByteString SealedKey(std::string_view series, std::int64_t first_time, std::int64_t record_number) {
  ByteString key = SealedPrefix(series);
  AppendSortable64(key, first_time);
  AppendSortable64(key, record_number);
  return key;
}
inline ByteString SpanKey(std::string_view series) {
  return ByteString(1, kSpanEntry) + ByteString(series);
}

struct SealedEntry {
  std::string_view series;
  std::int64_t first_time = 0;
  std::int64_t last_time = 0;
  std::int64_t record_number = 0;
  std::uint64_t count = 0;
};
// False where the entry does not follow the format. `series` points into the key.
inline bool DecodeSealedEntry(Bytes key, Bytes value, SealedEntry& entry) {
  if (key.size() < 18 || key[0] != kSealedEntry || key[key.size() - 17] != '\0') return false;
  entry.series = key.substr(1, key.size() - 18);
  entry.first_time = LoadSortable64(key.data() + key.size() - 16);
  entry.record_number = LoadSortable64(key.data() + key.size() - 8);
  ByteReader reader(value);
  entry.last_time = static_cast<std::int64_t>(static_cast<std::uint64_t>(entry.first_time) + reader.Varint());
  entry.count = reader.Varint();
  return reader.ok() && reader.at_end() && entry.last_time >= entry.first_time;
}
inline ByteString SealedValue(std::int64_t first_time, std::int64_t last_time, std::uint64_t count) {
  ByteString value;
  AppendVarint(value, static_cast<std::uint64_t>(last_time) - static_cast<std::uint64_t>(first_time));
  AppendVarint(value, count);
  return value;
}

}  // namespace foreshore
