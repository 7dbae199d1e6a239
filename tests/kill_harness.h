// Kills a process that works on a store or a database at a random moment, as kill -9 does, and knows what it had
// acknowledged until then.
//
// The test's own process must not open what the children work on: some backends keep threads for the life of a process,
// and a fork has none of them. So checking runs in a child as well (RunForked).
//
// Threads: call from a process with one thread.
#pragma once

#include <poll.h>
#include <signal.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cerrno>
#include <chrono>
#include <cstdint>
#include <cstdlib>
#include <cstring>
#include <functional>
#include <optional>
#include <string>

namespace foreshore {

// The child's end: what it acknowledges has reached the parent, whatever happens to the child afterwards.
class Acknowledger {
 public:
  explicit Acknowledger(int descriptor) : descriptor_(descriptor) {}
  void Acknowledge(std::uint64_t number) const {
    if (::write(descriptor_, &number, sizeof number) != sizeof number) ::_exit(3);
  }

 private:
  int descriptor_;
};

struct KilledRun {
  std::optional<std::uint64_t> last_acknowledged;
  std::uint64_t acknowledged_count = 0;
  // Empty where the child was killed while it worked, as it should be; else what became of it.
  std::string early_end;
};

// From when the time until the kill counts: the first catches opening and recovery, the second the load itself, on a
// machine of any speed.
enum class KillAfter { kFork, kFirstAcknowledgement };

namespace kill_harness_internal {

inline std::string DescribeEnd(int wait_status) {
  if (WIFSIGNALED(wait_status)) return "died of signal " + std::to_string(WTERMSIG(wait_status));
  return "exited with status " + std::to_string(WEXITSTATUS(wait_status));
}

inline int WaitFor(pid_t child) {
  int wait_status = 0;
  while (::waitpid(child, &wait_status, 0) < 0 && errno == EINTR) {
  }
  return wait_status;
}

}  // namespace kill_harness_internal

// Runs `work`, which is to go on until it is killed and returns a message when it cannot, and kills it `after` the
// moment that `from` names.
inline KilledRun RunAndKill(const std::function<std::string(const Acknowledger&)>& work,
                            std::chrono::microseconds after, KillAfter from = KillAfter::kFork) {
  KilledRun run;
  int channel[2];
  if (::pipe(channel) != 0) std::abort();
  const pid_t child = ::fork();
  if (child < 0) std::abort();
  if (child == 0) {
    ::close(channel[0]);
    const std::string message = work(Acknowledger(channel[1]));
    if (::write(STDERR_FILENO, message.data(), message.size()) < 0) ::_exit(4);
    ::_exit(2);
  }
  ::close(channel[1]);
  // A child that never acknowledges is killed all the same, and its silence is seen in the result.
  const auto patience = from == KillAfter::kFork ? std::chrono::microseconds(0) : std::chrono::seconds(60);
  auto deadline = std::chrono::steady_clock::now() + patience + after;
  bool killed = false;
  std::uint64_t number = 0;
  std::size_t received = 0;  // Bytes of `number`; a write of eight bytes arrives whole, but costs nothing to be sure.
  while (true) {
    const auto left =
        std::chrono::duration_cast<std::chrono::microseconds>(deadline - std::chrono::steady_clock::now());
    if (!killed && left.count() <= 0) {
      ::kill(child, SIGKILL);
      killed = true;
    }
    pollfd ready{channel[0], POLLIN, 0};
    const timespec timeout{left.count() / 1000000, (left.count() % 1000000) * 1000};
    if (::ppoll(&ready, 1, killed ? nullptr : &timeout, nullptr) <= 0) continue;
    const ssize_t count = ::read(channel[0], reinterpret_cast<char*>(&number) + received, sizeof number - received);
    if (count <= 0) break;  // The other end is closed: the child is gone and all it said was read.
    received += static_cast<std::size_t>(count);
    if (received < sizeof number) continue;
    received = 0;
    if (from == KillAfter::kFirstAcknowledgement && run.acknowledged_count == 0) {
      deadline = std::chrono::steady_clock::now() + after;
    }
    run.last_acknowledged = number;
    ++run.acknowledged_count;
  }
  ::close(channel[0]);
  const int wait_status = kill_harness_internal::WaitFor(child);
  if (!WIFSIGNALED(wait_status) || WTERMSIG(wait_status) != SIGKILL) {
    run.early_end = kill_harness_internal::DescribeEnd(wait_status);
  }
  return run;
}

// Runs `check` in a child of its own and returns what it returned (at most 4 KiB), or how the child died.
inline std::string RunForked(const std::function<std::string()>& check) {
  int channel[2];
  if (::pipe(channel) != 0) std::abort();
  const pid_t child = ::fork();
  if (child < 0) std::abort();
  if (child == 0) {
    ::close(channel[0]);
    const std::string message = check().substr(0, 4096);
    ::_exit(::write(channel[1], message.data(), message.size()) == static_cast<ssize_t>(message.size()) ? 0 : 3);
  }
  ::close(channel[1]);
  std::string message;
  char buffer[4096];
  ssize_t count = 0;
  while ((count = ::read(channel[0], buffer, sizeof buffer)) > 0)
    message.append(buffer, static_cast<std::size_t>(count));
  ::close(channel[0]);
  const int wait_status = kill_harness_internal::WaitFor(child);
  if (WIFEXITED(wait_status) && WEXITSTATUS(wait_status) == 0) return message;
  return "the check " + kill_harness_internal::DescribeEnd(wait_status) + " " + message;
}

}  // namespace foreshore
