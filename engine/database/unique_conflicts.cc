#include "engine/database/unique_conflicts.h"

#include <vector>

#include "storage/base/coding.h"

namespace foreshore {
namespace {

constexpr std::size_t kKeyBytes = 12;

ByteString KeyOf(std::uint32_t index_id) {
  ByteString key;
  for (int shift = 24; shift >= 0; shift -= 8) key += static_cast<char>(index_id >> shift & 0xFF);
  return key;
}

ByteString KeyOf(std::uint32_t index_id, std::int64_t docid) {
  ByteString key = KeyOf(index_id);
  AppendSortable64(key, docid);
  return key;
}

}  // namespace

Status NoteUniqueConflict(WriteTxn& txn, KeyspaceId conflicts, std::uint32_t index_id, std::int64_t docid,
                          std::int64_t other_docid) {
  ByteString value;
  AppendSortable64(value, other_docid);
  return txn.Put(conflicts, Bytes(KeyOf(index_id, docid)), value);
}

Status ForgetUniqueConflict(WriteTxn& txn, KeyspaceId conflicts, std::uint32_t index_id, std::int64_t docid) {
  return txn.Delete(conflicts, Bytes(KeyOf(index_id, docid)));
}

Status ForgetUniqueConflictsOf(WriteTxn& txn, KeyspaceId conflicts, std::uint32_t index_id) {
  std::vector<std::int64_t> docids;
  FORESHORE_RETURN_IF_ERROR(VisitUniqueConflicts(txn, conflicts, index_id,
                                                 [&](std::int64_t docid, std::int64_t) { docids.push_back(docid); }));
  for (const std::int64_t docid : docids) {
    FORESHORE_RETURN_IF_ERROR(ForgetUniqueConflict(txn, conflicts, index_id, docid));
  }
  return Status::Ok();
}

Status VisitUniqueConflicts(ReadTxn& txn, KeyspaceId conflicts, std::uint32_t index_id,
                            const std::function<void(std::int64_t docid, std::int64_t other_docid)>& visit) {
  const ByteString prefix = KeyOf(index_id);
  FORESHORE_ASSIGN_OR_RETURN(const auto cursor, txn.NewCursor(conflicts));
  for (Status status = cursor->Seek(Bytes(prefix));; status = cursor->Next()) {
    FORESHORE_RETURN_IF_ERROR(status);
    if (!cursor->valid() || !cursor->bytes_key().starts_with(prefix)) return Status::Ok();
    if (cursor->bytes_key().size() != kKeyBytes || cursor->value().size() != sizeof(std::int64_t)) {
      return Status::Corruption("conflict of index " + std::to_string(index_id) + ": key of " +
                                std::to_string(cursor->bytes_key().size()) + " and value of " +
                                std::to_string(cursor->value().size()) + " bytes, expected 12 and 8");
    }
    visit(LoadSortable64(cursor->bytes_key().data() + prefix.size()), LoadSortable64(cursor->value().data()));
  }
}

}  // namespace foreshore
