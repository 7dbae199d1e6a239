// A few threads that sleep when there is nothing to do (a spinning helper thread costs a busy device two to
// three times the work it saves).
//
// Threads: every member is safe from any thread. The destructor runs what was already submitted.
#pragma once

#include <condition_variable>
#include <cstddef>
#include <deque>
#include <functional>
#include <mutex>
#include <thread>
#include <vector>

namespace foreshore {

class ThreadPool {
 public:
  // `thread_count` 0 runs everything on the calling thread. Where the system gives fewer threads, or memory for fewer,
  // the pool has those: thread_count() tells.
  explicit ThreadPool(std::size_t thread_count);
  ~ThreadPool();
  ThreadPool(const ThreadPool&) = delete;
  ThreadPool& operator=(const ThreadPool&) = delete;

  // `work` must not throw. std::bad_alloc where memory is short; it does not run then.
  void Submit(std::function<void()> work);
  // Calls body(0) … body(count - 1), in any order, on the pool's threads and the caller's; returns when all are done.
  // `body` must not throw.
  void ParallelFor(std::size_t count, const std::function<void(std::size_t)>& body);
  std::size_t thread_count() const { return threads_.size(); }

 private:
  void Run();

  std::mutex mutex_;
  std::condition_variable wake_;
  std::deque<std::function<void()>> queue_;  // Guarded by mutex_.
  bool stopping_ = false;                    // Guarded by mutex_.
  std::vector<std::thread> threads_;
};

}  // namespace foreshore
