// Predictive indexes in SQL: what they answer is what predict() says, without asking the model; what is missing is
// computed; nothing is of another version, another state of a document, or another column.
#include "engine/database/predictive_index.h"
#include "storage/base/file.h"
#include "tests/engine/inference/onnx_writer.h"
#include "tests/engine/query/prediction_database.h"
#include "tests/temporary_directory.h"

using namespace foreshore;

namespace {

const std::string kSum = "predict('sum', x) ->> '$[0][0]'";

bool Says(const Status& status, ErrorCode code, std::string_view text) {
  CAPTURE(status.ToString());
  return status.code() == code && status.message().find(text) != std::string::npos;
}

}  // namespace

TEST_CASE("predictive index: predicates and orders are answered without asking the model, and the plan says so") {
  for (const StorageKind kind : kPredictionKinds) {
    CAPTURE(static_cast<int>(kind));
    PredictionDatabase db(kind);
    db.Create();
    db.Fill();
    const std::string statements[] = {
        "SELECT id FROM @ WHERE " + kSum + " > 290 ORDER BY id",
        "SELECT id FROM @ WHERE " + kSum + " >= 290.5 AND " + kSum + " < 293",
        "SELECT id, " + kSum + " FROM @ WHERE " + kSum + " = 17.5",
        "SELECT id FROM @ WHERE " + kSum + " BETWEEN 10 AND 12 ORDER BY " + kSum,
        "SELECT id FROM @ ORDER BY " + kSum + " DESC LIMIT 5",
        "SELECT id FROM @ ORDER BY " + kSum + " LIMIT 5 OFFSET 2",
        "SELECT id FROM @ WHERE " + kSum + " IN (3.5, 4.5, 1000)",
        "SELECT count(*), avg(" + kSum + "), max(" + kSum + ") FROM @ WHERE site = 's3'",
        "SELECT t.id FROM @ AS t WHERE predict('sum', t.x) ->> '$[0][0]' > 297",
        "SELECT id FROM @ WHERE json_extract(predict('sum', x), '$[0][0]') > 297",
        "SELECT id FROM @ WHERE PREDICT ( 'sum' , \"X\" ) -> 0 ->> 0 > 297",
        "SELECT id FROM @ WHERE predict('sum', body -> '$.x') ->> '$[0][0]' > 297",
        "SELECT id FROM @ WHERE 300 - " + kSum + " < 2",
        "SELECT l.id, r.id FROM @ l JOIN @ r ON r.n = l.n + 1 WHERE predict('sum', l.x) ->> '$[0][0]' > 295 AND "
        "predict('sum', r.x) ->> '$[0][0]' < 299",
        "SELECT " + kSum + " FROM @ WHERE n < 3",
    };
    for (const std::string& sql : statements) {
      CAPTURE(sql);
      CHECK(db.Cost(sql) == 0);
      CHECK(db.Plan(sql).find("PREDICT by sum: values of index a.sum_x, no inference") != std::string::npos);
      CHECK(db.Same(sql).find("error") == std::string::npos);
    }
    CHECK(db.Plan("SELECT id FROM @ WHERE " + kSum + " > 290")
              .find("index sum_x (predict('sum', x) ->> '$[0][0]' > ?)") != std::string::npos);
    CHECK(db.Plan("SELECT id FROM @ ORDER BY " + kSum + " LIMIT 5").find("in order") != std::string::npos);
    // The result's names are what was written.
    const auto statement = db.session->Prepare("SELECT " + kSum + ", id FROM a WHERE " + kSum + " > 290");
    REQUIRE(statement.ok());
    CHECK((*statement)->columns()[0] == kSum);
    // Another place of the output is another expression.
    CHECK(db.Cost("SELECT id FROM @ WHERE predict('sum', x) ->> '$[0][1]' > -3") >= 300);
    db.CheckSound();
  }
}

