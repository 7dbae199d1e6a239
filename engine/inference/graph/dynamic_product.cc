#include "engine/inference/graph/dynamic_product.h"

#include <algorithm>
#include <cmath>
#include <vector>

#include "engine/inference/graph/code_matrix.h"
#include "engine/inference/graph/saturate.h"

namespace foreshore::graph {

namespace {

std::int32_t CodeAt(const TensorRef& codes, std::int64_t at) {
  return CodeValue(codes.data[at], codes.info->type);
}

// Of one for all, or one for each.
std::int64_t PlaceIn(const TensorRef& list, std::int64_t column) {
  return list.count() == 1 ? 0 : column;
}

bool IsDynamic(const OnnxNode& node) {
  return node.op_type == "DynamicProduct";
}
std::size_t FirstPart(const OnnxNode& node) {
  return IsDynamic(node) ? 1 : 3;
}

// One of the products, by its inputs.
struct Part {
  TensorRef codes;
  TensorRef zeros;
  TensorRef scales;
  TensorRef biases;

  std::int64_t depth() const { return codes.info->shape[0]; }
  std::int64_t columns() const { return codes.info->shape[1]; }
  float Scale(std::int64_t column) const { return scales.as<float>()[PlaceIn(scales, column)]; }
};

std::vector<Part> PartsOf(const OnnxNode& node, std::span<const TensorRef> inputs) {
  std::vector<Part> parts;
  const auto at = [&](std::size_t index) { return index < inputs.size() ? inputs[index] : TensorRef(); };
  for (std::size_t i = FirstPart(node); i < inputs.size(); i += kProductParts) {
    parts.push_back({at(i), at(i + 1), at(i + 2), at(i + 3)});
  }
  return parts;
}

Status InferProducts(const NodeContext& context, Infos& outputs) {
  const std::size_t first = FirstPart(context.node);
  if (first == 1) {
    FORESHORE_RETURN_IF_ERROR(context.Require(0, SetOf(OnnxType::kFloat)));
  } else {
    FORESHORE_RETURN_IF_ERROR(context.Require(0, kCodeTypes));
    FORESHORE_RETURN_IF_ERROR(context.RequireSameType(0, 2));
  }
  const Shape& x = context.ShapeOf(0);
  for (std::size_t i = first; i < context.inputs.size(); i += kProductParts) {
    FORESHORE_RETURN_IF_ERROR(context.Require(i, kCodeTypes));
    FORESHORE_RETURN_IF_ERROR(context.RequireRank(i, 2));
    const Shape& weights = context.ShapeOf(i);
    if (x.empty() || x.back() != weights[0]) {
      return Status::InvalidArgument("multiplies " + ToText(context.Info(0)) + " by " + ToText(context.Info(i)) +
                                     ", expected rows that fit");
    }
    TensorInfo info{OnnxType::kFloat, x};
    info.shape.back() = weights[1];
    outputs.push_back(std::move(info));
  }
  return Status::Ok();
}

std::uint64_t DynamicWorkspaceBytes(const NodeContext& context) {
  return static_cast<std::uint64_t>(context.inputs[0].count());
}

// Codes of the rows, what they stand for, and how.
struct Left {
  const std::byte* codes = nullptr;
  OnnxType type = OnnxType::kUint8;
  std::int32_t zero = 0;
  float scale = 0;

