// The side of bench "inference" that runs ours on general graphs: a line protocol on standard input and output, so that
// the driver (graphs.py) can interleave it with ONNX Runtime, call by call, in one run.
//
//   bench_graphs MODEL FOLDER DIMENSION…   the dimensions are those of the first float input that is no state, or of
//                 tokens
//   "run"      -> nanoseconds of the call by the clock and on the processor
//   "values"   -> the floats of the first output
//   "steps"    -> for people: a line for each step with the least of 20 calls in microseconds and what it made
//   "load"     -> nanoseconds to read the file and make the graph
//   "open"     -> nanoseconds to do that on a packed graph in the folder, which is made first; its bytes, and those of
//                 constants that are in memory nevertheless
//
// Element i of the input is (i · 7919 mod 1000) / 500 − 1; a state is zeros, a rate 16,000. Token i of "input_ids" is
// i · 7919 mod 1000, of "attention_mask" 1, of any other 0.
#include <time.h>

#include <algorithm>
#include <chrono>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <iostream>
#include <limits>
#include <span>
#include <string>
#include <vector>

#include "engine/inference/graph/graph_executor.h"
#include "storage/base/file.h"
#include "tests/bench/bench_clock.h"

namespace foreshore::graph {
namespace {

Result<OwnedTensor> MakeInput(const GraphPort& port, const Shape& shape) {
  const bool is_state = port.name == "state";
  const bool is_tokens = port.type == OnnxType::kInt64 && !port.shape.empty();
  TensorInfo info{port.type, (port.type == OnnxType::kFloat && !is_state) || is_tokens ? shape : port.shape};
  for (std::int64_t& size : info.shape) size = size < 0 ? 1 : size;
  FORESHORE_ASSIGN_OR_RETURN(OwnedTensor tensor, MakeTensor(std::move(info), std::uint64_t{1} << 30));
  auto* integers = reinterpret_cast<std::int64_t*>(tensor.bytes.get());
  if (port.type == OnnxType::kInt64 && !is_tokens) *integers = 16'000;
  for (std::int64_t i = 0; is_tokens && i < tensor.ref().count(); ++i) {
    integers[i] = port.name == "input_ids" ? i * 7919 % 1000 : port.name == "attention_mask" ? 1 : 0;
  }
  if (port.type == OnnxType::kFloat && !is_state) {
    auto* values = reinterpret_cast<float*>(tensor.bytes.get());
    for (std::int64_t i = 0; i < tensor.ref().count(); ++i) {
      values[i] = static_cast<float>(i * 7919 % 1000) / 500.0F - 1.0F;
    }
  }
  return tensor;
}

Status PrintSteps(const Graph& graph, GraphExecutor& executor, std::span<const TensorRef> inputs) {
  constexpr int kCalls = 20;
  std::vector<std::int64_t> least_ns(graph.steps().size(), std::numeric_limits<std::int64_t>::max());
  std::vector<std::int64_t> times_ns;
  executor.set_step_times(&times_ns);
  for (int call = 0; call < kCalls; ++call) {
    FORESHORE_RETURN_IF_ERROR(executor.Run(inputs).status());
    for (std::size_t i = 0; i < times_ns.size(); ++i) least_ns[i] = std::min(least_ns[i], times_ns[i]);
  }
  executor.set_step_times(nullptr);
  for (std::size_t i = 0; i < least_ns.size(); ++i) {
    if (executor.plan()->is_done[i]) continue;
    const GraphStep& step = graph.steps()[i];
    std::printf("%9.1f  %-20s", static_cast<double>(least_ns[i]) / 1e3, std::string(step.op->name).c_str());
    for (const ValueIndex output : step.outputs) {
      if (output != kNoValue) std::printf(" %s", ToText(executor.plan()->values[output].info).c_str());
    }
    for (const ValueIndex input : step.inputs) {
      if (input == kNoValue) continue;
      const bool is_constant = graph.values()[input].is_constant;
      std::printf(" %s%s", is_constant ? "=" : "<", ToText(executor.plan()->values[input].info.shape).c_str());
    }
    std::printf("%s %s\n", step.kernel != nullptr ? " *" : "", std::string(step.node->name).c_str());
  }
  return Status::Ok();
}

Status Run(const std::string& path, const std::string& folder, const Shape& shape) {
  FORESHORE_ASSIGN_OR_RETURN(const auto file, MappedFile::Open(path));
  const auto build = [&](std::shared_ptr<ConstantStore> constants = nullptr) -> Result<Graph> {
    FORESHORE_ASSIGN_OR_RETURN(OnnxModel model, ReadOnnx(path, file->bytes()));
    return Graph::Build(path, std::move(model), {}, &VectorKernelsFor(DetectCpuLevel()), std::move(constants));
  };
  FORESHORE_ASSIGN_OR_RETURN(const Graph graph, build());
  const std::string packed_path = folder + "/graph.packed";
  const PackedGraphKey key = Graph::KeyOf({});
  FORESHORE_RETURN_IF_ERROR(WriteFileAtomic(packed_path, graph.constants().Pack(key)));
  GraphExecutor executor(graph);
  std::vector<OwnedTensor> inputs;
  std::vector<TensorRef> refs;
  for (const GraphPort& port : graph.inputs()) {
    FORESHORE_ASSIGN_OR_RETURN(OwnedTensor input, MakeInput(port, shape));
    inputs.push_back(std::move(input));
  }
  for (const OwnedTensor& input : inputs) refs.push_back(input.ref());
  for (std::string line; std::getline(std::cin, line);) {
    if (line == "load") {
      const std::int64_t start = ClockNs();
      FORESHORE_RETURN_IF_ERROR(build().status());
      std::printf("%lld", static_cast<long long>(ClockNs() - start));
    } else if (line == "open") {
      const std::int64_t start = ClockNs();
      FORESHORE_ASSIGN_OR_RETURN(const auto packed, MappedFile::Open(packed_path));
      FORESHORE_ASSIGN_OR_RETURN(auto constants, ConstantStore::Open(packed->bytes(), key));
      FORESHORE_ASSIGN_OR_RETURN(const Graph opened, build(std::move(constants)));
      std::printf("%lld %zu %llu", static_cast<long long>(ClockNs() - start), packed->bytes().size(),
                  static_cast<unsigned long long>(opened.constant_bytes()));
    } else if (line == "steps") {
      FORESHORE_RETURN_IF_ERROR(PrintSteps(graph, executor, refs));
    } else if (line == "run" || line == "values") {
      const std::int64_t start = ClockNs();
      const std::int64_t processor_start = ProcessorNs();
      FORESHORE_ASSIGN_OR_RETURN(const auto outputs, executor.Run(refs));
      const std::int64_t processor_ns = ProcessorNs() - processor_start;
      std::printf("%lld %lld", static_cast<long long>(ClockNs() - start), static_cast<long long>(processor_ns));
      for (std::int64_t i = 0; line == "values" && i < outputs[0].ref().count(); ++i) {
        std::printf(" %.9g", static_cast<double>(outputs[0].ref().as<float>()[i]));
      }
    } else {
      return Status::InvalidArgument("bench_graphs: unknown command \"" + line.substr(0, 40) + "\"");
    }
    std::printf("\n");
    std::fflush(stdout);
  }
  return Status::Ok();
}

}  // namespace
}  // namespace foreshore::graph

int main(int argument_count, char** arguments) {
  if (argument_count < 4) {
    std::fprintf(stderr, "usage: bench_graphs MODEL FOLDER DIMENSION…\n");
    return 2;
  }
  foreshore::graph::Shape shape;
  for (int i = 3; i < argument_count; ++i) shape.push_back(std::atoll(arguments[i]));
  const foreshore::Status status = foreshore::graph::Run(arguments[1], arguments[2], shape);
  if (!status.ok()) std::fprintf(stderr, "bench_graphs: %s\n", status.ToString().c_str());
  return status.ok() ? 0 : 1;
}
