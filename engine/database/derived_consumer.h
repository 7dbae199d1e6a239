// What follows the commits: data that is made from the documents and the change log, may be lost at any time, and then
// is made again.
//
// A consumer never fails a commit. It knows the sequence that its durable part has reached; the log is kept until
// every consumer's cursor has passed.
//
// Threads: safe from any thread.
#pragma once

#include <cstdint>
#include <string>

#include "foreshore/status.h"

namespace foreshore {

class DerivedConsumer {
 public:
  virtual ~DerivedConsumer() = default;
  // Its cursor in the change log.
  virtual std::string cursor_name() const = 0;
  // Takes in what was committed; after each commit, before the commit returns. An error leaves it behind, which its
  // searches make up for or name.
  virtual Status Apply() = 0;
  // Makes durable what was applied. Returns the sequence up to which it is.
  virtual Result<std::int64_t> Save() = 0;
  // The same where nothing will follow: so that the next open has little to do.
  virtual Result<std::int64_t> SaveForClose() { return Save(); }
  virtual std::int64_t saved_sequence() const = 0;
};

}  // namespace foreshore