TEST_CASE("predictive index: what is pending is computed by the statement that needs it, and then in the background") {
  for (const StorageKind kind : kPredictionKinds) {
    CAPTURE(static_cast<int>(kind));
    PredictionDatabase db(kind);
    db.Create();
    CHECK(db.Info().pending_count == 300);
    const std::string above = "SELECT id FROM @ WHERE " + kSum + " > 297 ORDER BY id";
    CHECK(db.Same(above) == "p0297; p0298; p0299");
    CHECK(db.Cost(above) == 300);
    CHECK(db.Plan(above).find("inference for about") != std::string::npos);
    db.Fill();
    CHECK(db.Info().pending_count == 0);
    CHECK(db.Info().entry_count == 300);
    db.PutBoth(5, 1000);
    db.PutBoth(400, 1001);
    CHECK(db.Info().pending_count == 2);
    CHECK(db.Cost(above) == 2);
    CHECK(db.Same(above) == "p0005; p0297; p0298; p0299; p0400");
    CHECK(db.Same("SELECT id FROM @ WHERE " + kSum + " = 5.5") == "");  // Of its state before.
    CHECK(db.Same("SELECT id FROM @ ORDER BY " + kSum + " DESC LIMIT 3") == "p0400; p0005; p0299");
    CHECK(db.Same("SELECT id FROM @ WHERE " + kSum + " > 298 ORDER BY " + kSum) == "p0298; p0299; p0005; p0400");
    CHECK(db.Same("SELECT id, " + kSum + " FROM @ WHERE n IN (5, 6)") == "p0005|1000.5; p0006|6.5");
    CHECK(db.Cost("SELECT max(n + " + kSum + ") FROM @ WHERE n = 5") == 1);
    CHECK(Rows(*db.session, "DELETE FROM a WHERE id = 'p0400'") == "");
    CHECK(Rows(*db.session, "DELETE FROM b WHERE id = 'p0400'") == "");
    CHECK(db.Same(above) == "p0005; p0297; p0298; p0299");
    db.Fill();
    CHECK(db.Cost(above) == 0);
    CHECK(db.Same(above) == "p0005; p0297; p0298; p0299");
    // A write that leaves the input alone leaves the value.
    CHECK(Rows(*db.session, "UPDATE a SET n = n + 1") == "");
    CHECK(db.Info().pending_count == 0);
    CHECK(db.Cost(above) == 0);
    CHECK(Rows(*db.session, "DELETE FROM a WHERE n < 100") == "");
    CHECK(Rows(*db.session, "DELETE FROM b WHERE n < 99") == "");
    CHECK(db.Same("SELECT count(*), min(" + kSum + ") FROM @") == "201|99.5");
    db.CheckSound();
  }
}

TEST_CASE("predictive index: a transaction sees its own writes, and a rollback takes them back") {
  for (const StorageKind kind : kPredictionKinds) {
    CAPTURE(static_cast<int>(kind));
    PredictionDatabase db(kind);
    db.Create();
    db.Fill();
    const std::string above = "SELECT id FROM a WHERE " + kSum + " > 298 ORDER BY " + kSum;
    SqlSession& session = *db.session;
    REQUIRE(Rows(session, "BEGIN IMMEDIATE") == "");
    REQUIRE(Rows(session, "UPDATE a SET body = json_set(body, '$.x[0]', 500) WHERE id = 'p0001'") == "");
    REQUIRE(Rows(session, "INSERT INTO a (id, x) VALUES ('new', json('[600,0]'))") == "");
    REQUIRE(Rows(session, "DELETE FROM a WHERE id = 'p0299'") == "");
    CHECK(Rows(session, above) == "p0298; p0001; new");
    REQUIRE(Rows(session, "SAVEPOINT s") == "");
    REQUIRE(Rows(session, "UPDATE a SET body = json_set(body, '$.x[0]', 700) WHERE id = 'p0002'") == "");
    REQUIRE(Rows(session, "UPDATE a SET body = json_set(body, '$.x[0]', 0) WHERE id = 'p0001'") == "");
    CHECK(Rows(session, above) == "p0298; new; p0002");
    REQUIRE(Rows(session, "ROLLBACK TO s") == "");
    CHECK(Rows(session, above) == "p0298; p0001; new");
    // Written by what the index says.
    REQUIRE(Rows(session, "UPDATE a SET n = -1 WHERE " + kSum + " > 298") == "");
    CHECK(Rows(session, "SELECT id FROM a WHERE n = -1 ORDER BY id") == "new; p0001; p0298");
    CHECK(Rows(*SqlSession::Create(*db.core).value(), above) == "p0298; p0299");  // Nobody else's.
    REQUIRE(Rows(session, "ROLLBACK") == "");
    CHECK(Rows(session, above) == "p0298; p0299");
    CHECK(db.Info().pending_count == 0);
    REQUIRE(Rows(session, "BEGIN") == "");
    REQUIRE(Rows(session, "DELETE FROM a WHERE " + kSum + " < 290") == "");
    REQUIRE(Rows(session, "UPDATE a SET body = json_set(body, '$.x[0]', 1) WHERE id = 'p0298'") == "");
    REQUIRE(Rows(session, "COMMIT") == "");
    CHECK(Rows(session, "SELECT count(*) FROM a") == "10");
    CHECK(Rows(session, above) == "p0299");
    db.Fill();
    CHECK(Rows(session, "SELECT id FROM a WHERE " + kSum + " < 100") == "p0298");
    db.CheckSound();
  }
}

