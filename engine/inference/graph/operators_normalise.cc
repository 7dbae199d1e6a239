// Softmax and the normalisations.
#include <algorithm>
#include <cmath>

#include "engine/inference/graph/operator.h"

namespace foreshore::graph {

namespace {

// Rows of `size` elements, `inner` apart. Before operator set 13 everything from the axis on is one row.
struct Rows {
  std::int64_t outer = 1;
  std::int64_t size = 1;
  std::int64_t inner = 1;
};

Result<Rows> SoftmaxRows(const NodeContext& context) {
  const Shape& shape = context.ShapeOf(0);
  const bool is_coerced = context.opset < 13;
  const std::int64_t listed = context.Int("axis", is_coerced ? 1 : -1);
  // A vector has no axis 1, and is then one row per element.
  if (is_coerced && listed == static_cast<std::int64_t>(shape.size())) return Rows{ElementCount(shape), 1, 1};
  FORESHORE_ASSIGN_OR_RETURN(const std::size_t axis, NormaliseAxis(listed, shape.size()));
  if (is_coerced) return Rows{OuterCount(shape, axis), InnerCount(shape, axis), 1};
  return Rows{OuterCount(shape, axis), shape[axis], InnerCount(shape, axis + 1)};
}

Status InferSoftmax(const NodeContext& context, Infos& outputs) {
  FORESHORE_RETURN_IF_ERROR(context.Require(0, kFloatTypes));
  FORESHORE_RETURN_IF_ERROR(SoftmaxRows(context).status());
  outputs.push_back(context.Info(0));
  return Status::Ok();
}

template <bool kLog>
Status RunSoftmax(const NodeContext& context, std::span<const OutputRef> outputs) {
  FORESHORE_ASSIGN_OR_RETURN(const Rows rows, SoftmaxRows(context));
  if (outputs[0].count() == 0) return Status::Ok();
  if (!kLog && context.kernels != nullptr && rows.inner == 1 && context.Info(0).type == OnnxType::kFloat) {
    for (std::int64_t row = 0; row < rows.outer; ++row) {
      context.kernels->softmax(context.inputs[0].as<float>() + row * rows.size, static_cast<std::size_t>(rows.size),
                               outputs[0].as<float>() + row * rows.size);
    }
    return Status::Ok();
  }
  return Dispatch<kFloatTypes>(context.Info(0).type, [&]<typename T>() {
    using W = Wide<T>;
    for (std::int64_t row = 0; row < rows.outer * rows.inner; ++row) {
      const std::int64_t start = row / rows.inner * rows.size * rows.inner + row % rows.inner;
      const T* from = context.inputs[0].as<T>() + start;
      T* to = outputs[0].as<T>() + start;
      // The largest is taken off first, so that no exponential overflows.
      auto largest = static_cast<W>(from[0]);
      for (std::int64_t i = 1; i < rows.size; ++i) largest = std::fmax(largest, static_cast<W>(from[i * rows.inner]));
      double sum = 0;
      for (std::int64_t i = 0; i < rows.size; ++i) sum += std::exp(static_cast<W>(from[i * rows.inner]) - largest);
      for (std::int64_t i = 0; i < rows.size; ++i) {
        const W shifted = static_cast<W>(from[i * rows.inner]) - largest;
        const W value = kLog ? shifted - static_cast<W>(std::log(sum)) : static_cast<W>(std::exp(shifted) / sum);
        to[i * rows.inner] = static_cast<T>(value);
      }
    }
    return Status::Ok();
  });
}

Status RequireBroadcastsTo(const NodeContext& context, std::size_t index, const Shape& shape) {
  const auto joined = BroadcastShape(shape, context.ShapeOf(index));
  if (joined.ok() && *joined == shape) return Status::Ok();
  return Status::InvalidArgument("input " + std::to_string(index) + " is " + ToText(context.Info(index)) +
                                 ", does not broadcast to " + ToText(shape));
}

Status InferLayerNormalization(const NodeContext& context, Infos& outputs) {
  FORESHORE_RETURN_IF_ERROR(context.Require(0, kFloatTypes));
  FORESHORE_ASSIGN_OR_RETURN(const std::size_t axis, NormaliseAxis(context.Int("axis", -1), context.Rank(0)));
  if (context.Int("stash_type", 1) != 1) return Status::Unsupported("stash_type is not 1 (float)");
  const Shape& shape = context.ShapeOf(0);
  for (std::size_t i = 1; i < 3; ++i) {
    if (!context.Has(i)) continue;
    FORESHORE_RETURN_IF_ERROR(context.RequireSameType(0, i));
    FORESHORE_RETURN_IF_ERROR(RequireBroadcastsTo(context, i, shape));
  }
  outputs.push_back(context.Info(0));
  TensorInfo statistics{OnnxType::kFloat, shape};
  for (std::size_t i = axis; i < shape.size(); ++i) statistics.shape[i] = 1;
  outputs.push_back(statistics);
  outputs.push_back(statistics);
  return Status::Ok();
}

template <typename T>
void NormaliseRow(const T* from, T* to, std::int64_t size, double epsilon, double& mean, double& inverse) {
  double sum = 0;
  for (std::int64_t i = 0; i < size; ++i) sum += static_cast<double>(static_cast<Wide<T>>(from[i]));
  mean = sum / static_cast<double>(size);
  double squares = 0;
  for (std::int64_t i = 0; i < size; ++i) {
    const double distance = static_cast<double>(static_cast<Wide<T>>(from[i])) - mean;
    squares += distance * distance;
  }
  inverse = 1 / std::sqrt(squares / static_cast<double>(size) + epsilon);
  for (std::int64_t i = 0; i < size; ++i) {
    to[i] = static_cast<T>(static_cast<Wide<T>>((static_cast<double>(static_cast<Wide<T>>(from[i])) - mean) * inverse));
  }
}

Status RunLayerNormalization(const NodeContext& context, std::span<const OutputRef> outputs) {
  FORESHORE_ASSIGN_OR_RETURN(const std::size_t axis, NormaliseAxis(context.Int("axis", -1), context.Rank(0)));
  const Shape& shape = context.ShapeOf(0);
  const std::int64_t outer = OuterCount(shape, axis);
  const std::int64_t size = InnerCount(shape, axis);
  if (ElementCount(shape) == 0) return Status::Ok();
  const auto epsilon = static_cast<double>(context.Float("epsilon", 1e-5F));
  const auto is_row = [&](std::size_t index) {
    return context.inputs[index].count() == size && InnerCount(context.ShapeOf(index), 0) == size;
  };
  const bool has_statistics =
      outputs.size() > 1 && (outputs[1].data != nullptr || (outputs.size() > 2 && outputs[2].data != nullptr));
  if (context.kernels != nullptr && context.Info(0).type == OnnxType::kFloat && !has_statistics && is_row(1) &&
      (!context.Has(2) || is_row(2))) {
    for (std::int64_t row = 0; row < outer; ++row) {
      context.kernels->layer_norm(context.inputs[0].as<float>() + row * size, context.inputs[1].as<float>(),
                                  context.Has(2) ? context.inputs[2].as<float>() : nullptr, static_cast<float>(epsilon),
                                  static_cast<std::size_t>(size), outputs[0].as<float>() + row * size);
    }
    return Status::Ok();
  }
  return Dispatch<kFloatTypes>(context.Info(0).type, [&]<typename T>() {
    T* out = outputs[0].as<T>();
    for (std::int64_t row = 0; row < outer; ++row) {
      double mean = 0;
      double inverse = 0;
      NormaliseRow(context.inputs[0].as<T>() + row * size, out + row * size, size, epsilon, mean, inverse);
      const auto store = [&](std::size_t index, double value) {
        if (index < outputs.size() && outputs[index].data != nullptr) {
          outputs[index].as<float>()[row] = static_cast<float>(value);
        }
      };
      store(1, mean);
      store(2, inverse);
    }
    const bool has_shift = context.Has(2);
    const std::array strides{BroadcastStrides(context.ShapeOf(1), shape),
                             has_shift ? BroadcastStrides(context.ShapeOf(2), shape) : Shape(shape.size(), 0)};
    const T* scale = context.inputs[1].as<T>();
    const T* shift = has_shift ? context.inputs[2].as<T>() : nullptr;
    Walk(shape, strides, [&](std::int64_t i, const auto& offsets) {
      const auto added = shift != nullptr ? static_cast<Wide<T>>(shift[offsets[1]]) : Wide<T>{0};
      out[i] = static_cast<T>(static_cast<Wide<T>>(out[i]) * static_cast<Wide<T>>(scale[offsets[0]]) + added);
    });
    return Status::Ok();
  });
}

// Input 0 has batches and channels, and each input from 1 to before `end` a number for each channel.
Status RequireChannels(const NodeContext& context, std::size_t rank_min, std::size_t end) {
  if (context.Rank(0) < rank_min) {
    return Status::InvalidArgument("input 0 is " + ToText(context.Info(0)) + ", expected [batch, channels, …]");
  }
  for (std::size_t i = 1; i < end; ++i) {
    FORESHORE_RETURN_IF_ERROR(context.RequireSameType(0, i));
    if (context.ShapeOf(i) != Shape{context.ShapeOf(0)[1]}) {
      return Status::InvalidArgument("input " + std::to_string(i) + " is " + ToText(context.Info(i)) +
                                     ", expected a number per channel of " + ToText(context.Info(0)));
    }
  }
  return Status::Ok();
}

Status InferBatchNormalization(const NodeContext& context, Infos& outputs) {
  FORESHORE_RETURN_IF_ERROR(context.Require(0, kFloatTypes));
  if (context.Int("training_mode", 0) != 0) return Status::Unsupported("training_mode is 1, expected inference");
  FORESHORE_RETURN_IF_ERROR(RequireChannels(context, 2, 5));
  outputs.push_back(context.Info(0));
  return Status::Ok();
}

Status RunBatchNormalization(const NodeContext& context, std::span<const OutputRef> outputs) {
  const Shape& shape = context.ShapeOf(0);
  const std::int64_t inner = InnerCount(shape, 2);
  const auto epsilon = static_cast<double>(context.Float("epsilon", 1e-5F));
  return Dispatch<kFloatTypes>(context.Info(0).type, [&]<typename T>() {
    using W = Wide<T>;
    for (std::int64_t block = 0; block < shape[0] * shape[1] && inner > 0; ++block) {
      const std::int64_t channel = block % shape[1];
      const auto parameter = [&](std::size_t index) {
        return static_cast<double>(static_cast<W>(context.inputs[index].as<T>()[channel]));
      };
      const double factor = parameter(1) / std::sqrt(parameter(4) + epsilon);
      const double offset = parameter(2) - parameter(3) * factor;
      if constexpr (std::is_same_v<T, float>) {
        if (context.kernels != nullptr) {
          const auto scale = static_cast<float>(factor);
          const auto shift = static_cast<float>(offset);
          float* out = outputs[0].as<float>() + block * inner;
          const auto count = static_cast<std::size_t>(inner);
          context.kernels->binary(Binary::kMul, context.inputs[0].as<float>() + block * inner, 1, &scale, 0, count,
                                  out);
          context.kernels->binary(Binary::kAdd, out, 1, &shift, 0, count, out);
          continue;
        }
      }
      for (std::int64_t i = block * inner; i < (block + 1) * inner; ++i) {
        const auto value = static_cast<double>(static_cast<W>(context.inputs[0].as<T>()[i]));
        outputs[0].as<T>()[i] = static_cast<T>(static_cast<W>(value * factor + offset));
      }
    }
    return Status::Ok();
  });
}

Status InferInstanceNormalization(const NodeContext& context, Infos& outputs) {
  FORESHORE_RETURN_IF_ERROR(context.Require(0, kFloatTypes));
  FORESHORE_RETURN_IF_ERROR(RequireChannels(context, 3, 3));
  outputs.push_back(context.Info(0));
  return Status::Ok();
}

// Each channel of each image by its own mean and variance.
Status RunInstanceNormalization(const NodeContext& context, std::span<const OutputRef> outputs) {
  const Shape& shape = context.ShapeOf(0);
  const std::int64_t inner = InnerCount(shape, 2);
  const auto epsilon = static_cast<double>(context.Float("epsilon", 1e-5F));
  return Dispatch<kFloatTypes>(context.Info(0).type, [&]<typename T>() {
    using W = Wide<T>;
    for (std::int64_t plane = 0; plane < shape[0] * shape[1] && inner > 0; ++plane) {
      double mean = 0;
      double inverse = 0;
      T* out = outputs[0].as<T>() + plane * inner;
      NormaliseRow(context.inputs[0].as<T>() + plane * inner, out, inner, epsilon, mean, inverse);
      const auto scale = static_cast<W>(context.inputs[1].as<T>()[plane % shape[1]]);
      const auto shift = static_cast<W>(context.inputs[2].as<T>()[plane % shape[1]]);
      for (std::int64_t i = 0; i < inner; ++i) out[i] = static_cast<T>(static_cast<W>(out[i]) * scale + shift);
    }
    return Status::Ok();
  });
}

Status InferLrn(const NodeContext& context, Infos& outputs) {
  FORESHORE_RETURN_IF_ERROR(context.Require(0, kFloatTypes));
  if (context.Rank(0) < 2 || context.Int("size", 0) < 1) {
    return Status::InvalidArgument("size " + std::to_string(context.Int("size", 0)) + " over " +
                                   ToText(context.Info(0)) + ", expected [batch, channels, …]");
  }
  outputs.push_back(context.Info(0));
  return Status::Ok();
}

// Each element over a power of the squares of the channels around it.
Status RunLrn(const NodeContext& context, std::span<const OutputRef> outputs) {
  const Shape& shape = context.ShapeOf(0);
  const std::int64_t inner = InnerCount(shape, 2);
  const std::int64_t size = std::min(context.Int("size", 1), std::int64_t{1} << 30);
  const auto alpha = static_cast<double>(context.Float("alpha", 1e-4F));
  const auto beta = static_cast<double>(context.Float("beta", 0.75F));
  const auto bias = static_cast<double>(context.Float("bias", 1.0F));
  return Dispatch<kFloatTypes>(context.Info(0).type, [&]<typename T>() {
    const T* input = context.inputs[0].as<T>();
    for (std::int64_t i = 0; i < outputs[0].count(); ++i) {
      const std::int64_t channel = i / inner % shape[1];
      const std::int64_t first = std::max<std::int64_t>(channel - (size - 1) / 2, 0);
      const std::int64_t last = std::min(channel + size / 2, shape[1] - 1);
      double sum = 0;
      for (std::int64_t c = first; c <= last; ++c) {
        const auto value = static_cast<double>(static_cast<Wide<T>>(input[i + (c - channel) * inner]));
        sum += value * value;
      }
      const auto value = static_cast<double>(static_cast<Wide<T>>(input[i]));
      const double divisor = std::pow(bias + alpha / static_cast<double>(size) * sum, beta);
      outputs[0].as<T>()[i] = static_cast<T>(static_cast<Wide<T>>(value / divisor));
    }
    return Status::Ok();
  });
}

constexpr Operator kOperators[] = {
    {.name = "Softmax", .attributes = "axis", .infer = InferSoftmax, .run = RunSoftmax<false>},
    {.name = "LogSoftmax", .attributes = "axis", .infer = InferSoftmax, .run = RunSoftmax<true>},
    {.name = "LayerNormalization",
     .since = 17,
     .inputs_min = 2,
     .inputs_max = 3,
     .outputs_max = 3,
     .attributes = "axis epsilon stash_type",
     .infer = InferLayerNormalization,
     .run = RunLayerNormalization},
    {.name = "BatchNormalization",
     .inputs_min = 5,
     .inputs_max = 5,
     .attributes = "epsilon momentum training_mode",
     .infer = InferBatchNormalization,
     .run = RunBatchNormalization},
    {.name = "InstanceNormalization",
     .inputs_min = 3,
     .inputs_max = 3,
     .attributes = "epsilon",
     .infer = InferInstanceNormalization,
     .run = RunInstanceNormalization},
    {.name = "LRN", .attributes = "alpha beta bias size", .infer = InferLrn, .run = RunLrn},
};

}  // namespace

std::span<const Operator> NormaliseOperators() {
  return kOperators;
}

}  // namespace foreshore::graph
