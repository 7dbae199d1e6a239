// What runs a step faster than its operator's own code: prepared once for its constants, with what was fused into it.
//
// Lifetime: borrows the graph's constants. Threads: immutable once made; callers own the workspace.
#pragma once

#include <memory>
#include <span>

#include "engine/inference/graph/constant_store.h"
#include "engine/inference/graph/operator.h"
#include "engine/inference/graph/vector_kernels.h"

namespace foreshore::graph {

class StepKernel {
 public:
  virtual ~StepKernel() = default;
  // Memory that a run on inputs of these shapes needs beside them; the operator has found them fit.
  virtual std::uint64_t WorkspaceBytes(const NodeContext& context) const = 0;
  // Whether it can run on inputs of these types and shapes; if not, the operator does.
  virtual bool Fits(const NodeContext&) const { return true; }
  // As the operator's own run, then what was fused. `workspace` is aligned to 64 bytes.
  virtual Status Run(const NodeContext& context, std::span<const OutputRef> outputs, std::byte* workspace) const = 0;
  // Of packed constants.
  virtual std::uint64_t held_bytes() const = 0;
  // Whether it has packed this constant input and never reads it.
  virtual bool Holds(std::size_t /*input*/) const { return false; }
};

// Multiply-adds between two questions whether to stop: about a tenth of a millisecond.
inline constexpr std::int64_t kPollWork = 4 << 20;

// Asks a call whether to stop whenever so much work has been done.
class Poller {
 public:
  explicit Poller(const NodeContext& context) : context_(context) {}
  Status Add(std::int64_t work) {
    done_ += work;
    if (done_ < kPollWork) return Status::Ok();
    done_ = 0;
    return context_.Poll();
  }

 private:
  const NodeContext& context_;
  std::int64_t done_ = 0;
};

// A step as its kernel is made from it: inputs that are constant have data, the others only say that they are there.
// One that was given up, since the kernel has packed it in a packed graph, is constant and has none.
struct KernelSource {
  const OnnxNode& node;
  std::int64_t opset = 0;
  std::span<const TensorRef> inputs;
  const VectorKernels& kernels;
  Finish finish;             // Its scale and shift are 1 and 0 but for those whose names begin with Last.
  TensorRef bias;            // Of a product: a row of its width, or none.
  ConstantStore& constants;  // Where packed weights go.
  std::uint32_t constant_inputs = 0;

  bool IsConstant(std::size_t input) const { return input < 32 && ((constant_inputs >> input) & 1U) != 0; }
};

// Null where the kernel cannot run the step, which is then left to its operator. kLimit for more than `bytes_max`.
using StepKernelResult = Result<std::unique_ptr<StepKernel>>;
StepKernelResult MakeConvKernel(const KernelSource& source, std::uint64_t bytes_max);
StepKernelResult MakeConvTransposeKernel(const KernelSource& source, std::uint64_t bytes_max);
// QLinearConv, ConvInteger, QLinearMatMul and MatMulInteger, without activations.
StepKernelResult MakeCodesKernel(const KernelSource& source, std::uint64_t bytes_max);
// MatMul and Gemm.
StepKernelResult MakeMatrixKernel(const KernelSource& source, std::uint64_t bytes_max);

}  // namespace foreshore::graph
