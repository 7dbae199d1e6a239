#include "engine/model/graph_model.h"

#include <charconv>
#include <chrono>
#include <cmath>
#include <limits>
#include <vector>

#include "engine/document/json.h"
#include "engine/inference/graph/saturate.h"
#include "engine/inference/graph/tensor_blob.h"
#include "engine/inference/json_reader.h"

namespace foreshore {
namespace {

using graph::GraphPort;
using graph::OutputRef;
using graph::OwnedTensor;
using graph::Shape;
using graph::TensorRef;
using simdjson::dom::element;

constexpr std::size_t kInputBytesMax = 64ULL << 20;
// Numbers in one output; a list without any counts as one.
constexpr std::int64_t kOutputCountMax = 4'194'304;
// How long a call that waits for its turn goes without asking whether to stop.
constexpr std::chrono::milliseconds kTurnInterval{20};
constexpr std::string_view kOneInput = "input";

Status Misfit(const GraphPort& port, const std::string& found) {
  return Status::InvalidArgument("input \"" + std::string(port.name.substr(0, 128)) + "\": found " + found +
                                 ", expected " + graph::TypeName(port.type) +
                                 (port.has_shape ? graph::ToText(port.shape) : ""));
}

// The numbers in order, and the shape that their nesting says; false where it says none.
bool Flatten(const element& value, std::size_t depth, Shape& shape, std::vector<element>& numbers) {
  simdjson::dom::array list;
  if (value.get(list) != simdjson::SUCCESS) {
    numbers.push_back(value);
    return depth == shape.size();
  }
  const bool is_first = numbers.empty() && depth == shape.size();
  if (is_first) shape.push_back(0);
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

Result<OwnedTensor> ReadInput(const GraphPort& port, const element& value, std::uint64_t bytes_max) {
  Shape shape;
  std::vector<element> numbers;
  if (!Flatten(value, 0, shape, numbers)) return Misfit(port, "lists of different lengths or depths");
  if (port.has_shape && shape.size() == 1 && port.shape.size() != 1 &&
      !FitFlat(port, static_cast<std::int64_t>(numbers.size()), shape)) {
    return Misfit(port, std::to_string(numbers.size()) + " numbers");
  }
  FORESHORE_ASSIGN_OR_RETURN(OwnedTensor tensor, graph::MakeTensor({port.type, shape}, bytes_max));
  const Status stored = graph::Dispatch<graph::kAllTypes>(port.type, [&]<typename T>() {
    T* out = reinterpret_cast<T*>(tensor.bytes.get());
    for (std::size_t i = 0; i < numbers.size(); ++i) {
      if (!Store(numbers[i], out[i])) return Misfit(port, "a value that is no such number");
    }
    return Status::Ok();
  });
  if (!stored.ok()) return stored;
  return tensor;
}

template <typename T>
void AppendNumber(T value, std::string& out) {
  if constexpr (!std::is_integral_v<T>) {
    if (!std::isfinite(static_cast<graph::Wide<T>>(value))) {
      out += "null";
      return;
    }
  }
  char digits[32];
  out.append(digits, std::to_chars(digits, digits + sizeof digits, static_cast<graph::Wide<T>>(value)).ptr);
}

template <typename T>
void AppendNested(const Shape& shape, std::size_t axis, const T*& next, std::string& out) {
  if (axis == shape.size()) return AppendNumber(*next++, out);
  out.push_back('[');
  for (std::int64_t i = 0; i < shape[axis]; ++i) {
    if (i > 0) out.push_back(',');
    AppendNested(shape, axis + 1, next, out);
  }
  out.push_back(']');
}

Status AppendOutput(const OwnedTensor& tensor, std::string& out) {
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
    AppendNested(tensor.info.shape, 0, next, out);
    return Status::Ok();
  });
}

}  // namespace

Result<std::shared_ptr<GraphModel>> GraphModel::Open(const std::string& name, std::unique_ptr<MappedFile> file) {
  FORESHORE_ASSIGN_OR_RETURN(OnnxModel onnx, ReadOnnx(name, file->bytes()));
  FORESHORE_ASSIGN_OR_RETURN(graph::Graph graph, graph::Graph::Build(name, std::move(onnx)));
  return std::shared_ptr<GraphModel>(new GraphModel(std::move(file), std::move(graph)));
}

Result<std::vector<OwnedTensor>> GraphModel::Run(std::span<const TensorRef> inputs, Cancellation* cancellation) {
  std::unique_lock lock(mutex_, std::defer_lock);
  while (!lock.try_lock_for(kTurnInterval)) {
    if (cancellation != nullptr) FORESHORE_RETURN_IF_ERROR(cancellation->Check());
  }
  return executor_.Run(inputs, cancellation);
}