  std::int32_t Code(std::int64_t at) const { return CodeValue(codes[at], type); }
};

// The specification.
Status RunRows(const NodeContext& context, const Left& left, std::span<const OutputRef> outputs) {
  const std::vector<Part> parts = PartsOf(context.node, context.inputs);
  for (std::size_t p = 0; p < parts.size(); ++p) {
    const Part& part = parts[p];
    if (outputs[p].count() == 0) continue;
    for (std::int64_t row = 0; row < outputs[p].count() / part.columns(); ++row) {
      FORESHORE_RETURN_IF_ERROR(context.Poll());
      for (std::int64_t column = 0; column < part.columns(); ++column) {
        const std::int64_t zero = part.zeros.info != nullptr ? CodeAt(part.zeros, PlaceIn(part.zeros, column)) : 0;
        std::int64_t sum = 0;
        for (std::int64_t k = 0; k < part.depth(); ++k) {
          sum += (left.Code(row * part.depth() + k) - left.zero) *
                 (CodeAt(part.codes, k * part.columns() + column) - zero);
        }
        const float factor = left.scale * part.Scale(column);
        float value = static_cast<float>(static_cast<std::int32_t>(sum)) * factor;
        if (part.biases.info != nullptr) value += part.biases.as<float>()[column];
        outputs[p].as<float>()[row * part.columns() + column] = value;
      }
    }
  }
  return Status::Ok();
}

Status RunDynamicProduct(const NodeContext& context, std::span<const OutputRef> outputs) {
  const std::int64_t count = context.inputs[0].count();
  const auto* x = context.inputs[0].as<float>();
  const DynamicScale scale = DynamicScaleOf(x, count);
  auto* codes = reinterpret_cast<std::uint8_t*>(context.workspace);
  for (std::int64_t i = 0; i < count; ++i) {
    codes[i] = Saturate<std::uint8_t>(static_cast<double>(std::nearbyint(x[i] / scale.divisor)) + scale.zero);
  }
  return RunRows(context, {context.workspace, OnnxType::kUint8, scale.zero, scale.scale}, outputs);
}

Status RunCodeProduct(const NodeContext& context, std::span<const OutputRef> outputs) {
  return RunRows(
      context,
      {context.inputs[0].data, context.Info(0).type, CodeAt(context.inputs[2], 0), *context.inputs[1].as<float>()},
      outputs);
}

class DynamicProductKernel : public StepKernel {
 public:
  DynamicProductKernel(const VectorKernels& kernels, bool is_dynamic) : kernels_(kernels), is_dynamic_(is_dynamic) {}

  Status Add(const KernelSource& source, const Part& part) {
    CodeMatrix& matrix = matrices_.emplace_back();
    FORESHORE_ASSIGN_OR_RETURN(
        matrix.panels, CodePanels::Make(Int8GemmFor(source.kernels.level), source.constants, part.codes.data,
                                        part.codes.info->type, part.columns(), part.depth(), 1, part.columns()));
    matrix.depth = part.depth();
    matrix.SetZeros([&](std::int64_t c) { return SignedZero(part.zeros, c, part.codes.info->type); });
    // Filled up to a panel.
    Floats& floats = floats_.emplace_back();
    const auto padded = static_cast<std::size_t>(matrix.panels.panel_count() * CodePanels::kWidth);
    floats.scales.resize(padded);
    for (std::int64_t c = 0; c < part.columns(); ++c) floats.scales[static_cast<std::size_t>(c)] = part.Scale(c);
    if (part.biases.info == nullptr) return Status::Ok();
    floats.biases.assign(part.biases.as<float>(), part.biases.as<float>() + part.columns());
    floats.biases.resize(padded);
    return Status::Ok();
  }

  std::uint64_t held_bytes() const override {
    std::uint64_t held = 0;
    for (const CodeMatrix& matrix : matrices_) held += matrix.held_bytes();
    for (const Floats& floats : floats_) held += (floats.scales.size() + floats.biases.size()) * sizeof(float);
    return held;
  }
  // The codes of each product.
  bool Holds(std::size_t input) const override {
    const std::size_t first = is_dynamic_ ? 1 : 3;
    return input >= first && (input - first) % kProductParts == 0;
  }
  std::uint64_t WorkspaceBytes(const NodeContext&) const override { return CodeProductPlaces(matrices_[0].panels).end; }

