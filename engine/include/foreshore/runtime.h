// Models that the application runs itself: a callback takes the place of the library's own inference, and predict(),
// predict_batch, embed(), fields that a model fills and searches use it as they use any other model.
//
//   db->RegisterRuntime("scores", {.version = "2024-05", .input_shape = {16}, .output_shape = {1}},
//                       [&](const RuntimeBatch& batch, std::span<float> output) -> Status { …; return Status::Ok(); });
//
// What is stored is a model row without weights that names the version and the shapes. It syncs like any other model;
// where nothing is registered for it, or another version, calls say so.
//
// Threads: the callback runs on the thread that asked for the prediction: the one that steps a statement or calls
// Embed or Predict, the database's thread that fills vectors, or the one that evaluates live queries.
#pragma once

#include <cstddef>
#include <cstdint>
#include <functional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "foreshore/status.h"

namespace foreshore {

struct RuntimeOptions {
  // 1 to 128 bytes. Another version is another model: vectors that a field's model made are made anew.
  std::string version = {};
  // Of a model that embeds texts: how many floats each text becomes, 2 to 4096. 0: a model of numbers, by the shapes.
  std::uint32_t dimension = 0;
  // Of one row, without a batch dimension: 1 to 7 sizes of at least 1, together at most 4,194,304.
  std::vector<std::int64_t> input_shape = {};
  std::vector<std::int64_t> output_shape = {};
  std::size_t row_count_max = 256;  // The most rows that one call takes: 1 to 65,536.
  bool is_concurrent = false;       // The callback may run on several threads at once; else calls take turns.
};

// Borrowed for the call.
struct RuntimeBatch {
  std::size_t row_count = 0;
  std::span<const std::string_view> texts = {};  // Of a model that embeds texts: one for each row, UTF-8.
  std::span<const float> values = {};            // Else: row after row, each as input_shape says.
};

// Fills `output`, row after row: each `dimension` floats, or as output_shape says. Each row's numbers must depend on
// that row alone. What is not finite at the end is an error, and so is what was not written: it is NaN before. An
// error or an exception fails the statement that asked; a field's vectors stay pending, and are tried again.
// Inside, the database may be read; what writes, waits for vectors or closes is refused (kConflict), and so is a call
// of the same model.
using RuntimeCallback = std::function<Status(const RuntimeBatch& batch, std::span<float> output)>;

}  // namespace foreshore
