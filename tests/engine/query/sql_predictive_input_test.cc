// Predictive indexes over gathered fields: json_array() and json_object() of a document's values. What they answer is
// what predict() of the same expression says without an index, for every state of the documents.
#include <cmath>
#include <cstdio>
#include <filesystem>
#include <random>

#include "engine/database/predictive_index.h"
#include "storage/base/file.h"
#include "tests/engine/inference/onnx_writer.h"
#include "tests/engine/query/prediction_database.h"
#include "tests/temporary_directory.h"

using namespace foreshore;

namespace {

const std::string kPair = "predict('sum', json_array(p, q)) ->> '$[0][0]'";

bool Says(const Status& status, ErrorCode code, std::string_view text) {
  CAPTURE(status.ToString());
  return status.code() == code && status.message().find(text) != std::string::npos;
}

struct PairDatabase : PredictionDatabase {
  explicit PairDatabase(StorageKind kind = StorageKind::kSqlite, int document_count = 100)
      : PredictionDatabase(kind, 0) {
    for (int i = 0; i < document_count; ++i) PutPair(Name(i), std::to_string(i), "0.5");
  }
  // Of JSON tokens; empty: the field is missing.
  void PutPair(const std::string& id, const std::string& p, const std::string& q) {
    for (const char* collection : {"a", "b"}) Put(collection, id, Body(p, q));
  }
  static std::string Body(const std::string& p, const std::string& q) {
    std::string body = R"({"n":)" + std::to_string(p.size());
    if (!p.empty()) body += ",\"p\":" + p + ",\"at\":{\"row\":" + p + "}";
    if (!q.empty()) body += ",\"q\":" + q;
    return body + "}";
  }
  void CreatePair() { Create({.model = "sum", .path = "json_array(p, q)", .output = "$[0][0]"}); }
  // What the expression is for one document, NULL where the model does not take it.
  std::string ValueOf(SqlSession& on, const std::string& collection, const std::string& expression,
                      const std::string& id) {
    const auto rows = RunSql(on, "SELECT " + expression + " FROM " + collection + " WHERE id = '" + id + "'");
    return !rows.ok() ? "NULL" : rows->empty() ? "absent" : rows->at(0);
  }
};

}  // namespace

TEST_CASE("predictive input: gathered fields are answered from the index, however the expression is written") {
  for (const StorageKind kind : kPredictionKinds) {
    CAPTURE(static_cast<int>(kind));
    PairDatabase db(kind);
    db.CreatePair();
    CHECK(db.Info().predictive.name == "sum_p_q");
    CHECK(db.Info().predictive.path == "json_array(p, q)");
    for (int round = 0; round < 2; ++round) {
      CAPTURE(round);
      for (const std::string& sql : {
               "SELECT id FROM @ WHERE " + kPair + " > 90 ORDER BY id",
               "SELECT id FROM @ ORDER BY " + kPair + " DESC LIMIT 5",
               "SELECT id, " + kPair + " FROM @ WHERE " + kPair + " BETWEEN 10 AND 12 ORDER BY " + kPair,
               "SELECT count(*), avg(" + kPair + "), max(" + kPair + ") FROM @ WHERE n = 2",
               std::string("SELECT t.id FROM @ AS t WHERE predict('sum', json_array(t.p, t.q)) ->> '$[0][0]' > 97"),
               std::string("SELECT id FROM @ WHERE PREDICT('sum', JSON_Array( P , \"q\" )) -> 0 ->> 0 > 97"),
               std::string("SELECT id FROM @ WHERE json_extract(predict('sum', json_array(p, q)), '$[0][0]') > 97"),
               std::string("SELECT l.id, r.id FROM @ l JOIN @ r ON r.p = l.p + 1 WHERE predict('sum', json_array(l.p, "
                           "l.q)) ->> '$[0][0]' > 95 AND predict('sum', json_array(r.p, r.q)) ->> '$[0][0]' < 99"),
           }) {
        CAPTURE(sql);
        if (round == 1) CHECK(db.Cost(sql) == 0);
        CHECK(db.Plan(sql).find("PREDICT by sum: values of index a.sum_p_q") != std::string::npos);
        CHECK(db.Same(sql).find("error") == std::string::npos);
      }
      db.Fill();
    }
    CHECK(db.Plan("SELECT id FROM @ WHERE " + kPair + " > 90")
              .find("index sum_p_q (predict('sum', json_array(p, q)) ->> '$[0][0]' > ?)") != std::string::npos);
    // A write of either field makes it anew, one of another leaves it.
    CHECK(Rows(*db.session, "UPDATE a SET n = 7") == "");
    CHECK(db.Info().pending_count == 0);
    for (const char* c : {"a", "b"})
      CHECK(Rows(*db.session, "UPDATE " + std::string(c) + " SET q = 50 WHERE p = 3") == "");
    CHECK(db.Info().pending_count == 1);
    CHECK(db.Cost("SELECT id FROM @ WHERE " + kPair + " = 53") == 1);
    CHECK(db.Same("SELECT id FROM @ WHERE " + kPair + " = 53 ORDER BY id") == "p0003");
    db.Fill();
    CHECK(db.Same("SELECT id FROM @ WHERE " + kPair + " IN (3.5, 53) ORDER BY id") == "p0003");
    db.CheckSound();
  }
}

