#include "engine/model/runtime_model.h"

#include "engine/model/tensor_json.h"

namespace foreshore {
namespace {

constexpr std::uint64_t kTensorBytesMax = 512ULL << 20;

}  // namespace

Status RuntimeTextModel::Embed(std::span<const std::string_view> texts, std::span<float> out) {
  RuntimeBatch rows;
  rows.row_count = texts.size();
  rows.texts = texts;
  return runtime_->Run(rows, out);
}

RuntimeNumberModel::RuntimeNumberModel(const std::string& name, std::shared_ptr<Runtime> runtime)
    : where_("model \"" + name + "\""), runtime_(std::move(runtime)) {
  input_.name = "input";
  input_.type = OnnxType::kFloat;
  input_.has_shape = true;
  input_.shape.push_back(-1);
  const auto& shape = runtime_->options().input_shape;
  input_.shape.insert(input_.shape.end(), shape.begin(), shape.end());
}

Result<std::string> RuntimeNumberModel::Predict(std::string_view input_json, Cancellation* cancellation) {
  FORESHORE_ASSIGN_OR_RETURN(const auto inputs,
                             TensorsFromJson(where_, std::span(&input_, 1), input_json, kTensorBytesMax));
  const graph::Shape& found = inputs[0].info.shape;
  if (found.size() != input_.shape.size() || !std::equal(found.begin() + 1, found.end(), input_.shape.begin() + 1)) {
    return Status::InvalidArgument(where_ + ": input is " + graph::ToText(inputs[0].info) + ", expected " +
                                   graph::ToText(graph::TensorInfo{OnnxType::kFloat, input_.shape}));
  }
  const auto rows = static_cast<std::size_t>(found[0]);
  graph::TensorInfo info{OnnxType::kFloat, {found[0]}};
  const auto& shape = runtime_->options().output_shape;
  info.shape.insert(info.shape.end(), shape.begin(), shape.end());
  FORESHORE_ASSIGN_OR_RETURN(const graph::OwnedTensor output, graph::MakeTensor(info, kTensorBytesMax));
  RuntimeBatch batch;
  batch.row_count = rows;
  batch.values = {inputs[0].ref().as<float>(), rows * runtime_->input_width()};
  auto* numbers = reinterpret_cast<float*>(output.bytes.get());
  FORESHORE_RETURN_IF_ERROR(runtime_->Run(batch, {numbers, rows * runtime_->output_width()}, cancellation));
  return TensorsToJson({}, std::span(&output, 1));
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
