// Vector indexes whose model or adapter has gone on to other weights: another index is filled beside the one that
// answers, and takes its place in one transaction. docs/decisions/0014 says why.
#include "engine/database/core.h"
#include "engine/database/derived_vector_index.h"
#include "engine/database/embedding_worker.h"
#include "engine/model/model_registry.h"
#include "storage/base/coding.h"
#include "storage/base/log.h"

namespace foreshore {
namespace {

std::string RowOf(std::uint32_t index_id) {
  return "x" + std::to_string(index_id);
}

std::string KeyspaceOf(std::uint32_t index_id) {
  return "v" + std::to_string(index_id);
}

// As it is in the catalogue, or null where it is gone or has other weights by now.
const VectorIndexDefinition* FindUnchanged(const Catalog& catalog, const VectorIndexDefinition& index) {
  const CollectionDefinition* collection = catalog.FindById(index.collection_id);
  const VectorIndexDefinition* present = collection != nullptr ? collection->FindVectorIndexById(index.id) : nullptr;
  return present != nullptr && present->pin == index.pin ? present : nullptr;
}

}  // namespace

Status DatabaseCore::StartFollowing(WriteView& view, const VectorIndexDefinition& index) {
  FORESHORE_RETURN_IF_ERROR(view.write_txn_->Put(catalog_rows_, Bytes(RowOf(index.id)), EncodeVectorIndex(index)));
  FORESHORE_RETURN_IF_ERROR(view.MoveLogCursor("index." + std::to_string(index.id), view.sequence()));
  if (!index.has_model()) return Status::Ok();
  ByteString from_the_start;
  AppendFixed(from_the_start, INT64_MIN);
  FORESHORE_RETURN_IF_ERROR(view.PutSetting(EmbeddingWorker::FillSetting(index.id), from_the_start));
  return view.MoveLogCursor(EmbeddingWorker::CursorName(index.id), view.sequence());
}

Status DatabaseCore::Retire(WriteView& view, const VectorIndexDefinition& index) {
  view.wrote_ = true;
  FORESHORE_RETURN_IF_ERROR(view.Fail(view.write_txn_->Delete(catalog_rows_, Bytes(RowOf(index.id)))));
  FORESHORE_RETURN_IF_ERROR(log_->DropCursor(*view.write_txn_, "index." + std::to_string(index.id)));
  FORESHORE_RETURN_IF_ERROR(log_->DropCursor(*view.write_txn_, EmbeddingWorker::CursorName(index.id)));
  FORESHORE_RETURN_IF_ERROR(view.DropSetting(EmbeddingWorker::FillSetting(index.id)));
  FORESHORE_RETURN_IF_ERROR(view.DropSetting(EmbeddingWorker::TagSetting(index.id)));
  FORESHORE_RETURN_IF_ERROR(view.DropSetting(TuningSetting(index.id)));
  FORESHORE_RETURN_IF_ERROR(view.DropSetting(RecallSetting(index.id)));
  FORESHORE_RETURN_IF_ERROR(view.write_txn_->Delete(queries_, index.id));
  view.changes_.push_back(CatalogChange(index.collection_id, index.id));
  // Before the commit, because a checkpoint right behind it must not bring the graph's cursor back.
  const std::lock_guard lock(catalog_mutex_);
  const auto found = derived_.find(index.id);
  if (found == derived_.end()) return Status::Ok();
  retired_[index.id] = {index.pin, std::move(found->second)};
  derived_.erase(found);
  return Status::Ok();
}

Status DatabaseCore::CommitRetiring(WriteView& view, std::span<const VectorIndexDefinition> indexes) {
  Status done;
  for (const VectorIndexDefinition& index : indexes) {
    if (done.ok()) done = Retire(view, index);
  }
  if (done.ok()) done = view.Commit();
  const std::lock_guard lock(catalog_mutex_);
  for (const VectorIndexDefinition& index : indexes) {
    const auto found = retired_.find(index.id);
    if (found == retired_.end()) continue;
    if (done.ok()) {
      found->second.sequence = view.committed_sequence();
    } else if (found->second.sequence == INT64_MAX) {
      derived_[index.id] = std::move(found->second.derived);
      retired_.erase(found);
    }
  }
  return done;
}

Status DatabaseCore::ReleaseRetired() {
  // Views that begin from here on are at the last commit or later, and know what was retired until then.
  const std::int64_t oldest = OldestSnapshot();
  std::map<std::uint32_t, RetiredIndex> freed;
  {
    const std::lock_guard lock(catalog_mutex_);
    for (auto each = retired_.begin(); each != retired_.end();) {
      if (each->second.sequence > oldest) {
        ++each;
        continue;
      }
      freed.insert(retired_.extract(each++));
    }
  }
  Status first;
  for (const auto& [id, index] : freed) {
    RemoveHnswFiles(index.derived->path()).IgnoreError();
    // What stays of it is freed by the next open.
    if (const Status dropped = store_->DropKeyspace(KeyspaceOf(id)); first.ok()) first = dropped;
  }
  if (!freed.empty()) models_->KeepPinned(PinsInUse());
  return first;
}

Status DatabaseCore::DropRetiredKeyspaces() {
  std::set<std::string> known;
  for (const CollectionDefinition& collection : catalog_->collections) {
    for (const PredictiveIndexDefinition& index : collection.predictive_indexes) {
      for (const std::string& name : PredictionKeyspaces(index.storage)) known.insert(name);
    }
    for (const auto* list : {&collection.vector_indexes, &collection.next_vector_indexes}) {
      for (const VectorIndexDefinition& index : *list) known.insert(KeyspaceOf(index.id));
    }
  }
  FORESHORE_ASSIGN_OR_RETURN(const auto keyspaces, store_->ListKeyspaces());
  for (const KeyspaceInfo& keyspace : keyspaces) {
    const std::string_view number = std::string_view(keyspace.name).substr(1);
    const bool is_derived = std::string_view("vqpw").find(keyspace.name.front()) != std::string_view::npos &&
                            !number.empty() && number.find_first_not_of("0123456789") == std::string_view::npos;
    if (is_derived && !known.contains(keyspace.name)) {
      FORESHORE_RETURN_IF_ERROR(store_->DropKeyspace(keyspace.name));
    }
  }
  return Status::Ok();
}

std::vector<ModelPin> DatabaseCore::PinsInUse() const {
  std::vector<ModelPin> pins;
  const std::lock_guard lock(catalog_mutex_);
  for (const CollectionDefinition& collection : catalog_->collections) {
    for (const auto* list : {&collection.vector_indexes, &collection.next_vector_indexes}) {
      for (const VectorIndexDefinition& index : *list) {
        if (index.pin.is_known()) pins.push_back(index.pin);
      }
    }
  }
  for (const auto& [id, index] : retired_) {
    if (index.pin.is_known()) pins.push_back(index.pin);
  }
  return pins;
}

Result<std::shared_ptr<TextModel>> DatabaseCore::LoadForSearch(const Catalog& catalog, const std::string& model,
                                                               const std::string& adapter) {
  // What is compared has to be made by the same weights.
  const VectorIndexDefinition* index = catalog.FindByModel(model, adapter);
  return index != nullptr ? models_->LoadPinned(index->pin) : models_->Load(model, adapter);
}

Status DatabaseCore::AdoptPins() {
  for (const CollectionDefinition& collection : catalog()->collections) {
    for (const VectorIndexDefinition& index : collection.vector_indexes) {
      if (!index.has_model() || index.pin.is_known()) continue;
      const auto pin = models_->PinNow(index.options.model, index.options.adapter);
      FORESHORE_ASSIGN_OR_RETURN(const auto tag, GetSetting(EmbeddingWorker::TagSetting(index.id)));
      // Of vectors of another version than the row's, only these eight bytes are known: they are made anew.
      ByteString expected;
      if (pin.ok()) AppendFixed(expected, ModelTagOf(*pin));
      if (!pin.ok() || (tag && *tag != expected)) continue;
      const std::lock_guard lock(catalog_change_mutex_);
      FORESHORE_ASSIGN_OR_RETURN(const auto view, BeginWrite());
      auto next = std::make_shared<Catalog>(view->catalog());
      ++next->version;
      CollectionDefinition* changed = next->FindById(collection.id);
      for (VectorIndexDefinition& each : changed->vector_indexes) {
        if (each.id != index.id) continue;
        each.pin = *pin;
        FORESHORE_RETURN_IF_ERROR(ChangeCatalog(*view, next, RowOf(each.id), EncodeVectorIndex(each)));
      }
      FORESHORE_RETURN_IF_ERROR(view->DropSetting(EmbeddingWorker::TagSetting(index.id)));
      FORESHORE_RETURN_IF_ERROR(view->Commit());
    }
  }
  return Status::Ok();
}

Result<bool> DatabaseCore::BeginNextVectorIndex(const VectorIndexDefinition& index, const ModelPin& pin,
                                                std::uint32_t dimension) {
  const std::lock_guard lock(catalog_change_mutex_);
  VectorIndexDefinition made = index;
  made.replaces = index.id;
  made.pin = pin;
  made.options.dimension = dimension;
  FORESHORE_ASSIGN_OR_RETURN(made.id, TakeCatalogId());
  FORESHORE_ASSIGN_OR_RETURN(made.vectors, store_->OpenKeyspace(KeyspaceOf(made.id), KeyspaceKind::kInteger));
  FORESHORE_ASSIGN_OR_RETURN(const auto view, BeginWrite(std::chrono::minutes(10), "the embedding worker"));
  if (FindUnchanged(view->catalog(), index) == nullptr) return false;
  made.created_sequence = view->sequence();
  FORESHORE_RETURN_IF_ERROR(StartFollowing(*view, made));
  FORESHORE_ASSIGN_OR_RETURN(auto derived, DerivedVectorIndex::Open(made, *store_, *log_, SnapshotPath(made.id),
                                                                    options_.vector_memory_bytes));
  auto next = std::make_shared<Catalog>(view->catalog());
  ++next->version;
  CollectionDefinition* collection = next->FindById(index.collection_id);
  std::vector<VectorIndexDefinition> given_up;
  if (const VectorIndexDefinition* found = collection->FindNextOf(index.id)) given_up.push_back(*found);
  std::erase_if(collection->next_vector_indexes, [&](const auto& each) { return each.replaces == index.id; });
  collection->next_vector_indexes.push_back(made);
  view->changes_.push_back(CatalogChange(made.collection_id, made.id));
  view->changed_catalog_ = std::move(next);
  {
    const std::lock_guard catalog_lock(catalog_mutex_);
    derived_[made.id] = std::move(derived);
  }
  if (const Status done = CommitRetiring(*view, given_up); !done.ok()) {
    const std::lock_guard catalog_lock(catalog_mutex_);
    derived_.erase(made.id);
    return done;
  }
  Log(LogLevel::kInfo, "embed", index.name + ": the model changed, its vectors are made anew beside those that answer");
  return true;
}

Result<bool> DatabaseCore::DropNextVectorIndex(const VectorIndexDefinition& index) {
  const std::lock_guard lock(catalog_change_mutex_);
  FORESHORE_ASSIGN_OR_RETURN(const auto view, BeginWrite(std::chrono::minutes(10), "the embedding worker"));
  auto next = std::make_shared<Catalog>(view->catalog());
  ++next->version;
  CollectionDefinition* collection = next->FindById(index.collection_id);
  const VectorIndexDefinition* found = collection != nullptr ? collection->FindNextOf(index.id) : nullptr;
  if (found == nullptr || FindUnchanged(view->catalog(), index) == nullptr) return false;
  const VectorIndexDefinition given_up = *found;
  std::erase_if(collection->next_vector_indexes, [&](const auto& each) { return each.id == given_up.id; });
  view->changed_catalog_ = std::move(next);
  FORESHORE_RETURN_IF_ERROR(CommitRetiring(*view, {&given_up, 1}));
  return true;
}

Result<bool> DatabaseCore::CutOver(std::span<const std::uint32_t> next_ids,
                                   const std::function<Result<bool>(WriteView&)>& settle) {
  const std::lock_guard lock(catalog_change_mutex_);
  FORESHORE_ASSIGN_OR_RETURN(const auto view, BeginWrite(std::chrono::minutes(10), "the embedding worker"));
  view->ShowExpired();
  FORESHORE_ASSIGN_OR_RETURN(const bool is_settled, settle(*view));
  if (!is_settled) return false;
  auto next = std::make_shared<Catalog>(view->catalog());
  ++next->version;
  std::vector<VectorIndexDefinition> replaced;
  for (const std::uint32_t id : next_ids) {
    bool is_done = false;
    for (CollectionDefinition& collection : next->collections) {
      for (VectorIndexDefinition& index : collection.vector_indexes) {
        const VectorIndexDefinition* made = collection.FindNextOf(index.id);
        if (made == nullptr || made->id != id) continue;
        replaced.push_back(index);
        index = *made;
        index.replaces = 0;
        std::erase_if(collection.next_vector_indexes, [&](const auto& each) { return each.id == id; });
        FORESHORE_RETURN_IF_ERROR(
            view->write_txn_->Put(catalog_rows_, Bytes(RowOf(index.id)), EncodeVectorIndex(index)));
        view->changes_.push_back(CatalogChange(index.collection_id, index.id));
        is_done = true;
        break;
      }
    }
    if (!is_done) return false;  // It was dropped.
  }
  view->changed_catalog_ = std::move(next);
  FORESHORE_RETURN_IF_ERROR(CommitRetiring(*view, replaced));
  return true;
}

}  // namespace foreshore