TEST_CASE("predictive index: inputs that are missing or that the model does not take are NULL, and counted") {
  for (const StorageKind kind : kPredictionKinds) {
    CAPTURE(static_cast<int>(kind));
    PredictionDatabase db(kind, 10);
    db.Put("a", "none", R"({"n":1})");
    db.Put("a", "null", R"({"x":null})");
    db.Put("a", "short", R"({"x":[1]})");
    db.Put("a", "text", R"({"x":"[3,0.25]"})");  // As SQL's column has it: JSON in a text.
    db.Put("a", "word", R"({"x":"pump"})");
    db.Put("a", "refused", R"({"x":[9999,1]})");
    db.Create();
    for (int round = 0; round < 2; ++round) {
      CAPTURE(round);
      CHECK(Rows(*db.session, "SELECT id FROM a WHERE " + kSum + " IS NULL ORDER BY id") ==
            "none; null; refused; short; word");
      CHECK(Rows(*db.session, "SELECT count(*) FROM a WHERE " + kSum + " < 1e9") == "11");
      CHECK(Rows(*db.session, "SELECT id FROM a WHERE " + kSum + " = 3.25") == "text");
      CHECK(Rows(*db.session, "SELECT id FROM a ORDER BY " + kSum + ", id LIMIT 7") ==
            "none; null; refused; short; word; p0000; p0001");
      db.Fill();
    }
    CHECK(db.Info().failed_count == 3);
    CHECK(db.Info().failure.find("document \"") == 0);
    CHECK(db.core->Stats()->failed_prediction_count == 3);
    CHECK(db.core->Stats()->pending_embedding_count == 0);
    db.CheckSound();
    // Mended, they are found.
    db.Put("a", "short", R"({"x":[1,2]})");
    CHECK(Rows(*db.session, "SELECT id FROM a WHERE " + kSum + " = 3") == "short");
    db.Fill();
    CHECK(db.Info().failed_count == 2);
    // An output path that leads nowhere, or to a list, says so.
    REQUIRE(db.core->DropPredictiveIndex("a", "sum_x").ok());
    db.Create({.model = "sum", .path = "x", .output = "$[0]"});
    db.Fill();
    CHECK(db.Info().failed_count == 14);
    CHECK(db.Info().failure.find("expected") != std::string::npos);
    db.CheckSound();
  }
}

TEST_CASE("predictive index: another version of the model makes all values anew, and no statement mixes two") {
  for (const StorageKind kind : kPredictionKinds) {
    CAPTURE(static_cast<int>(kind));
    PredictionDatabase db(kind);
    TemporaryDirectory files;
    // A graph goes on running in statements that began with it.
    const auto add_version = [&](float factor) {
      OnnxWriter writer;
      writer.Input("x", {-1, 2}, 1);
      writer.Node("Gemm", {"x", writer.Floats("w", {2, 1}, {factor, 1}), writer.Floats("b", {1}, {0})}, {}, "y");
      writer.Output("y", {-1, 1});
      REQUIRE(WriteFileAtomic(files.path() + "/g.onnx", writer.Finish()).ok());
      const auto added = db.core->models().Add("g", files.path() + "/g.onnx", ModelImportOptions());
      REQUIRE_MESSAGE(added.ok(), added.status().ToString());
    };
    add_version(1);
    db.Create({.model = "g", .path = "x", .output = "$[0][0]"});
    db.Fill();
    const std::string g = "predict('g', x) ->> '$[0][0]'";
    const std::string above = "SELECT id, " + g + " FROM a WHERE " + g + " > 297 ORDER BY " + g;
    const auto running = db.session->Prepare(above);
    REQUIRE(running.ok());
    REQUIRE(*(*running)->Step());
    CHECK(TextOfValue((*running)->Column(1)) == "297.5");
    add_version(2);
    CHECK(db.Info().pending_count >= 300);
    const auto other = SqlSession::Create(*db.core).value();
    // Values that are looked up one by one are of the new version as well.
    CHECK(db.Same(*other, "SELECT id, " + g + " FROM @ WHERE site = 's3' ORDER BY id LIMIT 3") != "");
    const std::string twice = "SELECT count(*), min(" + g + ") FROM @ WHERE " + g + " > 297";
    CHECK(db.Same(*other, twice) == "151|298.5");
    REQUIRE(*db.core->predictive().Step());  // Begins anew.
    CHECK(db.Same(*other, twice) == "151|298.5");
    CHECK(db.PredictionKeyspaceCount() == 6);
    db.Fill();
    CHECK(db.Info().pending_count == 0);
    CHECK(db.Info().model_version == db.core->models().Get("g")->version);
    CHECK(db.Same(*other, twice) == "151|298.5");
    // The statement goes on as it began.
    REQUIRE(*(*running)->Step());
    CHECK(TextOfValue((*running)->Column(1)) == "298.5");
    REQUIRE(*(*running)->Step());
    CHECK(TextOfValue((*running)->Column(1)) == "299.5");
    CHECK_FALSE(*(*running)->Step());
    REQUIRE((*running)->Reset().ok());
    REQUIRE(*(*running)->Step());
    CHECK(TextOfValue((*running)->Column(1)) == "298.5");  // 2 * 149 + 0.5
    REQUIRE((*running)->Reset().ok());
    REQUIRE_FALSE(*db.core->predictive().Step());
    CHECK(db.PredictionKeyspaceCount() == 3);
    // Back, and on to a third one before anything was filled.
    add_version(1);
    REQUIRE(*db.core->predictive().Step());
    add_version(3);
    CHECK(db.Same(*other, twice) == "201|297.5");
    db.Fill();
    CHECK(db.Same(*other, twice) == "201|297.5");
    db.CheckSound();
    REQUIRE_FALSE(*db.core->predictive().Step());
    CHECK(db.PredictionKeyspaceCount() == 3);
  }
}

