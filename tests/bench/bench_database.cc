// The main job measured on real documents: recall of the int8 index against an exact search over the model's float
// vectors, the strategy that EXPLAIN shows, and how long reopening takes.
//
//   bench_database MODEL_DIRECTORY DOCUMENTS.jsonl WORK_DIRECTORY [DOCUMENT_COUNT] [QUERY_COUNT]
//
// One JSON object on standard output; tests/bench/database.py makes the table of it. Queries are texts of documents
// that are not in the database.
#include <algorithm>
#include <chrono>
#include <cstdio>
#include <cstdlib>
#include <fstream>
#include <iostream>
#include <set>
#include <string>
#include <vector>

#include "engine/document/json.h"
#include "foreshore/database.h"

using namespace foreshore;

namespace {

constexpr std::size_t kNeighbourCount = 10;
constexpr int kReopenCount = 15;

template <typename T>
T Take(Result<T> result) {
  if (!result.ok()) {
    std::cerr << "bench_database: " << result.status().ToString() << "\n";
    std::exit(1);
  }
  return std::move(result).value();
}

void Check(const Status& status) {
  if (status.ok()) return;
  std::cerr << "bench_database: " << status.ToString() << "\n";
  std::exit(1);
}

double MsSince(std::chrono::steady_clock::time_point start) {
  return std::chrono::duration<double, std::milli>(std::chrono::steady_clock::now() - start).count();
}

struct Line {
  std::string id;
  std::string body;
  std::string text;
};

std::vector<Line> ReadLines(const char* path, std::size_t count) {
  std::ifstream file(path);
  std::vector<Line> lines;
  for (std::string line; lines.size() < count && std::getline(file, line);) {
    Line each;
    each.body = Take(NormaliseDocument(line));
    each.id = Take(UnescapeString(FindValue(each.body, "id")));
    each.text = Take(UnescapeString(FindValue(each.body, "text")));
    lines.push_back(std::move(each));
  }
  return lines;
}

// The ids of the nearest by an exact search over unit float vectors.
std::set<std::string> ExactNearest(const std::vector<Line>& lines, const std::vector<std::vector<float>>& vectors,
                                   const std::vector<float>& query) {
  std::vector<std::pair<float, std::size_t>> scored(lines.size());
  for (std::size_t i = 0; i < lines.size(); ++i) {
    float dot = 0;
    for (std::size_t d = 0; d < query.size(); ++d) dot += query[d] * vectors[i][d];
    scored[i] = {-dot, i};
  }
  std::partial_sort(scored.begin(), scored.begin() + kNeighbourCount, scored.end());
  std::set<std::string> ids;
  for (std::size_t i = 0; i < kNeighbourCount; ++i) ids.insert(lines[scored[i].second].id);
  return ids;
}

}  // namespace

int main(int argc, char** argv) {
  if (argc < 4) {
    std::cerr << "usage: bench_database MODEL_DIRECTORY DOCUMENTS.jsonl WORK_DIRECTORY [DOCUMENTS] [QUERIES]\n";
    return 2;
  }
  const std::size_t document_count = argc > 4 ? std::strtoull(argv[4], nullptr, 10) : 10'000;
  const std::size_t query_count = argc > 5 ? std::strtoull(argv[5], nullptr, 10) : 200;
  const std::string path = std::string(argv[3]) + "/bench.foreshore";
  const std::vector<Line> lines = ReadLines(argv[2], document_count);
  if (lines.size() < document_count || query_count == 0 || query_count > document_count) {
    std::cerr << "bench_database: " << lines.size() << " documents, expected " << document_count
              << " and at most as many queries\n";
    return 1;
  }

  auto db = Take(Database::Open(path, {.create = true}));
  Check(db->CreateCollection("packages"));
  Take(db->AddModel("minilm", argv[1]));
  Check(db->CreateVectorIndex("packages", {.field = "embedding", .model = "minilm", .source_paths = {"text"}}));
  const auto import_start = std::chrono::steady_clock::now();
  for (std::size_t begin = 0; begin < document_count; begin += 500) {
    const auto transaction = Take(db->Begin(std::chrono::minutes(1)));
    for (std::size_t i = begin; i < std::min(document_count, begin + 500); ++i) {
      Check(transaction->Put("packages", lines[i].id, lines[i].body));
    }
    Check(transaction->Commit());
  }
  const double put_ms = MsSince(import_start);
  Check(db->WaitEmbedded());
  const double import_ms = MsSince(import_start);

  std::vector<std::vector<float>> vectors;
  for (const Line& line : lines) vectors.push_back(Take(db->Embed("minilm", line.text)));
  std::size_t found = 0;
  double search_ms = 0;
  for (std::size_t i = 0; i < query_count; ++i) {
    const std::string& text = lines[i * document_count / query_count].text;
    const std::vector<float> query = Take(db->Embed("minilm", text.substr(0, text.find_first_of(".\n", 20))));
    const std::set<std::string> exact = ExactNearest(lines, vectors, query);
    const auto start = std::chrono::steady_clock::now();
    const auto hits = Take(db->Search("packages", {.vector = query, .k = kNeighbourCount}));
    search_ms += MsSince(start);
    for (const SearchHit& hit : hits) found += exact.contains(hit.id) ? 1 : 0;
  }
  const Table plan =
      Take(db->Query("EXPLAIN QUERY PLAN SELECT id FROM packages WHERE embedding MATCH embed('minilm', 'x') ORDER BY "
                     "distance LIMIT 10"));
  const std::string strategy = std::get<std::string>(plan.rows.at(0).at(3));

  std::vector<double> reopen_ms;
  std::string opened_from = "snapshot";
  for (int i = 0; i < kReopenCount; ++i) {
    Check(db->Close());
    db.reset();
    const auto start = std::chrono::steady_clock::now();
    db = Take(Database::Open(path));
    reopen_ms.push_back(MsSince(start));
    const auto indexes = Take(db->ListIndexes());
    if (indexes.at(0).opened_from != "snapshot") opened_from = indexes.at(0).opened_from;
  }
  std::sort(reopen_ms.begin(), reopen_ms.end());
  std::string quoted;
  AppendJsonString(quoted, strategy);
  std::printf(
      "{\"documents\":%zu,\"queries\":%zu,\"recall_at_10\":%.4f,\"strategy\":%s,\"search_ms\":%.3f,"
      "\"put_ms\":%.0f,\"import_ms\":%.0f,\"reopen_ms_median\":%.1f,\"reopen_ms_max\":%.1f,\"opened_from\":\"%s\"}\n",
      document_count, query_count, static_cast<double>(found) / static_cast<double>(query_count * kNeighbourCount),
      quoted.c_str(), search_ms / static_cast<double>(query_count), put_ms, import_ms, reopen_ms[kReopenCount / 2],
      reopen_ms.back(), opened_from.c_str());
  return 0;
}
