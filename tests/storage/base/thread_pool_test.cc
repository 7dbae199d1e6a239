#include "storage/base/thread_pool.h"

#include <doctest/doctest.h>

#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

#include <atomic>

using namespace foreshore;

TEST_CASE("parallel for: each index once, with and without threads") {
  for (const std::size_t thread_count : {0, 1, 3}) {
    ThreadPool pool(thread_count);
    std::vector<std::atomic<int>> calls(1000);
    pool.ParallelFor(calls.size(), [&](std::size_t i) { ++calls[i]; });
    for (const auto& count : calls) CHECK(count == 1);
  }
}

TEST_CASE("destructor: submitted work has run") {
  std::atomic<int> done{0};
  {
    ThreadPool pool(2);
    for (int i = 0; i < 100; ++i) pool.Submit([&] { ++done; });
  }
  CHECK(done == 100);
}

#if !defined(__SANITIZE_ADDRESS__) && !defined(__SANITIZE_THREAD__)  // They need more address space than is left here.
constexpr int kNoLimit = 77;

// Method: a child process with little address space, where threads find no room for their stacks.
TEST_CASE("thread pool: where the system gives fewer threads, those that there are do the work") {
  const pid_t child = fork();
  if (child == 0) {
    const rlimit limit{256 << 20, 256 << 20};
    if (setrlimit(RLIMIT_AS, &limit) != 0) _exit(2);
    if (::mmap(nullptr, 1 << 30, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0) != MAP_FAILED) _exit(kNoLimit);
    std::atomic<int> calls{0};
    {
      ThreadPool pool(10'000);
      if (pool.thread_count() == 0 || pool.thread_count() == 10'000) _exit(3);
      pool.ParallelFor(1000, [&](std::size_t) { ++calls; });
    }
    _exit(calls == 1000 ? 0 : 4);
  }
  int status = 0;
  REQUIRE(waitpid(child, &status, 0) == child);
  CHECK(WIFEXITED(status));
  if (WEXITSTATUS(status) == kNoLimit) {
    MESSAGE("skipped: the system does not keep to the limit (QEMU in user mode)");
    return;
  }
  CHECK(WEXITSTATUS(status) == 0);
}
#endif
