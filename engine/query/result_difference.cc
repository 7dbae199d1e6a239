#include "engine/query/result_difference.h"

#include <algorithm>
#include <string>
#include <unordered_map>

#include "storage/base/coding.h"

namespace foreshore {

namespace {

constexpr std::size_t kNone = SIZE_MAX;

void AppendValue(ByteString& out, const SqlValue& value) {
  out.push_back(static_cast<char>(value.index()));
  if (const auto* integer = std::get_if<std::int64_t>(&value)) {
    AppendFixed(out, *integer);
  } else if (const auto* real = std::get_if<double>(&value)) {
    AppendFixed(out, *real);
  } else if (const auto* text = std::get_if<std::string>(&value)) {
    AppendPrefixed(out, *text);
  } else if (const auto* blob = std::get_if<SqlBlob>(&value)) {
    AppendPrefixed(out, blob->bytes);
  }
}

ByteString KeyOf(const SqlRow& row, std::span<const std::size_t> key_columns) {
  ByteString key;
  if (key_columns.empty()) {
    for (const SqlValue& value : row) AppendValue(key, value);
  } else {
    for (const std::size_t column : key_columns) {
      if (column < row.size()) AppendValue(key, row[column]);
    }
  }
  return key;
}

struct Group {
  std::vector<std::size_t> before;
  std::vector<std::size_t> after;
};

// Pairs the rows of one key: equal ones first, the rest in order. `partner` maps new positions to old ones.
void PairRows(std::span<const SqlRow> before, std::span<const SqlRow> after, const Group& group,
              std::vector<std::size_t>& partner) {
  if (group.before.size() == 1 && group.after.size() == 1) {
    partner[group.after[0]] = group.before[0];
    return;
  }
  std::unordered_map<ByteString, std::vector<std::size_t>> equal;  // Positions, lowest last.
  for (auto it = group.before.rbegin(); it != group.before.rend(); ++it) equal[KeyOf(before[*it], {})].push_back(*it);
  std::vector<std::size_t> rest;
  for (const std::size_t position : group.after) {
    const auto found = equal.find(KeyOf(after[position], {}));
    if (found == equal.end() || found->second.empty()) {
      rest.push_back(position);
      continue;
    }
    partner[position] = found->second.back();
    found->second.pop_back();
  }
  std::vector<std::size_t> left;
  for (const auto& [row, positions] : equal) left.insert(left.end(), positions.begin(), positions.end());
  std::sort(left.begin(), left.end());
  for (std::size_t i = 0; i < std::min(left.size(), rest.size()); ++i) partner[rest[i]] = left[i];
}

// Marks the longest run of unchanged rows whose old positions ascend: they keep their order and need not be told.
std::vector<bool> RowsInPlace(std::span<const SqlRow> before, std::span<const SqlRow> after,
                              const std::vector<std::size_t>& partner) {
  std::vector<std::size_t> ends;  // ends[n]: the new position where a run of n + 1 ends with the lowest partner.
  std::vector<std::size_t> previous(partner.size(), kNone);
  for (std::size_t i = 0; i < partner.size(); ++i) {
    if (partner[i] == kNone || before[partner[i]] != after[i]) continue;
    const auto place = std::lower_bound(ends.begin(), ends.end(), partner[i],
                                        [&](std::size_t end, std::size_t value) { return partner[end] < value; });
    if (place != ends.begin()) previous[i] = *(place - 1);
    if (place == ends.end()) {
      ends.push_back(i);
    } else {
      *place = i;
    }
  }
  std::vector<bool> in_place(partner.size(), false);
  for (std::size_t i = ends.empty() ? kNone : ends.back(); i != kNone; i = previous[i]) in_place[i] = true;
  return in_place;
}

}  // namespace

std::vector<RowChange> DiffResults(std::span<const SqlRow> before, std::span<const SqlRow> after,
                                   std::span<const std::size_t> key_columns) {
  std::unordered_map<ByteString, Group> groups;
  for (std::size_t i = 0; i < before.size(); ++i) groups[KeyOf(before[i], key_columns)].before.push_back(i);
  for (std::size_t i = 0; i < after.size(); ++i) groups[KeyOf(after[i], key_columns)].after.push_back(i);
  std::vector<std::size_t> partner(after.size(), kNone);
  for (const auto& [key, group] : groups) PairRows(before, after, group, partner);
  const std::vector<bool> in_place = RowsInPlace(before, after, partner);

  std::vector<bool> has_partner(before.size(), false);
  for (const std::size_t old_position : partner) {
    if (old_position != kNone) has_partner[old_position] = true;
  }
  std::vector<RowChange> changes;
  for (std::size_t i = 0; i < before.size(); ++i) {
    if (!has_partner[i]) changes.push_back({RowChange::Kind::kRemoved, i, 0, before[i], {}});
  }
  for (std::size_t i = 0; i < after.size(); ++i) {
    if (partner[i] == kNone) {
      changes.push_back({RowChange::Kind::kInserted, 0, i, {}, after[i]});
    } else if (!in_place[i]) {
      changes.push_back({RowChange::Kind::kUpdated, partner[i], i, before[partner[i]], after[i]});
    }
  }
  return changes;
}

void ApplyChanges(std::vector<SqlRow>& rows, const ResultChanges& changes) {
  std::vector<bool> goes(rows.size(), false);
  for (const RowChange& change : changes.changes) {
    if (change.kind != RowChange::Kind::kInserted && change.old_position < rows.size()) {
      goes[change.old_position] = true;
    }
  }
  std::vector<SqlRow> next;
  next.reserve(changes.row_count);
  std::size_t old_position = 0;
  const auto keep_until = [&](std::size_t count) {
    for (; old_position < rows.size() && next.size() < count; ++old_position) {
      if (!goes[old_position]) next.push_back(std::move(rows[old_position]));
    }
  };
  for (const RowChange& change : changes.changes) {
    if (change.kind == RowChange::Kind::kRemoved) continue;
    keep_until(change.new_position);
    next.push_back(change.new_row);
  }
  keep_until(SIZE_MAX);
  rows = std::move(next);
}

}  // namespace foreshore
