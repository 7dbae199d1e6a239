// Models that a callback runs: predict(), predict_batch, embed(), fields that such a model fills; what the callback may
// do, and what becomes of its mistakes.
#include <atomic>
#include <cmath>
#include <limits>
#include <new>
#include <stdexcept>
#include <thread>

#include "engine/model/model_registry.h"
#include "tests/engine/query/sql_test_database.h"

using namespace foreshore;

namespace {

const RuntimeOptions kScores{.version = "1", .input_shape = {2}, .output_shape = {1}, .row_count_max = 8};

// a - b of each row.
Status Subtract(const RuntimeBatch& batch, std::span<float> output) {
  for (std::size_t row = 0; row < batch.row_count; ++row) {
    output[row] = batch.values[row * 2] - batch.values[row * 2 + 1];
  }
  return Status::Ok();
}

// How often 'a', 'b' and 'c' are in a text.
Status CountLetters(const RuntimeBatch& batch, std::span<float> output) {
  for (std::size_t row = 0; row < batch.row_count; ++row) {
    for (std::size_t letter = 0; letter < 3; ++letter) {
      const auto& text = batch.texts[row];
      output[row * 3 + letter] =
          static_cast<float>(std::count(text.begin(), text.end(), static_cast<char>('a' + letter)));
    }
  }
  return Status::Ok();
}
const RuntimeOptions kLetters{.version = "1", .dimension = 3, .row_count_max = 2};

struct RuntimeFixture : SqlTestDatabase {
  RuntimeFixture() {
    Collection("points");
    for (int i = 0; i < 20; ++i) {
      Put("points", "p" + std::string(i < 10 ? "0" : "") + std::to_string(i),
          "{\"a\":" + std::to_string(i) + ",\"b\":0.5,\"x\":[" + std::to_string(i) + ",0.5]}");
    }
  }
  void Register(const std::string& name, const RuntimeOptions& options, RuntimeCallback callback) {
    const auto registered = core->models().Register(name, options, std::move(callback));
    REQUIRE_MESSAGE(registered.ok(), registered.status().ToString());
  }
  void AddLetterField() {
    Collection("notes");
    VectorFieldOptions options;
    options.field = "letters";
    options.model = "letters";
    options.source_paths = {"text"};
    options.metric = VectorMetric::kL2;
    const Status created = core->CreateVectorIndex("notes", options);
    REQUIRE_MESSAGE(created.ok(), created.ToString());
    Put("notes", "aa", R"({"text":"aa"})");
    Put("notes", "ab", R"({"text":"ab"})");
    Put("notes", "cc", R"({"text":"cc"})");
  }
  Status Embed() { return core->WaitEmbedded(std::chrono::seconds(60), {}); }
};

bool Says(const Status& status, ErrorCode code, std::string_view text) {
  CAPTURE(status.ToString());
  return status.code() == code && status.message().find(text) != std::string::npos;
}

}  // namespace

TEST_CASE_FIXTURE(RuntimeFixture, "runtime: predict() and predict_batch() take its rows as those of any model") {
  std::vector<std::size_t> batches;
  Register("scores", kScores, [&](const RuntimeBatch& batch, std::span<float> output) {
    batches.push_back(batch.row_count);
    return Subtract(batch, output);
  });
  CHECK(Rows(*session, "SELECT predict('scores', '[3,1]')") == "[[2]]");
  CHECK(Rows(*session, "SELECT predict('scores', '[[3,1],[5,1]]')") == "[[2],[4]]");
  CHECK(Rows(*session, "SELECT predict('scores', '{\"input\":[3,1]}')") == "[[2]]");
  CHECK(Rows(*session, "SELECT predict('scores', x) FROM points WHERE id = 'p03'") == "[[2.5]]");
  batches.clear();
  CHECK(Rows(*session, "SELECT count(*), sum(output) FROM predict_batch('scores', 'SELECT id, a, b FROM points')") ==
        "20|180.0");
  CHECK(batches == std::vector<std::size_t>{8, 8, 4});
  CHECK(Says(FailureOf(*session, "SELECT predict('scores', '[1,2,3]')"), ErrorCode::kInvalidArgument, "3 numbers"));
  CHECK(Says(FailureOf(*session, "SELECT predict('scores', '[[1,2,3]]')"), ErrorCode::kInvalidArgument,
             "float[1,3], expected float[-1,2]"));
  CHECK(Says(FailureOf(*session, "SELECT embed('scores', 'x')"), ErrorCode::kUnsupported, "scores"));
  CHECK(Says(FailureOf(*session, "SELECT predict('scores', '[1,2]', 'adapter')"), ErrorCode::kUnsupported, "adapter"));
  CHECK(Says(core->models().AddAdapter("scores", "a", "/nowhere").status(), ErrorCode::kUnsupported, "scores"));
}

