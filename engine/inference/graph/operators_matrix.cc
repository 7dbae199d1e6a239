// Products of matrices.
#include <algorithm>
#include <span>
#include <vector>

#include "engine/inference/graph/operator.h"

namespace foreshore::graph {

namespace {

// [rows, columns] seen through steps, so that a transposed matrix is one with its steps exchanged.
template <typename T>
struct Matrix {
  const T* data = nullptr;
  std::int64_t row_step = 0;
  std::int64_t column_step = 0;
};

// emit(row, column, sum of products) for every element of left[m,k] · right[k,n]. Sums are of type S, a row of the
// output at a time in `workspace`.
template <typename S, typename T, typename Emit>
void Multiply(const Matrix<T>& left, const Matrix<T>& right, std::int64_t m, std::int64_t k, std::int64_t n,
              std::byte* workspace, Emit emit) {
  if (m == 0 || n == 0) return;
  const std::span row(reinterpret_cast<S*>(workspace), static_cast<std::size_t>(n));
  for (std::int64_t i = 0; i < m; ++i) {
    std::fill(row.begin(), row.end(), S{0});
    const T* a = left.data + i * left.row_step;
    if (right.column_step == 1) {
      for (std::int64_t p = 0; p < k; ++p) {
        const auto factor = static_cast<S>(static_cast<Wide<T>>(a[p * left.column_step]));
        const T* b = right.data + p * right.row_step;
        for (std::int64_t j = 0; j < n; ++j) {
          row[static_cast<std::size_t>(j)] += factor * static_cast<S>(static_cast<Wide<T>>(b[j]));
        }
      }
    } else {
      for (std::int64_t j = 0; j < n; ++j) {
        const T* b = right.data + j * right.column_step;
        S sum{0};
        for (std::int64_t p = 0; p < k; ++p) {
          sum += static_cast<S>(static_cast<Wide<T>>(a[p * left.column_step])) *
                 static_cast<S>(static_cast<Wide<T>>(b[p * right.row_step]));
        }
        row[static_cast<std::size_t>(j)] = sum;
      }
    }
    for (std::int64_t j = 0; j < n; ++j) emit(i, j, row[static_cast<std::size_t>(j)]);
  }
}

// A stack of products: a vector on the left is a row, one on the right a column, and neither's 1 stays in the result.
struct Product {
  std::int64_t m = 1;
  std::int64_t k = 1;
  std::int64_t n = 1;
  Shape left_lead;
  Shape right_lead;
  Shape lead;
  Shape shape;
};

Result<Product> PlanProduct(const NodeContext& context) {
  const Shape& left = context.ShapeOf(0);
  const Shape& right = context.ShapeOf(1);
  Product product;
  if (left.empty() || right.empty()) return Status::InvalidArgument("multiplies a scalar, expected matrices");
  product.k = left.back();
  const std::int64_t other = right.size() == 1 ? right[0] : right[right.size() - 2];
  if (product.k != other) {
    return Status::InvalidArgument("multiplies " + ToText(context.Info(0)) + " by " + ToText(context.Info(1)) +
                                   ", expected " + std::to_string(product.k) + " rows on the right");
  }
  if (left.size() > 1) {
    product.m = left[left.size() - 2];
    product.left_lead.assign(left.begin(), left.end() - 2);
  }
  if (right.size() > 1) {
    product.n = right.back();
    product.right_lead.assign(right.begin(), right.end() - 2);
  }
  FORESHORE_ASSIGN_OR_RETURN(product.lead, BroadcastShape(product.left_lead, product.right_lead));
  product.shape = product.lead;
  if (left.size() > 1) product.shape.push_back(product.m);
  if (right.size() > 1) product.shape.push_back(product.n);
  return product;
}

// Calls body(left offset, right offset, output offset) for each product of the stack.
template <typename Body>
void EachProduct(const Product& product, Body body) {
  const std::array strides{BroadcastStrides(product.left_lead, product.lead),
                           BroadcastStrides(product.right_lead, product.lead)};
  Walk(product.lead, strides, [&](std::int64_t i, const auto& offsets) {
    body(offsets[0] * product.m * product.k, offsets[1] * product.k * product.n, i * product.m * product.n);
  });
}

constexpr TypeSet kMatrixTypes = kFloatTypes | kIndexTypes | SetOf(OnnxType::kUint32) | SetOf(OnnxType::kUint64);

Status InferMatMul(const NodeContext& context, Infos& outputs) {
  FORESHORE_RETURN_IF_ERROR(context.Require(0, kMatrixTypes));
  FORESHORE_RETURN_IF_ERROR(context.RequireSameType(0, 1));
  FORESHORE_ASSIGN_OR_RETURN(Product product, PlanProduct(context));
  outputs.push_back({context.Info(0).type, std::move(product.shape)});
  return Status::Ok();
}

// A row of sums.
std::uint64_t MatMulWorkspaceBytes(const NodeContext& context) {
  return static_cast<std::uint64_t>(context.ShapeOf(1).back()) * sizeof(std::uint64_t);
}

Status RunMatMul(const NodeContext& context, std::span<const OutputRef> outputs) {
  FORESHORE_ASSIGN_OR_RETURN(const Product product, PlanProduct(context));
  if (outputs[0].count() == 0) return Status::Ok();
  return Dispatch<kMatrixTypes>(context.Info(0).type, [&]<typename T>() {
    EachProduct(product, [&](std::int64_t left, std::int64_t right, std::int64_t at) {
      T* out = outputs[0].as<T>() + at;
      Multiply<Modular<T>>(Matrix<T>{context.inputs[0].as<T>() + left, product.k, 1},
                           Matrix<T>{context.inputs[1].as<T>() + right, product.n, 1}, product.m, product.k, product.n,
                           context.workspace, [&](std::int64_t i, std::int64_t j, Modular<T> sum) {
                             out[i * product.n + j] = static_cast<T>(sum);
                           });
    });
    return Status::Ok();
  });
}

constexpr TypeSet kByteTypes = SetOf(OnnxType::kInt8) | SetOf(OnnxType::kUint8);

// One zero point for the whole matrix, or one for each row of the left or column of the right.
Status CheckZeroPoint(const NodeContext& context, std::size_t index, std::int64_t size) {
  if (!context.Has(index)) return Status::Ok();
  FORESHORE_RETURN_IF_ERROR(context.RequireSameType(index - 2, index));
  const Shape& shape = context.ShapeOf(index);
  if (shape.size() <= 1 && (ElementCount(shape) == 1 || shape == Shape{size})) return Status::Ok();
  return Status::Unsupported("input " + std::to_string(index) + " is " + ToText(context.Info(index)) +
                             ", expected one zero point or " + std::to_string(size));
}

Status InferMatMulInteger(const NodeContext& context, Infos& outputs) {
  FORESHORE_RETURN_IF_ERROR(context.Require(0, kByteTypes));
  FORESHORE_RETURN_IF_ERROR(context.Require(1, kByteTypes));
  FORESHORE_ASSIGN_OR_RETURN(Product product, PlanProduct(context));
  FORESHORE_RETURN_IF_ERROR(CheckZeroPoint(context, 2, product.m));
  FORESHORE_RETURN_IF_ERROR(CheckZeroPoint(context, 3, product.n));
  outputs.push_back({OnnxType::kInt32, std::move(product.shape)});
  return Status::Ok();
}

// Σ(a−za)(b−zb) in 64 bits: a product is at most 2^16, so 2^47 of them do not overflow; the result is cut to 32.
template <typename A, typename B>
void MultiplyBytes(const NodeContext& context, const OutputRef& output, const Product& product) {
  const auto zero = [&]<typename T>(const T*, std::size_t index, std::int64_t at) -> std::int64_t {
    if (!context.Has(index)) return 0;
    return context.inputs[index].as<T>()[context.inputs[index].count() == 1 ? 0 : at];
  };
  EachProduct(product, [&](std::int64_t left, std::int64_t right, std::int64_t at) {
    const A* a = context.inputs[0].as<A>() + left;
    const B* b = context.inputs[1].as<B>() + right;
    auto* out = output.as<std::int32_t>() + at;
    for (std::int64_t i = 0; i < product.m; ++i) {
      const std::int64_t left_zero = zero(a, 2, i);
      for (std::int64_t j = 0; j < product.n; ++j) {
        const std::int64_t right_zero = zero(b, 3, j);
        std::int64_t sum = 0;
        for (std::int64_t p = 0; p < product.k; ++p) {
          sum += (a[i * product.k + p] - left_zero) * (b[p * product.n + j] - right_zero);
        }
        out[i * product.n + j] = static_cast<std::int32_t>(sum);
      }
    }
  });
}

Status RunMatMulInteger(const NodeContext& context, std::span<const OutputRef> outputs) {
  FORESHORE_ASSIGN_OR_RETURN(const Product product, PlanProduct(context));
  if (outputs[0].count() == 0) return Status::Ok();
  return Dispatch<kByteTypes>(context.Info(0).type, [&]<typename A>() {
    return Dispatch<kByteTypes>(context.Info(1).type, [&]<typename B>() {
      MultiplyBytes<A, B>(context, outputs[0], product);
      return Status::Ok();
    });
  });
}

struct GemmSizes {
  std::int64_t m = 0;
  std::int64_t k = 0;
  std::int64_t n = 0;
};

Result<GemmSizes> PlanGemm(const NodeContext& context) {
  FORESHORE_RETURN_IF_ERROR(context.RequireRank(0, 2));
  FORESHORE_RETURN_IF_ERROR(context.RequireRank(1, 2));
  const std::size_t left = context.Int("transA", 0) != 0 ? 1 : 0;
  const std::size_t right = context.Int("transB", 0) != 0 ? 1 : 0;
  const GemmSizes sizes{context.ShapeOf(0)[left], context.ShapeOf(0)[1 - left], context.ShapeOf(1)[1 - right]};
  if (context.ShapeOf(1)[right] != sizes.k) {
    return Status::InvalidArgument("multiplies " + ToText(context.Info(0)) + " by " + ToText(context.Info(1)) +
                                   ", expected " + std::to_string(sizes.k) + " rows on the right");
  }
  return sizes;
}

Status InferGemm(const NodeContext& context, Infos& outputs) {
  FORESHORE_RETURN_IF_ERROR(context.Require(0, kMatrixTypes));
  FORESHORE_RETURN_IF_ERROR(context.RequireSameType(0, 1));
  FORESHORE_ASSIGN_OR_RETURN(const GemmSizes sizes, PlanGemm(context));
  const Shape shape{sizes.m, sizes.n};
  if (context.Has(2)) {
    FORESHORE_RETURN_IF_ERROR(context.RequireSameType(0, 2));
    const auto joined = BroadcastShape(shape, context.ShapeOf(2));
    if (!joined.ok() || *joined != shape) {
      return Status::InvalidArgument("input 2 is " + ToText(context.Info(2)) + ", does not broadcast to " +
                                     ToText(shape));
    }
  }
  if (!Contains(kFloatTypes, context.Info(0).type) &&
      (context.Float("alpha", 1) != 1 || context.Float("beta", 1) != 1)) {
    return Status::Unsupported("scales a product of integers");
  }
  outputs.push_back({context.Info(0).type, shape});
  return Status::Ok();
}

std::uint64_t GemmWorkspaceBytes(const NodeContext& context) {
  const std::size_t columns = context.Int("transB", 0) != 0 ? 0 : 1;
  return static_cast<std::uint64_t>(context.ShapeOf(1)[columns]) * sizeof(std::uint64_t);
}

Status RunGemm(const NodeContext& context, std::span<const OutputRef> outputs) {
  FORESHORE_ASSIGN_OR_RETURN(const GemmSizes sizes, PlanGemm(context));
  const bool flips_left = context.Int("transA", 0) != 0;
  const bool flips_right = context.Int("transB", 0) != 0;
  return Dispatch<kMatrixTypes>(context.Info(0).type, [&]<typename T>() {
    using S = Modular<T>;
    const auto alpha = static_cast<S>(context.Float("alpha", 1));
    const auto beta = static_cast<S>(context.Float("beta", 1));
    const Matrix<T> left{context.inputs[0].as<T>(), flips_left ? 1 : sizes.k, flips_left ? sizes.m : 1};
    const Matrix<T> right{context.inputs[1].as<T>(), flips_right ? 1 : sizes.n, flips_right ? sizes.k : 1};
    const bool has_bias = context.Has(2);
    const T* bias = has_bias ? context.inputs[2].as<T>() : nullptr;
    const Shape steps = has_bias ? BroadcastStrides(context.ShapeOf(2), outputs[0].info->shape) : Shape{0, 0};
    T* out = outputs[0].as<T>();
    Multiply<S>(left, right, sizes.m, sizes.k, sizes.n, context.workspace, [&](std::int64_t i, std::int64_t j, S sum) {
      S value = alpha * sum;
      if (has_bias) value += beta * static_cast<S>(static_cast<Wide<T>>(bias[i * steps[0] + j * steps[1]]));
      out[i * sizes.n + j] = static_cast<T>(value);
    });
    return Status::Ok();
  });
}

constexpr Operator kOperators[] = {
    {.name = "MatMul",
     .inputs_min = 2,
     .inputs_max = 2,
     .kind = OperatorKind::kHeavy,
     .infer = InferMatMul,
     .run = RunMatMul,
     .workspace = MatMulWorkspaceBytes},
    {.name = "MatMulInteger",
     .inputs_min = 2,
     .inputs_max = 4,
     .kind = OperatorKind::kHeavy,
     .infer = InferMatMulInteger,
     .run = RunMatMulInteger},
    {.name = "Gemm",
     .inputs_min = 2,
     .inputs_max = 3,
     .attributes = "alpha beta transA transB",
     .kind = OperatorKind::kHeavy,
     .infer = InferGemm,
     .run = RunGemm,
     .workspace = GemmWorkspaceBytes},
};

}  // namespace

std::span<const Operator> MatrixOperators() {
  return kOperators;
}

}  // namespace foreshore::graph
