// Turns SIGINT and SIGTERM into a request to stop, for the verbs that run until asked.
//
// Make one before any other thread starts, so that all threads inherit the blocked signals. A second signal ends the
// process at once.
#pragma once

#include <signal.h>

#include <stop_token>
#include <thread>

namespace foreshore::cli {

class StopSignal {
 public:
  StopSignal();
  ~StopSignal();
  StopSignal(const StopSignal&) = delete;
  StopSignal& operator=(const StopSignal&) = delete;

  std::stop_token token() const { return source_.get_token(); }
  void Wait();

 private:
  sigset_t signals_;  // The waiter's alone once it runs.
  std::stop_source source_;
  std::thread waiter_;
};

}  // namespace foreshore::cli
