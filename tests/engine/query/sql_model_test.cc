// embed(), predict() and fields that a model fills, with the tiny BERT of tests/golden.

#include "engine/model/model_registry.h"
#include "storage/base/file.h"
#include "tests/engine/inference/onnx_writer.h"
#include "tests/engine/query/sql_test_database.h"
#include "tests/temporary_directory.h"

using namespace foreshore;

namespace {

struct ModelFixture : SqlTestDatabase {
  ModelFixture() {
    const auto added = core->models().Add("tiny", FORESHORE_GOLDEN_DIR "/bert_tiny", ModelImportOptions());
    REQUIRE_MESSAGE(added.ok(), added.status().ToString());
    dimension = added->dimension;
    Collection("notes");
    VectorFieldOptions options;
    options.field = "embedding";
    options.model = "tiny";
    options.source_paths = {"text"};
    const Status created = core->CreateVectorIndex("notes", options);
    REQUIRE_MESSAGE(created.ok(), created.ToString());
    Put("notes", "hot", R"({"text":"the pump is overheating","n":1})");
    Put("notes", "cold", R"({"text":"a b c d e","n":2})");
    Put("notes", "none", R"({"n":3})");
    const Status embedded = core->WaitEmbedded(std::chrono::seconds(60), {});
    REQUIRE_MESSAGE(embedded.ok(), embedded.ToString());
  }
  std::uint32_t dimension = 0;
};

}  // namespace

TEST_CASE_FIXTURE(ModelFixture, "embed: a text finds the document that holds it") {
  CHECK(Rows(*session,
             "SELECT id FROM notes WHERE embedding MATCH embed('tiny', 'the pump is overheating') "
             "ORDER BY distance") == "hot; cold");
  CHECK(Rows(*session,
             "SELECT id FROM notes WHERE embedding MATCH embed('tiny', 'a b c d e') AND n < 9 "
             "ORDER BY distance LIMIT 1") == "cold");
  CHECK(Rows(*session, "SELECT round(distance, 2) FROM notes WHERE embedding MATCH embed('tiny', text) AND id = 'hot'")
            .find("error") == 0);  // The text of the row that is searched for is not known before.
}

TEST_CASE_FIXTURE(ModelFixture, "model: a GGUF file embeds as its safetensors do, and keeps its licence and origin") {
  ModelImportOptions options;
  options.licence = "said by hand";
  options.origin = "said by hand";
  const auto added = core->models().Add("gguf", FORESHORE_GOLDEN_DIR "/gguf/bert_tiny.gguf", options);
  REQUIRE_MESSAGE(added.ok(), added.status().ToString());
  CHECK(added->licence == "apache-2.0");
  CHECK(added->origin == "https://example.org/bert_tiny");
  CHECK(core->models().Get("gguf")->licence == "apache-2.0");
  CHECK(Rows(*session, "SELECT count(*) FROM notes WHERE embed('gguf', text) = embed('tiny', text)") == "2");
}

TEST_CASE_FIXTURE(SqlTestDatabase,
                  "model: a general graph keeps the licence and origin of its metadata, else those given") {
  TemporaryDirectory files;
  OnnxWriter writer;
  writer.Input("x", {2}, 1);
  writer.Output(writer.Node("Relu", {"x"}, {}, "y"), {2});
  ByteString file = writer.Finish();
  ModelImportOptions options;
  options.licence = "said by hand";
  const std::string path = files.path() + "/relu.onnx";
  REQUIRE(WriteFileAtomic(path, file).ok());
  CHECK(core->models().Add("relu", path, options)->licence == "said by hand");
  for (const auto& [key, value] : {std::pair{"license", "mit"}, {"source", "https://example.org/relu"}}) {
    ByteString pair;
    PutBytes(pair, 1, key);
    PutBytes(pair, 2, value);
    PutBytes(file, 14, pair);
  }
  REQUIRE(WriteFileAtomic(path, file).ok());
  const auto added = core->models().Add("relu", path, options);
  REQUIRE_MESSAGE(added.ok(), added.status().ToString());
  CHECK(added->licence == "mit");
  CHECK(added->origin == "https://example.org/relu");
}