TEST_CASE("predictive input: expressions that mean something else are not answered by the index") {
  PairDatabase db(StorageKind::kSqlite, 20);
  db.CreatePair();
  db.Fill();
  db.Collection("other");
  db.Put("other", "o", R"({"p":500,"q":1,"n":2})");
  for (const std::string& sql : {
           // Columns of two tables, of which one lacks the index or neither does.
           std::string("SELECT count(*) FROM @ l JOIN @ r ON r.p = l.p + 1 WHERE predict('sum', json_array(l.p, r.q)) "
                       "->> '$[0][0]' > 10"),
           std::string("SELECT count(*) FROM @ l, other WHERE predict('sum', json_array(l.p, other.q)) ->> '$[0][0]' > "
                       "10"),
           std::string("SELECT count(*) FROM other, @ r WHERE predict('sum', json_array(other.p, r.q)) ->> '$[0][0]' > "
                       "10"),
           "SELECT id FROM @ WHERE EXISTS (SELECT 1 FROM other WHERE " + kPair + " > 100) LIMIT 2",
           "SELECT id FROM (SELECT id, q AS p, p AS q FROM @) WHERE " + kPair + " > 18",
           "SELECT id FROM (SELECT id, 9 AS p, q FROM @) WHERE " + kPair + " = 9.5 LIMIT 2",
           "SELECT (SELECT " + kPair + " FROM (SELECT 8 AS p)) FROM @ LIMIT 3",
           "SELECT (SELECT " + kPair + " FROM (SELECT p FROM @ WHERE p = 4)) FROM @ LIMIT 3",
           "SELECT id, 100 AS p FROM @ ORDER BY " + kPair + " DESC LIMIT 2",
           "SELECT id, p AS q, q AS p FROM @ ORDER BY " + kPair + " DESC LIMIT 2",
           // Other orders, other values, more of them.
           std::string("SELECT id FROM @ WHERE predict('sum', json_array(q, p)) ->> '$[0][1]' > -3"),
           std::string("SELECT id FROM @ WHERE predict('sum', json_array(p + 1, q)) ->> '$[0][0]' > 18"),
           std::string("SELECT id FROM @ WHERE predict('sum', json_array(p, 0.5)) ->> '$[0][0]' > 18"),
           std::string("SELECT id FROM @ WHERE predict('sum', json_array(json_array(p, q))) ->> '$[0][0]' > 18"),
           std::string(
               "SELECT id FROM @ WHERE predict('sum', json_array(p, (SELECT q FROM other))) ->> '$[0][0]' > 18"),
           std::string("SELECT id FROM @ WHERE predict('sum', '[1,' || p || ']') ->> '$[0][0]' > 18"),
           std::string("SELECT count(*) FROM @ l LEFT JOIN @ r ON r.p = l.p + 15 WHERE r.id IS NULL OR predict('sum', "
                       "json_array(r.p, r.q)) ->> '$[0][0]' > 18"),
       }) {
    CAPTURE(sql);
    CHECK(db.Same(sql).find("error") == std::string::npos);
  }
  CHECK(db.Cost("SELECT id FROM @ WHERE predict('sum', json_array(p, 0.5)) ->> '$[0][0]' > 18") == 20);
}

