#include "engine/query/field_plan.h"

#include <algorithm>
#include <cmath>
#include <cstdio>

#include "engine/database/field_statistics.h"
#include "engine/database/predictive_worker.h"
#include "engine/document/json.h"
#include "engine/query/sql_json.h"

namespace foreshore {
namespace {

constexpr double kSeekCost = 4;
constexpr double kKeyStepCost = 0.6;       // An entry whose document is not needed.
constexpr double kDocumentStepCost = 3.5;  // An entry with its document, which lies anywhere.
constexpr double kSortStepCost = 0.1;
constexpr double kPredictStepCost = 40;  // A document whose prediction is missing: some microseconds at the least.
constexpr double kInListCount = 10;      // How long an IN list is, is not known when a plan is made.
constexpr double kUnknownLimit = 100;

// Guesses where there are no statistics.
constexpr double kEqualFraction = 0.05;
constexpr double kRangeFraction = 0.25;
constexpr double kBothBoundsFraction = 0.05;
constexpr double kOtherFraction = 0.5;

using Constraint = sqlite3_index_info::sqlite3_index_constraint;

bool IsEqual(int op) {
  return op == SQLITE_INDEX_CONSTRAINT_EQ || op == SQLITE_INDEX_CONSTRAINT_IS;
}

// "site", "\"site.name\"": as it would be written in SQL.
std::string NameOfPath(const IndexedPath& path) {
  if (IsPathOfPrediction(path.path)) return path.path.substr(1);
  const std::string name = PathForPeople(path.path);
  return name.find_first_not_of("abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_") == std::string::npos
             ? name
             : QuoteIdentifier(name);
}

class IndexPlanner {
 public:
  IndexPlanner(CollectionTable& table, const CollectionDefinition& definition, const FieldIndexDefinition& index,
               sqlite3_index_info& info, double document_count)
      : table_(table), definition_(definition), index_(index), info_(info), document_count_(document_count) {}

  std::optional<FieldCandidate> Plan() {
    if (!QueryImpliesPredicate()) return std::nullopt;
    CollectMatches();
    const bool has_elements = std::any_of(index_.paths.begin(), index_.paths.end(),
                                          [](const IndexedPath& path) { return path.is_each_element; });
    // Only under one element does a document stand in the index once.
    if (has_elements && !element_is_matched_) return std::nullopt;
    CollectRange();
    candidate_.orders = FindOrder();
    candidate_.plan.in_order = candidate_.orders;
    const bool narrows = !candidate_.positions.empty() || candidate_.plan.not_null;
    if (!narrows && !candidate_.orders && !IsCovering()) return std::nullopt;
    candidate_.plan.index_id = index_.id;
    candidate_.plan.is_predictive = IsPathOfPrediction(index_.paths[0].path);
    // A document does not say what is predicted of it, so that SQLite tests the terms itself.
    candidate_.plan.converts = candidate_.plan.is_predictive || table_.session.statement_converts();
    CollectChecked();
    Estimate();
    Describe();
    return std::move(candidate_);
  }

 private:
  std::size_t position_count() const { return candidate_.plan.matches.size(); }
  const TableColumn* ColumnOf(const Constraint& constraint) const {
    return constraint.iColumn < 0 ? nullptr : &table_.columns[static_cast<std::size_t>(constraint.iColumn)];
  }
  bool IsOn(int position, std::string_view path) const {
    const TableColumn* column = ColumnOf(info_.aConstraint[position]);
    return column != nullptr && !column->path.empty() && column->path == path;
  }
  // Under another collation more texts are equal, and their order is another.
  bool IsBinary(int position) const {
    const char* collation = sqlite3_vtab_collation(&info_, position);
    return collation == nullptr || sqlite3_stricmp(collation, "BINARY") == 0;
  }
  // The value of the other side where it is known at planning, and can have no affinity.
  sqlite3_value* KnownValue(int position) const {
    sqlite3_value* value = nullptr;
    if (table_.session.statement_converts() || sqlite3_vtab_rhs_value(&info_, position, &value) != SQLITE_OK) {
      return nullptr;
    }
    return value;
  }

