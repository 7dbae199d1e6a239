// A progress bar on standard error: drawn on a terminal only, at most ten times a second, gone when it ends.
//
// Threads: one at a time.
#pragma once

#include <chrono>
#include <cstdint>
#include <string>

namespace foreshore::cli {

class ProgressBar {
 public:
  // `total` of 0 is unknown: counts are shown without a bar.
  ProgressBar(std::string what, std::uint64_t total);
  ~ProgressBar() { Clear(); }
  ProgressBar(const ProgressBar&) = delete;
  ProgressBar& operator=(const ProgressBar&) = delete;

  void Update(std::uint64_t done, const std::string& detail = {});
  void Clear();

 private:
  std::string what_;
  std::uint64_t total_;
  bool is_terminal_;
  bool is_drawn_ = false;
  std::chrono::steady_clock::time_point start_;
  std::chrono::steady_clock::time_point last_;
};

// A line for people, on a terminal only.
void Say(const std::string& line);

}  // namespace foreshore::cli
