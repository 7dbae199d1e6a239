// predict_batch() and predict() over models with several inputs and outputs, of integers and booleans, of which rows
// know of each other or do not, and over text models.
#include "engine/model/model_registry.h"
#include "storage/base/file.h"
#include "tests/engine/inference/onnx_writer.h"
#include "tests/engine/query/sql_test_database.h"
#include "tests/temporary_directory.h"

using namespace foreshore;

namespace {

// ONNX's numbers.
constexpr int kFloat = 1;
constexpr int kUint8 = 2;
constexpr int kInt32 = 6;
constexpr int kInt64 = 7;
constexpr int kBool = 9;

struct BatchFixture : SqlTestDatabase {
  void Add(const std::string& name, const OnnxWriter& writer) {
    const std::string path = files.path() + "/" + name + ".onnx";
    REQUIRE(WriteFileAtomic(path, writer.Finish()).ok());
    const auto added = core->models().Add(name, path, ModelImportOptions());
    REQUIRE_MESSAGE(added.ok(), added.status().ToString());
  }

  // Of an age, a habit and three measurements: probabilities of two classes, and which one.
  void AddRisk() {
    OnnxWriter writer;
    writer.Input("age", {-1, 1}, kInt64);
    writer.Input("smokes", {-1, 1}, kBool);
    writer.Input("history", {-1, 3}, kFloat);
    const std::string age = writer.Node("Cast", {"age"}, {IntAttribute("to", kFloat)});
    const std::string smokes = writer.Node("Cast", {"smokes"}, {IntAttribute("to", kFloat)});
    const std::string row = writer.Node("Concat", {age, smokes, "history"}, {IntAttribute("axis", 1)});
    const std::string scores = writer.Node(
        "Gemm", {row, writer.Floats("w", {5, 2}, {.01F, -.01F, .5F, -.25F, .3F, .1F, -.2F, .4F, .05F, -.6F}),
                 writer.Floats("b", {2}, {-.4F, .2F})});
    writer.Node("Softmax", {scores}, {IntAttribute("axis", -1)}, "probabilities");
    writer.Node("ArgMax", {"probabilities"}, {IntAttribute("axis", -1)}, "class");
    writer.Output("probabilities", {-1, 2});
    writer.Output("class", {-1, 1});
    Add("risk", writer);
  }
  void PutPatients(int count) {
    Collection("patients");
    for (int i = 0; i < count; ++i) {
      const std::string n = std::to_string(i);
      Put("patients", "p" + std::to_string(1000 + i),
          R"({"age":)" + n + R"(,"smokes":)" + (i % 3 == 0 ? "true" : "false") + R"(,"history":[)" + n + R"(.25,)" +
              std::to_string(i % 5) + R"(,0.5],"ward":"w)" + std::to_string(i % 4) + R"("})");
    }
  }
  std::string Failure(const std::string& model, const std::string& query) {
    const Status status = FailureOf(*session, "SELECT * FROM predict_batch('" + model + "', '" + query + "')");
    CHECK_MESSAGE(status.message().find("predict_batch") != std::string::npos, status.ToString());
    return status.message();
  }
  bool Fails(const std::string& model, const std::string& query, const std::string& words) {
    const std::string message = Failure(model, query);
    CAPTURE(query);
    CAPTURE(message);
    CHECK(message.find(words) != std::string::npos);
    return message.find(words) != std::string::npos;
  }
  TemporaryDirectory files;
};

// Of `p` from predict_batch() and of `q`, the document: what predict() says of it, a row of one beside it.
const std::string kSame =
    "json_array(json(p.output -> '$.probabilities')) = r -> '$.probabilities' AND "
    "p.output ->> '$.class' = r ->> '$.class[0][0]'";
const std::string kDocuments =
    "(SELECT id, predict('risk', json_object('age', age, 'smokes', smokes, 'history', history)) AS r FROM patients)";

}  // namespace

