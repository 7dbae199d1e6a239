// Predictive indexes: making, dropping, another version of the model, listing.
#include <algorithm>
#include <array>

#include "engine/database/core.h"
#include "engine/database/field_key.h"
#include "engine/database/field_statistics.h"
#include "engine/database/predicted_rows.h"
#include "engine/database/predictive_worker.h"
#include "engine/model/model_registry.h"
#include "storage/base/log.h"

namespace foreshore {
namespace {

constexpr std::size_t kPredictiveIndexCountMax = 16;  // Of one collection.
constexpr std::int64_t kFirstDocid = 1;

std::string RowOf(std::uint32_t index_id) {
  return "p" + std::to_string(index_id);
}

Status RefuseClash(const CollectionDefinition& collection, const PredictiveIndexDefinition& index) {
  const std::string where = "index \"" + index.name + "\"";
  if (collection.name.starts_with('_')) return Status::Unsupported(where + ": the collection belongs to the library");
  if (collection.is_readings()) return Status::Unsupported(where + ": a collection of readings takes no index");
  if (collection.HasIndex(index.name)) return Status::AlreadyExists(where + " exists");
  for (const PredictiveIndexDefinition& each : collection.predictive_indexes) {
    if (each.column == index.column) {
      return Status::AlreadyExists(where + ": index \"" + each.name + "\" is of " + each.column + " already");
    }
  }
  if (collection.predictive_indexes.size() >= kPredictiveIndexCountMax) {
    return Status::Limit(where + ": the collection has " + std::to_string(collection.predictive_indexes.size()) +
                         " predictive indexes, expected at most " + std::to_string(kPredictiveIndexCountMax));
  }
  return Status::Ok();
}

}  // namespace

std::array<std::string, 3> DatabaseCore::PredictionKeyspaces(std::uint32_t storage) {
  const std::string number = std::to_string(storage);
  return {"q" + number, "p" + number, "w" + number};
}

Status DatabaseCore::OpenPredictions(PredictiveIndexDefinition& index) {
  const auto names = PredictionKeyspaces(index.storage);
  FORESHORE_ASSIGN_OR_RETURN(index.field.entries, store_->OpenKeyspace(names[0], KeyspaceKind::kBytes));
  FORESHORE_ASSIGN_OR_RETURN(index.values, store_->OpenKeyspace(names[1], KeyspaceKind::kInteger));
  FORESHORE_ASSIGN_OR_RETURN(index.pending, store_->OpenKeyspace(names[2], KeyspaceKind::kInteger));
  return Status::Ok();
}

Status DatabaseCore::CreatePredictiveIndex(const std::string& collection_name, const PredictiveIndexOptions& options) {
  FORESHORE_RETURN_IF_ERROR(RefuseIfClosed());
  PredictiveIndexDefinition index;
  {
    const std::lock_guard lock(catalog_change_mutex_);
    {
      const auto present = catalog();
      FORESHORE_ASSIGN_OR_RETURN(const CollectionDefinition* collection, present->Require(collection_name));
      FORESHORE_ASSIGN_OR_RETURN(index, DefinePredictiveIndex(collection->name, options));
      FORESHORE_RETURN_IF_ERROR(RefuseClash(*collection, index));
      index.collection_id = index.field.collection_id = collection->id;
    }
    FORESHORE_ASSIGN_OR_RETURN(index.pin, models_->PinNow(options.model, options.adapter));
    FORESHORE_ASSIGN_OR_RETURN(index.id, TakeCatalogId());
    index.field.id = index.storage = index.id;
    FORESHORE_RETURN_IF_ERROR(OpenPredictions(index));
    FORESHORE_ASSIGN_OR_RETURN(const auto view, BeginWrite(std::chrono::minutes(1)));
    auto next = std::make_shared<Catalog>(view->catalog());
    ++next->version;
    next->FindById(index.collection_id)->predictive_indexes.push_back(index);
    FORESHORE_RETURN_IF_ERROR(view->PutPredictionFill(index, kFirstDocid));
    FORESHORE_RETURN_IF_ERROR(ChangeCatalog(*view, std::move(next), RowOf(index.id), EncodePredictiveIndex(index)));
    view->changes_.push_back(CatalogChange(index.collection_id, index.id));
    FORESHORE_RETURN_IF_ERROR(view->Commit());
  }
  return Status::Ok();
}

Status DatabaseCore::DropPredictiveIndex(const std::string& collection_name, const std::string& name) {
  FORESHORE_RETURN_IF_ERROR(RefuseIfClosed());
  const std::lock_guard lock(catalog_change_mutex_);
  PredictiveIndexDefinition dropped;
  std::int64_t sequence = 0;
  {
    FORESHORE_ASSIGN_OR_RETURN(const auto view, BeginWrite(std::chrono::minutes(1)));
    auto next = std::make_shared<Catalog>(view->catalog());
    ++next->version;
    FORESHORE_ASSIGN_OR_RETURN(const CollectionDefinition* present, next->Require(collection_name));
    auto& indexes = next->FindById(present->id)->predictive_indexes;
    const auto found =
        std::find_if(indexes.begin(), indexes.end(), [&](const auto& each) { return each.options.name == name; });
    if (found == indexes.end()) {
      return Status::NotFound("index \"" + present->name + "." + name + "\" does not exist");
    }
    dropped = *found;
    indexes.erase(found);
    FORESHORE_RETURN_IF_ERROR(view->DropSetting(FieldStatisticsCache::Setting(dropped.id)));
    FORESHORE_RETURN_IF_ERROR(ChangeCatalog(*view, std::move(next), RowOf(dropped.id), {}));
    view->changes_.push_back(CatalogChange(dropped.collection_id, dropped.id));
    FORESHORE_RETURN_IF_ERROR(view->Commit());
    sequence = view->committed_sequence();
  }
  field_statistics_->Forget(dropped.id);
  predictive_->Retire(dropped.storage, sequence);
  return predictive_->ReleaseRetired();
}

Status DatabaseCore::BeginPredictions(const PredictiveIndexDefinition& index, const ModelPin& pin) {
  const std::lock_guard lock(catalog_change_mutex_);  // Held by whoever changes these indexes: what is seen here stays.
  const auto seen = catalog();
  const CollectionDefinition* present = seen->FindById(index.collection_id);
  const PredictiveIndexDefinition* now = present != nullptr ? present->FindPredictiveIndex(index.id) : nullptr;
  if (now == nullptr || now->storage != index.storage) return Status::Ok();
  PredictiveIndexDefinition made = index;
  made.pin = pin;
  FORESHORE_ASSIGN_OR_RETURN(made.storage, TakeCatalogId());
  FORESHORE_RETURN_IF_ERROR(OpenPredictions(made));
  std::int64_t sequence = 0;
  {
    FORESHORE_ASSIGN_OR_RETURN(const auto view, BeginWrite(std::chrono::minutes(10), "the predictive worker"));
    auto next = std::make_shared<Catalog>(view->catalog());
    ++next->version;
    auto& indexes = next->FindById(index.collection_id)->predictive_indexes;
    *std::find_if(indexes.begin(), indexes.end(), [&](const auto& each) { return each.id == index.id; }) = made;
    FORESHORE_RETURN_IF_ERROR(view->PutPredictionFill(made, kFirstDocid));
    FORESHORE_RETURN_IF_ERROR(view->DropSetting(FieldStatisticsCache::Setting(made.id)));
    FORESHORE_RETURN_IF_ERROR(ChangeCatalog(*view, std::move(next), RowOf(made.id), EncodePredictiveIndex(made)));
    view->changes_.push_back(CatalogChange(made.collection_id, made.id));
    FORESHORE_RETURN_IF_ERROR(view->Commit());
    sequence = view->committed_sequence();
  }
  field_statistics_->Forget(made.id);
  predictive_->Retire(index.storage, sequence);
  Log(LogLevel::kInfo, "predict", "index \"" + index.name + "\": the model changed, its values are made anew");
  return Status::Ok();
}

// Of what is in the index, how many documents failed, and why one of them did.
Status DatabaseCore::AppendPredictiveIndexInfos(ReadView& view, const CollectionDefinition& collection,
                                                std::vector<IndexInfo>& infos) {
  for (const PredictiveIndexDefinition& index : collection.predictive_indexes) {
    IndexInfo info;
    info.name = index.name;
    info.collection = collection.name;
    info.kind = IndexKind::kPredictive;
    info.predictive = index.options;
    info.model_version = index.pin.version;
    info.adapter_version = index.pin.adapter_version;
    FORESHORE_ASSIGN_OR_RETURN(info.pending_count, predictive_->PendingCount(view, collection, index));
    info.is_ready = info.pending_count == 0;
    FORESHORE_RETURN_IF_ERROR(VisitAwaitedPredictions(view, index, [&](std::int64_t, const BlobId&) {
      ++info.awaited_count;
      return true;
    }));
    if (const auto statistics = field_statistics_->Of(index.field)) info.entry_count = statistics->entry_count;
    std::int64_t failed_docid = 0;
    {
      FORESHORE_ASSIGN_OR_RETURN(const auto cursor, view.ScanFieldIndex(index.field));
      for (Status status = cursor->Seek(Bytes(&kNullTag, 1));; status = cursor->Next()) {
        FORESHORE_RETURN_IF_ERROR(status);
        if (!cursor->valid() || cursor->bytes_key().front() != kNullTag) break;
        if (cursor->value().empty() || cursor->value().front() != static_cast<char>(FieldMark::kFailed)) continue;
        if (info.failed_count++ == 0) failed_docid = DocidOfKey(cursor->bytes_key());
      }
    }
    if (failed_docid > 0) {
      FORESHORE_ASSIGN_OR_RETURN(const auto bytes, view.txn().Get(index.values, failed_docid));
      if (bytes) {
        FORESHORE_ASSIGN_OR_RETURN(const PredictedValue value, PredictedValue::Decode(*bytes));
        info.failure = value.text;
      }
      FORESHORE_ASSIGN_OR_RETURN(const auto document, view.GetByDocid(collection, failed_docid));
      if (document) info.failure = "document \"" + std::string(document->id) + "\": " + info.failure;
    }
    infos.push_back(std::move(info));
  }
  return Status::Ok();
}

Result<std::uint64_t> DatabaseCore::VerifyPredictiveIndex(ReadView& view, const CollectionDefinition& collection,
                                                          const PredictiveIndexDefinition& index,
                                                          const std::function<void(std::string)>& problem) {
  const std::string where = "index \"" + index.name + "\": ";
  std::uint64_t value_count = 0;
  std::vector<std::int64_t> docids;
  FORESHORE_ASSIGN_OR_RETURN(const auto values, view.txn().NewCursor(index.values));
  for (Status status = values->SeekFirst();; status = values->Next()) {
    FORESHORE_RETURN_IF_ERROR(status);
    if (!values->valid()) break;
    ++value_count;
    const std::int64_t docid = values->integer_key();
    docids.push_back(docid);
    const auto value = PredictedValue::Decode(values->value());
    if (!value.ok()) {
      problem(where + "document " + std::to_string(docid) + ": " + value.status().message());
      continue;
    }
    ByteString marks;
    const ByteString key = value->Key(docid, marks);
    FORESHORE_ASSIGN_OR_RETURN(const auto entry, view.txn().Get(index.field.entries, Bytes(key)));
    if (!entry || *entry != marks) problem(where + "the value of document " + std::to_string(docid) + " has no entry");
  }
  std::uint64_t entry_count = 0;
  FORESHORE_ASSIGN_OR_RETURN(const auto entries, view.ScanFieldIndex(index.field));
  for (Status status = entries->SeekFirst();; status = entries->Next()) {
    FORESHORE_RETURN_IF_ERROR(status);
    if (!entries->valid()) break;
    ++entry_count;
  }
  if (entry_count != value_count) {
    problem(where + std::to_string(entry_count) + " entries for " + std::to_string(value_count) + " values");
  }
  for (const std::int64_t docid : docids) {
    FORESHORE_ASSIGN_OR_RETURN(const auto document, view.GetByDocid(collection, docid));
    if (!document) problem(where + "value of document " + std::to_string(docid) + ", which does not exist");
  }
  std::vector<std::int64_t> awaited_docids;
  FORESHORE_RETURN_IF_ERROR(VisitAwaitedPredictions(view, index, [&](std::int64_t docid, const BlobId&) {
    awaited_docids.push_back(docid);
    return true;
  }));
  for (const std::int64_t docid : awaited_docids) {
    FORESHORE_ASSIGN_OR_RETURN(const auto document, view.GetByDocid(collection, docid));
    FORESHORE_ASSIGN_OR_RETURN(const auto value, view.txn().Get(index.values, docid));
    if (!document)
      problem(where + "awaits the attachment of document " + std::to_string(docid) + ", which does not exist");
    if (value) problem(where + "document " + std::to_string(docid) + " has a value and awaits its attachment");
  }
  FORESHORE_ASSIGN_OR_RETURN(const std::int64_t fill, ReadPredictionFill(view, index));
  FORESHORE_ASSIGN_OR_RETURN(const auto documents, view.Scan(collection));
  while (true) {
    FORESHORE_ASSIGN_OR_RETURN(const bool more, documents->Next());
    if (!more || documents->docid() >= fill) break;
    const std::int64_t docid = documents->docid();
    FORESHORE_ASSIGN_OR_RETURN(const auto value, view.txn().Get(index.values, docid));
    if (value) continue;
    FORESHORE_ASSIGN_OR_RETURN(const auto pending, view.txn().Get(index.pending, docid));
    FORESHORE_ASSIGN_OR_RETURN(const auto awaited, view.txn().Get(index.pending, -docid));
    if (!pending && !awaited)
      problem(where + "document " + std::to_string(docid) + " has neither a value nor waits for one");
  }
  return entry_count;
}

}  // namespace foreshore
