#include "engine/model/tensor_json.h"

#include <algorithm>
#include <charconv>
#include <cmath>
#include <vector>

#include "engine/document/json.h"
#include "engine/document/json_floats.h"
#include "engine/inference/json_reader.h"
#include "engine/model/number_cast.h"

namespace foreshore {

using graph::GraphPort;
using graph::OwnedTensor;
using graph::Shape;
using simdjson::dom::element;

namespace {

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

template <typename T>
bool Store(const element& value, bool is_truth, T& out) {
  std::int64_t whole = 0;
  std::uint64_t large = 0;
  bool truth = false;
  double number = 0;
  if (value.get(truth) == simdjson::SUCCESS) return CastInteger(truth ? 1 : 0, is_truth, out);
  if (value.get(whole) == simdjson::SUCCESS) return CastInteger(whole, is_truth, out);
  if (value.is_uint64() && value.get(large) == simdjson::SUCCESS) return CastInteger(large, is_truth, out);
  return value.get(number) == simdjson::SUCCESS && CastReal(number, is_truth, out);
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

Result<OwnedTensor> TensorFromJson(const GraphPort& port, const element& value, std::uint64_t bytes_max) {
  Shape shape;
  std::vector<element> numbers;
  FORESHORE_RETURN_IF_ERROR(FlattenJson(port, value, shape, numbers));
  if (port.has_shape && shape.size() <= 1 && port.shape.size() != shape.size() &&
      !FitFlat(port, static_cast<std::int64_t>(numbers.size()), shape)) {
    return InputMisfit(port, std::to_string(numbers.size()) + (numbers.size() == 1 ? " number" : " numbers"));
  }
  FORESHORE_ASSIGN_OR_RETURN(OwnedTensor tensor, graph::MakeTensor({port.type, shape}, bytes_max));
  FORESHORE_RETURN_IF_ERROR(StoreNumbers(port, numbers, tensor.bytes.get()));
  return tensor;
}

}  // namespace

Status InputMisfit(const GraphPort& port, const std::string& found) {
  return Status::InvalidArgument("input \"" + std::string(port.name.substr(0, 128)) + "\": found " + found +
                                 ", expected " + graph::TypeName(port.type) +
                                 (port.has_shape ? graph::ToText(port.shape) : ""));
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

Status FlattenJson(const GraphPort& port, const element& value, Shape& shape, std::vector<element>& numbers) {
  if (Flatten(value, 0, shape, numbers)) return Status::Ok();
  return InputMisfit(port, "lists of different lengths or depths");
}

Status StoreNumbers(const GraphPort& port, std::span<const element> numbers, std::byte* out) {
  return graph::Dispatch<graph::kAllTypes>(port.type, [&]<typename T>() {
    T* elements = reinterpret_cast<T*>(out);
    for (std::size_t i = 0; i < numbers.size(); ++i) {
      if (Store(numbers[i], port.type == OnnxType::kBool, elements[i])) continue;
      return InputMisfit(port, std::string(simdjson::minify(numbers[i])).substr(0, 40) +
                                   (numbers.size() > 1 ? " at number " + std::to_string(i) : ""));
    }
    return Status::Ok();
  });
}

Status ReadOneInput(JsonReader& reader, const std::string& where, std::string_view json) {
  // The reader reads objects.
  const std::string wrapped = "{\"" + std::string(kOneInput) + "\":" + std::string(json) + "}";
  FORESHORE_RETURN_IF_ERROR(reader.Parse(where, wrapped, kInputJsonBytesMax));
  if (reader.root().size() == 1) return Status::Ok();
  return Status::Corruption(where + ": found more than one value");
}

Result<std::vector<OwnedTensor>> TensorsFromJson(const std::string& where, std::span<const GraphPort> ports,
                                                 std::string_view json, std::uint64_t bytes_max) {
  const std::size_t start = std::min(json.find_first_not_of(" \t\r\n"), json.size());
  const bool has_names = json.substr(start).starts_with('{');
  JsonReader reader;
  const Status parsed = has_names ? reader.Parse(where + ": input", json, kInputJsonBytesMax)
                                  : ReadOneInput(reader, where + ": input", json);
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

Status AppendElementsJson(OnnxType type, std::span<const std::int64_t> shape, const std::byte* elements,
                          std::string& out) {
  std::int64_t count_left = kOutputCountMax;
  // Sizes of 0 are passed over: [2^40, 0] has no numbers, and 2^40 empty lists.
  for (const std::int64_t size : shape) {
    if (size > 0) count_left /= size;
  }
  if (count_left == 0) {
    return Status::Limit("output " + graph::ToText({type, {shape.begin(), shape.end()}}) + ", expected at most " +
                         std::to_string(kOutputCountMax) + " numbers");
  }
  return graph::Dispatch<graph::kAllTypes>(type, [&]<typename T>() {
    const T* next = reinterpret_cast<const T*>(elements);
    AppendNested(shape, 0, next, out);
    return Status::Ok();
  });
}

Result<std::string> TensorsToJson(std::span<const GraphPort> ports, std::span<const OwnedTensor> tensors) {
  std::string out;
  const auto append = [&](const OwnedTensor& tensor) {
    return AppendElementsJson(tensor.info.type, tensor.info.shape, tensor.bytes.get(), out);
  };
  if (tensors.size() == 1) {
    FORESHORE_RETURN_IF_ERROR(append(tensors[0]));
    return out;
  }
  for (std::size_t i = 0; i < tensors.size(); ++i) {
    out.push_back(i == 0 ? '{' : ',');
    AppendJsonString(out, ports[i].name);
    out.push_back(':');
    FORESHORE_RETURN_IF_ERROR(append(tensors[i]));
  }
  return out + "}";
}

void AppendRowJson(std::span<const std::int64_t> shape, const float* values, std::string& out) {
  AppendNested(shape, 0, values, out);
}

}  // namespace foreshore
