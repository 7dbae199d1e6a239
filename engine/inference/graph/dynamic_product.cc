#include "engine/inference/graph/dynamic_product.h"

#include <algorithm>
#include <cmath>
#include <vector>

#include "engine/inference/graph/code_panels.h"
#include "engine/inference/graph/saturate.h"

namespace foreshore::graph {

namespace {

constexpr TypeSet kCodeTypes = SetOf(OnnxType::kUint8) | SetOf(OnnxType::kInt8);
// Rows that are rounded and multiplied together.
constexpr std::int64_t kBlockRows = 96;

std::int32_t CodeAt(const TensorRef& codes, std::int64_t at) {
  const auto bits = static_cast<std::uint8_t>(codes.data[at]);
  return codes.info->type == OnnxType::kInt8 ? static_cast<std::int8_t>(bits) : static_cast<std::int32_t>(bits);
}

// Of one for all, or one for each.
std::int64_t PlaceIn(const TensorRef& list, std::int64_t column) {
  return list.count() == 1 ? 0 : column;
}

Status InferDynamicProduct(const NodeContext& context, Infos& outputs) {
  FORESHORE_RETURN_IF_ERROR(context.Require(0, SetOf(OnnxType::kFloat)));
  FORESHORE_RETURN_IF_ERROR(context.Require(1, kCodeTypes));
  FORESHORE_RETURN_IF_ERROR(context.RequireRank(1, 2));
  const Shape& x = context.ShapeOf(0);
  const Shape& weights = context.ShapeOf(1);
  if (x.empty() || x.back() != weights[0]) {
    return Status::InvalidArgument("multiplies " + ToText(context.Info(0)) + " by " + ToText(context.Info(1)) +
                                   ", expected rows that fit");
  }
  TensorInfo info = context.Info(0);
  info.shape.back() = weights[1];
  outputs.push_back(std::move(info));
  return Status::Ok();
}

std::uint64_t WorkspaceBytes(const NodeContext& context) {
  return static_cast<std::uint64_t>(context.inputs[0].count());
}

// The specification.
Status RunDynamicProduct(const NodeContext& context, std::span<const OutputRef> outputs) {
  const std::int64_t depth = context.ShapeOf(1)[0];
  const std::int64_t columns = context.ShapeOf(1)[1];
  if (outputs[0].count() == 0) return Status::Ok();
  const auto* x = context.inputs[0].as<float>();
  const DynamicScale scale = DynamicScaleOf(x, context.inputs[0].count());
  auto* codes = reinterpret_cast<std::uint8_t*>(context.workspace);
  for (std::int64_t i = 0; i < context.inputs[0].count(); ++i) {
    codes[i] = Saturate<std::uint8_t>(static_cast<double>(std::nearbyint(x[i] / scale.divisor)) + scale.zero);
  }
  for (std::int64_t row = 0; row < outputs[0].count() / columns; ++row) {
    FORESHORE_RETURN_IF_ERROR(context.Poll());
    for (std::int64_t column = 0; column < columns; ++column) {
      const std::int64_t zero = context.Has(2) ? CodeAt(context.inputs[2], PlaceIn(context.inputs[2], column)) : 0;
      std::int64_t sum = 0;
      for (std::int64_t k = 0; k < depth; ++k) {
        sum += (codes[row * depth + k] - scale.zero) * (CodeAt(context.inputs[1], k * columns + column) - zero);
      }
      const float factor = scale.scale * context.inputs[3].as<float>()[PlaceIn(context.inputs[3], column)];
      float value = static_cast<float>(static_cast<std::int32_t>(sum)) * factor;
      if (context.Has(4)) value += context.inputs[4].as<float>()[column];
      outputs[0].as<float>()[row * columns + column] = value;
    }
  }
  return Status::Ok();
}

//   Σ (a − za)(w − zw) = Σ a·w − za · Σ w − zw · Σ a + depth · za · zw, over signed codes, as in kernel_codes.cc.
class DynamicProductKernel : public StepKernel {
 public:
  DynamicProductKernel(const VectorKernels& kernels, CodePanels panels, std::int64_t depth)
      : kernels_(kernels), panels_(std::move(panels)), depth_(depth) {}