TEST_CASE_FIXTURE(ModelFixture, "embed: a blob of floats, one per dimension, by row and by constant alike") {
  const std::string size = std::to_string(dimension * 4);
  CHECK(Rows(*session, "SELECT typeof(e), length(e) FROM (SELECT embed('tiny', 'hot') AS e)") == "blob|" + size);
  CHECK(Rows(*session, "SELECT id FROM notes WHERE embed('tiny', text) = embed('tiny', 'a b c d e')") == "cold");
  CHECK(Rows(*session, "SELECT count(DISTINCT embed('tiny', text)), count(DISTINCT embed('tiny', 'hot')) FROM notes") ==
        "2|1");
  CHECK(Rows(*session,
             "SELECT x.id, y.id FROM notes x JOIN notes y ON y.embedding MATCH embed('tiny', x.text) "
             "AND y.k = 1 ORDER BY x.n") == "hot|hot; cold|cold");
}

TEST_CASE_FIXTURE(ModelFixture,
                  "embed: while a model's new version is on its way, by the version that the vectors are of") {
  constexpr std::string_view kFind =
      "SELECT id, distance < 0.001 FROM notes WHERE embedding MATCH embed('tiny', 'the pump is overheating') "
      "ORDER BY distance LIMIT 1";
  const std::string before = Rows(*session, "SELECT hex(embed('tiny', 'the pump is overheating'))");
  const auto prepared = session->Prepare(kFind);
  REQUIRE(prepared.ok());
  const auto other = SqlSession::Create(*core);
  REQUIRE(other.ok());
  auto reader = session->Prepare("SELECT id, embed('tiny', 'a b c d e') = embed('tiny', text) FROM notes ORDER BY n");
  REQUIRE(reader.ok());
  REQUIRE((*reader)->Step().ok());  // Its snapshot stays from before.
  ModelImportOptions options;
  options.quantization = Quantization::kNone;
  REQUIRE(core->models().Add("tiny", FORESHORE_GOLDEN_DIR "/bert_tiny", options).ok());
  // The background may be at it already, and each statement is of one side or the other.
  while (core->ListIndexes()->at(0).pending_count > 0) {
    REQUIRE(Rows(**other, kFind) == "hot|1");
    core->WaitForChange(core->last_sequence(), std::chrono::milliseconds(1));
  }
  CHECK(Rows(**other, "SELECT hex(embed('tiny', 'the pump is overheating'))") != before);
  CHECK(*StepAll(**prepared) == std::vector<std::string>{"hot|1"});  // Compiled for the index that is no more.
  CHECK(*StepAll(**reader) == std::vector<std::string>{"cold|1", "none|NULL"});
  CHECK(Rows(**other, kFind) == "hot|1");
  CHECK(FailureOf(*session, "SELECT embed('tiny', 'hot', 'absent')").code() == ErrorCode::kNotFound);
  CHECK(Rows(*session, "SELECT embed('tiny', 'hot', '') = embed('tiny', 'hot')") == "1");
}

