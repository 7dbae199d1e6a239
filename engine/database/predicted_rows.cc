#include "engine/database/predicted_rows.h"

#include <algorithm>

#include "engine/database/core.h"
#include "engine/document/json.h"
#include "storage/base/coding.h"
#include "storage/blob_reader.h"

namespace foreshore {
namespace {

constexpr std::size_t kRowsAtOnce = 256;
constexpr std::size_t kInputBytesMax = 8U << 20;  // Of tensors, as soon as there are so many.

Result<ByteString> ReadContent(const BlobStore& blobs, const BlobId& content) {
  FORESHORE_ASSIGN_OR_RETURN(const auto reader, BlobReader::Open(blobs, content));
  if (reader->size_bytes() > kImageFileBytesMax) {
    return Status::Limit("a file of " + std::to_string(reader->size_bytes()) + " bytes, expected at most " +
                         std::to_string(kImageFileBytesMax));
  }
  ByteString file;
  while (file.size() < reader->size_bytes()) {
    FORESHORE_ASSIGN_OR_RETURN(const Bytes piece, reader->ReadAt(file.size(), reader->size_bytes() - file.size()));
    if (piece.empty()) break;
    file.append(piece);
  }
  return file;
}

// What image_tensor() makes of the source's content; nothing where that is not here or no image that fits, as `value`
// then says.
Result<std::optional<ByteString>> TensorOfImage(const PredictiveIndexDefinition& index, const BlobStore& blobs,
                                                const PredictionSource& source, PredictedValue& value) {
  if (!HasImageDecoders()) return Status::Unsupported("this build has no decoders of images");
  const BlobId content = PredictedInput::ContentOf(source.text);
  const auto file = blobs.Contains(content) ? ReadContent(blobs, content) : Status::NotFound("content");
  if (file.status().code() == ErrorCode::kNotFound) {
    value = {PredictedValue::Kind::kAwaited, source.text};
    return std::optional<ByteString>();
  }
  if (file.status().code() == ErrorCode::kIo) return file.status();
  auto tensor = file.ok() ? ImageTensorBlob(*file, index.input.image_options()) : file.status();
  if (tensor.ok()) return std::optional<ByteString>(std::move(tensor).value());
  value = PredictedValue::Failed(tensor.status().message());
  return std::optional<ByteString>();
}

}  // namespace

Status PredictValues(const PredictiveIndexDefinition& index, const Predictor& predictor, const BlobStore& blobs,
                     std::span<const PredictionSource> sources, std::vector<PredictedValue>& values,
                     Cancellation* cancellation) {
  values.assign(sources.size(), PredictedValue());
  std::vector<std::string> inputs;
  std::vector<std::size_t> places;
  std::size_t input_bytes = 0;
  const auto predict = [&]() -> Status {
    std::vector<Result<std::string>> results;
    FORESHORE_RETURN_IF_ERROR(predictor.PredictAll(inputs, results, cancellation));
    for (std::size_t i = 0; i < places.size(); ++i) {
      values[places[i]] = ValueOf(index, sources[places[i]], results[i]);
    }
    inputs.clear();
    places.clear();
    input_bytes = 0;
    return Status::Ok();
  };
  const auto compute = [&]() -> Status {
    for (std::size_t i = 0; i < sources.size(); ++i) {
      std::string input = sources[i].text;
      if (index.input.is_path()) input = InputOfToken(sources[i].text, predictor.takes_text());
      if (input.empty()) continue;
      if (index.input.is_image()) {
        if (cancellation != nullptr) FORESHORE_RETURN_IF_ERROR(cancellation->Check());
        FORESHORE_ASSIGN_OR_RETURN(auto tensor, TensorOfImage(index, blobs, sources[i], values[i]));
        if (!tensor) continue;
        input = std::move(*tensor);
      }
      input_bytes += input.size();
      inputs.push_back(std::move(input));
      places.push_back(i);
      if (input_bytes > kInputBytesMax) FORESHORE_RETURN_IF_ERROR(predict());
    }
    return predict();
  };
  if (const Status status = compute(); !status.ok()) return status.WithContext("index \"" + index.name + "\"");
  return Status::Ok();
}

Result<std::int64_t> ReadPredictionFill(ReadView& view, const PredictiveIndexDefinition& index) {
  FORESHORE_ASSIGN_OR_RETURN(const auto fill, view.txn().Get(index.pending, kPredictionFillKey));
  if (!fill) return std::int64_t{INT64_MAX};
  if (fill->size() == sizeof(std::int64_t)) return LoadFixed<std::int64_t>(fill->data());
  return Status::Corruption("index \"" + index.name + "\": its filling's place has " + std::to_string(fill->size()) +
                            " bytes, expected 8");
}

Status VisitPendingPredictions(ReadView& view, const PredictiveIndexDefinition& index,
                               const std::function<bool(std::int64_t docid)>& visit) {
  FORESHORE_ASSIGN_OR_RETURN(const auto cursor, view.txn().NewCursor(index.pending));
  for (Status status = cursor->Seek(kPredictionFillKey + 1);; status = cursor->Next()) {
    FORESHORE_RETURN_IF_ERROR(status);
    if (!cursor->valid() || !visit(cursor->integer_key())) return Status::Ok();
  }
}

Status VisitAwaitedPredictions(ReadView& view, const PredictiveIndexDefinition& index,
                               const std::function<bool(std::int64_t docid, const BlobId& content)>& visit) {
  if (!index.input.is_image()) return Status::Ok();
  FORESHORE_ASSIGN_OR_RETURN(const auto cursor, view.txn().NewCursor(index.pending));
  for (Status status = cursor->SeekFirst();; status = cursor->Next()) {
    FORESHORE_RETURN_IF_ERROR(status);
    if (!cursor->valid() || cursor->integer_key() >= kPredictionFillKey) return Status::Ok();
    BlobId content{};
    if (cursor->value().size() != content.size()) {
      return Status::Corruption("index \"" + index.name + "\": a document that is awaited names a content of " +
                                std::to_string(cursor->value().size()) + " bytes, expected 32");
    }
    std::copy(cursor->value().begin(), cursor->value().end(), content.begin());
    if (!visit(-cursor->integer_key(), content)) return Status::Ok();
  }
}

Result<PredictionLookup> PredictionLookup::Begin(ReadView& view, const PredictiveIndexDefinition& index, bool is_stored,
                                                 const Predictor& predictor) {
  PredictionLookup lookup;
  lookup.index_ = &index;
  lookup.computes_all_ = !is_stored || predictor.pin() != index.pin;
  if (lookup.computes_all_) return lookup;
  FORESHORE_ASSIGN_OR_RETURN(lookup.fill_, ReadPredictionFill(view, index));
  return lookup;
}

Result<std::optional<PredictedValue>> PredictionLookup::Find(ReadView& view, std::int64_t docid) const {
  if (computes_all_ || docid >= fill_) return std::optional<PredictedValue>();
  FORESHORE_ASSIGN_OR_RETURN(const auto pending, view.txn().Get(index_->pending, docid));
  if (pending) return std::optional<PredictedValue>();
  FORESHORE_ASSIGN_OR_RETURN(const auto bytes, view.txn().Get(index_->values, docid));
  if (!bytes) return std::optional<PredictedValue>();
  FORESHORE_ASSIGN_OR_RETURN(PredictedValue value, PredictedValue::Decode(*bytes));
  return std::optional<PredictedValue>(std::move(value));
}

Result<std::shared_ptr<const PredictedRows>> PredictedRows::Complete(ReadView& view,
                                                                     const CollectionDefinition& collection,
                                                                     const PredictiveIndexDefinition& index,
                                                                     bool is_stored, const Predictor& predictor,
                                                                     Cancellation* cancellation) {
  auto made = std::make_shared<PredictedRows>();
  std::vector<std::int64_t> docids;
  std::vector<PredictionSource> sources;
  const auto compute = [&]() -> Status {
    std::vector<PredictedValue> values;
    FORESHORE_RETURN_IF_ERROR(PredictValues(index, predictor, view.core().blobs(), sources, values, cancellation));
    for (std::size_t i = 0; i < docids.size(); ++i) {
      Row& row = made->rows_.emplace_back();
      row.docid = docids[i];
      row.key = values[i].Key(docids[i], row.marks);
      row.token = values[i].token();
    }
    docids.clear();
    sources.clear();
    return Status::Ok();
  };
  const auto add = [&](std::int64_t docid, std::string_view body) -> Status {
    docids.push_back(docid);
    sources.push_back(index.input.SourceOf(body));
    return docids.size() < kRowsAtOnce ? Status::Ok() : compute();
  };
  std::vector<std::int64_t> pending;
  made->from_ = INT64_MIN;
  if (is_stored && predictor.pin() == index.pin) {
    FORESHORE_ASSIGN_OR_RETURN(made->from_, ReadPredictionFill(view, index));
    FORESHORE_RETURN_IF_ERROR(VisitPendingPredictions(view, index, [&](std::int64_t docid) {
      if (docid < made->from_) pending.push_back(docid);
      return docid < made->from_;
    }));
    FORESHORE_RETURN_IF_ERROR(VisitAwaitedPredictions(view, index, [&](std::int64_t docid, const BlobId&) {
      if (docid < made->from_) pending.push_back(docid);
      return true;
    }));
  }
  for (const std::int64_t docid : pending) {
    made->row_numbers_[docid] = SIZE_MAX;
    FORESHORE_ASSIGN_OR_RETURN(const auto document, view.GetByDocid(collection, docid));
    if (document) FORESHORE_RETURN_IF_ERROR(add(docid, document->body));
  }
  if (made->from_ != INT64_MAX) {
    FORESHORE_ASSIGN_OR_RETURN(const auto documents, view.Scan(collection, made->from_));
    while (true) {
      FORESHORE_ASSIGN_OR_RETURN(const bool more, documents->Next());
      if (!more) break;
      FORESHORE_RETURN_IF_ERROR(add(documents->docid(), documents->body()));
    }
  }
  FORESHORE_RETURN_IF_ERROR(compute());
  std::sort(made->rows_.begin(), made->rows_.end(), [](const Row& a, const Row& b) { return a.key < b.key; });
  for (std::size_t i = 0; i < made->rows_.size(); ++i) made->row_numbers_[made->rows_[i].docid] = i;
  return std::shared_ptr<const PredictedRows>(std::move(made));
}

const PredictedRows::Row* PredictedRows::Find(std::int64_t docid) const {
  const auto found = row_numbers_.find(docid);
  return found == row_numbers_.end() || found->second == SIZE_MAX ? nullptr : &rows_[found->second];
}

}  // namespace foreshore