TEST_CASE("predictive index: another version of a callback is another model too") {
  PredictionDatabase db;
  db.Create();
  db.Fill();
  db.Register("2", 2);
  CHECK(db.Same("SELECT count(*) FROM @ WHERE " + kSum + " > 297") == "151");
  db.Fill();
  CHECK(db.Cost("SELECT count(*) FROM @ WHERE " + kSum + " > 297") == 0);
  CHECK(db.Same("SELECT count(*) FROM @ WHERE " + kSum + " > 297") == "151");
}

TEST_CASE("predictive index: without a model that runs, statements say which index wants it, and values stay") {
  PredictionDatabase db;
  db.Create();
  db.Fill();
  CHECK(Says(db.core->models().Remove("sum"), ErrorCode::kConflict, "index \"a.sum_x\" predicts by it"));
  REQUIRE(db.core->models().Unregister("sum").ok());
  const Status failed = FailureOf(*db.session, "SELECT id FROM a WHERE " + kSum + " > 297");
  CHECK(Says(failed, ErrorCode::kUnsupported, "index \"a.sum_x\""));
  db.Put("a", "late", R"({"x":[1,2]})");
  CHECK(Says(db.core->WaitIndexed(std::chrono::minutes(1), {}), ErrorCode::kUnsupported, "index \"a.sum_x\""));
  db.Register("1", 1);
  CHECK(db.Cost("SELECT id FROM @ WHERE " + kSum + " > 297") == 1);
  REQUIRE(db.core->DropPredictiveIndex("a", "sum_x").ok());
  CHECK(db.core->models().Remove("sum").ok());
  CHECK(db.PredictionKeyspaceCount() == 0);
}

TEST_CASE("predictive index: options that do not fit are refused by name") {
  PredictionDatabase db(StorageKind::kSqlite, 1);
  DatabaseCore& core = *db.core;
  const auto refusal = [&](const std::string& collection, const PredictiveIndexOptions& options) {
    return core.CreatePredictiveIndex(collection, options);
  };
  CHECK(Says(refusal("a", {.model = "no", .path = "x", .output = "$[0]"}), ErrorCode::kNotFound, "model \"no\""));
  CHECK(Says(refusal("c", {.model = "sum", .path = "x", .output = "$[0]"}), ErrorCode::kNotFound, "\"c\""));
  CHECK(Says(refusal("a", {.model = "sum", .path = "x", .output = "$[0]", .adapter = "z"}), ErrorCode::kNotFound,
             "adapter \"z\""));
  for (const std::string output : {"", "$", "0", "$[", "$[-1]", "$[0", "$..x", "$[99999999999999999999]", "x"}) {
    CAPTURE(output);
    CHECK(Says(refusal("a", {.model = "sum", .path = "x", .output = output}), ErrorCode::kInvalidArgument,
               "index \"a.sum_x\": output"));
  }
  for (const std::string path : {"", "id", "body"}) {
    CHECK(refusal("a", {.model = "sum", .path = path, .output = "$[0]"}).code() == ErrorCode::kInvalidArgument);
  }
  CHECK(Says(refusal("_models", {.model = "sum", .path = "x", .output = "$[0]"}), ErrorCode::kUnsupported, "library"));
  db.Create();
  CHECK(Says(refusal("a", {.model = "sum", .path = "x", .output = "$[0][1]"}), ErrorCode::kAlreadyExists, "exists"));
  CHECK(Says(refusal("a", {.model = "sum", .path = "x", .output = "$[0][0]", .name = "again"}),
             ErrorCode::kAlreadyExists, "index \"a.sum_x\" is of predict('sum', x) ->> '$[0][0]' already"));
  CHECK(core.CreateFieldIndex("a", {.paths = {"n"}, .name = "sum_x"}).code() == ErrorCode::kAlreadyExists);
  CHECK(Says(core.DropPredictiveIndex("a", "other"), ErrorCode::kNotFound, "a.other"));
}

