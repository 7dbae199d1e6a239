// Writes ONNX files for tests: the wire format by hand, and a tiny BERT with the many faces that exporters give it.
#pragma once

#include <cmath>
#include <cstdint>
#include <limits>
#include <string>
#include <utility>
#include <vector>

#include "foreshore/bytes.h"
#include "storage/base/coding.h"

namespace foreshore {

inline void PutTag(ByteString& out, std::uint32_t field, std::uint32_t wire_type) {
  AppendVarint(out, (field << 3) | wire_type);
}
inline void PutInt(ByteString& out, std::uint32_t field, std::int64_t value) {
  PutTag(out, field, 0);
  AppendVarint(out, static_cast<std::uint64_t>(value));
}
inline void PutBytes(ByteString& out, std::uint32_t field, Bytes bytes) {
  PutTag(out, field, 2);
  AppendPrefixed(out, bytes);
}

inline ByteString FloatBytes(const std::vector<float>& values) {
  ByteString bytes;
  for (const float value : values) AppendFixed(bytes, value);
  return bytes;
}
inline ByteString IntBytes(const std::vector<std::int64_t>& values) {
  ByteString bytes;
  for (const std::int64_t value : values) AppendFixed(bytes, value);
  return bytes;
}
// TensorProto with raw_data. Types: 1 float, 3 int8, 7 int64.
inline ByteString TensorMessage(const std::string& name, int type, const std::vector<std::int64_t>& dims, Bytes raw) {
  ByteString tensor;
  for (const std::int64_t dim : dims) PutInt(tensor, 1, dim);
  PutInt(tensor, 2, type);
  PutBytes(tensor, 8, name);
  PutBytes(tensor, 9, raw);
  return tensor;
}

// AttributeProto, encoded.
inline ByteString IntAttribute(const std::string& name, std::int64_t value) {
  ByteString out;
  PutBytes(out, 1, name);
  PutInt(out, 3, value);
  PutInt(out, 20, 2);
  return out;
}
inline ByteString FloatAttribute(const std::string& name, float value) {
  ByteString out;
  PutBytes(out, 1, name);
  PutTag(out, 2, 5);
  AppendFixed(out, value);
  PutInt(out, 20, 1);
  return out;
}
inline ByteString IntsAttribute(const std::string& name, const std::vector<std::int64_t>& values) {
  ByteString out;
  PutBytes(out, 1, name);
  for (const std::int64_t value : values) PutInt(out, 8, value);
  PutInt(out, 20, 7);
  return out;
}
inline ByteString StringAttribute(const std::string& name, const std::string& value) {
  ByteString out;
  PutBytes(out, 1, name);
  PutBytes(out, 4, value);
  PutInt(out, 20, 3);
  return out;
}

// A graph as OnnxWriter::Graph() gives it.
inline ByteString GraphAttribute(const std::string& name, Bytes graph) {
  ByteString out;
  PutBytes(out, 1, name);
  PutBytes(out, 6, graph);
  PutInt(out, 20, 5);
  return out;
}

class OnnxWriter {
 public:
  void Initializer(const ByteString& tensor) { PutBytes(graph_, 5, tensor); }
  std::string Floats(const std::string& name, const std::vector<std::int64_t>& dims, const std::vector<float>& values) {
    Initializer(TensorMessage(name, 1, dims, FloatBytes(values)));
    return name;
  }
  std::string Ints(const std::vector<std::int64_t>& values, bool scalar = false) {
    const std::string name = "ints_" + std::to_string(++count_);
    const std::vector<std::int64_t> dims{static_cast<std::int64_t>(values.size())};
    Initializer(TensorMessage(name, 7, scalar ? std::vector<std::int64_t>{} : dims, IntBytes(values)));
    return name;
  }
  std::string Scalar(float value) { return Floats("scalar_" + std::to_string(++count_), {}, {value}); }

  // Adds a node; returns the name of what it makes.
  std::string Node(const std::string& op, const std::vector<std::string>& inputs,
                   const std::vector<ByteString>& attributes = {}, std::string output = "",
                   const std::string& domain = "") {
    ++count_;
    if (output.empty()) output = op + "_" + std::to_string(count_);
    ByteString node;
    for (const std::string& input : inputs) PutBytes(node, 1, input);
    PutBytes(node, 2, output);
    PutBytes(node, 3, "node_" + output);
    PutBytes(node, 4, op);
    for (const ByteString& attribute : attributes) PutBytes(node, 5, attribute);
    if (!domain.empty()) PutBytes(node, 7, domain);
    PutBytes(graph_, 1, node);
    return output;
  }
  void Input(const std::string& name, const std::vector<std::int64_t>& dims, int type = 7) {
    Value(11, name, dims, type);
  }
  void Output(const std::string& name, const std::vector<std::int64_t>& dims) { Value(12, name, dims, 1); }