std::optional<std::size_t> GraphModel::row_width() const {
  if (graph_.inputs().size() != 1 || graph_.outputs().size() != 1) return std::nullopt;
  const GraphPort& port = graph_.inputs()[0];
  if (port.type != OnnxType::kFloat || port.shape.empty() || port.shape[0] >= 0) return std::nullopt;
  std::int64_t width = 1;
  for (std::size_t i = 1; i < port.shape.size(); ++i) {
    if (port.shape[i] < 1 || width > kOutputCountMax / port.shape[i]) return std::nullopt;
    width *= port.shape[i];
  }
  return static_cast<std::size_t>(width);
}

Result<std::size_t> GraphModel::PredictRows(std::span<const float> values, std::size_t rows, std::vector<float>& out,
                                            Cancellation* cancellation) {
  const auto width = row_width();
  if (!width || values.size() != rows * *width || rows == 0) {
    return Status::Unsupported(graph_.file() + ": takes no rows of " +
                               std::to_string(rows > 0 ? values.size() / rows : 0) + " numbers in one call");
  }
  graph::TensorInfo info{OnnxType::kFloat, graph_.inputs()[0].shape};
  info.shape[0] = static_cast<std::int64_t>(rows);
  const TensorRef input{&info, reinterpret_cast<const std::byte*>(values.data())};
  FORESHORE_ASSIGN_OR_RETURN(const auto outputs, Run(std::span(&input, 1), cancellation));
  const graph::TensorInfo& found = outputs[0].info;
  if (found.type != OnnxType::kFloat || found.shape.empty() || found.shape[0] != info.shape[0]) {
    return Status::Unsupported(graph_.file() + ": makes " + graph::ToText(found) + " of " + std::to_string(rows) +
                               " rows, expected floats for each row");
  }
  const auto* first = outputs[0].ref().as<float>();
  const auto count = static_cast<std::size_t>(outputs[0].ref().count());
  out.insert(out.end(), first, first + count);
  return count / rows;
}

Result<std::vector<OwnedTensor>> GraphModel::ReadInputs(std::string_view input_json) const {
  std::vector<OwnedTensor> inputs;
  if (graph::IsTensorBlob(input_json)) {
    auto tensor = graph::DecodeTensorBlob(input_json, graph_.limits().memory_bytes_max);
    if (!tensor.ok()) return tensor.status().WithContext(graph_.file() + ": input");
    inputs.push_back(std::move(tensor).value());
    return inputs;
  }
  const std::vector<GraphPort>& ports = graph_.inputs();
  const std::size_t start = std::min(input_json.find_first_not_of(" \t\r\n"), input_json.size());
  const bool has_names = input_json.substr(start).starts_with('{');
  // The reader reads objects.
  const std::string wrapped =
      has_names ? std::string(input_json) : "{\"" + std::string(kOneInput) + "\":" + std::string(input_json) + "}";
  JsonReader reader;
  const Status parsed = reader.Parse(graph_.file() + ": input", wrapped, kInputBytesMax);
  if (parsed.code() == ErrorCode::kCorruption) return Status::InvalidArgument(parsed.message());
  if (!parsed.ok()) return parsed;
  if (!has_names && ports.size() != 1) {
    return Status::InvalidArgument(graph_.file() + ": input is no object, expected one with " +
                                   std::to_string(ports.size()) + " names");
  }
  for (const GraphPort& port : ports) {
    const auto value = JsonMember(reader.root(), has_names ? port.name : kOneInput);
    if (!value) return Misfit(port, "nothing").WithContext(graph_.file());
    auto input = ReadInput(port, *value, graph_.limits().memory_bytes_max);
    if (!input.ok()) return input.status().WithContext(graph_.file());
    inputs.push_back(std::move(input).value());
  }
  return inputs;
}

Result<std::string> GraphModel::Predict(std::string_view input, Cancellation* cancellation) {
  FORESHORE_ASSIGN_OR_RETURN(const auto inputs, ReadInputs(input));
  std::vector<TensorRef> refs;
  for (const OwnedTensor& each : inputs) refs.push_back(each.ref());
  FORESHORE_ASSIGN_OR_RETURN(const auto outputs, Run(refs, cancellation));
  if (outputs.size() == 1) {
    std::string out;
    FORESHORE_RETURN_IF_ERROR(AppendOutput(outputs[0], out));
    return out;
  }
  std::string out = "{";
  for (std::size_t i = 0; i < outputs.size(); ++i) {
    if (i > 0) out.push_back(',');
    AppendJsonString(out, graph_.outputs()[i].name);
    out.push_back(':');
    FORESHORE_RETURN_IF_ERROR(AppendOutput(outputs[i], out));
  }
  return out + "}";
}

}  // namespace foreshore
