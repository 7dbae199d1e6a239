// Checking everything against everything.
#include <algorithm>

#include "engine/database/core.h"
#include "engine/database/derived_vector_index.h"
#include "engine/database/field_index_verify.h"
#include "engine/database/full_text_indexes.h"
#include "engine/database/stored_vector.h"
#include "engine/database/vector_reader.h"
#include "engine/document/json.h"
#include "engine/model/model_registry.h"
#include "index/quantizer.h"
#include "storage/base/coding.h"

namespace foreshore {
namespace {

constexpr std::size_t kProblemCountMax = 100;

class Verifier {
 public:
  Verifier(DatabaseCore& core, ReadView& view, VerifyReport& report) : core_(core), view_(view), report_(report) {}

  void Problem(std::string text) {
    if (report_.problems.size() < kProblemCountMax) report_.problems.push_back(std::move(text));
  }

  Status CheckCollection(const CollectionDefinition& collection) {
    if (collection.is_readings()) {
      FORESHORE_ASSIGN_OR_RETURN(
          const std::uint64_t count,
          VerifyReadings(view_.txn(), collection, [this](std::string text) { Problem(std::move(text)); }));
      report_.document_count += count;
      return Status::Ok();
    }
    const std::string where = "collection \"" + collection.name + "\": ";
    std::uint64_t record_count = 0;
    FORESHORE_ASSIGN_OR_RETURN(const auto cursor, view_.txn().NewCursor(collection.documents));
    for (Status status = cursor->SeekFirst();; status = cursor->Next()) {
      FORESHORE_RETURN_IF_ERROR(status);
      if (!cursor->valid()) break;
      ++record_count;
      const std::string name = where + "document " + std::to_string(cursor->integer_key());
      const auto view = ViewRecord(cursor->value());
      const auto state = DecodeRecord(cursor->value(), view_.core().sessions());
      if (!view.ok() || !state.ok()) {
        Problem(name + ": " + (view.ok() ? state.status() : view.status()).message());
        continue;
      }
      if (view->alive) ++report_.document_count;
      if (Materialise(*state) != view->body) Problem(name + ": body is not what its registers say");
      if (!view->body.empty()) {
        if (const auto normal = NormaliseDocument(view->body); !normal.ok() || *normal != view->body) {
          Problem(name + ": body is not normalised JSON");
        }
      }
      FORESHORE_ASSIGN_OR_RETURN(const auto docid, FindDocid(collection, state->id));
      if (docid != cursor->integer_key()) Problem(name + ": its id \"" + state->id + "\" leads elsewhere");
    }
    return CheckIdCount(collection, where, record_count);
  }

  Status CheckVectors(const CollectionDefinition& collection, const VectorIndexDefinition& index,
                      const DerivedVectorIndex* derived) {
    const std::string where = "vector index \"" + index.name + "\": ";
    std::uint64_t count = 0;
    std::vector<std::int64_t> docids;
    VectorReader vectors(view_.txn(), index);
    for (Status status = vectors.SeekFirst();; status = vectors.Next()) {
      FORESHORE_RETURN_IF_ERROR(status);
      if (!vectors.valid()) break;
      ++count;
      if (index.has_rows) docids.push_back(vectors.docid());
      const auto stored = DecodeStoredVector(vectors.value());
      Status decoded = stored.status();
      for (std::size_t i = 0; decoded.ok() && i < stored->records.size(); ++i) {
        decoded = DecodeVectorRecord(stored->records[i], index.options.dimension).status();
      }
      if (!decoded.ok()) Problem(where + "document " + std::to_string(vectors.docid()) + ": " + decoded.message());
    }
    report_.vector_count += count;
    for (const std::int64_t docid : docids) {
      FORESHORE_ASSIGN_OR_RETURN(const auto document, view_.GetByDocid(collection, docid));
      if (!document) Problem(where + "vector of document " + std::to_string(docid) + ", which does not exist");
    }
    if (derived == nullptr) {
      Problem(where + "graph is not open");
    } else if (const Status whole = derived->graph().CheckMapped(); !whole.ok()) {
      Problem(whole.message());
    } else {
      return CompareCount(where, *derived, count);
    }
    return Status::Ok();
  }