TEST_CASE("predictive input: the same as predict() for any values, states and versions") {
  for (const StorageKind kind : kPredictionKinds) {
    CAPTURE(static_cast<int>(kind));
    constexpr unsigned kSeed = 20231;
    CAPTURE(kSeed);
    std::mt19937 random(kSeed);
    PairDatabase db(kind, 0);
    db.CreatePair();
    db.Index("b", {.paths = {"at.row"}});  // So that it is a column there too.
    db.Create({.model = "sum", .path = "json_object('input', json_array(at.row, -1.25))", .output = "$[0][1]"});
    const std::string nested = "predict('sum', json_object('input', json_array(\"at.row\", -1.25))) ->> '$[0][1]'";
    const auto token = [&]() -> std::string {
      char digits[64];
      switch (random() % 12) {
        case 0: return "";
        case 1: return "null";
        case 2: return "true";
        case 3: return "\"text\"";
        case 4: return "[1,2]";
        case 5: return "9999";
        case 6: return "123456789012345678";
        case 7: return "12345678901234567890123";
        default:
          std::snprintf(digits, sizeof digits, "%.17g",
                        std::ldexp(static_cast<double>(random()) * 1.0000001, static_cast<int>(random() % 40) - 50));
          return digits;
      }
    };
    const auto check = [&](SqlSession& session) {
      for (const std::string& expression : {kPair, nested}) {
        CAPTURE(expression);
        std::string expected;
        const auto ids = RunSql(session, "SELECT id FROM b ORDER BY id");
        REQUIRE(ids.ok());
        for (const std::string& id : *ids) {
          const std::string value = db.ValueOf(session, "b", expression, id);
          CHECK(db.ValueOf(session, "a", expression, id) == value);
          expected += (expected.empty() ? "" : "; ") + id + "|" + value;
        }
        CHECK(Rows(session, "SELECT id, " + expression + " FROM a ORDER BY id") == expected);
        const std::string ordered = Rows(session, "SELECT " + expression + " FROM a ORDER BY " + expression);
        CHECK(ordered == Rows(session, "SELECT v FROM (SELECT " + expression + " AS v FROM a) ORDER BY +v"));
        CHECK(Rows(session, "SELECT count(*) FROM a WHERE " + expression + " IS NULL OR " + expression + " < 1") ==
              Rows(session, "SELECT count(*) FROM (SELECT " + expression + " AS v FROM a) WHERE +v IS NULL OR +v < 1"));
      }
    };
    for (int round = 0; round < 12; ++round) {
      CAPTURE(round);
      for (int i = 0; i < 6; ++i) {
        db.PutPair(PredictionDatabase::Name(static_cast<int>(random() % 25)), token(), token());
      }
      if (round == 5) db.Register("2", 2);
      if (round % 3 == 1) db.Fill();
      if (round % 4 == 2) REQUIRE(db.core->predictive().Step().ok());
      check(*db.session);
      const auto writer = SqlSession::Create(*db.core).value();
      REQUIRE(Rows(*writer, "BEGIN IMMEDIATE") == "");
      for (int i = 0; i < 4; ++i) {
        const std::string id = "'" + PredictionDatabase::Name(static_cast<int>(random() % 25)) + "'";
        const std::string body = "'" + PairDatabase::Body(token(), token()) + "'";
        const bool deletes = random() % 4 == 0;
        for (const std::string c : {"a", "b"}) {
          const std::string found =
              Rows(*writer, deletes ? "DELETE FROM " + c + " WHERE id = " + id
                                    : "INSERT OR REPLACE INTO " + c + " (id, body) VALUES (" + id + ", " + body + ")");
          REQUIRE_MESSAGE(found == "", found);
        }
      }
      check(*writer);
      REQUIRE(Rows(*writer, round % 2 == 0 ? "ROLLBACK" : "COMMIT") == "");
      check(*db.session);
    }
    db.Fill();
    check(*db.session);
    db.CheckSound();
  }
}

