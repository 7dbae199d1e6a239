// Writes the steps of a GraphQuantizer as an ONNX file, as they are or quantized. An activation is there as floats, as
// codes, or as both, made where it is first asked for.
#pragma once

#include <map>
#include <set>
#include <string>
#include <vector>

#include "engine/inference/graph/graph_quantize.h"
#include "engine/inference/graph/onnx_file.h"

namespace foreshore::graph {

class QuantizedWriter {
 public:
  QuantizedWriter(const GraphQuantizer& quantizer, OnnxFile& file)
      : quantizer_(quantizer), graph_(quantizer.folded_), file_(file) {}

  // Everything but the outputs.
  void WritePlain();
  void WriteQuantized();

 private:
  struct Scale {
    float scale = 1;
    std::uint8_t zero = 0;
  };
  void WriteInputs();
  void WriteConstant(ValueIndex value);
  void WriteStep(const GraphStep& step);
  void WriteConv(std::size_t index);
  void WriteWeights(const GraphStep& step, float input_scale, std::vector<std::string>& inputs, std::string& bias);
  void WriteProduct(const GraphStep& step);
  void WriteProductWeights(const GraphStep& step);
  // Names of the activation's codes, their scale and zero point, as they come.
  std::vector<std::string> NeedDynamicCodes(ValueIndex value);
  void WriteElement(const GraphStep& step);
  // The value that the convolution's codes stand for: its own, or that of the Relu or Clip that alone uses it.
  ValueIndex ClippedOutput(std::size_t index);
  bool StartsAtZero(const GraphStep& clip) const;
  Scale ScaleOf(ValueIndex value) const;
  std::string NeedFloats(ValueIndex value);
  std::string NeedCodes(ValueIndex value);
  void Quantize(ValueIndex value, const std::string& floats);
  // Names of constants for scale and zero point.
  std::vector<std::string> ScaleNames(ValueIndex value);
  bool IsConstant(ValueIndex value) const { return value == kNoValue || graph_.values()[value].is_constant; }

  const GraphQuantizer& quantizer_;
  const Graph& graph_;
  OnnxFile& file_;
  std::set<ValueIndex> written_constants_;
  std::set<ValueIndex> is_float_;            // Values whose floats are there.
  std::map<ValueIndex, std::string> codes_;  // Values whose codes are there.
  std::set<ValueIndex> dynamic_;             // Values that are rounded as they come.
  std::map<ValueIndex, ValueIndex> roots_;   // The value of whose codes this one is a function.
  std::set<ValueIndex> scaled_;              // Whose scale and zero point are written.
  std::set<const GraphStep*> skipped_;       // Taken into the step before.
  std::vector<std::size_t> use_counts_;      // By value.
};

}  // namespace foreshore::graph