  // By column, filled up to a panel.
  void ReadColumns(const KernelSource& source) {
    const auto padded = static_cast<std::size_t>(panels_.panel_count() * CodePanels::kWidth);
    scales_.resize(padded);
    zeros_.resize(padded);
    biases_.resize(padded);
    const auto& inputs = source.inputs;
    const bool has_zero = inputs[2].info != nullptr;
    const bool has_bias = inputs.size() > 4 && inputs[4].info != nullptr;
    const std::int32_t shift = inputs[1].info->type == OnnxType::kUint8 ? 128 : 0;
    for (std::int64_t c = 0; c < panels_.columns(); ++c) {
      const auto at = static_cast<std::size_t>(c);
      scales_[at] = inputs[3].as<float>()[PlaceIn(inputs[3], c)];
      zeros_[at] = (has_zero ? CodeAt(inputs[2], PlaceIn(inputs[2], c)) : 0) - shift;
      if (has_bias) biases_[at] = inputs[4].as<float>()[c];
      has_zeros_ = has_zeros_ || zeros_[at] != 0;
    }
    has_biases_ = has_bias;
  }

  std::uint64_t held_bytes() const override {
    return panels_.held_bytes() + scales_.size() * (2 * sizeof(float) + sizeof(std::int32_t));
  }
  std::uint64_t WorkspaceBytes(const NodeContext&) const override { return Layout().end; }

  Status Run(const NodeContext& context, std::span<const OutputRef> outputs, std::byte* workspace) const override {
    if (outputs[0].count() == 0) return Status::Ok();
    const auto* x = context.inputs[0].as<float>();
    const DynamicScale scale = DynamicScaleOf(x, context.inputs[0].count());
    const Places places = Layout();
    auto* bytes = reinterpret_cast<std::uint8_t*>(workspace + places.bytes);
    auto* codes = reinterpret_cast<std::int8_t*>(workspace);
    auto* sums = reinterpret_cast<std::int32_t*>(workspace + places.sums);
    std::int32_t row_sums[kBlockRows];
    Poller poller(context);
    const std::int64_t rows = outputs[0].count() / panels_.columns();
    for (std::int64_t first = 0; first < rows; first += kBlockRows) {
      const std::int64_t count = std::min(kBlockRows, rows - first);
      for (std::int64_t r = 0; r < count; ++r) {
        kernels_.quantize(x + (first + r) * depth_, static_cast<std::size_t>(depth_), scale.divisor,
                          static_cast<float>(scale.zero), 0, 255, bytes);
        row_sums[r] = SignRow(bytes, codes + r * panels_.padded_depth());
      }
      panels_.PackRows(codes, count, workspace + places.packed);
      for (std::int64_t panel = 0; panel < panels_.panel_count(); ++panel) {
        panels_.Multiply(workspace + places.packed, count, panel, workspace + places.kernel, sums);
        Emit(scale, panel * CodePanels::kWidth, count, row_sums, sums,
             outputs[0].as<float>() + first * panels_.columns());
      }
      FORESHORE_RETURN_IF_ERROR(poller.Add(count * panels_.padded_depth() * panels_.columns() / 4));
    }
    return Status::Ok();
  }

 private:
  struct Places {
    std::uint64_t bytes = 0;
    std::uint64_t packed = 0;
    std::uint64_t kernel = 0;
    std::uint64_t sums = 0;
    std::uint64_t end = 0;
  };
  Places Layout() const {
    constexpr auto aligned = &AlignedBytes::RoundUp;
    Places places;
    const auto padded = static_cast<std::uint64_t>(panels_.padded_depth());
    places.bytes = aligned(static_cast<std::uint64_t>(kBlockRows) * padded);
    places.packed = places.bytes + aligned(padded);
    places.kernel = places.packed + aligned(panels_.PackedBytes(kBlockRows));
    places.sums = places.kernel + aligned(panels_.WorkspaceBytes());
    places.end = places.sums + static_cast<std::uint64_t>(kBlockRows * CodePanels::kWidth) * sizeof(std::int32_t);
    return places;
  }

  // Returns the row's sum of signed codes.
  std::int32_t SignRow(const std::uint8_t* bytes, std::int8_t* codes) const {
    std::int32_t sum = 0;
    for (std::int64_t k = 0; k < depth_; ++k) {
      codes[k] = static_cast<std::int8_t>(bytes[k] ^ 0x80U);
      sum += codes[k];
    }
    std::fill(codes + depth_, codes + panels_.padded_depth(), std::int8_t{0});
    return sum;
  }