TEST_CASE("predictive input: one number of several outputs, of several inputs by name") {
  for (const StorageKind kind : kPredictionKinds) {
    CAPTURE(static_cast<int>(kind));
    PredictionDatabase db(kind, 0);
    TemporaryDirectory files;
    OnnxWriter writer;
    writer.Input("age", {-1, 1}, 7);
    writer.Input("smokes", {-1, 1}, 9);
    writer.Input("history", {-1, 3}, 1);
    const std::string age = writer.Node("Cast", {"age"}, {IntAttribute("to", 1)});
    const std::string smokes = writer.Node("Cast", {"smokes"}, {IntAttribute("to", 1)});
    const std::string row = writer.Node("Concat", {age, smokes, "history"}, {IntAttribute("axis", 1)});
    writer.Node("Gemm",
                {row, writer.Floats("w", {5, 2}, {.01F, -.01F, .5F, -.25F, .3F, .1F, -.2F, .4F, .05F, -.6F}),
                 writer.Floats("b", {2}, {-.4F, .2F})},
                {}, "scores");
    writer.Node("ArgMax", {"scores"}, {IntAttribute("axis", -1)}, "class");
    writer.Output("scores", {-1, 2});
    writer.Output("class", {-1, 1});
    REQUIRE(WriteFileAtomic(files.path() + "/risk.onnx", writer.Finish()).ok());
    REQUIRE(db.core->models().Add("risk", files.path() + "/risk.onnx", ModelImportOptions()).ok());
    for (int i = 0; i < 120; ++i) {
      const std::string n = std::to_string(i);
      for (const char* collection : {"a", "b"}) {
        db.Put(collection, PredictionDatabase::Name(i),
               R"({"n":)" + n + R"(,"age":)" + n + R"(,"smokes":)" + (i % 3 == 0 ? "true" : "false") +
                   R"(,"history":[)" + n + R"(.25,1,)" + std::to_string(i % 5) + R"(]})");
      }
    }
    const std::string input = "json_object('age', age, 'smokes', smokes, 'history', history)";
    db.Create({.model = "risk", .path = input, .output = "$.scores[0][1]", .name = "score"});
    db.Create({.model = "risk", .path = input, .output = "$.class[0][0]", .name = "class"});
    const std::string score = "predict('risk', " + input + ") ->> '$.scores[0][1]'";
    const std::string kind_of = "predict('risk', " + input + ") -> '$.class' -> 0 ->> 0";
    for (int round = 0; round < 2; ++round) {
      CAPTURE(round);
      CHECK(db.Same("SELECT id, " + score + " FROM @ WHERE " + score + " > -1 ORDER BY " + score + ", id").size() >
            100);
      CHECK(db.Same("SELECT count(*), total(" + score + ") FROM @ WHERE " + kind_of + " = 1").find("3|") == 0);
      db.Fill();
    }
    CHECK(db.Plan("SELECT id FROM @ WHERE " + score + " = 3").find("index score (") != std::string::npos);
    CHECK(db.Plan("SELECT id FROM @ WHERE " + kind_of + " = 1").find("index class (") != std::string::npos);
    CHECK(db.Plan("SELECT id FROM @ WHERE " + kind_of + " = 1").find("no inference") != std::string::npos);
    // Missing is no failure; an age that is none is one, and where predict() alone fails.
    db.Put("a", "missing", R"({"smokes":true,"history":[1,2,3]})");
    db.Put("a", "null", R"({"age":null,"smokes":true,"history":[1,2,3]})");
    db.Put("a", "half", R"({"age":2.5,"smokes":true,"history":[1,2,3]})");
    for (int round = 0; round < 2; ++round) {
      CHECK(Rows(*db.session, "SELECT id FROM a WHERE " + score + " IS NULL ORDER BY id") == "half; missing; null");
      db.Fill();
    }
    const auto indexes = db.core->ListIndexes();
    for (const IndexInfo& index : *indexes) {
      CHECK(index.failed_count == 1);
      CHECK(index.failure.find("document \"half\"") == 0);
      CHECK(index.failure.find("input \"age\": found 2.5, expected int64") != std::string::npos);
    }
    db.CheckSound();
  }
}