TEST_CASE_FIXTURE(BatchFixture,
                  "predict_batch: what is more than one value is no input, and large outputs bound a call") {
  OnnxWriter writer;
  writer.Input("x", {-1, 1}, kFloat);
  writer.Node("MatMul", {"x", writer.Floats("w", {1, 100'000}, std::vector<float>(100'000, 2.0F))}, {}, "y");
  writer.Output("y", {-1, 100'000});
  Add("wide", writer);
  // 32 MB of 400,004 bytes each.
  CHECK(Rows(*session, "EXPLAIN QUERY PLAN SELECT * FROM predict_batch('wide', 'SELECT 1, 2')")
            .find("83 rows of the query in one call of wide") != std::string::npos);
  CHECK(Rows(*session, "SELECT output ->> '$[99999]' FROM predict_batch('wide', 'SELECT 1, 2')") == "4");
  for (const char* input : {R"([1],"x":[2])", R"([1],"input":[2])", R"([1]],[2])"}) {
    CAPTURE(input);
    CHECK(FailureOf(*session, std::string("SELECT predict('wide', '") + input + "')").code() ==
          ErrorCode::kInvalidArgument);
    CHECK(Failure("wide", std::string("SELECT 1, ''") + input + "''") != "");
  }
}

TEST_CASE_FIXTURE(BatchFixture, "predict_batch: columns are inputs by their names, and outputs an object by theirs") {
  AddRisk();
  PutPatients(600);  // More than two calls of the model.
  for (const std::string query : {"SELECT id, age, smokes, history FROM patients",
                                  "SELECT id, history, Smokes, AGE FROM patients ORDER BY id DESC",
                                  "SELECT id, json_object(''history'', history, ''age'', age, ''smokes'', smokes) FROM "
                                  "patients",
                                  "SELECT id, body FROM patients"}) {
    CAPTURE(query);
    const std::string batch = "predict_batch('risk', '" + query + "')";
    CHECK(Rows(*session, "SELECT count(*), count(DISTINCT key), count(DISTINCT output ->> '$.class') FROM " + batch) ==
          "600|600|2");
    CHECK(Rows(*session, "SELECT count(*) FROM " + batch + " AS p JOIN " + kDocuments + " AS q ON q.id = p.key WHERE " +
                             kSame) == "600");
  }
  CHECK(Rows(*session, "EXPLAIN QUERY PLAN SELECT * FROM predict_batch('risk', 'SELECT id, body FROM patients')")
            .find("256 rows of the query in one call of risk") != std::string::npos);
  CHECK(Rows(*session,
             "SELECT typeof(output ->> '$.class'), json_array_length(output, '$.probabilities') FROM "
             "predict_batch('risk', 'SELECT id, body FROM patients LIMIT 1')") == "integer|2");
  // What it gives is marked as JSON.
  CHECK(Rows(*session,
             "SELECT json_type(json_array(output), '$[0]') FROM predict_batch('risk', 'SELECT id, body FROM patients "
             "LIMIT 1')") == "object");
}

TEST_CASE_FIXTURE(BatchFixture,
                  "predict_batch: what an input does not take is refused by row, input, found, expected") {
  AddRisk();
  PutPatients(3);
  const auto query = [](const std::string& age, const std::string& smokes, const std::string& history) {
    return "SELECT id, " + age + " AS age, " + smokes + " AS smokes, " + history + " AS history FROM patients";
  };
  const std::string three = "json_array(1, 2, 3)";
  Fails("risk", query("iif(id = ''p1002'', 2.5, 1)", "1", three), "row 2: input \"age\": found 2.5, expected int64[1]");
  Fails("risk", query("1e19", "1", three), "row 0: input \"age\": found 1e+19, expected int64[1]");
  Fails("risk", query("''x''", "1", three), "input \"age\": found x, expected int64[1]");
  Fails("risk", query("NULL", "1", three), "input \"age\": found null, expected int64[1]");
  Fails("risk", query("json_array(1, 2)", "1", three), "input \"age\": found 2 numbers, expected int64[1]");
  Fails("risk", query("json_array(1.5)", "1", three), "input \"age\": found 1.5, expected int64[1]");
  Fails("risk", query("1", "2", three), "input \"smokes\": found 2, expected bool[1]");
  Fails("risk", query("1", "-1", three), "input \"smokes\": found -1, expected bool[1]");
  Fails("risk", query("1", "0.5", three), "input \"smokes\": found 0.5, expected bool[1]");
  Fails("risk", query("1", "1", "json_array(1, 2)"), "input \"history\": found 2 numbers, expected float[3]");
  Fails("risk", query("1", "1", "json_array(1, ''a'', 3)"),
        "input \"history\": found \"a\" at number 1, expected float[3]");
  Fails("risk", query("1", "1", "json_array(1, NULL, 3)"), "input \"history\": found null at number 1");
  Fails("risk", query("1", "1", "x''0102''"), "input \"history\": found a blob of 2 bytes, expected float[3]");
  Fails("risk", query("1", "1", "7"), "input \"history\": found 1 number, expected float[3]");
  CHECK(Rows(*session,
             "SELECT count(*) FROM predict_batch('risk', '" + query("3.0", "json(''[true]'')", three) + "')") == "3");
  CHECK(Rows(*session, "SELECT count(*) FROM predict_batch('risk', '" +
                           query("9223372036854775807", "0", "json(''[[1,2,3]]'')") + "')") == "3");
  const std::string inputs = "expected a key and the inputs age, smokes, history, each once and by its name";
  Fails("risk", "SELECT id, age, smokes FROM patients", "query has 3 columns, " + inputs);
  Fails("risk", "SELECT id, age, smokes, history, ward FROM patients", "query has 5 columns, " + inputs);
  Fails("risk", "SELECT id, age, smokes, ward FROM patients", "query has no column \"history\", " + inputs);
  Fails("risk", "SELECT id, age FROM patients", "row 0: column 1: found 0, expected an object");
  Fails("risk", "SELECT id, json_object(''age'', age) FROM patients", "row 0: input \"smokes\": found nothing");
  Fails("risk", "SELECT id FROM patients", "query has 1 columns, " + inputs);
}

TEST_CASE_FIXTURE(BatchFixture, "predict: named inputs of integers and booleans, alone or as a row, checked by name") {
  AddRisk();
  const auto said = [&](const std::string& input) {
    return Rows(*session, "SELECT predict('risk', '" + input + "') ->> '$.class'");
  };
  CHECK(said(R"({"age":40,"smokes":true,"history":[1,2,3]})") == "[[0]]");
  CHECK(said(R"({"age":[40],"smokes":1,"history":[[1,2,3]],"ward":"w1"})") == "[[0]]");
  CHECK(said(R"({"age":[[1],[2]],"smokes":[0,1],"history":[1,2,3,1,9,1]})") == "[[0],[1]]");
  const auto fails = [&](const std::string& input, const std::string& words) {
    const Status status = FailureOf(*session, "SELECT predict('risk', '" + input + "')");
    CHECK_MESSAGE(status.message().find(words) != std::string::npos, status.ToString());
    return status.code() == ErrorCode::kInvalidArgument;
  };
  CHECK(fails(R"({"age":40.5,"smokes":true,"history":[1,2,3]})", "input \"age\": found 40.5, expected int64[-1,1]"));
  CHECK(fails(R"({"age":9223372036854775808,"smokes":true,"history":[1,2,3]})", "found 9223372036854775808"));
  CHECK(fails(R"({"age":4,"smokes":2,"history":[1,2,3]})", "input \"smokes\": found 2, expected bool"));
  CHECK(fails(R"({"age":4,"history":[1,2,3]})", "input \"smokes\": found nothing"));
  CHECK(fails("[1,2,3]", "expected one with 3 names"));
}

TEST_CASE_FIXTURE(BatchFixture, "predict_batch: integers within their range, and blobs of floats for floats alone") {
  for (const auto& [name, type, lowest, highest] :
       {std::tuple{"int32", kInt32, "-2147483648", "2147483647"}, std::tuple{"uint8", kUint8, "0", "255"}}) {
    CAPTURE(name);
    OnnxWriter writer;
    writer.Input("n", {-1}, type);
    writer.Node("Identity", {"n"}, {}, "y");
    writer.Output("y", {-1});
    Add(name, writer);
    const std::string both = "SELECT 1, " + std::string(lowest) + " UNION ALL SELECT 2, " + highest;
    CHECK(Rows(*session, "SELECT key, output FROM predict_batch('" + std::string(name) + "', '" + both + "')") ==
          "1|" + std::string(lowest) + "; 2|" + highest);
    Fails(name, both + " UNION ALL SELECT 3, " + highest + " + 1", "row 2: input \"n\": found ");
    Fails(name, "SELECT 1, " + std::string(lowest) + " - 1", "row 0: input \"n\": found ");
    Fails(name, "SELECT 1, 0.5", "found 0.5, expected " + std::string(name));
    Fails(name, "SELECT 1, x''00000000''", "found a blob of 4 bytes");
  }
  OnnxWriter writer;
  writer.Input("x", {-1, 2}, kFloat);
  writer.Node("Relu", {"x"}, {}, "y");
  writer.Output("y", {-1, 2});
  Add("relu", writer);
  // 1.5 and -2; a tensor of one row.
  CHECK(Rows(*session, "SELECT output FROM predict_batch('relu', 'SELECT 1, x''0000c03f000000c0''')") == "[1.5,0]");
  CHECK(Rows(*session,
             "SELECT output FROM predict_batch('relu', 'SELECT 1, "
             "x''4653540101000200010000000000000002000000000000000000c03f000000c0''')") == "[1.5,0]");
  Fails("relu", "SELECT 1, x''4653540101000100040000000000000000000000000000000000000000000000''", "expected float[2]");
  Fails("relu", "SELECT 1, x''0000c03f''", "found a blob of 4 bytes, expected float[2]");
  // A vector of the application's reads as JSON.
  Collection("notes");
  Vector("notes", "v", 2);
  Put("notes", "a", R"({"v":[-1,4]})");
  CHECK(Rows(*session, "SELECT output FROM predict_batch('relu', 'SELECT id, v FROM notes')") == "[0,4]");
}

TEST_CASE_FIXTURE(BatchFixture, "predict_batch: rows that would know of each other go one by one") {
  OnnxWriter centred;  // What is left of a row without the mean of all.
  centred.Input("x", {-1, 2}, kFloat);
  const std::string mean = centred.Node("ReduceMean", {"x"}, {IntsAttribute("axes", {0}), IntAttribute("keepdims", 1)});
  centred.Node("Sub", {"x", mean}, {}, "y");
  centred.Output("y", {-1, 2});
  Add("centred", centred);
  CHECK(Rows(*session, "SELECT key, output FROM predict_batch('centred', 'SELECT 1, 2, 3 UNION ALL SELECT 2, 7, 9')") ==
        "1|[0,0]; 2|[0,0]");
  CHECK(Rows(*session, "EXPLAIN QUERY PLAN SELECT * FROM predict_batch('centred', 'SELECT 1, 2, 3')")
            .find("one row of the query in one call") != std::string::npos);
  // Two inputs, of which one has no rows: each is whole, and so is what comes out.
  OnnxWriter scaled;
  scaled.Input("x", {-1, 2}, kFloat);
  scaled.Input("factor", {}, kFloat);
  scaled.Node("Mul", {"x", "factor"}, {}, "y");
  scaled.Node("ReduceSum", {"y"}, {IntAttribute("keepdims", 0)}, "sum");
  scaled.Output("y", {-1, 2});
  scaled.Output("sum", {});
  Add("scaled", scaled);
  CHECK(Rows(*session,
             "SELECT output FROM predict_batch('scaled', 'SELECT 1, 3 AS factor, json_array(1, 2) AS x UNION ALL "
             "SELECT 2, 2, json(''[[1,2],[3,4]]'')')") == R"({"y":[[3,6]],"sum":9}; {"y":[[2,4],[6,8]],"sum":20})");
  CHECK(Rows(*session, R"(SELECT predict('scaled', '{"x":[1,2],"factor":3}'))") == R"({"y":[[3,6]],"sum":9})");
  Fails("scaled", "SELECT 1, json_array(1, 2, 3) AS x, 2 AS factor",
        "input \"x\": found 3 numbers, expected float[-1,2]");
  // Whole inputs of a known size.
  OnnxWriter pair;
  pair.Input("x", {2}, kFloat);
  pair.Node("Neg", {"x"}, {}, "y");
  pair.Output("y", {2});
  Add("pair", pair);
  CHECK(Rows(*session, "SELECT output FROM predict_batch('pair', 'SELECT 1, 2, 3 UNION ALL SELECT 2, 5, 6')") ==
        "[-2,-3]; [-5,-6]");
  CHECK(Rows(*session, "SELECT output FROM predict_batch('pair', 'SELECT 1, json_array(2, 3)')") == "[-2,-3]");
  Fails("pair", "SELECT 1, 2, 3, 4", "expected a key and 2 numbers");
}

TEST_CASE_FIXTURE(BatchFixture, "predict_batch: embedding tables of integers stay with their rows") {
  OnnxWriter writer;
  writer.Input("kind", {-1}, kInt64);
  writer.Input("x", {-1, 2}, kFloat);
  const std::string row = writer.Node("Gather", {writer.Floats("table", {3, 2}, {1, 2, 30, 40, 500, 600}), "kind"});
  writer.Node("Add", {row, "x"}, {}, "y");
  writer.Output("y", {-1, 2});
  Add("kinds", writer);
  CHECK(Rows(*session,
             "WITH RECURSIVE n(i) AS (SELECT 0 UNION ALL SELECT i + 1 FROM n WHERE i < 599) SELECT count(*) FROM "
             "predict_batch('kinds', 'WITH RECURSIVE n(i) AS (SELECT 0 UNION ALL SELECT i + 1 FROM n WHERE i < 599) "
             "SELECT i, i % 3 AS kind, json_array(i, 0) AS x FROM n') WHERE output ->> '$[0]' = key + "
             "json_array(1, 30, 500) ->> (key % 3)") == "600");
  CHECK(Rows(*session, "EXPLAIN QUERY PLAN SELECT * FROM predict_batch('kinds', 'SELECT 1, 1 AS kind, 1 AS x')")
            .find("256 rows") != std::string::npos);
  Failure("kinds", "SELECT 1, 7 AS kind, json_array(1, 2) AS x");
}

TEST_CASE_FIXTURE(BatchFixture, "predict_batch: texts, by an adapter where one is named") {
  const std::string torch = FORESHORE_GOLDEN_DIR "/torch";
  const auto added = core->models().Add("tiny", torch + "/base", ModelImportOptions());
  REQUIRE_MESSAGE(added.ok(), added.status().ToString());
  REQUIRE(core->models().AddAdapter("tiny", "one", torch + "/lora_query_value").ok());
  Collection("notes");
  for (const char* id : {"a", "b", "c"}) Put("notes", id, R"({"text":"pump )" + std::string(id) + R"("})");
  for (const std::string adapter : {"", ", 'one'", ", ''"}) {
    CAPTURE(adapter);
    CHECK(Rows(*session, "SELECT count(*) FROM predict_batch('tiny', 'SELECT id, text FROM notes'" + adapter +
                             ") AS p JOIN notes AS n ON n.id = p.key WHERE p.output = predict('tiny', json_object("
                             "'text', n.text)" +
                             adapter + ")") == "3");
  }
  CHECK(Rows(*session,
             "SELECT count(*) FROM predict_batch('tiny', 'SELECT id, text FROM notes') AS p JOIN "
             "predict_batch('tiny', 'SELECT id, text FROM notes', 'one') AS q ON q.key = p.key AND q.output <> "
             "p.output") == "3");
  Fails("tiny", "SELECT id, 3 FROM notes", "row 0: column 1: found 3, expected a text");
  Fails("tiny", "SELECT id FROM notes", "expected a key and a text");
  AddRisk();
  CHECK(FailureOf(*session, "SELECT * FROM predict_batch('risk', 'SELECT 1, body FROM notes', 'one')").code() ==
        ErrorCode::kUnsupported);
}

TEST_CASE_FIXTURE(BatchFixture, "predict_batch: a callback's rows by the name of its input, several in a call") {
  std::vector<std::size_t> calls;
  const auto registered = core->models().Register("sum", {.version = "1", .input_shape = {2}, .output_shape = {1}},
                                                  [&](const RuntimeBatch& batch, auto output) {
                                                    calls.push_back(batch.row_count);
                                                    for (std::size_t i = 0; i < batch.row_count; ++i)
                                                      output[i] = batch.values[2 * i] + batch.values[2 * i + 1];
                                                    return Status::Ok();
                                                  });
  REQUIRE(registered.ok());
  CHECK(Rows(*session,
             "SELECT output FROM predict_batch('sum', 'SELECT 1, json_object(''input'', json_array(1, 2)) UNION ALL "
             "SELECT 2, json_array(3, 4) UNION ALL SELECT 3, x''0000803f00000040''')") == "3.0; 7.0; 3.0");
  CHECK(Rows(*session, "SELECT output FROM predict_batch('sum', 'SELECT 1, 2, 5')") == "7.0");
  CHECK(calls == std::vector<std::size_t>{3, 1});
  session.reset();
  core.reset();  // Its callback counts here.
}
