#include "engine/inference/graph/onnx_file.h"

#include <utility>

#include "storage/base/coding.h"

namespace foreshore::graph {

namespace {

void PutInt(ByteString& out, std::uint32_t field, std::int64_t value) {
  AppendVarint(out, field << 3);
  AppendVarint(out, static_cast<std::uint64_t>(value));
}
void PutBytes(ByteString& out, std::uint32_t field, Bytes bytes) {
  AppendVarint(out, field << 3 | 2);
  AppendPrefixed(out, bytes);
}
void PutFloat(ByteString& out, std::uint32_t field, float value) {
  AppendVarint(out, field << 3 | 5);
  AppendFixed(out, value);
}

ByteString TensorBytes(std::string_view name, OnnxType type, const Shape& shape, Bytes raw) {
  ByteString out;
  for (const std::int64_t size : shape) PutInt(out, 1, size);
  PutInt(out, 2, static_cast<std::int64_t>(type));
  PutBytes(out, 8, name);
  PutBytes(out, 9, raw);
  return out;
}

ByteString AttributeBytes(const OnnxAttribute& attribute) {
  enum Type : std::int64_t { kFloat = 1, kInt = 2, kString = 3, kTensor = 4, kFloats = 6, kInts = 7, kStrings = 8 };
  ByteString out;
  PutBytes(out, 1, attribute.name);
  std::int64_t type = attribute.type;
  // Attributes that the optimiser made say no type.
  if (type == 0) type = attribute.f != 0 ? kFloat : kInt;
  if (type == kFloat) PutFloat(out, 2, attribute.f);
  if (type == kInt) PutInt(out, 3, attribute.i);
  if (type == kString) PutBytes(out, 4, attribute.s);
  for (const OnnxTensor& tensor : attribute.tensors) {
    PutBytes(out, type == kTensor ? 5 : 10,
             TensorBytes(tensor.name, tensor.type, Shape(tensor.dims.begin(), tensor.dims.end()), tensor.bytes()));
  }
  for (const float value : attribute.floats) PutFloat(out, 7, value);
  for (const std::int64_t value : attribute.ints) PutInt(out, 8, value);
  for (const Bytes value : attribute.strings) PutBytes(out, 9, value);
  PutInt(out, 20, type);
  return out;
}

ByteString ValueInfoBytes(std::string_view name, OnnxType type, bool has_shape, const Shape& shape) {
  ByteString tensor;
  PutInt(tensor, 1, static_cast<std::int64_t>(type));
  ByteString sizes;
  for (const std::int64_t size : shape) {
    ByteString dimension;
    if (size >= 0) PutInt(dimension, 1, size);
    PutBytes(sizes, 1, dimension);
  }
  if (has_shape) PutBytes(tensor, 2, sizes);
  ByteString kind;
  PutBytes(kind, 1, tensor);
  ByteString out;
  PutBytes(out, 1, name);
  PutBytes(out, 2, kind);
  return out;
}

}  // namespace

void OnnxFile::AddNode(std::string_view op, std::string_view name, const std::vector<std::string>& inputs,
                       const std::vector<std::string>& outputs, const std::vector<OnnxAttribute>& attributes) {
  ByteString node;
  for (const std::string& input : inputs) PutBytes(node, 1, input);
  for (const std::string& output : outputs) PutBytes(node, 2, output);
  PutBytes(node, 3, name);
  PutBytes(node, 4, op);
  for (const OnnxAttribute& attribute : attributes) PutBytes(node, 5, AttributeBytes(attribute));
  PutBytes(graph_, 1, node);
}

void OnnxFile::AddInitializer(std::string_view name, const TensorRef& tensor) {
  const auto size = static_cast<std::size_t>(tensor.count()) * OnnxTypeBytes(tensor.info->type);
  PutBytes(
      graph_, 5,
      TensorBytes(name, tensor.info->type, tensor.info->shape, {reinterpret_cast<const char*>(tensor.data), size}));
}

void OnnxFile::AddInput(std::string_view name, OnnxType type, bool has_shape, const Shape& shape) {
  PutBytes(graph_, 11, ValueInfoBytes(name, type, has_shape, shape));
}

void OnnxFile::AddOutput(std::string_view name, OnnxType type, bool has_shape, const Shape& shape) {
  PutBytes(graph_, 12, ValueInfoBytes(name, type, has_shape, shape));
}

ByteString OnnxFile::Finish(std::int64_t opset) const {
  ByteString operator_set;
  PutInt(operator_set, 2, opset);
  ByteString model;
  PutInt(model, 1, 7);  // The format's version.
  PutBytes(model, 2, "foreshore");
  PutBytes(model, 7, graph_);
  PutBytes(model, 8, operator_set);
  return model;
}

}  // namespace foreshore::graph
