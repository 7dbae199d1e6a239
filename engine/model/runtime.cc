#include "engine/model/runtime.h"

#include <algorithm>
#include <chrono>
#include <cmath>
#include <exception>
#include <limits>
#include <new>
#include <vector>

#include "engine/inference/graph/tensor_value.h"

namespace foreshore {
namespace {

constexpr std::size_t kVersionBytesMax = 128;
constexpr std::int64_t kRowNumbersMax = 4'194'304;
constexpr std::size_t kRowsMax = 65'536;
constexpr std::uint32_t kDimensionMin = 2;
constexpr std::uint32_t kDimensionMax = 4096;
// How long a call that waits for its turn goes without asking whether to stop.
constexpr std::chrono::milliseconds kTurnInterval{20};

// A callback that this thread is in.
struct Frame {
  const Runtime* runtime;
  const void* owner;
};
thread_local std::vector<Frame> frames;  // Innermost last.

// The numbers of a row; 0 for what is no shape of one.
std::int64_t WidthOf(const std::vector<std::int64_t>& shape) {
  if (shape.empty() || shape.size() >= kTensorRankMax) return 0;
  std::int64_t width = 1;
  for (const std::int64_t size : shape) {
    if (size < 1 || width > kRowNumbersMax / size) return 0;
    width *= size;
  }
  return width;
}

}  // namespace

Status ValidateRuntimeOptions(const std::string& name, const RuntimeOptions& options) {
  const auto fail = [&](const std::string& what) {
    return Status::InvalidArgument("runtime of model \"" + name + "\": " + what);
  };
  if (options.version.empty() || options.version.size() > kVersionBytesMax) {
    return fail("version has " + std::to_string(options.version.size()) + " bytes, expected 1 to 128");
  }
  if (options.row_count_max < 1 || options.row_count_max > kRowsMax) {
    return fail("takes " + std::to_string(options.row_count_max) + " rows in a call, expected 1 to 65536");
  }
  if (options.dimension != 0) {
    if (!options.input_shape.empty() || !options.output_shape.empty()) {
      return fail("has a dimension and shapes, expected one or the other");
    }
    if (options.dimension < kDimensionMin || options.dimension > kDimensionMax) {
      return fail("dimension " + std::to_string(options.dimension) + ", expected 2 to 4096");
    }
    return Status::Ok();
  }
  if (WidthOf(options.input_shape) == 0) {
    return fail("input shape " + graph::ToText(options.input_shape) + ", expected 1 to 7 sizes of at least 1");
  }
  if (WidthOf(options.output_shape) == 0) {
    return fail("output shape " + graph::ToText(options.output_shape) + ", expected 1 to 7 sizes of at least 1");
  }
  return Status::Ok();
}

Runtime::Runtime(const void* owner, std::string name, std::string version, RuntimeOptions options,
                 RuntimeCallback callback)
    : owner_(owner),
      where_("model \"" + name + "\""),
      version_(std::move(version)),
      options_(std::move(options)),
      callback_(std::move(callback)),
      input_width_(static_cast<std::size_t>(WidthOf(options_.input_shape))),
      output_width_(options_.dimension != 0 ? options_.dimension
                                            : static_cast<std::size_t>(WidthOf(options_.output_shape))) {}

bool Runtime::IsInside(const void* owner) {
  return std::any_of(frames.begin(), frames.end(), [&](const Frame& frame) { return frame.owner == owner; });
}

// One call's place among the calls.
class Runtime::Turn {
 public:
  explicit Turn(Runtime& runtime) : runtime_(runtime) {}
  Turn(const Turn&) = delete;
  Turn& operator=(const Turn&) = delete;
  ~Turn() {
    if (!is_taken_) return;
    frames.pop_back();
    const std::lock_guard lock(runtime_.mutex_);
    --runtime_.running_count_;
    runtime_.changed_.notify_all();
  }

  Status Take(Cancellation* cancellation) {
    for (const Frame& frame : frames) {
      if (frame.runtime == &runtime_) {
        return Status::Conflict(runtime_.where_ + ": its runtime's callback asked for the model itself");
      }
    }
    std::unique_lock lock(runtime_.mutex_);
    while (!runtime_.is_retired_ && !runtime_.options_.is_concurrent && runtime_.running_count_ > 0) {
      // Two callbacks that wait for each other's turn would wait for ever.
      if (!frames.empty()) {
        return Status::Busy(runtime_.where_ + ": its runtime is at work, and a callback may not wait for it");
      }
      runtime_.changed_.wait_for(lock, kTurnInterval);
      if (cancellation != nullptr) FORESHORE_RETURN_IF_ERROR(cancellation->Check());
    }
    if (runtime_.is_retired_) return Status::Unsupported(runtime_.where_ + ": its runtime was unregistered");
    frames.push_back({&runtime_, runtime_.owner_});
    ++runtime_.running_count_;
    is_taken_ = true;
    return Status::Ok();
  }

 private:
  Runtime& runtime_;
  bool is_taken_ = false;
};

Status Runtime::Run(const RuntimeBatch& rows, std::span<float> output, Cancellation* cancellation) {
  if (output.size() != rows.row_count * output_width_) {
    return Status::Internal(where_ + ": room for " + std::to_string(output.size()) + " numbers of " +
                            std::to_string(rows.row_count) + " rows");
  }
  for (std::size_t first = 0; first < rows.row_count; first += options_.row_count_max) {
    RuntimeBatch batch;
    batch.row_count = std::min(options_.row_count_max, rows.row_count - first);
    if (input_width_ == 0) {
      batch.texts = rows.texts.subspan(first, batch.row_count);
    } else {
      batch.values = rows.values.subspan(first * input_width_, batch.row_count * input_width_);
    }
    Turn turn(*this);  // For each batch, so that others get theirs.
    FORESHORE_RETURN_IF_ERROR(turn.Take(cancellation));
    FORESHORE_RETURN_IF_ERROR(
        RunOnce(batch, first, output.subspan(first * output_width_, batch.row_count * output_width_)));
    if (cancellation != nullptr) FORESHORE_RETURN_IF_ERROR(cancellation->Check());
  }
  return Status::Ok();
}

Status Runtime::RunOnce(const RuntimeBatch& batch, std::size_t first_row, std::span<float> output) {
  std::fill(output.begin(), output.end(), std::numeric_limits<float>::quiet_NaN());
  Status status;
  try {
    status = callback_(batch, output);
  } catch (const std::bad_alloc&) {
    status = Status::Limit("memory: none left");
  } catch (const std::exception& exception) {
    status = Status::Internal(std::string("threw ") + exception.what());
  } catch (...) {
    status = Status::Internal("threw what is no std::exception");
  }
  if (!status.ok()) return status.WithContext(where_ + ": its runtime");
  for (std::size_t i = 0; i < output.size(); ++i) {
    if (std::isfinite(output[i])) continue;
    return Status::Internal(where_ + ": its runtime made " + (std::isnan(output[i]) ? "NaN" : "infinity") +
                            " of, or left unwritten, number " + std::to_string(i % output_width_) + " of row " +
                            std::to_string(first_row + i / output_width_) + ", expected " +
                            std::to_string(output_width_) + " finite numbers");
  }
  return Status::Ok();
}

void Runtime::Retire() {
  std::unique_lock lock(mutex_);
  is_retired_ = true;
  changed_.notify_all();
  changed_.wait(lock, [&] { return running_count_ == 0; });
}

}  // namespace foreshore
