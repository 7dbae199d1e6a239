#include "engine/query/collection_plan.h"

#include <algorithm>
#include <cmath>

#include "engine/query/collection_table.h"
#include "engine/query/field_plan.h"
#include "engine/query/nearest_scan.h"

namespace foreshore {

namespace {

// Costs are in steps of a full scan; a document found by its id or docid costs two look-ups in the store.
constexpr double kLookUpCost = 4;
constexpr double kOrderedStepCost = 3;
constexpr double kNearestSetUpCost = 300;
constexpr double kNearestStepCost = 3;
constexpr double kDistanceSelectivity = 0.05;  // Of the vectors, within a distance that is not known.
constexpr double kTextSetUpCost = 100;
constexpr double kTextSelectivity = 0.05;  // Of the documents with text; what a query's words find is not known.
constexpr double kIdListRows = 20;         // An IN list's length is not known when a plan is made.

// The constraints of one table that a plan can use; -1 where there is none.
struct Constraints {
  int match = -1;
  int count = -1;
  int id_equal = -1;
  int id_lower = -1;
  int id_upper = -1;
  int rowid_equal = -1;
  int distance_upper = -1;
  int vector_number = 0;
  bool is_text = false;    // The match is of full text; vector_number is its column, or 0.
  int rank_match = -1;     // The rank expression of full text.
  bool has_match = false;  // Usable or not.
  bool must_wait = false;  // A MATCH or k depends on a table that comes later in this join order.
  double selectivity = 1;  // Of the terms that SQLite checks itself.
};

class Planner {
 public:
  Planner(CollectionTable& table, sqlite3_index_info& info) : table_(table), info_(info) {}

  Status Collect();
  void Choose();
  bool must_wait() const { return found_.must_wait; }

 private:
  using Constraint = sqlite3_index_info::sqlite3_index_constraint;
  const TableColumn* ColumnAt(int number) const {
    return number < 0 ? nullptr : &table_.columns[static_cast<std::size_t>(number)];
  }
  Status CollectMatch(int position, const Constraint& constraint);
  bool IsTextColumn(const TableColumn& column) const;
  Status CollectRankMatch(int position, const Constraint& constraint);
  void ChooseText(const CollectionDefinition& definition);
  bool Reads(ColumnKind kind) const;
  void CollectId(int position, const Constraint& constraint);
  // The value reaches xFilter as the next argument. `checked`: SQLite need not test the term again.
  void Use(int position, bool checked) {
    auto& usage = info_.aConstraintUsage[position];
    usage.argvIndex = ++argument_count_;
    usage.omit = checked ? 1 : 0;
  }
  // Those of a scan of a secondary index; `checked` by argument.
  void UseTerms(const FieldCandidate& scan, const std::vector<bool>& checked) {
    for (std::size_t i = 0; i < scan.positions.size(); ++i) {
      if (i < scan.plan.matches.size() && scan.plan.matches[i] == FieldMatch::kInList) {
        sqlite3_vtab_in(&info_, scan.positions[i], 1);
      }
      Use(scan.positions[i], checked[i]);
    }
  }
  bool OrdersBy(ColumnKind kind) const {
    if (info_.nOrderBy != 1) return false;
    const TableColumn* column = ColumnAt(info_.aOrderBy[0].iColumn);
    return column != nullptr && column->kind == kind;
  }
  void ChooseNearest(const CollectionDefinition& definition);
  std::optional<FieldCandidate> NearestFilter(const CollectionDefinition& definition, double vector_count);
  void ChooseIdOrder(double rows);
  bool ChooseField(const CollectionDefinition& definition, double rows);
  void Finish(const ScanPlan& plan, double cost, double rows, const std::string& text);