  bool Implies(int position, const FieldTerm& term) const {
    const Constraint& constraint = info_.aConstraint[position];
    if (constraint.op == SQLITE_INDEX_CONSTRAINT_ISNULL) return term.IsImpliedBy(FieldTermKind::kIsNull, {});
    FieldTermKind kind = FieldTermKind::kIsNotNull;
    switch (constraint.op) {
      case SQLITE_INDEX_CONSTRAINT_EQ:
      case SQLITE_INDEX_CONSTRAINT_IS: kind = FieldTermKind::kEqual; break;
      case SQLITE_INDEX_CONSTRAINT_NE: kind = FieldTermKind::kNotEqual; break;
      case SQLITE_INDEX_CONSTRAINT_LT: kind = FieldTermKind::kLess; break;
      case SQLITE_INDEX_CONSTRAINT_LE: kind = FieldTermKind::kLessOrEqual; break;
      case SQLITE_INDEX_CONSTRAINT_GT: kind = FieldTermKind::kGreater; break;
      case SQLITE_INDEX_CONSTRAINT_GE: kind = FieldTermKind::kGreaterOrEqual; break;
      case SQLITE_INDEX_CONSTRAINT_ISNOTNULL:
      case SQLITE_INDEX_CONSTRAINT_LIKE:
      case SQLITE_INDEX_CONSTRAINT_GLOB: break;
      default: return false;
    }
    ByteString key;
    sqlite3_value* value = kind == FieldTermKind::kIsNotNull || !IsBinary(position) ? nullptr : KnownValue(position);
    const int type = value == nullptr ? SQLITE_NULL : sqlite3_value_type(value);
    if (type == SQLITE_INTEGER) AppendIntegerKey(key, sqlite3_value_int64(value));
    if (type == SQLITE_FLOAT) AppendRealKey(key, sqlite3_value_double(value));
    if (type == SQLITE_TEXT && AppendTextKey(key, TextOf(value))) key.clear();
    if (!key.empty()) return term.IsImpliedBy(kind, key);
    // A value that is not known may be NULL, which only IS lets pass.
    return constraint.op != SQLITE_INDEX_CONSTRAINT_IS && term.IsImpliedBy(FieldTermKind::kIsNotNull, {});
  }

  bool QueryImpliesPredicate() const {
    return std::all_of(index_.predicate.begin(), index_.predicate.end(), [&](const FieldTerm& term) {
      for (int i = 0; i < info_.nConstraint; ++i) {
        if (info_.aConstraint[i].usable && IsOn(i, term.path) && Implies(i, term)) return true;
      }
      return false;
    });
  }

  // The best equality on a path of the index; -1 where there is none. A single value beats a list.
  int FindEquality(const IndexedPath& path, FieldMatch& match) const {
    int found = -1;
    for (int i = 0; i < info_.nConstraint; ++i) {
      const Constraint& constraint = info_.aConstraint[i];
      if (!constraint.usable || !IsOn(i, path.path)) continue;
      if (path.is_each_element) {
        if (constraint.op != kArrayContainsConstraint) continue;
        match = FieldMatch::kElement;
        return i;
      }
      if (constraint.op == SQLITE_INDEX_CONSTRAINT_ISNULL) {
        match = FieldMatch::kIs;
        return i;
      }
      if (!IsEqual(constraint.op) || !IsBinary(i)) continue;
      const bool is_list = sqlite3_vtab_in(&info_, i, -1) != 0;
      if (is_list && found >= 0) continue;
      found = i;
      match = is_list                                       ? FieldMatch::kInList
              : constraint.op == SQLITE_INDEX_CONSTRAINT_IS ? FieldMatch::kIs
                                                            : FieldMatch::kEqual;
      if (!is_list) return i;
    }
    return found;
  }

  void CollectMatches() {
    for (const IndexedPath& path : index_.paths) {
      FieldMatch match = FieldMatch::kEqual;
      const int position = FindEquality(path, match);
      if (position < 0) break;
      // One list at most is walked by one run; SQLite runs the scan again for each value of further ones.
      if (match == FieldMatch::kInList && has_list_) match = FieldMatch::kEqual;
      has_list_ |= match == FieldMatch::kInList;
      element_is_matched_ |= path.is_each_element;
      candidate_.plan.matches.push_back(match);
      candidate_.positions.push_back(position);
    }
  }

