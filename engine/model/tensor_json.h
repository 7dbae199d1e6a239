// Tensors as the JSON that predict() takes and gives.
//
// Threads: free functions, safe from any thread.
#pragma once

#include <simdjson.h>

#include <cstddef>
#include <cstdint>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "engine/inference/graph/graph.h"
#include "engine/inference/json_reader.h"
#include "foreshore/status.h"

namespace foreshore {

// Reads one JSON value of any kind, which `reader` has then as the member kOneInput of its root. `where` begins
// messages.
inline constexpr std::string_view kOneInput = "input";
inline constexpr std::size_t kInputJsonBytesMax = 64U << 20;
Status ReadOneInput(JsonReader& reader, const std::string& where, std::string_view json);

// One tensor for each port, of {"input name": values, …}, or the values alone where there is one port. Values are
// numbers nested as the tensor is, or a flat list that fills the declared shape, with at most one open size; one number
// fills a shape of one. Integers take whole numbers within their range, booleans true, false, 0 and 1. `where` begins
// messages. kInvalidArgument for what does not fit, kLimit above `bytes_max` a tensor.
Result<std::vector<graph::OwnedTensor>> TensorsFromJson(const std::string& where,
                                                        std::span<const graph::GraphPort> ports, std::string_view json,
                                                        std::uint64_t bytes_max);

// The numbers nested; what is no finite number is null. With several {"output name": numbers, …}. kLimit where there
// are too many for a text.
Result<std::string> TensorsToJson(std::span<const graph::GraphPort> ports, std::span<const graph::OwnedTensor> tensors);

// One row of floats, nested as `shape`, in the same form.
void AppendRowJson(std::span<const std::int64_t> shape, const float* values, std::string& out);
// The same of elements of any type.
Status AppendElementsJson(OnnxType type, std::span<const std::int64_t> shape, const std::byte* elements,
                          std::string& out);

// The numbers of a value in order, and how they are nested: a number alone has no sizes. kInvalidArgument where lists
// differ in length or depth.
Status FlattenJson(const graph::GraphPort& port, const simdjson::dom::element& value, graph::Shape& shape,
                   std::vector<simdjson::dom::element>& numbers);
// Whether `count` numbers in a row fill the port's declared shape, whose one open size is what is left; then sets it.
bool FitFlat(const graph::GraphPort& port, std::int64_t count, graph::Shape& shape);
// As elements of the port's type, which `out` has room for. kInvalidArgument names the first that is none.
Status StoreNumbers(const graph::GraphPort& port, std::span<const simdjson::dom::element> numbers, std::byte* out);

// "input "x": found `found`, expected int64[2]": the port as it is declared.
Status InputMisfit(const graph::GraphPort& port, const std::string& found);

}  // namespace foreshore
