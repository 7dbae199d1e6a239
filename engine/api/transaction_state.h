// What a Transaction holds.
//
// Threads: one at a time, as its transaction.
#pragma once

#include <memory>

#include "engine/database/named_savepoints.h"
#include "engine/database/write_view.h"
#include "foreshore/database.h"

namespace foreshore {

struct Transaction::State {
  std::unique_ptr<WriteView> view;
  NamedSavepoints savepoints;
};

}  // namespace foreshore
