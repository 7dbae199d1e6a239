// embed(), predict() and fields that a model fills, with the tiny BERT of tests/golden.

#include "engine/model/model_registry.h"
#include "tests/engine/query/sql_test_database.h"

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
