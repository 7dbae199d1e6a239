// Where concurrently lost values are kept: local, one entry per losing write, named by an id that is equal on every
// replica.
//
//   keyspace "rescue"      rescue number -> entry (version 1, collection id, document id, path, register)
//   keyspace "rescue.ids"  collection id (u32 big-endian), document id with length, rescue id (32 bytes) -> rescue
//   number
//
// Threads: the functions follow the rule of the transaction they are given.
#pragma once

#include <cstdint>
#include <functional>
#include <string>
#include <vector>

#include "engine/document/registers.h"
#include "foreshore/status.h"
#include "storage/store.h"

namespace foreshore {

struct RescueKeyspaces {
  KeyspaceId values = 0;
  KeyspaceId ids = 0;
};

struct RescueEntry {
  std::uint32_t collection_id = 0;
  std::string document_id;
  LostValue lost;
};

Result<std::vector<LostValue>> RescuedOf(ReadTxn& txn, const RescueKeyspaces& keyspaces, std::uint32_t collection_id,
                                         std::string_view document_id);
// Both return how many entries came or went; what is there already, or is not, changes nothing.
Result<std::int64_t> AddRescued(WriteTxn& txn, const RescueKeyspaces& keyspaces, std::string_view collection_name,
                                const RescueEntry& entry);
Result<std::int64_t> DropRescued(WriteTxn& txn, const RescueKeyspaces& keyspaces, std::string_view collection_name,
                                 const RescueEntry& entry);
Status VisitRescued(ReadTxn& txn, const RescueKeyspaces& keyspaces,
                    const std::function<Status(const RescueEntry&)>& visit);

}  // namespace foreshore
