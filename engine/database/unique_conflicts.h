// Unique values that more than one document has, because a merge always applies: which document brought it, and which
// had it before.
//
// Keyspace "conflicts": index id (4, big-endian), docid (8) of the document that came -> docid (8) of the other one. An
// entry goes when its document leaves the value; whether it still stands is looked up when conflicts are listed.
//
// Threads: as the transaction.
#pragma once

#include <cstdint>
#include <functional>

#include "storage/store.h"

namespace foreshore {

Status NoteUniqueConflict(WriteTxn& txn, KeyspaceId conflicts, std::uint32_t index_id, std::int64_t docid,
                          std::int64_t other_docid);
Status ForgetUniqueConflict(WriteTxn& txn, KeyspaceId conflicts, std::uint32_t index_id, std::int64_t docid);
Status ForgetUniqueConflictsOf(WriteTxn& txn, KeyspaceId conflicts, std::uint32_t index_id);
// In order of docid. `visit` must not use `txn`.
Status VisitUniqueConflicts(ReadTxn& txn, KeyspaceId conflicts, std::uint32_t index_id,
                            const std::function<void(std::int64_t docid, std::int64_t other_docid)>& visit);

}  // namespace foreshore