  const ByteString& Graph() const { return graph_; }
  // Adds a node with several outputs.
  void NodeOf(const std::string& op, const std::vector<std::string>& inputs, const std::vector<std::string>& outputs,
              const std::vector<ByteString>& attributes = {}) {
    ByteString node;
    for (const std::string& input : inputs) PutBytes(node, 1, input);
    for (const std::string& output : outputs) PutBytes(node, 2, output);
    PutBytes(node, 3, "node_" + outputs[0]);
    PutBytes(node, 4, op);
    for (const ByteString& attribute : attributes) PutBytes(node, 5, attribute);
    PutBytes(graph_, 1, node);
  }

  ByteString Finish(std::int64_t opset = 17) const {
    ByteString model;
    PutInt(model, 1, 8);
    PutBytes(model, 2, "test");
    PutBytes(model, 7, graph_);
    ByteString set;
    PutInt(set, 2, opset);
    PutBytes(model, 8, set);
    return model;
  }

 private:
  void Value(std::uint32_t field, const std::string& name, const std::vector<std::int64_t>& dims, int type) {
    ByteString shape;
    for (const std::int64_t dim : dims) {
      ByteString message;
      if (dim >= 0) PutInt(message, 1, dim);
      PutBytes(shape, 1, message);
    }
    ByteString tensor_type;
    PutInt(tensor_type, 1, type);
    PutBytes(tensor_type, 2, shape);
    ByteString type_message;
    PutBytes(type_message, 1, tensor_type);
    ByteString info;
    PutBytes(info, 1, name);
    PutBytes(info, 2, type_message);
    PutBytes(graph_, field, info);
  }

  ByteString graph_;
  int count_ = 0;
};

// One layer of hidden 8, two heads, intermediate 16; every field is one way to write or to break it.
struct TinyBertForm {
  bool gemm = false;
  bool masked_fill = false;
  bool nan_guard = false;
  bool split_scale = false;  // √scale on queries and on keys.
  bool cast_mul_weights = false;
  bool dequantize_weights = false;
  bool type_input = true;
  bool pooled_output = false;   // Another output, made by an operator that is not supported.
  bool constant_nodes = false;  // Weights in Constant nodes.
  std::int64_t sequence = -1;
  std::int64_t opset = 17;
  // What is not BERT.
  std::string activation = "erf";  // "gelu", "gelu-tanh", "relu", "tanh", "quick"
  bool pre_norm = false;
  float scale = 0.5F;  // 1 / sqrt(4)
  bool mask = true;
  bool causal = false;
  bool relative_bias = false;
  bool swapped_heads = false;
  bool unjoined_heads = false;
  std::int64_t position_offset = 0;
  bool wrong_residual = false;
  bool other_key = false;
  bool other_epsilon = false;
  bool weak_mask = false;
  bool inverted_mask = false;
  bool missing_bias = false;
  bool extra_operators = false;
};

class TinyBert {
 public:
  explicit TinyBert(TinyBertForm form) : form_(std::move(form)) {}

  ByteString Build() {
    w_.Input("input_ids", {-1, form_.sequence});
    w_.Input("attention_mask", {-1, form_.sequence});
    if (form_.type_input) w_.Input("token_type_ids", {-1, form_.sequence});
    const std::string embedded = Norm(Embeddings(), "en");
    const std::string out = Layer(embedded);
    w_.Node("Identity", {out}, {}, "last_hidden_state");
    if (form_.pooled_output) {
      const std::string pooled =
          w_.Node("Tanh", {w_.Node("Gather", {out, w_.Ints({0}, true)}, {IntAttribute("axis", 1)})});
      w_.Node("Identity", {pooled}, {}, "pooler_output");
      w_.Output("pooler_output", {-1, 8});
    }
    w_.Output("last_hidden_state", {-1, -1, 8});
    return w_.Finish(form_.opset);
  }

