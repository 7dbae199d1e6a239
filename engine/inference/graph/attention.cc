#include "engine/inference/graph/attention.h"

#include <algorithm>
#include <cmath>
#include <limits>
#include <string>
#include <vector>

#include "engine/inference/graph/aligned_bytes.h"

namespace foreshore::graph {

namespace {

// A tensor as it is seen: steps and the offset are in elements of the input.
struct Seen {
  Shape shape;
  Shape steps;
  std::int64_t offset = 0;
};

Result<Seen> See(const NodeContext& context, std::size_t index, std::string_view axes_name,
                 std::string_view taken_name) {
  const Shape& own = context.ShapeOf(index);
  const Shape own_steps = Strides(own);
  Seen seen;
  const std::vector<std::int64_t> taken = context.Ints(taken_name);
  const auto refuse = [&] {
    return Status::InvalidArgument("input " + std::to_string(index) + " is " + ToText(context.Info(index)) +
                                   ", expected more dimensions or larger ones");
  };
  for (std::size_t i = 0; i + 1 < taken.size(); i += 2) {
    if (taken[i] >= static_cast<std::int64_t>(own.size())) return refuse();
    const auto axis = static_cast<std::size_t>(taken[i]);
    const std::int64_t at = taken[i + 1] < 0 ? taken[i + 1] + own[axis] : taken[i + 1];
    if (at < 0 || at >= own[axis]) return refuse();
    seen.offset += at * own_steps[axis];
  }
  const OnnxAttribute* axes = context.node.Attribute(axes_name);
  if (axes == nullptr) {
    seen.shape = own;
    seen.steps = own_steps;
  } else {
    if (axes->ints.size() + taken.size() / 2 != own.size()) return refuse();
    for (const std::int64_t axis : axes->ints) {
      seen.shape.push_back(own[static_cast<std::size_t>(axis)]);
      seen.steps.push_back(own_steps[static_cast<std::size_t>(axis)]);
    }
  }
  if (seen.shape.size() < 2) return refuse();
  return seen;
}

// Steps of what is seen as if it had `shape`, to which it broadcasts.
Shape StepsIn(const Seen& seen, const Shape& shape) {
  Shape steps(shape.size(), 0);
  const std::size_t missing = shape.size() - seen.shape.size();
  for (std::size_t axis = 0; axis < seen.shape.size(); ++axis) {
    if (seen.shape[axis] != 1) steps[missing + axis] = seen.steps[axis];
  }
  return steps;
}

struct Mask {
  MaskKind kind = MaskKind::kAdd;
  std::size_t input = 0;
};

struct Attention {
  Seen query;
  Seen key;
  Seen value;
  std::vector<Mask> masks;
  std::size_t first_factor = 3;
  Shape scores;  // [lead…,S,T], as masks make it.
  Shape out;     // [lead…,S,V]
  std::vector<std::int64_t> out_axes;