TEST_CASE("vector_sources: of which document, model and adapter each vector is, when, and whether still") {
  SqlTestDatabase db;  // Its vectors are filled when asked alone.
  db.session.reset();
  db.core.reset();
  DatabaseOptions options;
  options.embed_in_background = false;
  db.core = *DatabaseCore::Open(db.directory.path() + "/db.foreshore", options);
  db.session = *SqlSession::Create(*db.core);
  REQUIRE(db.core->models().Add("tiny", FORESHORE_GOLDEN_DIR "/bert_tiny", ModelImportOptions()).ok());
  db.Collection("notes");
  db.Vector("notes", "own", 2);
  VectorFieldOptions field;
  field.field = "embedding";
  field.model = "tiny";
  field.source_paths = {"text"};
  REQUIRE(db.core->CreateVectorIndex("notes", field).ok());
  db.Put("notes", "a", R"({"text":"hot","n":1})");
  db.Put("notes", "b", R"({"text":"a b c","own":[1,2]})");
  const std::string nothing = "SELECT id, field, stale FROM vector_sources('notes')";
  CHECK(Rows(*db.session, nothing) == "b|own|NULL");
  const std::int64_t before_ms = db.core->clock().NowUnixMs();
  REQUIRE(db.core->WaitEmbedded(std::chrono::minutes(1), {}).ok());
  CHECK(Rows(*db.session, nothing) == "b|own|NULL; a|embedding|NULL; b|embedding|NULL");
  const std::string version = db.core->models().Get("tiny")->version;
  CHECK(Rows(*db.session,
             "SELECT id, model, version, adapter, adapter_version FROM vector_sources('notes', 'embedding')") ==
        "a|tiny|" + version + "|NULL|NULL; b|tiny|" + version + "|NULL|NULL");
  CHECK(Rows(*db.session, "SELECT model, version, document_revision, made_at FROM vector_sources('notes', 'own')") ==
        "NULL|NULL|NULL|NULL");
  CHECK(Rows(*db.session, "SELECT count(*) FROM vector_sources('notes', 'embedding') WHERE made_at BETWEEN " +
                              std::to_string(before_ms) + " AND " + std::to_string(db.core->clock().NowUnixMs()) +
                              " AND document_revision >> 16 BETWEEN made_at - 600000 AND made_at") == "2");
  const std::string revision = "SELECT document_revision FROM vector_sources('notes', 'embedding') WHERE id = 'a'";
  const std::string first = Rows(*db.session, revision);

  // What the vector is not made of makes it no older.
  db.Put("notes", "a", R"({"text":"hot","n":2})");
  CHECK(Rows(*db.session, nothing + " WHERE stale NOT NULL") == "");
  CHECK(Rows(*db.session, revision) == first);
  db.Put("notes", "a", R"({"text":"hot pump"})");
  CHECK(Rows(*db.session, nothing + " WHERE stale NOT NULL") == "a|embedding|document");
  ModelImportOptions other;
  other.quantization = Quantization::kNone;
  REQUIRE(db.core->models().Add("tiny", FORESHORE_GOLDEN_DIR "/bert_tiny", other).ok());
  CHECK(Rows(*db.session, nothing) == "b|own|NULL; a|embedding|document,model; b|embedding|model");
  REQUIRE(db.core->WaitEmbedded(std::chrono::minutes(1), {}).ok());
  CHECK(Rows(*db.session, nothing) == "b|own|NULL; a|embedding|NULL; b|embedding|NULL");
  CHECK(Rows(*db.session, revision) > first);
  CHECK(Rows(*db.session,
             "SELECT count(DISTINCT version) FROM vector_sources('notes') WHERE version <> '" + version + "'") == "1");

  CHECK(FailureOf(*db.session, "SELECT * FROM vector_sources('absent')").code() == ErrorCode::kNotFound);
  CHECK(FailureOf(*db.session, "SELECT * FROM vector_sources('notes', 'n')").code() == ErrorCode::kNotFound);
  CHECK(FailureOf(*db.session, "SELECT * FROM vector_sources").code() == ErrorCode::kInvalidArgument);
  // Beside a write of the same statement.
  CHECK(Rows(*db.session, "DELETE FROM notes WHERE id IN (SELECT id FROM vector_sources('notes', 'own'))") == "");
  CHECK(Rows(*db.session, nothing) == "a|embedding|NULL");
}

TEST_CASE_FIXTURE(ModelFixture, "a field that a model fills reads as floats and is not written") {
  const std::string size = std::to_string(dimension * 4);
  CHECK(Rows(*session, "SELECT id, typeof(embedding), length(embedding) FROM notes ORDER BY n") ==
        "hot|blob|" + size + "; cold|blob|" + size + "; none|null|NULL");
  CHECK(
      Rows(*session, "SELECT id FROM notes WHERE vector_distance(embedding, embed('tiny', text)) < 0.05 ORDER BY n") ==
      "hot; cold");
  const Status written = FailureOf(*session, "UPDATE notes SET embedding = '[1]' WHERE id = 'hot'");
  CHECK_MESSAGE(written.message().find("filled by model \"tiny\"") != std::string::npos, written.message());
  CHECK_FALSE(FailureOf(*session, "INSERT INTO notes (id, embedding) VALUES ('x', '[1]')").ok());
  CHECK(Rows(*session, "UPDATE notes SET n = 10 WHERE id = 'hot'").empty());
  CHECK(Rows(*session, "SELECT body FROM notes WHERE id = 'hot'") == R"({"text":"the pump is overheating","n":10})");
}

