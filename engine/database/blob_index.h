// Which documents refer to which blobs, kept in the transaction that changes a document, so that collecting needs no
// scan of the documents; and which blobs lost their last reference, and when.
//
//   keyspace "blob.refs"  SHA-256 (32), collection (u32 big-endian), docid (sortable i64) -> origin of the reference
//   keyspace "blob.dead"  SHA-256 (32) -> the sequence up to which snapshots still see a reference, i64
//
// A model's row counts for its manifest only; what the manifest lists is found through it.
//
// Threads: the functions follow the rule of the transaction they are given.
#pragma once

#include <cstdint>
#include <functional>
#include <memory>

#include "storage/blob_store.h"
#include "storage/change_log.h"
#include "storage/store.h"

namespace foreshore {

struct BlobReference {
  BlobId blob{};
  std::uint32_t collection_id = 0;
  std::int64_t docid = 0;
  // kLocal: the blob was here when the reference was written. kSync: it may still be on its way.
  ChangeOrigin origin = ChangeOrigin::kLocal;
};

class BlobIndex {
 public:
  static Result<std::unique_ptr<BlobIndex>> Open(Store& store);

  Status Add(WriteTxn& txn, const BlobReference& reference);
  // `sequence`: of the state before this transaction.
  Status Remove(WriteTxn& txn, const BlobReference& reference, std::int64_t sequence);
  Result<bool> IsReferenced(ReadTxn& txn, const BlobId& blob);
  // In order of blobs.
  Status VisitReferences(ReadTxn& txn, const std::function<Status(const BlobReference&)>& visit);
  Status VisitDead(ReadTxn& txn, const std::function<Status(const BlobId&, std::int64_t sequence)>& visit);
  Result<bool> IsDead(ReadTxn& txn, const BlobId& blob);
  Status ForgetDead(WriteTxn& txn, const BlobId& blob);

 private:
  BlobIndex(KeyspaceId references, KeyspaceId dead) : references_(references), dead_(dead) {}
  KeyspaceId references_;
  KeyspaceId dead_;
};

}  // namespace foreshore
