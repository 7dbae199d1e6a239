// predict() over a table's rows: what it computes ahead is what it computes row by row, and no more than it should.
#include <algorithm>
#include <random>

#include "engine/model/model_registry.h"
#include "engine/query/predict_ahead.h"
#include "storage/base/file.h"
#include "tests/engine/inference/onnx_writer.h"
#include "tests/engine/query/sql_test_database.h"
#include "tests/temporary_directory.h"

using namespace foreshore;

namespace {

constexpr int kRows = 700;  // More than two windows of the largest size.
constexpr std::size_t kWidth = 19;

struct AheadFixture : SqlTestDatabase {
  AheadFixture() {
    Collection("points");
    std::mt19937 random(3);
    for (int i = 0; i < kRows; ++i) {
      std::string x = "[";
      for (std::size_t j = 0; j < kWidth; ++j) {
        x += (j == 0 ? "" : ",") + std::to_string(static_cast<double>(random() % 2000) / 997 - 1);
      }
      Put("points", "p" + std::to_string(1000 + i), "{\"n\":" + std::to_string(i) + ",\"x\":" + x + "],\"last\":1}");
    }
  }
  // Counts rows and calls, and gives each row's sum.
  void RegisterSum() {
    const auto registered =
        core->models().Register("sum", {.version = "1", .input_shape = {kWidth}, .output_shape = {1}},
                                [this](const RuntimeBatch& batch, std::span<float> output) {
                                  ++calls;
                                  rows += batch.row_count;
                                  for (std::size_t row = 0; row < batch.row_count; ++row) {
                                    output[row] = 0;
                                    for (const float value : batch.values.subspan(row * kWidth, kWidth))
                                      output[row] += value;
                                    if (batch.values[row * kWidth] == 77) return Status::Limit("seventy-seven");
                                  }
                                  return Status::Ok();
                                });
    REQUIRE_MESSAGE(registered.ok(), registered.status().ToString());
  }
  Status AddGraph(const std::string& name, OnnxWriter& writer) {
    const std::string path = files.path() + "/" + name + ".onnx";
    FORESHORE_RETURN_IF_ERROR(WriteFileAtomic(path, writer.Finish()));
    return core->models().Add(name, path, ModelImportOptions()).status();
  }
  static std::vector<float> Weights(std::size_t count, unsigned seed) {
    std::mt19937 random(seed);
    std::vector<float> weights(count);
    for (float& weight : weights) weight = static_cast<float>(random() % 2001) / 2000.0F - 0.5F;
    return weights;
  }
  std::size_t calls = 0;
  std::size_t rows = 0;
  TemporaryDirectory files;
};

}  // namespace

TEST_CASE_FIXTURE(AheadFixture, "predict ahead: a network's rows are, bit for bit, those of one call each") {
  for (const std::string activation : {"Relu", "Tanh", "Sigmoid"}) {
    OnnxWriter writer;
    writer.Input("x", {-1, kWidth}, 1);
    std::string value = "x";
    std::int64_t width = kWidth;
    int layer = 0;
    for (const std::int64_t next : {37, 5, 18}) {
      const std::string tag = std::to_string(layer++);
      value = writer.Node("Gemm", {value, writer.Floats("w" + tag, {width, next}, Weights(width * next, layer)),
                                   writer.Floats("b" + tag, {next}, Weights(next, layer + 10))});
      value = writer.Node(activation, {value});
      width = next;
    }
    writer.Node("Softmax", {value}, {IntAttribute("axis", -1)}, "y");
    writer.Output("y", {-1, 18});
    const Status added = AddGraph(activation, writer);
    REQUIRE_MESSAGE(added.ok(), added.ToString());
    REQUIRE(core->models().LoadNumbers(activation).value()->has_independent_rows());
    // Nested once more the text is another than the column's, and is computed by itself.
    CHECK(Rows(*session, "SELECT count(*), count(DISTINCT predict('" + activation +
                             "', x)) > 500 FROM points WHERE predict('" + activation + "', x) = predict('" +
                             activation + "', '[' || x || ']')") == "700|1");
    CHECK(Rows(*session, "SELECT count(*) FROM points AS p WHERE predict('" + activation + "', x) = (SELECT predict('" +
                             activation + "', q.x) FROM points AS q WHERE q.id = p.id)") == "700");
  }
}

TEST_CASE_FIXTURE(AheadFixture, "predict ahead: calls are few, and every row is computed once") {
  RegisterSum();
  CHECK(Rows(*session, "SELECT count(*) FROM points WHERE predict('sum', x) IS NOT NULL") == "700");
  CHECK(rows == kRows);
  CHECK(calls <= 10);
  // In the result, in the filter and in an aggregate at once.
  calls = rows = 0;
  CHECK(Rows(*session, "SELECT count(predict('sum', x)) FROM points WHERE predict('sum', x) > '' AND last = 1") ==
        "700");
  CHECK(calls <= 12);
  CHECK(rows <= kRows + 2);
}

TEST_CASE_FIXTURE(AheadFixture, "predict ahead: a limit or a filter before it bounds what is computed in vain") {
  RegisterSum();
  const auto statement = session->Prepare("SELECT predict('sum', x) FROM points LIMIT 3");
  REQUIRE(StepAll(**statement)->size() == 3);
  CHECK(rows <= 1 + RowWindow::kRowsMin);
  rows = 0;
  const std::string few = Rows(*session, "SELECT count(*) FROM points WHERE n % 10 = 3 AND predict('sum', x) > ''");
  CHECK(few == "70");
  CHECK(rows <= 70 + 16);
}