  Status Run(const NodeContext& context, std::span<const OutputRef> outputs, std::byte* workspace) const override {
    const std::int64_t depth = matrices_[0].depth;
    const std::int64_t rows = context.inputs[0].count() / depth;
    if (rows == 0) return Status::Ok();
    const std::int64_t padded = matrices_[0].panels.padded_depth();
    Poller poller(context);
    const auto multiply = [&](float scale, std::int32_t zero, auto fill) {
      return MultiplyCodes(
          matrices_, zero, rows, workspace, poller,
          [&](std::int64_t first, std::int64_t count, std::int8_t* codes) {
            for (std::int64_t r = 0; r < count; ++r, codes += padded) {
              fill((first + r) * depth, codes);
              std::fill(codes + depth, codes + padded, std::int8_t{0});
            }
          },
          [&](std::size_t part, std::int64_t first, std::int64_t column, std::int64_t width, const CodeSums& sums) {
            const Floats& floats = floats_[part];
            float factors[kSumColumns];
            for (std::size_t c = 0; c < kSumColumns; ++c) {
              factors[c] = scale * floats.scales[static_cast<std::size_t>(column) + c];
            }
            const std::int64_t columns = matrices_[part].panels.columns();
            kernels_.sums_to_floats(sums, factors, floats.biases.empty() ? nullptr : floats.biases.data() + column,
                                    static_cast<std::size_t>(width),
                                    outputs[part].as<float>() + first * columns + column, columns);
          });
    };
    if (is_dynamic_) {
      const auto* x = context.inputs[0].as<float>();
      const DynamicScale scale = DynamicScaleOf(x, context.inputs[0].count());
      const std::int32_t zero = static_cast<std::int32_t>(scale.zero) - 128;
      return multiply(scale.scale, zero, [&](std::int64_t at, std::int8_t* codes) {
        kernels_.quantize(x + at, static_cast<std::size_t>(depth), scale.divisor, static_cast<float>(zero), -128, 127,
                          reinterpret_cast<std::uint8_t*>(codes));
      });
    }
    const OnnxType type = context.Info(0).type;
    const std::uint8_t flip = type == OnnxType::kUint8 ? 0x80 : 0;
    return multiply(*context.inputs[1].as<float>(), SignedZero(context.inputs[2], 0, type),
                    [&](std::int64_t at, std::int8_t* codes) {
                      const auto* from = context.inputs[0].as<std::uint8_t>() + at;
                      for (std::int64_t k = 0; k < depth; ++k) codes[k] = static_cast<std::int8_t>(from[k] ^ flip);
                    });
  }

 private:
  struct Floats {
    std::vector<float> scales;
    std::vector<float> biases;  // Empty for none.
  };

  const VectorKernels& kernels_;
  bool is_dynamic_;
  std::vector<CodeMatrix> matrices_;
  std::vector<Floats> floats_;  // By matrix.
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
                                      .inputs_max = 1 + kJoinedProductsMax * kProductParts,
                                      .outputs_max = kJoinedProductsMax,
                                      .kind = OperatorKind::kHeavy,
                                      .infer = InferProducts,
                                      .run = RunDynamicProduct,
                                      .workspace = DynamicWorkspaceBytes};
  return kOperator;
}

const Operator& CodeProductOperator() {
  static constexpr Operator kOperator{.name = "CodeProduct",
                                      .inputs_min = 6,
                                      .inputs_max = 3 + kJoinedProductsMax * kProductParts,
                                      .outputs_max = kJoinedProductsMax,
                                      .kind = OperatorKind::kHeavy,
                                      .infer = InferProducts,
                                      .run = RunCodeProduct};
  return kOperator;
}

std::uint64_t DynamicProductBytes(std::int64_t depth, std::int64_t columns) {
  const std::int64_t padded = (columns + CodePanels::kWidth - 1) / CodePanels::kWidth * CodePanels::kWidth;
  return CodeMatrix::Bytes(columns, depth) + static_cast<std::uint64_t>(padded) * 2 * sizeof(float);
}

StepKernelResult MakeDynamicProductKernel(const KernelSource& source, std::uint64_t bytes_max) {
  const std::vector<Part> parts = PartsOf(source.node, source.inputs);
  std::uint64_t held_bytes = 0;
  for (const Part& part : parts) {
    if (part.depth() < 1 || part.depth() > kCodeDepthMax || part.columns() < 1) return std::unique_ptr<StepKernel>();
    held_bytes += DynamicProductBytes(part.depth(), part.columns());
  }
  if (held_bytes > bytes_max) return std::unique_ptr<StepKernel>();
  auto kernel = std::make_unique<DynamicProductKernel>(source.kernels, IsDynamic(source.node));
  for (const Part& part : parts) FORESHORE_RETURN_IF_ERROR(kernel->Add(source, part));
  return std::unique_ptr<StepKernel>(std::move(kernel));
}

}  // namespace foreshore::graph