  CollectionTable& table_;
  sqlite3_index_info& info_;
  Constraints found_;
  int argument_count_ = 0;
};

Status Planner::CollectMatch(int position, const Constraint& constraint) {
  const TableColumn* column = ColumnAt(constraint.iColumn);
  if (column != nullptr && column->kind == ColumnKind::kRank) return CollectRankMatch(position, constraint);
  const bool is_text = column != nullptr && IsTextColumn(*column);
  if (column == nullptr || (column->kind != ColumnKind::kVector && !is_text)) {
    if (column != nullptr && column->kind == ColumnKind::kFullText) {
      return Status::NotFound("collection \"" + table_.name + "\": there is no full-text index to MATCH");
    }
    return Status::InvalidArgument("collection \"" + table_.name + "\": MATCH on \"" +
                                   (column ? column->name : "rowid") +
                                   "\", which is neither a vector field nor in a full-text index");
  }
  if (found_.has_match) {
    return Status::Unsupported("collection \"" + table_.name +
                               "\": two MATCH terms on one table, at most one is served");
  }
  found_.has_match = true;
  if (!constraint.usable) {
    found_.must_wait = true;
    return Status::Ok();
  }
  found_.match = position;
  found_.is_text = is_text;
  if (is_text) {
    found_.vector_number = column->kind == ColumnKind::kFullText ? 0 : constraint.iColumn;
    return Status::Ok();
  }
  for (int i = 0; i < constraint.iColumn; ++i) {
    if (table_.columns[static_cast<std::size_t>(i)].kind == ColumnKind::kVector) ++found_.vector_number;
  }
  return Status::Ok();
}

bool Planner::IsTextColumn(const TableColumn& column) const {
  const CollectionDefinition* definition =
      table_.session.declared ? table_.session.declared->FindById(table_.collection_id) : nullptr;
  if (definition == nullptr || !definition->text_index) return false;
  if (column.kind == ColumnKind::kFullText) return true;
  const auto& fields = definition->text_index->options.fields;
  return (column.kind == ColumnKind::kField || column.kind == ColumnKind::kPath) &&
         std::find(fields.begin(), fields.end(), column.name) != fields.end();
}

Status Planner::CollectRankMatch(int position, const Constraint& constraint) {
  if (found_.rank_match >= 0) {
    return Status::Unsupported("collection \"" + table_.name + "\": two MATCH terms on rank, at most one is served");
  }
  found_.rank_match = position;
  if (!constraint.usable) found_.must_wait = true;
  return Status::Ok();
}

void Planner::CollectId(int position, const Constraint& constraint) {
  if (!constraint.usable) return;
  // Under another collation more texts are equal than the one that was given.
  const char* collation = sqlite3_vtab_collation(&info_, position);
  if (collation != nullptr && sqlite3_stricmp(collation, "BINARY") != 0) return;
  switch (constraint.op) {
    case SQLITE_INDEX_CONSTRAINT_EQ:
    case SQLITE_INDEX_CONSTRAINT_IS: found_.id_equal = position; break;
    case SQLITE_INDEX_CONSTRAINT_GT:
    case SQLITE_INDEX_CONSTRAINT_GE: found_.id_lower = position; break;
    case SQLITE_INDEX_CONSTRAINT_LT:
    case SQLITE_INDEX_CONSTRAINT_LE: found_.id_upper = position; break;
    default: break;
  }
}

Status Planner::Collect() {
  int count_position = -1;
  for (int i = 0; i < info_.nConstraint; ++i) {
    const Constraint& constraint = info_.aConstraint[i];
    if (constraint.op == SQLITE_INDEX_CONSTRAINT_MATCH) {
      FORESHORE_RETURN_IF_ERROR(CollectMatch(i, constraint));
      continue;
    }
    // LIMIT and OFFSET stay with SQLite: consumed beside a term that SQLite filters later they would lose rows.
    if (constraint.op == SQLITE_INDEX_CONSTRAINT_LIMIT || constraint.op == SQLITE_INDEX_CONSTRAINT_OFFSET) continue;
    const TableColumn* column = ColumnAt(constraint.iColumn);
    const bool equal = constraint.op == SQLITE_INDEX_CONSTRAINT_EQ || constraint.op == SQLITE_INDEX_CONSTRAINT_IS;
    if (column == nullptr) {
      if (equal && constraint.usable) found_.rowid_equal = i;
    } else if (column->kind == ColumnKind::kId) {
      CollectId(i, constraint);
    } else if (column->kind == ColumnKind::kFullText && equal) {
      return Status::InvalidArgument("collection \"" + table_.name +
                                     "\": found = on the collection's own name, expected MATCH");
    } else if (column->kind == ColumnKind::kNearestCount) {
      if (!equal) {
        return Status::InvalidArgument("collection \"" + table_.name + "\": the hidden column k takes only k = number");
      }
      count_position = i;
    } else if (column->kind == ColumnKind::kDistance && constraint.usable &&
               (constraint.op == SQLITE_INDEX_CONSTRAINT_LT || constraint.op == SQLITE_INDEX_CONSTRAINT_LE)) {
      found_.distance_upper = i;
      found_.selectivity *= kDistanceSelectivity;
    } else if (constraint.usable) {
      found_.selectivity *= equal ? 0.1 : 0.5;
    }
  }
  if (found_.rank_match >= 0 && (!found_.has_match || (found_.match >= 0 && !found_.is_text))) {
    return Status::InvalidArgument("collection \"" + table_.name +
                                   "\": MATCH on rank goes with a full-text MATCH, and there is none");
  }
  if (count_position < 0) return Status::Ok();
  if (!found_.has_match) {
    return Status::InvalidArgument("collection \"" + table_.name +
                                   "\": the hidden column k bounds a MATCH, and there is none");
  }
  found_.count = count_position;
  if (!info_.aConstraint[count_position].usable) found_.must_wait = true;
  return Status::Ok();
}

void Planner::Finish(const ScanPlan& plan, double cost, double rows, const std::string& text) {
  info_.idxNum = plan.Encode();
  info_.idxStr = sqlite3_mprintf("%s", text.c_str());
  info_.needToFreeIdxStr = 1;
  info_.estimatedCost = cost;
  info_.estimatedRows = std::max<sqlite3_int64>(1, static_cast<sqlite3_int64>(std::ceil(rows)));
  if (table_.session.notes.calls_models) {
    table_.session.notes.planned_rows[std::to_string(info_.idxNum) + ":" + text] = info_.estimatedRows;
  }
}

// A secondary index that finds so few of the documents that to search among them may be quicker than to stream
// neighbours until enough of them pass.
std::optional<FieldCandidate> Planner::NearestFilter(const CollectionDefinition& definition, double vector_count) {
  // What is found is narrowed, and k counts neighbours before any other term.
  if (!HasFieldScans(definition) || found_.count >= 0 || found_.id_equal >= 0) return std::nullopt;
  const double documents = static_cast<double>(table_.session.EstimateRows(definition));
  auto best = BestFieldScan(table_, definition, info_, documents);
  if (!best || best->positions.empty()) return std::nullopt;
  // Where nothing is known it is tried: the scan gives up when it finds too many.
  if (!best->is_known || best->visited <= NearestFilterRowsMax(vector_count)) return best;
  if (best->visited > kNearestFilterShareMax * vector_count) return std::nullopt;
  best->plan.nearest_count = static_cast<std::uint64_t>(best->visited);
  return best;
}

void Planner::ChooseNearest(const CollectionDefinition& definition) {
  const auto& constraint = info_.aConstraint[found_.match];
  const TableColumn& column = table_.columns[static_cast<std::size_t>(constraint.iColumn)];
  const VectorIndexDefinition* index = table_.FindIndex(definition, column);
  ScanPlan plan;
  plan.kind = ScanKind::kNearest;
  plan.vector_number = found_.vector_number;
  Use(found_.match, true);
  double rows = index ? static_cast<double>(table_.session.core.VectorCount(*index)) : 1;
  // What is asked for is known only at run time, and a LIMIT beside MATCH not even then.
  std::size_t k_hint = 10;
  if (found_.count >= 0) {
    plan.has_count = true;
    Use(found_.count, true);
    sqlite3_value* value = nullptr;
    if (sqlite3_vtab_rhs_value(&info_, found_.count, &value) == SQLITE_OK && value != nullptr) {
      k_hint = static_cast<std::size_t>(std::clamp<sqlite3_int64>(sqlite3_value_int64(value), 1, 100'000));
    }
    rows = std::min(rows, static_cast<double>(k_hint));
  }
  std::string text = "k-NN " + column.name + ": ";
  // SQLite tests it again; here it says where to stop.
  const auto use_bound = [&] {
    if (found_.distance_upper < 0 || plan.has_id) return;
    plan.has_bound = true;
    Use(found_.distance_upper, false);
    text += "within a distance: ";
  };
  double cost = kNearestSetUpCost + kNearestStepCost * rows;
  // Distances of named documents need no search; with k only a search knows whether they are among the nearest.
  if (found_.id_equal >= 0 && found_.count < 0) {
    plan.has_id = true;
    plan.id_is_list = sqlite3_vtab_in(&info_, found_.id_equal, 1) != 0;
    Use(found_.id_equal, true);
    rows = plan.id_is_list ? kIdListRows : 1;
    cost = (kLookUpCost + 2) * rows;
    text += plan.id_is_list ? "distances of listed documents" : "distance of one document";
  } else if (auto filter = index ? NearestFilter(definition, rows) : std::nullopt) {
    use_bound();
    plan.has_filter = true;
    UseTerms(*filter, std::vector<bool>(filter->positions.size(), false));
    rows = std::max(1.0, filter->rows);
    cost = kNearestSetUpCost + kNearestStepCost * rows;
    const std::size_t count = filter->plan.nearest_count;
    std::string strategy = "exact scan of the codes";
    if (count > 0) {
      strategy = "after " + std::to_string(StreamedNeighboursMax(count)) + " neighbours of all " +
                 table_.session.core.NearestStrategy(*index, k_hint, count);
    }
    text = table_.KeepFieldScan(filter->plan, text + strategy + " of " + filter->text);
  } else {
    use_bound();
    text += index ? table_.session.core.NearestStrategy(*index, k_hint) : "no index";
  }
  info_.orderByConsumed = OrdersBy(ColumnKind::kDistance) && info_.aOrderBy[0].desc == 0;
  table_.session.notes.plans_nearest = true;
  Finish(plan, cost, plan.has_filter ? rows : rows * found_.selectivity, text);
}

bool Planner::Reads(ColumnKind kind) const {
  for (std::size_t i = 0; i < table_.columns.size(); ++i) {
    if (table_.columns[i].kind == kind && (info_.colUsed >> std::min<std::size_t>(i, 63) & 1) != 0) return true;
  }
  return false;
}

void Planner::ChooseText(const CollectionDefinition& definition) {
  ScanPlan plan;
  plan.kind = ScanKind::kText;
  plan.vector_number = found_.vector_number;
  Use(found_.match, true);
  if (found_.rank_match >= 0) {
    plan.has_rank = true;
    Use(found_.rank_match, true);
  }
  const TextIndexDefinition& index = *definition.text_index;
  double rows = 1 + kTextSelectivity * static_cast<double>(table_.session.core.TextCount(index));
  if (found_.count >= 0) {
    plan.has_count = true;
    Use(found_.count, true);
    rows = std::min(rows, 10.0);
  }
  // With k only a search knows whether the named documents are among the best.
  if (found_.id_equal >= 0 && found_.count < 0) {
    plan.has_id = true;
    plan.id_is_list = sqlite3_vtab_in(&info_, found_.id_equal, 1) != 0;
    Use(found_.id_equal, true);
    rows = plan.id_is_list ? kIdListRows : 1;
  }
  plan.by_rank = OrdersBy(ColumnKind::kRank) && info_.aOrderBy[0].desc == 0;
  const bool by_score = OrdersBy(ColumnKind::kScore) && info_.aOrderBy[0].desc != 0;
  if (plan.by_rank || by_score) info_.orderByConsumed = 1;
  plan.reads_rank = Reads(ColumnKind::kRank);
  plan.best_first = info_.orderByConsumed != 0 || plan.has_count || Reads(ColumnKind::kScore);
  std::string text = "full text " + definition.name + "(";
  for (const std::string& field : index.options.fields) text += (text.back() == '(' ? "" : ", ") + field;
  text += "), " + std::string(TextTokenizerName(index.options.tokenizer));
  if (found_.vector_number > 0) {
    text += ", only " + table_.columns[static_cast<std::size_t>(found_.vector_number)].name;
  }
  if (plan.has_id) text += plan.id_is_list ? ", of listed documents" : ", of one document";
  text += plan.best_first ? ", best first" : ", by docid";
  table_.session.notes.plans_nearest = true;
  auto& texts = table_.session.notes.text_collections;  // Plans are asked for again and again.
  if (std::find(texts.begin(), texts.end(), definition.id) == texts.end()) texts.push_back(definition.id);
  Finish(plan, kTextSetUpCost + kLookUpCost * rows, rows * found_.selectivity, text);
}

void Planner::ChooseIdOrder(double rows) {
  ScanPlan plan;
  plan.kind = ScanKind::kByIdOrder;
  std::string text = "ids in order";
  if (found_.id_lower >= 0) {
    plan.has_lower = true;
    Use(found_.id_lower, false);
    rows /= 4;
    text += ", from id";
  }
  if (found_.id_upper >= 0) {
    plan.has_upper = true;
    Use(found_.id_upper, false);
    rows /= 4;
    text += ", to id";
  }
  if (OrdersBy(ColumnKind::kId)) {
    plan.descending = info_.aOrderBy[0].desc != 0;
    info_.orderByConsumed = 1;
    if (plan.descending) text += ", descending";
  }
  Finish(plan, 10 + kOrderedStepCost * rows, rows * found_.selectivity, text);
}

// Whether a secondary index serves better than a scan of all documents or of a run of ids.
bool Planner::ChooseField(const CollectionDefinition& definition, double rows) {
  if (!HasFieldScans(definition)) return false;
  auto best = BestFieldScan(table_, definition, info_, rows);
  if (!best) return false;
  double other_cost = 10 + rows;
  double passing = rows * found_.selectivity;
  bool other_orders = info_.nOrderBy == 1 && info_.aOrderBy[0].iColumn < 0 && info_.aOrderBy[0].desc == 0;
  if (found_.id_lower >= 0 || found_.id_upper >= 0 || OrdersBy(ColumnKind::kId)) {
    double in_range = rows;
    if (found_.id_lower >= 0) in_range /= 4;
    if (found_.id_upper >= 0) in_range /= 4;
    other_cost = 10 + kOrderedStepCost * in_range;
    passing = in_range * found_.selectivity;
    other_orders = OrdersBy(ColumnKind::kId);
  }
  if (!other_orders) other_cost += SortCost(info_, passing);
  if (best->cost + (best->orders ? 0 : SortCost(info_, best->rows)) >= other_cost) return false;
  UseTerms(*best, best->checked);
  info_.orderByConsumed = best->orders ? 1 : 0;
  ScanPlan plan;
  plan.kind = ScanKind::kField;
  Finish(plan, best->cost, best->rows, table_.KeepFieldScan(best->plan, std::move(best->text)));
  return true;
}

void Planner::Choose() {
  static const CollectionDefinition kNone;
  const CollectionDefinition* known =
      table_.session.declared ? table_.session.declared->FindById(table_.collection_id) : nullptr;
  const CollectionDefinition& definition = known ? *known : kNone;
  if (found_.match >= 0) return found_.is_text ? ChooseText(definition) : ChooseNearest(definition);
  if (found_.rowid_equal >= 0 || found_.id_equal >= 0) {
    const bool by_rowid = found_.rowid_equal >= 0;
    ScanPlan plan;
    plan.kind = by_rowid ? ScanKind::kByRowid : ScanKind::kById;
    Use(by_rowid ? found_.rowid_equal : found_.id_equal, false);
    info_.idxFlags |= SQLITE_INDEX_SCAN_UNIQUE;
    info_.orderByConsumed = 1;  // SQLite takes this back for IN.
    return Finish(plan, by_rowid ? kLookUpCost / 2 : kLookUpCost, found_.selectivity, by_rowid ? "docid" : "id");
  }
  const double rows = static_cast<double>(table_.session.EstimateRows(definition));
  if (ChooseField(definition, rows)) return;
  if (found_.id_lower >= 0 || found_.id_upper >= 0 || OrdersBy(ColumnKind::kId)) return ChooseIdOrder(rows);
  ScanPlan plan;
  if (info_.nOrderBy == 1 && info_.aOrderBy[0].iColumn < 0 && info_.aOrderBy[0].desc == 0) info_.orderByConsumed = 1;
  Finish(plan, 10 + rows, rows * found_.selectivity, "full scan");
}

}  // namespace

int PlanCollectionScan(sqlite3_vtab* base, sqlite3_index_info* info) {
  auto& table = *static_cast<CollectionTable*>(base);
  Planner planner(table, *info);
  if (const Status status = planner.Collect(); !status.ok()) return table.Fail(status);
  if (planner.must_wait()) return SQLITE_CONSTRAINT;
  planner.Choose();
  return SQLITE_OK;
}

}  // namespace foreshore
