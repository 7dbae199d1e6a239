// Quantized versions and LoRA adapters of a model in the database, with the tiny BERT of tests/golden.

#include "engine/inference/import_model.h"
#include "engine/model/model_registry.h"
#include "storage/base/file.h"
#include "tests/engine/inference/low_rank_model.h"
#include "tests/engine/query/sql_test_database.h"
#include "tests/temporary_directory.h"

using namespace foreshore;

namespace {

constexpr const char* kTiny = FORESHORE_GOLDEN_DIR "/bert_tiny";

struct QuantizeFixture : SqlTestDatabase {
  QuantizeFixture() {
    ModelImportOptions options;
    options.quantization = Quantization::kNone;
    const auto added = core->models().Add("tiny", kTiny, options);
    REQUIRE_MESSAGE(added.ok(), added.status().ToString());
    CHECK(added->quantization == "none");
    Collection("notes");
    const char* words[] = {"the", "pump", "is", "overheating", "hot", "a", "b", "c", "d", "e"};
    for (int i = 0; i < 80; ++i) {
      std::string text;
      for (int k = 0; k < 3 + i % 5; ++k)
        text += std::string(k == 0 ? "" : " ") + words[(i * 7 + k * (1 + i / 10)) % 10];
      Put("notes", "n" + std::to_string(i), R"({"deep":{"text":")" + text + R"("}})");
    }
    Put("notes", "without", R"({"n":1})");
  }
  ModelQuantizeOptions Options(Quantization method) const {
    ModelQuantizeOptions options;
    options.method = method;
    options.group_size = 32;
    options.collection = "notes";
    options.path = "deep.text";
    options.calibration_count = 50;
    options.held_out_count = 30;
    options.overlap_min = 0;
    return options;
  }
  void CheckSound() {
    const auto report = core->Verify();
    REQUIRE_MESSAGE(report.ok(), report.status().ToString());
    CHECK(report->problems.empty());
  }

  // A folder as PEFT writes it, of an adapter over query and value.
  std::string WriteAdapter(const std::string& name, const LoraWriter& writer, const std::string& more = "") {
    BertModel model = ImportModel(kTiny).value().model;
    const std::string folder = files.path() + "/" + name;
    REQUIRE(CreateDirectories(folder).ok());
    REQUIRE(WriteFileAtomic(folder + "/adapter_model.safetensors", SafetensorsBytes(writer.Write(model))).ok());
    REQUIRE(WriteFileAtomic(folder + "/adapter_config.json", writer.Config(more)).ok());
    return folder;
  }
  std::string Answer(const std::string& more = "") {
    return Rows(*session, "SELECT predict('tiny', '\"the pump is hot\"'" + more + ")");
  }
  TemporaryDirectory files;
};

}  // namespace

TEST_CASE_FIXTURE(QuantizeFixture, "quantize: few documents are shared, and judging keeps the least that it needs") {
  struct Case {
    std::size_t calibration, held_out, calibrated, judged;
  };
  // Of 80 documents.
  for (const Case& shared : {Case{256, 256, 40, 40}, {256, 24, 60, 20}, {20, 70, 18, 62}}) {
    CAPTURE(shared.held_out);
    ModelQuantizeOptions options = Options(Quantization::kGptq4);
    options.calibration_count = shared.calibration;
    options.held_out_count = shared.held_out;
    const auto report = core->QuantizeModel("tiny", "shared", options);
    REQUIRE_MESSAGE(report.ok(), report.status().ToString());
    CHECK(report->calibration_count == shared.calibrated);
    CHECK(report->held_out_count == shared.judged);
  }
}