  std::int64_t depth() const { return query.shape.back(); }
  std::int64_t query_count() const { return out[out.size() - 2]; }
  std::int64_t key_count() const { return scores.back(); }
  std::int64_t width() const { return out.back(); }
  Shape Lead() const { return Shape(out.begin(), out.end() - 2); }
};

Shape LeadOf(const Shape& shape) {
  return Shape(shape.begin(), shape.end() - 2);
}

Result<Attention> Plan(const NodeContext& context) {
  Attention plan;
  FORESHORE_ASSIGN_OR_RETURN(plan.query, See(context, 0, "query", "query_at"));
  FORESHORE_ASSIGN_OR_RETURN(plan.key, See(context, 1, "key", "key_at"));
  FORESHORE_ASSIGN_OR_RETURN(plan.value, See(context, 2, "value", "value_at"));
  const Shape& key = plan.key.shape;
  if (key[key.size() - 2] != plan.depth()) {
    return Status::InvalidArgument("multiplies " + ToText(plan.query.shape) + " by " + ToText(key) + ", expected " +
                                   std::to_string(plan.depth()) + " rows on the right");
  }
  FORESHORE_ASSIGN_OR_RETURN(plan.scores, BroadcastShape(LeadOf(plan.query.shape), LeadOf(key)));
  plan.scores.push_back(plan.query.shape[plan.query.shape.size() - 2]);
  plan.scores.push_back(key.back());
  for (const std::int64_t kind : context.Ints("masks")) {
    plan.masks.push_back({static_cast<MaskKind>(kind), plan.first_factor});
    FORESHORE_ASSIGN_OR_RETURN(plan.scores, BroadcastShape(plan.scores, context.ShapeOf(plan.first_factor)));
    plan.first_factor += plan.masks.back().kind == MaskKind::kAdd ? 1 : 2;
  }
  const Shape& value = plan.value.shape;
  if (value[value.size() - 2] != plan.key_count()) {
    return Status::InvalidArgument("multiplies " + ToText(plan.scores) + " by " + ToText(value) + ", expected " +
                                   std::to_string(plan.key_count()) + " rows on the right");
  }
  FORESHORE_ASSIGN_OR_RETURN(plan.out, BroadcastShape(LeadOf(plan.scores), LeadOf(value)));
  plan.out.push_back(plan.scores[plan.scores.size() - 2]);
  plan.out.push_back(value.back());
  plan.out_axes = context.Ints("out");
  if (!plan.out_axes.empty() && plan.out_axes.size() != plan.out.size()) {
    return Status::InvalidArgument("makes " + ToText(plan.out) + ", expected " + std::to_string(plan.out_axes.size()) +
                                   " dimensions");
  }
  return plan;
}

// The result as it is written, and the steps there of its axes as they are computed.
Shape WrittenShape(const Attention& plan) {
  if (plan.out_axes.empty()) return plan.out;
  Shape written;
  for (const std::int64_t axis : plan.out_axes) written.push_back(plan.out[static_cast<std::size_t>(axis)]);
  return written;
}
Shape WrittenSteps(const Attention& plan) {
  const Shape steps = Strides(WrittenShape(plan));
  if (plan.out_axes.empty()) return steps;
  Shape computed(steps.size());
  for (std::size_t i = 0; i < steps.size(); ++i) computed[static_cast<std::size_t>(plan.out_axes[i])] = steps[i];
  return computed;
}

Status InferAttention(const NodeContext& context, Infos& outputs) {
  FORESHORE_RETURN_IF_ERROR(context.Require(0, kFloatTypes));
  FORESHORE_RETURN_IF_ERROR(context.RequireSameType(0, 1));
  FORESHORE_RETURN_IF_ERROR(context.RequireSameType(0, 2));
  FORESHORE_ASSIGN_OR_RETURN(const Attention plan, Plan(context));
  const auto require_number = [&](std::size_t index) -> Status {
    FORESHORE_RETURN_IF_ERROR(context.RequireSameType(0, index));
    if (context.inputs[index].count() == 1) return Status::Ok();
    return Status::InvalidArgument("input " + std::to_string(index) + " is " + ToText(context.Info(index)) +
                                   ", expected one number");
  };
  for (const Mask& mask : plan.masks) {
    if (mask.kind == MaskKind::kAdd) {
      FORESHORE_RETURN_IF_ERROR(context.RequireSameType(0, mask.input));
    } else {
      FORESHORE_RETURN_IF_ERROR(context.Require(mask.input, kBoolType));
      FORESHORE_RETURN_IF_ERROR(require_number(mask.input + 1));
    }
  }
  for (std::size_t i = plan.first_factor; i < context.inputs.size(); ++i) {
    FORESHORE_RETURN_IF_ERROR(require_number(i));
  }
  outputs.push_back({context.Info(0).type, WrittenShape(plan)});
  return Status::Ok();
}

template <typename T>
double ScaleOf(const NodeContext& context, const Attention& plan) {
  auto scale = static_cast<double>(context.Float("scale", 1));
  const std::vector<std::int64_t> divides = context.Ints("divides");
  for (std::size_t i = plan.first_factor; i < context.inputs.size(); ++i) {
    const auto factor = static_cast<double>(static_cast<Wide<T>>(*context.inputs[i].as<T>()));
    scale = divides[i - plan.first_factor] != 0 ? scale / factor : scale * factor;
  }
  return scale;
}

// A row of scores.
std::uint64_t OperatorWorkspaceBytes(const NodeContext& context) {
  const auto plan = Plan(context);
  return plan.ok() ? static_cast<std::uint64_t>(plan->key_count()) * sizeof(double) : 0;
}

// Weights of the scores, in place.
void SoftmaxRow(std::span<double> row, bool keeps_zero) {
  double largest = -std::numeric_limits<double>::infinity();
  for (const double score : row) largest = std::fmax(largest, score);
  double sum = 0;
  for (double& score : row) {
    score = std::exp(score - largest);
    sum += score;
  }
  for (double& weight : row) {
    weight /= sum;
    if (keeps_zero && std::isnan(weight)) weight = 0;
  }
}

// The specification.
template <typename T>
Status RunRows(const NodeContext& context, const Attention& plan, T* out) {
  const auto number = [&](std::size_t index, std::int64_t at) {
    return static_cast<double>(static_cast<Wide<T>>(context.inputs[index].as<T>()[at]));
  };
  const std::span row(reinterpret_cast<double*>(context.workspace), static_cast<std::size_t>(plan.key_count()));
  const double scale = ScaleOf<T>(context, plan);
  const bool keeps_zero = context.Int("keeps_zero", 0) != 0;
  // Everything as steps over [lead…,S], then one over keys, depth or width.
  const std::size_t rank = plan.out.size();
  Shape all = plan.out;
  all.back() = plan.key_count();
  const auto over_rows = [&](Shape steps) {
    steps.back() = 0;
    return steps;
  };
  Shape rows_shape = plan.out;
  rows_shape.back() = 1;
  Shape query_shape = rows_shape;
  query_shape.back() = plan.depth();
  Shape lead_and_keys = plan.Lead();
  Shape key_shape = lead_and_keys;
  key_shape.push_back(plan.depth());
  key_shape.push_back(plan.key_count());
  Shape value_shape = lead_and_keys;
  value_shape.push_back(plan.key_count());
  value_shape.push_back(plan.width());
  const Shape query_steps = StepsIn(plan.query, query_shape);
  const Shape key_steps = StepsIn(plan.key, key_shape);
  const Shape value_steps = StepsIn(plan.value, value_shape);
  const Shape out_steps = WrittenSteps(plan);
  std::vector<Shape> mask_steps;
  for (const Mask& mask : plan.masks) mask_steps.push_back(BroadcastStrides(context.ShapeOf(mask.input), all));
  const auto lead_only = [&](Shape steps) {
    steps[rank - 2] = 0;
    return over_rows(std::move(steps));
  };
  std::array<Shape, 4 + kAttentionMasksMax> strides;
  strides[0] = over_rows(query_steps);
  strides[1] = lead_only(key_steps);
  strides[2] = lead_only(value_steps);
  strides[3] = over_rows(out_steps);
  for (std::size_t m = 0; m < kAttentionMasksMax; ++m) {
    strides[4 + m] = m < plan.masks.size() ? over_rows(mask_steps[m]) : Shape(rank, 0);
  }
  Status status;
  Walk(rows_shape, strides, [&](std::int64_t, const auto& offsets) {
    if (status.ok()) status = context.Poll();
    if (!status.ok()) return;
    for (std::int64_t t = 0; t < plan.key_count(); ++t) {
      double sum = 0;
      for (std::int64_t d = 0; d < plan.depth(); ++d) {
        sum += number(0, plan.query.offset + offsets[0] + d * query_steps[rank - 1]) *
               number(1, plan.key.offset + offsets[1] + d * key_steps[rank - 2] + t * key_steps[rank - 1]);
      }
      sum *= scale;
      for (std::size_t m = 0; m < plan.masks.size(); ++m) {
        const Mask& mask = plan.masks[m];
        const std::int64_t at = offsets[4 + m] + t * mask_steps[m][rank - 1];
        if (mask.kind == MaskKind::kAdd) {
          sum += number(mask.input, at);
        } else if ((context.inputs[mask.input].as<std::uint8_t>()[at] != 0) != (mask.kind == MaskKind::kKeepWhere)) {
          sum = number(mask.input + 1, 0);
        }
      }
      row[static_cast<std::size_t>(t)] = sum;
    }
    SoftmaxRow(row, keeps_zero);
    for (std::int64_t v = 0; v < plan.width(); ++v) {
      double sum = 0;
      for (std::int64_t t = 0; t < plan.key_count(); ++t) {
        sum += row[static_cast<std::size_t>(t)] *
               number(2, plan.value.offset + offsets[2] + t * value_steps[rank - 2] + v * value_steps[rank - 1]);
      }
      out[offsets[3] + v * out_steps[rank - 1]] = static_cast<T>(static_cast<Wide<T>>(sum));
    }
  });
  return status;
}

Status RunAttention(const NodeContext& context, std::span<const OutputRef> outputs) {
  FORESHORE_ASSIGN_OR_RETURN(const Attention plan, Plan(context));
  if (outputs[0].count() == 0) return Status::Ok();
  return Dispatch<kFloatTypes>(context.Info(0).type,
                               [&]<typename T>() { return RunRows<T>(context, plan, outputs[0].as<T>()); });
}

std::int64_t Groups(std::int64_t count, std::size_t size) {
  return (count + static_cast<std::int64_t>(size) - 1) / static_cast<std::int64_t>(size);
}

// A head's keys lie packed as rows of products and its values as panels. A panel of queries times the keys is the
// block's scores the other way round, [T][panel_columns]: softmax goes down its columns without sums across a vector,
// and it is packed rows for the product with the values as it lies.
class AttentionKernel : public StepKernel {
 public:
  explicit AttentionKernel(const VectorKernels& kernels) : kernels_(kernels) {}

