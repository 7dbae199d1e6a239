#include "engine/database/vector_reader.h"

#include "engine/database/stored_vector.h"
#include "engine/document/json.h"
#include "engine/document/record.h"

namespace foreshore {

Result<bool> VectorReader::MakeOf(Bytes record) {
  FORESHORE_ASSIGN_OR_RETURN(const RecordView view, ViewRecord(record));
  if (!view.alive) return false;
  const std::string_view token = FindOwnVectors(view.body, index_);
  if (token.empty()) return false;
  auto encoded = EncodeOwnVectors(token, index_);
  if (!encoded.ok() && encoded.status().code() == ErrorCode::kInvalidArgument) return false;
  FORESHORE_ASSIGN_OR_RETURN(made_, std::move(encoded));
  return true;
}

Result<std::optional<Bytes>> VectorReader::Get(std::int64_t docid) {
  FORESHORE_ASSIGN_OR_RETURN(const auto row, txn_.Get(keyspace(), docid));
  if (!row || index_.has_rows) return row;
  FORESHORE_ASSIGN_OR_RETURN(const bool has_vector, MakeOf(*row));
  return has_vector ? std::optional<Bytes>(made_) : std::nullopt;
}

Result<std::optional<std::pair<std::int64_t, std::int64_t>>> VectorReader::DocidRange() {
  FORESHORE_ASSIGN_OR_RETURN(const auto cursor, txn_.NewCursor(keyspace()));
  FORESHORE_RETURN_IF_ERROR(cursor->SeekFirst());
  if (!cursor->valid()) return std::optional<std::pair<std::int64_t, std::int64_t>>();
  const std::int64_t first = cursor->integer_key();
  FORESHORE_RETURN_IF_ERROR(cursor->SeekLast());
  return std::optional(std::pair(first, cursor->integer_key()));
}

// Goes on until the cursor stands on a vector, or behind the last.
Status VectorReader::FindNext() {
  while (!index_.has_rows && cursor_->valid()) {
    FORESHORE_ASSIGN_OR_RETURN(const bool has_vector, MakeOf(cursor_->value()));
    if (has_vector) break;
    FORESHORE_RETURN_IF_ERROR(cursor_->Next());
  }
  return Status::Ok();
}

Status VectorReader::Seek(std::int64_t docid) {
  if (!cursor_) {
    FORESHORE_ASSIGN_OR_RETURN(cursor_, txn_.NewCursor(keyspace()));
  }
  FORESHORE_RETURN_IF_ERROR(cursor_->Seek(docid));
  return FindNext();
}

Status VectorReader::Next() {
  FORESHORE_RETURN_IF_ERROR(cursor_->Next());
  return FindNext();
}

}  // namespace foreshore
