#include "tests/storage/failing_sync.h"

#include <sys/syscall.h>
#include <unistd.h>

#include <atomic>
#include <cerrno>

namespace foreshore {
namespace {

std::atomic<int> to_fail{0};
std::atomic<int> failed{0};
std::atomic<bool> skipping{false};

bool TakeFailure() {
  int left = to_fail.load();
  while (left > 0) {
    if (!to_fail.compare_exchange_weak(left, left - 1)) continue;
    ++failed;
    return true;
  }
  return false;
}

int Sync(long call, int descriptor) {
  if (TakeFailure()) {
    errno = EIO;
    return -1;
  }
  if (skipping) return 0;
  return static_cast<int>(::syscall(call, descriptor));
}

}  // namespace

void FailSyncs(int count) {
  failed = 0;
  to_fail = count;
}

int FailedSyncCount() {
  return failed.load();
}

void SkipSyncs() {
  skipping = true;
}

}  // namespace foreshore

extern "C" __attribute__((visibility("default"))) int fsync(int descriptor) {
  return foreshore::Sync(SYS_fsync, descriptor);
}
extern "C" __attribute__((visibility("default"))) int fdatasync(int descriptor) {
  return foreshore::Sync(SYS_fdatasync, descriptor);
}
