// Predictive indexes over images: what a network says of a document's photo, kept with the document, also where the
// photo's content comes after it.
#include <algorithm>

#include "engine/database/attachments.h"
#include "engine/database/predictive_worker.h"
#include "engine/model/model_registry.h"
#include "storage/base/file.h"
#include "tests/engine/database/attachment_source.h"
#include "tests/engine/image/image_files.h"
#include "tests/engine/inference/onnx_writer.h"
#include "tests/engine/query/prediction_database.h"
#include "tests/temporary_directory.h"

using namespace foreshore;

namespace {

const std::string kOptions = "'{\"color\":\"grey\",\"scale\":1}'";
const std::string kScore =
    "predict('bright', image_tensor(attachment('@', id, 'photo.png'), " + kOptions + ")) ->> '$[0][0]'";

// A photo of one grey, which is what the network says of it.
ByteString Grey(std::uint8_t value) {
  return WritePng(4, 3, PNG_COLOR_TYPE_GRAY, 8, Pixels(12, value));
}

struct PhotoDatabase : PredictionDatabase {
  explicit PhotoDatabase(StorageKind kind = StorageKind::kSqlite) : PredictionDatabase(kind, 0) {
    AddVersion(0);
    for (int i = 0; i < 40; ++i) Photo(Name(i), Grey(static_cast<std::uint8_t>(i * 5)));
    for (const char* collection : {"a", "b"}) Put(collection, "none", R"({"n":-1})");
  }
  // The mean of a grey image, and `more`.
  void AddVersion(float more) {
    OnnxWriter writer;
    writer.Input("x", {-1, 1, -1, -1}, 1);
    const std::string mean = writer.Node("Flatten", {writer.Node("GlobalAveragePool", {"x"})});
    writer.Node("Add", {mean, writer.Floats("more", {1}, {more})}, {}, "y");
    writer.Output("y", {-1, 1});
    REQUIRE(WriteFileAtomic(files.path() + "/bright.onnx", writer.Finish()).ok());
    const auto added = core->models().Add("bright", files.path() + "/bright.onnx", ModelImportOptions());
    REQUIRE_MESSAGE(added.ok(), added.status().ToString());
  }
  std::string Photo(const std::string& id, const ByteString& file, const std::string& name = "photo.png") {
    std::string sha256;
    for (const char* collection : {"a", "b"}) {
      const auto staged = AttachmentAccess::Stage(*core, SourceOf(file));
      REQUIRE(staged.ok());
      auto view = core->BeginWrite();
      const CollectionDefinition& definition = **(*view)->catalog().Require(collection);
      if (!*(*view)->Get(definition, id)) REQUIRE((*view)->Put(definition, id, R"({"n":1})").ok());
      const auto put = AttachmentAccess::Put(**view, definition, id, name, "image/png", *staged);
      REQUIRE(put.ok());
      sha256 = put->sha256;
      REQUIRE((*view)->Commit().ok());
    }
    return sha256;
  }
  void CreatePhotos() {
    Create({.model = "bright",
            .path = "image_tensor(attachment('a', id, 'photo.png'), " + kOptions + ")",
            .output = "$[0][0]"});
  }
  BlobId Take(const ByteString& file) {
    const BlobId id = Sha256Of(file);
    REQUIRE(core->blobs().Remove(id).ok());
    return id;
  }
  std::string Failed(const std::string& id) {
    return FailureOf(*session, On("SELECT " + kScore + " FROM @ WHERE id = '" + id + "'", "b")).ToString();
  }
  // The same as CheckSound(), where contents are known to be away.
  void CheckIndex() {
    const auto report = core->Verify();
    REQUIRE(report.ok());
    for (const std::string& problem : report->problems) CHECK_MESSAGE(problem.find("blob ") == 0, problem);
  }
  TemporaryDirectory files;
};

}  // namespace