TEST_CASE("predictive index: only the expression over the index's own column is answered by it") {
  PredictionDatabase db(StorageKind::kSqlite, 30);
  db.Create();
  db.Fill();
  db.Collection("other");
  db.Put("other", "o", R"({"x":[1000,0],"n":3})");
  const std::string statements[] = {
      // `x` of another table, of a subquery, of a common table expression.
      "SELECT id FROM @ WHERE EXISTS (SELECT 1 FROM other WHERE " + kSum + " > 100) LIMIT 2",
      "SELECT s.id FROM (SELECT id, json('[5,5]') AS x FROM @) AS s WHERE predict('sum', s.x) ->> '$[0][0]' = 10 LIMIT "
      "2",
      "SELECT id FROM (SELECT id, json('[5,5]') AS x FROM @) WHERE " + kSum + " = 10 LIMIT 2",
      "SELECT (SELECT " + kSum + " FROM (SELECT json('[8,8]') AS x)) FROM @ LIMIT 1",
      "WITH t(id, x) AS (SELECT id, '[7,1]' FROM @ LIMIT 2) SELECT id, " + kSum + " FROM t",
      "SELECT @.id FROM @ JOIN other ON other.n = @.n WHERE predict('sum', other.x) ->> '$[0][0]' > 100",
      // Both in one statement.
      "SELECT @.id FROM @ JOIN other ON other.n <= @.n WHERE predict('sum', other.x) ->> '$[0][0]' > 100 AND "
      "predict('sum', @.x) ->> '$[0][0]' < 6",
      // Operators that bind more, or from the left.
      "SELECT '[1,' || predict('sum', x) || ']' ->> '$[1][0][0]' FROM @ LIMIT 1",
      "SELECT '1' || " + kSum + " IS NULL FROM @ WHERE 0",
      "SELECT typeof(-predict('sum', x)) FROM @ LIMIT 2",
      "SELECT 1 - " + kSum + " FROM @ LIMIT 2",
      "SELECT n - " + kSum + " FROM @ LIMIT 2",
      "SELECT " + kSum + " || 'm' FROM @ LIMIT 2",
      "SELECT predict('sum', x) -> '$[0][0]' FROM @ LIMIT 2",
      "SELECT predict('sum', x) ->> '$[0]' ->> '$[0]' FROM @ LIMIT 2",
      // The expression in strings and comments.
      "SELECT 'predict(''sum'', x) ->> ''$[0][0]''' /* " + kSum + " */ FROM @ LIMIT 1 -- " + kSum,
      "SELECT id AS x FROM @ WHERE " + kSum + " > 27 ORDER BY x",
      "SELECT id, json('[100,0]') AS x FROM @ ORDER BY " + kSum + " LIMIT 1",
      "SELECT l.id FROM @ l LEFT JOIN @ r ON r.n = l.n + 20 WHERE predict('sum', r.x) ->> '$[0][0]' IS NULL AND l.n < "
      "12",
      "SELECT count(*) FROM @ l JOIN @ r USING (x) WHERE " + kSum + " > 20",
      "SELECT n % 2, max(" + kSum + ") AS top FROM @ GROUP BY n % 2 HAVING top > 2 ORDER BY n % 2",
      "SELECT CAST(" + kSum + " AS INTEGER) FROM @ WHERE " + kSum + " = CAST('7.5' AS REAL)",
      "SELECT id FROM @ WHERE " + kSum + " > '5'",
      "SELECT id FROM @ WHERE " + kSum + " < x'00' LIMIT 2",
      "SELECT DISTINCT typeof(" + kSum + ") FROM @",
  };
  for (const std::string& sql : statements) {
    CAPTURE(sql);
    CHECK(db.Same(sql).find("error") == std::string::npos);
  }
  CHECK(Rows(*db.session, "INSERT INTO a (id, x) VALUES ('s', json('[2,1]')) RETURNING id, " + kSum) == "s|3");
  CHECK(FailureOf(*db.session, "INSERT INTO a (id, \"predict('sum', x) ->> '$[0][0]'\") VALUES ('t', 1)").code() ==
        ErrorCode::kInvalidArgument);
}

TEST_CASE("predictive index: prepared statements outlive its making and its dropping") {
  PredictionDatabase db(StorageKind::kSqlite, 20);
  const std::string sql = "SELECT id FROM a WHERE " + kSum + " > ? ORDER BY id";
  const auto before = db.session->Prepare(sql);
  REQUIRE(before.ok());
  const auto rows = [](Statement& statement, double above) {
    REQUIRE(statement.Bind(1, above).ok());
    const auto found = StepAll(statement);
    REQUIRE_MESSAGE(found.ok(), found.status().ToString());
    REQUIRE(statement.Reset().ok());
    return found->size();
  };
  CHECK(rows(**before, 17) == 3);
  db.Create();
  const auto during = db.session->Prepare(sql);
  REQUIRE(during.ok());
  CHECK(rows(**before, 17) == 3);
  CHECK(rows(**during, 17) == 3);
  db.Fill();
  CHECK(rows(**during, 16) == 4);
  REQUIRE((*during)->Bind(1, 17.0).ok());
  REQUIRE(*(*during)->Step());
  REQUIRE(db.core->DropPredictiveIndex("a", "sum_x").ok());
  CHECK(StepAll(**during)->size() == 2);  // In its snapshot the index is there.
  REQUIRE((*during)->Reset().ok());
  CHECK(rows(**during, 17) == 3);  // Declared still, and gone.
  CHECK(rows(**before, 17) == 3);
  CHECK(Rows(*db.session, "SELECT count(*) FROM a") == "20");  // Declares the tables anew.
  CHECK(rows(**during, 17) == 3);
  CHECK(rows(**before, 17) == 3);
  db.Create();
  CHECK(Rows(*db.session, "SELECT count(*) FROM a WHERE " + kSum + " > 17") == "3");
  CHECK(rows(**during, 17) == 3);
  REQUIRE(db.core->predictive().Step().ok());
  CHECK(db.PredictionKeyspaceCount() == 3);
}

