// Convolutions and products of 8-bit codes with constant weights: QLinearConv, ConvInteger, QLinearMatMul and
// MatMulInteger, all as one product of rows of codes by packed columns (code_matrix.h). A row is a patch of the input,
// filled with its zero point where it lies in the padding, or a row of a matrix. All of it is integer and equals the
// operators' own sums; codes are rounded from it as theirs are.
#include <algorithm>
#include <cmath>
#include <cstring>
#include <vector>

#include "engine/inference/graph/code_matrix.h"
#include "engine/inference/graph/depthwise_window.h"
#include "engine/inference/graph/step_kernel.h"
#include "engine/inference/graph/window.h"

namespace foreshore::graph {

namespace {

// What becomes of the sums: 32-bit integers, or codes of a scale of their own.
struct Result8 {
  bool is_codes = false;
  bool is_signed = false;
  std::vector<float> factors;  // By column.
  float zero = 0;
  float low = 0;
  float high = 0;
};

class CodesKernel : public StepKernel {
 public:
  bool is_convolution = false;
  std::size_t weights_index = 1;
  OnnxType left_type = OnnxType::kUint8;
  std::int32_t left_zero = 0;
  bool left_zero_is_read = false;  // MatMulInteger's and ConvInteger's come with each call, at input 2.
  std::int64_t groups = 1;
  std::int64_t depth = 0;
  Result8 result;
  std::vector<CodeMatrix> matrices;  // By group.
  const VectorKernels* kernels = nullptr;

  std::uint64_t held_bytes() const override {
    std::uint64_t held = result.factors.size() * sizeof(float);
    for (const CodeMatrix& group : matrices) held += group.held_bytes();
    return held;
  }

  bool Fits(const NodeContext& context) const override {
    return context.Info(0).type == left_type &&
           (!left_zero_is_read || !context.Has(2) || context.inputs[2].count() == 1);
  }

  std::uint64_t WorkspaceBytes(const NodeContext&) const override {
    return CodeProductPlaces(matrices[0].panels).end + BytesRoom();
  }

  Status Run(const NodeContext& context, std::span<const OutputRef> outputs, std::byte* workspace) const override {
    if (outputs[0].count() == 0) return Status::Ok();
    const std::int32_t zero =
        left_zero_is_read ? SignedZero(context.Has(2) ? context.inputs[2] : TensorRef(), 0, left_type) : left_zero;
    const std::int64_t columns = matrices[0].panels.columns();
    Poller poller(context);
    if (!is_convolution) {
      const std::int64_t rows = context.inputs[0].count() / depth;
      return RunRows(
          zero, 0, rows, workspace, poller,
          [&](std::int64_t first, std::int64_t count, std::int8_t* codes) {
            CopyRows(context.inputs[0].data + first * depth, count, codes);
          },
          outputs[0].data, columns, 1);
    }
    FORESHORE_ASSIGN_OR_RETURN(const Window window, PlanConv(context, weights_index));
    const std::int64_t per_group = context.ShapeOf(0)[1] / groups;
    const std::size_t element_bytes = OnnxTypeBytes(outputs[0].info->type);
    for (std::int64_t image = 0; image < context.ShapeOf(0)[0]; ++image) {
      for (std::int64_t g = 0; g < groups; ++g) {
        const std::byte* input = context.inputs[0].data + (image * groups + g) * per_group * window.InputCount();
        std::byte* out =
            outputs[0].data +
            static_cast<std::size_t>((image * groups + g) * columns * window.OutputCount()) * element_bytes;
        FORESHORE_RETURN_IF_ERROR(RunRows(
            zero, g, window.OutputCount(), workspace, poller,
            [&](std::int64_t first, std::int64_t count, std::int8_t* codes) {
              GatherPatches(input, window, first, count, static_cast<std::int8_t>(zero), codes);
            },
            out, 1, window.OutputCount()));
      }
    }
    return Status::Ok();
  }

 private:
  // Codes of a block, before they go where they belong.
  static std::uint64_t BytesRoom() { return static_cast<std::uint64_t>(kCodeBlockRows) * kSumColumns; }

