// Models in the database: rows of the collection "_models", tensors and packed weights as blobs, and the loaded
// executors that embed() and predict() call.
//
// A row is a document {"name", "version", "architecture", "quantization", "dimension", "manifest": {"$blob": hex}, …};
// the manifest is a blob of JSON that lists every tensor with its blob, so its hash is the model's version and versions
// share the tensors they have in common. LoRA adapters are blobs that the row names. Packed weights (for this machine's
// kernels) are local derived blobs.
//
// Threads: safe from any thread. Loaded models are shared by shared_ptr and stay alive while a call runs.
#pragma once

#include <cstdint>
#include <functional>
#include <map>
#include <memory>
#include <mutex>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include "engine/inference/tensor.h"
#include "foreshore/bytes.h"
#include "foreshore/model.h"
#include "foreshore/status.h"
#include "storage/base/cancellation.h"
#include "storage/base/file.h"
#include "storage/base/thread_pool.h"
#include "storage/blob_store.h"

namespace foreshore {

class BertAdapter;
class BertTextModel;
class GraphModel;
struct BertConfig;
struct BertModel;
struct ModelManifest;
struct WeightFormat;

// Where model rows live. The database implements it over the collection "_models"; each call is one transaction.
class ModelRows {
 public:
  virtual ~ModelRows() = default;
  virtual Result<std::optional<std::string>> Get(const std::string& name) = 0;  // The row's body.
  virtual Result<std::vector<std::string>> List() = 0;                          // Bodies, by name.
  virtual Status Put(const std::string& name, std::string_view body) = 0;
  virtual Status Delete(const std::string& name) = 0;  // kNotFound
};

// A text model ready to run.
class TextModel {
 public:
  virtual ~TextModel() = default;
  virtual const ModelInfo& info() const = 0;
  // Embeddings of `texts`, row by row into `out` ([texts.size()][dimension]). Longer texts are truncated.
  virtual Status Embed(std::span<const std::string_view> texts, std::span<float> out) = 0;
};

// Texts that Quantize judges by, at least.
inline constexpr std::size_t kHeldOutCountMin = 20;

class ModelRegistry {
 public:
  // `rows` and `blobs` outlive the registry. Packed weights go to the directory `derived_path`. `thread_count`: what
  // all models together may use, the caller's thread included.
  ModelRegistry(ModelRows& rows, BlobStore& blobs, std::string derived_path, unsigned thread_count);
  ~ModelRegistry();

  // A text model's weights anew, as `options` say, under the name `as`. `calibration` and `held_out` are texts. Nothing
  // is kept where the report says that it was not activated.
  Result<ModelQuantizeReport> Quantize(const std::string& name, const std::string& as,
                                       const ModelQuantizeOptions& options, std::span<const std::string> calibration,
                                       std::span<const std::string> held_out);
  // A LoRA adapter as PEFT saves it (a folder with adapter_config.json and adapter_model.safetensors), for this model;
  // one of the same name is replaced. The model's next versions keep it.
  Result<ModelInfo> AddAdapter(const std::string& name, const std::string& adapter, const std::string& path);
  Status RemoveAdapter(const std::string& name, const std::string& adapter);  // kNotFound

  Result<ModelInfo> Add(const std::string& name, const std::string& path, const ModelImportOptions& options);
  Result<std::vector<ModelInfo>> List();
  Result<ModelInfo> Get(const std::string& name);
  Status Remove(const std::string& name);

  // The active version, loaded on first use and again after its row changed. kNotFound: model "x" does not exist;
  // kBusy: blobs are still on their way; kUnsupported: it is no text model. With `adapter`, one of the model's; empty:
  // the model alone.
  Result<std::shared_ptr<TextModel>> Load(const std::string& name, const std::string& adapter = {});
  // `input` as JSON; the result as JSON. For a general graph, as GraphModel::Predict says.
  // `cancellation`, which may be null, stops a graph that runs.
  Result<std::string> Predict(const std::string& name, std::string_view input_json, const std::string& adapter = {},
                              Cancellation* cancellation = nullptr);
  // The same for a general graph alone; kUnsupported for a text model.
  Result<std::shared_ptr<GraphModel>> LoadGraph(const std::string& name);

  // Every blob that a model row's body refers to, directly or through its manifest (as far as it is here).
  Result<std::vector<BlobId>> BlobsOf(std::string_view row_body);

 private:
  struct Loaded;
  Result<std::string> RequireRow(const std::string& name);
  Result<std::shared_ptr<Loaded>> LoadVersion(const std::string& name);
  Result<ModelInfo> AddGraph(const std::string& name, const std::string& path, const ModelImportOptions& options);
  Status Activate(const ModelManifest& manifest, ModelInfo& info);
  // Tensors into blobs, manifest and row. Everything of `info` but what follows from these is the caller's.
  Status ActivateBert(const BertModel& model, const WeightFormat& format, const BlobId& tokenizer, ModelInfo& info);
  Result<ModelManifest> ManifestOf(const ModelInfo& info);
  Result<std::shared_ptr<BertTextModel>> LoadBert(const std::string& name);
  Result<std::shared_ptr<const BertAdapter>> LoadAdapter(const std::string& name, const std::string& adapter,
                                                         const BertConfig& config);
  struct LoadedAdapter {
    BlobId blob{};
    std::shared_ptr<const BertAdapter> adapter;
  };
  struct MappedTensors {
    std::vector<std::unique_ptr<MappedFile>> files;
    std::vector<TensorView> tensors;  // Of the files.
  };
  Result<MappedTensors> MapTensors(const ModelManifest& manifest);
  Result<std::size_t> MissingBlobCount(std::string_view row_body);
  Result<std::shared_ptr<BertTextModel>> OpenVersion(const ModelInfo& info);
  Result<std::shared_ptr<GraphModel>> OpenGraph(const ModelInfo& info);
  Status PackTo(const ModelManifest& manifest, const std::string& packed_path);

  ModelRows& rows_;
  BlobStore& blobs_;
  std::string derived_path_;
  std::unique_ptr<ThreadPool> pool_;  // Null where models run on the caller's thread alone.
  std::mutex row_mutex_;              // Held while a row is read and written back.
  std::mutex mutex_;
  std::map<std::string, std::shared_ptr<Loaded>> loaded_;  // Guarded by mutex_; shared with running calls.
  // Guarded by mutex_, by model and name; shared with running calls.
  std::map<std::pair<std::string, std::string>, LoadedAdapter> adapters_;
};

}  // namespace foreshore