TEST_CASE("predictive index: a prepared statement that is compiled anew has the columns that there are by then") {
  PredictionDatabase db(StorageKind::kSqlite, 5);
  db.Create();
  db.Fill();
  const auto all = db.session->Prepare("SELECT *, " + kSum + " FROM a WHERE " + kSum + " > 3");
  REQUIRE(all.ok());
  const auto check = [&] {
    const auto names = (*all)->columns();
    REQUIRE(*(*all)->Step());
    CHECK(names == (*all)->columns());
    CHECK(names.back() == kSum);
    for (std::size_t i = 0; i < names.size(); ++i) {
      if (names[i] == "id") CHECK(TextOfValue((*all)->Column(static_cast<int>(i))) == "p0003");
      if (names[i] == "n") CHECK(TextOfValue((*all)->Column(static_cast<int>(i))) == "3");
      if (names[i] == "site") CHECK(TextOfValue((*all)->Column(static_cast<int>(i))) == "s3");
    }
    CHECK(TextOfValue((*all)->Column(static_cast<int>(names.size()) - 1)) == "3.5");
    REQUIRE((*all)->Reset().ok());
    return names.size();
  };
  const std::size_t before = check();
  REQUIRE(db.core->CreateFieldIndex("a", {.paths = {"late"}}).ok());
  REQUIRE(Rows(*db.session, "SELECT count(*) FROM a") == "5");  // Declares the tables anew.
  REQUIRE(*(*all)->Step());
  REQUIRE((*all)->Reset().ok());
  CHECK(check() > before);
}

TEST_CASE("predictive index: the first statement of a session whose tables are declared anew uses it") {
  PredictionDatabase db;
  const std::string above = "SELECT id FROM a WHERE " + kSum + " > 298";
  CHECK(Rows(*db.session, above) == "p0298; p0299");
  db.Create();
  db.Fill();
  CHECK(db.Cost(above) == 0);
}

TEST_CASE("predictive index: an entry that a transaction deletes ahead of its scan is passed over") {
  for (const StorageKind kind : kPredictionKinds) {
    for (const bool backwards : {false, true}) {
      CAPTURE(static_cast<int>(kind));
      CAPTURE(backwards);
      PredictionDatabase db(kind);
      db.Create();
      db.Fill();
      SqlSession& session = *db.session;
      REQUIRE(Rows(session, "BEGIN IMMEDIATE") == "");
      // Computed, and the first in either direction: behind it the scan looks at an entry ahead.
      REQUIRE(Rows(session, "INSERT INTO a (id, x) VALUES ('low', json('[290,0]')), ('high', json('[500,0]'))") == "");
      const std::string sql =
          "SELECT id FROM a WHERE " + kSum + " >= 290 ORDER BY " + kSum + (backwards ? " DESC" : "");
      const auto scan = session.Prepare(sql);
      REQUIRE(scan.ok());
      CHECK(db.Plan(sql).find("B-TREE") == std::string::npos);
      REQUIRE(*(*scan)->Step());
      CHECK(TextOfValue((*scan)->Column(0)) == (backwards ? "high" : "low"));
      REQUIRE(Rows(session, backwards ? "DELETE FROM a WHERE n > 291" : "DELETE FROM a WHERE n < 298") == "");
      const auto rest = StepAll(**scan);
      REQUIRE_MESSAGE(rest.ok(), rest.status().ToString());
      std::string ids;
      for (const std::string& id : *rest) ids += id + " ";
      CHECK(ids == (backwards ? "p0291 p0290 low " : "p0298 p0299 high "));
      REQUIRE(Rows(session, "COMMIT") == "");
      db.CheckSound();
    }
  }
}

TEST_CASE("predictive index: it is one among others: plans, filters of a search by nearness") {
  PredictionDatabase db(StorageKind::kSqlite, 200);
  db.Create();
  db.Fill();
  db.Index("a", {.paths = {"site"}});
  const std::string both = "SELECT id FROM @ WHERE site = 's3' AND " + kSum + " > 150 ORDER BY id";
  CHECK(db.Cost(both) == 0);
  // While much is missing, another index narrows what is computed.
  db.Register("2", 2);
  REQUIRE(*db.core->predictive().Step());
  REQUIRE(*db.core->predictive().Step());  // Fills it; the plan still knows the backlog that it found.
  CHECK(db.Plan(both).find("index site (site = ?)") != std::string::npos);
  CHECK(db.Same(both).find("error") == std::string::npos);
  db.Fill();
  CHECK(db.Cost(both) == 0);
  db.Vector("a", "v", 2);
  for (int i = 0; i < 200; ++i) {
    const std::string v = std::to_string(i);
    db.Put("a", PredictionDatabase::Name(i), "{\"n\":" + v + ",\"x\":[" + v + ",0],\"v\":[" + v + ",0]}");
  }
  for (int round = 0; round < 2; ++round) {
    const std::string near = "SELECT id FROM a WHERE v MATCH '[0,0]' AND " + kSum + " > 395 ORDER BY distance LIMIT 2";
    CHECK(Rows(*db.session, near) == "p0198; p0199");
    db.Fill();
  }
  db.CheckSound();
}