  void CopyRows(const std::byte* from, std::int64_t count, std::int8_t* codes) const {
    const std::int64_t padded = matrices[0].panels.padded_depth();
    for (std::int64_t r = 0; r < count; ++r, codes += padded) {
      for (std::int64_t k = 0; k < depth; ++k) codes[k] = SignedCode(from[r * depth + k], left_type);
      std::fill(codes + depth, codes + padded, std::int8_t{0});
    }
  }

  void GatherPatches(const std::byte* input, const Window& window, std::int64_t first, std::int64_t count,
                     std::int8_t pad, std::int8_t* codes) const {
    const std::int64_t padded = matrices[0].panels.padded_depth();
    const std::uint8_t flip = left_type == OnnxType::kUint8 ? 0x80 : 0;
    const Axis& ys = window[1];
    const Axis& xs = window[2];
    const std::int64_t channels = depth / (ys.kernel * xs.kernel);
    const bool is_plain =
        ys.kernel * xs.kernel == 1 && window.OutputCount() == window.InputCount() && ys.stride == 1 && xs.stride == 1;
    if (is_plain) {
      for (std::int64_t c = 0; c < channels; ++c) {
        const std::byte* plane = input + c * window.InputCount() + first;
        for (std::int64_t r = 0; r < count; ++r) {
          codes[r * padded + c] = static_cast<std::int8_t>(static_cast<std::uint8_t>(plane[r]) ^ flip);
        }
      }
      for (std::int64_t r = 0; r < count; ++r) {
        std::fill(codes + r * padded + depth, codes + (r + 1) * padded, std::int8_t{0});
      }
      return;
    }
    for (std::int64_t r = 0; r < count; ++r, codes += padded) {
      const std::int64_t y = (first + r) / xs.output;
      const std::int64_t x = (first + r) % xs.output;
      std::int8_t* to = codes;
      for (std::int64_t c = 0; c < channels; ++c) {
        const std::byte* plane = input + c * window.InputCount();
        for (std::int64_t ky = 0; ky < ys.kernel; ++ky) {
          const std::int64_t row = ys.At(y, ky);
          for (std::int64_t kx = 0; kx < xs.kernel; ++kx) {
            const std::int64_t column = xs.At(x, kx);
            const bool is_inside = row >= 0 && row < ys.input && column >= 0 && column < xs.input;
            *to++ = is_inside
                        ? static_cast<std::int8_t>(static_cast<std::uint8_t>(plane[row * xs.input + column]) ^ flip)
                        : pad;
          }
        }
      }
      std::fill(to, codes + padded, std::int8_t{0});
    }
  }

  // `gather` makes rows; element (row, column) of the results goes to out[row · row_step + column · column_step].
  template <typename Gather>
  Status RunRows(std::int32_t zero, std::int64_t g, std::int64_t rows, std::byte* workspace, Poller& poller,
                 Gather gather, std::byte* out, std::int64_t row_step, std::int64_t column_step) const {
    const CodeMatrix& right = matrices[static_cast<std::size_t>(g)];
    auto* bytes = reinterpret_cast<std::uint8_t*>(workspace + CodeProductPlaces(right.panels).end);
    return MultiplyCodes(
        std::span(&right, 1), zero, rows, workspace, poller, gather,
        [&](std::size_t, std::int64_t first, std::int64_t column, std::int64_t width, const CodeSums& sums) {
          kernels->correct_sums(sums);
          Emit(g * right.panels.columns() + column, width, static_cast<std::int64_t>(sums.row_count), sums.sums, bytes,
               out, first, row_step, column * column_step, column_step);
        });
  }

