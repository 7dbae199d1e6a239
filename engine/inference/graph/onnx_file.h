// Writes ONNX files: the wire format of ModelProto, as far as onnx_reader.h reads it.
//
// Threads: one writer, one thread.
#pragma once

#include <string>
#include <string_view>
#include <vector>

#include "engine/inference/graph/tensor_value.h"
#include "engine/inference/onnx_reader.h"

namespace foreshore::graph {

class OnnxFile {
 public:
  // Attributes that hold graphs are not written.
  void AddNode(std::string_view op, std::string_view name, const std::vector<std::string>& inputs,
               const std::vector<std::string>& outputs, const std::vector<OnnxAttribute>& attributes = {});
  void AddInitializer(std::string_view name, const TensorRef& tensor);
  // Sizes of -1 are open.
  void AddInput(std::string_view name, OnnxType type, bool has_shape, const Shape& shape);
  void AddOutput(std::string_view name, OnnxType type, bool has_shape, const Shape& shape);
  ByteString Finish(std::int64_t opset) const;

 private:
  ByteString graph_;
};

}  // namespace foreshore::graph
