// Turns the first SIGINT or SIGTERM into a request to stop, for work that stops between two steps. A second signal ends
// the process at once. What the signals did before is restored at the end.
//
// Threads: at most one at a time; it may be asked from any thread.
#pragma once

#include <signal.h>

namespace foreshore::cli {

class Interrupt {
 public:
  Interrupt();
  ~Interrupt();
  Interrupt(const Interrupt&) = delete;
  Interrupt& operator=(const Interrupt&) = delete;

  bool is_requested() const;
  // Becomes readable with the request, so that a wait for input can wait for both; -1 where there is none.
  int fd() const { return pipe_[0]; }

 private:
  int pipe_[2] = {-1, -1};
  struct sigaction old_interrupt_ = {};
  struct sigaction old_terminate_ = {};
};

}  // namespace foreshore::cli
