// Post-training quantization of graphs to 8 bits: convolutions statically, products of matrices dynamically (Jacob et
// al. 2018, arXiv:1712.05877, section 2).
//
// Convolutions over two axes with constant weights become QLinearConv: weights signed, a scale for each output channel,
// no zero point; activations unsigned, one scale and zero point for each value, from the least and greatest that came
// while calibrating, 0 among them. Batch normalisation and arithmetic by channel are taken into the weights before.
// Sums and products of two activations, poolings and functions of one activation stand between DequantizeLinear and
// QuantizeLinear, which makes steps over codes of them. Products by constant matrices get signed weights with a scale
// for each column, and activations rounded as they come (DynamicQuantizeLinear and MatMulInteger). Everything else
// stays in floats.
//
// Lifetime: borrows the file. Threads: one at a time.
#pragma once

#include <memory>
#include <string>
#include <vector>

#include "engine/inference/graph/graph.h"

namespace foreshore::graph {

struct ValueRange {
  float low = 0;
  float high = 0;
};

class GraphQuantizer {
 public:
  // `name` is what messages call the model. kUnsupported for a graph without such a convolution or product, with graphs
  // inside nodes, or of an operator set before 10. Products take operator set 11.
  static Result<std::unique_ptr<GraphQuantizer>> Make(const std::string& name, Bytes file);

  // Runs the graph on one set of inputs and notes what its values reach, where convolutions need that. kInvalidArgument
  // where a value is no number.
  Status Observe(std::span<const TensorRef> inputs);
  std::size_t observed_count() const { return observed_count_; }

  // The quantized graph as an ONNX file. kInvalidArgument before anything was observed.
  Result<ByteString> Write() const;

 private:
  friend class QuantizedWriter;
  explicit GraphQuantizer(Graph folded) : folded_(std::move(folded)) {}
  Status MakeProbe();
  bool IsQuantizable(const GraphStep& step) const;
  // MatMul, or a Gemm that is one with a row added, by a constant matrix.
  bool IsProduct(const GraphStep& step) const;
  // In the file that is written; constants and values alike.
  static std::string NameOf(ValueIndex value) { return "v" + std::to_string(value); }

  Graph folded_;  // Without kernels, what follows convolutions taken into them.
  ByteString probe_file_;
  // The same with every float value as an output; borrows probe_file_. Null where there is no convolution.
  std::unique_ptr<Graph> probe_;
  std::vector<ValueIndex> probed_;
  std::vector<ValueRange> ranges_;  // By value of folded_.
  std::size_t observed_count_ = 0;
};

}  // namespace foreshore::graph
