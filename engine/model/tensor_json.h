// Tensors as the JSON that predict() takes and gives.
//
// Threads: free functions, safe from any thread.
#pragma once

#include <cstdint>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "engine/inference/graph/graph.h"
#include "foreshore/status.h"

namespace foreshore {

// One tensor for each port, of {"input name": values, …}, or the values alone where there is one port. Values are
// numbers nested as the tensor is, or a flat list that fills the declared shape, with at most one open size. `where`
// begins messages. kInvalidArgument for what does not fit, kLimit above `bytes_max` a tensor.
Result<std::vector<graph::OwnedTensor>> TensorsFromJson(const std::string& where,
                                                        std::span<const graph::GraphPort> ports, std::string_view json,
                                                        std::uint64_t bytes_max);

// The numbers nested; what is no finite number is null. With several {"output name": numbers, …}. kLimit where there
// are too many for a text.
Result<std::string> TensorsToJson(std::span<const graph::GraphPort> ports, std::span<const graph::OwnedTensor> tensors);

// One row of floats, nested as `shape`, in the same form.
void AppendRowJson(std::span<const std::int64_t> shape, const float* values, std::string& out);

}  // namespace foreshore
