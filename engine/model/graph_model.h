// A general ONNX graph opened for use: numbers in, numbers out, both as JSON.
//
// Lifetime: owns the mapped file that the graph borrows from. Threads: safe from any thread; calls take turns, because
// they share one arena.
#pragma once

#include <memory>
#include <mutex>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "engine/inference/graph/graph_executor.h"
#include "engine/inference/graph/row_independence.h"
#include "engine/model/model_registry.h"
#include "storage/base/cancellation.h"
#include "storage/base/file.h"

namespace foreshore {

class GraphModel : public NumberModel {
 public:
  // `name` is what messages call the model; `file` is an ONNX file.
  static Result<std::shared_ptr<GraphModel>> Open(const std::string& name, std::unique_ptr<MappedFile> file);

  // Also takes a tensor as bytes (graph/tensor_blob.h) instead of JSON, for a graph with one input.
  Result<std::string> Predict(std::string_view input, Cancellation* cancellation) override;
  std::optional<std::size_t> row_width() const override;
  Status PredictRows(std::span<const float> values, std::size_t rows, RowOutput& out,
                     Cancellation* cancellation) override;
  bool has_independent_rows() const override { return has_independent_rows_; }

  // What Predict() makes of its input, one for each of the graph's.
  Result<std::vector<graph::OwnedTensor>> ReadInputs(std::string_view input) const;
  const graph::Graph& graph() const { return graph_; }

 private:
  // Runs when its turn has come.
  Result<std::vector<graph::OwnedTensor>> Run(std::span<const graph::TensorRef> inputs, Cancellation* cancellation);

  GraphModel(std::unique_ptr<MappedFile> file, graph::Graph graph)
      : file_(std::move(file)),
        graph_(std::move(graph)),
        has_independent_rows_(graph::HasIndependentRows(graph_)),
        executor_(graph_) {}

  std::unique_ptr<MappedFile> file_;
  graph::Graph graph_;
  bool has_independent_rows_;
  std::timed_mutex mutex_;
  graph::GraphExecutor executor_;  // Guarded by mutex_.
};

}  // namespace foreshore