 private:
  // In this order: what the graph has applied is in it by the time that it is counted, and what was committed since the
  // snapshot, of which it may have a part, shows afterwards.
  Status CompareCount(const std::string& where, const DerivedVectorIndex& derived, std::uint64_t stored_count) {
    if (derived.applied_sequence() != view_.sequence()) return Status::Ok();
    const std::uint64_t count = derived.graph().entry_count();
    FORESHORE_ASSIGN_OR_RETURN(const auto now, core_.BeginRead());
    if (now->sequence() != view_.sequence() || count == stored_count) return Status::Ok();
    Problem(where + "graph has " + std::to_string(count) + " vectors, store has " + std::to_string(stored_count));
    return Status::Ok();
  }

  Result<std::optional<std::int64_t>> FindDocid(const CollectionDefinition& collection, const std::string& id) {
    return view_.FindDocid(collection, id);
  }

  Status CheckIdCount(const CollectionDefinition& collection, const std::string& where, std::uint64_t record_count) {
    std::uint64_t id_count = 0;
    FORESHORE_ASSIGN_OR_RETURN(const auto ids, view_.txn().NewCursor(collection.ids));
    for (Status status = ids->SeekFirst();; status = ids->Next()) {
      FORESHORE_RETURN_IF_ERROR(status);
      if (!ids->valid()) break;
      ++id_count;
    }
    if (id_count != record_count) {
      Problem(where + std::to_string(id_count) + " ids for " + std::to_string(record_count) + " records");
    }
    return Status::Ok();
  }

  DatabaseCore& core_;
  ReadView& view_;
  VerifyReport& report_;
};

}  // namespace

Result<VerifyReport> DatabaseCore::Verify() {
  VerifyReport report;
  FORESHORE_RETURN_IF_ERROR(RefuseIfClosed());
  if (const Status status = store_->Verify(); !status.ok()) {
    if (status.code() != ErrorCode::kCorruption) return status;
    report.problems.push_back(status.message());
  }
  FORESHORE_ASSIGN_OR_RETURN(const auto view, BeginRead());
  view->ShowExpired();
  Verifier verifier(*this, *view, report);
  for (const CollectionDefinition& collection : view->catalog().collections) {
    FORESHORE_RETURN_IF_ERROR(verifier.CheckCollection(collection));
    FORESHORE_RETURN_IF_ERROR(
        VerifyExpiries(*view, collection, [&](std::string text) { verifier.Problem(std::move(text)); }));
    for (const auto* list : {&collection.vector_indexes, &collection.next_vector_indexes}) {
      for (const VectorIndexDefinition& index : *list) {
        FORESHORE_RETURN_IF_ERROR(verifier.CheckVectors(collection, index, FindDerived(index.id).get()));
      }
    }
    for (const FieldIndexDefinition& index : collection.field_indexes) {
      FORESHORE_ASSIGN_OR_RETURN(
          const std::uint64_t entry_count,
          VerifyFieldIndex(*view, collection, index, [&](const std::string& problem) { verifier.Problem(problem); }));
      report.index_entry_count += entry_count;
    }
    for (const PredictiveIndexDefinition& index : collection.predictive_indexes) {
      FORESHORE_ASSIGN_OR_RETURN(const std::uint64_t entry_count,
                                 VerifyPredictiveIndex(*view, collection, index,
                                                       [&](std::string text) { verifier.Problem(std::move(text)); }));
      report.index_entry_count += entry_count;
    }
  }
  FORESHORE_RETURN_IF_ERROR(text_->Verify([&](std::string text) { verifier.Problem(std::move(text)); }));
  FORESHORE_ASSIGN_OR_RETURN(std::int64_t expected, log_->Tail(view->txn()));
  FORESHORE_RETURN_IF_ERROR(log_->ReadAfter(view->txn(), expected - 1, [&](const Change& change) {
    if (change.sequence != expected) verifier.Problem("change log: entry " + std::to_string(expected) + " is missing");
    expected = change.sequence + 1;
    return true;
  }));
  if (expected != view->sequence() + 1) {
    verifier.Problem("change log: ends at " + std::to_string(expected - 1) + ", head is " +
                     std::to_string(view->sequence()));
  }
  FORESHORE_RETURN_IF_ERROR(VerifyBlobs(*view, report, [&](std::string text) { verifier.Problem(std::move(text)); }));
  return report;
}

}  // namespace foreshore
