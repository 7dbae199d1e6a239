// The stored vectors (stored_vector.h) of an index, in one state of the store.
//
// Those that a model made are rows of the index's keyspace. Those that the application writes are in its documents, and
// are made of them whenever they are read: a row for each would be another page that every small commit writes, and
// says nothing that the document does not say. (Indexes from before that have rows: VectorIndexDefinition::has_rows.)
//
// Lifetime: must go before its transaction and the definition. Threads: one at a time.
#pragma once

#include <cstdint>
#include <memory>
#include <optional>
#include <utility>

#include "engine/database/catalog.h"
#include "foreshore/bytes.h"
#include "foreshore/status.h"
#include "storage/store.h"

namespace foreshore {

class VectorReader {
 public:
  VectorReader(ReadTxn& txn, const VectorIndexDefinition& index) : txn_(txn), index_(index) {}

  // An encoded StoredVector, valid until the next call of any kind; nothing where the document has none, or one that
  // does not fit the index (which only a merge can bring).
  Result<std::optional<Bytes>> Get(std::int64_t docid);

  // The least and the greatest docid that may have a vector; nothing where there are none.
  Result<std::optional<std::pair<std::int64_t, std::int64_t>>> DocidRange();

  // Moves over all of them in the order of docids. Seek() goes to the first at `docid` or behind it.
  Status Seek(std::int64_t docid);
  Status SeekFirst() { return Seek(INT64_MIN); }
  Status Next();  // Only while valid().
  bool valid() const { return cursor_ && cursor_->valid(); }
  std::int64_t docid() const { return cursor_->integer_key(); }
  Bytes value() const { return index_.has_rows ? cursor_->value() : Bytes(made_); }

 private:
  KeyspaceId keyspace() const { return index_.has_rows ? index_.vectors : index_.documents; }
  // Makes made_ of a document's record; false where it has no vector.
  Result<bool> MakeOf(Bytes record);
  Status FindNext();

  ReadTxn& txn_;
  const VectorIndexDefinition& index_;
  std::unique_ptr<Cursor> cursor_;
  ByteString made_;
};

}  // namespace foreshore
