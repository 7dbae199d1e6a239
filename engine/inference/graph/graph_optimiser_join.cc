// Products of one value by several constant matrices, as queries, keys and values are, become one step: rows are
// packed, or rounded to codes, once for all of them.
#include <map>
#include <utility>

#include "engine/inference/graph/dynamic_product.h"
#include "engine/inference/graph/graph_optimiser.h"
#include "engine/inference/graph/operators_products.h"

namespace foreshore::graph {

namespace {

// Steps between two that are joined: what is made long before it is used takes memory meanwhile.
constexpr std::size_t kDistanceMax = 32;

}  // namespace

struct GraphOptimiser::JoinableProduct {
  const Operator* op = nullptr;    // Of the joined step.
  std::vector<ValueIndex> shared;  // Inputs of the rows.
  std::vector<ValueIndex> parts;   // Of this product alone.
  std::size_t index = 0;
  std::size_t end = 0;  // The step that makes its result: itself, or the addition of its row.
  std::uint64_t bytes = 0;
};

std::optional<GraphOptimiser::JoinableProduct> GraphOptimiser::Joinable(std::size_t index) const {
  const GraphStep& step = graph_.steps_[index];
  JoinableProduct product;
  product.index = product.end = index;
  const bool is_codes = step.op == &DynamicProductOperator() || step.op == &CodeProductOperator();
  if (!is_codes && step.op->name != "MatMul") return std::nullopt;
  const std::ptrdiff_t shared_count = step.op == &CodeProductOperator() ? 3 : 1;
  const auto parts = step.inputs.begin() + shared_count;
  const GraphValue* weights = Constant(*parts);
  if (weights == nullptr || weights->info.shape.size() != 2) return std::nullopt;
  const std::int64_t depth = weights->info.shape[0];
  const std::int64_t columns = weights->info.shape[1];
  product.shared.assign(step.inputs.begin(), parts);
  product.parts.assign(parts, step.inputs.end());
  if (is_codes) {
    product.op = step.op;
    product.bytes = DynamicProductBytes(depth, columns);
    product.parts.resize(kProductParts, kNoValue);
    return product;
  }
  if (weights->info.type != OnnxType::kFloat) return std::nullopt;
  product.op = &ProductsOperator();
  const auto width = static_cast<std::int64_t>(graph_.kernels_->panel_columns);
  product.bytes = static_cast<std::uint64_t>((columns + width - 1) / width * width * depth) * sizeof(float);
  ValueIndex output = step.outputs[0];
  ValueIndex row = kNoValue;
  if (const std::size_t next = SoleUser(output); next != kNoStep && graph_.steps_[next].op->name == "Add") {
    const ValueIndex other = OtherInput(next, output);
    if (const GraphValue* known = ConstantFloats(other); known != nullptr && known->info.shape == Shape{columns}) {
      row = other;
      product.end = next;
      output = graph_.steps_[next].outputs[0];
    }
  }
  product.parts.push_back(row);
  // One that takes its activation itself stays alone.
  const std::size_t after = SoleUser(output);
  if (after != kNoStep && graph_.steps_[after].inputs[0] == output && ActivationOf(graph_.steps_[after])) {
    return std::nullopt;
  }
  return product;
}

void GraphOptimiser::Join(const std::vector<JoinableProduct>& group) {
  std::uint64_t bytes = 0;
  for (const JoinableProduct& product : group) bytes += product.bytes;
  if (group.size() < 2 || bytes > BytesLeft()) return;
  std::vector<ValueIndex> inputs = group[0].shared;
  std::vector<ValueIndex> outputs;
  for (const JoinableProduct& product : group) {
    inputs.insert(inputs.end(), product.parts.begin(), product.parts.end());
    outputs.push_back(graph_.steps_[product.end].outputs[0]);
    is_dead_[product.index] = is_dead_[product.end] = true;
  }
  is_dead_[group[0].index] = false;
  Replace(group[0].index, *group[0].op, std::move(inputs));
  graph_.steps_[group[0].index].outputs = std::move(outputs);
  graph_.fusions_.Add(Fusion::kQkv);
}

// All of a group come where its first one is: the rows are there.
void GraphOptimiser::JoinProducts() {
  std::map<std::pair<const Operator*, std::vector<ValueIndex>>, std::vector<JoinableProduct>> groups;
  for (std::size_t i = 0; i < graph_.steps_.size(); ++i) {
    auto product = Joinable(i);
    if (!product) continue;
    std::vector<JoinableProduct>& group = groups[{product->op, product->shared}];
    const bool is_far = !group.empty() && i - group.back().index > kDistanceMax;
    if (is_far || group.size() == kJoinedProductsMax) {
      Join(group);
      group.clear();
    }
    group.push_back(std::move(*product));
  }
  for (const auto& [rows, group] : groups) Join(group);
  RemoveUnused();
}

}  // namespace foreshore::graph
