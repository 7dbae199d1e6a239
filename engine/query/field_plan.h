// Which secondary index serves a scan best, and how.
//
// Costs are in steps of a full scan, as in collection_plan.cc.
#pragma once

#include <sqlite3.h>

#include <optional>
#include <string>
#include <vector>

#include "engine/query/collection_table.h"
#include "engine/query/field_scan.h"

namespace foreshore {

struct FieldCandidate {
  FieldScanPlan plan;
  std::vector<int> positions;  // Of the constraints whose values are the plan's arguments, in their order.
  std::vector<bool> checked;   // By argument: SQLite need not test the term again.
  bool orders = false;         // Gives the rows in the order that is asked for.
  double cost = 0;
  double rows = 0;        // That pass every usable term.
  double visited = 0;     // That the index finds.
  bool is_known = false;  // By statistics, not guessed.
  std::string text;
};

// What sorting so many rows would cost, for plans that leave it to SQLite.
double SortCost(const sqlite3_index_info& info, double rows);

inline bool HasFieldScans(const CollectionDefinition& definition) {
  return !definition.field_indexes.empty() || !definition.predictive_indexes.empty();
}

// The cheapest plan over an index that narrows the scan or gives its order; nullopt where none does.
std::optional<FieldCandidate> BestFieldScan(CollectionTable& table, const CollectionDefinition& definition,
                                            sqlite3_index_info& info, double document_count);

}  // namespace foreshore
