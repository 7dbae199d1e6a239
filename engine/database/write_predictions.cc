// What a transaction writes of predictive indexes: marks of documents whose value is to be computed, and values.
#include "engine/database/core.h"
#include "engine/database/write_view.h"
#include "engine/document/json.h"
#include "storage/base/coding.h"

namespace foreshore {

Status WriteView::FollowPredictions(const CollectionDefinition& collection, std::int64_t docid,
                                    std::string_view old_body, std::string_view body) {
  for (const PredictiveIndexDefinition& index : collection.predictive_indexes) {
    if (body.empty()) {
      if (old_body.empty()) continue;
      FORESHORE_RETURN_IF_ERROR(ForgetPrediction(index, docid));
      continue;
    }
    // A document that has no input yet gets a value too, NULL.
    if (!old_body.empty() && index.input.HasSameSource(old_body, body)) continue;
    FORESHORE_RETURN_IF_ERROR(PutPredictionPending(index, docid));
  }
  return Status::Ok();
}

Status WriteView::DropPrediction(const PredictiveIndexDefinition& index, std::int64_t docid) {
  FORESHORE_ASSIGN_OR_RETURN(const auto bytes, write_txn_->Get(index.values, docid));
  if (!bytes) return Status::Ok();
  FORESHORE_ASSIGN_OR_RETURN(const PredictedValue old, PredictedValue::Decode(*bytes));
  ByteString marks;
  const ByteString key = old.Key(docid, marks);
  wrote_ = true;
  FORESHORE_RETURN_IF_ERROR(write_txn_->Delete(index.field.entries, Bytes(key)));
  return write_txn_->Delete(index.values, docid);
}

Status WriteView::ForgetPrediction(const PredictiveIndexDefinition& index, std::int64_t docid) {
  FORESHORE_RETURN_IF_ERROR(Fail(DropPrediction(index, docid)));
  return DropPredictionPending(index, docid);
}

Status WriteView::DropPredictionPending(const PredictiveIndexDefinition& index, std::int64_t docid) {
  wrote_ = true;
  if (index.input.is_image()) FORESHORE_RETURN_IF_ERROR(Fail(write_txn_->Delete(index.pending, -docid)));
  return Fail(write_txn_->Delete(index.pending, docid));
}

Status WriteView::PutPredictionPending(const PredictiveIndexDefinition& index, std::int64_t docid) {
  wrote_ = true;
  if (index.input.is_image()) FORESHORE_RETURN_IF_ERROR(Fail(write_txn_->Delete(index.pending, -docid)));
  return Fail(write_txn_->Put(index.pending, docid, Bytes()));
}

Status WriteView::PutPrediction(const PredictiveIndexDefinition& index, std::int64_t docid,
                                const PredictedValue& value) {
  FORESHORE_RETURN_IF_ERROR(ForgetPrediction(index, docid));
  if (value.kind == PredictedValue::Kind::kAwaited) {
    const BlobId content = PredictedInput::ContentOf(value.text);
    return Fail(write_txn_->Put(index.pending, -docid, AsBytes(content)));
  }
  ByteString marks;
  const ByteString key = value.Key(docid, marks);
  FORESHORE_RETURN_IF_ERROR(Fail(write_txn_->Put(index.field.entries, Bytes(key), Bytes(marks))));
  return Fail(write_txn_->Put(index.values, docid, Bytes(value.Encode())));
}

Status WriteView::PutPredictionFill(const PredictiveIndexDefinition& index, std::int64_t next_docid) {
  wrote_ = true;
  if (next_docid == INT64_MAX) return Fail(write_txn_->Delete(index.pending, kPredictionFillKey));
  ByteString place;
  AppendFixed(place, next_docid);
  return Fail(write_txn_->Put(index.pending, kPredictionFillKey, Bytes(place)));
}

}  // namespace foreshore