TEST_CASE_FIXTURE(RuntimeFixture, "runtime: shapes of several dimensions nest in the answer") {
  Register("grid", {.version = "1", .input_shape = {2, 2}, .output_shape = {2, 1}},
           [](const RuntimeBatch& batch, std::span<float> output) {
             for (std::size_t i = 0; i < output.size(); ++i) output[i] = batch.values[i * 2] + batch.values[i * 2 + 1];
             return Status::Ok();
           });
  CHECK(Rows(*session, "SELECT predict('grid', '[1,2,3,4]')") == "[[[3],[7]]]");
  CHECK(Rows(*session, "SELECT predict('grid', '[[[1,2],[3,4]],[[0,0],[1,1]]]')") == "[[[3],[7]],[[0],[2]]]");
}

TEST_CASE_FIXTURE(RuntimeFixture, "runtime: embed(), a field that it fills, and the search by it") {
  Register("letters", kLetters, CountLetters);
  CHECK(Rows(*session, "SELECT embed('letters', 'abca')") == "x'000000400000803f0000803f'");
  CHECK(Rows(*session, "SELECT predict('letters', '\"abca\"')") == R"({"embedding":[2,1,1]})");
  AddLetterField();
  REQUIRE(Embed().ok());
  CHECK(Rows(*session, "SELECT id FROM notes WHERE letters MATCH embed('letters', 'ccc') ORDER BY distance LIMIT 1") ==
        "cc");
  CHECK(Says(core->models().Remove("letters"), ErrorCode::kConflict, "notes.letters"));
  CHECK(Rows(*session, "SELECT embed('letters', 'c')") == "x'00000000000000000000803f'");  // It still runs.
}

TEST_CASE_FIXTURE(RuntimeFixture, "runtime: what the row asks for and is not registered is an error that names both") {
  Register("scores", kScores, Subtract);
  const auto before = core->models().Get("scores");
  REQUIRE(before.ok());
  CHECK(before->is_registered);
  CHECK(before->runtime_version == "1");
  CHECK(before->tensor_count == 0);
  // The same again writes nothing.
  const std::int64_t sequence = core->last_sequence();
  Register("scores", kScores, Subtract);
  CHECK(core->last_sequence() == sequence);

  REQUIRE(core->models().Unregister("scores").ok());
  CHECK(Says(FailureOf(*session, "SELECT predict('scores', '[1,2]')"), ErrorCode::kUnsupported,
             "version \"1\", is not registered here"));
  CHECK(Says(core->models().Unregister("scores"), ErrorCode::kNotFound, "scores"));
  CHECK_FALSE(core->models().Get("scores")->is_registered);
  CHECK(Rows(*session, "SELECT count(*) FROM _models WHERE name = 'scores'") == "1");

  RuntimeOptions next = kScores;
  next.version = "2";
  Register("scores", next, Subtract);
  CHECK(core->models().Get("scores")->version != before->version);
  // As if another device had activated the older one again: the application has to ask for it itself.
  const auto body = Rows(*session, "SELECT body FROM _models WHERE name = 'scores'");
  {
    const auto view = core->BeginWrite();
    REQUIRE(view.ok());
    std::string older = body;
    for (std::size_t at = older.find((*core->models().Get("scores")).version); at != std::string::npos;
         at = older.find((*core->models().Get("scores")).version, at + 1)) {
      older.replace(at, 64, before->version);
    }
    const std::string asks = "\"runtime_version\":\"2\"";
    older.replace(older.find(asks), asks.size(), "\"runtime_version\":\"1\"");
    REQUIRE((*view)->Put(*(*view)->catalog().Find("_models"), "scores", older).ok());
    REQUIRE((*view)->Commit().ok());
  }
  const std::string wanted = "asks for version \"1\" of its runtime, registered here is \"2\"";
  CHECK(Says(FailureOf(*session, "SELECT predict('scores', '[1,2]')"), ErrorCode::kConflict, wanted));
  Register("scores", next, Subtract);  // What was registered before is no decision.
  CHECK(Says(FailureOf(*session, "SELECT predict('scores', '[1,2]')"), ErrorCode::kConflict, wanted));
  Register("scores", kScores, Subtract);
  CHECK(Rows(*session, "SELECT predict('scores', '[3,1]')") == "[[2]]");
}

TEST_CASE_FIXTURE(RuntimeFixture, "runtime: another version is another model, whose vectors are made anew") {
  Register("letters", kLetters, CountLetters);
  AddLetterField();
  REQUIRE(Embed().ok());
  RuntimeOptions next = kLetters;
  next.version = "2";
  Register("letters", next, [](const RuntimeBatch& batch, std::span<float> output) {
    FORESHORE_RETURN_IF_ERROR(CountLetters(batch, output));
    for (float& number : output) number = 10 - number;
    return Status::Ok();
  });
  REQUIRE(Embed().ok());
  CHECK(Rows(*session, "SELECT vector_distance(letters, '[10,10,8]', 'l2') < 0.1 FROM notes WHERE id = 'cc'") == "1");
}