  void CollectRange() {
    if (position_count() >= index_.paths.size() || index_.paths[position_count()].is_each_element) return;
    int lower = -1;
    int upper = -1;
    int pattern = -1;
    FieldScanPlan& plan = candidate_.plan;
    for (int i = 0; i < info_.nConstraint; ++i) {
      const Constraint& constraint = info_.aConstraint[i];
      if (!constraint.usable || !IsOn(i, index_.paths[position_count()].path)) continue;
      switch (constraint.op) {
        case SQLITE_INDEX_CONSTRAINT_ISNOTNULL: plan.not_null = true; break;
        case SQLITE_INDEX_CONSTRAINT_LIKE:
        case SQLITE_INDEX_CONSTRAINT_GLOB:
          pattern = i;
          plan.pattern = constraint.op == SQLITE_INDEX_CONSTRAINT_LIKE ? FieldPattern::kLike : FieldPattern::kGlob;
          break;
        case SQLITE_INDEX_CONSTRAINT_GT:
        case SQLITE_INDEX_CONSTRAINT_GE:
          if (!IsBinary(i)) break;
          lower = i;
          plan.lower = constraint.op == SQLITE_INDEX_CONSTRAINT_GE ? FieldBound::kInclusive : FieldBound::kExclusive;
          break;
        case SQLITE_INDEX_CONSTRAINT_LT:
        case SQLITE_INDEX_CONSTRAINT_LE:
          if (!IsBinary(i)) break;
          upper = i;
          plan.upper = constraint.op == SQLITE_INDEX_CONSTRAINT_LE ? FieldBound::kInclusive : FieldBound::kExclusive;
          break;
        default: break;
      }
    }
    for (const int position : {lower, upper, pattern}) {
      if (position >= 0) candidate_.positions.push_back(position);
    }
  }

  // SQLite may run the scan once for each value of an IN, and shows them as single ones.
  void CollectChecked() {
    FieldScanPlan& plan = candidate_.plan;
    for (std::size_t i = 0; i < candidate_.positions.size(); ++i) {
      bool is_checked = plan.is_exact();
      if (i < plan.matches.size()) {
        is_checked &=
            plan.matches[i] == FieldMatch::kEqual && sqlite3_vtab_in(&info_, candidate_.positions[i], -1) == 0;
        plan.checked_matches.push_back(is_checked);
      } else {
        is_checked &= info_.aConstraint[candidate_.positions[i]].op != SQLITE_INDEX_CONSTRAINT_LIKE &&
                      info_.aConstraint[candidate_.positions[i]].op != SQLITE_INDEX_CONSTRAINT_GLOB;
      }
      candidate_.checked.push_back(is_checked);
    }
    const std::size_t path_count = std::min(index_.paths.size(), plan.matches.size() + 1);
    for (std::size_t i = 0; i < path_count; ++i) plan.paths.push_back(index_.paths[i].path);
  }

  // Whether the index gives the rows in the order that is asked for, forwards or backwards.
  bool FindOrder() {
    if (info_.nOrderBy == 0) return false;
    std::size_t next = 0;
    std::optional<bool> descending;
    for (int i = 0; i < info_.nOrderBy; ++i) {
      const auto& term = info_.aOrderBy[i];
      const bool term_descends = term.desc != 0;
      const bool is_rowid = term.iColumn < 0;
      if (!is_rowid) {
        const std::string& path = table_.columns[static_cast<std::size_t>(term.iColumn)].path;
        if (path.empty()) return false;
        if (IsConstantColumn(path)) continue;
        while (IsConstantPart(next) && index_.paths[next].path != path) ++next;
        if (next >= index_.paths.size() || index_.paths[next].path != path || index_.paths[next].is_each_element) {
          return false;
        }
        ++next;
      } else {
        // Entries of equal values are in the order of their documents' numbers.
        while (IsConstantPart(next)) ++next;
        if (next < index_.paths.size() || has_list_) return false;
      }
      if (descending && *descending != term_descends) return false;
      descending = term_descends;
      if (is_rowid) break;  // No two rows have one.
    }
    candidate_.plan.descending = descending.value_or(false);
    return true;
  }
  // Whether all entries have one value there.
  bool IsConstantPart(std::size_t number) const {
    return number < position_count() && candidate_.plan.matches[number] != FieldMatch::kInList;
  }
  // Whether all rows have one value there; with one element in common, arrays may differ.
  bool IsConstantColumn(std::string_view path) const {
    for (std::size_t i = 0; i < position_count(); ++i) {
      if (index_.paths[i].path == path) return IsConstantPart(i) && !index_.paths[i].is_each_element;
    }
    return false;
  }

