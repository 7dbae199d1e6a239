#include "engine/inference/graph/operators_gelu.h"

#include <algorithm>
#include <cmath>

namespace foreshore::graph {

namespace {

// Elements that go through all passes while they are in the first cache.
constexpr std::int64_t kBlock = 1'024;

Status InferGeluTanh(const NodeContext& context, Infos& outputs) {
  FORESHORE_RETURN_IF_ERROR(context.Require(0, kFloatTypes));
  outputs.push_back(context.Info(0));
  return Status::Ok();
}

// 2 · √(2/π) · (x + 0.044715 x³), then its sigmoid, times x.
void RunBlock(const VectorKernels& kernels, const float* in, std::size_t count, float* out) {
  constexpr auto kCubic = static_cast<float>(2 * kGeluTanhScale * kGeluTanhCubic);
  constexpr auto kLinear = static_cast<float>(2 * kGeluTanhScale);
  kernels.binary(Binary::kMul, in, 1, in, 1, count, out);
  kernels.binary(Binary::kMul, out, 1, &kCubic, 0, count, out);
  kernels.binary(Binary::kAdd, out, 1, &kLinear, 0, count, out);
  kernels.binary(Binary::kMul, out, 1, in, 1, count, out);
  kernels.unary({Unary::kSigmoid, 0, 0}, out, count, out);
  kernels.binary(Binary::kMul, out, 1, in, 1, count, out);
}

Status RunGeluTanh(const NodeContext& context, std::span<const OutputRef> outputs) {
  const std::int64_t count = outputs[0].count();
  if (context.kernels != nullptr && context.Info(0).type == OnnxType::kFloat) {
    for (std::int64_t first = 0; first < count; first += kBlock) {
      RunBlock(*context.kernels, context.inputs[0].as<float>() + first,
               static_cast<std::size_t>(std::min(kBlock, count - first)), outputs[0].as<float>() + first);
    }
    return Status::Ok();
  }
  return Dispatch<kFloatTypes>(context.Info(0).type, [&]<typename T>() {
    for (std::int64_t i = 0; i < count; ++i) {
      const auto x = static_cast<double>(static_cast<Wide<T>>(context.inputs[0].as<T>()[i]));
      const double gate = 1 + std::tanh(kGeluTanhScale * (x + kGeluTanhCubic * x * x * x));
      outputs[0].as<T>()[i] = static_cast<T>(static_cast<Wide<T>>(x * gate / 2));
    }
    return Status::Ok();
  });
}

}  // namespace

const Operator& GeluTanhOperator() {
  static constexpr Operator kOperator{.name = "GeluTanh", .infer = InferGeluTanh, .run = RunGeluTanh};
  return kOperator;
}

}  // namespace foreshore::graph