  std::uint64_t held_bytes() const override { return 0; }
  bool Fits(const NodeContext& context) const override { return context.Info(0).type == OnnxType::kFloat; }

  std::uint64_t WorkspaceBytes(const NodeContext& context) const override {
    const auto plan = Plan(context);
    return plan.ok() ? Layout(*plan).end * sizeof(float) : 0;
  }

  Status Run(const NodeContext& context, std::span<const OutputRef> outputs, std::byte* workspace) const override {
    FORESHORE_ASSIGN_OR_RETURN(const Attention plan, Plan(context));
    if (outputs[0].count() == 0) return Status::Ok();
    if (plan.key_count() == 0) {
      std::fill_n(outputs[0].as<float>(), outputs[0].count(), 0.0F);
      return Status::Ok();
    }
    Head head(context, plan, Layout(plan), reinterpret_cast<float*>(workspace));
    const std::size_t rank = plan.out.size();
    const auto lead = [rank](const Shape& steps) { return Shape(steps.begin(), steps.begin() + rank - 2); };
    std::array<Shape, 4 + kAttentionMasksMax> strides;
    strides[0] = lead(head.query_steps);
    strides[1] = lead(head.key_steps);
    strides[2] = lead(head.value_steps);
    strides[3] = lead(head.out_steps);
    for (std::size_t m = 0; m < kAttentionMasksMax; ++m) {
      strides[4 + m] = m < plan.masks.size() ? lead(head.mask_steps[m]) : Shape(rank - 2, 0);
    }
    Status status;
    Walk(plan.Lead(), strides, [&](std::int64_t, const auto& offsets) {
      if (!status.ok()) return;
      PackKeys(head, context.inputs[1].as<float>() + plan.key.offset + offsets[1]);
      PackValues(head, context.inputs[2].as<float>() + plan.value.offset + offsets[2]);
      for (std::int64_t first = 0; first < plan.query_count() && status.ok(); first += Width()) {
        status = RunBlock(head, offsets, first, outputs[0].as<float>());
      }
    });
    return status;
  }

