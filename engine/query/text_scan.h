// What MATCH on a collection's full-text index yields: full text alone, or fused with nearness by hybrid().
//
// Lifetime: ends before the view that it reads. Threads: one at a time.
#pragma once

#include <memory>
#include <optional>
#include <set>
#include <span>
#include <string>
#include <string_view>
#include <unordered_map>
#include <vector>

#include "engine/database/read_view.h"
#include "engine/query/rank_fusion.h"

namespace foreshore {

// The right side of MATCH where it is hybrid(text, vector, …).
struct HybridQuery {
  std::string match;
  std::vector<float> vector;
  std::string field;  // Empty where the collection has one vector field.
  RankFusion::Options options;
};
ByteString EncodeHybridQuery(const HybridQuery& query);
bool IsHybridQuery(Bytes blob);
Result<HybridQuery> DecodeHybridQuery(Bytes blob);

// An FTS5 query for documents with any of the words of a plain text, whatever characters it has.
std::string AnyWordQuery(std::string_view text);

struct TextScanRequest {
  std::string match;
  std::optional<HybridQuery> hybrid;  // Then `match` is its.
  std::string column;                 // Only in this field; empty: in all.
  std::string rank;                   // FTS5's rank expression; empty: bm25().
  bool is_ordered = false;
  bool with_rank = false;
  std::optional<std::set<std::int64_t>> docids;  // Only these documents.
};

struct TextRow {
  std::int64_t docid = 0;
  std::optional<double> rank;
  std::optional<double> distance;
  std::optional<double> score;
};

class TextScan {
 public:
  static Result<std::unique_ptr<TextScan>> Start(ReadView& view, const CollectionDefinition& collection,
                                                 TextScanRequest request);
  Result<std::optional<TextRow>> Next();

  // snippet or highlight of a document; nullopt where its text does not match.
  Result<std::optional<std::string>> Excerpt(std::int64_t docid, std::string_view function,
                                             std::span<const TextArgument> arguments);
  // The document's rank by another expression; nullopt where its text does not match.
  Result<std::optional<double>> RankBy(const std::string& expression, std::int64_t docid);
  const CollectionDefinition& collection() const { return collection_; }

 private:
  TextScan(ReadView& view, const CollectionDefinition& collection, TextScanRequest request)
      : view_(view), collection_(collection), request_(std::move(request)) {}
  TextQuery QueryOf() const;
  Status StartHybrid();
  // Has a damaged file made again.
  Status Failed(const Status& status);
  Result<bool> IsShown(std::int64_t docid);
  Result<std::optional<TextRow>> NextMatch();
  Result<std::optional<TextRow>> NextFused();

  ReadView& view_;
  const CollectionDefinition& collection_;  // Of view_'s catalogue.
  TextScanRequest request_;
  std::unique_ptr<TextMatchCursor> matches_;
  std::unique_ptr<NeighbourCursor> neighbours_;
  std::unique_ptr<RankFusion> fusion_;
  std::size_t place_ = 0;
  std::string ranked_by_;  // What ranks_ holds.
  std::unordered_map<std::int64_t, double> ranks_;
};

}  // namespace foreshore
