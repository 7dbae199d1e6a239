#include "bindings/cli/plan_tree.h"

#include <vector>

namespace foreshore::cli {
namespace {

// A step's id is larger than its parent's, so that the walk ends.
void AddChildren(std::span<const PlanStep> steps, std::int64_t parent, const std::string& lead, std::string& text) {
  std::vector<const PlanStep*> children;
  for (const PlanStep& step : steps) {
    if (step.parent == parent && step.id > parent) children.push_back(&step);
  }
  for (std::size_t index = 0; index < children.size(); ++index) {
    const bool is_last = index + 1 == children.size();
    text += lead + (is_last ? "`--" : "|--") + children[index]->detail + "\n";
    AddChildren(steps, children[index]->id, lead + (is_last ? "   " : "|  "), text);
  }
}

}  // namespace

std::string PlanTree(std::span<const PlanStep> steps) {
  std::string text = "QUERY PLAN\n";
  AddChildren(steps, 0, "", text);
  return text;
}

}  // namespace foreshore::cli