TEST_CASE("predictive input: inputs that are none are refused by name, and others have one text") {
  PredictionDatabase db(StorageKind::kSqlite, 1);
  for (const std::string path : {"json_array()",
                                 "json_array(1, 2)",
                                 "json_array(p",
                                 "json_array(p, q) ",
                                 "json_array(p + 1)",
                                 "json_array(p, id)",
                                 "json_array(body)",
                                 "json_array(p, q), 1",
                                 "json_object(p, q)",
                                 "json_object('a')",
                                 "json_object('a', p, 'a', q)",
                                 "json_array(json_extract(p, 'x'))",
                                 "json_array('p)",
                                 "json_array(p, 1e)",
                                 "image_tensor(p)",
                                 "image_tensor(attachment('b', id, 'x'))",
                                 "image_tensor(attachment('a', n, 'x'))",
                                 "image_tensor(attachment('a', id, 'x'), '{\"size\":1}')",
                                 "json_array(image_tensor(attachment('a', id, 'x')))",
                                 "json_object('x', image_tensor(attachment('a', id, 'x')))"}) {
    CAPTURE(path);
    if (path.ends_with(' ')) continue;  // White space says nothing.
    const Status refused = db.core->CreatePredictiveIndex("a", {.model = "sum", .path = path, .output = "$[0][0]"});
    CAPTURE(refused.ToString());
    CHECK(refused.code() == ErrorCode::kInvalidArgument);
    CHECK(refused.message().find("\"a") != std::string::npos);
  }
  const auto text = [](const std::string& path) {
    const auto input = PredictedInput::Parse("a", path);
    return input.ok() ? input->ToText() : input.status().ToString();
  };
  CHECK(text("JSON_ARRAY(p,\"Q\", at.row , 'it''s', -1.50, NULL)") ==
        "json_array(p, Q, \"at.row\", 'it''s', -1.50, NULL)");
  CHECK(text("json_object('k', json_array(\"at.row\"), 'l', \"x y\")") ==
        "json_object('k', json_array(\"at.row\"), 'l', \"x y\")");
  CHECK(text("image_tensor(attachment('a', ID, 'x.jpg'), '{ \"width\" : 2 }')") ==
        "image_tensor(attachment('a', id, 'x.jpg'), '{\"width\":2}')");
  // The same input by another name is the same index.
  db.Create({.model = "sum", .path = "json_array(p, q)", .output = "$[0][0]"});
  CHECK(Says(db.core->CreatePredictiveIndex(
                 "a", {.model = "sum", .path = " json_array( \"p\",q)", .output = "$[0][0]", .name = "again"}),
             ErrorCode::kAlreadyExists, "index \"a.sum_p_q\" is of predict('sum', json_array(p, q))"));
}