  void Emit(std::int64_t column, std::int64_t width, std::int64_t count, const std::int32_t* sums, std::uint8_t* bytes,
            std::byte* out, std::int64_t first, std::int64_t row_step, std::int64_t offset,
            std::int64_t column_step) const {
    if (!result.is_codes) {
      auto* target = reinterpret_cast<std::int32_t*>(out) + offset;
      for (std::int64_t r = 0; r < count; ++r) {
        for (std::int64_t c = 0; c < width; ++c) {
          target[(first + r) * row_step + c * column_step] = sums[r * CodePanels::kWidth + c];
        }
      }
      return;
    }
    for (std::int64_t r = 0; r < count; ++r) {
      kernels->to_codes(sums + r * CodePanels::kWidth, result.factors.data() + column, static_cast<std::size_t>(width),
                        result.zero, result.low, result.high, bytes + r * CodePanels::kWidth);
    }
    auto* target = reinterpret_cast<std::uint8_t*>(out) + offset;
    for (std::int64_t c = 0; c < width; ++c) {
      for (std::int64_t r = 0; r < count; ++r) {
        target[(first + r) * row_step + c * column_step] = bytes[r * CodePanels::kWidth + c];
      }
    }
  }
};

// Sets how sums become codes; false where scales or zero points are no constants.
bool ReadCodes(const KernelSource& source, std::int64_t columns, std::size_t right_scale, Result8& result) {
  const auto& inputs = source.inputs;
  for (const std::size_t index : {std::size_t{1}, right_scale, std::size_t{6}, std::size_t{7}}) {
    if (inputs[index].data == nullptr) return false;
  }
  const std::int64_t scale_count = inputs[right_scale].count();
  if (inputs[1].count() != 1 || inputs[6].count() != 1 || inputs[7].count() != 1 ||
      (scale_count != 1 && scale_count != columns) || inputs[1].info->type != OnnxType::kFloat ||
      inputs[right_scale].info->type != OnnxType::kFloat || inputs[6].info->type != OnnxType::kFloat ||
      !Contains(kCodeTypes, inputs[7].info->type)) {
    return false;
  }
  result.is_codes = true;
  result.is_signed = inputs[7].info->type == OnnxType::kInt8;
  result.zero = static_cast<float>(CodeValue(inputs[7].data[0], inputs[7].info->type));
  result.low = result.is_signed ? -128.0F : 0.0F;
  result.high = result.is_signed ? 127.0F : 255.0F;
  for (std::int64_t c = 0; c < columns; ++c) {
    const float right = inputs[right_scale].as<float>()[scale_count == 1 ? 0 : c];
    result.factors.push_back(*inputs[1].as<float>() * right / *inputs[6].as<float>());
  }
  return true;
}

// A depthwise convolution of codes in floats: its sums are whole numbers below 2^24, which floats hold exactly.
class DepthwiseCodesKernel : public StepKernel {
 public:
  const VectorKernels* kernels = nullptr;
  OnnxType left_type = OnnxType::kUint8;
  float left_zero = 0;
  std::vector<float> weights;  // [channels][taps], zero points taken off.
  std::int64_t taps = 0;
  Result8 result;
  std::vector<std::int32_t> biases;  // By channel; empty for none.

  std::uint64_t held_bytes() const override {
    return HeldBytes(static_cast<std::int64_t>(result.factors.size()), taps);
  }
  static std::uint64_t HeldBytes(std::int64_t channels, std::int64_t taps) {
    return static_cast<std::uint64_t>(channels) * (static_cast<std::uint64_t>(taps) + 2) * sizeof(float);
  }
  bool Fits(const NodeContext& context) const override {
    const auto window = PlanConv(context, 3);
    return context.Info(0).type == left_type && window.ok() &&
           DepthwiseLayout(*window).size_bytes() <= kDepthwiseCopyBytesMax;
  }
  std::uint64_t WorkspaceBytes(const NodeContext& context) const override {
    const auto window = PlanConv(context, 3);
    if (!window.ok()) return 0;
    return DepthwiseLayout(*window).size_bytes() + static_cast<std::uint64_t>(window->OutputCount()) * sizeof(float);
  }

