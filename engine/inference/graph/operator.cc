#include "engine/inference/graph/operator.h"

#include <unordered_map>

namespace foreshore::graph {

namespace {

constexpr std::int64_t kIntsMax = 4'096;

}  // namespace

Result<std::vector<std::int64_t>> NodeContext::InputInts(std::size_t index) const {
  FORESHORE_RETURN_IF_ERROR(Require(index, kIndexTypes));
  const TensorRef& input = inputs[index];
  if (input.info->shape.size() > 1 || input.count() > kIntsMax) {
    return Status::InvalidArgument("input " + std::to_string(index) + " is " + ToText(*input.info) +
                                   ", expected a list of at most " + std::to_string(kIntsMax) + " numbers");
  }
  std::vector<std::int64_t> values;
  for (std::int64_t i = 0; i < input.count(); ++i) {
    values.push_back(input.info->type == OnnxType::kInt32 ? input.as<std::int32_t>()[i] : input.as<std::int64_t>()[i]);
  }
  return values;
}

std::string_view NodeContext::Text(std::string_view name, std::string_view absent) const {
  const OnnxAttribute* attribute = node.Attribute(name);
  return attribute != nullptr ? std::string_view(attribute->s) : absent;
}

std::vector<std::int64_t> NodeContext::Ints(std::string_view name) const {
  const OnnxAttribute* attribute = node.Attribute(name);
  return attribute != nullptr ? attribute->ints : std::vector<std::int64_t>();
}

Result<std::vector<std::int64_t>> NodeContext::Axes(std::size_t index, std::int64_t since) const {
  if (opset < since) return Ints("axes");
  if (!Has(index)) return std::vector<std::int64_t>();
  return InputInts(index);
}

Status NodeContext::Require(std::size_t index, TypeSet types) const {
  if (Contains(types, Info(index).type)) return Status::Ok();
  std::string expected;
  for (std::int32_t type = 1; type < 32; ++type) {
    if (!Contains(types, static_cast<OnnxType>(type))) continue;
    expected += (expected.empty() ? "" : ", ") + TypeName(static_cast<OnnxType>(type));
  }
  return Status::Unsupported("input " + std::to_string(index) + " is " + ToText(Info(index)) +
                             ", expected an element type of " + expected);
}

Status NodeContext::RequireSameType(std::size_t left, std::size_t right) const {
  if (Info(left).type == Info(right).type) return Status::Ok();
  return Status::InvalidArgument("inputs " + std::to_string(left) + " and " + std::to_string(right) + " are " +
                                 ToText(Info(left)) + " and " + ToText(Info(right)) + ", expected one element type");
}

Status NodeContext::RequireRank(std::size_t index, std::size_t rank) const {
  if (Rank(index) == rank) return Status::Ok();
  return Status::InvalidArgument("input " + std::to_string(index) + " is " + ToText(Info(index)) + ", expected " +
                                 std::to_string(rank) + " dimensions");
}

bool Operator::KnowsAttribute(std::string_view attribute) const {
  std::string_view rest = attributes;
  while (!rest.empty()) {
    const std::size_t end = std::min(rest.find(' '), rest.size());
    if (rest.substr(0, end) == attribute) return true;
    rest.remove_prefix(std::min(end + 1, rest.size()));
  }
  return false;
}

std::vector<const Operator*> AllOperators() {
  std::vector<const Operator*> all;
  for (const auto family :
       {ArithmeticOperators(), CastOperators(), ControlOperators(), ConvolveIntegerOperators(), ConvolveOperators(),
        LayoutOperators(), LogicOperators(), MatrixOperators(), NormaliseOperators(), PoolOperators(),
        QuantizeOperators(), RecurrentOperators(), ReduceOperators(), ResizeOperators(), ScatterOperators(),
        SelectOperators(), ShapeOperators(), SortOperators(), UnaryOperators()}) {
    for (const Operator& op : family) all.push_back(&op);
  }
  return all;
}

const Operator* FindOperator(std::string_view name) {
  static const auto by_name = [] {
    std::unordered_map<std::string_view, const Operator*> map;
    for (const Operator* op : AllOperators()) map.emplace(op->name, op);
    return map;
  }();
  const auto found = by_name.find(name);
  return found != by_name.end() ? found->second : nullptr;
}

std::string Describe(const OnnxNode& node) {
  std::string_view name = node.name;
  if (name.empty() && !node.outputs.empty()) name = node.outputs[0];
  return "node \"" + std::string(name.substr(0, 128)) + "\" (" + std::string(node.op_type.substr(0, 128)) + ")";
}

}  // namespace foreshore::graph
