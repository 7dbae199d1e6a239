#include "engine/model/tensor_json.h"

#include <algorithm>
#include <charconv>
#include <cmath>
#include <vector>

#include "engine/document/json.h"
#include "engine/document/json_floats.h"
#include "engine/inference/graph/saturate.h"
#include "engine/inference/json_reader.h"

namespace foreshore {

using graph::GraphPort;
using graph::OwnedTensor;
using graph::Shape;
using simdjson::dom::element;

namespace {

constexpr std::size_t kInputBytesMax = 64ULL << 20;
constexpr std::string_view kOneInput = "input";
// Numbers in one output; a list without any counts as one.
constexpr std::int64_t kOutputCountMax = 4'194'304;

// The numbers in order, and the shape that their nesting says; false where it says none.
bool Flatten(const element& value, std::size_t depth, Shape& shape, std::vector<element>& numbers) {
  simdjson::dom::array list;
  if (value.get(list) != simdjson::SUCCESS) {
    numbers.push_back(value);
    return depth == shape.size();
  }
  const bool is_first = numbers.empty() && depth == shape.size();
  if (is_first) shape.resize(shape.size() + 1);
  if (depth >= shape.size() || shape.size() > kTensorRankMax) return false;
  std::int64_t count = 0;
  for (const element& item : list) {
    if (!Flatten(item, depth + 1, shape, numbers)) return false;
    ++count;
  }
  if (is_first) shape[depth] = count;
  return shape[depth] == count;
}

// The declared shape for a flat list: its one open size is what is left.
bool FitFlat(const GraphPort& port, std::int64_t count, Shape& shape) {
  std::int64_t known = 1;
  std::int64_t open = -1;
  for (std::size_t i = 0; i < port.shape.size(); ++i) {
    const std::int64_t size = port.shape[i];
    if (size < 0 && open >= 0) return false;
    if (size < 0) open = static_cast<std::int64_t>(i);
    if (size > 0 && known > count / size) return false;
    if (size >= 0) known *= size;
  }
  if (known == 0 || count % known != 0 || (open < 0 && known != count)) return false;
  shape = port.shape;
  if (open >= 0) shape[static_cast<std::size_t>(open)] = count / known;
  return true;
}

template <typename T>
bool Store(const element& value, T& out) {
  std::int64_t whole = 0;
  bool truth = false;
  double number = 0;
  if (value.get(truth) == simdjson::SUCCESS) {
    out = static_cast<T>(static_cast<graph::Wide<T>>(truth ? 1 : 0));
  } else if (value.get(whole) == simdjson::SUCCESS) {
    if constexpr (std::is_integral_v<T>) {
      if (!std::in_range<T>(whole)) return false;
    }
    out = static_cast<T>(static_cast<graph::Wide<T>>(whole));
  } else if (value.get(number) == simdjson::SUCCESS) {
    if constexpr (std::is_integral_v<T>) {
      out = graph::Saturate<T>(number);
      return static_cast<double>(out) == number;
    } else {
      out = static_cast<T>(static_cast<graph::Wide<T>>(number));
    }
  } else {
    return false;
  }
  return true;
}

constexpr std::size_t kNumberCharsMax = 32;

template <typename T>
char* WriteNumber(char* out, T value) {
  if constexpr (!std::is_integral_v<T>) {
    if (!std::isfinite(static_cast<graph::Wide<T>>(value))) {
      constexpr std::string_view kNull = "null";
      return std::copy(kNull.begin(), kNull.end(), out);
    }
  }
  if constexpr (std::is_same_v<graph::Wide<T>, float>) return WriteFloat(out, static_cast<float>(value));
  return std::to_chars(out, out + kNumberCharsMax, static_cast<graph::Wide<T>>(value)).ptr;
}

// What is inside the brackets of `count` numbers.
template <typename T>
void AppendNumbers(std::size_t count, const T*& next, std::string& out) {
  const std::size_t begin = out.size();
  out.resize(begin + count * (kNumberCharsMax + 1));
  char* cursor = out.data() + begin;
  for (std::size_t i = 0; i < count; ++i) {
    if (i > 0) *cursor++ = ',';
    cursor = WriteNumber(cursor, *next++);
  }
  out.resize(static_cast<std::size_t>(cursor - out.data()));
}

template <typename T>
void AppendNested(std::span<const std::int64_t> shape, std::size_t axis, const T*& next, std::string& out) {
  if (axis == shape.size()) return AppendNumbers(1, next, out);
  out.push_back('[');
  if (axis + 1 == shape.size()) {
    // Not all at once: of much, the room that is needed at most is much more than the room that it takes.
    constexpr std::int64_t kNumbersAtOnce = 1024;
    for (std::int64_t i = 0; i < shape[axis]; i += kNumbersAtOnce) {
      if (i > 0) out.push_back(',');
      AppendNumbers(static_cast<std::size_t>(std::min(kNumbersAtOnce, shape[axis] - i)), next, out);
    }
  } else {
    for (std::int64_t i = 0; i < shape[axis]; ++i) {
      if (i > 0) out.push_back(',');
      AppendNested(shape, axis + 1, next, out);
    }
  }
  out.push_back(']');
}

Status InputMisfit(const GraphPort& port, const std::string& found) {
  return Status::InvalidArgument("input \"" + std::string(port.name.substr(0, 128)) + "\": found " + found +
                                 ", expected " + graph::TypeName(port.type) +
                                 (port.has_shape ? graph::ToText(port.shape) : ""));
}

Result<OwnedTensor> TensorFromJson(const GraphPort& port, const element& value, std::uint64_t bytes_max) {
  Shape shape;
  std::vector<element> numbers;
  if (!Flatten(value, 0, shape, numbers)) return InputMisfit(port, "lists of different lengths or depths");
  if (port.has_shape && shape.size() == 1 && port.shape.size() != 1 &&
      !FitFlat(port, static_cast<std::int64_t>(numbers.size()), shape)) {
    return InputMisfit(port, std::to_string(numbers.size()) + " numbers");
  }
  FORESHORE_ASSIGN_OR_RETURN(OwnedTensor tensor, graph::MakeTensor({port.type, shape}, bytes_max));
  const Status stored = graph::Dispatch<graph::kAllTypes>(port.type, [&]<typename T>() {
    T* out = reinterpret_cast<T*>(tensor.bytes.get());
    for (std::size_t i = 0; i < numbers.size(); ++i) {
      if (!Store(numbers[i], out[i])) return InputMisfit(port, "a value that is no such number");
    }
    return Status::Ok();
  });
  if (!stored.ok()) return stored;
  return tensor;
}

Status AppendTensorJson(const OwnedTensor& tensor, std::string& out) {
  std::int64_t count_left = kOutputCountMax;
  // Sizes of 0 are passed over: [2^40, 0] has no numbers, and 2^40 empty lists.
  for (const std::int64_t size : tensor.info.shape) {
    if (size > 0) count_left /= size;
  }
  if (count_left == 0) {
    return Status::Limit("output " + graph::ToText(tensor.info) + ", expected at most " +
                         std::to_string(kOutputCountMax) + " numbers");
  }
  return graph::Dispatch<graph::kAllTypes>(tensor.info.type, [&]<typename T>() {
    const T* next = tensor.ref().as<T>();
    AppendNested(std::span<const std::int64_t>(tensor.info.shape), 0, next, out);
    return Status::Ok();
  });
}

}  // namespace

Result<std::vector<OwnedTensor>> TensorsFromJson(const std::string& where, std::span<const GraphPort> ports,
                                                 std::string_view json, std::uint64_t bytes_max) {
  const std::size_t start = std::min(json.find_first_not_of(" \t\r\n"), json.size());
  const bool has_names = json.substr(start).starts_with('{');
  // The reader reads objects.
  const std::string wrapped =
      has_names ? std::string(json) : "{\"" + std::string(kOneInput) + "\":" + std::string(json) + "}";
  JsonReader reader;
  const Status parsed = reader.Parse(where + ": input", wrapped, kInputBytesMax);
  if (parsed.code() == ErrorCode::kCorruption) return Status::InvalidArgument(parsed.message());
  if (!parsed.ok()) return parsed;
  if (!has_names && ports.size() != 1) {
    return Status::InvalidArgument(where + ": input is no object, expected one with " + std::to_string(ports.size()) +
                                   " names");
  }
  std::vector<OwnedTensor> tensors;
  for (const GraphPort& port : ports) {
    const auto value = JsonMember(reader.root(), has_names ? port.name : kOneInput);
    if (!value) return InputMisfit(port, "nothing").WithContext(where);
    auto tensor = TensorFromJson(port, *value, bytes_max);
    if (!tensor.ok()) return tensor.status().WithContext(where);
    tensors.push_back(std::move(tensor).value());
  }
  return tensors;
}

Result<std::string> TensorsToJson(std::span<const GraphPort> ports, std::span<const OwnedTensor> tensors) {
  std::string out;
  if (tensors.size() == 1) {
    FORESHORE_RETURN_IF_ERROR(AppendTensorJson(tensors[0], out));
    return out;
  }
  for (std::size_t i = 0; i < tensors.size(); ++i) {
    out.push_back(i == 0 ? '{' : ',');
    AppendJsonString(out, ports[i].name);
    out.push_back(':');
    FORESHORE_RETURN_IF_ERROR(AppendTensorJson(tensors[i], out));
  }
  return out + "}";
}

void AppendRowJson(std::span<const std::int64_t> shape, const float* values, std::string& out) {
  AppendNested(shape, 0, values, out);
}

}  // namespace foreshore
