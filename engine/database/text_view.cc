// Full text in views: a reader's pinned state of the file, a transaction's with its own documents.
#include <algorithm>

#include "engine/database/core.h"
#include "engine/database/full_text_indexes.h"

namespace foreshore {
namespace {

// A search that meets an index being filled helps for this long, then says how far it is.
constexpr std::chrono::milliseconds kFillTimeout(5000);
// Commits go on between the two pins; each failed attempt has waited for one of them to be applied.
constexpr int kPinAttemptCountMax = 1000;

Result<TextTable> TableOf(const CollectionDefinition& collection) {
  if (!collection.text_index) {
    return Status::NotFound("collection \"" + collection.name + "\": there is no full-text index");
  }
  return TextTable{collection.text_index->id, collection.text_index->options};
}

}  // namespace

Result<std::unique_ptr<ReadView>> DatabaseCore::BeginTextRead(std::span<const std::uint32_t> collection_ids) {
  FORESHORE_RETURN_IF_ERROR(RefuseIfClosed());
  const auto present = catalog();
  for (const std::uint32_t id : collection_ids) {
    const CollectionDefinition* collection = present->FindById(id);
    if (collection == nullptr || !collection->text_index) continue;
    const Status filled = text_->WaitFilled(collection->text_index->id, kFillTimeout);
    // Dropped meanwhile: the search itself says so.
    if (!filled.ok() && filled.code() != ErrorCode::kNotFound) return filled;
  }
  if (text_->empty()) return BeginRead();
  for (int attempt = 0; attempt < kPinAttemptCountMax; ++attempt) {
    FORESHORE_ASSIGN_OR_RETURN(auto pinned, text_->Pin());
    FORESHORE_ASSIGN_OR_RETURN(auto view, BeginRead());
    if (text_->Covers(pinned->sequence(), view->sequence())) {
      view->text_snapshot_ = std::move(pinned);
      return view;
    }
    pinned.reset();
    view.reset();
    FORESHORE_RETURN_IF_ERROR(text_->Apply());
  }
  return Status::Busy("full text: commits come faster than a search can begin");
}

Result<TextSnapshot*> ReadView::PinnedText() {
  if (!text_snapshot_) {
    FORESHORE_ASSIGN_OR_RETURN(auto pinned, core_.text().Pin());
    if (!core_.text().Covers(pinned->sequence(), sequence_)) {
      pinned.reset();
      FORESHORE_RETURN_IF_ERROR(core_.text().Apply());
      FORESHORE_ASSIGN_OR_RETURN(pinned, core_.text().Pin());
      if (!core_.text().Covers(pinned->sequence(), sequence_)) {
        return Status::Conflict("full text: the index went on since this snapshot of sequence " +
                                std::to_string(sequence_) + " was taken, expected one that began with full text");
      }
    }
    text_snapshot_ = std::move(pinned);
  }
  return text_snapshot_.get();
}

Result<TextSnapshot*> ReadView::TextState(const CollectionDefinition&) {
  return PinnedText();
}

Result<TextSnapshot*> WriteView::TextState(const CollectionDefinition& collection) {
  const auto has_text = [&](const Change& change) {
    if (change.kind != ChangeKind::kDocument) return false;
    const CollectionDefinition* changed = catalog_->FindById(change.collection_id);
    return changed != nullptr && changed->text_index.has_value();
  };
  if (!text_overlay_) {
    if (collection.text_index) {
      FORESHORE_RETURN_IF_ERROR(core_.text().WaitFilled(collection.text_index->id, kFillTimeout));
    }
    // The write lock is held, so that nothing is committed after this.
    FORESHORE_RETURN_IF_ERROR(core_.text().Apply());
    if (std::none_of(changes_.begin(), changes_.end(), has_text)) return PinnedText();
    FORESHORE_ASSIGN_OR_RETURN(text_overlay_, core_.text().BeginOverlay());
    text_overlay_position_ = 0;
  }
  for (; text_overlay_position_ < changes_.size(); ++text_overlay_position_) {
    const Change& change = changes_[text_overlay_position_];
    if (!has_text(change)) continue;
    const CollectionDefinition& changed = *catalog_->FindById(change.collection_id);
    FORESHORE_ASSIGN_OR_RETURN(const auto record, GetByDocid(changed, change.docid));
    const Status set = text_overlay_->Set(changed.text_index->id, change.docid, record ? record->body : "");
    if (!set.ok()) {
      text_overlay_.reset();
      return set;
    }
  }
  return &text_overlay_->snapshot();
}

Result<std::unique_ptr<TextMatchCursor>> ReadView::MatchText(const CollectionDefinition& collection,
                                                             const TextQuery& query) {
  FORESHORE_ASSIGN_OR_RETURN(const TextTable table, TableOf(collection));
  FORESHORE_ASSIGN_OR_RETURN(TextSnapshot * snapshot, TextState(collection));
  FORESHORE_ASSIGN_OR_RETURN(const auto state, snapshot->State(table));
  if (!state || !state->is_filled) {
    return Status::Busy("full-text index of \"" + collection.name + "\" was being filled when this snapshot was taken");
  }
  return snapshot->Match(table, query);
}

Result<std::optional<std::string>> ReadView::TextExcerpt(const CollectionDefinition& collection, const TextQuery& query,
                                                         std::int64_t docid, std::string_view function,
                                                         std::span<const TextArgument> arguments) {
  FORESHORE_ASSIGN_OR_RETURN(const TextTable table, TableOf(collection));
  FORESHORE_ASSIGN_OR_RETURN(TextSnapshot * snapshot, TextState(collection));
  return snapshot->Excerpt(table, query, docid, function, arguments);
}

}  // namespace foreshore