TEST_CASE_FIXTURE(RuntimeFixture, "runtime: errors, exceptions and wrong numbers fail the statement, by name") {
  RuntimeCallback behaviour;
  Register("scores", kScores,
           [&](const RuntimeBatch& batch, std::span<float> output) { return behaviour(batch, output); });
  const auto failure = [&] { return FailureOf(*session, "SELECT predict('scores', '[1,2]')"); };
  behaviour = [](const auto&, auto) { return Status::Network("no accelerator"); };
  CHECK(Says(failure(), ErrorCode::kNetwork, "model \"scores\": its runtime: no accelerator"));
  behaviour = [](const auto&, auto) -> Status { throw std::runtime_error("boom"); };
  CHECK(Says(failure(), ErrorCode::kInternal, "threw boom"));
  behaviour = [](const auto&, auto) -> Status { throw 7; };
  CHECK(Says(failure(), ErrorCode::kInternal, "no std::exception"));
  behaviour = [](const auto&, auto) -> Status { throw std::bad_alloc(); };
  CHECK(Says(failure(), ErrorCode::kLimit, "memory"));
  behaviour = [](const auto&, auto) { return Status::Ok(); };
  CHECK(Says(failure(), ErrorCode::kInternal, "left unwritten"));
  behaviour = [](const auto&, auto output) {
    std::fill(output.begin(), output.end(), 1.0F);
    output.back() = std::numeric_limits<float>::infinity();
    return Status::Ok();
  };
  CHECK(Says(failure(), ErrorCode::kInternal, "infinity"));
  // Rows are numbered over the batches of one call.
  CHECK(Says(FailureOf(*session, "SELECT * FROM predict_batch('scores', 'SELECT id, a, b FROM points')"),
             ErrorCode::kInternal, "of row 7, "));
  behaviour = Subtract;
  CHECK(Rows(*session, "SELECT predict('scores', '[3,1]')") == "[[2]]");
}

TEST_CASE_FIXTURE(RuntimeFixture,
                  "runtime: a callback that fails leaves vectors pending, and the next try makes them") {
  std::atomic<bool> fails = true;
  Register("letters", kLetters, [&](const RuntimeBatch& batch, std::span<float> output) {
    return fails ? Status::Busy("warming up") : CountLetters(batch, output);
  });
  AddLetterField();
  CHECK(Says(Embed(), ErrorCode::kBusy, "warming up"));
  CHECK(core->ListIndexes()->at(0).pending_count > 0);
  CHECK(Rows(*session, "SELECT id FROM notes ORDER BY id") == "aa; ab; cc");
  fails = false;
  REQUIRE(Embed().ok());
  CHECK(Rows(*session, "SELECT count(letters) FROM notes") == "3");
}

TEST_CASE_FIXTURE(RuntimeFixture, "runtime: a callback may read; it may not write, wait, register or call itself") {
  std::function<Status()> inside = [] { return Status::Ok(); };
  std::vector<std::string> said;
  Register("other", kScores, Subtract);
  Register("scores", kScores, [&](const RuntimeBatch& batch, std::span<float> output) {
    const Status status = inside();
    if (!status.ok()) said.push_back(status.ToString());
    return Subtract(batch, output);
  });
  const auto told = [&](std::function<Status()> what) {
    inside = std::move(what);
    said.clear();
    CHECK(Rows(*session, "SELECT predict('scores', '[3,1]')") == "[[2]]");
    return said.empty() ? std::string() : said.front();
  };
  const std::string refused = "inside a runtime's callback";
  CHECK(told([&] { return core->BeginWrite().status(); }).find(refused) != std::string::npos);
  CHECK(told([&] { return core->CreateCollection("late"); }).find(refused) != std::string::npos);
  CHECK(told([&] { return core->WaitEmbedded(std::chrono::seconds(1), {}); }).find(refused) != std::string::npos);
  CHECK(told([&] { return core->models().Unregister("scores"); }).find(refused) != std::string::npos);
  CHECK(told([&] { return core->models().Remove("scores"); }).find(refused) != std::string::npos);
  CHECK(told([&] { return core->models().Register("third", kScores, Subtract).status(); }).find(refused) !=
        std::string::npos);
  CHECK(told([&] { return core->models().Predict("scores", "[1,2]").status(); }).find("asked for the model itself") !=
        std::string::npos);
  // Reading, and another model, are fine.
  SqlSessions second(*core);
  CHECK(told([&] {
          CHECK(Rows(second, "SELECT count(*) FROM points") == "20");
          CHECK(core->models().Predict("other", "[5,1]").value() == "[[4]]");
          return Status::Ok();
        }).empty());
  // Also while the statement around holds the write lock.
  inside = [&] {
    CHECK(Rows(second, "SELECT count(*) FROM points") == "20");
    return core->BeginWrite(std::chrono::seconds(60)).status();
  };
  said.clear();
  CHECK(Rows(*session, "UPDATE points SET a = predict('scores', x) ->> '$[0][0]' WHERE id = 'p03'").empty());
  CHECK(said.size() == 1);
  CHECK(Rows(*session, "SELECT a FROM points WHERE id = 'p03'") == "2.5");
}

