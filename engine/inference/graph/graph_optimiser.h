// Makes of a graph's steps fewer and faster ones with the same results, up to rounding: several nodes that are one
// function become one, arithmetic with constants moves into a convolution's weights, activations into the step before
// them, and products and convolutions with constant weights get kernels that have packed them.
//
// Invariant: steps stay in an order in which each has its inputs. Threads: used by one, while the graph is built.
#pragma once

#include <algorithm>
#include <array>
#include <optional>
#include <string_view>
#include <unordered_map>
#include <utility>
#include <vector>

#include "engine/inference/graph/graph.h"

namespace foreshore::graph {

class LastLayout;

// One that holds a number, of either kind.
OnnxAttribute MakeAttribute(std::string_view name, std::int64_t i, float f);

class GraphOptimiser {
 public:
  explicit GraphOptimiser(Graph& graph) : graph_(graph) {}
  // Comes before constants are dequantized: a convolution or product between DequantizeLinear and QuantizeLinear, all
  // with constant scales, becomes QLinearConv or QLinearMatMul; elements in between become steps over codes; and what
  // is made of unsigned codes keeps the layout in which channels come last.
  Status FuseCodes();
  Status Run();
  // Only takes what follows convolutions into their weights.
  Status FoldConvs();

 private:
  // graph_optimiser_codes.cc.
  void FuseCodesAt(std::size_t index);
  Status FuseCodeProductAt(std::size_t index);
  Result<ValueIndex> RowOf(ValueIndex value, std::int64_t columns);
  Result<ValueIndex> Transposed(ValueIndex codes);
  bool TakeConvBias(ValueIndex bias, const GraphValue& left_scale, const GraphValue& right_scale,
                    std::vector<ValueIndex>& inputs);
  // The step of DequantizeLinear with constant scale and zero point that makes the value; kNoStep if there is none.
  std::size_t Dequantizer(ValueIndex value) const;
  const GraphValue* Constant(ValueIndex value) const;
  // The elements of a constant, of floats or of codes that a DequantizeLinear with one scale makes floats of; empty for
  // anything else.
  std::vector<float> FloatsOf(ValueIndex value) const;
  // Whether an activation changes nothing that codes of this scale and zero point can tell.
  static bool IsWithin(const Activation& activation, float scale, const GraphValue& zero);

  // graph_optimiser_maps.cc.
  using CodeTable = std::array<std::uint8_t, 256>;
  // Floats that are a function of one value's codes: what they are for each. A constant has no root.
  struct Traced {
    ValueIndex root = kNoValue;
    std::array<float, 256> values;
  };
  Status FuseElementsAt(std::size_t index);
  Status FuseMapAt(std::size_t index);
  void FuseArithmeticAt(std::size_t index);
  Status FuseScaleAt(std::size_t index);
  Status FuseMaxAt(std::size_t index);
  CodeTable TableOf(const Traced& traced, const GraphStep& end) const;
  std::optional<Traced> Trace(ValueIndex value, int depth) const;
  std::optional<Traced> TraceStep(const GraphStep& step, int depth) const;
  const GraphStep* CodeDequantizer(ValueIndex value) const;
  Result<ValueIndex> AddTable(const CodeTable& table);

  // graph_optimiser_last.cc.
  void LayOutLast();
  void FuseTables();
  bool IsLastConv(const GraphStep& step) const;

  // graph_optimiser_floats.cc.
  Status FuseGateSum(std::size_t index);
  Status LayOutFloats();
  Status LayOutFloat(GraphStep& step, LastLayout& layout);
  bool IsOfConv(ValueIndex value) const;
  bool IsFloatConv(const GraphStep& step) const;
  bool IsFloatSpread(const GraphStep& step) const;
  ValueIndex ByChannel(ValueIndex constant);
  Status PushResize(const GraphStep& step, ValueIndex last, LastLayout& layout);
  Result<bool> PushNormalisation(const GraphStep& step, ValueIndex last, LastLayout& layout);

  // graph_optimiser_patterns.cc. Each looks whether the step at `index` ends its pattern and puts one step in its
  // place.
  void FuseLayerNorm(std::size_t index);
  void FuseGelu(std::size_t index);
  bool IsGeluTanh(ValueIndex value, ValueIndex x) const;
  void FuseHardSwish(std::size_t index);
  void FuseSilu(std::size_t index);
  bool IsTimesOne(ValueIndex value, ValueIndex x) const;
  void FuseResidual(std::size_t index);
  // graph_optimiser_products.cc.
  void FuseDynamicProduct(std::size_t index);
  // graph_optimiser_join.cc.
  void JoinProducts();
  struct JoinableProduct;
  std::optional<JoinableProduct> Joinable(std::size_t index) const;
  void Join(const std::vector<JoinableProduct>& group);
  // The step becomes one of `op` over `inputs`, named as it was.
  OnnxNode& Replace(std::size_t index, const Operator& op, std::vector<ValueIndex> inputs);