TEST_CASE("predictive input: what is gathered is there again when the database is opened") {
  for (const StorageKind kind : kPredictionKinds) {
    CAPTURE(static_cast<int>(kind));
    PairDatabase db(kind, 30);
    db.CreatePair();
    db.Fill();
    db.PutPair("late", "800", "1");
    db.session.reset();
    REQUIRE(db.core->Close().ok());
    db.core.reset();
    DatabaseOptions options;
    options.embed_in_background = false;
    db.Open(options);
    db.Register("1", 1);
    CHECK(db.Info().predictive.path == "json_array(p, q)");
    CHECK(db.Cost("SELECT id FROM @ WHERE " + kPair + " > 100") == 1);
    CHECK(db.Same("SELECT id FROM @ WHERE " + kPair + " > 100") == "late");
    db.Fill();
    CHECK(db.Cost("SELECT id FROM @ WHERE " + kPair + " > 100") == 0);
    db.CheckSound();
  }
}

// Method: directories that such a build wrote (tests/golden/make_older_predictions.sh), opened in a copy.
TEST_CASE("predictive input: indexes of an older build answer as they did, and become ones of this build") {
  for (const StorageKind kind : kPredictionKinds) {
    CAPTURE(static_cast<int>(kind));
    PredictionDatabase db(kind, 0);
    db.session.reset();
    REQUIRE(db.core->Close().ok());
    db.core.reset();
    const std::string path = db.directory.path() + "/db.foreshore";
    const std::string golden = FORESHORE_GOLDEN_DIR "/database_predict1";
    constexpr auto kWhole = std::filesystem::copy_options::recursive;
    std::filesystem::remove_all(path);
    std::filesystem::copy(golden + (kind == StorageKind::kSqlite ? "/sqlite" : "/rocksdb"), path, kWhole);
    std::filesystem::copy(golden + "/blobs", path + "/blobs", kWhole);
    DatabaseOptions options;
    options.embed_in_background = false;
    db.Open(options);
    const std::string text = "predict('tiny', body -> '$.text') ->> '$.embedding[0]'";
    const std::string row = "predict('tiny', body -> '$.place.row') ->> '$.embedding[1]'";
    const auto check = [&](const std::string& pending) {
      for (const std::string& expression : {text, row}) {
        const std::string sql = "SELECT id, " + expression + " FROM notes WHERE " + expression + " < 9 ORDER BY id";
        CAPTURE(sql);
        CHECK(Rows(*db.session, "EXPLAIN QUERY PLAN " + sql).find("values of index notes.") != std::string::npos);
        CHECK(Rows(*db.session, "EXPLAIN QUERY PLAN " + sql).find(pending) != std::string::npos);
        // A sign in front of the model keeps the index out of it.
        std::string alone = sql;
        for (std::size_t at = 0; (at = alone.find("'tiny'", at)) != std::string::npos; at += 8)
          alone.insert(at, "''||");
        CHECK(Rows(*db.session, sql) == Rows(*db.session, alone));
        CHECK(Rows(*db.session, sql).find("error") == std::string::npos);
      }
    };
    const auto indexes = db.core->ListIndexes();
    for (const IndexInfo& index : *indexes) {
      CHECK(index.kind == IndexKind::kPredictive);
      CHECK(index.pending_count == 0);
      CHECK(index.entry_count == 4);
    }
    check("no inference");
    db.Put("notes", "e", R"({"text":"e e e e","place":{"row":"east"}})");
    check("inference for about");
    db.Fill();
    check("no inference");
    // Rows of this build.
    ModelImportOptions other;
    other.quantization = Quantization::kNone;
    REQUIRE(db.core->models().Add("tiny", FORESHORE_GOLDEN_DIR "/bert_tiny", other).ok());
    db.Fill();
    check("no inference");
    db.session.reset();
    REQUIRE(db.core->Close().ok());
    db.core.reset();
    db.Open(options);
    check("no inference");
    db.CheckSound();
  }
}
