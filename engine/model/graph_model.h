// A general ONNX graph opened for use: numbers in, numbers out, both as JSON.
//
// Lifetime: owns the mapped files that the graph borrows from. Threads: safe from any thread; calls take turns, because
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
#include "storage/blob_store.h"

namespace foreshore {

class GraphModel : public NumberModel {
 public:
  // Where the graph's constants are mapped from, as graph/constant_store.h lays them out. The file is derived: made
  // where it is missing, damaged or another's. Where it cannot be written, constants are kept in memory.
  struct Packing {
    std::string path;
    BlobId source;  // The hash of `file`.
  };
  // `name` is what messages call the model; `file` is an ONNX file. Without `packing` constants are kept in memory, as
  // those of small graphs are.
  static Result<std::shared_ptr<GraphModel>> Open(const std::string& name, std::unique_ptr<MappedFile> file,
                                                  const std::optional<Packing>& packing = std::nullopt);

  std::span<const graph::GraphPort> inputs() const override { return graph_.inputs(); }
  std::span<const graph::GraphPort> outputs() const override { return graph_.outputs(); }
  // Runs when its turn has come.
  Result<std::vector<graph::OwnedTensor>> Run(std::span<const graph::TensorRef> inputs,
                                              Cancellation* cancellation) override;
  // Also takes a tensor as bytes (graph/tensor_blob.h) instead of JSON, for a graph with one input.
  Result<std::string> Predict(std::string_view input, Cancellation* cancellation) override;
  std::optional<std::size_t> row_width() const override;
  Status PredictRows(std::span<const float> values, std::size_t rows, RowOutput& out,
                     Cancellation* cancellation) override;
  bool has_independent_rows() const override { return has_independent_rows_; }
  std::string fusions() const override { return graph_.fusions().Text(); }

  // What Predict() makes of its input, one for each of the graph's.
  Result<std::vector<graph::OwnedTensor>> ReadInputs(std::string_view input) const;
  const graph::Graph& graph() const { return graph_; }

 private:
  GraphModel(std::unique_ptr<MappedFile> file, std::unique_ptr<MappedFile> packed, graph::Graph graph)
      : file_(std::move(file)),
        packed_(std::move(packed)),
        graph_(std::move(graph)),
        has_independent_rows_(graph::HasIndependentRows(graph_)),
        executor_(graph_) {}

  std::unique_ptr<MappedFile> file_;
  std::unique_ptr<MappedFile> packed_;  // Null where constants are in memory.
  graph::Graph graph_;
  bool has_independent_rows_;
  std::timed_mutex mutex_;
  graph::GraphExecutor executor_;  // Guarded by mutex_.
};

}  // namespace foreshore