TEST_CASE("predictive index: of a network, and of a text model's embedding: bit for bit what predict() says") {
  for (const StorageKind kind : kPredictionKinds) {
    CAPTURE(static_cast<int>(kind));
    PredictionDatabase db(kind, 400);
    TemporaryDirectory files;
    OnnxWriter writer;
    writer.Input("x", {-1, 2}, 1);
    const std::string layer =
        writer.Node("Gemm", {"x", writer.Floats("w", {2, 3}, {.001F, -.002F, .003F, .4F, .05F, -.6F}),
                             writer.Floats("b", {3}, {.01F, .02F, .03F})});
    writer.Node("Softmax", {writer.Node("Tanh", {layer})}, {IntAttribute("axis", -1)}, "y");
    writer.Output("y", {-1, 3});
    REQUIRE(WriteFileAtomic(files.path() + "/net.onnx", writer.Finish()).ok());
    REQUIRE(db.core->models().Add("net", files.path() + "/net.onnx", ModelImportOptions()).ok());
    REQUIRE(db.core->models().Add("tiny", FORESHORE_GOLDEN_DIR "/bert_tiny", ModelImportOptions()).ok());
    db.Create({.model = "net", .path = "x", .output = "$[0][2]", .name = "class2"});
    db.Create({.model = "tiny", .path = "site", .output = "$.embedding[3]"});
    const std::string class2 = "predict('net', x) ->> '$[0][2]'";
    const std::string tiny = "predict('tiny', body -> '$.site') ->> '$.embedding[3]'";
    for (int round = 0; round < 2; ++round) {
      CAPTURE(round);
      CHECK(db.Same("SELECT id, " + class2 + " FROM @ WHERE " + class2 + " > 0.3 ORDER BY id").size() > 100);
      CHECK(db.Same("SELECT count(*), sum(" + class2 + "), total(" + tiny + ") FROM @").find("400|") == 0);
      CHECK(db.Same("SELECT DISTINCT site, " + tiny + " FROM @ ORDER BY " + tiny + ", site").size() > 50);
      db.Fill();
    }
    CHECK(db.Plan("SELECT id FROM @ WHERE " + class2 + " > 0.9").find("index class2") != std::string::npos);
    CHECK(db.Plan("SELECT id FROM @ WHERE " + tiny + " > 0.9").find("index tiny_site") != std::string::npos);
    db.CheckSound();
  }
}

TEST_CASE("predictive index: what was pending when the database was closed goes on when it is opened") {
  for (const StorageKind kind : kPredictionKinds) {
    CAPTURE(static_cast<int>(kind));
    PredictionDatabase db(kind, 50);
    db.Create();
    db.Fill();
    db.PutBoth(3, 800);
    db.PutBoth(60, 900);
    db.session.reset();
    REQUIRE(db.core->Close().ok());
    db.core.reset();
    DatabaseOptions options;
    options.embed_in_background = false;
    db.Open(options);
    CHECK(db.Info().pending_count == 2);
    CHECK(Says(FailureOf(*db.session, "SELECT id FROM a WHERE " + kSum + " > 297"), ErrorCode::kUnsupported, "sum"));
    db.Register("1", 1);
    CHECK(db.Same("SELECT id FROM @ WHERE " + kSum + " > 100 ORDER BY id") == "p0003; p0060");
    CHECK(db.Cost("SELECT id FROM @ WHERE " + kSum + " > 100") == 2);
    db.Fill();
    CHECK(db.Cost("SELECT id FROM @ WHERE " + kSum + " > 100") == 0);
    CHECK(db.PredictionKeyspaceCount() == 3);
    db.CheckSound();
  }
}

