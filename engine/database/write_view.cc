#include <algorithm>

#include "engine/database/core.h"
#include "engine/database/derived_vector_index.h"
#include "engine/database/expiry.h"
#include "engine/database/fields.h"
#include "engine/database/full_text_indexes.h"
#include "engine/database/stamp_coding.h"
#include "engine/database/stored_vector.h"
#include "engine/document/json.h"
#include "index/quantizer.h"
#include "storage/base/coding.h"
#include "storage/base/log.h"

namespace foreshore {
namespace {

// RFC 9562: 48 bits of Unix milliseconds, version 7, 74 random bits.
std::string MakeUuidV7(std::int64_t unix_ms, Random& random) {
  ByteString bytes;
  AppendBigEndian64(bytes, static_cast<std::uint64_t>(unix_ms) << 16);
  bytes.resize(6);
  bytes += random.Generate(10);
  bytes[6] = static_cast<char>(0x70 | (bytes[6] & 0x0f));
  bytes[8] = static_cast<char>(0x80 | (bytes[8] & 0x3f));
  const std::string hex = ToHex(bytes);
  return hex.substr(0, 8) + "-" + hex.substr(8, 4) + "-" + hex.substr(12, 4) + "-" + hex.substr(16, 4) + "-" +
         hex.substr(20);
}

// Makes DatabaseCore::commit_epoch_ odd for as long as readers cannot know what the store's last commit is.
class CommitMark {
 public:
  explicit CommitMark(std::atomic<std::uint64_t>& epoch) : epoch_(&epoch) { epoch.fetch_add(1); }
  ~CommitMark() { Unset(); }
  CommitMark(const CommitMark&) = delete;
  CommitMark& operator=(const CommitMark&) = delete;
  void Unset() {
    if (epoch_ != nullptr) epoch_->fetch_add(1);
    epoch_ = nullptr;
  }

