// Keeps the secondary indexes of one transaction in step with its documents.
//
// Entries are gathered and written in key order, because a B-tree takes sorted entries several times faster than
// scattered ones: before the transaction reads an index, when many have gathered, and before it commits. Those of
// unique indexes are written at once, since each must be looked up anyway.
//
// Threads: one, as the transaction. Lifetime: goes before the transaction.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "engine/database/catalog.h"
#include "engine/database/field_entries.h"
#include "storage/store.h"

namespace foreshore {

class FieldIndexWriter {
 public:
  // `conflicts`: keyspace of unique values that a merge brought twice, see unique_conflicts.h.
  FieldIndexWriter(WriteTxn& txn, KeyspaceId conflicts) : txn_(txn), conflicts_(conflicts) {}

  // kAlreadyExists where the document with this body (docid 0: it has none yet) would have a value that a unique index
  // holds for another document. Writes nothing.
  Status CheckUnique(const CollectionDefinition& collection, std::int64_t docid, std::string_view body);
  // The documents that hold such a value, each with the index it is in.
  using Holders = std::vector<std::pair<const FieldIndexDefinition*, std::int64_t>>;
  Result<Holders> FindHolders(const CollectionDefinition& collection, std::int64_t docid, std::string_view body);
  // Brings every index of the collection from the old body to the new one; empty: no document. A merge (`is_merge`)
  // keeps account of what breaks a unique index; local writes were checked before.
  Status Follow(const CollectionDefinition& collection, std::int64_t docid, std::string_view old_body,
                std::string_view body, bool is_merge);
  // Adds a document that was there before the index at `index_number` of the collection. With `refuse_conflicts` a
  // unique value that another document has is kAlreadyExists; else it is kept account of.
  Status AddExisting(const CollectionDefinition& collection, std::size_t index_number, std::int64_t docid,
                     std::string_view body, bool refuse_conflicts);
  // Writes what has gathered.
  Status Flush();
  // Drops what has gathered: the transaction goes back to where it was last flushed.
  void Discard();

 private:
  struct Gathered {
    KeyspaceId keyspace = 0;
    EntryList entries;
  };
  // The document, not `docid`, that has the same values in a unique index as `entry`; values with NULL never clash.
  Result<std::optional<std::int64_t>> FindOther(const CollectionDefinition& collection,
                                                const FieldIndexDefinition& index, std::size_t index_number, Bytes key,
                                                Bytes marks, std::int64_t docid, std::string_view body);
  Result<bool> SameValues(const CollectionDefinition& collection, std::size_t index_number, std::int64_t docid,
                          std::string_view body);
  Status Clash(const CollectionDefinition& collection, const FieldIndexDefinition& index, std::int64_t other);
  Status WriteUnique(const CollectionDefinition& collection, std::size_t index_number, std::int64_t docid,
                     std::string_view body, bool is_merge, bool refuse_conflicts);
  EntryList& GatheredFor(KeyspaceId keyspace);
  Status Change(const CollectionDefinition& collection, std::size_t index_number, std::int64_t docid,
                std::string_view old_body, std::string_view body, bool is_merge);
  Status RemoveLeft(const FieldIndexDefinition& index, std::int64_t docid, EntryList& gathered);
  Status WriteGathered(Gathered& gathered);

  WriteTxn& txn_;
  KeyspaceId conflicts_;
  std::vector<Gathered> gathered_;
  // Kept from call to call, so that a document needs no allocation of its own.
  FieldTokens old_tokens_;
  FieldTokens tokens_;
  EntryList old_entries_;
  EntryList new_entries_;
};

}  // namespace foreshore
