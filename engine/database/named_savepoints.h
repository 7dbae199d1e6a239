// The savepoints of one transaction by name, as SQL and the API have them: a name may be used again and then means the
// last one; names are compared without regard to the case of ASCII letters.
//
// The transaction may begin to write after the first savepoint was made: `view` is null until then, and Attach brings
// the view level with the names.
//
// Threads: as the transaction.
#pragma once

#include <string>
#include <string_view>
#include <vector>

#include "engine/database/write_view.h"
#include "foreshore/status.h"

namespace foreshore {

class NamedSavepoints {
 public:
  Status Make(WriteView* view, std::string_view name);
  // Keeps the savepoint and drops those made after it. kNotFound.
  Status RollbackTo(WriteView* view, std::string_view name);
  // Forgets the savepoint and those made after it. kNotFound.
  Status Release(WriteView* view, std::string_view name);
  // For a view that has none yet.
  Status Attach(WriteView& view) const;
  bool empty() const { return names_.empty(); }
  // Whether the outermost one has this name, and no inner one.
  bool IsOutermost(std::string_view name) const;

 private:
  // How many remain when the savepoint is kept as the last one.
  Result<std::size_t> DepthOf(std::string_view name) const;
  Status CutTo(WriteView* view, std::size_t depth);

  std::vector<std::string> names_;  // Folded to lower case, the outermost first.
};

}  // namespace foreshore