  void Emit(const DynamicScale& scale, std::int64_t column, std::int64_t count, const std::int32_t* row_sums,
            const std::int32_t* sums, float* out) const {
    constexpr auto kWidth = static_cast<std::size_t>(CodePanels::kWidth);
    const auto width = static_cast<std::size_t>(std::min<std::int64_t>(CodePanels::kWidth, panels_.columns() - column));
    const std::int64_t left_zero = static_cast<std::int64_t>(scale.zero) - 128;
    std::uint32_t offsets[kWidth] = {};
    float factors[kWidth] = {};
    for (std::size_t c = 0; c < width; ++c) {
      const auto at = static_cast<std::size_t>(column) + c;
      const std::int64_t taken = left_zero * (panels_.column_sum(column + static_cast<std::int64_t>(c)) -
                                              depth_ * static_cast<std::int64_t>(zeros_[at]));
      offsets[c] = static_cast<std::uint32_t>(-taken);
      factors[c] = scale.scale * scales_[at];
    }
    const std::int32_t* zeros = zeros_.data() + column;
    const float* biases = biases_.data() + column;
    for (std::int64_t r = 0; r < count; ++r, sums += kWidth) {
      float values[kWidth];
      const auto row_sum = has_zeros_ ? static_cast<std::uint32_t>(row_sums[r]) : 0U;
      for (std::size_t c = 0; c < kWidth; ++c) {
        const std::uint32_t sum =
            static_cast<std::uint32_t>(sums[c]) + offsets[c] - row_sum * static_cast<std::uint32_t>(zeros[c]);
        values[c] = static_cast<float>(static_cast<std::int32_t>(sum)) * factors[c];
      }
      if (has_biases_) {
        for (std::size_t c = 0; c < kWidth; ++c) values[c] += biases[c];
      }
      std::copy(values, values + width, out + r * panels_.columns() + column);
    }
  }

  const VectorKernels& kernels_;
  CodePanels panels_;
  std::int64_t depth_;
  std::vector<float> scales_;
  std::vector<std::int32_t> zeros_;  // Of signed codes.
  std::vector<float> biases_;
  bool has_zeros_ = false;
  bool has_biases_ = false;
};

}  // namespace

// A value that is no number counts as none, as std::fmin has it. Lanes side by side, so that they are a vector.
DynamicScale DynamicScaleOf(const float* values, std::int64_t count) {
  constexpr std::int64_t kLanes = 16;
  float lows[kLanes] = {};
  float highs[kLanes] = {};
  std::int64_t i = 0;
  for (; i + kLanes <= count; i += kLanes) {
    for (std::int64_t lane = 0; lane < kLanes; ++lane) {
      const float value = values[i + lane];
      lows[lane] = value < lows[lane] ? value : lows[lane];
      highs[lane] = value > highs[lane] ? value : highs[lane];
    }
  }
  for (; i < count; ++i) {
    lows[0] = std::fmin(lows[0], values[i]);
    highs[0] = std::fmax(highs[0], values[i]);
  }
  const float low = *std::min_element(lows, lows + kLanes);
  const float high = *std::max_element(highs, highs + kLanes);
  DynamicScale result;
  result.scale = (high - low) / 255.0F;
  // Where all is zero, any scale will do; a division by zero will not.
  result.divisor = result.scale > 0 ? result.scale : 1.0F;
  result.zero = Saturate<std::uint8_t>(static_cast<double>(std::nearbyint(-low / result.divisor)));
  return result;
}

const Operator& DynamicProductOperator() {
  static constexpr Operator kOperator{.name = "DynamicProduct",
                                      .inputs_min = 4,
                                      .inputs_max = 5,
                                      .kind = OperatorKind::kHeavy,
                                      .infer = InferDynamicProduct,
                                      .run = RunDynamicProduct,
                                      .workspace = WorkspaceBytes};
  return kOperator;
}

StepKernelResult MakeDynamicProductKernel(const KernelSource& source, std::uint64_t bytes_max) {
  const auto& inputs = source.inputs;
  const Shape& shape = inputs[1].info->shape;
  const std::int64_t depth = shape[0];
  const std::int64_t columns = shape[1];
  if (depth < 1 || depth > kCodeDepthMax || columns < 1 || CodePanels::Bytes(columns, depth) > bytes_max) {
    return std::unique_ptr<StepKernel>();
  }
  FORESHORE_ASSIGN_OR_RETURN(CodePanels panels,
                             CodePanels::Make(Int8GemmFor(source.kernels.level), source.constants, inputs[1].data,
                                              inputs[1].info->type, columns, depth, 1, columns));
  auto kernel = std::make_unique<DynamicProductKernel>(source.kernels, std::move(panels), depth);
  kernel->ReadColumns(source);
  return std::unique_ptr<StepKernel>(std::move(kernel));
}

}  // namespace foreshore::graph
