#include "engine/database/blob_index.h"

#include <cstring>

#include "storage/base/coding.h"

namespace foreshore {
namespace {

constexpr std::size_t kKeyBytes = 32 + 4 + 8;

ByteString KeyOf(const BlobReference& reference) {
  ByteString key(AsBytes(reference.blob));
  for (int shift = 24; shift >= 0; shift -= 8) key += static_cast<char>(reference.collection_id >> shift);
  AppendSortable64(key, reference.docid);
  return key;
}

Result<BlobReference> DecodeReference(Bytes key, Bytes value) {
  if (key.size() != kKeyBytes || value.size() != 1 || value[0] < 1 || value[0] > 2) {
    return Status::Corruption("blob references: entry of " + std::to_string(key.size()) + " and " +
                              std::to_string(value.size()) + " bytes, expected 44 and 1");
  }
  BlobReference reference;
  std::memcpy(reference.blob.data(), key.data(), reference.blob.size());
  for (std::size_t i = 32; i < 36; ++i) {
    reference.collection_id = reference.collection_id << 8 | static_cast<std::uint8_t>(key[i]);
  }
  reference.docid = LoadSortable64(key.data() + 36);
  reference.origin = static_cast<ChangeOrigin>(value[0]);
  return reference;
}

}  // namespace

Result<std::unique_ptr<BlobIndex>> BlobIndex::Open(Store& store) {
  FORESHORE_ASSIGN_OR_RETURN(const KeyspaceId references, store.OpenKeyspace("blob.refs", KeyspaceKind::kBytes));
  FORESHORE_ASSIGN_OR_RETURN(const KeyspaceId dead, store.OpenKeyspace("blob.dead", KeyspaceKind::kBytes));
  return std::unique_ptr<BlobIndex>(new BlobIndex(references, dead));
}

Status BlobIndex::Add(WriteTxn& txn, const BlobReference& reference) {
  const char origin = static_cast<char>(reference.origin);
  FORESHORE_RETURN_IF_ERROR(txn.Put(references_, Bytes(KeyOf(reference)), Bytes(&origin, 1)));
  return txn.Delete(dead_, AsBytes(reference.blob));
}

Status BlobIndex::Remove(WriteTxn& txn, const BlobReference& reference, std::int64_t sequence) {
  FORESHORE_RETURN_IF_ERROR(txn.Delete(references_, Bytes(KeyOf(reference))));
  FORESHORE_ASSIGN_OR_RETURN(const bool is_referenced, IsReferenced(txn, reference.blob));
  if (is_referenced) return Status::Ok();
  ByteString value;
  AppendFixed(value, sequence);
  return txn.Put(dead_, AsBytes(reference.blob), value);
}

Result<bool> BlobIndex::IsReferenced(ReadTxn& txn, const BlobId& blob) {
  FORESHORE_ASSIGN_OR_RETURN(const auto cursor, txn.NewCursor(references_));
  FORESHORE_RETURN_IF_ERROR(cursor->Seek(AsBytes(blob)));
  return cursor->valid() && cursor->bytes_key().starts_with(AsBytes(blob));
}

Status BlobIndex::VisitReferences(ReadTxn& txn, const std::function<Status(const BlobReference&)>& visit) {
  FORESHORE_ASSIGN_OR_RETURN(const auto cursor, txn.NewCursor(references_));
  for (Status status = cursor->SeekFirst();; status = cursor->Next()) {
    FORESHORE_RETURN_IF_ERROR(status);
    if (!cursor->valid()) return Status::Ok();
    FORESHORE_ASSIGN_OR_RETURN(const BlobReference reference, DecodeReference(cursor->bytes_key(), cursor->value()));
    FORESHORE_RETURN_IF_ERROR(visit(reference));
  }
}

Status BlobIndex::VisitDead(ReadTxn& txn, const std::function<Status(const BlobId&, std::int64_t sequence)>& visit) {
  FORESHORE_ASSIGN_OR_RETURN(const auto cursor, txn.NewCursor(dead_));
  for (Status status = cursor->SeekFirst();; status = cursor->Next()) {
    FORESHORE_RETURN_IF_ERROR(status);
    if (!cursor->valid()) return Status::Ok();
    BlobId blob{};
    if (cursor->bytes_key().size() != blob.size() || cursor->value().size() != 8) {
      return Status::Corruption("unreferenced blobs: entry of " + std::to_string(cursor->bytes_key().size()) + " and " +
                                std::to_string(cursor->value().size()) + " bytes, expected 32 and 8");
    }
    std::memcpy(blob.data(), cursor->bytes_key().data(), blob.size());
    FORESHORE_RETURN_IF_ERROR(visit(blob, LoadFixed<std::int64_t>(cursor->value().data())));
  }
}

Result<bool> BlobIndex::IsDead(ReadTxn& txn, const BlobId& blob) {
  FORESHORE_ASSIGN_OR_RETURN(const auto value, txn.Get(dead_, AsBytes(blob)));
  return value.has_value();
}

Status BlobIndex::ForgetDead(WriteTxn& txn, const BlobId& blob) {
  return txn.Delete(dead_, AsBytes(blob));
}

}  // namespace foreshore
