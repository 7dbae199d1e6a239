// An operator: what comes out of what goes in, and the scalar code that computes it.
//
// What each one means follows https://onnx.ai/onnx/operators, operator sets 7 to 18. The code here is the
// specification that faster kernels must match.
// Threads: pure functions over what the context borrows.
#pragma once

#include <cstdint>
#include <span>
#include <string_view>
#include <vector>

#include "engine/inference/graph/tensor_value.h"
#include "engine/inference/graph/vector_kernels.h"
#include "engine/inference/onnx_reader.h"
#include "foreshore/status.h"
#include "storage/base/cancellation.h"

namespace foreshore::graph {

// Before 7, arithmetic broadcasts in another way.
inline constexpr std::int64_t kOpsetMin = 7;
inline constexpr std::int64_t kOpsetMax = 18;

// One node with its inputs. Messages do not name the node: the caller puts its name before them.
struct NodeContext {
  const OnnxNode& node;
  std::int64_t opset = 0;
  std::span<const TensorRef> inputs;
  const VectorKernels* kernels = nullptr;  // May be null: then the operator's own code runs.
  Cancellation* cancellation = nullptr;    // May be null.
  // For a run: as many bytes as the operator's or kernel's workspace function asks for, aligned to 64.
  std::byte* workspace = nullptr;

  // What takes long asks this every millisecond or so, and returns what is not ok.
  Status Poll() const { return cancellation != nullptr ? cancellation->Check() : Status::Ok(); }

  bool Has(std::size_t index) const { return index < inputs.size() && inputs[index].info != nullptr; }
  const TensorInfo& Info(std::size_t index) const { return *inputs[index].info; }
  const Shape& ShapeOf(std::size_t index) const { return inputs[index].info->shape; }
  std::size_t Rank(std::size_t index) const { return inputs[index].info->shape.size(); }

  // The elements of an int32 or int64 input of at most one dimension.
  Result<std::vector<std::int64_t>> InputInts(std::size_t index) const;
  std::int64_t Int(std::string_view name, std::int64_t absent) const { return node.IntAttribute(name, absent); }
  float Float(std::string_view name, float absent) const { return node.FloatAttribute(name, absent); }
  std::string_view Text(std::string_view name, std::string_view absent) const;
  bool HasAttribute(std::string_view name) const { return node.Attribute(name) != nullptr; }
  std::vector<std::int64_t> Ints(std::string_view name) const;  // Empty where the node has no such attribute.
  // Axes that are an attribute before operator set `since` and the input `index` from then on; empty if absent.
  Result<std::vector<std::int64_t>> Axes(std::size_t index, std::int64_t since) const;

  // kUnsupported unless input `index` has one of the types.
  Status Require(std::size_t index, TypeSet types) const;
  // kInvalidArgument unless inputs `left` and `right` have one type.
  Status RequireSameType(std::size_t left, std::size_t right) const;
  Status RequireRank(std::size_t index, std::size_t rank) const;
};

using Infos = std::vector<TensorInfo>;

enum class OperatorKind : std::uint8_t {
  kPlain,
  kView,     // Output 0 has the bytes of input 0, under another shape.
  kShape,    // Looks at its input's shape only.
  kHeavy,    // Works more than its inputs and outputs are large; not run ahead of time.
  kControl,  // Holds graphs, and is run by the executor; has neither of the functions below.
};

// Appends the info of each output, in order, at least as many as the node has. Checks types, ranks and attributes; the
// caller checks the result's size.
using InferFunction = Status (*)(const NodeContext& context, Infos& outputs);
// Writes the outputs, which have the shapes that the function above said.
using RunFunction = Status (*)(const NodeContext& context, std::span<const OutputRef> outputs);
// Memory that a run needs beside inputs and outputs, in bytes: all that grows with their sizes, so that one limit holds
// for everything. Called after infer, on the same inputs.
using WorkspaceFunction = std::uint64_t (*)(const NodeContext& context);

// The tables name the fields that differ from the defaults.
struct Operator {
  std::string_view name;
  std::int64_t since = 1;  // The operator set that brought it.
  std::size_t inputs_min = 1;
  std::size_t inputs_max = 1;
  std::size_t outputs_max = 1;
  bool runs_without_first = false;   // Its first output may have no name.
  std::string_view attributes = {};  // Those that it knows, separated by spaces; any other in a file is refused.
  // Bit i: the outputs' shapes depend on the value of input i.
  std::uint32_t shape_inputs = 0;
  OperatorKind kind = OperatorKind::kPlain;
  InferFunction infer = nullptr;
  RunFunction run = nullptr;
  WorkspaceFunction workspace = nullptr;  // None is needed.

  bool KnowsAttribute(std::string_view attribute) const;
};

inline constexpr std::size_t kManyInputs = 4'096;

// What no file can name: several nodes as one. Gelu is x · (1 + erf(x / √2)) / 2, Silu x · sigmoid(x).
const Operator& GeluOperator();
const Operator& SiluOperator();

// Null for an operator that is not known.
const Operator* FindOperator(std::string_view name);
// All, by family.
std::vector<const Operator*> AllOperators();

// What messages call a node: its name, or else its first output, and operator.
std::string Describe(const OnnxNode& node);

// One table per family.
std::span<const Operator> ArithmeticOperators();
std::span<const Operator> CastOperators();
std::span<const Operator> ControlOperators();
std::span<const Operator> ConvolveIntegerOperators();
std::span<const Operator> ConvolveOperators();
std::span<const Operator> LayoutOperators();
std::span<const Operator> LogicOperators();
std::span<const Operator> MatrixOperators();
std::span<const Operator> NormaliseOperators();
std::span<const Operator> PoolOperators();
std::span<const Operator> QuantizeOperators();
std::span<const Operator> RecurrentOperators();
std::span<const Operator> ReduceOperators();
std::span<const Operator> ResizeOperators();
std::span<const Operator> ScatterOperators();
std::span<const Operator> SelectOperators();
std::span<const Operator> ShapeOperators();
std::span<const Operator> SortOperators();
std::span<const Operator> UnaryOperators();

}  // namespace foreshore::graph
