// The terms of a plan over an index that SQLite leaves to the scan: equality with one value, and the bounds of the path
// behind. The index's keys decide them, but for texts that are cut there; and where the index is not in the snapshot,
// or a live query names the documents, there are no keys. Then the documents are tested here, with SQLite's
// comparisons.
//
// Threads: immutable.
#pragma once

#include <sqlite3.h>

#include <string>
#include <string_view>
#include <vector>

#include "foreshore/bytes.h"

namespace foreshore {

struct FieldScanPlan;

// Whether keys hold only the beginning of the value.
bool IsCutInKeys(sqlite3_value* value);

class FieldTerms {
 public:
  FieldTerms() = default;
  // `arguments` as for RangesOf(). Empty where SQLite tests the terms itself.
  FieldTerms(const FieldScanPlan& plan, sqlite3_value** arguments);

  // Whether the keys do not decide every term.
  bool needs_documents() const { return needs_documents_; }
  bool empty() const { return terms_.empty(); }
  bool Pass(std::string_view body) const;

 private:
  enum class Comparison : std::uint8_t { kEqual, kAbove, kFrom, kBelow, kUpTo };
  struct Term {
    std::string path;
    Comparison comparison = Comparison::kEqual;
    ByteString key;  // Empty: nothing passes.
  };
  void Add(const std::string& path, Comparison comparison, sqlite3_value* value);

  std::vector<Term> terms_;
  bool needs_documents_ = false;
};

}  // namespace foreshore