TEST_CASE_FIXTURE(QuantizeFixture, "quantize: each method makes a model that answers, beside the one it came from") {
  const std::string original = Answer();
  struct Case {
    Quantization method;
    const char* name;
  };
  for (const Case& made : {Case{Quantization::kInt8, "int8"}, Case{Quantization::kGptq4, "gptq4"},
                           Case{Quantization::kGptq3, "gptq3"}, Case{Quantization::kNf4, "nf4"}}) {
    CAPTURE(made.name);
    const auto report = core->QuantizeModel("tiny", made.name, Options(made.method));
    REQUIRE_MESSAGE(report.ok(), report.status().ToString());
    CHECK(report->is_activated);
    CHECK(report->refusal.empty());
    CHECK(report->model.quantization == made.name);
    CHECK(report->held_out_count == 30);
    CHECK(report->calibration_count == (made.name[0] == 'g' ? 50 : 0));
    CHECK(report->mean_cosine > (made.name[0] == 'g' && made.name[4] == '3' ? 0.8 : 0.95));
    CHECK(report->min_cosine <= report->mean_cosine);
    CHECK(report->top_ten_overlap > 0.3);
    CHECK(report->quantized_bytes < report->original_bytes);
    CHECK(report->original_us > 0);
    const auto kept = core->models().Get(made.name);
    REQUIRE_MESSAGE(kept.ok(), kept.status().ToString());
    CHECK(kept->version == report->model.version);
    CHECK(kept->is_complete);
    const std::string answer =
        Rows(*session, "SELECT predict('" + std::string(made.name) + "', '\"the pump is hot\"')");
    CHECK(answer.starts_with("{\"embedding\":["));
    CHECK(answer != original);
    // The same documents and the same model give the same version.
    CHECK(core->QuantizeModel("tiny", made.name, Options(made.method))->model.version == kept->version);
  }
  CHECK(Answer() == original);
  CheckSound();
}

TEST_CASE_FIXTURE(QuantizeFixture, "quantize: below the threshold nothing is activated and nothing kept") {
  ModelQuantizeOptions options = Options(Quantization::kGptq3);
  options.overlap_min = 1;
  const auto report = core->QuantizeModel("tiny", "small", options);
  REQUIRE_MESSAGE(report.ok(), report.status().ToString());
  REQUIRE(report->top_ten_overlap < 1);
  CHECK_FALSE(report->is_activated);
  CHECK(report->model.version.empty());
  CHECK(report->refusal.find("model \"small\": keeps 0.") == 0);
  CHECK(report->refusal.find("expected at least 1.000") != std::string::npos);
  CHECK(core->models().Get("small").status().code() == ErrorCode::kNotFound);
  CHECK(core->models().List()->size() == 1);
  CheckSound();
}

TEST_CASE_FIXTURE(QuantizeFixture, "quantize: what cannot be is said, and the database is as it was") {
  const std::string before = Rows(*session, "SELECT count(*) FROM notes") + Answer();
  const auto refused = [&](ErrorCode code, const std::string& message, const ModelQuantizeOptions& options,
                           const std::string& name = "tiny", const std::string& as = "small") {
    const Status status = core->QuantizeModel(name, as, options).status();
    CAPTURE(status.ToString());
    CHECK(status.code() == code);
    CHECK(status.message().find(message) != std::string_view::npos);
    CHECK(core->models().List()->size() == 1);
  };
  using enum ErrorCode;
  ModelQuantizeOptions options = Options(Quantization::kGptq4);
  refused(kNotFound, "nothing", options, "nothing");
  refused(kInvalidArgument, "model name \"a b\"", options, "tiny", "a b");
  options.held_out_count = 19;
  refused(kInvalidArgument, "found 19 texts to judge by, expected at least 20", options);
  options = Options(Quantization::kGptq4);
  options.calibration_count = 1;
  refused(kInvalidArgument, "tokens, expected at least 16", options);
  options.path = "nowhere";
  refused(kInvalidArgument, "found 0 texts", options);
  options.collection = "none";
  refused(kNotFound, "none", options);
  options = Options(Quantization::kGptq4);
  options.group_size = 24;
  refused(kInvalidArgument, "groups of 24", options);
  refused(kInvalidArgument, "method none", Options(Quantization::kNone));
  options = Options(Quantization::kNf4);
  options.overlap_min = 1.5;
  refused(kInvalidArgument, "overlap_min", options);
  CHECK(Rows(*session, "SELECT count(*) FROM notes") + Answer() == before);
  REQUIRE(core->QuantizeModel("tiny", "int8", Options(Quantization::kInt8)).ok());
  CHECK(core->QuantizeModel("int8", "x", Options(Quantization::kInt8)).status().message() ==
        "model \"int8\": is int8, expected none to make int8 of");
  REQUIRE(core->QuantizeModel("int8", "nf4", Options(Quantization::kNf4)).ok());
  CHECK(core->QuantizeModel("nf4", "x", Options(Quantization::kGptq4)).status().code() == kInvalidArgument);
  CheckSound();
}

