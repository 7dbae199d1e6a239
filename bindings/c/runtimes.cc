// Models that the application runs itself.
#include "bindings/c/call.h"
#include "bindings/json/reports.h"

using foreshore::RuntimeBatch;
using foreshore::RuntimeOptions;
using foreshore::Status;
using foreshore::c::Call;
using foreshore::c::CopyOut;
using foreshore::c::OrEmpty;
using foreshore::c::ReadOptions;
using foreshore::c::Required;

namespace {

// The application's function with the batch in C's terms.
Status RunCallback(foreshore_runtime_callback callback, void* context, const RuntimeBatch& batch,
                   std::span<float> output) {
  // C's texts end in NUL, which views need not.
  std::vector<std::string> copies(batch.texts.begin(), batch.texts.end());
  std::vector<const char*> texts;
  std::vector<size_t> text_bytes;
  for (const std::string& text : copies) {
    texts.push_back(text.c_str());
    text_bytes.push_back(text.size());
  }
  foreshore_runtime_batch shown{};
  shown.row_count = batch.row_count;
  shown.texts = texts.empty() ? nullptr : texts.data();
  shown.text_bytes = texts.empty() ? nullptr : text_bytes.data();
  shown.values = batch.values.empty() ? nullptr : batch.values.data();
  shown.value_count = batch.values.size();
  foreshore_error error{};
  const int32_t code = callback(&shown, output.data(), output.size(), &error, context);
  if (code == FORESHORE_OK) return Status::Ok();
  error.message[sizeof error.message - 1] = '\0';
  const std::string words = error.message[0] == '\0' ? "gave no reason" : error.message;
  if (code < FORESHORE_OK || code > FORESHORE_INTERNAL) {
    return Status::Internal(words + " (code " + std::to_string(code) + ", expected one of foreshore's)");
  }
  return Status(static_cast<foreshore::ErrorCode>(code), words);
}

}  // namespace

int32_t foreshore_runtime_register(foreshore_database* database, const char* model,
                                   const foreshore_runtime_options* options, foreshore_runtime_callback callback,
                                   void* context, char** json, foreshore_error* error) {
  return Call(error, [&]() -> Status {
    FORESHORE_RETURN_IF_ERROR(Required(database, "database", model, "model", options, "options"));
    if (callback == nullptr) return foreshore::c::Require(nullptr, "callback");
    FORESHORE_ASSIGN_OR_RETURN(const auto given, ReadOptions(options, "foreshore_runtime_options"));
    RuntimeOptions wanted;
    wanted.version = OrEmpty(given.version);
    wanted.dimension = given.dimension;
    if (given.input_rank > 0) FORESHORE_RETURN_IF_ERROR(Required(given.input_shape, "input_shape"));
    if (given.output_rank > 0) FORESHORE_RETURN_IF_ERROR(Required(given.output_shape, "output_shape"));
    constexpr size_t kRankMax = 64;  // Far more than a runtime takes, which says so itself.
    wanted.input_shape.assign(given.input_shape, given.input_shape + std::min(given.input_rank, kRankMax));
    wanted.output_shape.assign(given.output_shape, given.output_shape + std::min(given.output_rank, kRankMax));
    if (given.row_count_max != 0) wanted.row_count_max = given.row_count_max;
    wanted.is_concurrent = given.is_concurrent != 0;
    FORESHORE_ASSIGN_OR_RETURN(
        const auto info, database->database->RegisterRuntime(
                             model, wanted, [callback, context](const RuntimeBatch& batch, std::span<float> output) {
                               return RunCallback(callback, context, batch, output);
                             }));
    return json == nullptr ? Status::Ok() : CopyOut(foreshore::ModelJson(info), json);
  });
}

int32_t foreshore_runtime_unregister(foreshore_database* database, const char* model, foreshore_error* error) {
  return Call(error, [&]() -> Status {
    FORESHORE_RETURN_IF_ERROR(Required(database, "database", model, "model"));
    return database->database->UnregisterRuntime(model);
  });
}
