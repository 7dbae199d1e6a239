// What inference has cost on this device, by model: for plans that say what a statement will take.
//
// Kept in memory, as long as the database is open. Threads: safe from any thread.
#pragma once

#include <map>
#include <mutex>
#include <optional>
#include <string>
#include <string_view>

namespace foreshore {

class InferenceCosts {
 public:
  // One call took so long for `row_count` rows. Calls of several rows are kept apart from those of one.
  void Note(const std::string& model, std::size_t row_count, double microseconds);
  // For a row alone, or for one of many in a call, lately; nothing where it was never measured.
  std::optional<double> MicrosecondsPerRow(const std::string& model, bool is_batch) const;
  void Forget(const std::string& model);  // It is another one now.

 private:
  struct Cost {
    double alone_us = 0;  // 0: not measured.
    double batch_us = 0;
  };
  mutable std::mutex mutex_;
  std::map<std::string, Cost> costs_;  // Guarded by mutex_.
};

// Adds the time from here to its end, unless Cancel() was called.
class InferenceTimer {
 public:
  InferenceTimer(InferenceCosts& costs, const std::string& model, std::size_t row_count);
  InferenceTimer(const InferenceTimer&) = delete;
  InferenceTimer& operator=(const InferenceTimer&) = delete;
  ~InferenceTimer();
  void Cancel() { row_count_ = 0; }  // It failed.

 private:
  InferenceCosts& costs_;
  const std::string& model_;
  std::size_t row_count_;
  std::int64_t begun_ns_;
};

}  // namespace foreshore
