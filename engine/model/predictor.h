// A model, or one of its adapters, of known weights, for predictions of many inputs: those of one statement, and those
// that an index keeps.
//
// Lifetime: keeps what it loaded. Threads: safe from any thread.
#pragma once

#include <memory>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "engine/model/model_pin.h"
#include "engine/model/model_registry.h"

namespace foreshore {

class RowBatch;

// What a text model makes of predict()'s input: a JSON string, or {"text": string}. `where` begins messages.
Result<std::string> PredictText(const std::string& where, TextModel& model, std::string_view input_json);

class Predictor {
 public:
  // One of the two is null. `costs` outlives it.
  Predictor(ModelPin pin, std::shared_ptr<NumberModel> numbers, std::shared_ptr<TextModel> texts, bool is_runtime,
            InferenceCosts& costs)
      : pin_(std::move(pin)),
        numbers_(std::move(numbers)),
        texts_(std::move(texts)),
        is_runtime_(is_runtime),
        costs_(costs) {}

  // All its answers are of these weights.
  const ModelPin& pin() const { return pin_; }
  bool takes_text() const { return texts_ != nullptr; }
  const std::shared_ptr<NumberModel>& numbers() const { return numbers_; }  // Null for a text model.

  // As predict() does. `cancellation` may be null.
  Result<std::string> Predict(std::string_view input_json, Cancellation* cancellation) const;
  // The same for each input, many in a call of the model where its rows know nothing of each other. An input that does
  // not fit the model is an error of its own; the call fails where the model cannot run, or is told to stop.
  Status PredictAll(std::span<const std::string> inputs, std::vector<Result<std::string>>& results,
                    Cancellation* cancellation) const;

 private:
  // Whether it is the input's fault, and so will be the same the next time.
  bool IsOfInput(const Status& status) const;
  // Leave alone those that they cannot do. The first: arrays of floats.
  void PredictRows(std::span<const std::string> inputs, std::vector<Result<std::string>>& results,
                   std::vector<bool>& is_done, Cancellation* cancellation) const;
  void PredictGathered(RowBatch& rows, std::span<const std::string> inputs, std::vector<Result<std::string>>& results,
                       std::vector<bool>& is_done, Cancellation* cancellation) const;

  ModelPin pin_;
  std::shared_ptr<NumberModel> numbers_;  // Shared with the registry.
  std::shared_ptr<TextModel> texts_;      // The same.
  bool is_runtime_;
  InferenceCosts& costs_;
};

}  // namespace foreshore
