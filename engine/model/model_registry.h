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
#include "engine/model/inference_costs.h"
#include "engine/model/model_pin.h"
#include "foreshore/bytes.h"
#include "foreshore/model.h"
#include "foreshore/runtime.h"
#include "foreshore/status.h"
#include "storage/base/cancellation.h"
#include "storage/base/file.h"
#include "storage/base/thread_pool.h"
#include "storage/blob_store.h"

namespace foreshore {
namespace graph {
struct GraphPort;
struct OwnedTensor;
struct TensorRef;
}  // namespace graph

class BertAdapter;
class BertTextModel;
class Predictor;
class Runtime;
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
  // The version that this database's application registered last for a model; stays here. Empty: never.
  virtual Result<std::string> GetRegistered(const std::string& name) = 0;
  virtual Status PutRegistered(const std::string& name, std::string_view version) = 0;
};

// A text model ready to run.
class TextModel {
 public:
  virtual ~TextModel() = default;
  virtual const ModelInfo& info() const = 0;
  // Embeddings of `texts`, row by row into `out` ([texts.size()][dimension]). Longer texts are truncated.
  virtual Status Embed(std::span<const std::string_view> texts, std::span<float> out) = 0;
};

// What rows became: side by side, each of `width` numbers that are nested as `shape`.
struct RowOutput {
  std::vector<float> values;
  std::vector<std::int64_t> shape;
  std::size_t width = 0;
};

// A model of numbers ready to run.
class NumberModel {
 public:
  virtual ~NumberModel() = default;
  // In the order of Run(). A model that the application runs has one of each, "input" and "output".
  virtual std::span<const graph::GraphPort> inputs() const = 0;
  virtual std::span<const graph::GraphPort> outputs() const = 0;
  // A tensor for each input, and one for each output back.
  virtual Result<std::vector<graph::OwnedTensor>> Run(std::span<const graph::TensorRef> inputs,
                                                      Cancellation* cancellation) = 0;
  // Takes {"input name": values, …}, or the values alone where the model has one input. Values are numbers nested as
  // the tensor is, or a flat list that fills the declared shape, with at most one open size. Gives the values nested,
  // or {"output name": values, …} where the model has several outputs; what is no finite number is null.
  // `cancellation`, which may be null, is asked while the call waits for its turn and while it runs.
  virtual Result<std::string> Predict(std::string_view input_json, Cancellation* cancellation) = 0;

  // How many numbers a row of the one float input has, where its first size is open and the others are known, and
  // there is one float output: such a model takes many rows in one call. Absent for any other.
  virtual std::optional<std::size_t> row_width() const = 0;
  // `rows` rows side by side, at least one. `out` may be that of an earlier call. kUnsupported where the output's first
  // size is not `rows`.
  virtual Status PredictRows(std::span<const float> values, std::size_t rows, RowOutput& out,
                             Cancellation* cancellation) = 0;
  // Whether a row, of all inputs together, becomes the same, bit for bit, alone and beside others.
  virtual bool has_independent_rows() const = 0;
  virtual bool is_runtime() const { return false; }  // The application runs it.
  // As ModelInfo has it; empty for none.
  virtual std::string fusions() const { return {}; }
};

// What Quantize and QuantizeGraph judge by, at least.
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
  // The same of a general graph to int8 (graph/graph_quantize.h). Samples are what Predict() takes, made when their
  // turn comes: the first `held_out_count` judge, the other of `sample_count` calibrate.
  using SampleSource = std::function<Result<std::string>(std::size_t index)>;
  Result<ModelQuantizeReport> QuantizeGraph(const std::string& name, const std::string& as,
                                            const ModelQuantizeOptions& options, const SampleSource& sample,
                                            std::size_t sample_count, std::size_t held_out_count);
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
  // The same for a model of numbers alone; kUnsupported for a text model.
  Result<std::shared_ptr<NumberModel>> LoadNumbers(const std::string& name);
  // The same, with null for a text model.
  Result<std::shared_ptr<NumberModel>> LoadNumbersOrNull(const std::string& name);
  // Whatever predict() runs by that name and adapter now, with the weights that it is of. Errors as Load()'s.
  Result<std::shared_ptr<const Predictor>> LoadPredictor(const std::string& name, const std::string& adapter);

  // Makes `callback` what runs the model of that name, in place of an earlier one. The row becomes that of the options
  // where there is none, and where they name another version than was registered here last: a version that came by
  // sync stays until the application asks for another one. kAlreadyExists for the name of a model of another kind.
  Result<ModelInfo> Register(const std::string& name, const RuntimeOptions& options, RuntimeCallback callback);
  // Waits for calls that run. The row stays. kNotFound where nothing is registered.
  Status Unregister(const std::string& name);

  InferenceCosts& costs() { return costs_; }

  // Drops what is loaded and registered, once no callback runs.
  void Release();

  // The weights that the model's row names now, or that `row_body` names. kNotFound also for an adapter.
  Result<ModelPin> PinNow(const std::string& name, const std::string& adapter);
  static Result<ModelPin> PinOfRow(std::string_view row_body, const std::string& adapter);
  // The text model of just these weights, whatever the row says by now. kBusy where blobs of it are not here.
  Result<std::shared_ptr<TextModel>> LoadPinned(const ModelPin& pin);
  // Every blob of these weights, as far as its manifest is here.
  Result<std::vector<BlobId>> BlobsOfPin(const ModelPin& pin);
  // Unloads what LoadPinned() loaded and none of these needs.
  void KeepPinned(const std::vector<ModelPin>& pins);

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
  Result<std::shared_ptr<Loaded>> LoadRuntime(const ModelInfo& info);
  static Result<std::shared_ptr<BertTextModel>> BertOf(const std::string& name, const Loaded& loaded);
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
  Result<std::vector<BlobId>> BlobsOfVersion(std::string_view version_hex);
  Result<std::shared_ptr<BertTextModel>> LoadPinnedBase(const ModelPin& pin);
  Result<std::shared_ptr<TextModel>> WithPinnedAdapter(std::shared_ptr<BertTextModel> base, const ModelPin& pin);
  Result<std::shared_ptr<BertTextModel>> OpenVersion(const ModelInfo& info);
  Result<std::shared_ptr<NumberModel>> OpenGraph(const ModelInfo& info);
  Result<std::shared_ptr<Runtime>> FindRuntime(const ModelInfo& info);
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
  // Guarded by mutex_, by version, and by version and adapter's version; shared with running calls.
  std::map<std::string, std::shared_ptr<BertTextModel>> pinned_;
  std::map<std::pair<std::string, std::string>, std::shared_ptr<const BertAdapter>> pinned_adapters_;
  InferenceCosts costs_;
  std::mutex register_mutex_;                                 // Held while a registration is made.
  std::map<std::string, std::shared_ptr<Runtime>> runtimes_;  // Guarded by mutex_; shared with running calls.
};

}  // namespace foreshore
