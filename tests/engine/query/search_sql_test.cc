#include "engine/query/search_sql.h"

#include "tests/engine/query/sql_test_database.h"

using namespace foreshore;

namespace {

struct SearchFixture : SqlTestDatabase {
  SearchFixture() : sessions(*core) {
    Collection("notes");
    Vector("notes", "embedding", 2);
    for (int i = 0; i < 20; ++i) {
      const std::string number = std::to_string(i);
      Put("notes", "n" + number,
          R"({"site":")" + std::string(i % 2 == 0 ? "A" : "B") + R"(","n":)" + number + R"(,"embedding":[)" + number +
              ",0]}");
    }
  }
  // The ids that come back, or the error.
  std::string Ids(const std::string& where, std::size_t k = 3) {
    const std::vector<float> query{0.0F, 0.0F};
    const auto hits = SearchSql(sessions, "notes", "embedding", query, k, where);
    if (!hits.ok()) return hits.status().ToString();
    std::string ids;
    for (const SearchHit& hit : *hits) ids += (ids.empty() ? "" : " ") + hit.id;
    return ids;
  }
  SqlSessions sessions;
};

}  // namespace

TEST_CASE_FIXTURE(SearchFixture, "search: k come back when k match") {
  CHECK(Ids("") == "n0 n1 n2");
  CHECK(Ids("  ") == "n0 n1 n2");
  CHECK(Ids("site = 'B'") == "n1 n3 n5");
  CHECK(Ids("n > 15 AND site = 'A'") == "n16 n18");
  CHECK(Ids("n IN (SELECT n FROM notes WHERE n >= 18)", 5) == "n18 n19");
  CHECK(Ids("site = 'A' -- the even ones") == "n0 n2 n4");
  CHECK(Ids("/* ) */ site = ')' OR site = 'B'") == "n1 n3 n5");
  CHECK(Ids("\"site\" = 'it''s;' OR [n] = 7") == "n7");
}

TEST_CASE_FIXTURE(SearchFixture, "search: an expression cannot leave its parentheses") {
  for (const char* where :
       {"1) OR (1", "1); DELETE FROM notes; --", "site = 'A", "site = \"A", "(1", "1 /* open", "1 /*/ open", "n = ?1",
        "n = :n", "n = @n", "n = $n", "1) -- ", "[n = 1", "`n = 1", "1 -- x\n) OR (1"}) {
    CAPTURE(where);
    const std::string answer = Ids(where);
    CHECK_MESSAGE(answer.find("invalid_argument") == 0, answer);
  }
  CHECK(Rows(*session, "SELECT count(*) FROM notes") == "20");
}

TEST_CASE_FIXTURE(SearchFixture,
                  "search: a condition that is no expression, a field and a collection that are not there are named") {
  CHECK(Ids("1 ORDER BY n").find("invalid_argument") == 0);
  CHECK(Ids("nowhere = 1").find("nowhere") != std::string::npos);
  const std::vector<float> query{0.0F, 0.0F};
  CHECK(SearchSql(sessions, "nothing", "embedding", query, 3, "").status().code() == ErrorCode::kNotFound);
  CHECK(SearchSql(sessions, "notes", "site", query, 3, "").status().code() == ErrorCode::kInvalidArgument);
  const std::vector<float> longer{0.0F, 0.0F, 0.0F};
  CHECK(SearchSql(sessions, "notes", "embedding", longer, 3, "").status().code() == ErrorCode::kInvalidArgument);
}
