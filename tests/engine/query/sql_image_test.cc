// attachment(), image_tensor() and predict() over images: defects are found by a SELECT over documents with photos.
#include <algorithm>

#include "engine/database/attachments.h"
#include "engine/model/model_registry.h"
#include "storage/base/file.h"
#include "tests/engine/database/attachment_source.h"
#include "tests/engine/image/image_files.h"
#include "tests/engine/inference/onnx_writer.h"
#include "tests/engine/query/sql_test_database.h"
#include "tests/temporary_directory.h"

using namespace foreshore;

namespace {

struct ImageFixture : SqlTestDatabase {
  ImageFixture() {
    Collection("parts");
    // y = the largest |Laplacian| of a grey image [1, 1, height, width]: smooth surfaces give little, a scratch much.
    OnnxWriter writer;
    writer.Input("x", {1, 1, -1, -1}, 1);
    const std::string edges =
        writer.Node("Conv", {"x", writer.Floats("w", {1, 1, 3, 3}, {0, -1, 0, -1, 4, -1, 0, -1, 0})});
    writer.Node("Flatten", {writer.Node("GlobalMaxPool", {writer.Node("Abs", {edges})})}, {}, "y");
    writer.Output("y", {1, 1});
    const std::string path = files.path() + "/scratch.onnx";
    REQUIRE(WriteFileAtomic(path, writer.Finish()).ok());
    const auto added = core->models().Add("scratch", path, ModelImportOptions());
    REQUIRE_MESSAGE(added.ok(), added.status().ToString());
  }

  void Photo(const std::string& id, const ByteString& file) {
    Put("parts", id, R"({"line":1})");
    const auto staged = AttachmentAccess::Stage(*core, SourceOf(file));
    REQUIRE(staged.ok());
    auto view = core->BeginWrite();
    REQUIRE(
        AttachmentAccess::Put(**view, **(*view)->catalog().Require("parts"), id, "photo", "image/jpeg", *staged).ok());
    REQUIRE((*view)->Commit().ok());
  }

  TemporaryDirectory files;
};

Pixels Scratched(std::uint32_t width, std::uint32_t height) {
  Pixels pixels = Picture(width, height, 3);
  for (std::uint32_t y = 4; y < height - 4; ++y) {
    for (std::uint32_t c = 0; c < 3; ++c) pixels[(y * width + y) * 3 + c] = 255;
  }
  return pixels;
}

}  // namespace

TEST_CASE_FIXTURE(ImageFixture, "image_tensor: a SELECT finds the part with a scratch by its photo") {
  Photo("good-1", WriteJpeg(80, 60, 3, Picture(80, 60, 3)));
  Photo("bad", WriteJpeg(80, 60, 3, Scratched(80, 60)));
  Photo("good-2", WritePng(64, 48, PNG_COLOR_TYPE_RGB, 8, Picture(64, 48, 3)));
  Put("parts", "no-photo", R"({"line":1})");
  const std::string score =
      "predict('scratch', image_tensor(attachment('parts', id, 'photo'), '{\"color\":\"grey\"}')) ->> '$[0][0]'";
  CHECK(Rows(*session, "SELECT id FROM parts WHERE " + score + " > 0.5") == "bad");
  CHECK(Rows(*session, "SELECT id, " + score + " < 0.2 FROM parts WHERE id LIKE 'good%' ORDER BY id") ==
        "good-1|1; good-2|1");
  CHECK(Rows(*session, "SELECT " + score + " FROM parts WHERE id = 'no-photo'") == "NULL");
}

TEST_CASE_FIXTURE(ImageFixture, "attachment: content of the statement's snapshot, NULL where there is none") {
  const ByteString file = WritePng(2, 1, PNG_COLOR_TYPE_GRAY, 8, {10, 250});
  Photo("p", file);
  CHECK(Rows(*session, "SELECT typeof(attachment('parts', 'p', 'photo')), length(attachment('parts', 'p', 'photo'))") ==
        "blob|" + std::to_string(file.size()));
  CHECK(Rows(*session, "SELECT hex(substr(attachment('parts', 'p', 'photo'), 1, 4))") == "89504E47");
  for (const std::string_view absent : {"'parts', 'p', 'other'", "'parts', 'q', 'photo'", "'parts', NULL, 'photo'"}) {
    CAPTURE(absent);
    CHECK(Rows(*session, "SELECT attachment(" + std::string(absent) + ")") == "NULL");
  }
  CHECK(FailureOf(*session, "SELECT attachment('nothing', 'p', 'photo')").code() == ErrorCode::kNotFound);
  // "FST\1", float, four dimensions 1, 1, 1, 2, then 10 and 250.
  CHECK(Rows(*session, "SELECT image_tensor(attachment('parts', 'p', 'photo'), '{\"scale\":1,\"color\":\"grey\"}')") ==
        "x'4653540101000400"
        "0100000000000000010000000000000001000000000000000200000000000000"
        "0000204100007a43'");
  CHECK(Rows(*session, "SELECT image_tensor(NULL)") == "NULL");
}

