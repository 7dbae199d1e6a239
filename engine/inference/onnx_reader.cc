#include "engine/inference/onnx_reader.h"

#include <algorithm>
#include <bit>
#include <limits>

#include "engine/inference/protobuf_wire.h"
#include "engine/inference/safetensors.h"
#include "engine/inference/tensor.h"

namespace foreshore {

std::size_t OnnxTypeBytes(OnnxType type) {
  switch (type) {
    case OnnxType::kUint8:
    case OnnxType::kInt8:
    case OnnxType::kBool: return 1;
    case OnnxType::kUint16:
    case OnnxType::kInt16:
    case OnnxType::kFloat16:
    case OnnxType::kBfloat16: return 2;
    case OnnxType::kFloat:
    case OnnxType::kInt32:
    case OnnxType::kUint32: return 4;
    case OnnxType::kInt64:
    case OnnxType::kDouble:
    case OnnxType::kUint64: return 8;
    case OnnxType::kUndefined:
    case OnnxType::kString: break;
  }
  return 0;
}

std::uint64_t OnnxTensor::element_count() const {
  // The reader has checked that this does not overflow.
  std::uint64_t count = 1;
  for (const std::uint64_t dim : dims) count *= dim;
  return count;
}

const OnnxAttribute* OnnxNode::Attribute(std::string_view attribute_name) const {
  for (const OnnxAttribute& attribute : attributes) {
    if (attribute.name == attribute_name) return &attribute;
  }
  return nullptr;
}

std::int64_t OnnxNode::IntAttribute(std::string_view attribute_name, std::int64_t absent) const {
  const OnnxAttribute* attribute = Attribute(attribute_name);
  return attribute != nullptr ? attribute->i : absent;
}

float OnnxNode::FloatAttribute(std::string_view attribute_name, float absent) const {
  const OnnxAttribute* attribute = Attribute(attribute_name);
  return attribute != nullptr ? attribute->f : absent;
}

std::int64_t OnnxModel::opset_version() const {
  for (const auto& [domain, version] : opsets) {
    if (domain.empty() || domain == "ai.onnx") return version;
  }
  return 0;
}

namespace {

// AttributeProto.AttributeType.
constexpr std::int64_t kAttributeGraph = 5;
constexpr std::int64_t kAttributeGraphs = 10;
constexpr std::size_t kNamedMax = 16;
constexpr std::size_t kItemsMax = 1'000'000;

// Everything one file's reading needs: its name for messages and what it found outside.
class Parser {
 public:
  explicit Parser(std::string_view name) : file_(name) {}

  Status ReadModel(Bytes bytes, OnnxModel& model);

 private:
  Status ReadGraph(Bytes bytes, std::size_t depth, OnnxGraphBody& graph);
  Status ReadNode(Bytes bytes, std::size_t depth, OnnxNode& node);
  Status ReadAttribute(Bytes bytes, const std::string& where, std::size_t depth, OnnxAttribute& attribute);
  Status ReadTensor(Bytes bytes, const std::string& where, OnnxTensor& tensor);
  Status ReadTensorData(Bytes bytes, const std::string& where, std::uint64_t expected_bytes, OnnxTensor& tensor);
  Status ReadValueInfo(Bytes bytes, OnnxValueInfo& info);
  Status ReadPair(Bytes bytes, std::string_view& key, std::string_view& value);

  // Takes a string field, bounded.
  std::string_view String(ProtobufReader& reader) {
    const Bytes text = reader.Message();
    if (text.size() > kModelStringBytesMax) string_too_long_ = true;
    return text;
  }
  Status Finish(const ProtobufReader& reader, const std::string& where) const {
    if (!reader.ok()) return Status::Corruption(where + ": malformed Protobuf message");
    if (string_too_long_) {
      return Status::Limit(where + ": a string is longer than " + std::to_string(kModelStringBytesMax) + " bytes");
    }
    return Status::Ok();
  }
  static Status TooMany(const std::string& where, const char* what, std::size_t max) {
    return Status::Limit(where + ": more than " + std::to_string(max) + " " + what);
  }

