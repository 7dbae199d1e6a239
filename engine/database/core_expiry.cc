// Expiry: naming the field, and purging what has expired for long enough.
#include <algorithm>

#include "engine/database/core.h"
#include "engine/database/expiry.h"
#include "storage/base/coding.h"

namespace foreshore {
namespace {

// Since when all of the purge's grace period has to pass: milliseconds since 1970, 8 bytes.
constexpr char kPurgeMarkSetting[] = "expiry.mark";
constexpr std::size_t kPurgeBatchCount = 1000;  // Documents per transaction, so that others can write in between.
constexpr std::int64_t kPurgeCheckUs = 60'000'000;

}  // namespace

Status DatabaseCore::SetExpiryField(const std::string& collection_name, const std::string& field) {
  FORESHORE_RETURN_IF_ERROR(RefuseIfClosed());
  if (field.size() > 64 || field == "id" || field == "body") {
    return Status::InvalidArgument("collection \"" + collection_name + "\": expiry field \"" + field.substr(0, 80) +
                                   "\", expected a top-level field of at most 64 bytes, not id or body");
  }
  const std::lock_guard lock(catalog_change_mutex_);
  CollectionDefinition changed;
  {
    const auto present = catalog();
    FORESHORE_ASSIGN_OR_RETURN(const CollectionDefinition* collection, present->Require(collection_name));
    if (collection->is_readings()) {
      return Status::Unsupported("collection \"" + collection_name +
                                 "\": a collection of readings takes no expiry field, it keeps readings for so long "
                                 "(retention_ms)");
    }
    if (collection->expiry_field == field) return Status::Ok();
    changed = *collection;
  }
  FORESHORE_ASSIGN_OR_RETURN(changed.expiries,
                             store_->OpenKeyspace("e" + std::to_string(changed.id), KeyspaceKind::kBytes));
  FORESHORE_ASSIGN_OR_RETURN(const auto view, BeginWrite(std::chrono::minutes(1)));
  view->ShowExpired();
  auto next = std::make_shared<Catalog>(view->catalog());
  ++next->version;
  const auto place = std::find_if(next->collections.begin(), next->collections.end(),
                                  [&](const auto& each) { return each.id == changed.id; });
  place->expiry_field = field;
  place->expiries = changed.expiries;
  std::vector<ByteString> old_keys;
  {
    FORESHORE_ASSIGN_OR_RETURN(const auto cursor, view->txn().NewCursor(changed.expiries));
    for (Status status = cursor->SeekFirst();; status = cursor->Next()) {
      FORESHORE_RETURN_IF_ERROR(status);
      if (!cursor->valid()) break;
      old_keys.emplace_back(cursor->bytes_key());
    }
  }
  for (const ByteString& key : old_keys) {
    FORESHORE_RETURN_IF_ERROR(view->write_txn_->Delete(changed.expiries, Bytes(key)));
  }
  std::vector<ExpiryEntry> entries;
  {
    FORESHORE_ASSIGN_OR_RETURN(const auto cursor, view->Scan(*place));
    while (true) {
      FORESHORE_ASSIGN_OR_RETURN(const bool more, cursor->Next());
      if (!more) break;
      if (const auto expiry = ExpiryOf(field, cursor->body())) entries.push_back({*expiry, cursor->docid()});
    }
  }
  for (const ExpiryEntry& entry : entries) {
    FORESHORE_RETURN_IF_ERROR(PutExpiry(*view->write_txn_, *place, entry));
  }
  const ByteString row = EncodeCollection(*place);
  FORESHORE_RETURN_IF_ERROR(ChangeCatalog(*view, std::move(next), "c" + std::to_string(changed.id), row));
  view->changes_.push_back(CatalogChange(changed.id));
  return view->Commit();
}

Result<bool> DatabaseCore::MayPurge() {
  if (options_.expiry_purge == ExpiryPurge::kNever) return false;
  const auto present = catalog();
  if (std::none_of(present->collections.begin(), present->collections.end(),
                   [](const auto& collection) { return !collection.expiry_field.empty(); })) {
    return false;
  }
  if (options_.expiry_purge == ExpiryPurge::kAlways) return true;
  // Written with the first exchange: from then on another device may extend what has expired here.
  FORESHORE_ASSIGN_OR_RETURN(const auto synced, GetSetting(std::string(kAcknowledgedHlcSetting)));
  return !synced.has_value();
}

// A mark is set, and a whole grace period later what had expired by then goes. So a clock that jumps ahead takes
// nothing that had not expired before it jumped, and one that jumps back begins the period anew.
Result<std::uint64_t> DatabaseCore::PurgeExpired() {
  std::uint64_t purged_count = 0;
  FORESHORE_ASSIGN_OR_RETURN(const bool may_purge, MayPurge());
  if (!may_purge) return purged_count;
  const std::int64_t now_ms = clock_->NowUnixMs();
  FORESHORE_ASSIGN_OR_RETURN(const auto stored, GetSetting(kPurgeMarkSetting));
  const std::int64_t mark_ms = stored ? ByteReader(*stored).Fixed<std::int64_t>() : INT64_MAX;
  ByteString next_mark;
  AppendFixed(next_mark, now_ms);
  if (now_ms < mark_ms) {
    FORESHORE_ASSIGN_OR_RETURN(const auto view, BeginWrite());
    FORESHORE_RETURN_IF_ERROR(view->PutSetting(kPurgeMarkSetting, next_mark));
    FORESHORE_RETURN_IF_ERROR(view->Commit());
    return purged_count;
  }
  if (now_ms - mark_ms < options_.expiry_grace.count()) return purged_count;
  while (true) {
    FORESHORE_ASSIGN_OR_RETURN(const auto view, BeginWrite());
    view->ShowExpired();
    FORESHORE_ASSIGN_OR_RETURN(const std::size_t count, PurgeBatch(*view, mark_ms));
    purged_count += count;
    if (count < kPurgeBatchCount) FORESHORE_RETURN_IF_ERROR(view->PutSetting(kPurgeMarkSetting, next_mark));
    FORESHORE_RETURN_IF_ERROR(view->Commit());
    if (count < kPurgeBatchCount) return purged_count;
  }
}

Result<std::size_t> DatabaseCore::PurgeBatch(WriteView& view, std::int64_t until_unix_ms) {
  std::size_t count = 0;
  for (const CollectionDefinition& collection : view.catalog().collections) {
    std::vector<ExpiryEntry> due;
    FORESHORE_RETURN_IF_ERROR(
        VisitExpiries(view.txn(), collection, INT64_MIN, until_unix_ms, [&](const ExpiryEntry& entry) {
          due.push_back(entry);
          return count + due.size() < kPurgeBatchCount;
        }));
    for (const ExpiryEntry& entry : due) {
      FORESHORE_ASSIGN_OR_RETURN(const auto document, view.GetByDocid(collection, entry.docid));
      if (!document || ExpiryOf(collection.expiry_field, document->body) != entry.unix_ms) {
        return Status::Corruption("collection \"" + collection.name + "\": expiry entry of document " +
                                  std::to_string(entry.docid) + " is not what the document says");
      }
      const std::string id(document->id);
      FORESHORE_RETURN_IF_ERROR(view.Delete(collection, id));
    }
    count += due.size();
    if (count >= kPurgeBatchCount) break;
  }
  return count;
}

Result<std::uint64_t> DatabaseCore::PurgeExpiredNowAndThen() {
  const std::int64_t now_us = clock_->NowMonotonicUs();
  std::int64_t due_us = purge_due_us_.load();
  if (now_us < due_us || !purge_due_us_.compare_exchange_strong(due_us, now_us + kPurgeCheckUs)) {
    return std::uint64_t{0};
  }
  return PurgeExpired();
}

Status DatabaseCore::VerifyExpiries(ReadView& view, const CollectionDefinition& collection,
                                    const std::function<void(std::string)>& problem) {
  if (collection.expiry_field.empty()) return Status::Ok();
  const std::string where = "collection \"" + collection.name + "\": expiry of document ";
  std::uint64_t entry_count = 0;
  std::vector<ExpiryEntry> entries;
  FORESHORE_RETURN_IF_ERROR(VisitExpiries(view.txn(), collection, INT64_MIN, INT64_MAX, [&](const ExpiryEntry& entry) {
    entries.push_back(entry);
    return true;
  }));
  for (const ExpiryEntry& entry : entries) {
    ++entry_count;
    FORESHORE_ASSIGN_OR_RETURN(const auto document, view.GetByDocid(collection, entry.docid));
    if (!document || ExpiryOf(collection.expiry_field, document->body) != entry.unix_ms) {
      problem(where + std::to_string(entry.docid) + " is not what the document says");
    }
  }
  std::uint64_t expected_count = 0;
  FORESHORE_ASSIGN_OR_RETURN(const auto cursor, view.Scan(collection));
  while (true) {
    FORESHORE_ASSIGN_OR_RETURN(const bool more, cursor->Next());
    if (!more) break;
    if (ExpiryOf(collection.expiry_field, cursor->body())) ++expected_count;
  }
  if (entry_count != expected_count) {
    problem("collection \"" + collection.name + "\": " + std::to_string(entry_count) + " expiry entries for " +
            std::to_string(expected_count) + " documents that expire");
  }
  return Status::Ok();
}

}  // namespace foreshore
