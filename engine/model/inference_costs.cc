#include "engine/model/inference_costs.h"

#include <chrono>

namespace foreshore {
namespace {

constexpr double kShareOfTheNew = 0.125;  // Of a moving average.

std::int64_t NowNs() {
  return std::chrono::duration_cast<std::chrono::nanoseconds>(std::chrono::steady_clock::now().time_since_epoch())
      .count();
}

}  // namespace

void InferenceCosts::Note(const std::string& model, std::size_t row_count, double microseconds) {
  if (row_count == 0) return;
  const double found_us = microseconds / static_cast<double>(row_count);
  const std::lock_guard lock(mutex_);
  Cost& cost = costs_[model];
  double& kept_us = row_count > 1 ? cost.batch_us : cost.alone_us;
  kept_us = kept_us == 0 ? found_us : kept_us + kShareOfTheNew * (found_us - kept_us);
}

std::optional<double> InferenceCosts::MicrosecondsPerRow(const std::string& model, bool is_batch) const {
  const std::lock_guard lock(mutex_);
  const auto found = costs_.find(model);
  if (found == costs_.end()) return std::nullopt;
  const double kept_us = is_batch ? found->second.batch_us : found->second.alone_us;
  return kept_us > 0 ? std::optional(kept_us) : std::nullopt;
}

void InferenceCosts::Forget(const std::string& model) {
  const std::lock_guard lock(mutex_);
  costs_.erase(model);
}

InferenceTimer::InferenceTimer(InferenceCosts& costs, const std::string& model, std::size_t row_count)
    : costs_(costs), model_(model), row_count_(row_count), begun_ns_(NowNs()) {}

InferenceTimer::~InferenceTimer() {
  if (row_count_ > 0) costs_.Note(model_, row_count_, static_cast<double>(NowNs() - begun_ns_) / 1000);
}

}  // namespace foreshore
