#include "bindings/cli/stop_signal.h"

#include <condition_variable>
#include <mutex>

namespace foreshore::cli {

StopSignal::StopSignal() {
  sigemptyset(&signals_);
  sigaddset(&signals_, SIGINT);
  sigaddset(&signals_, SIGTERM);
  pthread_sigmask(SIG_BLOCK, &signals_, nullptr);
  // A peer that goes away is an error of write, not the end of the process.
  signal(SIGPIPE, SIG_IGN);
  waiter_ = std::jthread([this](const std::stop_token& ended) {
    while (!ended.stop_requested()) {
      const timespec period = {.tv_sec = 0, .tv_nsec = 200'000'000};
      if (sigtimedwait(&signals_, nullptr, &period) < 0) continue;
      source_.request_stop();
      // From here on the default applies, so that a second signal ends a shutdown that hangs. Blocked signals are
      // delivered to whichever thread lets them through: this one.
      pthread_sigmask(SIG_UNBLOCK, &signals_, nullptr);
    }
  });
}

StopSignal::~StopSignal() {
  waiter_.request_stop();
  waiter_.join();
}

void StopSignal::Wait() {
  std::mutex mutex;
  std::condition_variable_any changed;
  std::unique_lock lock(mutex);
  changed.wait(lock, token(), [] { return false; });
}

}  // namespace foreshore::cli
