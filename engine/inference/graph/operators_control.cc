// Operators that hold graphs. How they run is the executor's matter: graph_control.cc.
#include "engine/inference/graph/operator.h"

namespace foreshore::graph {

namespace {

constexpr Operator kOperators[] = {
    {.name = "If", .outputs_max = kManyInputs, .attributes = "else_branch then_branch", .kind = OperatorKind::kControl},
    {.name = "Loop",
     .inputs_min = 0,
     .inputs_max = kManyInputs,
     .outputs_max = kManyInputs,
     .attributes = "body",
     .kind = OperatorKind::kControl},
};

}  // namespace

std::span<const Operator> ControlOperators() {
  return kOperators;
}

}  // namespace foreshore::graph
