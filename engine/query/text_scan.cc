#include "engine/query/text_scan.h"

#include <algorithm>

#include "engine/database/core.h"
#include "engine/database/full_text_indexes.h"
#include "engine/query/vector_argument.h"
#include "storage/base/coding.h"

namespace foreshore {
namespace {

// A vector begins with four bytes of a float, of which this is a signalling NaN that no vector may hold.
constexpr std::string_view kHybridMagic{
    "\x01\x00\xa0\x7f"
    "FSHYBRID1",
    13};
constexpr std::size_t kWindowMax = 100'000;

}  // namespace

ByteString EncodeHybridQuery(const HybridQuery& query) {
  ByteString out(kHybridMagic);
  AppendPrefixed(out, query.match);
  AppendPrefixed(out, BlobFromVector(query.vector));
  AppendPrefixed(out, query.field);
  AppendFixed(out, query.options.k);
  AppendVarint(out, query.options.window);
  return out;
}

bool IsHybridQuery(Bytes blob) {
  return blob.starts_with(kHybridMagic);
}

Result<HybridQuery> DecodeHybridQuery(Bytes blob) {
  ByteReader reader(blob.substr(std::min(blob.size(), kHybridMagic.size())));
  HybridQuery query;
  query.match = reader.Prefixed();
  ByteReader vector(reader.Prefixed());
  while (vector.ok() && !vector.at_end()) query.vector.push_back(vector.Fixed<float>());
  query.field = reader.Prefixed();
  query.options.k = reader.Fixed<double>();
  query.options.window = static_cast<std::size_t>(reader.VarintAtMost(kWindowMax));
  if (!reader.ok() || !reader.at_end() || !vector.ok() || !(query.options.k >= 0)) {
    return Status::InvalidArgument("MATCH: a blob that looks like hybrid() and is not, expected hybrid(text, vector)");
  }
  return query;
}

std::string AnyWordQuery(std::string_view text) {
  std::string query;
  std::string word;
  const auto end_word = [&] {
    if (word.empty()) return;
    query += (query.empty() ? "\"" : " OR \"") + word + "\"";
    word.clear();
  };
  for (const char c : text) {
    const auto byte = static_cast<unsigned char>(c);
    const bool is_word = byte >= 0x80 || (c >= '0' && c <= '9') || (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z');
    if (is_word) {
      word += c;
    } else {
      end_word();
    }
  }
  end_word();
  return query.empty() ? "\"\"" : query;
}

TextQuery TextScan::QueryOf() const {
  TextQuery query;
  query.match = request_.match;
  query.column = request_.column;
  query.rank = request_.rank;
  return query;
}

Result<std::unique_ptr<TextScan>> TextScan::Start(ReadView& view, const CollectionDefinition& collection,
                                                  TextScanRequest request) {
  std::unique_ptr<TextScan> scan(new TextScan(view, collection, std::move(request)));
  TextQuery query = scan->QueryOf();
  query.is_ordered = scan->request_.is_ordered || scan->request_.hybrid.has_value();
  query.with_rank = scan->request_.with_rank || query.is_ordered;
  const auto& docids = scan->request_.docids;
  if (docids && docids->size() == 1 && !scan->request_.hybrid) query.docid = *docids->begin();
  auto matches = view.MatchText(collection, query);
  if (!matches.ok()) return scan->Failed(matches.status());
  scan->matches_ = std::move(matches).value();
  if (scan->request_.hybrid) FORESHORE_RETURN_IF_ERROR(scan->StartHybrid());
  return scan;
}

Status TextScan::Failed(const Status& status) {
  if (status.code() != ErrorCode::kCorruption) return status;
  view_.core().text().NoteDamage(status);
  return Status::Corruption(status.message() + " (the full-text file is made again: try again)");
}

Status TextScan::StartHybrid() {
  const HybridQuery& hybrid = *request_.hybrid;
  const VectorIndexDefinition* index = nullptr;
  if (!hybrid.field.empty()) {
    index = collection_.FindVectorIndex(hybrid.field);
  } else if (collection_.vector_indexes.size() == 1) {
    index = &collection_.vector_indexes.front();
  }
  if (index == nullptr) {
    return Status::NotFound("collection \"" + collection_.name + "\": " +
                            (hybrid.field.empty()
                                 ? std::to_string(collection_.vector_indexes.size()) +
                                       " vector fields, expected hybrid() to name one as its third argument"
                                 : "vector field \"" + hybrid.field + "\" of hybrid() does not exist"));
  }
  std::vector<TextMatch> matches;
  while (true) {
    const auto match = matches_->Next();
    if (!match.ok()) return Failed(match.status());
    if (!*match) break;
    FORESHORE_ASSIGN_OR_RETURN(const bool is_shown, IsShown((*match)->docid));
    if (is_shown) matches.push_back(**match);
  }
  matches_.reset();
  NeighbourOptions options;
  options.k_hint = std::max<std::size_t>(1, hybrid.options.window);
  FORESHORE_ASSIGN_OR_RETURN(neighbours_, view_.Nearest(*index, hybrid.vector, options));
  fusion_ = std::make_unique<RankFusion>(
      std::move(matches), [this] { return neighbours_->Next(); }, hybrid.options);
  return Status::Ok();
}

Result<std::optional<TextRow>> TextScan::Next() {
  while (true) {
    if (request_.docids && request_.docids->empty()) return std::optional<TextRow>();
    FORESHORE_ASSIGN_OR_RETURN(auto row, fusion_ ? NextFused() : NextMatch());
    if (!row || !request_.docids) return row;
    // Each document comes once, so that none is left to wait for when all have come.
    if (request_.docids->erase(row->docid) > 0) return row;
  }
}

// The index has the documents that have expired too.
Result<bool> TextScan::IsShown(std::int64_t docid) {
  if (collection_.expiry_field.empty()) return true;
  FORESHORE_ASSIGN_OR_RETURN(const auto document, view_.GetByDocid(collection_, docid));
  return document.has_value();
}

Result<std::optional<TextRow>> TextScan::NextMatch() {
  std::optional<TextMatch> match;
  for (bool is_shown = false; !is_shown;) {
    auto next = matches_->Next();
    if (!next.ok()) return Failed(next.status());
    match = *next;
    if (!match) return std::optional<TextRow>();
    FORESHORE_ASSIGN_OR_RETURN(is_shown, IsShown(match->docid));
  }
  ++place_;
  TextRow row;
  row.docid = match->docid;
  if (request_.with_rank || request_.is_ordered) row.rank = match->rank;
  if (request_.is_ordered) row.score = 1.0 / (RankFusion::Options().k + static_cast<double>(place_));
  return std::optional<TextRow>(row);
}

Result<std::optional<TextRow>> TextScan::NextFused() {
  FORESHORE_ASSIGN_OR_RETURN(const auto fused, fusion_->Next());
  if (!fused) return std::optional<TextRow>();
  return std::optional<TextRow>(TextRow{fused->docid, fused->rank, fused->distance, fused->score});
}

Result<std::optional<std::string>> TextScan::Excerpt(std::int64_t docid, std::string_view function,
                                                     std::span<const TextArgument> arguments) {
  TextQuery query = QueryOf();
  query.rank.clear();
  return view_.TextExcerpt(collection_, query, docid, function, arguments);
}

Result<std::optional<double>> TextScan::RankBy(const std::string& expression, std::int64_t docid) {
  // FTS5 counts the documents of every phrase anew for each statement, so that one for all rows is cheaper than one
  // for each.
  if (ranked_by_ != expression) {
    ranks_.clear();
    TextQuery query = QueryOf();
    query.rank = expression;
    query.with_rank = true;
    FORESHORE_ASSIGN_OR_RETURN(const auto cursor, view_.MatchText(collection_, query));
    while (true) {
      FORESHORE_ASSIGN_OR_RETURN(const auto match, cursor->Next());
      if (!match) break;
      ranks_.emplace(match->docid, match->rank);
    }
    ranked_by_ = expression;
  }
  const auto found = ranks_.find(docid);
  return found == ranks_.end() ? std::optional<double>() : std::optional<double>(found->second);
}

}  // namespace foreshore
