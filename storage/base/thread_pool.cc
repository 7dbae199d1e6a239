#include "storage/base/thread_pool.h"

#include <algorithm>
#include <atomic>
#include <exception>
#include <memory>

namespace foreshore {

ThreadPool::ThreadPool(std::size_t thread_count) {
  try {
    threads_.reserve(thread_count);
    while (threads_.size() < thread_count) threads_.emplace_back([this] { Run(); });
  } catch (const std::exception&) {  // No more of them to be had; those that run must not be left unjoined.
  }
}

ThreadPool::~ThreadPool() {
  {
    const std::lock_guard lock(mutex_);
    stopping_ = true;
  }
  wake_.notify_all();
  for (std::thread& thread : threads_) thread.join();
}

void ThreadPool::Submit(std::function<void()> work) {
  if (threads_.empty()) {
    work();
    return;
  }
  {
    const std::lock_guard lock(mutex_);
    queue_.push_back(std::move(work));
  }
  wake_.notify_one();
}

void ThreadPool::ParallelFor(std::size_t count, const std::function<void(std::size_t)>& body) {
  if (count == 0) return;
  const std::size_t helper_count = std::min(threads_.size(), count - 1);
  struct Progress {
    std::atomic<std::size_t> next{0};
    std::mutex mutex;
    std::condition_variable finished;
    std::size_t helpers_left = 0;  // Guarded by mutex.
  };
  // Shared: a helper that wakes late still needs it after the caller has done all the work.
  const auto progress = std::make_shared<Progress>();
  progress->helpers_left = helper_count;
  const auto work = [progress, &body, count] {
    for (std::size_t i = progress->next++; i < count; i = progress->next++) body(i);
  };
  std::size_t submitted_count = 0;
  try {
    for (; submitted_count < helper_count; ++submitted_count) {
      Submit([progress, work] {
        work();
        const std::lock_guard lock(progress->mutex);
        --progress->helpers_left;
        progress->finished.notify_one();
      });
    }
  } catch (const std::exception&) {  // Fewer helpers do as well; those that run still use what is the caller's.
    const std::lock_guard lock(progress->mutex);
    progress->helpers_left -= helper_count - submitted_count;
  }
  work();
  std::unique_lock lock(progress->mutex);
  progress->finished.wait(lock, [&] { return progress->helpers_left == 0; });
}

void ThreadPool::Run() {
  std::unique_lock lock(mutex_);
  while (true) {
    wake_.wait(lock, [this] { return stopping_ || !queue_.empty(); });
    if (queue_.empty()) return;
    std::function<void()> work = std::move(queue_.front());
    queue_.pop_front();
    lock.unlock();
    work();
    lock.lock();
  }
}

}  // namespace foreshore
