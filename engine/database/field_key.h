// Keys of secondary indexes: values as bytes whose order is SQL's order, then the document's number.
//
//   08                NULL, absent
//   10 … 12           numbers: negative, zero, positive. Integers and doubles compare by their exact values
//   20 … 00           text, in BINARY order; a zero byte inside is 00 ff
//   20 … 01           the first kIndexedTextBytesMax bytes of a longer text: a look-up must test the document
//   8 bytes           docid, big-endian with the sign flipped
//
// A number is the double at or below it: the 63 bits without the sign in groups of seven, each shifted left by one,
// with bit 0 set where a group follows that is not zero (complemented for negative numbers); from 2^53 two bytes follow
// with how much an integer is above that double. docs/file-format.md has the bytes.
//
// Invariant: no byte after a value's encoding is ff, so the keys that begin with a value V are those in [V, V ff).
//
// Threads: free functions, safe from any thread.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

#include "foreshore/bytes.h"

namespace foreshore {

// Text beyond this is cut in keys. A multiple of such texts stays under the store's limit of an entry.
inline constexpr std::size_t kIndexedTextBytesMax = 200;

inline constexpr char kNullTag = 0x08;
inline constexpr char kNegativeTag = 0x10;
inline constexpr char kZeroTag = 0x11;
inline constexpr char kPositiveTag = 0x12;
inline constexpr char kTextTag = 0x20;
inline constexpr char kAfterNumbersTag = 0x13;
inline constexpr char kAfterTextTag = 0x21;
inline constexpr char kKeyEnd = '\xff';

inline void AppendNullKey(ByteString& key) {
  key += kNullTag;
}
void AppendIntegerKey(ByteString& key, std::int64_t value);
void AppendRealKey(ByteString& key, double value);  // Not NaN, which JSON does not have.
// Returns whether the text was cut.
bool AppendTextKey(ByteString& key, std::string_view text);
// Without a limit; never in an index.
void AppendWholeTextKey(ByteString& key, std::string_view text);
// The beginning of every text that begins with `prefix`, which is cut too.
void AppendTextPrefixKey(ByteString& key, std::string_view prefix);

inline constexpr std::size_t kDocidKeyBytes = 8;
void AppendDocidKey(ByteString& key, std::int64_t docid);
// 0 where the key is too short to have one; documents begin at 1.
std::int64_t DocidOfKey(Bytes key);

// One value read back from a key.
struct KeyValue {
  enum class Kind : std::uint8_t { kNull, kInteger, kReal, kText, kCutText } kind = Kind::kNull;
  std::int64_t integer = 0;
  double real = 0;        // Also of an integer.
  std::string_view text;  // Into the key, or into the buffer that was given.
};
// Reads the value at the front of `rest` and moves behind it. An integral number below 2^63 is kInteger: whether it was
// REAL is not in the key. nullopt where the bytes are no value.
std::optional<KeyValue> ReadKeyValue(Bytes& rest, std::string& buffer);
// Only moves behind it; false where the bytes are no value. `is_cut` says whether it is a text that was cut.
bool SkipKeyValue(Bytes& rest, bool* is_cut = nullptr);

}  // namespace foreshore
