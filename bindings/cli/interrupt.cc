#include "bindings/cli/interrupt.h"

#include <fcntl.h>
#include <unistd.h>

#include <cerrno>
#include <csignal>

namespace foreshore::cli {
namespace {

// A handler reaches only globals of these kinds.
volatile std::sig_atomic_t requested = 0;
volatile std::sig_atomic_t wake_up_fd = -1;

void OnSignal(int) {
  const int saved_errno = errno;
  requested = 1;
  const char byte = 0;
  if (wake_up_fd >= 0 && write(wake_up_fd, &byte, 1) < 0) {
    // The flag alone has to do.
  }
  errno = saved_errno;
}

}  // namespace

Interrupt::Interrupt() {
  requested = 0;
  if (pipe2(pipe_, O_CLOEXEC | O_NONBLOCK) != 0) pipe_[0] = pipe_[1] = -1;
  wake_up_fd = pipe_[1];
  struct sigaction action = {};
  action.sa_handler = OnSignal;
  action.sa_flags = static_cast<int>(SA_RESETHAND);
  sigaction(SIGINT, &action, &old_interrupt_);
  sigaction(SIGTERM, &action, &old_terminate_);
}

Interrupt::~Interrupt() {
  sigaction(SIGINT, &old_interrupt_, nullptr);
  sigaction(SIGTERM, &old_terminate_, nullptr);
  wake_up_fd = -1;
  for (const int fd : pipe_) {
    if (fd >= 0) close(fd);
  }
}

bool Interrupt::is_requested() const {
  return requested != 0;
}

}  // namespace foreshore::cli
