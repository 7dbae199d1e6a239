// A progress bar on standard error: drawn on a terminal only, at most ten times a second, gone when it ends.
//
// Threads: one at a time.
#pragma once

#include <chrono>
#include <cstdint>
#include <optional>
#include <string>

namespace foreshore::cli {

// What a bar shows, apart from any terminal.
struct ProgressState {
  std::string what;
  std::uint64_t done = 0;
  std::uint64_t total = 0;  // 0: unknown; counts are shown without a bar.
  bool is_bytes = false;    // `done` and `total` are bytes, shown with their rate.
  std::optional<std::uint64_t> document_count;
  std::string detail;
  double seconds = 0;          // Since the beginning.
  double done_per_second = 0;  // Lately; 0: the mean is taken.
  std::size_t width = 0;       // Columns of the terminal; 0: any.
};
// "importing [######....] 60% 1,200 documents, 400/s, 2.0 MiB/s, 0:02 left"
std::string ProgressLine(const ProgressState& state);
// "0:09", "12:00", "3:04:05".
std::string ClockText(double seconds);
// "1,234,567"
std::string GroupedCount(std::uint64_t count);

class ProgressBar {
 public:
  // `total` of 0 is unknown.
  ProgressBar(std::string what, std::uint64_t total, bool is_bytes = false);
  ~ProgressBar() { Clear(); }
  ProgressBar(const ProgressBar&) = delete;
  ProgressBar& operator=(const ProgressBar&) = delete;

  void Update(std::uint64_t done, const std::string& detail = {});
  void UpdateDocuments(std::uint64_t done, std::uint64_t document_count);
  void Clear();
  double seconds() const;

 private:
  void Draw(std::uint64_t done);

  ProgressState state_;
  bool is_terminal_;
  bool is_drawn_ = false;
  std::uint64_t last_done_ = 0;
  std::chrono::steady_clock::time_point start_;
  std::chrono::steady_clock::time_point last_;
};

// A line for people, on a terminal only.
void Say(const std::string& line);
// A line on standard error that programs should see too.
void Warn(const std::string& line);

}  // namespace foreshore::cli