 private:
  std::vector<float> Random(std::int64_t count) {
    std::vector<float> values;
    for (std::int64_t i = 0; i < count; ++i) {
      state_ = state_ * 6364136223846793005ULL + 1442695040888963407ULL;
      // Multiples of 1/64 within ±1, so that int8 codes hold them exactly.
      values.push_back(static_cast<float>(static_cast<std::int64_t>(state_ >> 57) - 64) / 64.0F);
    }
    return values;
  }
  std::string Matrix(const std::string& name, std::int64_t rows, std::int64_t columns) {
    const std::vector<float> values = Random(rows * columns);
    if (form_.constant_nodes) {
      ByteString attribute;
      PutBytes(attribute, 1, "value");
      PutBytes(attribute, 5, TensorMessage("", 1, {rows, columns}, FloatBytes(values)));
      return w_.Node("Constant", {}, {attribute}, name);
    }
    if (!form_.cast_mul_weights && !form_.dequantize_weights) return w_.Floats(name, {rows, columns}, values);
    ByteString codes;
    for (const float value : values) codes.push_back(static_cast<char>(static_cast<std::int8_t>(value * 64)));
    w_.Initializer(TensorMessage(name + "_q", 3, {rows, columns}, codes));
    if (form_.dequantize_weights) {
      w_.Floats(name + "_s", {columns}, std::vector<float>(static_cast<std::size_t>(columns), 1.0F / 64));
      w_.Initializer(TensorMessage(name + "_z", 3, {columns}, ByteString(static_cast<std::size_t>(columns), '\0')));
      return w_.Node("DequantizeLinear", {name + "_q", name + "_s", name + "_z"}, {IntAttribute("axis", -1)});
    }
    w_.Floats(name + "_s", {1, columns}, std::vector<float>(static_cast<std::size_t>(columns), 1.0F / 64));
    return w_.Node("Mul", {w_.Node("Cast", {name + "_q"}, {IntAttribute("to", 1)}), name + "_s"});
  }
  std::string Vector(const std::string& name, std::int64_t size) { return w_.Floats(name, {size}, Random(size)); }