TEST_CASE("predictive image: photos are answered from the index, as predict() answers without it") {
  for (const StorageKind kind : kPredictionKinds) {
    CAPTURE(static_cast<int>(kind));
    PhotoDatabase db(kind);
    db.CreatePhotos();
    CHECK(db.Info().predictive.name == "bright_photo.png");
    const std::string statements[] = {
        "SELECT id, " + kScore + " FROM @ WHERE " + kScore + " > 180 ORDER BY id",
        "SELECT id FROM @ WHERE " + kScore + " BETWEEN 20 AND 40 ORDER BY " + kScore + " DESC",
        "SELECT id FROM @ ORDER BY " + kScore + " LIMIT 4",
        "SELECT id FROM @ WHERE " + kScore + " IS NULL",
        "SELECT count(*), total(" + kScore + ") FROM @",
        std::string("SELECT p.id FROM @ p WHERE predict('bright', image_tensor(attachment('@', p.id, 'photo.png'), '{ "
                    "\"color\" : \"grey\", \"scale\" : 1 }')) ->> '$[0][0]' > 180 ORDER BY 1"),
    };
    for (int round = 0; round < 2; ++round) {
      CAPTURE(round);
      for (const std::string& sql : statements) {
        CAPTURE(sql);
        CHECK(db.Same(sql).find("error") == std::string::npos);
        CHECK(db.Plan(sql).find("PREDICT by bright: values of index a.bright_photo.png") != std::string::npos);
      }
      db.Fill();
    }
    CHECK(db.Plan(statements[0]).find("no inference") != std::string::npos);
    CHECK(db.Plan(statements[1]).find("in order") != std::string::npos);
    // Other options, another name, another collection's photos: another expression.
    for (const std::string& other :
         {std::string("predict('bright', image_tensor(attachment('@', id, 'photo.png'), '{\"color\":\"grey\"}'))"),
          std::string("predict('bright', image_tensor(attachment('@', id, 'other.png'), ") + kOptions + "))",
          std::string("predict('bright', image_tensor(attachment('b', id, 'photo.png'), ") + kOptions + "))"}) {
      const std::string sql = "SELECT count(*), total(" + other + " ->> '$[0][0]') FROM @";
      CAPTURE(sql);
      CHECK(db.Plan(sql).find("values of index") == std::string::npos);
      CHECK(db.Same(sql).find("error") == std::string::npos);
    }
    // Another photo, none, and a write that leaves it alone.
    db.Photo("p0001", Grey(250));
    db.Photo("p0002", Grey(1), "other.png");
    CHECK(db.Info().pending_count == 1);
    for (const char* c : {"a", "b"}) {
      CHECK(Rows(*db.session, "UPDATE " + std::string(c) + " SET n = 5") == "");
      CHECK(Rows(*db.session, "UPDATE " + std::string(c) +
                                  " SET body = json_remove(body, '$._attachments') WHERE id = 'p0003'") == "");
    }
    CHECK(db.Info().pending_count == 2);
    for (int round = 0; round < 2; ++round) {
      for (const std::string& sql : statements) CHECK(db.Same(sql).find("error") == std::string::npos);
      CHECK(db.Same("SELECT id FROM @ WHERE " + kScore + " = 250") == "p0001");
      CHECK(db.Same("SELECT id FROM @ WHERE " + kScore + " IS NULL ORDER BY id") == "none; p0003");
      db.Fill();
    }
    // In an open transaction.
    REQUIRE(Rows(*db.session, "BEGIN IMMEDIATE") == "");
    for (const char* c : {"a", "b"}) {
      REQUIRE(Rows(*db.session, "UPDATE " + std::string(c) +
                                    " SET body = json_set(body, '$._attachments', (SELECT body "
                                    "-> '$._attachments' FROM " +
                                    c + " WHERE id = 'p0001')) WHERE id = 'p0004'") == "");
      REQUIRE(Rows(*db.session, "DELETE FROM " + std::string(c) + " WHERE id = 'p0005'") == "");
    }
    CHECK(db.Same("SELECT id FROM @ WHERE " + kScore + " = 250 ORDER BY id") == "p0001; p0004");
    for (const std::string& sql : statements) CHECK(db.Same(sql).find("error") == std::string::npos);
    REQUIRE(Rows(*db.session, "ROLLBACK") == "");
    CHECK(db.Same("SELECT id FROM @ WHERE " + kScore + " = 250") == "p0001");
    CHECK(db.Info().pending_count == 0);
    // Another version of the model.
    db.AddVersion(1000);
    for (int round = 0; round < 2; ++round) {
      CHECK(db.Same("SELECT count(*) FROM @ WHERE " + kScore + " > 1000") == "38");
      db.Fill();
    }
    db.CheckSound();
  }
}

