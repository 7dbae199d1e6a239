// Goal: what a predictive index says of photos that come by sync, before and after they are here.
#include <doctest/doctest.h>

#include "engine/database/attachments.h"
#include "engine/model/model_registry.h"
#include "engine/query/sql_session.h"
#include "storage/base/file.h"
#include "tests/engine/database/attachment_source.h"
#include "tests/engine/image/image_files.h"
#include "tests/engine/inference/onnx_writer.h"
#include "tests/engine/query/sql_test_database.h"
#include "tests/sync/sync_fixture.h"

namespace foreshore {
namespace {

constexpr char kInput[] = "image_tensor(attachment('notes', id, 'photo'), '{\"color\":\"grey\",\"scale\":1}')";
const std::string kScore = std::string("predict('bright', ") + kInput + ") ->> '$[0][0]'";

ByteString Grey(std::uint8_t value) {
  return WritePng(2, 2, PNG_COLOR_TYPE_GRAY, 8, Pixels(4, value));
}

void AddModel(Device& device) {
  OnnxWriter writer;
  writer.Input("x", {-1, 1, -1, -1}, 1);
  writer.Node("Flatten", {writer.Node("GlobalAveragePool", {"x"})}, {}, "y");
  writer.Output("y", {-1, 1});
  const TemporaryDirectory files;
  REQUIRE(WriteFileAtomic(files.path() + "/bright.onnx", writer.Finish()).ok());
  const auto added = device.core->models().Add("bright", files.path() + "/bright.onnx", ModelImportOptions());
  REQUIRE_MESSAGE(added.ok(), added.status().ToString());
}

void Photo(Device& device, const std::string& id, const ByteString& file) {
  const auto staged = AttachmentAccess::Stage(*device.core, SourceOf(file));
  REQUIRE(staged.ok());
  device.Put(id, R"({"n":1})");
  device.Write([&](WriteView& view, const CollectionDefinition& notes) {
    return AttachmentAccess::Put(view, notes, id, "photo", "image/png", *staged).status();
  });
}

IndexInfo Info(Device& device) {
  const auto indexes = device.core->ListIndexes();
  REQUIRE(indexes.ok());
  return indexes->at(0);
}

}  // namespace

TEST_CASE(
    "predictions: a photo that arrives after its document is NULL until it is here, and then what predict() says") {
  GatewayFixture gateway;
  gateway.Start();
  Device a(gateway);
  Device b(gateway);
  a.Open();
  b.Open();
  AddModel(a);
  Photo(a, "first", Grey(10));
  a.Sync();
  b.Sync();
  const Status created =
      b.core->CreatePredictiveIndex("notes", {.model = "bright", .path = kInput, .output = "$[0][0]"});
  REQUIRE_MESSAGE(created.ok(), created.ToString());
  const auto fill = [&] { REQUIRE(b.core->WaitIndexed(std::chrono::minutes(1), {}).ok()); };
  const std::string all = "SELECT id, " + kScore + " FROM notes ORDER BY id";
  const std::string dark = "SELECT id FROM notes WHERE " + kScore + " > 15 ORDER BY " + kScore;
  const auto rows = [&](const std::string& sql) { return Rows(*SqlSession::Create(*b.core).value(), sql); };
  fill();
  CHECK(rows(all) == "first|10");

  Photo(a, "second", Grey(20));
  Photo(a, "first", Grey(30));
  a.Sync();
  const std::string blobs = gateway.options.store_path + "/channel/blobs";
  std::filesystem::rename(blobs, blobs + ".away");
  std::filesystem::create_directories(blobs);
  CHECK(b.Sync().blobs_missing.size() == 2);
  // The documents are there, and the old photo's value is none of the new one.
  for (int round = 0; round < 2; ++round) {
    CHECK(rows(all) == "first|NULL; second|NULL");
    CHECK(rows(dark) == "");
    fill();
  }
  CHECK(Info(b).awaited_count == 2);
  CHECK(Info(b).failed_count == 0);
  b.Reopen();
  CHECK(rows(all) == "first|NULL; second|NULL");
  std::filesystem::remove_all(blobs);
  std::filesystem::rename(blobs + ".away", blobs);
  CHECK(b.Sync().totals.blobs_received == 2);
  for (int round = 0; round < 2; ++round) {
    CHECK(rows(all) == "first|30; second|20");
    CHECK(rows(dark) == "second; first");
    fill();
  }
  CHECK(Info(b).awaited_count == 0);
  const auto report = b.core->Verify();
  REQUIRE(report.ok());
  CHECK(report->problems.empty());
}

}  // namespace foreshore
