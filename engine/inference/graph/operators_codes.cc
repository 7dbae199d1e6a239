#include "engine/inference/graph/operators_codes.h"

#include <algorithm>
#include <cmath>
#include <span>
#include <vector>

namespace foreshore::graph {

namespace {

constexpr TypeSet kCodes = SetOf(OnnxType::kUint8);
constexpr std::size_t kRepeatBytesMax = 64 * 1024;
constexpr std::int64_t kMeanMax = 1 << 23;  // Planes of so many codes have sums within 31 bits.

const CodeKernels& KernelsOf(const NodeContext& context) {
  return context.kernels != nullptr ? CodeKernelsFor(context.kernels->level) : CodeKernelsScalar();
}

CodeRange RangeOf(const NodeContext& context, std::size_t zero) {
  return {static_cast<float>(*context.inputs[zero].as<std::uint8_t>()), 0, 255};
}

Status CheckScalars(const NodeContext& context, std::initializer_list<std::size_t> scales,
                    std::initializer_list<std::size_t> zeros) {
  for (const std::size_t scale : scales) FORESHORE_RETURN_IF_ERROR(context.Require(scale, SetOf(OnnxType::kFloat)));
  for (const std::size_t zero : zeros) FORESHORE_RETURN_IF_ERROR(context.Require(zero, kCodes));
  for (const auto& list : {scales, zeros}) {
    for (const std::size_t index : list) {
      if (context.inputs[index].count() != 1) {
        return Status::Unsupported("input " + std::to_string(index) + " is " + ToText(context.Info(index)) +
                                   ", expected one number");
      }
    }
  }
  return Status::Ok();
}

Status InferCodeConv(const NodeContext& context, Infos& outputs) {
  FORESHORE_RETURN_IF_ERROR(context.Require(0, kCodes));
  FORESHORE_RETURN_IF_ERROR(context.RequireRank(0, 4));
  FORESHORE_ASSIGN_OR_RETURN(const Window window, PlanCodeConv(context));
  const Shape& x = context.ShapeOf(0);
  const Shape& weights = context.ShapeOf(3);
  const std::int64_t groups = context.Int("group", 1);
  if (groups < 1 || weights[0] % groups != 0 || weights[1] * groups != x[3]) {
    return Status::InvalidArgument("convolves " + ToText(x) + " by " + ToText(weights) + " in " +
                                   std::to_string(groups) + " groups");
  }
  outputs.push_back({OnnxType::kUint8, {x[0], window[1].output, window[2].output, weights[0]}});
  return Status::Ok();
}

// The specification: QLinearConv's sums, in the order of single precision that code_kernels.h states.
Status RunCodeConv(const NodeContext& context, std::span<const OutputRef> outputs) {
  FORESHORE_ASSIGN_OR_RETURN(const Window window, PlanCodeConv(context));
  const Shape& weights = context.ShapeOf(3);
  const std::int64_t channels = context.ShapeOf(0)[3];
  const std::int64_t out_per_group = weights[0] / context.Int("group", 1);
  const std::int32_t zero = *context.inputs[2].as<std::uint8_t>();
  const std::int64_t scale_count = context.inputs[4].count();
  const auto* bias = context.Has(8) ? context.inputs[8].as<std::int32_t>() : nullptr;
  const auto* table = context.Has(9) ? context.inputs[9].as<std::uint8_t>() : nullptr;
  const auto weight = [type = context.Info(3).type](std::byte code) { return CodeValue(code, type); };
  for (std::int64_t image = 0; image < context.ShapeOf(0)[0]; ++image) {
    const auto* from = context.inputs[0].as<std::uint8_t>() + image * window.InputCount() * channels;
    auto* to = outputs[0].as<std::uint8_t>() + image * window.OutputCount() * weights[0];
    for (std::int64_t out = 0; out < weights[0]; ++out) {
      FORESHORE_RETURN_IF_ERROR(context.Poll());
      const std::byte* kernel = context.inputs[3].data + out * weights[1] * window.KernelCount();
      const std::int32_t kernel_zero = weight(context.inputs[5].data[context.inputs[5].count() == 1 ? 0 : out]);
      const std::int64_t first = out / out_per_group * weights[1];
      const float factor = *context.inputs[1].as<float>() * context.inputs[4].as<float>()[scale_count == 1 ? 0 : out] /
                           *context.inputs[6].as<float>();
      const std::int32_t none = 0;
      EachOutput(window, [&](std::int64_t offset, const auto& place) {
        std::int64_t sum = 0;
        for (std::int64_t c = 0; c < weights[1]; ++c) {
          EachInWindow(window, place, [&](std::int64_t input, std::int64_t k) {
            sum += (from[input * channels + first + c] - zero) *
                   (weight(kernel[c * window.KernelCount() + k]) - kernel_zero);
          });
        }
        const auto whole = static_cast<std::int32_t>(sum);
        const CodeColumns columns{bias != nullptr ? bias + out : &none, &factor, RangeOf(context, 7)};
        std::uint8_t code = 0;
        CodeKernelsScalar().to_codes(&whole, 1, columns, &code);
        to[offset * weights[0] + out] = table != nullptr ? table[code] : code;
      });
    }
  }
  return Status::Ok();
}

Status InferBinary(const NodeContext& context, Infos& outputs) {
  for (const std::size_t codes : {0, 3}) FORESHORE_RETURN_IF_ERROR(context.Require(codes, kCodes));
  FORESHORE_RETURN_IF_ERROR(CheckScalars(context, {1, 4, 6}, {2, 5, 7}));
  FORESHORE_ASSIGN_OR_RETURN(Shape shape, BroadcastShape(context.ShapeOf(0), context.ShapeOf(3)));
  outputs.push_back({OnnxType::kUint8, std::move(shape)});
  return Status::Ok();
}

// How far from the end both operands lie as the result does, or one of them stands still: the elements of one call.
std::int64_t RunLength(const Shape& left, const Shape& right, const Shape& shape) {
  std::int64_t length = 1;
  for (std::size_t axis = shape.size(); axis-- > 0;) {
    const Shape& l = left;
    const std::size_t l_at = axis + l.size() - shape.size();
    const std::size_t r_at = axis + right.size() - shape.size();
    const bool is_whole = shape.size() - axis <= l.size() && shape.size() - axis <= right.size() &&
                          l[l_at] == shape[axis] && right[r_at] == shape[axis];
    if (!is_whole) break;
    length *= shape[axis];
  }
  return length;
}

template <bool kIsSum>
Status RunBinary(const NodeContext& context, std::span<const OutputRef> outputs) {
  const CodeKernels& kernels = KernelsOf(context);
  const CodeRange range = RangeOf(context, 7);
  const float scale = *context.inputs[6].as<float>();
  CodeOperand left{context.inputs[0].as<std::uint8_t>(), *context.inputs[2].as<std::uint8_t>(),
                   *context.inputs[1].as<float>()};
  CodeOperand right{context.inputs[3].as<std::uint8_t>(), *context.inputs[5].as<std::uint8_t>(),
                    *context.inputs[4].as<float>()};
  if (kIsSum) {
    left.factor /= scale;
    right.factor /= scale;
  } else {
    left.factor = left.factor * right.factor / scale;
  }
  const Shape& shape = outputs[0].info->shape;
  const std::int64_t count = outputs[0].count();
  if (count == 0) return Status::Ok();
  const std::int64_t length = RunLength(context.ShapeOf(0), context.ShapeOf(3), shape);
  // What is left of the shape is walked over, a run at a time.
  Shape outer = shape;
  std::int64_t taken = 1;
  while (taken < length) {
    taken *= outer.back();
    outer.pop_back();
  }
  const auto outer_strides = [&](const Shape& own) {
    Shape strides = BroadcastStrides(own, shape);
    strides.resize(outer.size());
    return strides;
  };
  const std::array<Shape, 2> strides{outer_strides(context.ShapeOf(0)), outer_strides(context.ShapeOf(3))};
  const auto run = kIsSum ? kernels.add : kernels.mul;
  auto* out = outputs[0].as<std::uint8_t>();
  // The right one repeated along a row, where the left one goes on: short runs become one.
  if (!outer.empty() && strides[1].back() == 0 && strides[0].back() == length &&
      outer.back() * length <= static_cast<std::int64_t>(kRepeatBytesMax)) {
    const std::int64_t repeats = outer.back();
    const std::span repeated(reinterpret_cast<std::uint8_t*>(context.workspace),
                             static_cast<std::size_t>(repeats * length));
    outer.pop_back();
    const std::uint8_t* held = nullptr;
    std::array<Shape, 2> rest{strides[0], strides[1]};
    for (Shape& each : rest) each.pop_back();
    Walk(outer, rest, [&](std::int64_t i, const std::array<std::int64_t, 2>& offsets) {
      const std::uint8_t* from = right.codes + offsets[1];
      for (std::int64_t k = 0; k < repeats && from != held; ++k) {
        std::copy(from, from + length, repeated.begin() + k * length);
      }
      held = from;
      CodeOperand l = left;
      l.codes += offsets[0];
      const CodeOperand r{repeated.data(), right.zero, right.factor};
      run(l, r, repeated.size(), range, out + i * repeats * length);
    });
    return Status::Ok();
  }
  Walk(outer, strides, [&](std::int64_t i, const std::array<std::int64_t, 2>& offsets) {
    CodeOperand l = left;
    CodeOperand r = right;
    l.codes += offsets[0];
    r.codes += offsets[1];
    run(l, r, static_cast<std::size_t>(length), range, out + i * length);
  });
  return Status::Ok();
}

// Of what is repeated.
std::uint64_t BinaryWorkspaceBytes(const NodeContext& context) {
  const auto count = static_cast<std::uint64_t>(std::max(context.inputs[0].count(), context.inputs[3].count()));
  return std::min<std::uint64_t>(count, kRepeatBytesMax);
}

Status InferMap(const NodeContext& context, Infos& outputs) {
  FORESHORE_RETURN_IF_ERROR(context.Require(0, kCodes));
  FORESHORE_RETURN_IF_ERROR(context.Require(1, kCodes));
  if (context.inputs[1].count() != 256) return Status::InvalidArgument("the table is " + ToText(context.Info(1)));
  outputs.push_back(context.Info(0));
  return Status::Ok();
}

Status RunMap(const NodeContext& context, std::span<const OutputRef> outputs) {
  KernelsOf(context).map(context.inputs[0].as<std::uint8_t>(), static_cast<std::size_t>(outputs[0].count()),
                         context.inputs[1].as<std::uint8_t>(), outputs[0].as<std::uint8_t>());
  return Status::Ok();
}

Status InferMean(const NodeContext& context, Infos& outputs) {
  FORESHORE_RETURN_IF_ERROR(context.Require(0, kCodes));
  FORESHORE_RETURN_IF_ERROR(CheckScalars(context, {1, 3}, {2, 4}));
  if (context.Rank(0) < 3) return Status::Unsupported("means of the planes of " + ToText(context.Info(0)));
  const bool is_last = context.Int("last", 0) != 0;
  Shape shape = context.ShapeOf(0);
  std::int64_t count = 1;
  for (std::size_t axis = is_last ? 1 : 2; axis < shape.size() - (is_last ? 1 : 0); ++axis) {
    count = std::min(count * std::min(shape[axis], kMeanMax + 1), kMeanMax + 1);
    shape[axis] = 1;
  }
  if (count < 1 || count > kMeanMax) return Status::Unsupported("means of the planes of " + ToText(context.Info(0)));
  outputs.push_back({OnnxType::kUint8, std::move(shape)});
  return Status::Ok();
}

// Factors, biases and sums.
std::uint64_t MeanWorkspaceBytes(const NodeContext& context) {
  const bool is_last = context.Int("last", 0) != 0;
  return static_cast<std::uint64_t>(is_last ? context.ShapeOf(0).back() : 1) * 3 * sizeof(float);
}

Status RunMean(const NodeContext& context, std::span<const OutputRef> outputs) {
  const std::int64_t outputs_count = outputs[0].count();
  if (outputs_count == 0) return Status::Ok();
  const bool is_last = context.Int("last", 0) != 0;
  const Shape& shape = context.ShapeOf(0);
  const std::int64_t channels = is_last ? shape.back() : 1;
  const std::int64_t planes = is_last ? shape[0] : outputs_count;
  const std::int64_t count = context.inputs[0].count() / outputs_count;
  const CodeKernels& kernels = KernelsOf(context);
  const float factor = *context.inputs[1].as<float>() / (*context.inputs[3].as<float>() * static_cast<float>(count));
  const auto size = static_cast<std::size_t>(channels);
  const std::span factors(reinterpret_cast<float*>(context.workspace), size);
  const std::span biases(reinterpret_cast<std::int32_t*>(context.workspace) + size, size);
  const std::span sums(reinterpret_cast<std::int32_t*>(context.workspace) + 2 * size, size);
  std::fill(factors.begin(), factors.end(), factor);
  std::fill(biases.begin(), biases.end(), static_cast<std::int32_t>(-count * *context.inputs[2].as<std::uint8_t>()));
  for (std::int64_t plane = 0; plane < planes; ++plane) {
    const auto* from = context.inputs[0].as<std::uint8_t>() + plane * count * channels;
    std::fill(sums.begin(), sums.end(), 0);
    if (is_last) {
      kernels.add_rows(from, static_cast<std::size_t>(count), sums.size(),
                       reinterpret_cast<std::uint32_t*>(sums.data()));
    } else {
      for (std::int64_t i = 0; i < count; ++i) sums[0] += from[i];
    }
    kernels.to_codes(sums.data(), sums.size(), {biases.data(), factors.data(), RangeOf(context, 4)},
                     outputs[0].as<std::uint8_t>() + plane * channels);
  }
  return Status::Ok();
}

Status InferMax(const NodeContext& context, Infos& outputs) {
  FORESHORE_RETURN_IF_ERROR(context.Require(0, kCodes));
  FORESHORE_RETURN_IF_ERROR(context.RequireRank(0, 4));
  FORESHORE_ASSIGN_OR_RETURN(const Window window, PlanCodeMax(context));
  Shape shape = context.ShapeOf(0);
  const std::size_t first = context.Int("last", 0) != 0 ? 1 : 2;
  shape[first] = window[1].output;
  shape[first + 1] = window[2].output;
  outputs.push_back({OnnxType::kUint8, std::move(shape)});
  return Status::Ok();
}

// A pixel's codes.
std::uint64_t MaxWorkspaceBytes(const NodeContext& context) {
  return static_cast<std::uint64_t>(context.Int("last", 0) != 0 ? context.ShapeOf(0)[3] : 1);
}

// A window that sees padding alone gives the least code.
Status RunMax(const NodeContext& context, std::span<const OutputRef> outputs) {
  FORESHORE_ASSIGN_OR_RETURN(const Window window, PlanCodeMax(context));
  const Shape& shape = context.ShapeOf(0);
  const bool is_last = context.Int("last", 0) != 0;
  const std::int64_t channels = is_last ? shape[3] : 1;
  const std::int64_t planes = is_last ? shape[0] : shape[0] * shape[1];
  const CodeKernels& kernels = KernelsOf(context);
  const auto* table = context.Has(1) ? context.inputs[1].as<std::uint8_t>() : nullptr;
  const std::span mapped(reinterpret_cast<std::uint8_t*>(context.workspace), static_cast<std::size_t>(channels));
  for (std::int64_t plane = 0; plane < planes; ++plane) {
    FORESHORE_RETURN_IF_ERROR(context.Poll());
    const auto* from = context.inputs[0].as<std::uint8_t>() + plane * window.InputCount() * channels;
    auto* to = outputs[0].as<std::uint8_t>() + plane * window.OutputCount() * channels;
    std::fill(to, to + window.OutputCount() * channels, std::uint8_t{0});
    EachOutput(window, [&](std::int64_t offset, const auto& place) {
      EachInWindow(window, place, [&](std::int64_t input, std::int64_t) {
        const std::uint8_t* codes = from + input * channels;
        if (table != nullptr) {
          kernels.map(codes, mapped.size(), table, mapped.data());
          codes = mapped.data();
        }
        kernels.raise(codes, mapped.size(), to + offset * channels);
      });
    });
  }
  return Status::Ok();
}

// Windows are planned over [N,C,H,W].
TensorInfo FirstInfo(const NodeContext& context) {
  const Shape& x = context.ShapeOf(0);
  return {OnnxType::kUint8, {x[0], x[3], x[1], x[2]}};
}

}  // namespace

Result<Window> PlanCodeConv(const NodeContext& context) {
  const TensorInfo first = FirstInfo(context);
  std::vector<TensorRef> inputs(context.inputs.begin(), context.inputs.end());
  inputs[0] = {&first, nullptr};
  return PlanConv({.node = context.node, .opset = context.opset, .inputs = inputs}, 3);
}

Result<Window> PlanCodeMax(const NodeContext& context) {
  const TensorInfo first = context.Int("last", 0) != 0 ? FirstInfo(context) : context.Info(0);
  const TensorRef input{&first, nullptr};
  const NodeContext planned{.node = context.node, .opset = context.opset, .inputs = std::span(&input, 1)};
  return PlanWindow(planned, context.Ints("kernel_shape"));
}

const Operator& CodeConvOperator() {
  static constexpr Operator kOperator{.name = "CodeConv",
                                      .inputs_min = 8,
                                      .inputs_max = 10,
                                      .kind = OperatorKind::kHeavy,
                                      .infer = InferCodeConv,
                                      .run = RunCodeConv};
  return kOperator;
}

const Operator& CodeAddOperator() {
  static constexpr Operator kOperator{.name = "CodeAdd",
                                      .inputs_min = 8,
                                      .inputs_max = 8,
                                      .infer = InferBinary,
                                      .run = RunBinary<true>,
                                      .workspace = BinaryWorkspaceBytes};
  return kOperator;
}

const Operator& CodeMulOperator() {
  static constexpr Operator kOperator{.name = "CodeMul",
                                      .inputs_min = 8,
                                      .inputs_max = 8,
                                      .infer = InferBinary,
                                      .run = RunBinary<false>,
                                      .workspace = BinaryWorkspaceBytes};
  return kOperator;
}

const Operator& CodeMapOperator() {
  static constexpr Operator kOperator{
      .name = "CodeMap", .inputs_min = 2, .inputs_max = 2, .infer = InferMap, .run = RunMap};
  return kOperator;
}

const Operator& CodeMeanOperator() {
  static constexpr Operator kOperator{.name = "CodeMean",
                                      .inputs_min = 5,
                                      .inputs_max = 5,
                                      .infer = InferMean,
                                      .run = RunMean,
                                      .workspace = MeanWorkspaceBytes};
  return kOperator;
}

const Operator& CodeMaxOperator() {
  static constexpr Operator kOperator{
      .name = "CodeMax", .inputs_max = 2, .infer = InferMax, .run = RunMax, .workspace = MaxWorkspaceBytes};
  return kOperator;
}

}  // namespace foreshore::graph
