#include "storage/base/thread_pool.h"

#include <doctest/doctest.h>

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
