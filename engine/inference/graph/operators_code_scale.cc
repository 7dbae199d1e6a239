// Normalisation of codes by channel: the operator, which is the specification, and its kernel.
#include <algorithm>
#include <span>
#include <vector>

#include "engine/inference/graph/operators_codes.h"

namespace foreshore::graph {

namespace {

constexpr TypeSet kCodes = SetOf(OnnxType::kUint8);
// Channels-last, factors are repeated over so many elements at least: a vector loop over fewer is mostly its ends.
constexpr std::int64_t kRunMin = 512;

bool IsLast(const NodeContext& context) {
  return context.Int("last", 0) != 0;
}

CodeRange RangeOf(const NodeContext& context) {
  return {static_cast<float>(*context.inputs[4].as<std::uint8_t>()), 0, 255};
}

Status InferCodeScale(const NodeContext& context, Infos& outputs) {
  for (const std::size_t codes : {0, 1, 4}) FORESHORE_RETURN_IF_ERROR(context.Require(codes, kCodes));
  for (const std::size_t floats : {2, 3}) {
    FORESHORE_RETURN_IF_ERROR(context.Require(floats, SetOf(OnnxType::kFloat)));
  }
  const Shape& x = context.ShapeOf(0);
  const std::int64_t channels = context.inputs[2].count();
  const bool fits = x.size() >= 2 && (IsLast(context) ? x.back() : x[1]) == channels &&
                    context.inputs[3].count() == channels && context.inputs[1].count() == 1 &&
                    context.inputs[4].count() == 1 && (!context.Has(5) || context.inputs[5].count() == 256);
  if (!fits) {
    return Status::InvalidArgument("scales " + ToText(context.Info(0)) + " by " + ToText(context.Info(2)) + " and " +
                                   ToText(context.Info(3)));
  }
  outputs.push_back(context.Info(0));
  return Status::Ok();
}

Status RunCodeScale(const NodeContext& context, std::span<const OutputRef> outputs) {
  const std::int64_t channels = context.inputs[2].count();
  const std::int64_t inner = IsLast(context) ? 1 : InnerCount(context.ShapeOf(0), 2);
  const std::int32_t zero = *context.inputs[1].as<std::uint8_t>();
  const auto* in = context.inputs[0].as<std::uint8_t>();
  const auto* table = context.Has(5) ? context.inputs[5].as<std::uint8_t>() : nullptr;
  auto* out = outputs[0].as<std::uint8_t>();
  for (std::int64_t i = 0; i < outputs[0].count(); ++i) {
    const std::int64_t channel = i / inner % channels;
    CodeKernelsScalar().scale(in + i, 1, zero, context.inputs[2].as<float>() + channel,
                              context.inputs[3].as<float>() + channel, RangeOf(context), out + i);
    if (table != nullptr) out[i] = table[out[i]];
  }
  return Status::Ok();
}

// Channels last, whole pixels at a time, whose factors are repeated; else a plane at a time, with one factor.
class CodeScaleKernel : public StepKernel {
 public:
  CodeScaleKernel(const CodeKernels& kernels, const NodeContext& context) : kernels_(kernels) {
    if (!IsLast(context)) return;
    const std::int64_t channels = context.inputs[2].count();
    const std::int64_t repeats = (kRunMin + channels - 1) / channels;
    for (std::int64_t i = 0; i < repeats; ++i) {
      factors_.insert(factors_.end(), context.inputs[2].as<float>(), context.inputs[2].as<float>() + channels);
      offsets_.insert(offsets_.end(), context.inputs[3].as<float>(), context.inputs[3].as<float>() + channels);
    }
  }
  std::uint64_t held_bytes() const override { return (factors_.size() + offsets_.size()) * sizeof(float); }
  std::uint64_t WorkspaceBytes(const NodeContext& context) const override {
    return IsLast(context) ? 0 : 2 * kRunMin * sizeof(float);
  }

  Status Run(const NodeContext& context, std::span<const OutputRef> outputs, std::byte* workspace) const override {
    const auto* in = context.inputs[0].as<std::uint8_t>();
    auto* out = outputs[0].as<std::uint8_t>();
    if (IsLast(context)) return Scale(context, in, outputs[0].count(), factors_, offsets_, out);
    const std::span factors(reinterpret_cast<float*>(workspace), kRunMin);
    const std::span offsets(factors.data() + kRunMin, kRunMin);
    const std::int64_t channels = context.inputs[2].count();
    const std::int64_t inner = InnerCount(context.ShapeOf(0), 2);
    for (std::int64_t plane = 0; plane < context.ShapeOf(0)[0] * channels; ++plane, in += inner, out += inner) {
      std::fill(factors.begin(), factors.end(), context.inputs[2].as<float>()[plane % channels]);
      std::fill(offsets.begin(), offsets.end(), context.inputs[3].as<float>()[plane % channels]);
      FORESHORE_RETURN_IF_ERROR(Scale(context, in, inner, factors, offsets, out));
    }
    return Status::Ok();
  }

 private:
  // `count` codes, with factors and offsets over and over again.
  Status Scale(const NodeContext& context, const std::uint8_t* in, std::int64_t count, std::span<const float> factors,
               std::span<const float> offsets, std::uint8_t* out) const {
    const std::int32_t zero = *context.inputs[1].as<std::uint8_t>();
    const auto* table = context.Has(5) ? context.inputs[5].as<std::uint8_t>() : nullptr;
    const CodeRange range = RangeOf(context);
    Poller poller(context);
    for (auto left = static_cast<std::size_t>(count); left > 0;) {
      const std::size_t part = std::min(left, factors.size());
      kernels_.scale(in, part, zero, factors.data(), offsets.data(), range, out);
      if (table != nullptr) kernels_.map(out, part, table, out);
      in += part;
      out += part;
      left -= part;
      FORESHORE_RETURN_IF_ERROR(poller.Add(static_cast<std::int64_t>(part)));
    }
    return Status::Ok();
  }

  const CodeKernels& kernels_;
  std::vector<float> factors_;  // [pixels][channels].
  std::vector<float> offsets_;
};

}  // namespace

const Operator& CodeScaleOperator() {
  static constexpr Operator kOperator{
      .name = "CodeScale", .inputs_min = 5, .inputs_max = 6, .infer = InferCodeScale, .run = RunCodeScale};
  return kOperator;
}

StepKernelResult MakeCodeScaleKernel(const KernelSource& source, std::uint64_t bytes_max) {
  const NodeContext context{.node = source.node, .opset = source.opset, .inputs = source.inputs};
  const auto channels = static_cast<std::uint64_t>(source.inputs[2].count());
  if (channels == 0 || (channels + kRunMin) * 2 * sizeof(float) > bytes_max) {
    return std::unique_ptr<StepKernel>();
  }
  return std::unique_ptr<StepKernel>(std::make_unique<CodeScaleKernel>(CodeKernelsFor(source.kernels.level), context));
}

}  // namespace foreshore::graph