TEST_CASE_FIXTURE(RuntimeFixture, "runtime: unregistering waits for the call that runs, and no other begins") {
  std::atomic<bool> is_inside = false;
  std::atomic<bool> may_go = false;
  std::atomic<bool> is_unregistered = false;
  Register("scores", kScores, [&](const RuntimeBatch& batch, std::span<float> output) {
    is_inside = true;
    while (!may_go) std::this_thread::yield();
    CHECK_FALSE(is_unregistered.load());
    return Subtract(batch, output);
  });
  const auto model = core->models().LoadNumbers("scores");
  REQUIRE(model.ok());
  std::thread caller([&] { CHECK((*model)->Predict("[3,1]", nullptr).value() == "[[2]]"); });
  while (!is_inside) std::this_thread::yield();
  std::thread ender([&] {
    CHECK(core->models().Unregister("scores").ok());
    is_unregistered = true;
  });
  may_go = true;
  caller.join();
  ender.join();
  CHECK(Says((*model)->Predict("[3,1]", nullptr).status(), ErrorCode::kUnsupported, "was unregistered"));
}

TEST_CASE_FIXTURE(RuntimeFixture, "runtime: calls take turns unless it says that it is concurrent") {
  std::atomic<int> running = 0;
  std::atomic<int> running_max = 0;
  std::atomic<int> met = 0;
  const RuntimeCallback count = [&](const RuntimeBatch& batch, std::span<float> output) {
    const int now = ++running;
    for (int seen = running_max; seen < now && !running_max.compare_exchange_weak(seen, now);) {
    }
    ++met;
    // The concurrent ones wait for each other.
    while (batch.values[0] == 9 && met < 2) std::this_thread::yield();
    const Status status = Subtract(batch, output);
    --running;
    return status;
  };
  RuntimeOptions options = kScores;
  const auto both = [&](const char* input) {
    running_max = met = 0;
    const auto call = [&] { CHECK(core->models().Predict("scores", input).ok()); };
    std::thread first(call);
    std::thread second(call);
    first.join();
    second.join();
  };
  Register("scores", options, count);
  for (int i = 0; i < 50; ++i) both("[1,1]");
  CHECK(running_max == 1);
  options.is_concurrent = true;
  Register("scores", options, count);
  both("[9,1]");
  CHECK(running_max == 2);
}

TEST_CASE_FIXTURE(RuntimeFixture, "runtime: what no runtime can be is refused, and nothing is stored") {
  const auto failure = [&](const std::string& name, RuntimeOptions options, RuntimeCallback callback = Subtract) {
    return core->models().Register(name, options, std::move(callback)).status();
  };
  const auto invalid = ErrorCode::kInvalidArgument;
  CHECK(Says(failure("x y", kScores), invalid, "x y"));
  CHECK(Says(failure("x", kScores, nullptr), invalid, "callback"));
  CHECK(Says(failure("x", {.version = "", .dimension = 3}), invalid, "version"));
  CHECK(Says(failure("x", {.version = std::string(129, 'v'), .dimension = 3}), invalid, "version"));
  CHECK(Says(failure("x", {.version = "1", .dimension = 1}), invalid, "dimension 1"));
  CHECK(Says(failure("x", {.version = "1", .dimension = 4097}), invalid, "dimension 4097"));
  CHECK(Says(failure("x", {.version = "1", .dimension = 3, .input_shape = {2}}), invalid, "one or the other"));
  CHECK(Says(failure("x", {.version = "1", .input_shape = {2}}), invalid, "output shape []"));
  CHECK(Says(failure("x", {.version = "1", .input_shape = {0}, .output_shape = {1}}), invalid, "input shape [0]"));
  CHECK(Says(failure("x", {.version = "1", .input_shape = {INT64_MAX, 2}, .output_shape = {1}}), invalid, "input"));
  CHECK(Says(failure("x", {.version = "1", .dimension = 3, .row_count_max = 0}), invalid, "0 rows"));
  CHECK(core->models().List()->empty());
  REQUIRE(core->models().Add("tiny", FORESHORE_GOLDEN_DIR "/bert_tiny", ModelImportOptions()).ok());
  CHECK(Says(failure("tiny", kScores), ErrorCode::kAlreadyExists, "bert"));
}
