// DatabaseCore::QuantizeModel(): the texts of the database's own documents, for a model's quantizer.
#include <algorithm>
#include <random>
#include <string>
#include <vector>

#include "engine/database/core.h"
#include "engine/database/read_view.h"
#include "engine/document/document_text.h"
#include "engine/document/json.h"
#include "engine/model/model_registry.h"

namespace foreshore {
namespace {

constexpr std::size_t kSampleCountMax = 100'000;

// Where there are fewer texts than asked for, both parts get their share, but a judgement keeps what it needs.
std::size_t HeldOutCount(std::size_t text_count, const ModelQuantizeOptions& options) {
  const std::size_t wanted = options.calibration_count + options.held_out_count;
  if (text_count >= wanted) return options.held_out_count;
  const std::size_t share = text_count * options.held_out_count / wanted;
  return std::min({std::max(share, kHeldOutCountMin), options.held_out_count, text_count});
}

}  // namespace

Result<ModelQuantizeReport> DatabaseCore::QuantizeModel(const std::string& name, const std::string& as,
                                                        const ModelQuantizeOptions& options) {
  if (options.calibration_count > kSampleCountMax || options.held_out_count > kSampleCountMax) {
    return Status::Limit("model \"" + name + "\": quantizing by more than 100000 documents");
  }
  if (!(options.overlap_min >= 0 && options.overlap_min <= 1)) {
    return Status::InvalidArgument("model \"" + name + "\": overlap_min is " + std::to_string(options.overlap_min) +
                                   ", expected 0..1");
  }
  FORESHORE_ASSIGN_OR_RETURN(const std::string path, ParsePath(options.path));
  const TextExtractor extractor({path});
  const std::size_t wanted = options.calibration_count + options.held_out_count;
  // A sample of the documents that have a text (Vitter 1985, algorithm R), the same for the same documents.
  std::vector<std::string> texts;
  {
    FORESHORE_ASSIGN_OR_RETURN(const auto view, BeginRead());
    FORESHORE_ASSIGN_OR_RETURN(const CollectionDefinition* collection, view->catalog().Require(options.collection));
    FORESHORE_ASSIGN_OR_RETURN(const auto cursor, view->Scan(*collection));
    std::mt19937_64 random(1);
    std::size_t seen_count = 0;
    while (true) {
      FORESHORE_ASSIGN_OR_RETURN(const bool more, cursor->Next());
      if (!more) break;
      std::string text = std::move(extractor.Extract(cursor->body()).front());
      if (text.empty()) continue;
      ++seen_count;
      if (texts.size() < wanted) {
        texts.push_back(std::move(text));
      } else if (const std::size_t place = random() % seen_count; place < wanted) {
        texts[place] = std::move(text);
      }
    }
    std::shuffle(texts.begin(), texts.end(), random);
  }
  const std::size_t held_out_count = HeldOutCount(texts.size(), options);
  const std::span<const std::string> all(texts);
  return models_->Quantize(name, as, options, all.subspan(held_out_count), all.first(held_out_count));
}

}  // namespace foreshore