 private:
  std::atomic<std::uint64_t>* epoch_;  // Null once unset.
};

Status Missing(const CollectionDefinition& collection, std::string_view id) {
  return Status::NotFound("collection \"" + collection.name + "\": document \"" + std::string(id) +
                          "\" does not exist");
}

}  // namespace

WriteView::WriteView(DatabaseCore& core, std::shared_ptr<const Catalog> catalog) : ReadView(core, std::move(catalog)) {}

WriteView::~WriteView() {
  text_overlay_.reset();
  field_indexes_.reset();
  // The store's transaction must be over before another writer may begin.
  owned_write_txn_.reset();
}

std::uint64_t WriteView::Hlc() {
  if (hlc_ == 0) hlc_ = core_.hybrid_clock_->Tick();
  return hlc_;
}

Status WriteView::Fail(Status status) {
  if (!status.ok()) finished_ = true;
  return status;
}

Status WriteView::Put(const CollectionDefinition& collection, std::string_view id, std::string_view json,
                      const Document* base) {
  if (finished_) return Status::Cancelled("transaction: already ended, expected an open one");
  if (collection.is_readings()) {
    std::string made;
    return PutReading(collection, id, json, &made);
  }
  FORESHORE_RETURN_IF_ERROR(ValidateDocumentId(id));
  FORESHORE_ASSIGN_OR_RETURN(const std::string body, NormaliseDocument(json));
  FORESHORE_ASSIGN_OR_RETURN(const auto found, Find(collection, id));
  if (!found && base == nullptr) {
    FORESHORE_RETURN_IF_ERROR(RefuseAbsentBlobs({}, body));
    return StoreNew(collection, id, body);
  }
  DocumentState state;
  std::string current_body;
  if (found) {
    FORESHORE_ASSIGN_OR_RETURN(const RecordView view, ViewRecord(found->record));
    current_body = view.body;
    if (base == nullptr && view.alive && current_body == body) return Status::Ok();
    FORESHORE_RETURN_IF_ERROR(RefuseAbsentBlobs(current_body, body));
    FORESHORE_ASSIGN_OR_RETURN(state, DecodeRecord(found->record, core_.sessions()));
  } else {
    state.id = id;
  }
  VersionVector seen = state.seen;
  if (base != nullptr) {
    if (base->id_ != id) {
      return Status::InvalidArgument("document \"" + std::string(id) + "\": base is of document \"" + base->id_ + "\"");
    }
    FORESHORE_ASSIGN_OR_RETURN(seen, DecodeVersionVector(base->seen_));
  }
  const WriteGroup group = DiffPut(state, base != nullptr ? std::string_view(base->body_) : current_body, seen, body,
                                   Hlc(), core_.session_, next_op_);
  return JoinAndStore(collection, state, found ? found->docid : 0, {&group, 1}, ChangeOrigin::kLocal, nullptr);
}

Result<std::string> WriteView::PutNew(const CollectionDefinition& collection, std::string_view json) {
  if (collection.is_readings()) {
    std::string made;
    FORESHORE_RETURN_IF_ERROR(PutReading(collection, {}, json, &made));
    return made;
  }
  std::string id = MakeUuidV7(core_.clock().NowUnixMs(), core_.random());
  FORESHORE_RETURN_IF_ERROR(Put(collection, id, json));
  return id;
}

Status WriteView::Patch(const CollectionDefinition& collection, std::string_view id, std::string_view merge_patch) {
  if (finished_) return Status::Cancelled("transaction: already ended, expected an open one");
  FORESHORE_ASSIGN_OR_RETURN(const std::string patch, NormaliseDocument(merge_patch));
  FORESHORE_ASSIGN_OR_RETURN(const auto found, Get(collection, id));
  if (!found) return Missing(collection, id);
  FORESHORE_ASSIGN_OR_RETURN(const std::string body, MergePatch(found->body, patch));
  return Put(collection, id, body);
}

Status WriteView::Delete(const CollectionDefinition& collection, std::string_view id, bool even_expired) {
  if (finished_) return Status::Cancelled("transaction: already ended, expected an open one");
  if (collection.is_readings()) return DeleteReading(collection, id);
  FORESHORE_ASSIGN_OR_RETURN(const auto found, Find(collection, id));
  if (!found) return Missing(collection, id);
  const std::int64_t docid = found->docid;
  FORESHORE_ASSIGN_OR_RETURN(const RecordView present, ViewRecord(found->record));
  if (even_expired ? !present.alive : !IsVisible(collection, present)) return Missing(collection, id);
  FORESHORE_ASSIGN_OR_RETURN(DocumentState state, DecodeRecord(found->record, core_.sessions()));
  const WriteGroup group = MakeDelete(state, Hlc(), core_.session_, next_op_);
  return JoinAndStore(collection, state, docid, {&group, 1}, ChangeOrigin::kLocal, nullptr);
}

Result<WriteView::ApplyOutcome> WriteView::Apply(const CollectionDefinition& collection, const DocumentChange& change) {
  if (finished_) return Status::Cancelled("transaction: already ended, expected an open one");
  if (collection.is_readings()) {
    return Status::Unsupported("collection \"" + collection.name +
                               "\": holds readings here, which are not synced; a document of a collection of that name "
                               "came from elsewhere");
  }
  FORESHORE_RETURN_IF_ERROR(ValidateDocumentId(change.id));
  FORESHORE_ASSIGN_OR_RETURN(const auto docid, FindDocid(collection, change.id));
  FORESHORE_ASSIGN_OR_RETURN(DocumentState state, LoadState(collection, change.id));
  ApplyOutcome outcome;
  FORESHORE_RETURN_IF_ERROR(
      JoinAndStore(collection, state, docid.value_or(0), change.groups, ChangeOrigin::kSync, &outcome));
  return outcome;
}

// A document that was never here, written by one put, is encoded without building its registers.
Status WriteView::StoreNew(const CollectionDefinition& collection, std::string_view id, std::string_view body) {
  FORESHORE_RETURN_IF_ERROR(CheckUnique(collection, 0, body));
  const NewRecord fresh = EncodeNewDocument(id, body, Hlc(), core_.session_, next_op_, core_.sessions_);
  next_op_ = fresh.op_last + 1;
  std::int64_t docid = 0;
  FORESHORE_RETURN_IF_ERROR(AddNewDocument(collection, id, fresh.record, &docid));
  return Fail(Follow(collection, docid, {}, body, ChangeOrigin::kLocal));
}

Status WriteView::AddNewDocument(const CollectionDefinition& collection, std::string_view id, Bytes record,
                                 std::int64_t* docid) {
  *docid = next_docid_++;
  ByteString value;
  AppendFixed(value, *docid);
  wrote_ = true;
  FORESHORE_RETURN_IF_ERROR(Fail(write_txn_->Put(collection.ids, Bytes(id), value)));
  return Fail(write_txn_->Put(collection.documents, *docid, record));
}

Status WriteView::JoinAndStore(const CollectionDefinition& collection, DocumentState& state, std::int64_t docid,
                               std::span<const WriteGroup> groups, ChangeOrigin origin, ApplyOutcome* outcome) {
  const std::string old_body = Materialise(state);
  JoinOutcome total;
  FORESHORE_ASSIGN_OR_RETURN(std::vector<LostValue> rescued, LoadRescued(collection, state.id));
  FORESHORE_ASSIGN_OR_RETURN(const std::uint64_t acknowledged_hlc, AcknowledgedHlc());
  const LocalSessions local = {[this](const SessionKey& key) { return core_.sessions_.IsLocal(key); },
                               acknowledged_hlc};
  for (const WriteGroup& group : groups) {
    if (origin == ChangeOrigin::kLocal && group.writes.empty() && !group.changes_life) continue;
    if (origin == ChangeOrigin::kSync) core_.hybrid_clock_->Observe(group.hlc);
    FORESHORE_ASSIGN_OR_RETURN(JoinOutcome one, JoinGroup(state, group, rescued, local));
    if (origin == ChangeOrigin::kLocal) next_op_ = group.op_last + 1;
    total.changed |= one.changed;
    total.lost.insert(total.lost.end(), one.lost.begin(), one.lost.end());
    total.recovered.insert(total.recovered.end(), one.recovered.begin(), one.recovered.end());
    for (const LostValue& gone : one.recovered) std::erase(rescued, gone);
    rescued.insert(rescued.end(), one.lost.begin(), one.lost.end());
    FORESHORE_RETURN_IF_ERROR(Fail(KeepRescued(collection, state.id, one)));
    if (outcome != nullptr) outcome->lost_count += one.lost.size();
  }
  if (outcome != nullptr) outcome->changed = total.changed;
  if (!total.changed) return Status::Ok();
  const std::string body = Materialise(state);
  if (origin == ChangeOrigin::kLocal) {
    const Status unique = CheckUnique(collection, docid, body);
    // What was put aside above is in the transaction already.
    if (!unique.ok()) return total.lost.empty() && total.recovered.empty() ? unique : Fail(unique);
  }
  const ByteString record = EncodeRecord(state, body, core_.sessions_);
  if (docid == 0) {
    FORESHORE_RETURN_IF_ERROR(AddNewDocument(collection, state.id, record, &docid));
  } else {
    wrote_ = true;
    FORESHORE_RETURN_IF_ERROR(Fail(write_txn_->Put(collection.documents, docid, record)));
  }
  return Fail(Follow(collection, docid, old_body, body, origin));
}

Result<std::uint64_t> WriteView::AcknowledgedHlc() {
  if (!acknowledged_hlc_) {
    FORESHORE_ASSIGN_OR_RETURN(const auto bytes, write_txn_->Get(core_.settings_, Bytes(kAcknowledgedHlcSetting)));
    acknowledged_hlc_ = bytes ? ByteReader(*bytes).Varint() : 0;
  }
  return *acknowledged_hlc_;
}

Status WriteView::KeepRescued(const CollectionDefinition& collection, std::string_view id, const JoinOutcome& outcome) {
  for (const LostValue& gone : outcome.recovered) {
    FORESHORE_ASSIGN_OR_RETURN(const std::int64_t delta, DropRescued(*write_txn_, core_.rescue_, collection.name,
                                                                     {collection.id, std::string(id), gone}));
    rescued_delta_ += delta;
  }
  for (const LostValue& lost : outcome.lost) {
    FORESHORE_ASSIGN_OR_RETURN(const std::int64_t delta, AddRescued(*write_txn_, core_.rescue_, collection.name,
                                                                    {collection.id, std::string(id), lost}));
    rescued_delta_ += delta;
    has_own_rescued_ = true;
  }
  return Status::Ok();
}

Status WriteView::Follow(const CollectionDefinition& collection, std::int64_t docid, std::string_view old_body,
                         std::string_view body, ChangeOrigin origin) {
  Change change;
  change.kind = ChangeKind::kDocument;
  change.origin = origin;
  change.collection_id = collection.id;
  change.docid = docid;
  changes_.push_back(change);
  ++changed_count_;
  for (const VectorIndexDefinition& index : collection.vector_indexes) {
    if (!index.has_model()) {
      FORESHORE_RETURN_IF_ERROR(FollowOwnVector(index, docid, old_body, body, origin));
    } else if (body.empty() && !old_body.empty()) {
      FORESHORE_RETURN_IF_ERROR(PutVector(index, docid, {}));
    }
  }
  if (body.empty() && !old_body.empty()) {
    for (const VectorIndexDefinition& index : collection.next_vector_indexes) {
      FORESHORE_RETURN_IF_ERROR(PutVector(index, docid, {}));
    }
  }
  if (!collection.field_indexes.empty()) {
    FORESHORE_RETURN_IF_ERROR(FieldIndexes().Follow(collection, docid, old_body, body, origin == ChangeOrigin::kSync));
  }
  FORESHORE_RETURN_IF_ERROR(FollowPredictions(collection, docid, old_body, body));
  FORESHORE_RETURN_IF_ERROR(FollowBlobs(collection, docid, old_body, body, origin));
  NoteFields(collection, body);
  return FollowExpiry(*write_txn_, collection, docid, old_body, body);
}

FieldIndexWriter& WriteView::FieldIndexes() {
  if (!field_indexes_) field_indexes_ = std::make_unique<FieldIndexWriter>(*write_txn_, core_.conflicts_);
  return *field_indexes_;
}

Status WriteView::CheckUnique(const CollectionDefinition& collection, std::int64_t docid, std::string_view body) {
  return collection.field_indexes.empty() ? Status::Ok() : FieldIndexes().CheckUnique(collection, docid, body);
}

Result<std::vector<std::string>> WriteView::UniqueHolders(const CollectionDefinition& collection, std::int64_t docid,
                                                          std::string_view body) {
  std::vector<std::string> ids;
  if (collection.field_indexes.empty()) return ids;
  FORESHORE_ASSIGN_OR_RETURN(const auto holders, FieldIndexes().FindHolders(collection, docid, body));
  for (const auto& [index, holder] : holders) {
    // One that has expired holds its values until it is deleted.
    FORESHORE_ASSIGN_OR_RETURN(const auto bytes, txn_->Get(collection.documents, holder));
    if (!bytes) continue;
    FORESHORE_ASSIGN_OR_RETURN(const RecordView record, ViewRecord(*bytes));
    if (record.alive && std::find(ids.begin(), ids.end(), record.id) == ids.end()) ids.emplace_back(record.id);
  }
  return ids;
}

Status WriteView::SettleFieldIndexes() {
  if (finished_ || !field_indexes_) return Status::Ok();
  return Fail(field_indexes_->Flush());
}

Status WriteView::FollowOwnVector(const VectorIndexDefinition& index, std::int64_t docid, std::string_view old_body,
                                  std::string_view body, ChangeOrigin origin) {
  const std::string_view old_token = FindOwnVectors(old_body, index);
  const std::string_view token = FindOwnVectors(body, index);
  if (token == old_token) return Status::Ok();
  if (token.empty()) return PutVector(index, docid, {});
  const auto stored = EncodeOwnVectors(token, index);
  if (!stored.ok()) {
    if (origin == ChangeOrigin::kLocal) return stored.status();
    // A merge always applies; the document is then only not found by this index.
    Log(LogLevel::kWarning, "sync", stored.status().message());
    return old_token.empty() ? Status::Ok() : PutVector(index, docid, {});
  }
  return PutVector(index, docid, *stored);
}

Status WriteView::PutVector(const VectorIndexDefinition& index, std::int64_t docid, Bytes stored) {
  if (!index.has_rows) {
    // The document, which the same transaction writes, says it.
  } else if (stored.empty()) {
    FORESHORE_ASSIGN_OR_RETURN(const auto existing, write_txn_->Get(index.vectors, docid));
    if (!existing) return Status::Ok();
    FORESHORE_RETURN_IF_ERROR(write_txn_->Delete(index.vectors, docid));
  } else {
    FORESHORE_RETURN_IF_ERROR(write_txn_->Put(index.vectors, docid, stored));
  }
  wrote_ = true;
  Change change;
  change.kind = ChangeKind::kVector;
  change.collection_id = index.collection_id;
  change.index_id = index.id;
  change.docid = docid;
  changes_.push_back(change);
  const std::pair key{index.id, docid};
  if (const auto old = own_vectors_.find(key); old == own_vectors_.end()) {
    UndoOnRollback([this, key] { own_vectors_.erase(key); });
  } else {
    UndoOnRollback([this, key, before = old->second] { own_vectors_[key] = before; });
  }
  own_vectors_[key] = ByteString(stored);
  return Status::Ok();
}

Status WriteView::VisitOwnVectors(std::uint32_t index_id, const std::function<Status(std::int64_t, Bytes)>& visit) {
  for (auto it = own_vectors_.lower_bound({index_id, INT64_MIN});
       it != own_vectors_.end() && it->first.first == index_id; ++it) {
    FORESHORE_RETURN_IF_ERROR(visit(it->first.second, it->second));
  }
  return Status::Ok();
}

void WriteView::NoteFields(const CollectionDefinition& collection, std::string_view body) {
  std::size_t hint = 0;
  ForEachTopLevelKey(body, [&](std::string_view key) {
    const auto& known = collection.fields;
    if (hint < known.size() && known[hint] == key) {
      ++hint;
      return;
    }
    if (const auto it = std::find(known.begin(), known.end(), key); it != known.end()) {
      hint = static_cast<std::size_t>(it - known.begin()) + 1;
      return;
    }
    std::vector<std::string>& fresh = new_fields_[collection.id];
    if (known.size() + fresh.size() >= kColumnCountMax || key.empty() || key.size() > kPathBytesMax) return;
    if (std::find(fresh.begin(), fresh.end(), key) == fresh.end()) fresh.emplace_back(key);
  });
}

Status WriteView::PutSetting(const std::string& key, Bytes value) {
  wrote_ = true;
  return Fail(write_txn_->Put(core_.settings_, Bytes(key), value));
}

Status WriteView::DropSetting(const std::string& key) {
  wrote_ = true;
  return Fail(write_txn_->Delete(core_.settings_, Bytes(key)));
}

Status WriteView::MoveLogCursor(const std::string& name, std::int64_t sequence) {
  wrote_ = true;
  return Fail(core_.log().SetCursor(*write_txn_, name, sequence));
}

Status WriteView::WriteCatalogChanges(std::shared_ptr<const Catalog>* next) {
  const auto unsaved = core_.sessions_.Unsaved();
  for (const auto& [number, entry] : unsaved) {
    FORESHORE_RETURN_IF_ERROR(
        write_txn_->Put(core_.session_rows_, static_cast<std::int64_t>(number), SessionTable::EncodeEntry(entry)));
  }
  std::erase_if(new_fields_, [](const auto& entry) { return entry.second.empty(); });
  *next = changed_catalog_;
  if (new_fields_.empty()) return Status::Ok();
  auto changed = std::make_shared<Catalog>(changed_catalog_ ? *changed_catalog_ : *catalog_);
  ++changed->version;
  for (CollectionDefinition& collection : changed->collections) {
    const auto fresh = new_fields_.find(collection.id);
    if (fresh == new_fields_.end()) continue;
    collection.fields.insert(collection.fields.end(), fresh->second.begin(), fresh->second.end());
    FORESHORE_RETURN_IF_ERROR(
        write_txn_->Put(core_.catalog_rows_, Bytes("c" + std::to_string(collection.id)), EncodeCollection(collection)));
  }
  *next = std::move(changed);
  return Status::Ok();
}

// What is in memory follows what the store has committed.
void WriteView::Publish(const std::vector<std::pair<std::uint32_t, SessionTable::Entry>>& unsaved_sessions,
                        std::shared_ptr<const Catalog> next) {
  if (!unsaved_sessions.empty()) core_.sessions_.MarkSaved(unsaved_sessions.back().first);
  core_.next_docid_ = next_docid_;
  for (const auto& [collection_id, readings] : readings_) core_.readings_[collection_id] = readings->state();
  core_.rescued_count_ += rescued_delta_;
  if (next) core_.PublishCatalog(std::move(next));
  std::map<std::uint32_t, std::vector<VectorOperation>> operations;
  for (auto& [key, stored] : own_vectors_) operations[key.first].push_back({key.second, std::move(stored)});
  for (const auto& [index_id, derived] : core_.derived_by_id()) {
    derived->Enqueue(committed_sequence_, std::move(operations[index_id]));
  }
  core_.last_sequence_.store(committed_sequence_);
}

Status WriteView::Commit() {
  if (finished_) return Status::Cancelled("transaction: already ended, expected an open one");
  FORESHORE_RETURN_IF_ERROR(FinishReadings());
  finished_ = true;
  committed_sequence_ = sequence_;
  if (!wrote_ && changes_.empty()) {
    owned_write_txn_.reset();
    writer_pass_.reset();
    return Status::Ok();
  }
  text_overlay_.reset();  // After the commit its documents come to the index by the log.
  std::shared_ptr<const Catalog> next;
  if (field_indexes_) FORESHORE_RETURN_IF_ERROR(field_indexes_->Flush());
  FORESHORE_RETURN_IF_ERROR(WriteCatalogChanges(&next));
  const auto unsaved = core_.sessions_.Unsaved();
  ByteString clock;
  AppendVarint(clock, core_.hybrid_clock_->last());
  if (!changes_.empty()) {
    FORESHORE_RETURN_IF_ERROR(write_txn_->Put(core_.settings_, Bytes("clock"), clock));
    FORESHORE_ASSIGN_OR_RETURN(committed_sequence_, core_.log().Append(*write_txn_, changes_));
  }
  CommitMark mark(core_.commit_epoch_);
  FORESHORE_RETURN_IF_ERROR(write_txn_->Commit());
  try {
    Publish(unsaved, std::move(next));
  } catch (const std::bad_alloc&) {
    // It is in the store, and only a part of it in memory: going on would write over what is there.
    return core_.RefuseFromNowOn("memory ran out behind a commit");
  }
  mark.Unset();
  owned_write_txn_.reset();
  writer_pass_.reset();
  core_.AfterCommit();
  return Status::Ok();
}

}  // namespace foreshore
