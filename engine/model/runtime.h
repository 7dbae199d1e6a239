// What stands between the database and a callback that runs a model: batches of a bounded size, turns, the check of
// what it made, exceptions caught, and the end of a registration.
//
// Threads: safe from any thread. After Retire() no call runs or begins.
#pragma once

#include <condition_variable>
#include <mutex>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "foreshore/runtime.h"
#include "foreshore/status.h"
#include "storage/base/cancellation.h"

namespace foreshore {

class Runtime {
 public:
  // `owner` is whose callbacks IsInside() tells apart; `version` the model's, as its row has it.
  Runtime(const void* owner, std::string name, std::string version, RuntimeOptions options, RuntimeCallback callback);

  const std::string& version() const { return version_; }
  const RuntimeOptions& options() const { return options_; }
  std::size_t input_width() const { return input_width_; }  // Numbers of a row; 0 where rows are texts.
  std::size_t output_width() const { return output_width_; }

  // `rows.row_count` rows of any number, `output` for all of them. kUnsupported once retired, kConflict from within its
  // own callback; kInternal where the callback threw, or made what is not finite.
  Status Run(const RuntimeBatch& rows, std::span<float> output, Cancellation* cancellation = nullptr);
  // Waits for the calls that run. Not from inside a callback of the same owner.
  void Retire();

  // Whether this thread is inside a callback of that owner.
  static bool IsInside(const void* owner);

 private:
  class Turn;
  Status RunOnce(const RuntimeBatch& batch, std::size_t first_row, std::span<float> output);

  const void* owner_;
  std::string where_;  // model "x"
  std::string version_;
  RuntimeOptions options_;
  RuntimeCallback callback_;
  std::size_t input_width_ = 0;
  std::size_t output_width_ = 0;
  std::mutex mutex_;
  std::condition_variable changed_;
  std::size_t running_count_ = 0;  // Guarded by mutex_.
  bool is_retired_ = false;        // Guarded by mutex_.
};

// kInvalidArgument for what no runtime can be.
Status ValidateRuntimeOptions(const std::string& name, const RuntimeOptions& options);

}  // namespace foreshore
