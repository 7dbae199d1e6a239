#include "engine/model/graph_model.h"

#include <chrono>

#include "engine/inference/graph/tensor_blob.h"
#include "engine/model/tensor_json.h"

namespace foreshore {
namespace {

using graph::GraphPort;
using graph::OwnedTensor;
using graph::TensorRef;

// Numbers in a row; far more are no row.
constexpr std::int64_t kRowNumbersMax = 4'194'304;
// Below this a file of its own costs more than it saves.
constexpr std::uint64_t kPackedBytesMin = 64 << 10;
// How long a call that waits for its turn goes without asking whether to stop.
constexpr std::chrono::milliseconds kTurnInterval{20};

}  // namespace

Result<std::shared_ptr<GraphModel>> GraphModel::Open(const std::string& name, std::unique_ptr<MappedFile> file,
                                                     const std::optional<Packing>& packing) {
  const auto build = [&](std::shared_ptr<graph::ConstantStore> constants) -> Result<graph::Graph> {
    FORESHORE_ASSIGN_OR_RETURN(OnnxModel onnx, ReadOnnx(name, file->bytes()));
    return graph::Graph::Build(name, std::move(onnx), {}, &graph::VectorKernelsFor(DetectCpuLevel()),
                               std::move(constants));
  };
  const auto open_packed = [&]() -> Result<std::shared_ptr<GraphModel>> {
    FORESHORE_ASSIGN_OR_RETURN(auto packed, MappedFile::Open(packing->path));
    FORESHORE_ASSIGN_OR_RETURN(auto constants,
                               graph::ConstantStore::Open(packed->bytes(), graph::Graph::KeyOf(packing->source)));
    FORESHORE_ASSIGN_OR_RETURN(graph::Graph graph, build(std::move(constants)));
    return std::shared_ptr<GraphModel>(new GraphModel(std::move(file), std::move(packed), std::move(graph)));
  };
  if (packing && FileExists(packing->path)) {
    auto opened = open_packed();
    if (opened.ok()) return opened;
    if (opened.status().code() != ErrorCode::kCorruption && opened.status().code() != ErrorCode::kUnsupported) {
      return opened.status();
    }
  }
  FORESHORE_ASSIGN_OR_RETURN(graph::Graph graph, build(nullptr));
  if (packing && graph.constants().taken_bytes() >= kPackedBytesMin) {
    const ByteString packed = graph.constants().Pack(graph::Graph::KeyOf(packing->source));
    if (WriteFileAtomic(packing->path, packed).ok()) return open_packed();
  }
  return std::shared_ptr<GraphModel>(new GraphModel(std::move(file), nullptr, std::move(graph)));
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
    if (port.shape[i] < 1 || width > kRowNumbersMax / port.shape[i]) return std::nullopt;
    width *= port.shape[i];
  }
  return static_cast<std::size_t>(width);
}

Status GraphModel::PredictRows(std::span<const float> values, std::size_t rows, RowOutput& out,
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
  out.values.assign(first, first + count);
  out.shape.assign(found.shape.begin() + 1, found.shape.end());
  out.width = count / rows;
  return Status::Ok();
}

Result<std::vector<OwnedTensor>> GraphModel::ReadInputs(std::string_view input) const {
  const std::uint64_t bytes_max = graph_.limits().memory_bytes_max;
  if (!graph::IsTensorBlob(input)) return TensorsFromJson(graph_.file(), graph_.inputs(), input, bytes_max);
  std::vector<OwnedTensor> inputs;
  auto tensor = graph::DecodeTensorBlob(input, bytes_max);
  if (!tensor.ok()) return tensor.status().WithContext(graph_.file() + ": input");
  inputs.push_back(std::move(tensor).value());
  return inputs;
}

Result<std::string> GraphModel::Predict(std::string_view input, Cancellation* cancellation) {
  FORESHORE_ASSIGN_OR_RETURN(const auto inputs, ReadInputs(input));
  std::vector<TensorRef> refs;
  for (const OwnedTensor& each : inputs) refs.push_back(each.ref());
  FORESHORE_ASSIGN_OR_RETURN(const auto outputs, Run(refs, cancellation));
  return TensorsToJson(graph_.outputs(), outputs);
}

}  // namespace foreshore
