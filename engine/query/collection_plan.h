// How a scan of a collection runs, as xBestIndex decided it: packed into SQLite's idxNum.
//
// Threads: values; no sharing.
#pragma once

#include <cmath>
#include <cstdint>

namespace foreshore {

enum class ScanKind : std::uint8_t {
  kFull = 1,     // All documents in docid order.
  kById = 2,     // One document.
  kNearest = 3,  // In increasing distance from a vector.
  kByIdOrder = 4,
  kByRowid = 5,
  kField = 6,  // Over a secondary index; the rest is in the table's field_scans, under the plan's text.
  kText = 7,   // Full text: by docid, or best first.
};

// Arguments reach xFilter in the order of the members below.
struct ScanPlan {
  ScanKind kind = ScanKind::kFull;
  bool has_count = false;   // kNearest and kText: k.
  bool has_id = false;      // kNearest and kText: only this id, or these.
  bool id_is_list = false;  // kNearest and kText: the id argument is the right side of an IN.
  bool has_lower = false;   // kByIdOrder.
  bool has_upper = false;   // kByIdOrder.
  bool descending = false;  // kByIdOrder.
  bool has_rank = false;    // kText: a rank expression, the argument after the query.
  bool best_first = false;  // kText.
  bool by_rank = false;     // kText: SQLite counts on the order of rank, which hybrid() does not have.
  bool reads_rank = false;  // kText.
  bool has_bound = false;   // kNearest: distances up to the argument.
  bool has_filter = false;  // kNearest: only what a scan of a secondary index finds, of the table's field_scans.
  int vector_number = 0;    // kNearest: which of the table's vector columns. kText: the column of MATCH, 0 for all.

  int Encode() const {
    return static_cast<int>(kind) | (has_count ? 8 : 0) | (has_id ? 16 : 0) | (has_lower ? 32 : 0) |
           (has_upper ? 64 : 0) | (descending ? 128 : 0) | (id_is_list ? 256 : 0) | (has_rank ? 512 : 0) |
           (best_first ? 1024 : 0) | (by_rank ? 2048 : 0) | (reads_rank ? 4096 : 0) | (has_filter ? 8192 : 0) |
           (has_bound ? 16384 : 0) | (vector_number << 15);
  }
  static ScanPlan Decode(int number) {
    ScanPlan plan;
    plan.kind = static_cast<ScanKind>(number & 7);
    plan.has_count = (number & 8) != 0;
    plan.has_id = (number & 16) != 0;
    plan.has_lower = (number & 32) != 0;
    plan.has_upper = (number & 64) != 0;
    plan.descending = (number & 128) != 0;
    plan.id_is_list = (number & 256) != 0;
    plan.has_rank = (number & 512) != 0;
    plan.best_first = (number & 1024) != 0;
    plan.by_rank = (number & 2048) != 0;
    plan.reads_rank = (number & 4096) != 0;
    plan.has_filter = (number & 8192) != 0;
    plan.has_bound = (number & 16384) != 0;
    plan.vector_number = number >> 15;
    return plan;
  }
};

// How many documents a filter may find so that measuring all of them is quicker than streaming neighbours until ten
// pass: with N vectors and n that pass, 0.25 us * n against 4 us * 10 * N / n, where a document is fetched per
// neighbour. On GloVe (1 % of 340,479 pass, documents of 1 KB) they were 0.22 and 8 us, so that this errs towards
// streaming.
inline double NearestFilterRowsMax(double vector_count) {
  return std::sqrt(160 * vector_count);
}

// Of the vectors: where a filter finds more, about every second neighbour passes, and they are streamed.
inline constexpr double kNearestFilterShareMax = 0.4;

}  // namespace foreshore