 private:
  // Places in the workspace, in floats.
  struct Places {
    std::uint64_t keys = 0;  // [key groups][depth][row_group]
    std::uint64_t values = 0;
    std::uint64_t queries = 0;
    std::uint64_t scores = 0;
    std::uint64_t masks = 0;  // One behind the other.
    std::uint64_t inverses = 0;
    std::uint64_t end = 0;
  };

  // What stays the same over the heads of a call, and what of it lies packed.
  struct Head {
    Head(const NodeContext& node_context, const Attention& attention, const Places& places, float* workspace)
        : context(node_context),
          plan(attention),
          poller(node_context),
          keys(workspace + places.keys),
          values(workspace + places.values),
          queries(workspace + places.queries),
          scores(workspace + places.scores),
          masks(workspace + places.masks),
          inverses(workspace + places.inverses),
          scale(static_cast<float>(ScaleOf<float>(node_context, attention))) {
      Shape shape = plan.out;
      shape.back() = plan.depth();
      query_steps = StepsIn(plan.query, shape);
      shape.back() = plan.key_count();
      for (const Mask& mask : plan.masks) mask_steps.push_back(BroadcastStrides(context.ShapeOf(mask.input), shape));
      shape[shape.size() - 2] = plan.depth();
      key_steps = StepsIn(plan.key, shape);
      shape[shape.size() - 2] = plan.key_count();
      shape.back() = plan.width();
      value_steps = StepsIn(plan.value, shape);
      out_steps = WrittenSteps(plan);
    }