  // Whether the index has every column that the statement asks for. Only a document says that it has expired.
  bool IsCovering() const {
    if (!definition_.expiry_field.empty()) return false;
    sqlite3_uint64 covered = 0;
    for (std::size_t i = 0; i < table_.columns.size() && i < 63; ++i) {
      const std::string& path = table_.columns[i].path;
      const auto has_path = [&](const IndexedPath& each) { return !each.is_each_element && each.path == path; };
      if (!path.empty() && std::any_of(index_.paths.begin(), index_.paths.end(), has_path)) {
        covered |= sqlite3_uint64{1} << i;
      }
    }
    return (info_.colUsed & ~covered) == 0;
  }

  double LimitedRows(double passing) const {
    double limit = -1;
    double offset = 0;
    for (int i = 0; i < info_.nConstraint; ++i) {
      const int op = info_.aConstraint[i].op;
      if (op != SQLITE_INDEX_CONSTRAINT_LIMIT && op != SQLITE_INDEX_CONSTRAINT_OFFSET) continue;
      sqlite3_value* value = nullptr;
      const bool is_known = sqlite3_vtab_rhs_value(&info_, i, &value) == SQLITE_OK && value != nullptr;
      const double number = is_known ? sqlite3_value_double(value) : kUnknownLimit;
      (op == SQLITE_INDEX_CONSTRAINT_LIMIT ? limit : offset) = std::max(0.0, number);
    }
    return limit < 0 ? passing : std::min(passing, limit + offset);
  }

  // How many of the index's entries the scan walks through.
  double VisitedFraction(const FieldStatistics* statistics, double list_count) {
    const FieldScanPlan& plan = candidate_.plan;
    if (statistics != nullptr && !has_list_) {
      std::vector<sqlite3_value*> values;
      for (const int position : candidate_.positions) {
        sqlite3_value* value = nullptr;
        if (sqlite3_vtab_rhs_value(&info_, position, &value) != SQLITE_OK || value == nullptr) break;
        values.push_back(value);
      }
      const auto ranges = values.size() == candidate_.positions.size() ? RangesOf(plan, values.data())
                                                                       : Status::NotFound("a value that is not known");
      if (ranges.ok()) return FractionOf(*statistics, *ranges);
    }
    double fraction = 1;
    if (statistics != nullptr && position_count() > 0) {
      fraction =
          1.0 / static_cast<double>(std::max<std::uint64_t>(1, statistics->distinct_counts[position_count() - 1]));
    } else {
      for (std::size_t i = 0; i < position_count(); ++i) fraction *= kEqualFraction;
    }
    if (has_list_) fraction = std::min(1.0, fraction * list_count);
    const bool lower = plan.lower != FieldBound::kNone;
    const bool upper = plan.upper != FieldBound::kNone;
    if (lower && upper) return fraction * kBothBoundsFraction;
    if (lower || upper || plan.pattern != FieldPattern::kNone) return fraction * kRangeFraction;
    return fraction;
  }

  double FractionOf(const FieldStatistics& statistics, const std::vector<KeyRange>& ranges) const {
    double fraction = 0;
    for (const KeyRange& range : ranges) fraction += statistics.FractionBetween(range.begin, range.end);
    // Few samples say little of one value; many say that it is a frequent one.
    const bool is_point = position_count() > 0 && candidate_.positions.size() == position_count();
    if (is_point && fraction * static_cast<double>(statistics.samples.size()) < 4) {
      const std::uint64_t distinct = std::max<std::uint64_t>(1, statistics.distinct_counts[position_count() - 1]);
      return 1.0 / static_cast<double>(distinct);
    }
    return std::min(1.0, fraction);
  }

