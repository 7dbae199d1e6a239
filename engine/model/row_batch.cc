#include "engine/model/row_batch.h"

#include <algorithm>
#include <cassert>
#include <charconv>
#include <cstring>

#include "engine/document/json.h"
#include "engine/document/json_floats.h"
#include "engine/inference/graph/tensor_blob.h"
#include "engine/inference/json_reader.h"
#include "engine/model/number_cast.h"
#include "engine/model/tensor_json.h"

namespace foreshore {

using graph::GraphPort;
using graph::OwnedTensor;
using graph::Shape;
using graph::TensorRef;

namespace {

constexpr std::size_t kRowNumbersMax = 4'194'304;
constexpr std::size_t kBytesInCall = 32U << 20;  // Of inputs and outputs, above which rows wait for the next call.
constexpr std::uint64_t kTensorBytesMax = 512ULL << 20;

// The numbers of one row; 0 where that is open, or none.
std::size_t WidthOf(std::span<const std::int64_t> shape) {
  std::size_t width = 1;
  for (const std::int64_t size : shape) {
    if (size < 1 || width > kRowNumbersMax / static_cast<std::size_t>(size)) return 0;
    width *= static_cast<std::size_t>(size);
  }
  return width;
}

bool IsRows(const GraphPort& port) {
  return port.has_shape && !port.shape.empty() && port.shape[0] < 0 && WidthOf(std::span(port.shape).subspan(1)) > 0;
}

std::string CountText(std::size_t count) {
  return std::to_string(count) + (count == 1 ? " number" : " numbers");
}

}  // namespace

RowBatch::RowBatch(std::shared_ptr<NumberModel> model) : model_(std::move(model)) {
  const auto ports = model_->inputs();
  ports_.assign(ports.begin(), ports.end());
  takes_rows_ = !ports_.empty() && std::all_of(ports_.begin(), ports_.end(), IsRows);
  std::size_t row_bytes = 0;
  for (GraphPort& port : ports_) {
    if (takes_rows_) port.shape.erase(port.shape.begin());
    Input& input = inputs_.emplace_back();
    input.width = port.has_shape ? WidthOf(port.shape) : 0;
    input.element_bytes = OnnxTypeBytes(port.type);
    row_bytes += input.width * input.element_bytes;
  }
  for (const GraphPort& port : model_->outputs()) {
    if (IsRows(port)) row_bytes += WidthOf(std::span(port.shape).subspan(1)) * OnnxTypeBytes(port.type);
  }
  if (takes_rows_ && model_->has_independent_rows()) {
    rows_in_call_ = std::clamp<std::size_t>(kBytesInCall / std::max<std::size_t>(row_bytes, 1), 1, kRowsMax);
  }
}

void RowBatch::Clear() {
  row_count_ = 0;
  for (Input& input : inputs_) {
    input.bytes.clear();
    input.row_begin = 0;
    input.has_shape = false;
  }
}

std::byte* RowBatch::Extend(Input& input, std::size_t count) {
  const std::size_t begin = input.bytes.size();
  input.bytes.resize(begin + count * input.element_bytes);
  return input.bytes.data() + begin;
}

Status RowBatch::AddInteger(std::size_t input, std::int64_t number) {
  const GraphPort& port = ports_[input];
  std::byte* out = Extend(inputs_[input], 1);
  return graph::Dispatch<graph::kAllTypes>(port.type, [&]<typename T>() {
    if (CastInteger(number, port.type == OnnxType::kBool, *reinterpret_cast<T*>(out))) return Status::Ok();
    return InputMisfit(port, std::to_string(number));
  });
}

Status RowBatch::AddReal(std::size_t input, double number) {
  const GraphPort& port = ports_[input];
  std::byte* out = Extend(inputs_[input], 1);
  if (port.type == OnnxType::kFloat) {  // Most are.
    *reinterpret_cast<float*>(out) = static_cast<float>(number);
    return Status::Ok();
  }
  return graph::Dispatch<graph::kAllTypes>(port.type, [&]<typename T>() {
    if (CastReal(number, port.type == OnnxType::kBool, *reinterpret_cast<T*>(out))) return Status::Ok();
    char digits[32];
    return InputMisfit(port, std::string(digits, std::to_chars(digits, digits + sizeof digits, number).ptr));
  });
}

bool RowBatch::Fits(std::size_t number, std::size_t count, const Shape& shape) {
  const GraphPort& port = ports_[number];
  Input& input = inputs_[number];
  if (takes_rows_) {
    if (count != input.width) return false;
    if (shape.size() <= 1 || shape == port.shape) return true;
    return shape[0] == 1 && std::equal(shape.begin() + 1, shape.end(), port.shape.begin(), port.shape.end());
  }
  input.shape = shape;
  input.has_shape = true;
  return !port.has_shape || shape.size() > 1 || shape.size() == port.shape.size() ||
         FitFlat(port, static_cast<std::int64_t>(count), input.shape);
}

Status RowBatch::AddElement(std::size_t input, const simdjson::dom::element& value) {
  Shape shape;
  std::vector<simdjson::dom::element> numbers;
  FORESHORE_RETURN_IF_ERROR(FlattenJson(ports_[input], value, shape, numbers));
  if (!Fits(input, numbers.size(), shape)) {
    return InputMisfit(ports_[input], CountText(numbers.size()) +
                                          (shape.size() > 1 ? " nested as " + graph::ToText(shape) : std::string()));
  }
  return StoreNumbers(ports_[input], numbers, Extend(inputs_[input], numbers.size()));
}

Status RowBatch::AddJson(std::size_t input, std::string_view json) {
  if (takes_rows_ && ports_[input].type == OnnxType::kFloat) {
    auto* floats = reinterpret_cast<float*>(Extend(inputs_[input], inputs_[input].width));
    if (ReadFloatArray(json, {floats, inputs_[input].width})) return Status::Ok();
    inputs_[input].bytes.resize(inputs_[input].bytes.size() - inputs_[input].width * sizeof(float));
  }
  JsonReader reader;
  const Status parsed = ReadOneInput(reader, "input", json);
  const auto value = parsed.ok() ? JsonMember(reader.root(), kOneInput) : std::nullopt;
  if (!value) return InputMisfit(ports_[input], std::string(json.substr(0, 80)));
  return AddElement(input, *value);
}

Status RowBatch::AddObject(std::string_view json) {
  JsonReader reader;
  const Status parsed = reader.Parse("input", json, kInputJsonBytesMax);
  if (parsed.code() == ErrorCode::kCorruption) return Status::InvalidArgument(parsed.message());
  if (!parsed.ok()) return parsed;
  for (std::size_t i = 0; i < ports_.size(); ++i) {
    const auto value = JsonMember(reader.root(), ports_[i].name);
    if (!value) return InputMisfit(ports_[i], "nothing");
    FORESHORE_RETURN_IF_ERROR(AddElement(i, *value));
  }
  return Status::Ok();
}

Status RowBatch::AddBlob(std::size_t number, Bytes blob) {
  const GraphPort& port = ports_[number];
  Input& input = inputs_[number];
  if (graph::IsTensorBlob(blob)) {
    auto tensor = graph::DecodeTensorBlob(blob, kTensorBytesMax);
    if (!tensor.ok()) return tensor.status().WithContext("input \"" + std::string(port.name) + "\"");
    const auto count = static_cast<std::size_t>(tensor->ref().count());
    // Of a tensor the sizes count, a single one too.
    const bool is_row = !takes_rows_ || tensor->info.shape.size() != 1 || port.shape.size() == 1 || input.width == 1;
    if (tensor->info.type != port.type || !is_row || !Fits(number, count, tensor->info.shape)) {
      return InputMisfit(port, graph::ToText(tensor->info));
    }
    std::memcpy(Extend(input, count), tensor->bytes.get(), count * input.element_bytes);
    return Status::Ok();
  }
  const std::size_t count = blob.size() / sizeof(float);
  const bool is_floats = graph::Contains(graph::kFloatTypes, port.type) && blob.size() % sizeof(float) == 0;
  if (!is_floats || !Fits(number, count, {static_cast<std::int64_t>(count)})) {
    return InputMisfit(port, "a blob of " + std::to_string(blob.size()) + " bytes");
  }
  std::byte* out = Extend(input, count);
  return graph::Dispatch<graph::kFloatTypes>(port.type, [&]<typename T>() {
    for (std::size_t i = 0; i < count; ++i) {
      float value = 0;
      std::memcpy(&value, blob.data() + i * sizeof(float), sizeof value);
      reinterpret_cast<T*>(out)[i] = static_cast<T>(static_cast<graph::Wide<T>>(value));
    }
    return Status::Ok();
  });
}

Status RowBatch::EndRow() {
  for (std::size_t i = 0; i < inputs_.size(); ++i) {
    Input& input = inputs_[i];
    const std::size_t count =
        input.element_bytes == 0 ? 0 : (input.bytes.size() - input.row_begin) / input.element_bytes;
    const bool fits = takes_rows_ || !input.has_shape
                          ? Fits(i, count, {static_cast<std::int64_t>(count)})
                          : static_cast<std::int64_t>(count) == graph::ElementCount(input.shape);
    if (!fits) return InputMisfit(ports_[i], count == 0 ? "nothing" : CountText(count));
  }
  for (Input& input : inputs_) input.row_begin = input.bytes.size();
  ++row_count_;
  return Status::Ok();
}

void RowBatch::DropRow() {
  for (Input& input : inputs_) {
    input.bytes.resize(input.row_begin);
    input.has_shape = input.has_shape && row_count_ > 0;
  }
}

Status RowBatch::Run(Cancellation* cancellation) {
  assert(row_count_ > 0 && (takes_rows_ || row_count_ == 1));
  std::vector<graph::TensorInfo> infos;
  std::vector<TensorRef> refs;
  infos.reserve(inputs_.size());
  for (std::size_t i = 0; i < inputs_.size(); ++i) {
    graph::TensorInfo& info = infos.emplace_back();
    info.type = ports_[i].type;
    if (takes_rows_) {
      info.shape.push_back(static_cast<std::int64_t>(row_count_));
      info.shape.insert(info.shape.end(), ports_[i].shape.begin(), ports_[i].shape.end());
    } else {
      info.shape = inputs_[i].shape;
    }
    refs.push_back({&info, inputs_[i].bytes.data()});
  }
  FORESHORE_ASSIGN_OR_RETURN(outputs_, model_->Run(refs, cancellation));
  for (std::size_t i = 0; takes_rows_ && i < outputs_.size(); ++i) {
    const graph::TensorInfo& info = outputs_[i].info;
    if (!info.shape.empty() && info.shape[0] == static_cast<std::int64_t>(row_count_)) continue;
    return Status::Unsupported("output \"" + std::string(model_->outputs()[i].name) + "\" is " + graph::ToText(info) +
                               " of " + std::to_string(row_count_) + (row_count_ == 1 ? " row" : " rows") +
                               ", expected numbers for each row");
  }
  return Status::Ok();
}

RowBatch::Output RowBatch::OutputOf(std::size_t row, std::size_t number) const {
  const OwnedTensor& tensor = outputs_[number];
  Output output;
  output.type = tensor.info.type;
  output.shape = tensor.info.shape;
  if (takes_rows_) output.shape = output.shape.subspan(1);
  output.count = tensor.ref().count() / (takes_rows_ ? static_cast<std::int64_t>(row_count_) : 1);
  output.elements = tensor.bytes.get() + row * static_cast<std::size_t>(output.count) * OnnxTypeBytes(tensor.info.type);
  return output;
}

template <typename Append>
Status RowBatch::AppendOutputs(std::string& json, Append append) const {
  if (outputs_.size() == 1) return append(0);
  for (std::size_t i = 0; i < outputs_.size(); ++i) {
    json.push_back(i == 0 ? '{' : ',');
    AppendJsonString(json, model_->outputs()[i].name);
    json.push_back(':');
    FORESHORE_RETURN_IF_ERROR(append(i));
  }
  json.push_back('}');
  return Status::Ok();
}

Status RowBatch::AppendRow(std::size_t row, std::string& json) const {
  return AppendOutputs(json, [&](std::size_t number) {
    const Output output = OutputOf(row, number);
    const auto shape = output.count == 1 ? std::span<const std::int64_t>() : output.shape;
    return AppendElementsJson(output.type, shape, output.elements, json);
  });
}

Status RowBatch::AppendPrediction(std::size_t row, std::string& json) const {
  return AppendOutputs(json, [&](std::size_t number) -> Status {
    const Output output = OutputOf(row, number);
    if (takes_rows_) json.push_back('[');
    FORESHORE_RETURN_IF_ERROR(AppendElementsJson(output.type, output.shape, output.elements, json));
    if (takes_rows_) json.push_back(']');
    return Status::Ok();
  });
}

}  // namespace foreshore
