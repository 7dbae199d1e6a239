// What EXPLAIN QUERY PLAN says of predict() and embed().
#include "engine/query/explain_inference.h"

#include "engine/model/model_registry.h"
#include "tests/engine/query/sql_test_database.h"

using namespace foreshore;

namespace {

struct ExplainFixture : SqlTestDatabase {
  ExplainFixture() {
    Collection("points");
    for (int i = 0; i < 50; ++i) {
      Put("points", "p" + std::to_string(i), "{\"n\":" + std::to_string(i) + ",\"x\":[1," + std::to_string(i) + "]}");
    }
    const auto scores = core->models().Register("scores", {.version = "1", .input_shape = {2}, .output_shape = {1}},
                                                [this](const RuntimeBatch& batch, std::span<float> output) {
                                                  ++calls;
                                                  for (float& number : output) number = batch.values[1];
                                                  return Status::Ok();
                                                });
    REQUIRE_MESSAGE(scores.ok(), scores.status().ToString());
    REQUIRE(core->models().Add("tiny", FORESHORE_GOLDEN_DIR "/bert_tiny", ModelImportOptions()).ok());
  }
  bool Says(const std::string& sql, const std::string& words) {
    const std::string plan = Rows(*session, sql);
    CAPTURE(plan);
    CHECK(plan.find(words) != std::string::npos);
    return plan.find(words) != std::string::npos;
  }
  int calls = 0;
};

}  // namespace

TEST_CASE_FIXTURE(ExplainFixture, "explain: a call's rows, path and cost, and it runs no model") {
  const std::string by_column = "SELECT predict('scores', x) FROM points";
  CHECK(Says("EXPLAIN QUERY PLAN " + by_column,
             "PREDICT by scores: about 50 rows, up to 256 rows in one call, not measured yet"));
  CHECK(calls == 0);
  CHECK(Rows(*session, by_column).find("[[0]]") == 0);
  CHECK(Says("explain query plan " + by_column, " us a row, measured, "));
  CHECK(Says("EXPLAIN QUERY PLAN " + by_column, " ms in all"));
}

TEST_CASE_FIXTURE(ExplainFixture, "explain: what goes row by row says why") {
  CHECK(Says("EXPLAIN QUERY PLAN SELECT predict('scores', json_array(1, n)) FROM points",
             "row by row: its input is no column as it is stored"));
  CHECK(Says("EXPLAIN QUERY PLAN SELECT predict('scores', x) FROM points WHERE id = 'p1'",
             "1 row, row by row: the scan is no full scan"));
  CHECK(Says("EXPLAIN QUERY PLAN SELECT predict('absent', x) FROM points", "model \"absent\" does not exist"));
  CHECK(Says("EXPLAIN QUERY PLAN SELECT embed('tiny', id) FROM points", "EMBED by tiny: about 50 rows, row by row"));
  CHECK(Says("EXPLAIN QUERY PLAN SELECT predict(?, x) FROM points", "by a model that is known when it runs"));
  CHECK(Says("EXPLAIN QUERY PLAN SELECT * FROM predict_batch('scores', 'SELECT id, x FROM points')",
             "256 rows of the query in one call of scores, not measured yet"));
}

TEST_CASE_FIXTURE(ExplainFixture, "explain: a plan is read to its end, and again after a reset") {
  const auto statement = session->Prepare("EXPLAIN QUERY PLAN SELECT predict('scores', x) FROM points");
  REQUIRE(statement.ok());
  for (int round = 0; round < 2; ++round) {
    const auto rows = StepAll(**statement);
    REQUIRE(rows.ok());
    REQUIRE(rows->size() == 2);
    CHECK(rows->back().find("|0|0|PREDICT by scores") != std::string::npos);
    REQUIRE((*statement)->Reset().ok());
  }
  CHECK(Rows(*session, "EXPLAIN QUERY PLAN SELECT n FROM points").find("PREDICT") == std::string::npos);
}
