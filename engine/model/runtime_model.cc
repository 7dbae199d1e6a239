#include "engine/model/runtime_model.h"

#include <algorithm>

#include "engine/model/tensor_json.h"

namespace foreshore {
namespace {

constexpr std::uint64_t kTensorBytesMax = 512ULL << 20;

graph::GraphPort RowsOf(std::string_view name, const std::vector<std::int64_t>& shape) {
  graph::GraphPort port;
  port.name = name;
  port.type = OnnxType::kFloat;
  port.has_shape = true;
  port.shape.push_back(-1);
  port.shape.insert(port.shape.end(), shape.begin(), shape.end());
  return port;
}

}  // namespace

Status RuntimeTextModel::Embed(std::span<const std::string_view> texts, std::span<float> out) {
  RuntimeBatch rows;
  rows.row_count = texts.size();
  rows.texts = texts;
  return runtime_->Run(rows, out);
}

RuntimeNumberModel::RuntimeNumberModel(const std::string& name, std::shared_ptr<Runtime> runtime)
    : where_("model \"" + name + "\""),
      runtime_(std::move(runtime)),
      input_(RowsOf("input", runtime_->options().input_shape)),
      output_(RowsOf("output", runtime_->options().output_shape)) {}

Result<std::vector<graph::OwnedTensor>> RuntimeNumberModel::Run(std::span<const graph::TensorRef> inputs,
                                                                Cancellation* cancellation) {
  const graph::TensorInfo& info = *inputs[0].info;
  const graph::Shape& found = info.shape;
  if (info.type != OnnxType::kFloat || found.size() != input_.shape.size() ||
      !std::equal(found.begin() + 1, found.end(), input_.shape.begin() + 1)) {
    return Status::InvalidArgument(where_ + ": input is " + graph::ToText(info) + ", expected " +
                                   graph::ToText(graph::TensorInfo{OnnxType::kFloat, input_.shape}));
  }
  const auto rows = static_cast<std::size_t>(found[0]);
  graph::TensorInfo made{OnnxType::kFloat, output_.shape};
  made.shape[0] = found[0];
  std::vector<graph::OwnedTensor> outputs;
  FORESHORE_ASSIGN_OR_RETURN(graph::OwnedTensor output, graph::MakeTensor(made, kTensorBytesMax));
  RuntimeBatch batch;
  batch.row_count = rows;
  batch.values = {inputs[0].as<float>(), rows * runtime_->input_width()};
  auto* numbers = reinterpret_cast<float*>(output.bytes.get());
  FORESHORE_RETURN_IF_ERROR(runtime_->Run(batch, {numbers, rows * runtime_->output_width()}, cancellation));
  outputs.push_back(std::move(output));
  return outputs;
}

Result<std::string> RuntimeNumberModel::Predict(std::string_view input_json, Cancellation* cancellation) {
  FORESHORE_ASSIGN_OR_RETURN(const auto tensors, TensorsFromJson(where_, inputs(), input_json, kTensorBytesMax));
  const graph::TensorRef input = tensors[0].ref();
  FORESHORE_ASSIGN_OR_RETURN(const auto made, Run({&input, 1}, cancellation));
  return TensorsToJson(outputs(), made);
}

Status RuntimeNumberModel::PredictRows(std::span<const float> values, std::size_t rows, RowOutput& out,
                                       Cancellation* cancellation) {
  RuntimeBatch batch;
  batch.row_count = rows;
  batch.values = values;
  out.width = runtime_->output_width();
  out.shape.assign(runtime_->options().output_shape.begin(), runtime_->options().output_shape.end());
  out.values.resize(rows * out.width);
  return runtime_->Run(batch, out.values, cancellation);
}

}  // namespace foreshore
