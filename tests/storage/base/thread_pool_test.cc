#include "storage/base/thread_pool.h"

#include <doctest/doctest.h>

#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

#include <atomic>
#include <cstdlib>
#include <new>
#include <optional>
#include <vector>

namespace {

// How many more allocations of this thread succeed; -1: all.
thread_local int allocations_left = -1;

// Calls `body`; whether it was memory that ended it, where so many allocations succeed.
template <typename Body>
bool RunsShort(int allocation_count, const Body& body) {
  bool is_short = false;
  allocations_left = allocation_count;
  try {
    body();
  } catch (const std::bad_alloc&) {
    is_short = true;
  }
  allocations_left = -1;
  return is_short;
}

}  // namespace

void* operator new(std::size_t bytes) {
  void* const memory = allocations_left == 0 ? nullptr : std::malloc(bytes == 0 ? 1 : bytes);
  if (memory == nullptr) throw std::bad_alloc();
  if (allocations_left > 0) --allocations_left;
  return memory;
}
void operator delete(void* memory) noexcept {
  std::free(memory);
}
void operator delete(void* memory, std::size_t) noexcept {
  std::free(memory);
}

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

// Method: memory ends with each allocation in turn, first while the pool is made, then while it is given work.
TEST_CASE("thread pool: where memory is short, the threads that there are do the work, or nothing is begun") {
  constexpr std::size_t kThreads = 4;
  bool has_been_whole = false;
  bool has_been_less = false;
  for (int count = 0; count < 16; ++count) {
    CAPTURE(count);
    std::optional<ThreadPool> pool;
    if (RunsShort(count, [&] { pool.emplace(kThreads); })) continue;
    (pool->thread_count() == kThreads ? has_been_whole : has_been_less) = true;
    for (int work_count = 0; work_count < 16; ++work_count) {
      CAPTURE(work_count);
      std::atomic<int> calls{0};
      const std::function<void(std::size_t)> body = [&](std::size_t) { ++calls; };
      const bool is_short = RunsShort(work_count, [&] { pool->ParallelFor(1000, body); });
      CHECK(calls == (is_short ? 0 : 1000));
    }
  }
  CHECK(has_been_whole);
  CHECK(has_been_less);
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
