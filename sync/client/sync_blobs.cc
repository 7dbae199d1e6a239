// Blobs on their way, up and down: in chunks, resumable at both ends, checked by their hash.
#include <algorithm>
#include <utility>
#include <vector>

#include "engine/database/blob_references.h"
#include "storage/base/coding.h"
#include "storage/base/log.h"
#include "sync/client/sync_session.h"
#include "sync/protocol/limits.h"

namespace foreshore {
namespace {

// Documents whose blobs the gateway had not got when they were asked for: collection id, docid. As many as a setting
// takes; while there are more, the cursor waits.
constexpr char kWantedSetting[] = "sync.wanted";
constexpr std::size_t kWantedCountMax = 150;
// A blob that arrives damaged is fetched once more.
constexpr int kAttemptCountMax = 2;

using DocumentKey = std::pair<std::uint32_t, std::int64_t>;

ByteString EncodeWanted(const std::vector<DocumentKey>& wanted) {
  ByteString out;
  for (const auto& [collection_id, docid] : wanted) {
    AppendFixed(out, collection_id);
    AppendFixed(out, docid);
  }
  return out;
}

std::vector<DocumentKey> DecodeWanted(Bytes bytes) {
  std::vector<DocumentKey> wanted;
  ByteReader reader(bytes);
  while (reader.ok() && !reader.at_end()) {
    const auto collection_id = reader.Fixed<std::uint32_t>();
    const auto docid = reader.Fixed<std::int64_t>();
    if (reader.ok()) wanted.emplace_back(collection_id, docid);
  }
  return wanted;
}

struct PulledDocuments {
  std::int64_t cursor = 0;
  std::int64_t sequence = 0;                                    // Of the snapshot.
  std::vector<std::pair<DocumentKey, std::int64_t>> documents;  // With the log entry, in its order.
};

// Documents that came by sync since their blobs were last asked for.
Result<PulledDocuments> ReadPulled(DatabaseCore& core) {
  PulledDocuments pulled;
  FORESHORE_ASSIGN_OR_RETURN(const auto view, core.BeginRead());
  FORESHORE_ASSIGN_OR_RETURN(const auto cursor, core.log().GetCursor(view->txn(), kBlobsCursor));
  pulled.cursor = cursor.value_or(0);
  pulled.sequence = view->sequence();
  FORESHORE_RETURN_IF_ERROR(core.log().ReadAfter(view->txn(), pulled.cursor, [&](const Change& change) {
    const bool is_document = change.kind == ChangeKind::kDocument || change.kind == ChangeKind::kModel;
    if (is_document && change.origin == ChangeOrigin::kSync) {
      pulled.documents.push_back({{change.collection_id, change.docid}, change.sequence});
    }
    return true;
  }));
  return pulled;
}

}  // namespace

Status SyncSession::UploadBlobs(const std::vector<BlobId>& blobs) {
  BlobHaveRequest have;
  for (const BlobId& id : blobs) {
    // One that has not arrived here is for the device that has it to send.
    if (!at_gateway_.contains(id) && core_.blobs().Contains(id)) have.ids.push_back(id);
  }
  while (!have.ids.empty()) {
    BlobHaveRequest part;
    const std::size_t count = std::min(have.ids.size(), kBlobIdCountMax);
    part.ids.assign(have.ids.end() - static_cast<std::ptrdiff_t>(count), have.ids.end());
    have.ids.resize(have.ids.size() - count);
    FORESHORE_ASSIGN_OR_RETURN(const SyncReply reply, Call(part));
    const auto* need = std::get_if<BlobNeedReply>(&reply);
    if (need == nullptr) return UnexpectedReply("blob need");
    for (const BlobNeedReply::Item& item : need->items) {
      if (std::find(part.ids.begin(), part.ids.end(), item.id) == part.ids.end()) {
        return UnexpectedReply("need of a blob that was offered");
      }
      FORESHORE_RETURN_IF_ERROR(UploadBlob(item.id, item.offset));
    }
    at_gateway_.insert(part.ids.begin(), part.ids.end());
  }
  return Status::Ok();
}

Status SyncSession::UploadBlob(const BlobId& id, std::uint64_t offset) {
  FORESHORE_ASSIGN_OR_RETURN(const auto file, core_.blobs().Open(id));
  const Bytes content = file->bytes();
  int restart_count = 0;
  while (true) {
    if (offset > content.size()) return UnexpectedReply("a blob offset inside the blob");
    BlobPutRequest put;
    put.id = id;
    put.size_bytes = content.size();
    put.offset = offset;
    put.data = content.substr(offset, sizes_.chunk_bytes());
    FORESHORE_ASSIGN_OR_RETURN(const SyncReply reply, Call(std::move(put)));
    const auto* need = std::get_if<BlobNeedReply>(&reply);
    if (need == nullptr) return UnexpectedReply("blob need");
    if (need->items.empty()) break;
    if (need->items[0].offset <= offset && ++restart_count > kAttemptCountMax) {
      return Status::Corruption("blob " + ToHex(AsBytes(id)) + ": the gateway does not take it; is it damaged here?");
    }
    offset = need->items[0].offset;
    report_.totals.blob_bytes_wanted = content.size() - std::min<std::uint64_t>(offset, content.size());
    FORESHORE_RETURN_IF_ERROR(Report());
  }
  report_.totals.blob_bytes_wanted = 0;
  ++report_.totals.blobs_sent;
  return Report();
}

Status SyncSession::FetchBlobs() {
  report_.blobs_missing.clear();
  FORESHORE_ASSIGN_OR_RETURN(const PulledDocuments pulled, ReadPulled(core_));
  FORESHORE_ASSIGN_OR_RETURN(const auto stored, core_.GetSetting(kWantedSetting));
  const std::vector<DocumentKey> wanted_before = stored ? DecodeWanted(*stored) : std::vector<DocumentKey>();
  std::set<DocumentKey> seen;
  std::vector<DocumentKey> wanted;
  for (const DocumentKey& key : wanted_before) {
    if (!seen.insert(key).second) continue;
    FORESHORE_ASSIGN_OR_RETURN(const bool is_complete, FetchBlobsOf(key.first, key.second));
    if (!is_complete) wanted.push_back(key);
  }
  std::int64_t cursor = pulled.sequence;
  for (const auto& [key, sequence] : pulled.documents) {
    if (!seen.insert(key).second) continue;
    FORESHORE_ASSIGN_OR_RETURN(const bool is_complete, FetchBlobsOf(key.first, key.second));
    if (is_complete) continue;
    if (wanted.size() == kWantedCountMax) {
      cursor = std::min(cursor, sequence - 1);
    } else {
      wanted.push_back(key);
    }
  }
  if (cursor <= pulled.cursor && wanted == wanted_before) return Status::Ok();
  FORESHORE_ASSIGN_OR_RETURN(const auto view, core_.BeginWrite());
  FORESHORE_RETURN_IF_ERROR(view->PutSetting(kWantedSetting, EncodeWanted(wanted)));
  FORESHORE_RETURN_IF_ERROR(view->MoveLogCursor(kBlobsCursor, cursor));
  return view->Commit();
}

Result<bool> SyncSession::FetchBlobsOf(std::uint32_t collection_id, std::int64_t docid) {
  std::set<BlobId> missing;
  // A manifest that arrives names further blobs.
  for (std::set<BlobId> tried;;) {
    std::vector<BlobId> blobs;
    {
      FORESHORE_ASSIGN_OR_RETURN(const auto view, core_.BeginRead());
      view->ShowExpired();  // An extension made here asks the gateway for nothing.
      const CollectionDefinition* collection = view->catalog().FindById(collection_id);
      if (collection == nullptr) return true;
      FORESHORE_ASSIGN_OR_RETURN(const auto document, view->GetByDocid(*collection, docid));
      if (!document) return true;
      FORESHORE_ASSIGN_OR_RETURN(blobs, BlobsOfDocument(core_, *collection, document->body));
    }
    std::erase_if(blobs, [&](const BlobId& id) { return tried.contains(id) || core_.blobs().Contains(id); });
    if (blobs.empty()) break;
    report_.totals.blobs_wanted = blobs.size();
    for (const BlobId& id : blobs) {
      tried.insert(id);
      FORESHORE_ASSIGN_OR_RETURN(const bool is_here, FetchBlob(id));
      if (is_here) {
        --report_.totals.blobs_wanted;
      } else {
        missing.insert(id);
        report_.blobs_missing.push_back(ToHex(AsBytes(id)));
      }
      FORESHORE_RETURN_IF_ERROR(Report());
    }
  }
  report_.totals.blobs_wanted = missing.size();
  return missing.empty();
}

Result<bool> SyncSession::FetchBlob(const BlobId& id) {
  const BlobHold hold = core_.blobs().Hold();
  for (int attempt = 1;; ++attempt) {
    FORESHORE_ASSIGN_OR_RETURN(const bool is_whole, DownloadChunks(id));
    if (!is_whole) return false;
    const Status finished = core_.blobs().FinishPartial(id);
    if (finished.ok()) break;
    if (finished.code() != ErrorCode::kCorruption || attempt == kAttemptCountMax) return finished;
    Log(LogLevel::kWarning, "sync", "blob " + ToHex(AsBytes(id)) + " arrived damaged and is fetched again");
  }
  at_gateway_.insert(id);
  ++report_.totals.blobs_received;
  report_.totals.blob_bytes_wanted = 0;
  return true;
}

// False: the gateway has not got it.
Result<bool> SyncSession::DownloadChunks(const BlobId& id) {
  while (true) {
    BlobGetRequest get;
    get.id = id;
    FORESHORE_ASSIGN_OR_RETURN(get.offset, core_.blobs().PartialBytes(id));
    get.bytes_max = static_cast<std::uint32_t>(sizes_.chunk_bytes());
    FORESHORE_ASSIGN_OR_RETURN(const SyncReply reply, Call(get));
    const auto* chunk = std::get_if<BlobChunkReply>(&reply);
    if (chunk == nullptr || chunk->id != id) return UnexpectedReply("a chunk of the blob");
    if (chunk->absent) return false;
    if (chunk->offset != get.offset) return UnexpectedReply("a chunk at the offset asked for");
    const std::uint64_t end = chunk->offset + chunk->data.size();
    if (chunk->data.empty() && end < chunk->size_bytes) return UnexpectedReply("a chunk with bytes in it");
    FORESHORE_RETURN_IF_ERROR(core_.blobs().AppendPartial(id, chunk->offset, chunk->data));
    report_.totals.blob_bytes_wanted = chunk->size_bytes - end;
    FORESHORE_RETURN_IF_ERROR(Report());
    if (end == chunk->size_bytes) return true;
  }
}

}  // namespace foreshore
