// Small tensors that are computed while an ONNX graph is examined: shapes, positions, masks, scalars.
//
// A graph is examined by running its bookkeeping on a small made-up batch (see onnx_graph.h). What the operators mean
// follows https://onnx.ai/onnx/operators; values are doubles, which hold every integer below 2^53 and every float.
// Threads: pure functions.
#pragma once

#include <cstdint>
#include <optional>
#include <span>
#include <string_view>
#include <vector>

#include "engine/inference/onnx_reader.h"
#include "foreshore/status.h"

namespace foreshore {

enum class ProbeKind : std::uint8_t { kFloat, kInteger, kBoolean };

// Invariant: values.size() is the product of shape, at most kProbeElementsMax.
struct ProbeTensor {
  ProbeKind kind = ProbeKind::kFloat;
  std::vector<std::int64_t> shape;
  std::vector<double> values;
};

inline constexpr std::size_t kProbeElementsMax = 1ULL << 20;

// The number of elements, or kLimit above `max`; kCorruption for a negative dimension.
Result<std::size_t> ShapeElementCount(std::span<const std::int64_t> shape, std::size_t max);

// The shape that both broadcast to; kCorruption where they do not.
Result<std::vector<std::int64_t>> BroadcastShape(std::span<const std::int64_t> a, std::span<const std::int64_t> b);

// `tensor` repeated to `shape`, which it must broadcast to.
Result<ProbeTensor> BroadcastTo(const ProbeTensor& tensor, std::span<const std::int64_t> shape);

// What Reshape, Transpose, Squeeze, Unsqueeze and Flatten make of a shape. `second` is the node's second input's
// value, where it has one (new shape or axes).
Result<std::vector<std::int64_t>> LayoutShape(const OnnxNode& node, std::span<const std::int64_t> shape,
                                              const ProbeTensor* second);
// The permutation of a Transpose of that rank.
Result<std::vector<std::size_t>> TransposePermutation(const OnnxNode& node, std::size_t rank);
// A negative axis counts from the end; kCorruption outside the rank.
Result<std::size_t> NormaliseAxis(std::int64_t axis, std::size_t rank);

// The elements of a small file tensor; nothing where it is large or of a type without numbers.
std::optional<ProbeTensor> ProbeFromOnnx(const OnnxTensor& tensor, std::size_t elements_max);

// Whether EvaluateProbe knows the operator (in ONNX's own domain).
bool IsProbeOperator(std::string_view op_type);

// The node's first output. `inputs` has one entry per input of the node, null where an optional one is left out.
// kCorruption for shapes and values that the operator does not allow, kUnsupported for a variant that is not built.
Result<ProbeTensor> EvaluateProbe(const OnnxNode& node, std::span<const ProbeTensor* const> inputs);

}  // namespace foreshore
