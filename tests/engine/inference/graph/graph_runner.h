// Makes a graph of what OnnxWriter wrote and runs it, in one line of a test.
#pragma once

#include <cstring>
#include <string>
#include <utility>
#include <vector>

#include "engine/inference/graph/graph_executor.h"
#include "tests/engine/inference/onnx_writer.h"

namespace foreshore::graph {

template <typename T>
constexpr OnnxType TypeOf() {
  if constexpr (std::is_same_v<T, float>) return OnnxType::kFloat;
  if constexpr (std::is_same_v<T, double>) return OnnxType::kDouble;
  if constexpr (std::is_same_v<T, std::int64_t>) return OnnxType::kInt64;
  if constexpr (std::is_same_v<T, std::int32_t>) return OnnxType::kInt32;
  if constexpr (std::is_same_v<T, std::int8_t>) return OnnxType::kInt8;
  if constexpr (std::is_same_v<T, bool>) return OnnxType::kBool;
  return OnnxType::kUint8;
}

template <typename T>
OwnedTensor Make(Shape shape, const std::vector<T>& values) {
  auto tensor = MakeTensor({TypeOf<T>(), std::move(shape)}, 1 << 20);
  if (!values.empty()) std::memcpy(tensor->bytes.get(), values.data(), values.size() * sizeof(T));
  return std::move(tensor).value();
}

template <typename T>
std::vector<T> Values(const OwnedTensor& tensor) {
  const T* first = tensor.ref().as<T>();
  return std::vector<T>(first, first + tensor.ref().count());
}

inline Result<std::vector<OwnedTensor>> RunGraph(const ByteString& file, const std::vector<OwnedTensor>& inputs,
                                                 const GraphLimits& limits = {}) {
  FORESHORE_ASSIGN_OR_RETURN(OnnxModel model, ReadOnnx("m.onnx", file));
  FORESHORE_ASSIGN_OR_RETURN(const Graph graph, Graph::Build("m.onnx", std::move(model), limits));
  GraphExecutor executor(graph);
  std::vector<TensorRef> refs;
  for (const OwnedTensor& input : inputs) refs.push_back(input.ref());
  return executor.Run(refs);
}

}  // namespace foreshore::graph
