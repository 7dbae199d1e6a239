// Reader of ONNX files: the Protobuf wire format of ModelProto, by hand, over borrowed bytes.
//
// Field numbers follow onnx.proto of https://github.com/onnx/onnx (IR version 3 and later) and the wire format
// https://protobuf.dev/programming-guides/encoding. Unknown fields are skipped. Graphs inside attributes (If, Loop)
// are read to a fixed depth.
//
// Lifetime: names and raw tensor bytes point into the bytes that were given. Threads: a pure function.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "foreshore/bytes.h"
#include "foreshore/status.h"

namespace foreshore {

// TensorProto.DataType. Others exist; a tensor of one has no bytes here.
enum class OnnxType : std::int32_t {
  kUndefined = 0,
  kFloat = 1,
  kUint8 = 2,
  kInt8 = 3,
  kUint16 = 4,
  kInt16 = 5,
  kInt32 = 6,
  kInt64 = 7,
  kString = 8,
  kBool = 9,
  kFloat16 = 10,
  kDouble = 11,
  kUint32 = 12,
  kUint64 = 13,
  kBfloat16 = 16,
};
// Bytes of one element; 0 for a type without a fixed size.
std::size_t OnnxTypeBytes(OnnxType type);

// Invariant: bytes().size() == product of dims · OnnxTypeBytes(type) where the type has a fixed size.
class OnnxTensor {
 public:
  std::string_view name;
  OnnxType type = OnnxType::kUndefined;
  std::vector<std::uint64_t> dims;

  // Little-endian elements in row-major order, without alignment.
  Bytes bytes() const { return is_decoded_ ? Bytes(decoded_) : raw_; }
  std::uint64_t element_count() const;

  void SetRaw(Bytes raw) { raw_ = raw; }
  // Elements that the file holds as float_data, int32_data or int64_data.
  void SetDecoded(ByteString decoded) {
    decoded_ = std::move(decoded);
    is_decoded_ = true;
  }

 private:
  Bytes raw_;
  ByteString decoded_;
  bool is_decoded_ = false;
};

struct OnnxGraphBody;

struct OnnxAttribute {
  std::string_view name;
  std::int64_t type = 0;  // AttributeProto.AttributeType.
  float f = 0.0F;
  std::int64_t i = 0;
  Bytes s;
  std::vector<float> floats;
  std::vector<std::int64_t> ints;
  std::vector<Bytes> strings;
  std::vector<OnnxTensor> tensors;  // `t` or `tensors`.
  bool holds_graph = false;
  std::vector<OnnxGraphBody> graphs;  // `g` or `graphs`.
};

struct OnnxNode {
  std::string_view name;
  std::string_view op_type;
  std::string_view domain;  // "" for ONNX's own operators, also where the file says "ai.onnx".
  std::vector<std::string_view> inputs;
  std::vector<std::string_view> outputs;
  std::vector<OnnxAttribute> attributes;

  const OnnxAttribute* Attribute(std::string_view attribute_name) const;
  std::int64_t IntAttribute(std::string_view attribute_name, std::int64_t absent) const;
  float FloatAttribute(std::string_view attribute_name, float absent) const;
};

struct OnnxValueInfo {
  std::string_view name;
  OnnxType type = OnnxType::kUndefined;
  bool has_shape = false;
  std::vector<std::int64_t> dims;  // -1 where the size is open.
};

// A graph, the file's own or one inside a node; the latter's nodes may use values of the graphs around it by name.
struct OnnxGraphBody {
  std::vector<OnnxNode> nodes;
  std::vector<OnnxTensor> initializers;
  std::vector<OnnxValueInfo> inputs;
  std::vector<OnnxValueInfo> outputs;
};

struct OnnxModel : OnnxGraphBody {
  std::string_view producer;
  std::vector<std::pair<std::string_view, std::int64_t>> opsets;  // Domain and version.
  std::vector<std::pair<std::string_view, std::string_view>> metadata;

  // The version of ONNX's own operators; 0 where the file names none.
  std::int64_t opset_version() const;
};

// Limits of design section 8, and of this reader.
inline constexpr std::size_t kOnnxNodesMax = 65'536;  // Of all graphs of a file.
inline constexpr std::size_t kOnnxGraphDepthMax = 8;  // Graphs inside graphs; the file's own is the first.
inline constexpr std::size_t kOnnxListMax = 4'096;    // Inputs, outputs, attributes and ints of one node.

// `name` is what messages call the file. kCorruption for bytes that are not this format or contradict themselves,
// kLimit above a limit, kUnsupported naming every tensor whose data lies outside the file.
Result<OnnxModel> ReadOnnx(std::string_view name, Bytes bytes);

}  // namespace foreshore
