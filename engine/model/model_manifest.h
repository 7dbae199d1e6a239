// The manifest of a model version: what it is made of, as JSON in a blob whose hash is the version.
//
//   {"format":1,"architecture":"bert","quantization":"int8","config":{…},"tokenizer":{"$blob":"…"},
//    "tensors":[{"name":"…","type":"i8","shape":[…],"blob":"…"}, …]}
//   with "group_size" and "ordered" after "quantization" where that is gptq4 or gptq3
//   {"format":1,"architecture":"graph","quantization":"none","graph":{"$blob":"…"}}
//
//   {"format":1,"architecture":"runtime","quantization":"none","runtime":{"version":"…","dimension":384}}
//   or, of a model of numbers, with "input_shape":[…],"output_shape":[…] for "dimension"
//
// A general graph is kept as the ONNX file that it came as. A model that the application runs has no weights here.
// Threads: free functions, safe from any thread.
#pragma once

#include <string>
#include <vector>

#include "engine/inference/bert.h"
#include "foreshore/runtime.h"
#include "foreshore/status.h"
#include "storage/blob_store.h"

namespace foreshore {

inline constexpr std::size_t kManifestBytesMax = 16 << 20;

struct ModelManifest {
  struct TensorEntry {
    std::string name;
    TensorType type = TensorType::kF32;
    std::vector<std::uint64_t> shape;
    BlobId blob{};
  };
  std::string architecture = "bert";  // Or "graph", or "runtime".
  std::string quantization;
  WeightFormat format;  // What `quantization` says of a text model's weights.
  BertConfig config;
  BlobId tokenizer{};
  std::vector<TensorEntry> tensors;
  BlobId graph{};          // Of a graph, which has none of the four before.
  RuntimeOptions runtime;  // Of a runtime: version, dimension and shapes, and nothing else of all this.

  bool is_graph() const { return architecture == "graph"; }
  bool is_runtime() const { return architecture == "runtime"; }
};

// Sets quantization and format.
void SetFormat(ModelManifest& manifest, const WeightFormat& format);
std::string EncodeManifest(const ModelManifest& manifest);
// kUnsupported for another format or architecture, kCorruption for anything that contradicts itself.
Result<ModelManifest> DecodeManifest(Bytes json);

Result<BlobId> ParseBlobId(std::string_view hex);  // kCorruption unless 64 hexadecimal digits

}  // namespace foreshore
