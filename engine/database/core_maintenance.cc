// What keeps a database in order: waiting, statistics, verification, checkpoints, compaction, backup.
#include <algorithm>

#include "engine/database/core.h"
#include "engine/database/derived_consumer.h"
#include "engine/database/derived_vector_index.h"
#include "engine/database/embedding_worker.h"
#include "engine/database/full_text_indexes.h"
#include "engine/database/stored_vector.h"
#include "engine/document/json.h"
#include "engine/model/model_registry.h"
#include "index/quantizer.h"
#include "storage/base/coding.h"
#include "storage/base/file.h"
#include "storage/base/log.h"

namespace foreshore {
namespace {

constexpr std::int64_t kTrimEntryCount = 10'000;  // Per transaction, so that trimming never holds the lock for long.

}  // namespace

Status DatabaseCore::WaitEmbedded(std::chrono::milliseconds timeout,
                                  const std::function<void(std::uint64_t)>& progress) {
  FORESHORE_RETURN_IF_ERROR(RefuseInsideRuntime("waiting for vectors"));
  const std::int64_t deadline_us = clock_->NowMonotonicUs() + timeout.count() * 1000;
  std::int64_t reported_us = 0;
  while (true) {
    FORESHORE_RETURN_IF_ERROR(RefuseIfClosed());
    if (const std::int64_t now_us = clock_->NowMonotonicUs(); progress && now_us - reported_us > 200'000) {
      FORESHORE_ASSIGN_OR_RETURN(const auto view, BeginRead());
      std::uint64_t pending = 0;
      for (const CollectionDefinition& collection : view->catalog().collections) {
        for (const VectorIndexDefinition& index : collection.vector_indexes) {
          if (!index.has_model() || !FindDerived(index.id)) continue;
          IndexInfo info;
          FORESHORE_RETURN_IF_ERROR(AppendModelState(*view, collection, index, info));
          pending += info.pending_count;
        }
      }
      progress(pending);
      reported_us = now_us;
    }
    FORESHORE_ASSIGN_OR_RETURN(const bool worked, embedder_->Step());
    if (!worked) break;
    if (clock_->NowMonotonicUs() > deadline_us) {
      return Status::Busy("database \"" + path() + "\": embeddings are still pending after " +
                          std::to_string(timeout.count()) + " ms");
    }
  }
  if (progress) progress(0);
  return Status::Ok();
}

Result<std::vector<RescuedValue>> DatabaseCore::ListRescued(const std::string& collection_name) {
  FORESHORE_ASSIGN_OR_RETURN(const auto view, BeginRead());
  std::vector<RescuedValue> values;
  FORESHORE_RETURN_IF_ERROR(VisitRescued(view->txn(), rescue_, [&](const RescueEntry& entry) {
    const CollectionDefinition* collection = view->catalog().FindById(entry.collection_id);
    if (collection == nullptr) return Status::Ok();
    if (!collection_name.empty() && collection != view->catalog().Find(collection_name)) return Status::Ok();
    RescuedValue value;
    value.rescue_id = ToHex(RescueId(collection->name, entry.document_id, entry.lost.path, entry.lost.value.stamp));
    value.collection = collection->name;
    value.document_id = entry.document_id;
    value.path = PathForPeople(entry.lost.path);
    value.value = entry.lost.value.value;
    values.push_back(std::move(value));
    return Status::Ok();
  }));
  std::sort(values.begin(), values.end(), [](const auto& a, const auto& b) {
    return std::tie(a.collection, a.document_id, a.rescue_id) < std::tie(b.collection, b.document_id, b.rescue_id);
  });
  return values;
}

Result<DatabaseStats> DatabaseCore::Stats() {
  DatabaseStats stats;
  FORESHORE_ASSIGN_OR_RETURN(stats.indexes, ListIndexes());
  FORESHORE_ASSIGN_OR_RETURN(stats.text_indexes, ListTextIndexes());
  for (const IndexInfo& index : stats.indexes) {
    const bool is_predictive = index.kind == IndexKind::kPredictive;
    (is_predictive ? stats.pending_prediction_count : stats.pending_embedding_count) += index.pending_count;
    stats.failed_prediction_count += index.failed_count;
  }
  const StoreStats store_stats = store_->Stats();
  stats.storage = options_.storage == StorageKind::kSqlite ? "sqlite" : "rocksdb";
  stats.disk_bytes = store_stats.disk_bytes + store_stats.write_ahead_bytes + text_->SizeBytes();
  FORESHORE_ASSIGN_OR_RETURN(const auto view, BeginRead());
  stats.last_sequence = view->sequence();
  FORESHORE_ASSIGN_OR_RETURN(const std::int64_t tail, log_->Tail(view->txn()));
  stats.log_entry_count = view->sequence() - tail + 1;
  stats.rescued_count = static_cast<std::uint64_t>(rescued_count_.load());
  stats.replica = ToHex(AsBytes(replica_.data(), replica_.size()));
  stats.identity_forked = identity_forked_;
  FORESHORE_ASSIGN_OR_RETURN(const auto blobs, blobs_->List());
  stats.blob_count = blobs.size();
  for (const BlobId& blob : blobs) {
    FORESHORE_ASSIGN_OR_RETURN(const std::uint64_t size_bytes, blobs_->SizeBytes(blob));
    stats.blob_bytes += size_bytes;
  }
  for (const CollectionDefinition& collection : view->catalog().collections) {
    if (collection.name.starts_with('_')) continue;
    CollectionStats each;
    each.name = collection.name;
    if (collection.is_readings()) {
      FORESHORE_ASSIGN_OR_RETURN(each.document_count, CountReadings(view->txn(), collection));
      stats.collections.push_back(std::move(each));
      continue;
    }
    FORESHORE_ASSIGN_OR_RETURN(const auto cursor, view->Scan(collection));
    while (true) {
      FORESHORE_ASSIGN_OR_RETURN(const bool more, cursor->Next());
      if (!more) break;
      ++each.document_count;
    }
    stats.collections.push_back(std::move(each));
  }
  return stats;
}

Status DatabaseCore::SaveIndexes(bool is_closing) {
  Status first;
  std::map<std::string, std::int64_t> saved;
  const auto now = catalog();
  const bool has_text = std::any_of(now->collections.begin(), now->collections.end(),
                                    [](const CollectionDefinition& each) { return each.text_index.has_value(); });
  for (const auto& consumer : consumers()) {
    // The last full-text index took its cursor with it, and may still be there for a moment: back in the log the cursor
    // would stand still, and the log would grow for ever.
    if (consumer == text_ && !has_text) continue;
    const std::int64_t before = consumer->saved_sequence();
    const auto sequence = is_closing ? consumer->SaveForClose() : consumer->Save();
    if (!sequence.ok()) {
      if (first.ok()) first = sequence.status();
    } else if (*sequence != before) {
      saved[consumer->cursor_name()] = *sequence;
    }
  }
  std::map<std::uint32_t, ByteString> samples;
  std::map<std::uint32_t, ByteString> queries;
  for (const auto& [id, derived] : derived_by_id()) {
    if (auto sample = derived->TakeUnsavedSample()) samples[id] = std::move(*sample);
    if (auto recent = derived->recent_queries().TakeUnsaved(is_closing)) queries[id] = std::move(*recent);
  }
  if (saved.empty() && samples.empty() && queries.empty()) return first;
  FORESHORE_ASSIGN_OR_RETURN(const auto txn, store_->BeginWrite());
  for (const auto& [id, recent] : queries) FORESHORE_RETURN_IF_ERROR(txn->Put(queries_, id, recent));
  for (const auto& [id, sample] : samples) {
    FORESHORE_RETURN_IF_ERROR(txn->Put(settings_, Bytes(RecallSetting(id)), sample));
  }
  for (const auto& [name, sequence] : saved) {
    FORESHORE_RETURN_IF_ERROR(log_->SetCursor(*txn, name, sequence));
  }
  FORESHORE_RETURN_IF_ERROR(txn->Commit());
  return first;
}

Status DatabaseCore::TrimLog() {
  while (true) {
    FORESHORE_ASSIGN_OR_RETURN(const auto view, BeginWrite());
    // Until this database first syncs, the whole log is what a first push will send.
    FORESHORE_ASSIGN_OR_RETURN(const auto push, log_->GetCursor(view->txn(), "sync.push"));
    if (!push) FORESHORE_RETURN_IF_ERROR(log_->SetCursor(*view->write_txn_, "sync.push", 0));
    view->wrote_ = true;
    FORESHORE_ASSIGN_OR_RETURN(const std::int64_t count, log_->Trim(*view->write_txn_, kTrimEntryCount));
    FORESHORE_RETURN_IF_ERROR(view->Commit());
    if (count < kTrimEntryCount) return Status::Ok();
  }
}

Status DatabaseCore::Checkpoint() {
  FORESHORE_RETURN_IF_ERROR(RefuseIfClosed());
  {
    writer_gate_.Enter("a checkpoint");
    const WriterGatePass pass(writer_gate_);
    FORESHORE_RETURN_IF_ERROR(SaveIndexes());
  }
  FORESHORE_RETURN_IF_ERROR(ReleaseRetired());
  FORESHORE_RETURN_IF_ERROR(DropExpiredReadings());
  FORESHORE_RETURN_IF_ERROR(TrimLog());
  FORESHORE_RETURN_IF_ERROR(CollectBlobs(BlobSweep::kDead));
  return store_->Checkpoint();
}

Status DatabaseCore::Compact() {
  FORESHORE_RETURN_IF_ERROR(PurgeExpired().status());
  FORESHORE_RETURN_IF_ERROR(Checkpoint());
  for (const auto& [id, derived] : derived_by_id()) {
    if (derived->graph().garbage_count() > 0) FORESHORE_RETURN_IF_ERROR(derived->graph().Compact());
  }
  FORESHORE_RETURN_IF_ERROR(CollectBlobs(BlobSweep::kAll));
  return store_->Compact();
}

Status DatabaseCore::Backup(const std::string& destination) {
  FORESHORE_RETURN_IF_ERROR(RefuseIfClosed());
  if (FileExists(destination)) {
    return Status::AlreadyExists("backup \"" + destination + "\" exists, expected a path with nothing there");
  }
  FORESHORE_RETURN_IF_ERROR(Checkpoint());
  const Status done = [&]() -> Status {
    // Blobs after the store: what its copy refers to was complete before it was made, and blobs never change.
    FORESHORE_ASSIGN_OR_RETURN(const auto directory,
                               DatabaseDirectory::Open(destination, true, options_.storage, *random_));
    // FORMAT comes back last: a copy that was cut short is no database.
    const std::string format_path = destination + "/FORMAT";
    FORESHORE_ASSIGN_OR_RETURN(const ByteString format, ReadFile(format_path));
    FORESHORE_RETURN_IF_ERROR(RemoveFile(format_path));
    FORESHORE_RETURN_IF_ERROR(RemoveTree(directory->StorePath()));
    FORESHORE_RETURN_IF_ERROR(store_->Backup(directory->StorePath()));
    FORESHORE_ASSIGN_OR_RETURN(const auto copy, BlobStore::Open(directory->BlobsPath()));
    FORESHORE_ASSIGN_OR_RETURN(const auto blobs, blobs_->List());
    for (const BlobId& blob : blobs) {
      FORESHORE_ASSIGN_OR_RETURN(const BlobId copied, copy->PutFile(blobs_->PathOf(blob)));
      if (copied != blob) {
        return Status::Corruption("blob \"" + blobs_->PathOf(blob) + "\": content has hash " + ToHex(AsBytes(copied)));
      }
    }
    return WriteFileAtomic(format_path, format);
  }();
  if (!done.ok()) RemoveTree(destination).IgnoreError();
  return done;
}

}  // namespace foreshore