TEST_CASE_FIXTURE(ModelFixture, "predict: the answer is JSON and nests as such") {
  CHECK(Rows(*session,
             "SELECT json_type(json_array(predict('tiny', '{\"text\":\"hot\"}')), '$[0]') "
             "IN ('object', 'array')") == "1");
  CHECK(Rows(*session, "SELECT count(DISTINCT predict('tiny', json_object('text', text))) FROM notes WHERE n < 3") ==
        "2");
  CHECK(FailureOf(*session, "SELECT predict('tiny', 'no json')").code() == ErrorCode::kInvalidArgument);
}

namespace {

struct GraphFixture : SqlTestDatabase {
  // y = softmax(x·w + b) over [batch, 2], a classifier of two features and three classes.
  Status Add(const std::string& name, bool has_two_outputs = false, const std::string& op = "Softmax") {
    OnnxWriter writer;
    writer.Input("x", {-1, 2}, 1);
    const std::string scores = writer.Node(
        "Gemm", {"x", writer.Floats("w", {2, 3}, {1, 0, -1, 0, 1, -1}), writer.Floats("b", {3}, {0, 0, 0.5F})});
    writer.Node(op, {scores}, {}, "y");
    writer.Output("y", {-1, 3});
    if (has_two_outputs) writer.Output(writer.Node("ArgMax", {"y"}, {IntAttribute("axis", -1)}, "class"), {-1, 1});
    const std::string path = files.path() + "/" + name + ".onnx";
    const Status written = WriteFileAtomic(path, writer.Finish());
    if (!written.ok()) return written;
    return core->models().Add(name, path, ModelImportOptions()).status();
  }
  TemporaryDirectory files;
};

}  // namespace

TEST_CASE_FIXTURE(GraphFixture, "predict: a graph takes numbers, flat or nested, and gives numbers") {
  const Status added = Add("classes");
  REQUIRE_MESSAGE(added.ok(), added.ToString());
  CHECK(core->models().Get("classes")->architecture == "graph");
  CHECK(Rows(*session, "SELECT predict('classes', '[0.5,0.5]') = predict('classes', '[[0.5,0.5]]')") == "1");
  CHECK(Rows(*session, "SELECT json_array_length(predict('classes', '[[1,2],[3,4]]'))") == "2");
  CHECK(Rows(*session, "SELECT round(value, 4) FROM json_each(predict('classes', '[1,0]'), '$[0]')") ==
        "0.6285; 0.2312; 0.1402");
  CHECK(Rows(*session, "SELECT predict('classes', '{\"x\":[1,0]}') = predict('classes', '[1,0]')") == "1");
}

TEST_CASE_FIXTURE(GraphFixture, "predict: several outputs come under their names") {
  REQUIRE(Add("both", true).ok());
  CHECK(Rows(*session, "SELECT predict('both', '[[9,0],[0,9]]') ->> '$.class'") == "[[0],[1]]");
}

TEST_CASE_FIXTURE(GraphFixture, "predict: a graph refuses what does not fit its input, by name") {
  REQUIRE(Add("classes").ok());
  for (const char* input : {"[1,2,3]", "[[1,2],[3]]", "\"text\"", "[[[1,2]]]", "{\"z\":[1,2]}", "[1,", "[null,1]"}) {
    CAPTURE(input);
    const Status status = FailureOf(*session, "SELECT predict('classes', '" + std::string(input) + "')");
    CHECK(status.code() == ErrorCode::kInvalidArgument);
    CHECK_MESSAGE(status.message().find("classes") != std::string::npos, status.message());
  }
  CHECK(FailureOf(*session, "SELECT embed('classes', 'a text')").code() == ErrorCode::kUnsupported);
}