  void Estimate() {
    const auto statistics = table_.session.core.field_statistics().Of(index_);
    const double entry_count = statistics ? static_cast<double>(statistics->entry_count) : document_count_;
    const double list_count = has_list_ ? std::max(1.0, std::min(kInListCount, document_count_)) : 1;
    double visited = entry_count * VisitedFraction(statistics.get(), list_count);
    if (index_.options.unique && position_count() == index_.paths.size()) visited = std::min(visited, list_count);
    candidate_.visited = visited;
    candidate_.is_known = statistics != nullptr;
    double passing = visited;
    for (int i = 0; i < info_.nConstraint; ++i) {
      const Constraint& constraint = info_.aConstraint[i];
      const auto& used = candidate_.positions;
      const bool is_bound =
          constraint.op == SQLITE_INDEX_CONSTRAINT_LIMIT || constraint.op == SQLITE_INDEX_CONSTRAINT_OFFSET;
      if (!constraint.usable || is_bound || std::find(used.begin(), used.end(), i) != used.end()) continue;
      passing *= IsEqual(constraint.op) ? 2 * kEqualFraction : kOtherFraction;
    }
    if (candidate_.orders || info_.nOrderBy == 0) {
      const double limited = LimitedRows(passing);
      if (limited < passing) visited *= limited / passing;
      passing = limited;
    }
    visited_fraction_ = document_count_ > 0 ? std::min(1.0, visited / document_count_) : 0;
    candidate_.rows = passing;
    candidate_.cost = 10 + kSeekCost * list_count + visited * (IsCovering() ? kKeyStepCost : kDocumentStepCost);
    if (candidate_.plan.is_predictive) {
      const double missing = static_cast<double>(table_.session.core.predictive().Backlog(index_.id));
      candidate_.cost += kPredictStepCost * missing;
      candidate_.is_known &= missing == 0;
    }
  }

  void Describe() {
    std::string& text = candidate_.text;
    text = "index " + index_.options.name;
    std::string terms;
    const auto add = [&](const std::string& term) { terms += (terms.empty() ? "" : " AND ") + term; };
    for (std::size_t i = 0; i < position_count(); ++i) {
      const std::string name = NameOfPath(index_.paths[i]);
      const bool is_null = info_.aConstraint[candidate_.positions[i]].op == SQLITE_INDEX_CONSTRAINT_ISNULL;
      switch (candidate_.plan.matches[i]) {
        case FieldMatch::kEqual: add(name + " = ?"); break;
        case FieldMatch::kIs: add(name + (is_null ? " IS NULL" : " IS ?")); break;
        case FieldMatch::kInList: add(name + " IN (?)"); break;
        case FieldMatch::kElement: add("array_contains(" + name + ", ?)"); break;
      }
    }
    if (position_count() < index_.paths.size()) {
      const std::string name = NameOfPath(index_.paths[position_count()]);
      const FieldScanPlan& plan = candidate_.plan;
      if (plan.lower != FieldBound::kNone) add(name + (plan.lower == FieldBound::kInclusive ? " >= ?" : " > ?"));
      if (plan.upper != FieldBound::kNone) add(name + (plan.upper == FieldBound::kInclusive ? " <= ?" : " < ?"));
      if (plan.pattern == FieldPattern::kLike) add(name + " LIKE ?");
      if (plan.pattern == FieldPattern::kGlob) add(name + " GLOB ?");
      if (plan.not_null) add(name + " IS NOT NULL");
    }
    if (!terms.empty()) text += " (" + terms + ")";
    if (candidate_.orders) text += candidate_.plan.descending ? ", in order, backwards" : ", in order";
    if (IsCovering()) text += ", without documents";
    char estimate[64];
    std::snprintf(estimate, sizeof(estimate), ", ~%.2g %% of %.0f", 100 * visited_fraction_, document_count_);
    text += estimate;
  }

  CollectionTable& table_;
  const CollectionDefinition& definition_;
  const FieldIndexDefinition& index_;
  sqlite3_index_info& info_;
  const double document_count_;
  FieldCandidate candidate_;
  double visited_fraction_ = 1;
  bool has_list_ = false;
  bool element_is_matched_ = false;
};

}  // namespace

double SortCost(const sqlite3_index_info& info, double rows) {
  return info.nOrderBy > 0 ? kSortStepCost * rows * std::log2(rows + 2) : 0;
}

std::optional<FieldCandidate> BestFieldScan(CollectionTable& table, const CollectionDefinition& definition,
                                            sqlite3_index_info& info, double document_count) {
  std::optional<FieldCandidate> best;
  const auto total = [&](const FieldCandidate& each) {
    return each.cost + (each.orders ? 0 : SortCost(info, each.rows));
  };
  const auto consider = [&](const FieldIndexDefinition& index) {
    auto candidate = IndexPlanner(table, definition, index, info, document_count).Plan();
    if (candidate && (!best || total(*candidate) < total(*best))) best = std::move(candidate);
  };
  for (const FieldIndexDefinition& index : definition.field_indexes) {
    if (index.is_ready) consider(index);
  }
  for (const PredictiveIndexDefinition& index : definition.predictive_indexes) consider(index.field);
  return best;
}

}  // namespace foreshore
