#include "engine/database/named_savepoints.h"

#include <algorithm>

namespace foreshore {
namespace {

std::string Folded(std::string_view name) {
  std::string folded(name);
  for (char& c : folded) {
    if (c >= 'A' && c <= 'Z') c = static_cast<char>(c - 'A' + 'a');
  }
  return folded;
}

}  // namespace

Result<std::size_t> NamedSavepoints::DepthOf(std::string_view name) const {
  const auto found = std::find(names_.rbegin(), names_.rend(), Folded(name));
  if (found != names_.rend()) return static_cast<std::size_t>(names_.rend() - found);
  return Status::NotFound("savepoint \"" + std::string(name) + "\" does not exist in this transaction");
}

bool NamedSavepoints::IsOutermost(std::string_view name) const {
  const auto depth = DepthOf(name);
  return depth.ok() && *depth == 1;
}

Status NamedSavepoints::CutTo(WriteView* view, std::size_t depth) {
  while (names_.size() > depth) {
    if (view != nullptr) FORESHORE_RETURN_IF_ERROR(view->ReleaseSavepoint());
    names_.pop_back();
  }
  return Status::Ok();
}

Status NamedSavepoints::Make(WriteView* view, std::string_view name) {
  if (view != nullptr) FORESHORE_RETURN_IF_ERROR(view->MakeSavepoint());
  names_.push_back(Folded(name));
  return Status::Ok();
}

Status NamedSavepoints::RollbackTo(WriteView* view, std::string_view name) {
  FORESHORE_ASSIGN_OR_RETURN(const std::size_t depth, DepthOf(name));
  while (names_.size() > depth) {
    // Before it is released, so that a write that failed half-way does not stand in the way.
    if (view != nullptr) FORESHORE_RETURN_IF_ERROR(view->RollbackToSavepoint());
    FORESHORE_RETURN_IF_ERROR(CutTo(view, names_.size() - 1));
  }
  return view == nullptr ? Status::Ok() : view->RollbackToSavepoint();
}

Status NamedSavepoints::Release(WriteView* view, std::string_view name) {
  FORESHORE_ASSIGN_OR_RETURN(const std::size_t depth, DepthOf(name));
  return CutTo(view, depth - 1);
}

Status NamedSavepoints::Attach(WriteView& view) const {
  for (std::size_t i = 0; i < names_.size(); ++i) FORESHORE_RETURN_IF_ERROR(view.MakeSavepoint());
  return Status::Ok();
}

}  // namespace foreshore
