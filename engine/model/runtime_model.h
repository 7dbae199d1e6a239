// Models that a registered callback runs, as the rest of the library sees models.
//
// Lifetime: shares the runtime, which may be retired meanwhile. Threads: safe from any thread.
#pragma once

#include <memory>

#include "engine/inference/graph/graph.h"
#include "engine/model/model_registry.h"
#include "engine/model/runtime.h"

namespace foreshore {

class RuntimeTextModel : public TextModel {
 public:
  RuntimeTextModel(ModelInfo info, std::shared_ptr<Runtime> runtime)
      : info_(std::move(info)), runtime_(std::move(runtime)) {}
  const ModelInfo& info() const override { return info_; }
  Status Embed(std::span<const std::string_view> texts, std::span<float> out) override;

 private:
  ModelInfo info_;
  std::shared_ptr<Runtime> runtime_;
};

// One input of [rows, …] and one output of [rows, …], as those of a graph with an open first size.
class RuntimeNumberModel : public NumberModel {
 public:
  RuntimeNumberModel(const std::string& name, std::shared_ptr<Runtime> runtime);
  std::span<const graph::GraphPort> inputs() const override { return {&input_, 1}; }
  std::span<const graph::GraphPort> outputs() const override { return {&output_, 1}; }
  Result<std::vector<graph::OwnedTensor>> Run(std::span<const graph::TensorRef> inputs,
                                              Cancellation* cancellation) override;
  Result<std::string> Predict(std::string_view input_json, Cancellation* cancellation) override;
  std::optional<std::size_t> row_width() const override { return runtime_->input_width(); }
  Status PredictRows(std::span<const float> values, std::size_t rows, RowOutput& out,
                     Cancellation* cancellation) override;
  bool has_independent_rows() const override { return true; }
  bool is_runtime() const override { return true; }

 private:
  std::string where_;
  std::shared_ptr<Runtime> runtime_;
  graph::GraphPort input_;
  graph::GraphPort output_;
};

}  // namespace foreshore