TEST_CASE_FIXTURE(ImageFixture,
                  "image_tensor: what is no image and no option is refused, and predict checks the tensor") {
  CHECK(FailureOf(*session, "SELECT image_tensor('no image')").code() == ErrorCode::kUnsupported);
  CHECK(FailureOf(*session, "SELECT image_tensor(x'ffd8ff')").code() == ErrorCode::kCorruption);
  Photo("p", WritePng(4, 4, PNG_COLOR_TYPE_GRAY, 8, Picture(4, 4, 1)));
  const std::string image = "attachment('parts', 'p', 'photo')";
  CHECK(FailureOf(*session, "SELECT image_tensor(" + image + ", '{\"size\":1}')").code() ==
        ErrorCode::kInvalidArgument);
  const Status colours = FailureOf(*session, "SELECT predict('scratch', image_tensor(" + image + "))");
  CHECK(colours.code() == ErrorCode::kInvalidArgument);
  CHECK_MESSAGE(colours.message().find("float[1,3,4,4]") != std::string::npos, colours.message());
  const Status cut = FailureOf(*session, "SELECT predict('scratch', substr(image_tensor(" + image + "), 1, 50))");
  CHECK(cut.code() == ErrorCode::kInvalidArgument);
}

TEST_CASE_FIXTURE(ImageFixture, "quantize: a graph is calibrated on the database's own photos, and judged by others") {
  for (std::uint32_t i = 0; i < 60; ++i) {
    const std::uint32_t size = 24 + i % 7;
    Photo("p" + std::to_string(i), WritePng(size, size, PNG_COLOR_TYPE_RGB, 8,
                                            i % 3 == 0 ? Scratched(size, size) : Picture(size, size, 3), i % 2 == 0));
  }
  Put("parts", "no-photo", R"({"line":1})");
  ModelQuantizeOptions options;
  options.method = Quantization::kInt8;
  options.collection = "parts";
  options.path = "photo";
  options.image = R"({"color":"grey","width":24,"height":24})";
  options.calibration_count = 30;
  options.held_out_count = 25;
  options.overlap_min = 0.99;
  const auto report = core->QuantizeModel("scratch", "scratch8", options);
  REQUIRE_MESSAGE(report.ok(), report.status().ToString());
  CHECK_MESSAGE(report->is_activated, report->refusal);
  CHECK(report->calibration_count == 30);
  CHECK(report->held_out_count == 25);
  CHECK(report->model.quantization == "int8");
  // It gives one number: how much of its variance is kept.
  CHECK(report->top_one_agreement > 0.99);
  CHECK(report->top_one_agreement < 1);
  CHECK(report->min_cosine > 0.999);
  CHECK(report->quantized_us > 0);
  CHECK(core->models().Get("scratch8")->architecture == "graph");
  const std::string photo = "image_tensor(attachment('parts', id, 'photo'), '" + options.image + "')";
  CHECK(Rows(*session, "SELECT count(*) FROM parts WHERE abs((predict('scratch', " + photo +
                           ") ->> '$[0][0]') - "
                           "(predict('scratch8', " +
                           photo + ") ->> '$[0][0]')) < 0.05") == "60");
  CHECK(Rows(*session, "SELECT count(*) FROM parts WHERE predict('scratch8', " + photo + ") ->> '$[0][0]' > 0.5") ==
        "20");
  // No 8 bits are the same to the last digit.
  options.overlap_min = 1;
  const auto refused = core->QuantizeModel("scratch", "scratch9", options);
  REQUIRE(refused.ok());
  CHECK_FALSE(refused->is_activated);
  CHECK_MESSAGE(refused->refusal.find("expected at least 1.0000; it was not activated") != std::string::npos,
                refused->refusal);
  CHECK(core->models().Get("scratch9").status().code() == ErrorCode::kNotFound);
  CHECK(core->QuantizeModel("scratch8", "again", options).status().code() == ErrorCode::kInvalidArgument);
  options.method = Quantization::kNf4;
  CHECK(core->QuantizeModel("scratch", "other", options).status().code() == ErrorCode::kUnsupported);
  options.method = Quantization::kInt8;
  options.path = "other";
  CHECK(core->QuantizeModel("scratch", "other", options).status().code() == ErrorCode::kInvalidArgument);
}

TEST_CASE_FIXTURE(ImageFixture, "quantize: a graph is calibrated on values of documents as predict takes them") {
  Collection("planes");
  for (int i = 0; i < 50; ++i) {
    std::string plane = "[[[";
    for (int y = 0; y < 5; ++y) {
      plane += y == 0 ? "[" : ",[";
      for (int x = 0; x < 6; ++x) plane += (x == 0 ? "" : ",") + std::to_string(x == i % 6 ? 9 : (x * y * i) % 5);
      plane += "]";
    }
    Put("planes", "p" + std::to_string(i), R"({"deep":{"plane":)" + plane + "]]]}}");
  }
  ModelQuantizeOptions options;
  options.method = Quantization::kInt8;
  options.collection = "planes";
  options.path = "deep.plane";
  options.held_out_count = 20;
  options.calibration_count = 30;
  const auto report = core->QuantizeModel("scratch", "scratch8", options);
  REQUIRE_MESSAGE(report.ok(), report.status().ToString());
  CHECK(report->is_activated);
  CHECK(Rows(*session,
             "SELECT count(*) FROM planes WHERE abs((predict('scratch', body -> '$.deep.plane') ->> '$[0][0]') "
             "- (predict('scratch8', body -> '$.deep.plane') ->> '$[0][0]')) < 0.5") == "50");
}