  std::string file_;
  bool string_too_long_ = false;
  std::string external_;
  std::size_t external_count_ = 0;
  std::size_t item_count_ = 0;
  std::size_t node_count_ = 0;
  std::size_t tensor_count_ = 0;
};

Status Parser::ReadModel(Bytes bytes, OnnxModel& model) {
  ProtobufReader reader(bytes);
  bool has_graph = false;
  while (reader.Next()) {
    switch (reader.field()) {
      case 2: model.producer = String(reader); break;
      case 7: {
        if (has_graph) return Status::Corruption(file_ + ": two graphs, expected one");
        has_graph = true;
        const Bytes graph = reader.Message();
        if (reader.ok()) FORESHORE_RETURN_IF_ERROR(ReadGraph(graph, 1, model));
        break;
      }
      case 8: {
        ProtobufReader opset(reader.Message());
        auto& [domain, version] = model.opsets.emplace_back();
        if (model.opsets.size() > kOnnxListMax) return TooMany(file_, "operator sets", kOnnxListMax);
        while (opset.Next()) {
          if (opset.field() == 1) {
            domain = String(opset);
          } else if (opset.field() == 2) {
            version = static_cast<std::int64_t>(opset.Varint());
          } else {
            opset.Skip();
          }
        }
        FORESHORE_RETURN_IF_ERROR(Finish(opset, file_ + ": operator set"));
        break;
      }
      case 14: {
        auto& [key, value] = model.metadata.emplace_back();
        if (model.metadata.size() > kModelMetadataPairsMax) {
          return TooMany(file_, "metadata pairs", kModelMetadataPairsMax);
        }
        FORESHORE_RETURN_IF_ERROR(ReadPair(reader.Message(), key, value));
        break;
      }
      default: reader.Skip();
    }
  }
  FORESHORE_RETURN_IF_ERROR(Finish(reader, file_));
  if (!has_graph) return Status::Corruption(file_ + ": no graph, expected an ONNX model");
  if (external_count_ > 0) {
    return Status::Unsupported(file_ + ": " + std::to_string(external_count_) +
                               " tensors keep their data outside the file (" + external_ +
                               "), expected all data inside");
  }
  return Status::Ok();
}

Status Parser::ReadPair(Bytes bytes, std::string_view& key, std::string_view& value) {
  ProtobufReader reader(bytes);
  while (reader.Next()) {
    if (reader.field() == 1) {
      key = String(reader);
    } else if (reader.field() == 2) {
      value = String(reader);
    } else {
      reader.Skip();
    }
  }
  return Finish(reader, file_ + ": metadata");
}

Status Parser::ReadGraph(Bytes bytes, std::size_t depth, OnnxGraphBody& graph) {
  if (depth > kOnnxGraphDepthMax) return TooMany(file_, "graphs inside each other", kOnnxGraphDepthMax);
  ProtobufReader reader(bytes);
  while (reader.Next()) {
    switch (reader.field()) {
      case 1: {
        if (node_count_ == kOnnxNodesMax) return TooMany(file_, "nodes", kOnnxNodesMax);
        FORESHORE_RETURN_IF_ERROR(ReadNode(reader.Message(), depth, graph.nodes.emplace_back()));
        break;
      }
      case 5: {
        if (tensor_count_ == kTensorsPerModelMax) return TooMany(file_, "tensors", kTensorsPerModelMax);
        const std::string where = file_ + ": initializer " + std::to_string(tensor_count_++);
        FORESHORE_RETURN_IF_ERROR(ReadTensor(reader.Message(), where, graph.initializers.emplace_back()));
        break;
      }
      case 11:
      case 12: {
        auto& list = reader.field() == 11 ? graph.inputs : graph.outputs;
        if (list.size() == kTensorsPerModelMax) return TooMany(file_, "inputs or outputs", kTensorsPerModelMax);
        FORESHORE_RETURN_IF_ERROR(ReadValueInfo(reader.Message(), list.emplace_back()));
        break;
      }
      case 15: return Status::Unsupported(file_ + ": sparse initializers, expected dense ones");
      default: reader.Skip();
    }
  }
  return Finish(reader, file_ + ": graph");
}

Status Parser::ReadNode(Bytes bytes, std::size_t depth, OnnxNode& node) {
  const std::string where = file_ + ": node " + std::to_string(node_count_++);
  ProtobufReader reader(bytes);
  while (reader.Next()) {
    switch (reader.field()) {
      case 1: node.inputs.push_back(String(reader)); break;
      case 2: node.outputs.push_back(String(reader)); break;
      case 3: node.name = String(reader); break;
      case 4: node.op_type = String(reader); break;
      case 5:
        FORESHORE_RETURN_IF_ERROR(ReadAttribute(reader.Message(), where, depth, node.attributes.emplace_back()));
        break;
      case 7: node.domain = String(reader); break;
      default: reader.Skip();
    }
    // A field of two bytes becomes a structure of a hundred: bounded over the file, not only in a node.
    if (++item_count_ > kItemsMax) return TooMany(file_, "inputs, outputs and attributes of nodes", kItemsMax);
    if (std::max({node.inputs.size(), node.outputs.size(), node.attributes.size()}) > kOnnxListMax) {
      return TooMany(where, "inputs, outputs or attributes", kOnnxListMax);
    }
  }
  if (node.domain == "ai.onnx") node.domain = "";
  FORESHORE_RETURN_IF_ERROR(Finish(reader, where));
  std::vector<std::string_view> names;
  for (const OnnxAttribute& attribute : node.attributes) names.push_back(attribute.name);
  std::sort(names.begin(), names.end());
  const auto twin = std::adjacent_find(names.begin(), names.end());
  if (twin == names.end()) return Status::Ok();
  return Status::Corruption(where + ": attribute \"" + std::string(twin->substr(0, 128)) + "\" appears twice");
}

Status Parser::ReadAttribute(Bytes bytes, const std::string& where, std::size_t depth, OnnxAttribute& attribute) {
  ProtobufReader reader(bytes);
  while (reader.Next()) {
    switch (reader.field()) {
      case 1: attribute.name = String(reader); break;
      case 2: attribute.f = reader.Float(); break;
      case 3: attribute.i = static_cast<std::int64_t>(reader.Varint()); break;
      case 4: attribute.s = String(reader); break;
      case 5:
      case 10:
        if (++item_count_ > kItemsMax) return TooMany(file_, "tensors in attributes", kItemsMax);
        FORESHORE_RETURN_IF_ERROR(ReadTensor(reader.Message(), where, attribute.tensors.emplace_back()));
        break;
      case 7:
        reader.EachFixed<float>([&](float value) {
          if (attribute.floats.size() <= kOnnxListMax) attribute.floats.push_back(value);
        });
        break;
      case 8:
        reader.EachVarint([&](std::uint64_t value) {
          if (attribute.ints.size() <= kOnnxListMax) attribute.ints.push_back(static_cast<std::int64_t>(value));
        });
        break;
      case 9:
        attribute.strings.push_back(String(reader));
        if (++item_count_ > kItemsMax) return TooMany(file_, "texts in attributes", kItemsMax);
        break;
      case 20: attribute.type = static_cast<std::int64_t>(reader.Varint()); break;
      case 6:
      case 11:
        attribute.holds_graph = true;
        if (++item_count_ > kItemsMax) return TooMany(file_, "graphs in attributes", kItemsMax);
        FORESHORE_RETURN_IF_ERROR(ReadGraph(reader.Message(), depth + 1, attribute.graphs.emplace_back()));
        break;
      default: reader.Skip();
    }
    if (std::max({attribute.floats.size(), attribute.ints.size(), attribute.strings.size()}) > kOnnxListMax) {
      return TooMany(where, "numbers or texts in an attribute", kOnnxListMax);
    }
  }
  if (attribute.type == kAttributeGraph || attribute.type == kAttributeGraphs) attribute.holds_graph = true;
  return Finish(reader, where);
}

// One element of int32_data, which carries every integer type up to 32 bits, booleans and the bits of 16-bit floats.
bool AppendInt32Data(OnnxType type, std::uint64_t value, ByteString& out) {
  const auto number = static_cast<std::int64_t>(value);
  const auto fits = [number](std::int64_t min, std::int64_t max) { return number >= min && number <= max; };
  switch (type) {
    case OnnxType::kBool:
    case OnnxType::kUint8:
      if (!fits(0, 255)) return false;
      AppendFixed(out, static_cast<std::uint8_t>(number));
      return true;
    case OnnxType::kInt8:
      if (!fits(-128, 127)) return false;
      AppendFixed(out, static_cast<std::int8_t>(number));
      return true;
    case OnnxType::kUint16:
    case OnnxType::kFloat16:
    case OnnxType::kBfloat16:
      if (!fits(0, 65535)) return false;
      AppendFixed(out, static_cast<std::uint16_t>(number));
      return true;
    case OnnxType::kInt16:
      if (!fits(-32768, 32767)) return false;
      AppendFixed(out, static_cast<std::int16_t>(number));
      return true;
    case OnnxType::kInt32:
      if (!fits(std::numeric_limits<std::int32_t>::min(), std::numeric_limits<std::int32_t>::max())) return false;
      AppendFixed(out, static_cast<std::int32_t>(number));
      return true;
    default: return false;
  }
}

Status Parser::ReadTensor(Bytes bytes, const std::string& where, OnnxTensor& tensor) {
  // Twice: how typed elements are read depends on the type, which may follow them.
  ProtobufReader head(bytes);
  while (head.Next()) {
    switch (head.field()) {
      case 1:
        head.EachVarint([&](std::uint64_t dim) {
          if (tensor.dims.size() <= kTensorRankMax) tensor.dims.push_back(dim);
        });
        break;
      case 2: tensor.type = static_cast<OnnxType>(std::min<std::uint64_t>(head.Varint(), 1'000)); break;
      case 8: tensor.name = String(head); break;
      default: head.Skip();
    }
  }
  const std::string named = where + " \"" + std::string(tensor.name.substr(0, 128)) + "\"";
  FORESHORE_RETURN_IF_ERROR(Finish(head, named));
  if (tensor.dims.size() > kTensorRankMax) {
    return Status::Limit(named + ": more than " + std::to_string(kTensorRankMax) + " dimensions");
  }
  // Eight bytes an element at most, so this bounds the product for every type.
  const Result<std::uint64_t> bytes_max = TensorByteCount(TensorType::kI64, tensor.dims);
  if (!bytes_max.ok()) return bytes_max.status().WithContext(named);
  return ReadTensorData(bytes, named, *bytes_max / 8 * OnnxTypeBytes(tensor.type), tensor);
}

// Typed elements are decoded only up to the size that type and shape ask for.
Status Parser::ReadTensorData(Bytes bytes, const std::string& where, std::uint64_t expected_bytes, OnnxTensor& tensor) {
  ProtobufReader data(bytes);
  bool has_raw = false;
  bool has_typed = false;
  bool is_external = false;
  bool is_fine = true;
  ByteString typed;
  const auto append = [&](OnnxType type, auto value) {
    is_fine = is_fine && tensor.type == type && typed.size() < expected_bytes;
    if (is_fine) AppendFixed(typed, value);
  };
  while (data.Next()) {
    has_raw = has_raw || data.field() == 9;
    switch (data.field()) {
      case 4: data.EachFixed<float>([&](float value) { append(OnnxType::kFloat, value); }); break;
      case 5:
        data.EachVarint([&](std::uint64_t value) {
          is_fine = is_fine && typed.size() < expected_bytes && AppendInt32Data(tensor.type, value, typed);
        });
        break;
      case 7: data.EachVarint([&](std::uint64_t value) { append(OnnxType::kInt64, value); }); break;
      case 9: tensor.SetRaw(data.Message()); break;
      case 10: data.EachFixed<double>([&](double value) { append(OnnxType::kDouble, value); }); break;
      case 11: data.EachVarint([&](std::uint64_t value) { append(OnnxType::kUint64, value); }); break;
      case 13:
        is_external = true;
        data.Skip();
        break;
      case 14: is_external = data.Varint() != 0 || is_external; break;
      default: data.Skip();
    }
    has_typed = has_typed || !typed.empty();
  }
  FORESHORE_RETURN_IF_ERROR(Finish(data, where));
  if (is_external) {
    if (++external_count_ <= kNamedMax) {
      external_ += (external_.empty() ? "" : ", ") + std::string(tensor.name.substr(0, 128));
    }
    return Status::Ok();
  }
  if (!is_fine) return Status::Corruption(where + ": more data than its shape needs, or data of another type");
  if (has_raw && has_typed) return Status::Corruption(where + ": data both raw and typed, expected one of them");
  if (has_typed) tensor.SetDecoded(std::move(typed));
  if (tensor.bytes().size() == expected_bytes || OnnxTypeBytes(tensor.type) == 0) return Status::Ok();
  return Status::Corruption(where + ": " + std::to_string(tensor.bytes().size()) +
                            " bytes of data, its type and shape need " + std::to_string(expected_bytes));
}

// TypeProto.tensor_type.shape.dim, four messages deep; sizes that are not given are open.
Status Parser::ReadValueInfo(Bytes bytes, OnnxValueInfo& info) {
  ProtobufReader reader(bytes);
  Bytes type;
  while (reader.Next()) {
    if (reader.field() == 1) {
      info.name = String(reader);
    } else if (reader.field() == 2) {
      type = reader.Message();
    } else {
      reader.Skip();
    }
  }
  const std::string where = file_ + ": value \"" + std::string(info.name.substr(0, 128)) + "\"";
  FORESHORE_RETURN_IF_ERROR(Finish(reader, where));
  ProtobufReader type_reader(type);
  Bytes tensor_type;
  while (type_reader.Next()) {
    if (type_reader.field() == 1) {
      tensor_type = type_reader.Message();
    } else {
      type_reader.Skip();
    }
  }
  FORESHORE_RETURN_IF_ERROR(Finish(type_reader, where));
  ProtobufReader tensor_reader(tensor_type);
  Bytes shape;
  while (tensor_reader.Next()) {
    if (tensor_reader.field() == 1) {
      info.type = static_cast<OnnxType>(std::min<std::uint64_t>(tensor_reader.Varint(), 1'000));
    } else if (tensor_reader.field() == 2) {
      shape = tensor_reader.Message();
      info.has_shape = true;
    } else {
      tensor_reader.Skip();
    }
  }
  FORESHORE_RETURN_IF_ERROR(Finish(tensor_reader, where));
  ProtobufReader shape_reader(shape);
  while (shape_reader.Next()) {
    if (shape_reader.field() != 1) {
      shape_reader.Skip();
      continue;
    }
    if (info.dims.size() == kTensorRankMax) return TooMany(where, "dimensions", kTensorRankMax);
    ProtobufReader dim_reader(shape_reader.Message());
    std::int64_t dim = -1;
    while (dim_reader.Next()) {
      if (dim_reader.field() == 1) {
        dim = static_cast<std::int64_t>(dim_reader.Varint());
      } else {
        dim_reader.Skip();
      }
    }
    FORESHORE_RETURN_IF_ERROR(Finish(dim_reader, where));
    info.dims.push_back(dim);
  }
  return Finish(shape_reader, where);
}

}  // namespace

Result<OnnxModel> ReadOnnx(std::string_view name, Bytes bytes) {
  OnnxModel model;
  Parser parser(name);
  FORESHORE_RETURN_IF_ERROR(parser.ReadModel(bytes, model));
  return model;
}

}  // namespace foreshore
