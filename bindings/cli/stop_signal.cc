#include "bindings/cli/stop_signal.h"

#include <condition_variable>
#include <mutex>

namespace foreshore::cli {
namespace {

// Ends the waiting thread; nobody else sends it.
constexpr int kWakeUp = SIGUSR1;

}  // namespace

StopSignal::StopSignal() {
  sigemptyset(&signals_);
  sigaddset(&signals_, SIGINT);
  sigaddset(&signals_, SIGTERM);
  sigaddset(&signals_, kWakeUp);
  pthread_sigmask(SIG_BLOCK, &signals_, nullptr);
  // A peer that goes away is an error of write, not the end of the process.
  signal(SIGPIPE, SIG_IGN);
  waiter_ = std::thread([this] {
    int number = 0;
    while (sigwait(&signals_, &number) == 0 && number != kWakeUp) {
      source_.request_stop();
      // From here on the default applies, so that a second signal ends a shutdown that hangs. Blocked signals are
      // delivered to whichever thread lets them through: this one.
      sigset_t ending = signals_;
      sigdelset(&ending, kWakeUp);
      pthread_sigmask(SIG_UNBLOCK, &ending, nullptr);
      sigemptyset(&signals_);
      sigaddset(&signals_, kWakeUp);
    }
  });
}

StopSignal::~StopSignal() {
  pthread_kill(waiter_.native_handle(), kWakeUp);
  waiter_.join();
}

void StopSignal::Wait() {
  std::mutex mutex;
  std::condition_variable_any changed;
  std::unique_lock lock(mutex);
  changed.wait(lock, token(), [] { return false; });
}

}  // namespace foreshore::cli
