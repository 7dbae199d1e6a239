// Which documents a partial index holds: comparisons of paths with literals and IS [NOT] NULL, joined by AND.
//
//   size > 3 AND "site.name" IS NOT NULL AND status <> 'done'
//
// Values compare as in SQL on columns without a type: NULL passes no comparison, numbers sort before text.
//
// Threads: values; no sharing.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "foreshore/bytes.h"
#include "foreshore/status.h"

namespace foreshore {

enum class FieldTermKind : std::uint8_t {
  kEqual,
  kNotEqual,
  kLess,
  kLessOrEqual,
  kGreater,
  kGreaterOrEqual,
  kIsNull,
  kIsNotNull
};

struct FieldTerm {
  std::string path;  // In internal form, as ParsePath gives it.
  FieldTermKind kind = FieldTermKind::kIsNotNull;
  ByteString literal_key;  // Of a comparison: the literal as in field_key.h.

  // Whether a value passes; `value_key` as in field_key.h, at most its first value counts.
  bool Holds(Bytes value_key) const;
  // Whether every value that passes `other`, a term on the same path, passes this one.
  bool IsImpliedBy(FieldTermKind other, Bytes other_literal_key) const;
};

inline constexpr std::size_t kFieldTermCountMax = 16;

// kInvalidArgument names what was found and expected, with its place; kLimit for too many terms.
Result<std::vector<FieldTerm>> ParseFieldPredicate(std::string_view text);

}  // namespace foreshore