TEST_CASE("predictive image: files that are no images, or that the model does not take, are NULL and counted") {
  PhotoDatabase db;
  db.Photo("text", "no image");
  db.Photo("cut", Grey(1).substr(0, 40));
  db.CreatePhotos();
  for (int round = 0; round < 2; ++round) {
    CHECK(Rows(*db.session, db.On("SELECT id FROM a WHERE " + kScore + " IS NULL ORDER BY id", "a")) ==
          "cut; none; text");
    db.Fill();
  }
  CHECK(db.Info().failed_count == 2);
  CHECK(db.Info().failure.find("image_tensor") != std::string::npos);
  CHECK(db.Failed("text").find("image_tensor") != std::string::npos);  // What a statement without the index says.
  db.CheckSound();
}

TEST_CASE("predictive image: a photo that is not here yet is NULL, no failure, and computed once it has come") {
  for (const StorageKind kind : kPredictionKinds) {
    CAPTURE(static_cast<int>(kind));
    PhotoDatabase db(kind);
    db.CreatePhotos();
    db.Fill();
    const ByteString late[] = {Grey(251), Grey(252), Grey(253)};
    for (int i = 0; i < 3; ++i) db.Photo("late" + std::to_string(i), late[i]);
    for (const ByteString& file : late) db.Take(file);
    const std::string bright = "SELECT id FROM a WHERE " + db.On(kScore, "a") + " > 250 ORDER BY id";
    const std::string nothing = "SELECT id FROM a WHERE " + db.On(kScore, "a") + " IS NULL ORDER BY id";
    const auto check = [&](const std::string& here, const std::string& away) {
      CHECK(Rows(*db.session, bright) == here);
      CHECK(Rows(*db.session, nothing) == away);
    };
    check("", "late0; late1; late2; none");
    db.Fill();  // Comes to an end.
    CHECK(db.Info().awaited_count == 3);
    CHECK(db.Info().pending_count == 0);
    CHECK(db.Info().failed_count == 0);
    check("", "late0; late1; late2; none");
    CHECK(db.Failed("late0").find("has not arrived yet") != std::string::npos);
    db.CheckIndex();
    // It comes: at once for statements, then in the index.
    REQUIRE(db.core->blobs().Put(late[1]).ok());
    check("late1", "late0; late2; none");
    REQUIRE(*db.core->predictive().Step());
    CHECK(db.Info().pending_count == 1);
    check("late1", "late0; late2; none");
    db.Fill();
    CHECK(db.Info().awaited_count == 2);
    check("late1", "late0; late2; none");
    // While the database is closed nobody tells.
    db.session.reset();
    REQUIRE(db.core->Close().ok());
    db.core.reset();
    DatabaseOptions options;
    options.embed_in_background = false;
    db.Open(options);
    CHECK(db.Info().awaited_count == 2);
    check("late1", "late0; late2; none");
    REQUIRE(db.core->blobs().Put(late[0]).ok());
    db.Fill();
    CHECK(db.Info().awaited_count == 1);
    check("late0; late1", "late2; none");
    // Written or deleted, it is awaited no longer; another version awaits it anew.
    db.AddVersion(0.25F);
    db.Fill();
    CHECK(db.Info().awaited_count == 1);
    check("late0; late1", "late2; none");
    db.Photo("late2", Grey(254));
    CHECK(db.Info().awaited_count == 0);
    check("late0; late1; late2", "none");
    db.Fill();
    check("late0; late1; late2", "none");
    db.Photo("gone", Grey(7));
    db.Take(Grey(7));
    db.Fill();
    CHECK(db.Info().awaited_count == 1);
    CHECK(Rows(*db.session, "DELETE FROM a WHERE id = 'gone'") == "");
    CHECK(db.Info().awaited_count == 0);
    REQUIRE(db.core->blobs().Put(Grey(7)).ok());
    db.Fill();
    CHECK(Rows(*db.session, "DELETE FROM b WHERE id = 'gone'") == "");
    db.CheckSound();
    CHECK(db.Same("SELECT count(*), total(" + kScore + ") FROM @").find("44|") == 0);
  }
}