TEST_CASE_FIXTURE(QuantizeFixture, "adapters: chosen by call, replaced and removed, the base as it was") {
  const std::string plain = Answer();
  const auto added = core->models().AddAdapter("tiny", "one", WriteAdapter("one", {.seed = 1}));
  REQUIRE_MESSAGE(added.ok(), added.status().ToString());
  CHECK(added->adapters == std::vector<std::string>{"one"});
  REQUIRE(core->models().AddAdapter("tiny", "two", WriteAdapter("two", {.seed = 2})).ok());
  const std::string one = Answer(", 'one'");
  const std::string two = Answer(", 'two'");
  CHECK(one.starts_with("{\"embedding\":["));
  CHECK(one != plain);
  CHECK(two != plain);
  CHECK(one != two);
  CHECK(Answer() == plain);
  CHECK(Answer(", ''") == plain);
  CHECK(Answer(", NULL") == "NULL");
  CHECK(Rows(*session,
             "SELECT predict('tiny', '\"hot\"', a.value) = predict('tiny', '\"hot\"') "
             "FROM json_each('[\"one\",\"\",\"two\"]') a") == "0; 1; 0");
  // Hot: the next call sees the other.
  REQUIRE(core->models().AddAdapter("tiny", "one", WriteAdapter("again", {.seed = 2})).ok());
  CHECK(Answer(", 'one'") == two);
  CHECK(core->models().Get("tiny")->adapters == std::vector<std::string>{"one", "two"});
  CheckSound();
  REQUIRE(core->models().RemoveAdapter("tiny", "two").ok());
  const Status missing = FailureOf(*session, "SELECT predict('tiny', '\"hot\"', 'two')");
  CHECK(missing.code() == ErrorCode::kNotFound);
  CHECK(missing.message().find("has no adapter \"two\", expected one of one") != std::string_view::npos);
  CHECK(core->models().RemoveAdapter("tiny", "two").code() == ErrorCode::kNotFound);
  // A new version of the model keeps its adapters.
  REQUIRE(core->models().Add("tiny", kTiny, ModelImportOptions()).ok());
  CHECK(core->models().Get("tiny")->quantization == "int8");
  CHECK(Answer(", 'one'") != Answer());
  CHECK(core->models().Get("tiny")->is_complete);
  CheckSound();
}

TEST_CASE_FIXTURE(QuantizeFixture, "adapters: what does not fit is refused, and the row is as it was") {
  REQUIRE(core->models().AddAdapter("tiny", "one", WriteAdapter("one", {.seed = 1})).ok());
  const std::string one = Answer(", 'one'");
  const auto refused = [&](ErrorCode code, const std::string& message, const std::string& path,
                           const std::string& name = "one") {
    const Status status = core->models().AddAdapter("tiny", name, path).status();
    CAPTURE(status.ToString());
    CHECK(status.code() == code);
    CHECK(status.message().find(message) != std::string_view::npos);
    CHECK(Answer(", 'one'") == one);
  };
  using enum ErrorCode;
  refused(kNotFound, "adapter_config.json", files.path() + "/nowhere");
  refused(kInvalidArgument, "was trained for \"bert-base-uncased\"",
          WriteAdapter("other", {}, R"(,"base_model_name_or_path":"bert-base-uncased")"));
  refused(kInvalidArgument, "adapter name \"a b\"", WriteAdapter("fine", {}), "a b");
  const std::string folder = WriteAdapter("damaged", {});
  const ByteString bytes = ReadFile(folder + "/adapter_model.safetensors", 1 << 20).value();
  REQUIRE(WriteFileAtomic(folder + "/adapter_model.safetensors", Bytes(bytes).substr(0, bytes.size() - 1)).ok());
  refused(kCorruption, "adapter_model.safetensors", folder);
  CHECK(core->models().AddAdapter("none", "a", folder).status().code() == kNotFound);
  const auto sound = core->models().AddAdapter(
      "tiny", "two", WriteAdapter("sound", {.seed = 2}, R"(,"base_model_name_or_path":"elsewhere/bert-tiny")"));
  CHECK_MESSAGE(sound.ok(), sound.status().ToString());
  CheckSound();
}