TEST_CASE("predictive index: over a nested path, of documents that expire") {
  PredictionDatabase db(StorageKind::kSqlite, 0);
  REQUIRE(db.core->SetExpiryField("a", "until").ok());
  for (int i = 0; i < 20; ++i) {
    const std::string until = i % 4 == 0 ? ",\"until\":1" : "";
    db.Put("a", PredictionDatabase::Name(i), "{\"signal\":{\"x.y\":[" + std::to_string(i) + ",0]}" + until + "}");
  }
  db.Create({.model = "sum", .path = "signal.x\\.y", .output = "$[0][0]", .name = "nested"});
  const std::string column = PathForPeople(*ParsePath("signal.x\\.y"));
  for (int round = 0; round < 2; ++round) {
    CAPTURE(round);
    for (const std::string& input : {"\"" + column + "\"", std::string("body -> '$.signal.\"x.y\"'")}) {
      const std::string nested = "predict('sum', " + input + ") ->> '$[0][0]'";
      CAPTURE(nested);
      CHECK(Rows(*db.session, "SELECT id FROM a WHERE " + nested + " > 15 ORDER BY " + nested) ==
            "p0017; p0018; p0019");
      CHECK(Rows(*db.session, "SELECT count(*), min(" + nested + ") FROM a") == "15|1");
      CHECK(db.Plan("SELECT id FROM @ WHERE " + nested + " > 15").find("index nested") != std::string::npos);
    }
    db.Fill();
  }
  CHECK(db.Info().entry_count == 20);  // They are there when they are extended.
  db.CheckSound();
}

TEST_CASE("predictive index: filled in the background while documents are written and read") {
  for (const StorageKind kind : kPredictionKinds) {
    CAPTURE(static_cast<int>(kind));
    PredictionDatabase db(kind, 100, true);
    db.Create();
    for (int i = 0; i < 200; ++i) {
      db.PutBoth(i % 120, i * 3);
      if (i % 20 == 0) db.Same("SELECT id, " + kSum + " FROM @ WHERE " + kSum + " > 100 ORDER BY id");
      if (i == 90) db.Register("2", 2);
    }
    db.Fill();
    CHECK(db.Cost("SELECT count(*) FROM @ WHERE " + kSum + " > 100") == 0);
    CHECK(db.Same("SELECT count(*), total(" + kSum + ") FROM @ WHERE " + kSum + " > 100").find("error") ==
          std::string::npos);
    db.CheckSound();
  }
}

TEST_CASE("output path: read, written, followed") {
  for (const auto& [text, normal] : {std::pair<std::string, std::string>{"$[0][1]", "$[0][1]"},
                                     {"$[007]", "$[7]"},
                                     {"$.a.\"b\"[2]", "$.a.b[2]"},
                                     {"$.\"a b\"", "$.\"a b\""}}) {
    const auto path = OutputPath::Parse(text);
    REQUIRE_MESSAGE(path.ok(), path.status().ToString());
    CHECK(path->ToText() == normal);
  }
  const std::string json = R"({"a":[1,[2,"x]"],{"b":-3e2}],"c":null})";
  const auto at = [&](const std::string& path) { return std::string(OutputPath::Parse(path)->Find(json)); };
  CHECK(at("$.a[0]") == "1");
  CHECK(at("$.a[1][1]") == "\"x]\"");
  CHECK(at("$.a[2].b") == "-3e2");
  CHECK(at("$.c") == "null");
  for (const std::string path : {"$.a[3]", "$.a.b", "$[0]", "$.d", "$.a[1][2]", "$.a[0][0]"}) CHECK(at(path) == "");
}

TEST_CASE("predictive index: rows of the catalogue and values that are damaged are refused") {
  auto index = DefinePredictiveIndex("a", {.model = "m", .path = "x.y", .output = "$[0]", .adapter = "z"});
  REQUIRE(index.ok());
  index->id = index->field.id = 7;
  index->pin = {"m", "z", "12", "34"};
  const ByteString row = EncodePredictiveIndex(*index);
  const auto decoded = DecodePredictiveIndex(row);
  REQUIRE(decoded.ok());
  CHECK(decoded->column == "predict('m', \"x.y\", 'z') ->> '$[0]'");
  CHECK(decoded->pin == index->pin);
  CHECK(decoded->field.id == 7);
  for (std::size_t size = 0; size < row.size(); ++size) {
    CHECK(DecodePredictiveIndex(Bytes(row).substr(0, size)).status().code() == ErrorCode::kCorruption);
  }
  CHECK(DecodePredictiveIndex(row + "x").status().code() == ErrorCode::kCorruption);
  // As builds wrote it before an input could be an expression.
  ByteString first = row.substr(0, row.size() - 1);
  first[0] = 1;
  const auto older = DecodePredictiveIndex(first);
  REQUIRE_MESSAGE(older.ok(), older.status().ToString());
  CHECK(older->column == decoded->column);
  CHECK(older->pin == index->pin);
  CHECK(EncodePredictiveIndex(*older) == row);
  first = row;
  first[0] = 1;
  CHECK(DecodePredictiveIndex(first).status().code() == ErrorCode::kCorruption);
  ByteString later = row;
  later[0] = 3;
  CHECK(DecodePredictiveIndex(later).status().code() == ErrorCode::kUnsupported);
  for (const std::string& bytes :
       {std::string(), std::string("\1"), std::string("\1\1"), std::string("\1\1[1]"), std::string("\1\3")}) {
    CHECK(PredictedValue::Decode(bytes).status().code() == ErrorCode::kCorruption);
  }
  CHECK(PredictedValue::Decode(std::string("\2\1") + "1").status().code() == ErrorCode::kUnsupported);
}
