#include "bindings/cli/progress.h"

#include <sys/ioctl.h>
#include <unistd.h>

#include <algorithm>
#include <cmath>
#include <cstdio>

#include "bindings/cli/output.h"

namespace foreshore::cli {
namespace {

constexpr std::size_t kBarWidth = 30;
// The rate follows what happened in about this time, so that the remaining time follows a change of pace.
constexpr double kRateSeconds = 10;
constexpr auto kDrawInterval = std::chrono::milliseconds(100);

double Seconds(std::chrono::steady_clock::duration duration) {
  return std::chrono::duration<double>(duration).count();
}

std::uint64_t PerSecond(std::uint64_t count, double seconds) {
  return seconds > 0 ? static_cast<std::uint64_t>(static_cast<double>(count) / seconds) : 0;
}

}  // namespace

std::string GroupedCount(std::uint64_t count) {
  std::string digits = std::to_string(count);
  for (std::size_t place = digits.size(); place > 3; place -= 3) digits.insert(place - 3, ",");
  return digits;
}

std::string ClockText(double seconds) {
  const auto whole = static_cast<unsigned long long>(std::clamp(std::ceil(seconds), 0.0, 359'999.0));
  char text[32];
  if (whole >= 3600) {
    std::snprintf(text, sizeof text, "%llu:%02llu:%02llu", whole / 3600, whole / 60 % 60, whole % 60);
  } else {
    std::snprintf(text, sizeof text, "%llu:%02llu", whole / 60, whole % 60);
  }
  return text;
}

std::string ProgressLine(const ProgressState& state) {
  const double mean = state.seconds > 0 ? static_cast<double>(state.done) / state.seconds : 0;
  const double rate = state.done_per_second > 0 ? state.done_per_second : mean;
  std::string text;
  auto add = [&](const std::string& part) { text += (text.empty() ? "" : ", ") + part; };
  if (!state.detail.empty()) add(state.detail);
  if (state.document_count) {
    add(GroupedCount(*state.document_count) + " documents");
    add(GroupedCount(PerSecond(*state.document_count, state.seconds)) + "/s");
  }
  if (state.is_bytes) {
    if (!state.document_count) add(HumanBytes(state.done));
    add(HumanBytes(static_cast<std::uint64_t>(rate)) + "/s");
  } else if (!state.document_count && state.detail.empty()) {
    add(GroupedCount(state.done));
  }
  const bool knows_rest = state.total > 0 && rate > 0 && state.seconds >= 1;
  const std::uint64_t left = state.total - std::min(state.done, state.total);
  add(knows_rest ? ClockText(static_cast<double>(left) / rate) + " left" : ClockText(state.seconds));
  std::string line = state.what + " ";
  if (state.total > 0) {
    const double part = std::clamp(static_cast<double>(state.done) / static_cast<double>(state.total), 0.0, 1.0);
    const std::string percent = std::to_string(static_cast<int>(part * 100)) + "% ";
    const std::size_t rest = line.size() + percent.size() + text.size() + 3;
    // On a narrow terminal the bar gives way before the numbers.
    std::size_t bar = kBarWidth;
    if (state.width > 0) bar = std::min(bar, state.width > rest + 1 ? state.width - rest - 1 : 0);
    const auto filled = static_cast<std::size_t>(part * static_cast<double>(bar));
    if (bar >= 5) line += "[" + std::string(filled, '#') + std::string(bar - filled, '.') + "] ";
    line += percent;
  }
  line += text;
  return state.width > 1 ? FitCell(line, state.width - 1) : line;
}

ProgressBar::ProgressBar(std::string what, std::uint64_t total, bool is_bytes)
    : is_terminal_(isatty(STDERR_FILENO) != 0), start_(std::chrono::steady_clock::now()), last_(start_) {
  state_.what = std::move(what);
  state_.total = total;
  state_.is_bytes = is_bytes;
}

double ProgressBar::seconds() const {
  return Seconds(std::chrono::steady_clock::now() - start_);
}

void ProgressBar::Update(std::uint64_t done, const std::string& detail) {
  state_.detail = detail;
  Draw(done);
}

void ProgressBar::UpdateDocuments(std::uint64_t done, std::uint64_t document_count) {
  state_.document_count = document_count;
  Draw(done);
}

void ProgressBar::Draw(std::uint64_t done) {
  if (!is_terminal_) return;
  const auto now = std::chrono::steady_clock::now();
  const double elapsed = Seconds(now - last_);
  if (is_drawn_ && now - last_ < kDrawInterval) return;
  if (elapsed > 0 && done >= last_done_) {
    const double rate = static_cast<double>(done - last_done_) / elapsed;
    const double weight = state_.done_per_second > 0 ? 1 - std::exp(-elapsed / kRateSeconds) : 1;
    state_.done_per_second += weight * (rate - state_.done_per_second);
  }
  last_ = now;
  last_done_ = done;
  is_drawn_ = true;
  state_.done = done;
  state_.seconds = Seconds(now - start_);
  winsize size = {};
  state_.width = ioctl(STDERR_FILENO, TIOCGWINSZ, &size) == 0 ? size.ws_col : 0;
  std::fprintf(stderr, "\r\033[K%s", ProgressLine(state_).c_str());
  std::fflush(stderr);
}

void ProgressBar::Clear() {
  if (!is_drawn_) return;
  std::fputs("\r\033[K", stderr);
  std::fflush(stderr);
  is_drawn_ = false;
}

void Say(const std::string& line) {
  if (isatty(STDERR_FILENO) != 0) std::fprintf(stderr, "%s\n", line.c_str());
}

void Warn(const std::string& line) {
  std::fprintf(stderr, "foreshore: %s\n", line.c_str());
}

}  // namespace foreshore::cli