  // graph_optimiser_attention.cc.
  void FuseAttention(std::size_t index);
  struct Operand;
  struct ScoreScale;
  // What leads from attention's weights back to its scores; `user` alone uses the value.
  struct Scores {
    struct Mask {
      std::int64_t kind = 0;
      ValueIndex input = kNoValue;
      ValueIndex other = kNoValue;
    };
    ValueIndex value = kNoValue;
    std::size_t user = 0;
    std::vector<Mask> masks;
    bool keeps_zero = false;
  };
  std::optional<Scores> ScoresOf(ValueIndex weights, std::size_t user) const;
  std::optional<Operand> OperandOf(ValueIndex value, ScoreScale* scale) const;
  bool FollowOperand(Operand& operand) const;
  ValueIndex Unscaled(ValueIndex value, ScoreScale& scale) const;
  ValueIndex ExchangedLast(ValueIndex value) const;
  bool LeadsToScores(ValueIndex value, std::size_t user, int depth) const;
  bool IsShapeOf(ValueIndex value, ValueIndex of,
                 const std::vector<std::pair<std::int64_t, std::int64_t>>& parts) const;
  bool IsOneNumber(ValueIndex value, int depth) const;
  std::optional<std::size_t> RankOf(ValueIndex value, int depth) const;
  std::optional<std::vector<std::int64_t>> ConstantInts(ValueIndex value) const;  // An int64 list or number.
  std::optional<std::int64_t> ConstantInt(ValueIndex value) const;

  // What the step, a BatchNormalization of `channels`, does to each of them: · factor + offset. False where its
  // parameters are no constants.
  bool ReadNormalisation(const GraphStep& step, std::int64_t channels, std::vector<double>& factors,
                         std::vector<double>& offsets) const;
  Status FoldIntoConv(std::size_t index);
  // graph_optimiser_products.cc.
  Status FoldBeforeConv(std::size_t index);
  Status AttachKernel(std::size_t index);
  struct Tail;
  void FollowRow(const GraphStep& step, Tail& tail) const;
  void FollowActivation(Tail& tail) const;
  void FollowNumbers(Tail& tail) const;
  std::optional<Activation> ActivationOf(const GraphStep& step) const;

  void CountUses();
  void RemoveUnused();
  const OnnxNode& NodeOf(std::size_t index) const { return *graph_.steps_[index].node; }
  // The step that makes the value, if its operator has that name; kNoStep if not.
  std::size_t Maker(ValueIndex value, std::string_view op) const;
  // The only step that uses the value, which is no output of the graph; kNoStep if there is none.
  std::size_t SoleUser(ValueIndex value) const;
  // The other of a step's two inputs.
  ValueIndex OtherInput(std::size_t index, ValueIndex input) const;
  bool IsScalar(ValueIndex value, float expected) const;
  std::optional<float> Scalar(ValueIndex value) const;  // A constant float of one element.
  const GraphValue* ConstantFloats(ValueIndex value) const;
  // A new constant, and where its bytes go: null where they are there.
  struct NewConstant {
    ValueIndex index = kNoValue;
    std::byte* room = nullptr;
  };
  Result<NewConstant> AddRoom(TensorInfo info);
  Result<ValueIndex> AddConstant(TensorInfo info, const std::vector<float>& values);
  std::uint64_t BytesLeft() const {
    return graph_.limits_.memory_bytes_max - std::min(graph_.constant_bytes_, graph_.limits_.memory_bytes_max);
  }

  static constexpr std::size_t kNoStep = static_cast<std::size_t>(-1);

  Graph& graph_;
  std::vector<std::size_t> makers_;              // By value.
  std::vector<std::vector<std::size_t>> users_;  // By value; the graph's outputs count as users of kNoStep.
  std::vector<bool> is_dead_;                    // By step.
  // Codes that are a function of other codes, by value.
  std::unordered_map<ValueIndex, std::pair<ValueIndex, CodeTable>> code_maps_;
};

}  // namespace foreshore::graph
