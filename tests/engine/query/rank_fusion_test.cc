#include "engine/query/rank_fusion.h"

#include <doctest/doctest.h>

#include <algorithm>
#include <map>
#include <random>

using namespace foreshore;

namespace {

std::vector<FusedRow> Drain(const std::vector<std::int64_t>& words, const std::vector<std::int64_t>& near,
                            RankFusion::Options options, std::size_t* asked = nullptr, std::size_t limit = SIZE_MAX) {
  std::vector<TextMatch> matches;
  for (const std::int64_t docid : words) matches.push_back({docid, -1.0});
  std::size_t next = 0;
  RankFusion fusion(
      matches,
      [&]() -> Result<std::optional<Neighbour>> {
        if (asked != nullptr) ++*asked;
        if (next == near.size()) return std::optional<Neighbour>();
        const std::int64_t docid = near[next++];
        return std::optional<Neighbour>(Neighbour{docid, static_cast<double>(next)});
      },
      options);
  std::vector<FusedRow> rows;
  while (rows.size() < limit) {
    const auto row = fusion.Next();
    REQUIRE(row.ok());
    if (!*row) break;
    rows.push_back(**row);
  }
  return rows;
}

}  // namespace

TEST_CASE("rank fusion: every document of either ranking comes once, in decreasing score, as counted by hand") {
  const std::uint64_t seed = std::random_device()();
  CAPTURE(seed);
  std::mt19937_64 random(seed);
  for (int round = 0; round < 300; ++round) {
    std::vector<std::int64_t> documents(random() % 40);
    for (std::size_t i = 0; i < documents.size(); ++i) documents[i] = static_cast<std::int64_t>(i);
    std::shuffle(documents.begin(), documents.end(), random);
    const std::vector<std::int64_t> words(
        documents.begin(), documents.begin() + static_cast<std::ptrdiff_t>(random() % (documents.size() + 1)));
    std::shuffle(documents.begin(), documents.end(), random);
    const std::vector<std::int64_t> near(
        documents.begin(), documents.begin() + static_cast<std::ptrdiff_t>(random() % (documents.size() + 1)));
    const RankFusion::Options options{static_cast<double>(random() % 2 * 60), 1 + random() % 20};
    std::map<std::int64_t, double> scores;
    for (std::size_t i = 0; i < words.size(); ++i) scores[words[i]] += 1 / (options.k + static_cast<double>(i + 1));
    for (std::size_t i = 0; i < near.size(); ++i) {
      const bool is_word = std::find(words.begin(), words.end(), near[i]) != words.end();
      if (i < options.window || !is_word) scores[near[i]] += 1 / (options.k + static_cast<double>(i + 1));
    }
    const auto rows = Drain(words, near, options);
    REQUIRE(rows.size() == scores.size());
    for (std::size_t i = 0; i < rows.size(); ++i) {
      CHECK(rows[i].score == scores[rows[i].docid]);
      CHECK(rows[i].rank.has_value() == (std::find(words.begin(), words.end(), rows[i].docid) != words.end()));
      if (i > 0) CHECK(rows[i - 1].score >= rows[i].score);
      scores.erase(rows[i].docid);
    }
    CHECK(scores.empty());
  }
}

TEST_CASE("rank fusion: neighbours behind the window are asked for only when their place counts") {
  std::vector<std::int64_t> near;
  for (std::int64_t i = 0; i < 1000; ++i) near.push_back(i);
  std::size_t asked = 0;
  CHECK(Drain({5, 7}, near, {60, 50}, &asked, 10).size() == 10);
  CHECK(asked == 50);
}
