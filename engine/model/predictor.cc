#include "engine/model/predictor.h"

#include "engine/document/json.h"
#include "engine/document/json_floats.h"
#include "engine/model/row_batch.h"
#include "engine/model/tensor_json.h"

namespace foreshore {
namespace {

constexpr std::size_t kRowsInCall = 256;

}  // namespace

Result<std::string> PredictText(const std::string& where, TextModel& model, std::string_view input_json) {
  FORESHORE_ASSIGN_OR_RETURN(const std::string input, NormaliseValue(input_json));
  std::string_view token = input;
  if (!input.empty() && input.front() == '{') token = FindValue(input, "text");
  if (token.empty() || token.front() != '"') {
    return Status::InvalidArgument(where + ": input is " + input.substr(0, 40) +
                                   ", expected a string or {\"text\": string}");
  }
  FORESHORE_ASSIGN_OR_RETURN(const std::string text, UnescapeString(token));
  std::vector<float> embedding(model.info().dimension);
  const std::string_view texts[] = {text};
  FORESHORE_RETURN_IF_ERROR(model.Embed(texts, embedding));
  std::string out = "{\"embedding\":[";
  char digits[kFloatCharsMax];
  for (std::size_t i = 0; i < embedding.size(); ++i) {
    if (i > 0) out.push_back(',');
    out.append(digits, WriteFloat(digits, embedding[i]));
  }
  out += "]}";
  return out;
}

// A callback may fail today and not tomorrow, or be gone.
bool Predictor::IsOfInput(const Status& status) const {
  if (status.code() == ErrorCode::kInvalidArgument) return true;
  return !is_runtime_ && (status.code() == ErrorCode::kLimit || status.code() == ErrorCode::kUnsupported);
}

Result<std::string> Predictor::Predict(std::string_view input_json, Cancellation* cancellation) const {
  InferenceTimer timer(costs_, pin_.model, 1);
  auto result = numbers_ ? numbers_->Predict(input_json, cancellation)
                         : PredictText("model \"" + pin_.model + "\"", *texts_, input_json);
  if (!result.ok()) timer.Cancel();
  return result;
}

void Predictor::PredictRows(std::span<const std::string> inputs, std::vector<Result<std::string>>& results,
                            std::vector<bool>& is_done, Cancellation* cancellation) const {
  const std::size_t width = *numbers_->row_width();
  std::vector<float> values;
  std::vector<std::size_t> places;
  RowOutput out;
  for (std::size_t begin = 0; begin < inputs.size();) {
    values.clear();
    places.clear();
    for (; begin < inputs.size() && places.size() < kRowsInCall; ++begin) {
      values.resize(values.size() + width);
      if (ReadFloatArray(inputs[begin], std::span(values).last(width))) {
        places.push_back(begin);
      } else {
        values.resize(values.size() - width);
      }
    }
    if (places.empty()) continue;
    InferenceTimer timer(costs_, pin_.model, places.size());
    // One row that the model cannot take fails all of them: then each is asked for by itself.
    if (!numbers_->PredictRows(values, places.size(), out, cancellation).ok()) {
      timer.Cancel();
      continue;
    }
    for (std::size_t i = 0; i < places.size(); ++i) {
      std::string text = "[";
      AppendRowJson(out.shape, out.values.data() + i * out.width, text);
      results[places[i]] = text + "]";
      is_done[places[i]] = true;
    }
  }
}

void Predictor::PredictGathered(RowBatch& rows, std::span<const std::string> inputs,
                                std::vector<Result<std::string>>& results, std::vector<bool>& is_done,
                                Cancellation* cancellation) const {
  std::vector<std::size_t> places;
  for (std::size_t next = 0; next < inputs.size();) {
    rows.Clear();
    places.clear();
    for (; next < inputs.size() && rows.row_count() < rows.rows_in_call(); ++next) {
      const std::string& input = inputs[next];
      const bool is_object = input.starts_with('{');
      // Of one input alone; a tensor gains nothing by being copied to others.
      if (!is_object && (rows.inputs().size() > 1 || !input.starts_with('['))) continue;
      Status read = is_object ? rows.AddObject(input) : rows.AddJson(0, input);
      if (read.ok()) read = rows.EndRow();
      if (read.ok()) {
        places.push_back(next);
      } else {
        rows.DropRow();
      }
    }
    if (places.empty()) continue;
    InferenceTimer timer(costs_, pin_.model, places.size());
    if (!rows.Run(cancellation).ok()) {
      timer.Cancel();
      continue;
    }
    for (std::size_t i = 0; i < places.size(); ++i) {
      std::string text;
      if (!rows.AppendPrediction(i, text).ok()) continue;
      results[places[i]] = std::move(text);
      is_done[places[i]] = true;
    }
  }
}

Status Predictor::PredictAll(std::span<const std::string> inputs, std::vector<Result<std::string>>& results,
                             Cancellation* cancellation) const {
  results.assign(inputs.size(), std::string());
  std::vector<bool> is_done(inputs.size(), false);
  if (numbers_ && numbers_->row_width() && numbers_->has_independent_rows()) {
    PredictRows(inputs, results, is_done, cancellation);
  } else if (numbers_ && inputs.size() > 1) {
    RowBatch rows(numbers_);
    if (rows.rows_in_call() > 1) PredictGathered(rows, inputs, results, is_done, cancellation);
  }
  for (std::size_t i = 0; i < inputs.size(); ++i) {
    if (is_done[i]) continue;
    if (cancellation != nullptr) FORESHORE_RETURN_IF_ERROR(cancellation->Check());
    results[i] = Predict(inputs[i], cancellation);
    if (!results[i].ok() && !IsOfInput(results[i].status())) return results[i].status();
  }
  return Status::Ok();
}

}  // namespace foreshore