TEST_CASE_FIXTURE(AheadFixture, "predict ahead: rows with other values, and errors, are met where they stand") {
  RegisterSum();
  Put("points", "q1", R"({"n":700,"x":"text"})");
  Put("points", "q2", R"({"n":701})");
  Put("points", "q3", R"({"n":702,"x":[77,1,1,1,1,1,1,1,1,1,1,1,1,1,1,1,1,1,1]})");
  Put("points", "q4", R"({"n":703,"x":[true,1,1,1,1,1,1,1,1,1,1,1,1,1,1,1,1,1,0.5]})");
  CHECK(Rows(*session, "SELECT count(predict('sum', x)) FROM points WHERE n <> 700 AND n <> 702") == "701");
  CHECK(Rows(*session, "SELECT predict('sum', x) FROM points WHERE n > 700 AND n <> 702") == "NULL; [[18.5]]");
  const auto statement = session->Prepare("SELECT n, predict('sum', x) FROM points");
  REQUIRE(statement.ok());
  std::int64_t last = -1;
  Status failure;
  while (true) {
    const auto stepped = (*statement)->Step();
    if (!stepped.ok()) failure = stepped.status();
    if (!stepped.ok() || !*stepped) break;
    last = std::get<std::int64_t>((*statement)->Column(0));
  }
  CHECK(last == 699);
  CHECK_MESSAGE(failure.code() == ErrorCode::kInvalidArgument, failure.ToString());
  CHECK(FailureOf(*session, "SELECT predict('sum', x) FROM points WHERE n <> 700").code() == ErrorCode::kLimit);
}

TEST_CASE_FIXTURE(AheadFixture, "predict ahead: several columns, tables and models keep to their own") {
  RegisterSum();
  REQUIRE(core->models()
              .Register("first", {.version = "1", .input_shape = {kWidth}, .output_shape = {1}},
                        [](const RuntimeBatch& batch, std::span<float> output) {
                          for (std::size_t row = 0; row < batch.row_count; ++row) {
                            output[row] = batch.values[row * kWidth];
                          }
                          return Status::Ok();
                        })
              .ok());
  CHECK(Rows(*session,
             "SELECT count(*) FROM points WHERE abs((predict('first', x) ->> '$[0][0]') - (x ->> '$[0]')) < 1e-6 AND "
             "predict('sum', x) <> predict('first', x)") == "700");
  CHECK(Rows(*session,
             "SELECT count(*) FROM points AS p, (SELECT n, x FROM points WHERE n < 20) AS q WHERE p.n < 30 AND "
             "predict('first', p.x) = predict('first', q.x) AND p.n = q.n") == "20");
  // The model's name may change from row to row.
  CHECK(Rows(*session,
             "SELECT count(*) FROM points WHERE predict(CASE n % 2 WHEN 0 THEN 'sum' ELSE 'first' END, x) = "
             "CASE n % 2 WHEN 0 THEN predict('sum', '[' || x || ']') ELSE predict('first', '[' || x || ']') END") ==
        "700");
}

TEST_CASE_FIXTURE(AheadFixture, "predict ahead: a statement that writes, and one in a transaction, are as right") {
  RegisterSum();
  CHECK(Rows(*session, "UPDATE points SET s = predict('sum', x), x = json(x) WHERE n < 300").find("error") == 0);
  CHECK(Rows(*session, "UPDATE points SET body = json_set(body, '$.s', predict('sum', x))").empty());
  CHECK(Rows(*session, "SELECT count(*) FROM points WHERE s = predict('sum', x)") == "700");
  CHECK(Rows(*session, "BEGIN").empty());
  CHECK(Rows(*session, "SELECT count(*) FROM points WHERE s = predict('sum', x)") == "700");
  CHECK(Rows(*session, "DELETE FROM points WHERE predict('sum', x) = s AND n >= 350").empty());
  CHECK(Rows(*session, "SELECT count(*) FROM points WHERE s = predict('sum', x)") == "350");
  CHECK(Rows(*session, "ROLLBACK").empty());
}

TEST_CASE_FIXTURE(AheadFixture, "predict ahead: what mixes its rows is asked row by row") {
  struct Case {
    std::string name;
    std::function<void(OnnxWriter&)> make;
  };
  const Case cases[] = {
      {"softmax over rows", [](OnnxWriter& w) { w.Node("Softmax", {"x"}, {IntAttribute("axis", 0)}, "y"); }},
      {"mean of all",
       [](OnnxWriter& w) {
         const std::string mean =
             w.Node("ReduceMean", {"x"}, {IntsAttribute("axes", {0}), IntAttribute("keepdims", 1)});
         w.Node("Sub", {"x", mean}, {}, "y");
       }},
      {"sum over rows",
       [](OnnxWriter& w) {
         w.Node("CumSum", {"x", w.Ints({0})}, {}, "y");
       }},
  };
  for (const Case& each : cases) {
    CAPTURE(each.name);
    OnnxWriter writer;
    writer.Input("x", {-1, kWidth}, 1);
    each.make(writer);
    writer.Output("y", {-1, kWidth});
    const std::string name = "mixed" + std::to_string(&each - cases);
    const Status added = AddGraph(name, writer);
    REQUIRE_MESSAGE(added.ok(), added.ToString());
    CHECK_FALSE(core->models().LoadNumbers(name).value()->has_independent_rows());
    CHECK(Rows(*session, "SELECT count(*) FROM points WHERE predict('" + name + "', x) = predict('" + name +
                             "', '[' || x || ']')") == "700");
  }
}
