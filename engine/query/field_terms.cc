#include "engine/query/field_terms.h"

#include <algorithm>

#include "engine/database/field_entries.h"
#include "engine/database/field_key.h"
#include "engine/document/json.h"
#include "engine/query/field_scan.h"
#include "engine/query/sql_json.h"

namespace foreshore {
namespace {

// A value as the key of one that is never cut. A blob is behind every text.
ByteString WholeKeyOf(sqlite3_value* value) {
  ByteString key;
  switch (sqlite3_value_type(value)) {
    case SQLITE_INTEGER: AppendIntegerKey(key, sqlite3_value_int64(value)); break;
    case SQLITE_FLOAT: AppendRealKey(key, sqlite3_value_double(value)); break;
    case SQLITE_TEXT: AppendWholeTextKey(key, TextOf(value)); break;
    case SQLITE_BLOB: key += kAfterTextTag; break;
    default: break;
  }
  return key;
}

}  // namespace

bool IsCutInKeys(sqlite3_value* value) {
  return sqlite3_value_type(value) == SQLITE_TEXT && TextOf(value).size() > kIndexedTextBytesMax;
}

FieldTerms::FieldTerms(const FieldScanPlan& plan, sqlite3_value** arguments) {
  if (!plan.is_exact()) return;
  std::size_t next_argument = 0;
  for (std::size_t i = 0; i < plan.matches.size(); ++i) {
    sqlite3_value* argument = arguments[next_argument++];
    if (plan.checks_match(i)) Add(plan.paths[i], Comparison::kEqual, argument);
  }
  if (plan.lower != FieldBound::kNone) {
    Add(plan.paths[plan.matches.size()], plan.lower == FieldBound::kInclusive ? Comparison::kFrom : Comparison::kAbove,
        arguments[next_argument++]);
  }
  if (plan.upper != FieldBound::kNone) {
    Add(plan.paths[plan.matches.size()], plan.upper == FieldBound::kInclusive ? Comparison::kUpTo : Comparison::kBelow,
        arguments[next_argument++]);
  }
}

void FieldTerms::Add(const std::string& path, Comparison comparison, sqlite3_value* value) {
  terms_.push_back({path, comparison, WholeKeyOf(value)});
  needs_documents_ |= IsCutInKeys(value);
}

bool FieldTerms::Pass(std::string_view body) const {
  ByteString key;
  std::string buffer;
  return std::all_of(terms_.begin(), terms_.end(), [&](const Term& term) {
    key.clear();
    AppendWholeTokenKey(key, FindValue(body, term.path), buffer);
    if (term.key.empty() || key.front() == kNullTag) return false;
    switch (term.comparison) {
      case Comparison::kEqual: return key == term.key;
      case Comparison::kAbove: return key > term.key;
      case Comparison::kFrom: return key >= term.key;
      case Comparison::kBelow: return key < term.key;
      case Comparison::kUpTo: return key <= term.key;
    }
    return false;
  });
}

}  // namespace foreshore