  std::string Linear(const std::string& x, const std::string& name, std::int64_t in, std::int64_t out) {
    const std::string weight = Matrix(name + "_w", in, out);
    const std::string bias = Vector(name + "_b", out);
    if (form_.gemm) {
      const std::string flat = w_.Node("Reshape", {x, w_.Ints({-1, in})});
      const std::string product = w_.Node("Gemm", {flat, weight, bias});
      const std::string shape = w_.Node("Shape", {x});
      const std::string lead = w_.Node("Slice", {shape, w_.Ints({0}), w_.Ints({2})});
      return w_.Node("Reshape", {product, w_.Node("Concat", {lead, w_.Ints({out})}, {IntAttribute("axis", 0)})});
    }
    const std::string product = w_.Node("MatMul", {x, weight});
    return form_.missing_bias && name == "up" ? product : w_.Node("Add", {product, bias});
  }
  std::string Norm(const std::string& x, const std::string& name) {
    const std::string gamma = Vector(name + "_g", 8);
    const std::string beta = Vector(name + "_h", 8);
    const float epsilon = form_.other_epsilon && name == "fn" ? 1e-5F : 1e-12F;
    return w_.Node("LayerNormalization", {x, gamma, beta},
                   {IntAttribute("axis", -1), FloatAttribute("epsilon", epsilon)});
  }
  std::string Embeddings() {
    const std::string length = w_.Node("Gather", {w_.Node("Shape", {"input_ids"}), w_.Ints({1}, true)});
    std::string places = w_.Node("Range", {w_.Ints({0}, true), length, w_.Ints({1}, true)});
    if (form_.position_offset != 0) places = w_.Node("Add", {places, w_.Ints({form_.position_offset}, true)});
    std::string sum = w_.Node("Add", {w_.Node("Gather", {Matrix("word", 20, 8), "input_ids"}),
                                      w_.Node("Gather", {Matrix("position", 12, 8), places})});
    if (form_.type_input) sum = w_.Node("Add", {w_.Node("Gather", {Matrix("type", 2, 8), "token_type_ids"}), sum});
    return sum;
  }
  std::string Gelu(const std::string& x) {
    if (form_.activation == "relu") return w_.Node("Relu", {x});
    if (form_.activation == "tanh") return w_.Node("Tanh", {x});
    if (form_.activation == "gelu") return w_.Node("Gelu", {x});
    if (form_.activation == "gelu-tanh") return w_.Node("Gelu", {x}, {StringAttribute("approximate", "tanh")});
    const float divisor = form_.activation == "quick" ? 1.3F : std::sqrt(2.0F);
    const std::string erf = w_.Node("Erf", {w_.Node("Div", {x, w_.Scalar(divisor)})});
    return w_.Node("Mul", {w_.Scalar(0.5F), w_.Node("Mul", {w_.Node("Add", {w_.Scalar(1), erf}), x})});
  }
  std::string Heads(const std::string& x, bool key) {
    if (form_.swapped_heads) {
      return w_.Node(
          "Transpose", {w_.Node("Reshape", {x, w_.Ints({0, 0, 4, 2})})},
          {IntsAttribute("perm", key ? std::vector<std::int64_t>{0, 3, 2, 1} : std::vector<std::int64_t>{0, 3, 1, 2})});
    }
    return w_.Node(
        "Transpose", {w_.Node("Reshape", {x, w_.Ints({0, 0, 2, 4})})},
        {IntsAttribute("perm", key ? std::vector<std::int64_t>{0, 2, 3, 1} : std::vector<std::int64_t>{0, 2, 1, 3})});
  }
  std::string Masked(std::string scores) {
    const std::string spread = w_.Node("Unsqueeze", {"attention_mask", w_.Ints({1, 2})});
    if (form_.causal) {
      // Adds a mask that also hides later words: (column > row) · lowest.
      const std::string length = w_.Node("Gather", {w_.Node("Shape", {"input_ids"}), w_.Ints({1}, true)});
      const std::string range = w_.Node("Range", {w_.Ints({0}, true), length, w_.Ints({1}, true)});
      const std::string later = w_.Node(
          "Greater", {w_.Node("Unsqueeze", {range, w_.Ints({0})}), w_.Node("Unsqueeze", {range, w_.Ints({1})})});
      scores = w_.Node("Add",
                       {scores, w_.Node("Mul", {w_.Node("Cast", {later}, {IntAttribute("to", 1)}), w_.Scalar(-1e9F)})});
    }
    if (!form_.mask) return scores;
    if (form_.masked_fill) {
      const std::string forbidden = w_.Node("Equal", {spread, w_.Ints({0}, true)});
      const std::string wide = w_.Node("Expand", {forbidden, w_.Node("Shape", {scores})});
      return w_.Node("Where", {wide, w_.Scalar(-std::numeric_limits<float>::infinity()), scores});
    }
    const std::string cast = w_.Node("Cast", {spread}, {IntAttribute("to", 1)});
    const std::string padding = form_.inverted_mask ? cast : w_.Node("Sub", {w_.Scalar(1), cast});
    return w_.Node("Add", {scores, w_.Node("Mul", {padding, w_.Scalar(form_.weak_mask ? -2.0F : -10000.0F)})});
  }
  std::string Attention(const std::string& x) {
    std::string query = Heads(Linear(x, "query", 8, 8), false);
    std::string key = Heads(Linear(form_.other_key ? Norm(x, "kn") : x, "key", 8, 8), true);
    const std::string value = Heads(Linear(x, "value", 8, 8), false);
    if (form_.split_scale) {
      query = w_.Node("Mul", {query, w_.Scalar(std::sqrt(form_.scale))});
      key = w_.Node("Mul", {key, w_.Scalar(std::sqrt(form_.scale))});
    }
    std::string scores = w_.Node("MatMul", {query, key});
    if (!form_.split_scale) scores = w_.Node("Mul", {scores, w_.Scalar(form_.scale)});
    if (form_.relative_bias) scores = w_.Node("Add", {scores, w_.Floats("relative", {1, 2, 1, 1}, {0.25F, -0.5F})});
    std::string weights = w_.Node("Softmax", {Masked(scores)}, {IntAttribute("axis", -1)});
    if (form_.nan_guard) weights = w_.Node("Where", {w_.Node("IsNaN", {weights}), w_.Scalar(0), weights});
    std::string context = w_.Node("MatMul", {weights, value});
    if (!form_.unjoined_heads) context = w_.Node("Transpose", {context}, {IntsAttribute("perm", {0, 2, 1, 3})});
    return w_.Node("Reshape", {context, w_.Node("Concat", {w_.Node("Shape", {"input_ids"}), w_.Ints({8})},
                                                {IntAttribute("axis", 0)})});
  }
  std::string Layer(const std::string& x) {
    const std::string start = form_.pre_norm ? Norm(x, "pn") : x;
    const std::string dense = Linear(Attention(start), "output", 8, 8);
    const std::string after = form_.pre_norm ? w_.Node("Add", {dense, x}) : Norm(w_.Node("Add", {dense, x}), "an");
    const std::string up_input = form_.pre_norm ? Norm(after, "fn") : after;
    std::string up = Gelu(Linear(up_input, "up", 8, 16));
    if (form_.extra_operators) up = w_.Node("Tanh", {w_.Node("QuickGelu", {up}, {}, "", "com.example")});
    const std::string down = Linear(up, "down", 16, 8);
    const std::string sum = w_.Node("Add", {down, form_.wrong_residual ? x : after});
    return form_.pre_norm ? sum : Norm(sum, "fn");
  }

  TinyBertForm form_;
  OnnxWriter w_;
  std::uint64_t state_ = 1;
};

}  // namespace foreshore