TEST_CASE_FIXTURE(GraphFixture, "predict_batch: every row of a query, in its order, as predict() has it") {
  REQUIRE(Add("classes").ok());
  Collection("points");
  for (int i = 0; i < 600; ++i) {  // More than two calls of the model.
    Put("points", "p" + std::to_string(1000 + i),
        R"({"a":)" + std::to_string(i) + R"(,"b":)" + std::to_string(i % 7) + R"(.5})");
  }
  const std::string batch = "predict_batch('classes', 'SELECT id, a / 100.0, b FROM points ORDER BY id')";
  CHECK(Rows(*session, "SELECT count(*), min(key), max(key) FROM " + batch) == "600|p1000|p1599");
  // Through JSON text floats are the same to the last digit.
  CHECK(Rows(*session, "SELECT count(*) FROM " + batch +
                           " AS p JOIN points AS q ON q.id = p.key WHERE json_array(json(p.output)) = "
                           "predict('classes', json_array(json_array(q.a / 100.0, q.b)))") == "600");
  CHECK(Rows(*session, "SELECT key FROM " + batch + " LIMIT 2 OFFSET 300") == "p1300; p1301");
  // An array of a row's numbers is as good as a column for each.
  CHECK(
      Rows(*session, "SELECT count(*) FROM " + batch +
                         " AS p JOIN predict_batch('classes', 'SELECT id, json_array(a / 100.0, b) FROM points') AS q "
                         "ON p.key = q.key AND p.output = q.output") == "600");
  CHECK(Rows(*session, "SELECT count(*) FROM predict_batch('classes', 'SELECT id, a, b FROM points WHERE a < 0')") ==
        "0");
  // One model for each outer row.
  CHECK(Rows(*session,
             "SELECT count(*) FROM (SELECT 'classes' AS m UNION ALL SELECT 'classes') AS o, "
             "predict_batch(o.m, 'SELECT id, a, b FROM points LIMIT 3')") == "6");
}

TEST_CASE_FIXTURE(GraphFixture, "predict_batch: what is no query of numbers for the model is refused, by name") {
  REQUIRE(Add("classes").ok());
  Collection("points");
  Put("points", "p", R"({"a":1})");
  const auto failure = [&](const std::string& model, const std::string& query) {
    const Status status = FailureOf(*session, "SELECT * FROM predict_batch('" + model + "', '" + query + "')");
    CHECK_MESSAGE(status.message().find("predict_batch") != std::string::npos, status.message());
    return status.message();
  };
  CHECK(failure("classes", "SELECT id FROM points")
            .find("1 columns, expected a key and 2 numbers, or a key and an array") != std::string::npos);
  const auto says = [&](const std::string& columns, const std::string& words) {
    return failure("classes", "SELECT id, " + columns + " FROM points").find(words) != std::string::npos;
  };
  CHECK(says("a", "row 0: input \"x\": found 1 number, expected float[2]"));
  CHECK(says("json_array(a, a, a)", "row 0: input \"x\": found 3 numbers, expected float[2]"));
  CHECK(says("NULL", "row 0: input \"x\": found null, expected float[2]"));
  CHECK(says("a, NULL", "row 0: column 2: input \"x\": found null, expected a number"));
  CHECK(says("a, id", "row 0: column 2: input \"x\": found p, expected a number"));
  CHECK(failure("classes", "DELETE FROM points").find("expected one SELECT") != std::string::npos);
  CHECK(failure("classes", "SELECT 1, 2, 3; SELECT 1").find("expected one SELECT") != std::string::npos);
  CHECK(failure("classes", "BEGIN").find("predict_batch") != std::string::npos);
  failure("classes", "SELECT nothing FROM nowhere");
  CHECK(FailureOf(*session, "SELECT * FROM predict_batch('absent', 'SELECT 1')").code() == ErrorCode::kNotFound);
  CHECK(FailureOf(*session, "SELECT * FROM predict_batch('classes')").code() != ErrorCode::kOk);
  CHECK(Rows(*session, "SELECT count(*) FROM points") == "1");
}

