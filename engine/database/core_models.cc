// DatabaseCore::QuantizeModel(): texts, values and images of the database's own documents, for a model's quantizer.
// What a runtime's callback may not do.
#include <algorithm>
#include <random>
#include <string>
#include <vector>

#include "engine/database/attachments.h"
#include "engine/database/core.h"
#include "engine/database/read_view.h"
#include "engine/document/document_text.h"
#include "engine/document/json.h"
#include "engine/image/image_tensor.h"
#include "engine/inference/graph/tensor_blob.h"
#include "engine/model/model_registry.h"
#include "engine/model/runtime.h"

namespace foreshore {
namespace {

constexpr std::size_t kSampleCountMax = 100'000;

// A sample of what `take` finds in documents, the same for the same documents (Vitter 1985, algorithm R), in random
// order.
template <typename Take>
Result<std::vector<std::string>> Sample(ReadView& view, const std::string& name, std::size_t wanted, Take take) {
  FORESHORE_ASSIGN_OR_RETURN(const CollectionDefinition* collection, view.catalog().Require(name));
  FORESHORE_ASSIGN_OR_RETURN(const auto cursor, view.Scan(*collection));
  std::vector<std::string> samples;
  std::mt19937_64 random(1);
  std::size_t seen_count = 0;
  while (true) {
    FORESHORE_ASSIGN_OR_RETURN(const bool more, cursor->Next());
    if (!more) break;
    std::string sample = take(*cursor);
    if (sample.empty()) continue;
    ++seen_count;
    if (samples.size() < wanted) {
      samples.push_back(std::move(sample));
    } else if (const std::size_t place = random() % seen_count; place < wanted) {
      samples[place] = std::move(sample);
    }
  }
  std::shuffle(samples.begin(), samples.end(), random);
  return samples;
}

// Where there are fewer than asked for, both parts get their share, but a judgement keeps what it needs.
std::size_t HeldOutCount(std::size_t found, const ModelQuantizeOptions& options) {
  const std::size_t wanted = options.calibration_count + options.held_out_count;
  if (found >= wanted) return options.held_out_count;
  const std::size_t share = found * options.held_out_count / wanted;
  return std::min({std::max(share, kHeldOutCountMin), options.held_out_count, found});
}

}  // namespace

Status DatabaseCore::RefuseInsideRuntime(std::string_view what) const {
  if (!Runtime::IsInside(models_.get())) return Status::Ok();
  return Status::Conflict("database \"" + path() + "\": " + std::string(what) +
                          " inside a runtime's callback, which may only read");
}

Result<ModelQuantizeReport> DatabaseCore::QuantizeModel(const std::string& name, const std::string& as,
                                                        const ModelQuantizeOptions& options) {
  if (options.calibration_count > kSampleCountMax || options.held_out_count > kSampleCountMax) {
    return Status::Limit("model \"" + name + "\": quantizing by more than 100000 documents");
  }
  if (!(options.overlap_min >= 0 && options.overlap_min <= 1)) {
    return Status::InvalidArgument("model \"" + name + "\": overlap_min is " + std::to_string(options.overlap_min) +
                                   ", expected 0..1");
  }
  FORESHORE_ASSIGN_OR_RETURN(const ModelInfo model, models_->Get(name));
  if (model.architecture == "graph") return QuantizeGraphModel(name, as, options);
  if (!options.image.empty()) {
    return Status::InvalidArgument("model \"" + name + "\": embeds texts, expected a graph for images");
  }
  FORESHORE_ASSIGN_OR_RETURN(const std::string path, ParsePath(options.path));
  const TextExtractor extractor({path});
  const std::size_t wanted = options.calibration_count + options.held_out_count;
  std::vector<std::string> texts;
  {
    FORESHORE_ASSIGN_OR_RETURN(const auto view, BeginRead());
    FORESHORE_ASSIGN_OR_RETURN(texts, Sample(*view, options.collection, wanted, [&](const auto& cursor) {
                                 return std::move(extractor.Extract(cursor.body()).front());
                               }));
  }
  const std::size_t held_out_count = HeldOutCount(texts.size(), options);
  const std::span<const std::string> all(texts);
  return models_->Quantize(name, as, options, all.subspan(held_out_count), all.first(held_out_count));
}

Status DatabaseCore::RemoveAdapter(const std::string& model, const std::string& adapter) {
  if (const VectorIndexDefinition* index = catalog()->FindByModel(model, adapter); index != nullptr) {
    return Status::Conflict("adapter \"" + adapter + "\" of model \"" + model + "\": vector index \"" + index->name +
                            "\" uses it, drop that first");
  }
  const auto present = catalog();
  for (const CollectionDefinition& collection : present->collections) {
    for (const PredictiveIndexDefinition& index : collection.predictive_indexes) {
      if (index.options.model != model || index.options.adapter != adapter) continue;
      return Status::Conflict("adapter \"" + adapter + "\" of model \"" + model + "\": index \"" + index.name +
                              "\" predicts by it, drop that first");
    }
  }
  return models_->RemoveAdapter(model, adapter);
}

// Images are decoded one by one, as their turn comes, in the snapshot that they were sampled in.
Result<ModelQuantizeReport> DatabaseCore::QuantizeGraphModel(const std::string& name, const std::string& as,
                                                             const ModelQuantizeOptions& options) {
  const bool is_image = !options.image.empty();
  ImageTensorOptions image_options;
  std::string path = options.path;
  if (is_image) {
    FORESHORE_ASSIGN_OR_RETURN(image_options, ParseImageTensorOptions(options.image));
  } else {
    FORESHORE_ASSIGN_OR_RETURN(path, ParsePath(options.path));
  }
  const auto has_name = [&](const AttachmentInfo& info) { return info.name == path; };
  FORESHORE_ASSIGN_OR_RETURN(const auto view, BeginRead());
  FORESHORE_ASSIGN_OR_RETURN(const CollectionDefinition* collection, view->catalog().Require(options.collection));
  FORESHORE_ASSIGN_OR_RETURN(
      const auto samples,
      Sample(*view, options.collection, options.calibration_count + options.held_out_count, [&](const auto& cursor) {
        if (!is_image) return std::string(FindValue(cursor.body(), path));
        const auto infos = AttachmentsOf(cursor.body());
        return std::string(std::any_of(infos.begin(), infos.end(), has_name) ? cursor.id() : std::string_view());
      }));
  const auto sample = [&](std::size_t index) -> Result<std::string> {
    if (!is_image) return samples[index];
    const std::string what = "attachment \"" + path + "\" of document \"" + samples[index] + "\"";
    FORESHORE_ASSIGN_OR_RETURN(const ByteString file,
                               AttachmentAccess::ReadAll(*view, *collection, samples[index], path, kImageFileBytesMax));
    FORESHORE_ASSIGN_OR_RETURN(const Image image, DecodeImage(what, file));
    FORESHORE_ASSIGN_OR_RETURN(const auto tensor, MakeImageTensor(what, image, image_options));
    return graph::EncodeTensorBlob(tensor.ref());
  };
  return models_->QuantizeGraph(name, as, options, sample, samples.size(), HeldOutCount(samples.size(), options));
}

}  // namespace foreshore
