// Full-text indexes: opening, making, dropping, listing.
#include "engine/database/core.h"
#include "engine/database/derived_consumer.h"
#include "engine/database/derived_vector_index.h"
#include "engine/database/full_text_indexes.h"
#include "engine/document/json.h"

namespace foreshore {
namespace {

// An index of a small collection is whole when its creation returns.
constexpr std::chrono::milliseconds kCreateFillBudget(500);

}  // namespace

void DatabaseCore::OpenTextIndexes() {
  FullTextFileOptions file_options;
  file_options.cache_bytes = std::max<std::uint64_t>(1ULL << 20, options_.cache_bytes / 4);
  file_options.sqlite_vfs = text_vfs_;
  text_ = std::make_shared<FullTextIndexes>(*store_, *log_, *clock_, directory_->IndexPath() + "/fts.db", lineage_,
                                            std::move(file_options));
  text_->Open(*catalog_);
}

std::vector<std::shared_ptr<DerivedConsumer>> DatabaseCore::consumers() const {
  std::vector<std::shared_ptr<DerivedConsumer>> all;
  const std::lock_guard lock(catalog_mutex_);
  all.reserve(derived_.size() + 1);
  for (const auto& [id, derived] : derived_) all.push_back(derived);
  if (text_) all.push_back(text_);
  return all;
}

Status DatabaseCore::CreateTextIndex(const std::string& collection_name, const TextIndexOptions& options) {
  FORESHORE_RETURN_IF_ERROR(RefuseIfClosed());
  {
    const std::lock_guard lock(catalog_change_mutex_);
    const std::string name = "full-text index of \"" + collection_name + "\"";
    FORESHORE_RETURN_IF_ERROR(CheckTextIndexOptions(name, options));
    TextIndexDefinition index;
    index.options = options;
    for (const std::string& field : options.fields) {
      FORESHORE_ASSIGN_OR_RETURN(std::string parsed, ParsePath(field));
      index.paths.push_back(std::move(parsed));
    }
    FORESHORE_RETURN_IF_ERROR(catalog()->Require(collection_name).status());
    FORESHORE_ASSIGN_OR_RETURN(index.id, TakeCatalogId());
    FORESHORE_ASSIGN_OR_RETURN(const auto view, BeginWrite(std::chrono::minutes(1)));
    FORESHORE_ASSIGN_OR_RETURN(const CollectionDefinition* collection, view->catalog().Require(collection_name));
    if (collection->text_index) return Status::AlreadyExists(name + " exists");
    index.collection_id = collection->id;
    FORESHORE_RETURN_IF_ERROR(
        view->write_txn_->Put(catalog_rows_, Bytes("t" + std::to_string(index.id)), EncodeTextIndex(index)));
    const std::string cursor(FullTextIndexes::kCursorName);
    FORESHORE_ASSIGN_OR_RETURN(const auto position, log_->GetCursor(view->txn(), cursor));
    if (!position) FORESHORE_RETURN_IF_ERROR(view->MoveLogCursor(cursor, view->sequence()));
    Change change;
    change.kind = ChangeKind::kCatalog;
    change.collection_id = collection->id;
    change.index_id = index.id;
    view->changes_.push_back(change);
    auto next = std::make_shared<Catalog>(view->catalog());
    ++next->version;
    for (CollectionDefinition& each : next->collections) {
      if (each.id == index.collection_id) each.text_index = index;
    }
    view->changed_catalog_ = std::move(next);
    text_->Add(*collection, index);
    if (const Status committed = view->Commit(); !committed.ok()) {
      text_->Drop(index.id);
      return committed;
    }
  }
  // What is left, an error that lasts included, is for the background and for searches.
  text_->Fill(kCreateFillBudget).status().IgnoreError();
  return Status::Ok();
}

Status DatabaseCore::DropTextIndex(const std::string& collection_name) {
  FORESHORE_RETURN_IF_ERROR(RefuseIfClosed());
  const std::lock_guard lock(catalog_change_mutex_);
  std::uint32_t id = 0;
  {
    FORESHORE_ASSIGN_OR_RETURN(const auto view, BeginWrite());
    FORESHORE_ASSIGN_OR_RETURN(const CollectionDefinition* collection, view->catalog().Require(collection_name));
    if (!collection->text_index) {
      return Status::NotFound("full-text index of \"" + collection_name + "\" does not exist");
    }
    id = collection->text_index->id;
    auto next = std::make_shared<Catalog>(view->catalog());
    ++next->version;
    bool is_last = true;
    for (CollectionDefinition& each : next->collections) {
      if (each.id == collection->id) each.text_index.reset();
      if (each.text_index) is_last = false;
    }
    FORESHORE_RETURN_IF_ERROR(view->write_txn_->Delete(catalog_rows_, Bytes("t" + std::to_string(id))));
    if (is_last) {
      FORESHORE_RETURN_IF_ERROR(log_->DropCursor(*view->write_txn_, std::string(FullTextIndexes::kCursorName)));
    }
    Change change;
    change.kind = ChangeKind::kCatalog;
    change.collection_id = collection->id;
    change.index_id = id;
    view->changes_.push_back(change);
    view->changed_catalog_ = std::move(next);
    FORESHORE_RETURN_IF_ERROR(view->Commit());
  }
  text_->Drop(id);
  return Status::Ok();
}

Result<std::vector<TextIndexInfo>> DatabaseCore::ListTextIndexes() {
  FORESHORE_RETURN_IF_ERROR(RefuseIfClosed());
  std::vector<TextIndexInfo> infos;
  const auto present = catalog();
  for (const CollectionDefinition& collection : present->collections) {
    if (!collection.text_index) continue;
    const FullTextIndexes::Progress progress = text_->ProgressOf(collection.text_index->id);
    TextIndexInfo info;
    info.collection = collection.name;
    info.options = collection.text_index->options;
    info.document_count = progress.row_count;
    info.pending_count = progress.pending_count;
    infos.push_back(std::move(info));
  }
  return infos;
}

std::uint64_t DatabaseCore::TextCount(const TextIndexDefinition& index) {
  return text_->RowCount(index.id);
}

Status DatabaseCore::WaitTextIndex(const std::string& collection_name, std::chrono::milliseconds timeout,
                                   const std::function<void(std::uint64_t)>& progress) {
  FORESHORE_RETURN_IF_ERROR(RefuseIfClosed());
  const auto present = catalog();
  FORESHORE_ASSIGN_OR_RETURN(const CollectionDefinition* collection, present->Require(collection_name));
  if (!collection->text_index) {
    return Status::NotFound("full-text index of \"" + collection_name + "\" does not exist");
  }
  FORESHORE_RETURN_IF_ERROR(text_->WaitFilled(collection->text_index->id, timeout, progress));
  if (progress) progress(0);
  return Status::Ok();
}

}  // namespace foreshore