    const NodeContext& context;
    const Attention& plan;
    Poller poller;
    float* keys;
    float* values;
    float* queries;
    float* scores;
    float* masks;
    float* inverses;
    float scale;
    Shape query_steps;
    Shape key_steps;
    Shape value_steps;
    Shape out_steps;
    std::vector<Shape> mask_steps;
    const float* packed_keys = nullptr;
    const float* packed_values = nullptr;
    const std::byte* packed_masks[kAttentionMasksMax] = {};
    std::int64_t packed_mask_columns[kAttentionMasksMax] = {};
  };

  std::int64_t Width() const { return static_cast<std::int64_t>(kernels_.panel_columns); }

  Places Layout(const Attention& plan) const {
    Places places;
    const auto depth = static_cast<std::uint64_t>(plan.depth());
    const auto key_count = static_cast<std::uint64_t>(plan.key_count());
    const std::uint64_t width = kernels_.panel_columns;
    places.values = places.keys + static_cast<std::uint64_t>(Groups(plan.key_count(), kernels_.row_group)) *
                                      kernels_.row_group * depth;
    places.queries =
        places.values + static_cast<std::uint64_t>(Groups(plan.width(), kernels_.panel_columns)) * width * key_count;
    places.scores = places.queries + width * depth;
    places.masks = places.scores + width * key_count;
    places.inverses = places.masks + plan.masks.size() * width * key_count;
    places.end = places.inverses + width;
    return places;
  }

  // Heads that share keys or values, as broadcasting has them, follow one another.
  void PackKeys(Head& head, const float* keys) const {
    if (keys == head.packed_keys) return;
    head.packed_keys = keys;
    const std::size_t rank = head.key_steps.size();
    const auto group = static_cast<std::int64_t>(kernels_.row_group);
    const std::int64_t step = head.key_steps[rank - 1];
    for (std::int64_t first = 0; first < head.plan.key_count(); first += group) {
      kernels_.pack_rows(keys + first * step, step, head.key_steps[rank - 2],
                         static_cast<std::size_t>(std::min(group, head.plan.key_count() - first)),
                         static_cast<std::size_t>(head.plan.depth()), head.keys + first * head.plan.depth());
    }
  }
  void PackValues(Head& head, const float* values) const {
    if (values == head.packed_values) return;
    head.packed_values = values;
    const std::size_t rank = head.value_steps.size();
    const std::int64_t step = head.value_steps[rank - 1];
    for (std::int64_t first = 0; first < head.plan.width(); first += Width()) {
      kernels_.pack_columns(values + first * step, head.value_steps[rank - 2], step,
                            static_cast<std::size_t>(std::min(Width(), head.plan.width() - first)),
                            static_cast<std::size_t>(head.plan.key_count()),
                            head.values + first * head.plan.key_count());
    }
  }

  template <typename Offsets>
  Status RunBlock(Head& head, const Offsets& offsets, std::int64_t first, float* out) const {
    const Attention& plan = head.plan;
    const std::size_t rank = plan.out.size();
    const std::int64_t count = std::min(Width(), plan.query_count() - first);
    const auto group = static_cast<std::int64_t>(kernels_.row_group);
    const std::int64_t query_step = head.query_steps[rank - 2];
    const auto block = static_cast<std::size_t>(plan.key_count() * Width());
    kernels_.pack_columns(head.context.inputs[0].as<float>() + plan.query.offset + offsets[0] + first * query_step,
                          head.query_steps[rank - 1], query_step, static_cast<std::size_t>(count),
                          static_cast<std::size_t>(plan.depth()), head.queries);
    if (head.scale != 1.0F) {
      kernels_.binary(Binary::kMul, head.queries, 1, &head.scale, 0, static_cast<std::size_t>(plan.depth() * Width()),
                      head.queries);
    }
    TileTarget target;
    target.stride = Width();
    target.column_count = kernels_.panel_columns;
    for (std::int64_t key = 0; key < plan.key_count(); key += group) {
      target.out = head.scores + key * Width();
      kernels_.multiply_tile(head.keys + key * plan.depth(), head.queries,
                             static_cast<std::size_t>(std::min(group, plan.key_count() - key)),
                             static_cast<std::size_t>(plan.depth()), target);
    }
    for (std::size_t m = 0; m < plan.masks.size(); ++m) {
      ApplyMask(head, m, offsets[4 + m] + first * head.mask_steps[m][rank - 2], count, block);
    }
    kernels_.softmax_columns(head.scores, static_cast<std::size_t>(plan.key_count()), head.inverses);
    if (head.context.Int("keeps_zero", 0) != 0) KeepZeros(head, count);
    const std::int64_t out_step = head.out_steps[rank - 2];
    float* rows = out + offsets[3] + first * out_step;
    for (std::int64_t query = 0; query < count; query += group) {
      const auto row_count = static_cast<std::size_t>(std::min(group, count - query));
      for (std::int64_t column = 0; column < plan.width(); column += Width()) {
        TileTarget result;
        result.out = rows + query * out_step + column;
        result.stride = out_step;
        result.column_count = static_cast<std::size_t>(std::min(Width(), plan.width() - column));
        result.row_step = kernels_.panel_columns;
        kernels_.multiply_tile(head.scores + query, head.values + column * plan.key_count(), row_count,
                               static_cast<std::size_t>(plan.key_count()), result);
      }
      for (std::size_t r = 0; r < row_count; ++r) {
        float* row = rows + (query + static_cast<std::int64_t>(r)) * out_step;
        kernels_.binary(Binary::kMul, row, 1, head.inverses + query + static_cast<std::int64_t>(r), 0,
                        static_cast<std::size_t>(plan.width()), row);
      }
    }
    return head.poller.Add(Width() * plan.key_count() * (plan.depth() + plan.width()));
  }

