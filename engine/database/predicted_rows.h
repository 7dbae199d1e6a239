// The part of a predictive index that a snapshot lacks, computed: documents whose value is missing, of an earlier state
// of theirs, or of other weights than the statement's.
//
// Threads: immutable. Lifetime: copies everything.
#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <unordered_map>
#include <vector>

#include "engine/database/catalog.h"
#include "engine/model/predictor.h"
#include "storage/base/cancellation.h"

namespace foreshore {

class ReadView;

// The values of documents with these sources. An error is of the model, of the disk, or of a build without decoders of
// images, and names the index.
Status PredictValues(const PredictiveIndexDefinition& index, const Predictor& predictor, const BlobStore& blobs,
                     std::span<const PredictionSource> sources, std::vector<PredictedValue>& values,
                     Cancellation* cancellation);

// From which docid on documents were not looked at yet; INT64_MAX: all were.
Result<std::int64_t> ReadPredictionFill(ReadView& view, const PredictiveIndexDefinition& index);
// Calls `visit` with the docids that wait for their value, in ascending order, until it returns false.
Status VisitPendingPredictions(ReadView& view, const PredictiveIndexDefinition& index,
                               const std::function<bool(std::int64_t docid)>& visit);
// The same for those whose attachment's content was not here when they were looked at; it may be by now.
Status VisitAwaitedPredictions(ReadView& view, const PredictiveIndexDefinition& index,
                               const std::function<bool(std::int64_t docid, const BlobId& content)>& visit);

// How much of the index holds in this snapshot and for these weights, as a look at one document after the other needs
// it.
class PredictionLookup {
 public:
  // `is_stored`: the view's catalogue has the index; else all is computed.
  static Result<PredictionLookup> Begin(ReadView& view, const PredictiveIndexDefinition& index, bool is_stored,
                                        const Predictor& predictor);
  // nullopt: it has to be computed.
  Result<std::optional<PredictedValue>> Find(ReadView& view, std::int64_t docid) const;

 private:
  const PredictiveIndexDefinition* index_ = nullptr;
  bool computes_all_ = false;
  std::int64_t fill_ = 0;
};

class PredictedRows {
 public:
  struct Row {
    ByteString key;    // As the index would have it; rows are in this order.
    ByteString marks;  // The same.
    std::string token;
    std::int64_t docid = 0;
  };

  // Computes all that is missing. Documents whose attachment is awaited have NULL. The view's documents that are hidden
  // have no row. `is_stored` as above.
  static Result<std::shared_ptr<const PredictedRows>> Complete(ReadView& view, const CollectionDefinition& collection,
                                                               const PredictiveIndexDefinition& index, bool is_stored,
                                                               const Predictor& predictor, Cancellation* cancellation);

  std::span<const Row> rows() const { return rows_; }
  // Whether the index's own entry of the document does not count.
  bool Replaces(std::int64_t docid) const { return docid >= from_ || row_numbers_.contains(docid); }
  bool ReplacesAll() const { return from_ == INT64_MIN; }
  const Row* Find(std::int64_t docid) const;  // nullptr where it has none.

 private:
  std::vector<Row> rows_;
  std::unordered_map<std::int64_t, std::size_t> row_numbers_;  // SIZE_MAX: replaced by nothing.
  std::int64_t from_ = INT64_MAX;                              // Documents from here on are all replaced.
};

}  // namespace foreshore
