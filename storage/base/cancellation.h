// Lets whoever runs a long operation stop it: its loops ask now and then and return the status they get.
//
// Lifetime: outlives the views it was given to. Threads: Check is called on the thread that does the work.
#pragma once

#include "foreshore/status.h"

namespace foreshore {

class Cancellation {
 public:
  virtual ~Cancellation() = default;
  // Not ok, usually kCancelled: stop with this status. Cheap enough for every hundredth row.
  virtual Status Check() = 0;
};

}  // namespace foreshore