  Status Run(const NodeContext& context, std::span<const OutputRef> outputs, std::byte* workspace) const override {
    FORESHORE_ASSIGN_OR_RETURN(const Window window, PlanConv(context, 3));
    if (outputs[0].count() == 0) return Status::Ok();
    const DepthwiseLayout layout(window);
    auto* copy = reinterpret_cast<float*>(workspace);
    auto* sums = reinterpret_cast<float*>(workspace + layout.size_bytes());
    std::memset(copy, 0, layout.size_bytes());
    const std::vector<const float*> places = TapsOf(window, layout, copy);
    DepthwisePlane plane = PlaneOf(window, layout, places);
    plane.out = sums;
    Poller poller(context);
    const auto channels = static_cast<std::int64_t>(result.factors.size());
    for (std::int64_t i = 0; i < context.ShapeOf(0)[0] * channels; ++i) {
      const auto channel = static_cast<std::size_t>(i % channels);
      CopyChannel(context.inputs[0].as<std::uint8_t>() + i * window.InputCount(), window, layout, copy,
                  [this](const std::uint8_t* row, std::size_t count, float* to) {
                    kernels->dequantize(row, count, left_type == OnnxType::kInt8, left_zero, 1.0F, to);
                  });
      plane.weights = weights.data() + static_cast<std::int64_t>(channel) * taps;
      plane.bias = biases.empty() ? 0.0F : static_cast<float>(biases[channel]);
      kernels->depthwise(plane);
      const auto count = static_cast<std::size_t>(window.OutputCount());
      kernels->binary(Binary::kMul, sums, 1, &result.factors[channel], 0, count, sums);
      kernels->quantize(sums, count, 1.0F, result.zero, result.low, result.high,
                        outputs[0].as<std::uint8_t>() + i * window.OutputCount());
      FORESHORE_RETURN_IF_ERROR(poller.Add(window.OutputCount() * taps));
    }
    return Status::Ok();
  }
};

// `source` is a QLinearConv whose groups have one channel each way.
StepKernelResult MakeDepthwiseCodesKernel(const KernelSource& source, std::int64_t taps, std::uint64_t bytes_max) {
  // 64 products of 255 · 255 leave this much room below 2^24.
  constexpr std::int32_t kBiasMax = 12'000'000;
  const auto& inputs = source.inputs;
  const std::int64_t channels = inputs[3].info->shape[0];
  if (DepthwiseCodesKernel::HeldBytes(channels, taps) > bytes_max) return std::unique_ptr<StepKernel>();
  auto kernel = std::make_unique<DepthwiseCodesKernel>();
  for (const std::size_t zero : {std::size_t{2}, std::size_t{5}}) {
    if (inputs[zero].data == nullptr || !Contains(kCodeTypes, inputs[zero].info->type))
      return std::unique_ptr<StepKernel>();
  }
  const std::int64_t zero_count = inputs[5].count();
  if (inputs[2].count() != 1 || (zero_count != 1 && zero_count != channels) ||
      !ReadCodes(source, channels, 4, kernel->result)) {
    return std::unique_ptr<StepKernel>();
  }
  if (inputs.size() > 8 && inputs[8].info != nullptr) {
    if (inputs[8].data == nullptr || inputs[8].info->type != OnnxType::kInt32 || inputs[8].count() != channels) {
      return std::unique_ptr<StepKernel>();
    }
    const auto* bias = inputs[8].as<std::int32_t>();
    kernel->biases.assign(bias, bias + channels);
    if (std::any_of(bias, bias + channels, [](std::int32_t b) { return b > kBiasMax || b < -kBiasMax; })) {
      return std::unique_ptr<StepKernel>();
    }
  }
  const auto value = [](std::byte code, OnnxType type) { return static_cast<float>(CodeValue(code, type)); };
  kernel->kernels = &source.kernels;
  kernel->taps = taps;
  kernel->left_type = inputs[2].info->type;
  kernel->left_zero = value(inputs[2].data[0], kernel->left_type);
  for (std::int64_t i = 0; i < channels * taps; ++i) {
    const OnnxType type = inputs[3].info->type;
    const float zero = value(inputs[5].data[zero_count == 1 ? 0 : i / taps], type);
    kernel->weights.push_back(value(inputs[3].data[i], type) - zero);
  }
  return std::unique_ptr<StepKernel>(std::move(kernel));
}

}  // namespace

StepKernelResult MakeCodesKernel(const KernelSource& source, std::uint64_t bytes_max) {
  const std::string_view name = source.node.op_type;
  const bool is_linear = name == "QLinearConv" || name == "QLinearMatMul";
  const bool is_convolution = name == "QLinearConv" || name == "ConvInteger";
  const std::size_t right_index = is_linear ? 3 : 1;
  const std::size_t left_zero_index = 2;
  const std::size_t right_zero_index = is_linear ? 5 : 3;
  const auto& inputs = source.inputs;
  const auto has = [&](std::size_t index) { return index < inputs.size() && inputs[index].info != nullptr; };
  const TensorRef& right = inputs[right_index];
  if (right.data == nullptr || !Contains(kCodeTypes, right.info->type)) return std::unique_ptr<StepKernel>();
  const Shape& shape = right.info->shape;
  if (is_convolution ? shape.size() < 3 || shape.size() > 4 : shape.size() != 2) return std::unique_ptr<StepKernel>();
  const std::int64_t groups = is_convolution ? source.node.IntAttribute("group", 1) : 1;
  const std::int64_t columns = shape[is_convolution ? 0 : 1];
  const std::int64_t depth = is_convolution ? InnerCount(shape, 1) : shape[0];
  if (groups < 1 || columns < 1 || columns % groups != 0 || depth < 1 || depth > kCodeDepthMax) {
    return std::unique_ptr<StepKernel>();
  }
  if (name == "QLinearConv" && groups == columns && shape[1] == 1 && depth <= kDepthwiseTapsMax) {
    return MakeDepthwiseCodesKernel(source, depth, bytes_max);
  }
  // Panels of 64 columns would be mostly empty.
  if (groups > 1 && columns / groups < 16) return std::unique_ptr<StepKernel>();
  const std::uint64_t held_bytes = CodeMatrix::Bytes(columns / groups, depth) * static_cast<std::uint64_t>(groups) +
                                   static_cast<std::uint64_t>(columns) * sizeof(float);
  if (held_bytes > bytes_max) return std::unique_ptr<StepKernel>();
  auto kernel = std::make_unique<CodesKernel>();
  kernel->kernels = &source.kernels;
  kernel->is_convolution = is_convolution;
  kernel->weights_index = right_index;
  kernel->groups = groups;
  kernel->depth = depth;
  const std::int64_t zero_count = has(right_zero_index) ? inputs[right_zero_index].count() : 1;
  if (has(right_zero_index) && inputs[right_zero_index].data == nullptr) return std::unique_ptr<StepKernel>();
  if (zero_count != 1 && zero_count != columns) return std::unique_ptr<StepKernel>();
  const std::int32_t* biases = nullptr;
  if (is_linear) {
    if (inputs[left_zero_index].data == nullptr || inputs[left_zero_index].count() != 1) {
      return std::unique_ptr<StepKernel>();
    }
    kernel->left_type = inputs[left_zero_index].info->type;
    kernel->left_zero = SignedZero(inputs[left_zero_index], 0, kernel->left_type);
    if (!Contains(kCodeTypes, kernel->left_type) || !ReadCodes(source, columns, 4, kernel->result)) {
      return std::unique_ptr<StepKernel>();
    }
    if (has(8)) {
      if (inputs[8].data == nullptr || inputs[8].info->type != OnnxType::kInt32 || inputs[8].count() != columns) {
        return std::unique_ptr<StepKernel>();
      }
      biases = inputs[8].as<std::int32_t>();
    }
  } else {
    kernel->left_zero_is_read = true;
    kernel->left_type = OnnxType::kUint8;  // What DynamicQuantizeLinear makes; signed ones are the operator's.
  }
  const Int8Gemm& gemm = Int8GemmFor(source.kernels.level);
  const std::int64_t per_group = columns / groups;
  const std::int64_t column_step = is_convolution ? depth : 1;
  const std::int64_t depth_step = is_convolution ? 1 : columns;
  for (std::int64_t g = 0; g < groups; ++g) {
    CodeMatrix& matrix = kernel->matrices.emplace_back();
    FORESHORE_ASSIGN_OR_RETURN(matrix.panels,
                               CodePanels::Make(gemm, source.constants, right.data + g * per_group * column_step,
                                                right.info->type, per_group, depth, column_step, depth_step));
    matrix.depth = depth;
    matrix.SetZeros([&](std::int64_t c) {
      return SignedZero(has(right_zero_index) ? inputs[right_zero_index] : TensorRef(), g * per_group + c,
                        right.info->type);
    });
    if (biases != nullptr) matrix.biases.assign(biases + g * per_group, biases + (g + 1) * per_group);
  }
  return std::unique_ptr<StepKernel>(std::move(kernel));
}

}  // namespace foreshore::graph
