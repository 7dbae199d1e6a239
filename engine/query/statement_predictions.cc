#include "engine/query/statement_predictions.h"

#include "engine/query/session_state.h"

namespace foreshore {
namespace {

constexpr std::size_t kComputedAloneMax = 8;

}  // namespace

Result<StatementPredictions::Known*> StatementPredictions::Know(const CollectionDefinition& collection,
                                                                std::uint32_t index_id) {
  for (const auto& known : known_) {
    if (known->index_id == index_id) return known.get();
  }
  auto known = std::make_unique<Known>();
  known->index_id = index_id;
  known->index = collection.FindPredictiveIndex(index_id);
  known->is_stored = known->index != nullptr;
  if (!known->is_stored) {
    known->declared = session_.declared;
    const CollectionDefinition* declared = known->declared->FindById(collection.id);
    known->index = declared != nullptr ? declared->FindPredictiveIndex(index_id) : nullptr;
  }
  if (known->index == nullptr) {
    return Status::Conflict("collection \"" + collection.name +
                            "\": a predictive index was dropped while the statement ran, expected it: run it again");
  }
  known_.push_back(std::move(known));
  return known_.back().get();
}

Status StatementPredictions::Predict(Known& known) {
  if (known.predictor) return Status::Ok();
  const auto model = session_.ModelOf(known.index->options.model, known.index->options.adapter);
  if (!model.ok()) return model.status().WithContext("index \"" + known.index->name + "\"");
  known.predictor = (*model)->predictor;
  return Status::Ok();
}

Result<const PredictiveIndexDefinition*> StatementPredictions::Find(const CollectionDefinition& collection,
                                                                    std::uint32_t index_id) {
  FORESHORE_ASSIGN_OR_RETURN(const Known* known, Know(collection, index_id));
  return known->index;
}

Result<std::shared_ptr<const PredictedRows>> StatementPredictions::Rows(ReadView& view,
                                                                        const CollectionDefinition& collection,
                                                                        std::uint32_t index_id,
                                                                        std::uint64_t write_count) {
  FORESHORE_ASSIGN_OR_RETURN(Known * known, Know(collection, index_id));
  FORESHORE_RETURN_IF_ERROR(Predict(*known));
  if (known->rows && known->write_count == write_count) return known->rows;
  FORESHORE_ASSIGN_OR_RETURN(known->rows, PredictedRows::Complete(view, collection, *known->index, known->is_stored,
                                                                  *known->predictor, &session_));
  known->write_count = write_count;
  known->lookup.reset();
  known->last_docid = 0;
  return known->rows;
}

Result<std::string_view> StatementPredictions::Token(ReadView& view, const CollectionDefinition& collection,
                                                     std::uint32_t index_id, std::int64_t docid, std::string_view body,
                                                     bool is_scan, std::uint64_t write_count) {
  FORESHORE_ASSIGN_OR_RETURN(Known * known, Know(collection, index_id));
  FORESHORE_RETURN_IF_ERROR(Predict(*known));
  if (known->write_count != write_count) {
    known->rows.reset();
    known->lookup.reset();
    known->last_docid = 0;
    known->write_count = write_count;
  }
  if (known->last_docid == docid) return std::string_view(known->last_token);
  if (!known->rows && is_scan && known->computed_count >= kComputedAloneMax) {
    FORESHORE_RETURN_IF_ERROR(Rows(view, collection, index_id, write_count).status());
  }
  if (known->rows && known->rows->Replaces(docid)) {
    const PredictedRows::Row* row = known->rows->Find(docid);
    return row != nullptr ? std::string_view(row->token) : std::string_view();
  }
  if (!known->lookup) {
    FORESHORE_ASSIGN_OR_RETURN(known->lookup,
                               PredictionLookup::Begin(view, *known->index, known->is_stored, *known->predictor));
  }
  FORESHORE_ASSIGN_OR_RETURN(auto value, known->lookup->Find(view, docid));
  if (!value) {
    const PredictionSource sources[] = {known->index->input.SourceOf(body)};
    std::vector<PredictedValue> values;
    FORESHORE_RETURN_IF_ERROR(
        PredictValues(*known->index, *known->predictor, session_.core.blobs(), sources, values, &session_));
    ++known->computed_count;
    value = std::move(values[0]);
  }
  known->last_token = value->token();
  known->last_docid = docid;
  return std::string_view(known->last_token);
}

}  // namespace foreshore
