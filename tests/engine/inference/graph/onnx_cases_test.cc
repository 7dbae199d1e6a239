// Goal: ONNX's own conformance cases, each either computed right or refused by name, and none passed over in silence.
// Method: every case of the package libonnx-testdata; expected outputs are the package's. A case is counted as passed,
// as refused because of an operator that is not known, or must stand in the list of what is refused for another reason.
#include <doctest/doctest.h>

#include <algorithm>
#include <cmath>
#include <cstdio>
#include <filesystem>
#include <map>
#include <set>

#include "storage/base/file.h"
#include "tests/engine/inference/graph/graph_runner.h"

namespace foreshore::graph {
namespace {

namespace fs = std::filesystem;

struct Tally {
  std::size_t passed = 0;
  std::size_t refused = 0;
  std::map<std::string, std::size_t> passes_by_operator;
  std::map<std::string, std::string> refused_although_known;
};

// Cases whose operators are all known, and which are refused all the same.
const std::set<std::string> kRefused = {
    "test_batchnorm_epsilon_training_mode",      // Training.
    "test_batchnorm_example_training_mode",      //
    "test_training_dropout",                     //
    "test_training_dropout_default",             //
    "test_training_dropout_default_mask",        //
    "test_training_dropout_mask",                //
    "test_training_dropout_zero_ratio",          //
    "test_training_dropout_zero_ratio_mask",     //
    "test_cast_FLOAT_to_STRING",                 // Texts.
    "test_cast_STRING_to_FLOAT",                 //
    "test_castlike_FLOAT_to_STRING_expanded",    //
    "test_castlike_STRING_to_FLOAT_expanded",    //
    "test_castlike_FLOAT_to_STRING",             //
    "test_castlike_STRING_to_FLOAT",             //
    "test_castlike_BFLOAT16_to_FLOAT",           // An input contradicts the shape that the model declares.
    "test_castlike_FLOAT_to_BFLOAT16",           //
    "test_castlike_BFLOAT16_to_FLOAT_expanded",  //
    "test_castlike_FLOAT_to_BFLOAT16_expanded",  //
    "test_identity_opt",                         // Optionals and sequences.
    "test_identity_sequence",                    //
};

// Operators that operator set 7 changed: a case of an older set that has none of them means in set 7 what it meant.
const std::set<std::string_view> kChangedInSet7 = {"Add",  "And",     "BatchNormalization",
                                                   "Div",  "Dropout", "Equal",
                                                   "GRU",  "Gemm",    "Greater",
                                                   "LSTM", "Less",    "Mul",
                                                   "Or",   "PRelu",   "Pow",
                                                   "RNN",  "Sub",     "Upsample",
                                                   "Xor"};

bool MeansTheSameInSet7(const OnnxModel& model) {
  return std::none_of(model.nodes.begin(), model.nodes.end(),
                      [](const OnnxNode& node) { return kChangedInSet7.contains(node.op_type); });
}

std::vector<fs::path> Sorted(const fs::path& folder) {
  std::vector<fs::path> paths;
  for (const auto& entry : fs::directory_iterator(folder)) paths.push_back(entry.path());
  std::sort(paths.begin(), paths.end());
  return paths;
}

// A tensor file, read as the one initializer of a model.
Result<OwnedTensor> ReadTensor(const fs::path& path) {
  FORESHORE_ASSIGN_OR_RETURN(const ByteString bytes, ReadFile(path.string(), 64 << 20));
  ByteString graph;
  PutBytes(graph, 5, bytes);
  ByteString model;
  PutBytes(model, 7, graph);
  FORESHORE_ASSIGN_OR_RETURN(const OnnxModel read, ReadOnnx(path.string(), model));
  const OnnxTensor& tensor = read.initializers[0];
  FORESHORE_ASSIGN_OR_RETURN(OwnedTensor copy,
                             MakeTensor({tensor.type, Shape(tensor.dims.begin(), tensor.dims.end())}, 64 << 20));
  if (!tensor.bytes().empty()) std::memcpy(copy.bytes.get(), tensor.bytes().data(), tensor.bytes().size());
  return copy;
}

// ONNX's own runner: relative 1e-3 and absolute 1e-7 for floats, equality for the rest. This version of the package
// cuts bfloat16 where we round to nearest, so those may be one unit in the last place apart, 2^-7.
std::string Difference(const OwnedTensor& found, const OwnedTensor& expected) {
  if (!(found.info == expected.info)) return "found " + ToText(found.info) + ", expected " + ToText(expected.info);
  std::string difference;
  Dispatch<kAllTypes>(found.info.type, [&]<typename T>() {
    for (std::int64_t i = 0; i < found.ref().count() && difference.empty(); ++i) {
      const auto a = static_cast<double>(static_cast<Wide<T>>(found.ref().as<T>()[i]));
      const auto b = static_cast<double>(static_cast<Wide<T>>(expected.ref().as<T>()[i]));
      const double relative = std::is_same_v<T, Brain> ? 1.0 / 128 : 1e-3;
      const double allowed = std::is_integral_v<T> ? 0 : 1e-7 + relative * std::fabs(b);
      if (a == b || (std::isnan(a) && std::isnan(b)) || std::fabs(a - b) <= allowed) continue;
      difference = "element " + std::to_string(i) + " is " + std::to_string(a) + ", expected " + std::to_string(b);
    }
    return Status::Ok();
  }).IgnoreError();
  return difference;
}

Status RunDataSet(const Graph& graph, const fs::path& folder) {
  std::vector<OwnedTensor> inputs;
  std::vector<OwnedTensor> expected;
  for (const fs::path& path : Sorted(folder)) {
    // "output_10" must not come before "output_2".
    const std::string stem = path.stem().string();
    auto& list = stem.starts_with("input_") ? inputs : expected;
    const auto index = static_cast<std::size_t>(std::stoi(stem.substr(stem.find('_') + 1)));
    auto tensor = ReadTensor(path);
    if (!tensor.ok()) return tensor.status();
    if (list.size() <= index) list.resize(index + 1);
    list[index] = std::move(tensor).value();
  }
  // The package keeps bfloat16 as the 16 bits that they are.
  const auto retype = [](const std::vector<GraphPort>& ports, std::vector<OwnedTensor>& tensors) {
    for (std::size_t i = 0; i < std::min(ports.size(), tensors.size()); ++i) {
      if (ports[i].type == OnnxType::kBfloat16) tensors[i].info.type = OnnxType::kBfloat16;
    }
  };
  retype(graph.inputs(), inputs);
  retype(graph.outputs(), expected);
  GraphExecutor executor(graph);
  std::vector<TensorRef> refs;
  for (const OwnedTensor& input : inputs) refs.push_back(input.ref());
  refs.resize(std::min(refs.size(), graph.inputs().size()));
  for (int call = 0; call < 2; ++call) {  // The second call finds the first one's plan and arena.
    FORESHORE_ASSIGN_OR_RETURN(const auto outputs, executor.Run(refs));
    if (outputs.size() != expected.size()) return Status::Internal("another number of outputs");
    for (std::size_t i = 0; i < outputs.size(); ++i) {
      const std::string difference = Difference(outputs[i], expected[i]);
      if (!difference.empty()) return Status::Internal("output " + std::to_string(i) + ": " + difference);
    }
  }
  return Status::Ok();
}

Status RunCase(const fs::path& folder, OnnxModel model) {
  FORESHORE_ASSIGN_OR_RETURN(const Graph graph, Graph::Build(folder.filename().string(), std::move(model)));
  for (const fs::path& path : Sorted(folder)) {
    if (fs::is_directory(path)) FORESHORE_RETURN_IF_ERROR(RunDataSet(graph, path));
  }
  return Status::Ok();
}

// The operators of a graph and of those inside its nodes; false where one is not known.
bool CollectOperators(const OnnxGraphBody& body, std::set<std::string>& operators) {
  bool knows_all = true;
  for (const OnnxNode& node : body.nodes) {
    operators.insert(std::string(node.op_type));
    knows_all = knows_all && node.domain.empty() && FindOperator(node.op_type) != nullptr;
    for (const OnnxAttribute& attribute : node.attributes) {
      for (const OnnxGraphBody& inner : attribute.graphs) knows_all = CollectOperators(inner, operators) && knows_all;
    }
  }
  return knows_all;
}

void RunFolder(const fs::path& folder, Tally& tally) {
  for (const fs::path& path : Sorted(folder)) {
    if (!fs::exists(path / "model.onnx")) continue;
    const std::string name = path.filename().string();
    CAPTURE(name);
    const auto bytes = ReadFile((path / "model.onnx").string(), 64 << 20);
    REQUIRE(bytes.ok());
    auto model = ReadOnnx(name, *bytes);
    REQUIRE_MESSAGE(model.ok(), model.status().message());
    if (model->opset_version() < kOpsetMin && MeansTheSameInSet7(*model)) model->opsets[0].second = kOpsetMin;
    std::set<std::string> operators;
    const bool knows_all = CollectOperators(*model, operators) && model->opset_version() >= kOpsetMin &&
                           model->opset_version() <= kOpsetMax;
    const Status status = RunCase(path, std::move(model).value());
    if (status.ok()) {
      ++tally.passed;
      for (const std::string& op : operators) ++tally.passes_by_operator[op];
      continue;
    }
    ++tally.refused;
    if (knows_all) tally.refused_although_known.emplace(name, status.ToString());
    if (!knows_all) CHECK_MESSAGE(status.code() == ErrorCode::kUnsupported, status.ToString());
  }
}

TEST_CASE("onnx cases: every node case is computed right or refused by name, and every operator has one") {
  REQUIRE_MESSAGE(fs::exists(FORESHORE_ONNX_TESTDATA "/node"),
                  "no ONNX cases in " FORESHORE_ONNX_TESTDATA "; install libonnx-testdata (scripts/setup.sh)");
  Tally tally;
  RunFolder(FORESHORE_ONNX_TESTDATA "/node", tally);
  std::printf("onnx node cases: %zu passed, %zu refused\n", tally.passed, tally.refused);
  for (const auto& [name, reason] : tally.refused_although_known) {
    CHECK_MESSAGE(kRefused.contains(name), name << ": " << reason);
    CHECK_MESSAGE(!reason.starts_with("internal"), name << ": " << reason);
  }
  for (const std::string& name : kRefused) CHECK_MESSAGE(tally.refused_although_known.contains(name), name);
  for (const Operator* op : AllOperators()) {
    const std::string name(op->name);
    std::printf("  %s %zu", name.c_str(), tally.passes_by_operator[name]);
    CHECK_MESSAGE(tally.passes_by_operator[name] > 0, name << ": no case of this operator passed");
  }
  std::printf("\n");
  CHECK(tally.passed >= 400);
}

TEST_CASE("onnx cases: models of several nodes") {
  for (const char* folder : {"simple", "pytorch-operator", "pytorch-converted"}) {
    CAPTURE(folder);
    Tally tally;
    RunFolder(fs::path(FORESHORE_ONNX_TESTDATA) / folder, tally);
    std::printf("onnx %s cases: %zu passed, %zu refused\n", folder, tally.passed, tally.refused);
    for (const auto& [name, reason] : tally.refused_although_known) {
      CHECK_MESSAGE(reason.starts_with("unsupported"), name << ": " << reason);
    }
  }
}

}  // namespace
}  // namespace foreshore::graph