TEST_CASE_FIXTURE(GraphFixture, "predict: a graph that runs is stopped by the statement's time limit") {
  // Adds one, 2^40 times.
  OnnxWriter body;
  body.Input("i", {}, 7);
  body.Input("go", {}, 9);
  body.Input("v", {1}, 1);
  body.Node("Add", {"v", "one"}, {}, "v2");
  body.Node("Identity", {"go"}, {}, "go2");
  body.Output("go2", {});
  body.Output("v2", {1});
  OnnxWriter writer;
  writer.Floats("one", {1}, {1});
  writer.Input("x", {1}, 1);
  writer.NodeOf("Loop", {writer.Ints({std::int64_t{1} << 40}, true), "", "x"}, {"y"},
                {GraphAttribute("body", body.Graph())});
  writer.Output("y", {1});
  const std::string path = files.path() + "/endless.onnx";
  REQUIRE(WriteFileAtomic(path, writer.Finish()).ok());
  const auto added = core->models().Add("endless", path, ModelImportOptions());
  REQUIRE_MESSAGE(added.ok(), added.status().ToString());
  SqlOptions options;
  options.time_limit = std::chrono::milliseconds(20);
  auto limited = SqlSession::Create(*core, options);
  REQUIRE(limited.ok());
  const Status status = FailureOf(**limited, "SELECT predict('endless', '[0]')");
  CHECK(status.code() == ErrorCode::kCancelled);
  CHECK_MESSAGE(status.message().find("time limit of 20 ms") != std::string::npos, status.message());
}

TEST_CASE_FIXTURE(GraphFixture, "a graph with operators that are not known is not added") {
  const Status status = Add("odd", false, "Unheard");
  CHECK(status.code() == ErrorCode::kUnsupported);
  CHECK_MESSAGE(status.message().find("node \"node_y\" (Unheard)") != std::string::npos, status.message());
  CHECK(core->models().Get("odd").status().code() == ErrorCode::kNotFound);
}

TEST_CASE_FIXTURE(GraphFixture, "a graph's packed weights are mapped from a file, and made anew where it is damaged") {
  OnnxWriter writer;
  std::vector<float> weights;
  for (int i = 0; i < 64 * 600; ++i) weights.push_back(static_cast<float>(i * 7919 % 1000) / 500.0F - 1.0F);
  writer.Input("x", {-1, 64}, 1);
  writer.Node("MatMul", {"x", writer.Floats("w", {64, 600}, weights)}, {}, "y");
  writer.Output("y", {-1, 600});
  const std::string path = files.path() + "/wide.onnx";
  REQUIRE(WriteFileAtomic(path, writer.Finish()).ok());
  REQUIRE(core->models().Add("wide", path, ModelImportOptions()).ok());
  std::string input = "[1";
  for (int i = 1; i < 64; ++i) input += ",0.25";
  input += "]";
  const auto before = core->models().Predict("wide", input);
  REQUIRE_MESSAGE(before.ok(), before.status().ToString());
  const std::string index = directory.path() + "/db.foreshore/index";
  const auto packed_path = [&] {
    std::string found;
    const auto names = ListDirectory(index);
    for (const std::string& name : *names) {
      if (name.starts_with("packed-")) found = index + "/" + name;
    }
    return found;
  };
  const std::string packed = packed_path();
  REQUIRE(!packed.empty());
  const ByteString whole = *ReadFile(packed);
  CHECK(whole.size() > weights.size() * sizeof(float));
  const auto reopen = [&] {
    session.reset();
    core.reset();
    auto opened = DatabaseCore::Open(directory.path() + "/db.foreshore", DatabaseOptions());
    REQUIRE_MESSAGE(opened.ok(), opened.status().ToString());
    core = std::move(opened).value();
  };
  ByteString damaged = whole;
  damaged[damaged.size() / 2] ^= 1;
  for (const ByteString& content : {whole, damaged, whole.substr(0, 100), ByteString()}) {
    CAPTURE(content.size());
    reopen();
    REQUIRE(WriteFileAtomic(packed, content).ok());
    const auto again = core->models().Predict("wide", input);
    REQUIRE_MESSAGE(again.ok(), again.status().ToString());
    CHECK(*again == *before);
    CHECK(*ReadFile(packed) == whole);
  }
  // What an older build has left, which this one does not read: made anew, and taken away.
  reopen();
  REQUIRE(RemoveFile(packed).ok());
  std::string older = packed;
  older.replace(older.rfind("-graph") + 6, 1, "1");
  REQUIRE(older != packed);
  REQUIRE(WriteFileAtomic(older, whole).ok());
  CHECK(*core->models().Predict("wide", input) == *before);
  CHECK(packed_path() == packed);
  CHECK(*ReadFile(packed) == whole);
  CHECK(!FileExists(older));
}
