// Counts the fields of a protobuf message before it is parsed: an empty submessage takes two bytes on the wire and
// fifty in memory, so sizes alone do not bound what a parser allocates.
//
// Threads: free functions over constant tables.
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>

#include "foreshore/bytes.h"
#include "foreshore/status.h"

namespace foreshore {

struct MessageShape;

struct FieldShape {
  std::uint32_t number;
  std::uint32_t count_max;     // In one message.
  const MessageShape* nested;  // nullptr: bytes or a number.
};

struct MessageShape {
  const char* name;
  std::span<const FieldShape> fields;
};

// Fields a shape does not list, in one message: those of later versions.
inline constexpr std::uint32_t kUnknownFieldCountMax = 64;

// kCorruption for broken wire bytes, kLimit for more fields than `shape` or `field_count_max` (all nesting levels
// together) allow.
Status CheckShape(Bytes wire, const MessageShape& shape, std::size_t field_count_max);

}  // namespace foreshore
