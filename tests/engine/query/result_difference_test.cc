#include "engine/query/result_difference.h"

#include <doctest/doctest.h>

#include <random>

namespace foreshore {

namespace {

SqlRow Row(const std::string& id, std::int64_t value) {
  return {id, value};
}

std::string Describe(const std::vector<RowChange>& changes) {
  std::string text;
  for (const RowChange& change : changes) {
    if (!text.empty()) text += "; ";
    switch (change.kind) {
      case RowChange::Kind::kRemoved: text += "-" + std::to_string(change.old_position); break;
      case RowChange::Kind::kInserted: text += "+" + std::to_string(change.new_position); break;
      case RowChange::Kind::kUpdated:
        text += std::to_string(change.old_position) + ">" + std::to_string(change.new_position);
        break;
    }
  }
  return text;
}

constexpr std::size_t kFirst[] = {0};

}  // namespace

TEST_CASE("difference: one changed row is one update where an id tells them apart, and two changes where none does") {
  const std::vector<SqlRow> before = {Row("a", 1), Row("b", 2)};
  const std::vector<SqlRow> after = {Row("a", 1), Row("b", 3)};
  CHECK(Describe(DiffResults(before, after, kFirst)) == "1>1");
  CHECK(Describe(DiffResults(before, after, {})) == "-1; +1");
}

TEST_CASE("difference: a row that moves is one update, and the rows it passes are not told") {
  const std::vector<SqlRow> before = {Row("a", 1), Row("b", 1), Row("c", 1), Row("d", 1)};
  const std::vector<SqlRow> after = {Row("d", 1), Row("a", 1), Row("b", 1), Row("c", 1)};
  CHECK(Describe(DiffResults(before, after, kFirst)) == "3>0");
}

TEST_CASE("difference: equal rows are counted") {
  const std::vector<SqlRow> before = {Row("a", 1), Row("a", 1), Row("a", 2)};
  const std::vector<SqlRow> after = {Row("a", 1), Row("a", 2), Row("a", 3)};
  CHECK(Describe(DiffResults(before, after, {})) == "-1; +2");
  // With one id for all of them, what is left over is paired.
  CHECK(Describe(DiffResults(before, after, kFirst)) == "1>2");
}

TEST_CASE("difference: values of different types are different values") {
  const std::vector<SqlRow> before = {{std::int64_t{1}}, {std::string("1")}, {SqlValue()}, {SqlBlob{"1"}}};
  const std::vector<SqlRow> after = {{std::int64_t{1}}, {1.0}, {SqlValue()}, {std::string("2")}};
  CHECK(Describe(DiffResults(before, after, {})) == "-1; -3; +1; +3");
}

// Goal: applying the differences to the result before always gives the result now.
// Method: random results with few ids, few values and repeats, with and without an id.
TEST_CASE("difference: applied to the result before it gives the result now") {
  const unsigned seed = 20261125;
  CAPTURE(seed);
  std::mt19937 random(seed);
  const auto make = [&] {
    std::vector<SqlRow> rows(random() % 12);
    for (SqlRow& row : rows) {
      row = Row(std::string(1, static_cast<char>('a' + random() % 8)), static_cast<std::int64_t>(random() % 3));
    }
    return rows;
  };
  for (int round = 0; round < 20'000; ++round) {
    const std::vector<SqlRow> before = make();
    const std::vector<SqlRow> after = make();
    for (const bool has_key : {true, false}) {
      ResultChanges changes;
      changes.changes = DiffResults(before, after, has_key ? std::span(kFirst) : std::span<const std::size_t>());
      changes.row_count = after.size();
      std::vector<SqlRow> rows = before;
      ApplyChanges(rows, changes);
      REQUIRE(rows == after);
      REQUIRE(changes.changes.size() <= before.size() + after.size());
    }
  }
  CHECK(DiffResults(make(), {}, kFirst).size() <= 12);
}

}  // namespace foreshore
