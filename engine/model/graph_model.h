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
#include "storage/base/cancellation.h"
#include "storage/base/file.h"

namespace foreshore {

class GraphModel {
 public:
  // `name` is what messages call the model; `file` is an ONNX file.
  static Result<std::shared_ptr<GraphModel>> Open(const std::string& name, std::unique_ptr<MappedFile> file);

  // Takes {"input name": values, …}, or the values alone where the graph has one input. Values are numbers nested as
  // the tensor is, or a flat list that fills the declared shape, with at most one open size. Gives the values nested,
  // or {"output name": values, …} where the graph has several outputs; what is no finite number is null.
  // Instead of JSON, a tensor as bytes (graph/tensor_blob.h) for a graph with one input.
  // `cancellation`, which may be null, is asked while the call waits for its turn and while it runs.
  Result<std::string> Predict(std::string_view input_json, Cancellation* cancellation = nullptr);

  // What Predict() makes of its input, one for each of the graph's.
  Result<std::vector<graph::OwnedTensor>> ReadInputs(std::string_view input) const;
  const graph::Graph& graph() const { return graph_; }

  // How many numbers a row of the one float input has, where its first size is open and the others are known, and the
  // graph has one float output: such a graph takes many rows in one call. Absent for any other graph.
  std::optional<std::size_t> row_width() const;
  // `rows` rows side by side; appends to `out` the output's numbers, as many for each row, and says how many.
  // kUnsupported where the output's first size is not `rows`.
  Result<std::size_t> PredictRows(std::span<const float> values, std::size_t rows, std::vector<float>& out,
                                  Cancellation* cancellation = nullptr);

 private:
  // Runs when its turn has come.
  Result<std::vector<graph::OwnedTensor>> Run(std::span<const graph::TensorRef> inputs, Cancellation* cancellation);

  GraphModel(std::unique_ptr<MappedFile> file, graph::Graph graph)
      : file_(std::move(file)), graph_(std::move(graph)), executor_(graph_) {}

  std::unique_ptr<MappedFile> file_;
  graph::Graph graph_;
  std::timed_mutex mutex_;
  graph::GraphExecutor executor_;  // Guarded by mutex_.
};

}  // namespace foreshore
