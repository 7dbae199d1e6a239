// Collections and vector indexes: making, dropping, listing.
#include <algorithm>

#include "engine/database/core.h"
#include "engine/database/derived_vector_index.h"
#include "engine/database/embedding_worker.h"
#include "engine/database/stored_vector.h"
#include "engine/document/json.h"
#include "engine/model/model_registry.h"
#include "index/quantizer.h"
#include "storage/base/coding.h"
#include "storage/base/file.h"

namespace foreshore {

Status DatabaseCore::RefuseBadField(const CollectionDefinition& collection, const VectorFieldOptions& options) {
  const std::string name = "vector index \"" + collection.name + "." + options.field + "\"";
  static constexpr std::string_view kTaken[] = {"id", "body", "distance", "k", "rank", "score", "rowid"};
  if (options.field.empty() || options.field.size() > 64) {
    return Status::InvalidArgument(name + ": field name has " + std::to_string(options.field.size()) +
                                   " bytes, expected 1 to 64");
  }
  if (std::find(std::begin(kTaken), std::end(kTaken), options.field) != std::end(kTaken)) {
    return Status::InvalidArgument(name + ": the field name is reserved, expected another");
  }
  if (collection.is_readings()) return Status::Unsupported(name + ": a collection of readings takes no index");
  if (collection.FindVectorIndex(options.field) != nullptr) return Status::AlreadyExists(name + " exists");
  if (options.links_per_node < kVectorLinksMin || options.links_per_node > kVectorLinksMax) {
    return Status::InvalidArgument(name + ": links_per_node is " + std::to_string(options.links_per_node) +
                                   ", expected 4..64");
  }
  if (HasSmallCodes(options.precision) && options.graph == VectorGraphKind::kHnswlib) {
    return Status::InvalidArgument(name + ": " + std::to_string(VectorPrecisionBits(options.precision)) +
                                   " bits over the graph of hnswlib, expected 8 or 16 there");
  }
  if (options.model.empty() != options.source_paths.empty()) {
    return Status::InvalidArgument(name + ": a model and its source paths go together, found " +
                                   std::string(options.model.empty() ? "only paths" : "only a model"));
  }
  if (!options.adapter.empty() && options.model.empty()) {
    return Status::InvalidArgument(name + ": adapter \"" + options.adapter + "\" without a model, expected both");
  }
  if (options.source_paths.size() > 16) {
    return Status::Limit(name + ": " + std::to_string(options.source_paths.size()) +
                         " source paths, expected at most 16");
  }
  return Status::Ok();
}

Result<std::uint32_t> DatabaseCore::TakeCatalogId() {
  FORESHORE_ASSIGN_OR_RETURN(const auto txn, store_->BeginWrite());
  FORESHORE_ASSIGN_OR_RETURN(const auto stored, txn->Get(settings_, Bytes("next_catalog_id")));
  const auto id = static_cast<std::uint32_t>(stored ? ByteReader(*stored).Varint() : 1);
  ByteString next;
  AppendVarint(next, id + 1);
  FORESHORE_RETURN_IF_ERROR(txn->Put(settings_, Bytes("next_catalog_id"), next));
  FORESHORE_RETURN_IF_ERROR(txn->Commit());
  return id;
}

Status DatabaseCore::EnsureCollection(const std::string& name) {
  if (catalog()->Find(name) != nullptr) return Status::Ok();
  const Status created = CreateCollection(name);
  return created.code() == ErrorCode::kAlreadyExists ? Status::Ok() : created;
}

Status DatabaseCore::CreateCollection(const std::string& name, const CollectionOptions& options) {
  FORESHORE_RETURN_IF_ERROR(RefuseIfClosed());
  if (name != kModelsCollection) FORESHORE_RETURN_IF_ERROR(ValidateCollectionName(name));
  FORESHORE_RETURN_IF_ERROR(ValidateCollectionOptions(name, options));
  const std::lock_guard lock(catalog_change_mutex_);
  if (catalog()->Find(name) != nullptr) return Status::AlreadyExists("collection \"" + name + "\" exists");
  CollectionDefinition collection;
  FORESHORE_ASSIGN_OR_RETURN(collection.id, TakeCatalogId());
  collection.name = name;
  collection.options = options;
  if (collection.is_readings()) {
    collection.fields.push_back(options.time_field);
    if (!options.series_field.empty()) collection.fields.push_back(options.series_field);
  }
  FORESHORE_RETURN_IF_ERROR(OpenKeyspaces(collection));
  FORESHORE_ASSIGN_OR_RETURN(const auto view, BeginWrite());
  auto next = std::make_shared<Catalog>(*catalog());
  ++next->version;
  FORESHORE_RETURN_IF_ERROR(
      view->write_txn_->Put(catalog_rows_, Bytes("c" + std::to_string(collection.id)), EncodeCollection(collection)));
  view->changes_.push_back(CatalogChange(collection.id));
  next->collections.push_back(std::move(collection));
  view->changed_catalog_ = std::move(next);
  return view->Commit();
}

Status DatabaseCore::CreateVectorIndex(const std::string& collection, const VectorFieldOptions& options) {
  return CreateVectorIndex(collection, options, {});
}

Status DatabaseCore::CreateVectorIndex(const std::string& collection_name, const VectorFieldOptions& options,
                                       const GraphMaker& make_graph) {
  FORESHORE_RETURN_IF_ERROR(RefuseIfClosed());
  const std::lock_guard lock(catalog_change_mutex_);
  VectorIndexDefinition index;
  index.options = options;
  {
    const auto present = catalog();
    FORESHORE_ASSIGN_OR_RETURN(const CollectionDefinition* collection, present->Require(collection_name));
    FORESHORE_RETURN_IF_ERROR(RefuseBadField(*collection, options));
    index.collection_id = collection->id;
    index.name = collection->name + "." + options.field;
    index.documents = collection->documents;
    index.has_rows = index.has_model();
  }
  if (index.has_model()) {
    FORESHORE_ASSIGN_OR_RETURN(ModelInfo model, models_->Get(options.model));
    FORESHORE_ASSIGN_OR_RETURN(index.pin, models_->PinNow(options.model, options.adapter));
    // Fields of one model go over to another version together.
    if (const VectorIndexDefinition* other = catalog()->FindByModel(options.model, options.adapter)) {
      index.pin = other->pin;
      model.dimension = other->options.dimension;
    }
    if (options.dimension != 0 && options.dimension != model.dimension) {
      return Status::InvalidArgument("vector index \"" + index.name + "\": " + std::to_string(options.dimension) +
                                     " dimensions asked for, model \"" + model.name + "\" has " +
                                     std::to_string(model.dimension));
    }
    index.options.dimension = model.dimension;
  }
  if (index.options.dimension < kVectorDimensionMin || index.options.dimension > kVectorDimensionMax) {
    return Status::InvalidArgument("vector index \"" + index.name + "\": dimension " +
                                   std::to_string(index.options.dimension) + ", expected 2 to 4096");
  }
  for (const std::string& path : options.source_paths) {
    FORESHORE_ASSIGN_OR_RETURN(std::string parsed, ParsePath(path));
    index.paths.push_back(std::move(parsed));
  }
  if (index.paths.empty()) index.paths.push_back(options.field);
  FORESHORE_ASSIGN_OR_RETURN(index.id, TakeCatalogId());
  FORESHORE_ASSIGN_OR_RETURN(index.vectors,
                             store_->OpenKeyspace("v" + std::to_string(index.id), KeyspaceKind::kInteger));

  FORESHORE_ASSIGN_OR_RETURN(const auto view, BeginWrite(std::chrono::minutes(1)));
  view->ShowExpired();
  index.created_sequence = view->sequence();
  FORESHORE_RETURN_IF_ERROR(StartFollowing(*view, index));
  std::unordered_map<std::string, std::int64_t> docids;
  if (!index.has_model()) {
    const CollectionDefinition& collection = *view->catalog().FindById(index.collection_id);
    // They have no rows of their own: nothing is written to the store while the cursor stands.
    FORESHORE_ASSIGN_OR_RETURN(const auto cursor, view->Scan(collection));
    while (true) {
      FORESHORE_ASSIGN_OR_RETURN(const bool more, cursor->Next());
      if (!more) break;
      const std::string_view token = FindValue(cursor->body(), index.paths[0]);
      if (token.empty() || token == "null") continue;
      const auto stored = EncodeOwnVectors(token, index);
      if (!stored.ok()) return stored.status().WithContext("document \"" + std::string(cursor->id()) + "\"");
      FORESHORE_RETURN_IF_ERROR(view->PutVector(index, cursor->docid(), *stored));
      if (make_graph) docids.emplace(cursor->id(), cursor->docid());
    }
  }
  // The graph is there, empty or with what it will be given, before the commit that fills it.
  std::shared_ptr<DerivedVectorIndex> derived;
  if (make_graph) {
    const VectorIndexConfig config =
        DerivedVectorIndex::ConfigOf(index, SnapshotPath(index.id), options_.vector_memory_bytes);
    FORESHORE_ASSIGN_OR_RETURN(auto graph, make_graph(config, docids, view->sequence()));
    graph->SetAppliedSeq(static_cast<std::uint64_t>(view->sequence()));
    derived = DerivedVectorIndex::Adopt(index, SnapshotPath(index.id), options_.vector_memory_bytes, std::move(graph));
  } else {
    FORESHORE_ASSIGN_OR_RETURN(
        derived, DerivedVectorIndex::Open(index, *store_, *log_, SnapshotPath(index.id), options_.vector_memory_bytes));
  }
  {
    const std::lock_guard catalog_lock(catalog_mutex_);
    derived_[index.id] = derived;
  }
  auto next = std::make_shared<Catalog>(*catalog());
  ++next->version;
  for (CollectionDefinition& collection : next->collections) {
    if (collection.id == index.collection_id) collection.vector_indexes.push_back(index);
  }
  view->changes_.push_back(CatalogChange(index.collection_id, index.id));
  view->changed_catalog_ = std::move(next);
  const Status committed = view->Commit();
  if (!committed.ok()) {
    const std::lock_guard catalog_lock(catalog_mutex_);
    derived_.erase(index.id);
  }
  return committed;
}

Status DatabaseCore::DropVectorIndex(const std::string& collection_name, const std::string& field) {
  FORESHORE_RETURN_IF_ERROR(RefuseIfClosed());
  const std::lock_guard lock(catalog_change_mutex_);
  std::vector<VectorIndexDefinition> dropped;
  {
    FORESHORE_ASSIGN_OR_RETURN(const auto view, BeginWrite());
    FORESHORE_ASSIGN_OR_RETURN(const CollectionDefinition* collection, view->catalog().Require(collection_name));
    const VectorIndexDefinition* index = collection->FindVectorIndex(field);
    if (index == nullptr) {
      return Status::NotFound("vector index \"" + collection_name + "." + field + "\" does not exist");
    }
    dropped.push_back(*index);
    if (const VectorIndexDefinition* made = collection->FindNextOf(index->id)) dropped.push_back(*made);
    auto next = std::make_shared<Catalog>(view->catalog());
    ++next->version;
    for (CollectionDefinition& each : next->collections) {
      std::erase_if(each.vector_indexes, [&](const auto& candidate) { return candidate.id == dropped[0].id; });
      std::erase_if(each.next_vector_indexes, [&](const auto& made) { return made.replaces == dropped[0].id; });
    }
    view->changed_catalog_ = std::move(next);
    FORESHORE_RETURN_IF_ERROR(CommitRetiring(*view, dropped));
  }
  return ReleaseRetired();
}

Status DatabaseCore::RebuildVectorIndex(std::uint32_t index_id) {
  FORESHORE_RETURN_IF_ERROR(RefuseIfClosed());
  const auto broken = FindDerived(index_id);
  if (!broken) return Status::NotFound("vector index " + std::to_string(index_id) + " does not exist");
  FORESHORE_ASSIGN_OR_RETURN(const auto rebuilt, DerivedVectorIndex::Rebuild(*broken, *store_, *log_));
  FORESHORE_ASSIGN_OR_RETURN(const auto view, BeginWrite());  // Nobody commits from here on.
  FORESHORE_RETURN_IF_ERROR(rebuilt->CatchUpWith(*store_, *log_));
  const std::lock_guard catalog_lock(catalog_mutex_);
  const auto found = derived_.find(index_id);
  if (found != derived_.end() && found->second == broken) found->second = rebuilt;
  return Status::Ok();
}

namespace {

void AppendRecallAndRepair(const DerivedVectorIndex& index, std::int64_t now_unix_ms, IndexInfo& info) {
  const RecallSample sample = index.recall_sample();
  info.estimated_recall = index.estimated_recall();
  info.sampled_recall = sample.recall;
  info.sampled_ef = sample.ef;
  info.sample_count = sample.query_count;
  info.sample_kind = sample.ef == 0 ? "" : sample.is_of_recent_queries ? "recent queries" : "stored vectors";
  info.sample_age_ms = sample.ef == 0 ? 0 : std::max<std::int64_t>(0, now_unix_ms - sample.taken_unix_ms);
  const VectorRepair repair = index.graph().repair();
  info.garbage_count = index.graph().garbage_count();
  info.repair_done_count = repair.done_count;
  info.repair_total_count = repair.total_count;
  info.repair_slice_count = repair.slice_count;
  info.repair_slice_us_max = repair.slice_us_max;
  info.repair_reclaimed_count = repair.reclaimed_count;
}

}  // namespace

Result<std::vector<IndexInfo>> DatabaseCore::ListIndexes() {
  FORESHORE_ASSIGN_OR_RETURN(const auto view, BeginRead());
  std::vector<IndexInfo> infos;
  for (const CollectionDefinition& collection : view->catalog().collections) {
    for (const VectorIndexDefinition& index : collection.vector_indexes) {
      const auto derived = FindDerived(index.id);
      if (!derived) continue;
      IndexInfo info;
      info.name = index.name;
      info.collection = collection.name;
      info.options = index.options;
      info.vector_count = derived->graph().entry_count();
      info.memory_bytes = derived->graph().memory_bytes();
      info.mapped_bytes = derived->graph().mapped_bytes();
      info.strategy = NearestStrategy(index, 10);
      info.opened_from = derived->opened_from();
      const VectorTuning tuning = derived->tuning();
      info.ef = tuning.ef;
      info.recall = tuning.recall;
      AppendRecallAndRepair(*derived, clock_->NowUnixMs(), info);
      if (index.has_model()) FORESHORE_RETURN_IF_ERROR(AppendModelState(*view, collection, index, info));
      infos.push_back(std::move(info));
    }
    FORESHORE_RETURN_IF_ERROR(AppendFieldIndexInfos(*view, collection, infos));
    FORESHORE_RETURN_IF_ERROR(AppendPredictiveIndexInfos(*view, collection, infos));
  }
  return infos;
}

Status DatabaseCore::AppendModelState(ReadView& view, const CollectionDefinition& collection,
                                      const VectorIndexDefinition& index, IndexInfo& info) {
  FORESHORE_ASSIGN_OR_RETURN(info.pending_count, embedder_->PendingCount(view, collection, index));
  info.model_version = index.pin.version;
  info.adapter_version = index.pin.adapter_version;
  const auto now = models_->PinNow(index.options.model, index.options.adapter);
  if (!now.ok() || *now == index.pin) return Status::Ok();  // What is wrong with the model, the worker says.
  info.next_model_version = now->version;
  info.next_adapter_version = now->adapter_version;
  const VectorIndexDefinition* made = collection.FindNextOf(index.id);
  if (made == nullptr || made->pin != *now) {
    ++info.pending_count;  // To begin with it.
    return Status::Ok();
  }
  info.next_vector_count = VectorCount(*made);
  FORESHORE_ASSIGN_OR_RETURN(const std::uint64_t pending, embedder_->PendingCount(view, collection, *made));
  info.pending_count += pending + 1;  // The change-over itself, too.
  return Status::Ok();
}

std::string DatabaseCore::NearestStrategy(const VectorIndexDefinition& index, std::size_t k_hint,
                                          std::optional<std::size_t> among_count) {
  const auto derived = FindDerived(index.id);
  if (!derived) return "no index";
  return derived->DescribeSearch(k_hint, clock_->NowUnixMs(), among_count);
}

std::uint64_t DatabaseCore::VectorCount(const VectorIndexDefinition& index) {
  const auto derived = FindDerived(index.id);
  return derived ? derived->graph().entry_count() : 0;
}

}  // namespace foreshore
