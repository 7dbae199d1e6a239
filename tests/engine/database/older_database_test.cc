// Goal: a database that an earlier build left answers as it did, and becomes one of this build's without losing
// anything. Method: directories that such a build wrote (tests/golden/make_older_database.sh), opened in a copy.
#include <filesystem>

#include "engine/database/derived_vector_index.h"
#include "engine/database/stored_vector.h"
#include "engine/model/model_registry.h"
#include "tests/engine/database/core_test.h"

using namespace foreshore;

namespace {

struct OlderDatabase : CoreFixture {
  OlderDatabase(StorageKind kind, const TemporaryDirectory& files) : CoreFixture(kind, files.path()) {
    options.create = false;
    const std::string golden = FORESHORE_GOLDEN_DIR "/database_row1";
    constexpr auto kWhole = std::filesystem::copy_options::recursive;
    std::filesystem::copy(golden + (kind == StorageKind::kSqlite ? "/sqlite" : "/rocksdb"), path(), kWhole);
    std::filesystem::copy(golden + "/blobs", path() + "/blobs", kWhole);
    Open();
  }

  const VectorIndexDefinition& Index(const std::string& field) {
    const auto* index = core->catalog()->Find("notes")->FindVectorIndex(field);
    REQUIRE(index != nullptr);
    return *index;
  }
  std::string VersionOf(const std::string& model) { return core->models().Get(model).value().version; }
  // What a search for a document's own text finds first.
  std::string Nearest(const std::string& field, const std::string& text) {
    const auto model = core->LoadForSearch(*core->catalog(), Index(field).options.model, "");
    REQUIRE_MESSAGE(model.ok(), model.status().ToString());
    std::vector<float> query((*model)->info().dimension);
    const std::string_view texts[] = {text};
    REQUIRE((*model)->Embed(texts, query).ok());
    const auto view = core->BeginRead();
    REQUIRE(view.ok());
    return CoreFixture::Nearest(**view, "notes", field, query, 1).at(0);
  }
  void CheckAnswers() {
    CHECK(Get("notes", "a") == R"({"text":"the pump is overheating","site":"north","place":[0,1]})");
    CHECK(Nearest("embedding", "the pump is overheating") == "a");
    CHECK(Nearest("embedding", "a b c d e") == "b");
    const auto view = core->BeginRead();
    REQUIRE(view.ok());
    CHECK(CoreFixture::Nearest(**view, "notes", "place", {3, 1}, 3) == std::vector<std::string>{"c", "a", "b"});
  }
  void WaitEmbedded() {
    const Status waited = core->WaitEmbedded(std::chrono::minutes(1), {});
    REQUIRE_MESSAGE(waited.ok(), waited.ToString());
  }
};

}  // namespace

TEST_CASE("older database: rows of version 1 answer, and take the pin of the weights that their vectors are of") {
  for (const StorageKind kind : kKinds) {
    CAPTURE(static_cast<int>(kind));
    const TemporaryDirectory files;
    OlderDatabase db(kind, files);
    db.CheckAnswers();
    CHECK(db.Index("place").options.precision == VectorPrecision::kInt8);
    CHECK(db.Index("embedding").pin.version == db.VersionOf("tiny"));
    CHECK(db.core->models().Get("tiny")->licence == "mit");
    db.CheckVerified();
    // Of weights that are here no longer nothing may be told; they are made anew.
    CHECK_FALSE(db.Index("stale").pin.is_known());
    db.WaitEmbedded();
    CHECK(db.Index("stale").pin.version == db.VersionOf("changed"));
    CHECK(db.Nearest("stale", "hot hot pump") == "c");
    db.CheckAnswers();
    db.CheckVerified();
    // From here on it is one of this build's.
    REQUIRE(db.Put("notes", "d", R"({"text":"e e e e","site":"east","place":[9,9]})").ok());
    db.WaitEmbedded();
    db.Reopen();
    CHECK(db.Index("embedding").pin.version == db.VersionOf("tiny"));
    CHECK(db.Index("stale").pin.version == db.VersionOf("changed"));
    CHECK(db.Nearest("embedding", "e e e e") == "d");
    CHECK(db.Nearest("stale", "e e e e") == "d");
    db.CheckAnswers();
    db.CheckVerified();
  }
}

// Method: the bytes of rows as builds wrote them that knew no more of them.
TEST_CASE("catalogue: rows of a vector index of version 1 and 2 are read, and those of a later version are not") {
  // Version, id 4, collection 1, "n.v", "v", 2 dimensions, cosine, model "m", one source "s", one path "$.s",
  // sequence 9.
  const ByteString fields("\x04\x01\x03n.v\x01v\x02\x00\x01m\x01\x01s\x01\x03$.s\x09", 21);
  const auto first = DecodeVectorIndex("\x01" + fields);
  REQUIRE_MESSAGE(first.ok(), first.status().ToString());
  CHECK(first->id == 4);
  CHECK(first->name == "n.v");
  CHECK(first->options.model == "m");
  CHECK(first->paths == std::vector<std::string>{"$.s"});
  CHECK(first->created_sequence == 9);
  CHECK(first->options.precision == VectorPrecision::kInt8);
  CHECK(first->options.links_per_node == 16);
  CHECK_FALSE(first->pin.is_known());
  CHECK(first->pin.model == "m");
  const auto second = DecodeVectorIndex("\x02" + fields + ByteString("\x01\x20\x00", 3));
  REQUIRE_MESSAGE(second.ok(), second.status().ToString());
  CHECK(second->options.precision == VectorPrecision::kInt16);
  CHECK(second->options.links_per_node == 32);
  CHECK(second->replaces == 0);
  // What is written is of this build's version, and says the same.
  const auto again = DecodeVectorIndex(EncodeVectorIndex(*second));
  REQUIRE(again.ok());
  CHECK(again->options.links_per_node == 32);
  CHECK(again->created_sequence == 9);
  CHECK(DecodeVectorIndex("\x01" + fields + ByteString("\x01\x20\x00", 3)).status().code() == ErrorCode::kCorruption);
  CHECK(DecodeVectorIndex("\x03" + fields).status().code() == ErrorCode::kCorruption);
  CHECK(DecodeVectorIndex("\x04" + fields).status().code() == ErrorCode::kCorruption);
  CHECK(DecodeVectorIndex("\x05" + fields).status().code() == ErrorCode::kUnsupported);
}