  // A mask that is the same for the block before, as one of keys is for all queries of a sequence, lies there already.
  void ApplyMask(Head& head, std::size_t m, std::int64_t offset, std::int64_t count, std::size_t block) const {
    const Mask& mask = head.plan.masks[m];
    const std::size_t rank = head.plan.out.size();
    const std::int64_t query_step = head.mask_steps[m][rank - 2];
    const std::int64_t key_step = head.mask_steps[m][rank - 1];
    const TensorRef& input = head.context.inputs[mask.input];
    float* panel = head.masks + m * block;
    const std::byte* at = input.data + offset * (mask.kind == MaskKind::kAdd ? std::int64_t{sizeof(float)} : 1);
    const std::int64_t columns = query_step == 0 ? Width() : count;
    const bool is_packed = head.packed_masks[m] == at && head.packed_mask_columns[m] == columns;
    head.packed_masks[m] = at;
    head.packed_mask_columns[m] = columns;
    if (mask.kind == MaskKind::kAdd) {
      if (!is_packed) {
        kernels_.pack_columns(reinterpret_cast<const float*>(at), key_step, query_step,
                              static_cast<std::size_t>(columns), static_cast<std::size_t>(head.plan.key_count()),
                              panel);
      }
      kernels_.binary(Binary::kAdd, head.scores, 1, panel, 1, block, head.scores);
      return;
    }
    const bool keeps = mask.kind == MaskKind::kKeepWhere;
    if (!is_packed) {
      for (std::int64_t key = 0; key < head.plan.key_count(); ++key) {
        for (std::int64_t c = 0; c < Width(); ++c) {
          const bool is_true = c < columns && at[key * key_step + c * query_step] != std::byte{0};
          panel[key * Width() + c] = is_true == keeps ? 1.0F : 0.0F;
        }
      }
    }
    const float other = *head.context.inputs[mask.input + 1].as<float>();
    for (std::size_t i = 0; i < block; ++i) head.scores[i] = panel[i] != 0.0F ? head.scores[i] : other;
  }

  void KeepZeros(Head& head, std::int64_t count) const {
    for (std::int64_t c = 0; c < count; ++c) {
      if (!std::isnan(head.inverses[c])) continue;
      head.inverses[c] = 1.0F;
      for (std::int64_t key = 0; key < head.plan.key_count(); ++key) head.scores[key * Width() + c] = 0.0F;
    }
  }

  const VectorKernels& kernels_;
};

}  // namespace

const Operator& AttentionOperator() {
  static constexpr Operator kOperator{.name = "Attention",
                                      .inputs_min = 3,
                                      .inputs_max = 3 + 2 * kAttentionMasksMax + kAttentionFactorsMax,
                                      .kind = OperatorKind::kHeavy,
                                      .infer = InferAttention,
                                      .run = RunAttention,
                                      .workspace = OperatorWorkspaceBytes};
  return kOperator;
}

StepKernelResult MakeAttentionKernel(const KernelSource& source, std::uint64_t) {
  return std::unique_ptr<StepKernel>(std::make_unique<AttentionKernel>(source.kernels));
}

}  // namespace foreshore::graph
