// Secondary indexes: making, dropping, waiting for, listing.
#include <algorithm>

#include "engine/database/core.h"
#include "engine/database/field_index_builder.h"
#include "engine/database/field_statistics.h"
#include "engine/database/predictive_worker.h"
#include "engine/database/unique_conflicts.h"
#include "storage/base/coding.h"
#include "storage/base/log.h"

namespace foreshore {
namespace {

constexpr std::size_t kFieldIndexCountMax = 64;  // Of one collection.

std::string RowOf(std::uint32_t index_id) {
  return "f" + std::to_string(index_id);
}

std::string KeyspaceOf(std::uint32_t index_id) {
  return "f" + std::to_string(index_id);
}

Status RefuseClash(const CollectionDefinition& collection, const FieldIndexDefinition& index) {
  if (collection.name.starts_with('_')) {
    return Status::Unsupported("index \"" + index.name + "\": the collection belongs to the library");
  }
  if (collection.field_indexes.size() >= kFieldIndexCountMax) {
    return Status::Limit("index \"" + index.name + "\": the collection has " +
                         std::to_string(collection.field_indexes.size()) + " indexes, expected at most " +
                         std::to_string(kFieldIndexCountMax));
  }
  return collection.HasIndex(index.name) ? Status::AlreadyExists("index \"" + index.name + "\" exists") : Status::Ok();
}

}  // namespace

Status DatabaseCore::ChangeCatalog(WriteView& view, std::shared_ptr<Catalog> next, const std::string& row,
                                   Bytes content) {
  view.wrote_ = true;
  view.changed_catalog_ = std::move(next);
  return view.Fail(content.empty() ? view.write_txn_->Delete(catalog_rows_, Bytes(row))
                                   : view.write_txn_->Put(catalog_rows_, Bytes(row), content));
}

Result<std::optional<ByteString>> DatabaseCore::ReadSettingIn(ReadView& view, const std::string& key) {
  FORESHORE_ASSIGN_OR_RETURN(const auto value, view.txn().Get(settings_, Bytes(key)));
  return value ? std::optional<ByteString>(*value) : std::nullopt;
}

Status DatabaseCore::CreateFieldIndex(const std::string& collection_name, const FieldIndexOptions& options) {
  FORESHORE_RETURN_IF_ERROR(RefuseIfClosed());
  const std::lock_guard lock(catalog_change_mutex_);
  FieldIndexDefinition index;
  {
    const auto present = catalog();
    FORESHORE_ASSIGN_OR_RETURN(const CollectionDefinition* collection, present->Require(collection_name));
    FORESHORE_ASSIGN_OR_RETURN(index, DefineFieldIndex(collection->name, options));
    if (collection->is_readings()) {
      return Status::Unsupported("index \"" + index.name + "\": a collection of readings takes no index");
    }
    FORESHORE_RETURN_IF_ERROR(RefuseClash(*collection, index));
    index.collection_id = collection->id;
  }
  FORESHORE_ASSIGN_OR_RETURN(index.id, TakeCatalogId());
  FORESHORE_ASSIGN_OR_RETURN(index.entries, store_->OpenKeyspace(KeyspaceOf(index.id), KeyspaceKind::kBytes));
  {
    FORESHORE_ASSIGN_OR_RETURN(const auto view, BeginWrite(std::chrono::minutes(1)));
    auto next = std::make_shared<Catalog>(view->catalog());
    ++next->version;
    for (CollectionDefinition& collection : next->collections) {
      if (collection.id != index.collection_id) continue;
      collection.field_indexes.push_back(index);
      collection.ArrangeFieldIndexes();
    }
    ByteString from_the_start;
    AppendFixed(from_the_start, std::int64_t{INT64_MIN});
    FORESHORE_RETURN_IF_ERROR(view->PutSetting(FieldIndexBuilder::FillSetting(index.id), from_the_start));
    FORESHORE_RETURN_IF_ERROR(ChangeCatalog(*view, std::move(next), RowOf(index.id), EncodeFieldIndex(index)));
    view->changes_.push_back(CatalogChange(index.collection_id, index.id));
    FORESHORE_RETURN_IF_ERROR(view->Commit());
  }
  while (true) {
    const Result<bool> more = field_builder_->StepIndex(index.id, index.options.unique);
    if (!more.ok()) {
      if (index.options.unique) RemoveFieldIndex(index).IgnoreError();  // What failed first is what the caller sees.
      return more.status();
    }
    if (!*more) return Status::Ok();
    if (!index.options.unique) break;
  }
  WakeFieldIndexBuilder();
  return Status::Ok();
}

Status DatabaseCore::RemoveFieldIndex(const FieldIndexDefinition& index) {
  {
    FORESHORE_ASSIGN_OR_RETURN(const auto view, BeginWrite(std::chrono::minutes(1)));
    auto next = std::make_shared<Catalog>(view->catalog());
    ++next->version;
    for (CollectionDefinition& each : next->collections) {
      if (std::erase_if(each.field_indexes, [&](const auto& candidate) { return candidate.id == index.id; }) > 0) {
        each.ArrangeFieldIndexes();
      }
    }
    FORESHORE_RETURN_IF_ERROR(view->DropSetting(FieldIndexBuilder::FillSetting(index.id)));
    FORESHORE_RETURN_IF_ERROR(view->DropSetting(FieldStatisticsCache::Setting(index.id)));
    FORESHORE_RETURN_IF_ERROR(ChangeCatalog(*view, std::move(next), RowOf(index.id), {}));
    FORESHORE_RETURN_IF_ERROR(view->Fail(ForgetUniqueConflictsOf(*view->write_txn_, conflicts_, index.id)));
    view->changes_.push_back(CatalogChange(index.collection_id, index.id));
    FORESHORE_RETURN_IF_ERROR(view->Commit());
  }
  field_statistics_->Forget(index.id);
  return store_->DropKeyspace(KeyspaceOf(index.id));
}

Status DatabaseCore::DropFieldIndex(const std::string& collection_name, const std::string& name) {
  FORESHORE_RETURN_IF_ERROR(RefuseIfClosed());
  const std::lock_guard lock(catalog_change_mutex_);
  const auto present = catalog();
  FORESHORE_ASSIGN_OR_RETURN(const CollectionDefinition* collection, present->Require(collection_name));
  for (const FieldIndexDefinition& index : collection->field_indexes) {
    if (index.options.name == name) return RemoveFieldIndex(index);
  }
  return Status::NotFound("index \"" + collection->name + "." + name + "\" does not exist");
}

Status DatabaseCore::WaitIndexed(std::chrono::milliseconds timeout,
                                 const std::function<void(std::uint64_t)>& progress) {
  FORESHORE_RETURN_IF_ERROR(RefuseInsideRuntime("waiting for indexes"));
  const std::int64_t deadline_us = clock_->NowMonotonicUs() + timeout.count() * 1000;
  std::int64_t reported_us = 0;
  while (true) {
    FORESHORE_RETURN_IF_ERROR(RefuseIfClosed());
    if (const std::int64_t now_us = clock_->NowMonotonicUs(); progress && now_us - reported_us > 200'000) {
      FORESHORE_ASSIGN_OR_RETURN(const auto view, BeginRead());
      FORESHORE_ASSIGN_OR_RETURN(std::uint64_t pending, field_builder_->PendingCount(*view));
      for (const CollectionDefinition& collection : view->catalog().collections) {
        for (const PredictiveIndexDefinition& index : collection.predictive_indexes) {
          FORESHORE_ASSIGN_OR_RETURN(const std::uint64_t count, predictive_->GuessPending(*view, collection, index));
          pending += count;
        }
      }
      progress(pending);
      reported_us = now_us;
    }
    FORESHORE_ASSIGN_OR_RETURN(bool worked, field_builder_->Step());
    if (!worked) {
      FORESHORE_ASSIGN_OR_RETURN(worked, predictive_->Step());
    }
    if (!worked) break;
    if (clock_->NowMonotonicUs() > deadline_us) {
      return Status::Busy("database \"" + path() + "\": indexes are still being built after " +
                          std::to_string(timeout.count()) + " ms");
    }
  }
  if (progress) progress(0);
  return Status::Ok();
}

Status DatabaseCore::OpenFieldIndexes(CollectionDefinition& collection) {
  for (FieldIndexDefinition& index : collection.field_indexes) {
    FORESHORE_ASSIGN_OR_RETURN(index.entries, store_->OpenKeyspace(KeyspaceOf(index.id), KeyspaceKind::kBytes));
  }
  collection.ArrangeFieldIndexes();
  return Status::Ok();
}

void DatabaseCore::GoOnBuilding() {
  field_statistics_ = std::make_unique<FieldStatisticsCache>(*this);
  field_builder_ = std::make_unique<FieldIndexBuilder>(*this);
  if (!options_.index_in_background) return;
  for (const CollectionDefinition& collection : catalog()->collections) {
    for (const FieldIndexDefinition& index : collection.field_indexes) {
      if (!index.is_ready) return field_builder_->Start();
    }
  }
}

void DatabaseCore::WakeFieldIndexBuilder() {
  if (options_.index_in_background && field_builder_) field_builder_->Start();
}

Result<std::vector<UniqueConflict>> DatabaseCore::ListUniqueConflicts(const std::string& collection_name) {
  FORESHORE_ASSIGN_OR_RETURN(const auto view, BeginRead());
  if (!collection_name.empty()) FORESHORE_RETURN_IF_ERROR(view->catalog().Require(collection_name).status());
  std::vector<UniqueConflict> found;
  for (const CollectionDefinition& collection : view->catalog().collections) {
    if (!collection_name.empty() && view->catalog().Find(collection_name) != &collection) continue;
    for (const FieldIndexDefinition& index : collection.field_indexes) {
      if (index.options.unique) FORESHORE_RETURN_IF_ERROR(CollectConflicts(*view, collection, index, found));
    }
  }
  return found;
}

// The ones that stand: where one of the two documents went or left the value, none is left.
Status DatabaseCore::CollectConflicts(ReadView& view, const CollectionDefinition& collection,
                                      const FieldIndexDefinition& index, std::vector<UniqueConflict>& found) {
  std::vector<std::pair<std::int64_t, std::int64_t>> pairs;
  FORESHORE_RETURN_IF_ERROR(
      VisitUniqueConflicts(view.txn(), conflicts_, index.id,
                           [&](std::int64_t docid, std::int64_t other) { pairs.emplace_back(docid, other); }));
  const auto number = static_cast<std::size_t>(&index - collection.field_indexes.data());
  for (const auto& [docid, other] : pairs) {
    FieldTokens tokens[2];
    std::string ids[2];
    std::string bodies[2];
    for (int side = 0; side < 2; ++side) {
      FORESHORE_ASSIGN_OR_RETURN(const auto record, view.GetByDocid(collection, side == 0 ? docid : other));
      if (!record) break;
      ids[side] = record->id;
      bodies[side] = record->body;
      collection.indexed_paths->Find(bodies[side], tokens[side]);
    }
    if (ids[0].empty() || ids[1].empty()) continue;
    EntryList entries[2];
    for (int side = 0; side < 2; ++side) {
      entries[side].AddDocument(index, *collection.indexed_paths, number, tokens[side], 0, false);
    }
    if (entries[0].empty() || entries[1].empty()) continue;
    if (entries[0].key(entries[0].entries()[0]) != entries[1].key(entries[1].entries()[0])) continue;
    found.push_back({index.name, ids[0], ids[1]});
  }
  return Status::Ok();
}

Status DatabaseCore::AppendFieldIndexInfos(ReadView& view, const CollectionDefinition& collection,
                                           std::vector<IndexInfo>& infos) {
  for (const FieldIndexDefinition& index : collection.field_indexes) {
    IndexInfo info;
    info.name = index.name;
    info.collection = collection.name;
    info.kind = IndexKind::kField;
    info.fields = index.options;
    info.is_ready = index.is_ready;
    const auto statistics = index.is_ready ? field_statistics_->Of(index) : nullptr;
    if (statistics) info.entry_count = statistics->entry_count;
    if (index.options.unique) {
      std::vector<UniqueConflict> conflicts;
      FORESHORE_RETURN_IF_ERROR(CollectConflicts(view, collection, index, conflicts));
      info.conflict_count = conflicts.size();
    }
    infos.push_back(std::move(info));
  }
  return Status::Ok();
}

}  // namespace foreshore
