// A general ONNX graph opened for use: numbers in, numbers out, both as JSON.
//
// Lifetime: owns the mapped file that the graph borrows from. Threads: safe from any thread; calls take turns, because
// they share one arena.
#pragma once

#include <memory>
#include <mutex>
#include <string>
#include <string_view>

#include "engine/inference/graph/graph_executor.h"
#include "storage/base/file.h"

namespace foreshore {

class GraphModel {
 public:
  // `name` is what messages call the model; `file` is an ONNX file.
  static Result<std::shared_ptr<GraphModel>> Open(const std::string& name, std::unique_ptr<MappedFile> file);

  // Takes {"input name": values, …}, or the values alone where the graph has one input. Values are numbers nested as
  // the tensor is, or a flat list that fills the declared shape, with at most one open size. Gives the values nested,
  // or
  // {"output name": values, …} where the graph has several outputs; what is no finite number is null.
  Result<std::string> Predict(std::string_view input_json);

 private:
  GraphModel(std::unique_ptr<MappedFile> file, graph::Graph graph)
      : file_(std::move(file)), graph_(std::move(graph)), executor_(graph_) {}

  std::unique_ptr<MappedFile> file_;
  graph::Graph graph_;
  std::mutex mutex_;
  graph::GraphExecutor executor_;  // Guarded by mutex_.
};

}  // namespace foreshore
