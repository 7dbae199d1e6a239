// Entry, 20 bytes, little-endian (docs/file-format.md): kind, origin, flags, zero, collection id, index id, docid.
#include "storage/change_log.h"

#include <algorithm>
#include <limits>

#include "storage/base/coding.h"

namespace foreshore {
namespace {

constexpr std::size_t kEntryBytes = 20;
constexpr std::uint8_t kEndsTransaction = 1;
// A cursor's name cannot begin with a zero byte, so this one is out of every caller's reach.
constexpr Bytes kTailKey("\0tail", 5);
constexpr std::size_t kCursorNameBytesMax = 255;

ByteString Encode(const Change& change, bool ends_transaction) {
  ByteString entry;
  entry.reserve(kEntryBytes);
  AppendFixed(entry, static_cast<std::uint8_t>(change.kind));
  AppendFixed(entry, static_cast<std::uint8_t>(change.origin));
  AppendFixed(entry, static_cast<std::uint8_t>(ends_transaction ? kEndsTransaction : 0));
  AppendFixed(entry, std::uint8_t{0});
  AppendFixed(entry, change.collection_id);
  AppendFixed(entry, change.index_id);
  AppendFixed(entry, change.docid);
  return entry;
}

Status Damaged(std::int64_t sequence, const std::string& found) {
  return Status::Corruption("change log entry " + std::to_string(sequence) + ": " + found);
}

Result<Change> Decode(std::int64_t sequence, Bytes entry) {
  if (entry.size() != kEntryBytes) {
    return Damaged(sequence, "has " + std::to_string(entry.size()) + " bytes, expected " + std::to_string(kEntryBytes));
  }
  ByteReader reader(entry);
  Change change;
  change.sequence = sequence;
  const auto kind = reader.Fixed<std::uint8_t>();
  const auto origin = reader.Fixed<std::uint8_t>();
  const auto flags = reader.Fixed<std::uint8_t>();
  const auto zero = reader.Fixed<std::uint8_t>();
  change.collection_id = reader.Fixed<std::uint32_t>();
  change.index_id = reader.Fixed<std::uint32_t>();
  change.docid = reader.Fixed<std::int64_t>();
  if (kind < 1 || kind > static_cast<std::uint8_t>(ChangeKind::kReadings)) {
    return Damaged(sequence, "kind is " + std::to_string(kind) + ", expected 1..5");
  }
  if (origin != 1 && origin != 2) return Damaged(sequence, "origin is " + std::to_string(origin) + ", expected 1..2");
  if (flags > kEndsTransaction || zero != 0) return Damaged(sequence, "has unknown flags " + std::to_string(flags));
  change.kind = static_cast<ChangeKind>(kind);
  change.origin = static_cast<ChangeOrigin>(origin);
  change.ends_transaction = flags == kEndsTransaction;
  return change;
}

Result<std::int64_t> DecodeSequence(Bytes value, Bytes name) {
  if (value.size() == sizeof(std::int64_t)) return LoadFixed<std::int64_t>(value.data());
  return Status::Corruption("change log cursor \"" + std::string(name) + "\": has " + std::to_string(value.size()) +
                            " bytes, expected 8");
}

ByteString EncodeSequence(std::int64_t sequence) {
  ByteString value;
  AppendFixed(value, sequence);
  return value;
}

Status CheckCursorName(const std::string& name) {
  if (!name.empty() && name.size() <= kCursorNameBytesMax && name[0] != '\0') return Status::Ok();
  return Status::InvalidArgument("change log cursor: name of " + std::to_string(name.size()) +
                                 " bytes, expected 1 to 255, the first of them not zero");
}

}  // namespace

Result<std::unique_ptr<ChangeLog>> ChangeLog::Open(Store& store) {
  FORESHORE_ASSIGN_OR_RETURN(const KeyspaceId log, store.OpenKeyspace("log", KeyspaceKind::kInteger));
  FORESHORE_ASSIGN_OR_RETURN(const KeyspaceId cursors, store.OpenKeyspace("log.cursors", KeyspaceKind::kBytes));
  return std::unique_ptr<ChangeLog>(new ChangeLog(log, cursors));
}

Result<std::int64_t> ChangeLog::Append(WriteTxn& txn, std::span<const Change> changes) {
  FORESHORE_ASSIGN_OR_RETURN(std::int64_t sequence, Head(txn));
  for (std::size_t index = 0; index < changes.size(); ++index) {
    ++sequence;
    const ByteString entry = Encode(changes[index], index + 1 == changes.size());
    FORESHORE_RETURN_IF_ERROR(txn.Put(log_, sequence, Bytes(entry)));
  }
  return sequence;
}

// The last entry says it; only an empty log needs the stored tail. So a commit writes no counter.
Result<std::int64_t> ChangeLog::Head(ReadTxn& txn) {
  {
    FORESHORE_ASSIGN_OR_RETURN(const auto cursor, txn.NewCursor(log_));
    FORESHORE_RETURN_IF_ERROR(cursor->SeekLast());
    if (cursor->valid()) return cursor->integer_key();
  }
  FORESHORE_ASSIGN_OR_RETURN(const std::int64_t tail, StoredTail(txn));
  return tail - 1;
}

Result<std::int64_t> ChangeLog::StoredTail(ReadTxn& txn) {
  FORESHORE_ASSIGN_OR_RETURN(const std::optional<Bytes> stored, txn.Get(cursors_, kTailKey));
  if (!stored.has_value()) return std::int64_t{1};
  return DecodeSequence(*stored, "tail");
}

Result<std::int64_t> ChangeLog::Tail(ReadTxn& txn) {
  {
    FORESHORE_ASSIGN_OR_RETURN(const auto cursor, txn.NewCursor(log_));
    FORESHORE_RETURN_IF_ERROR(cursor->SeekFirst());
    if (cursor->valid()) return cursor->integer_key();
  }
  return StoredTail(txn);
}

Status ChangeLog::ReadAfter(ReadTxn& txn, std::int64_t after, const std::function<bool(const Change&)>& visit) {
  FORESHORE_ASSIGN_OR_RETURN(const std::int64_t tail, Tail(txn));
  FORESHORE_ASSIGN_OR_RETURN(const std::int64_t head, Head(txn));
  if (after + 1 < tail || after > head) {
    return Status::Conflict("change log: holds " + std::to_string(tail) + ".." + std::to_string(head) +
                            ", a reader at " + std::to_string(after) + " cannot go on from there");
  }
  FORESHORE_ASSIGN_OR_RETURN(const auto cursor, txn.NewCursor(log_));
  FORESHORE_RETURN_IF_ERROR(cursor->Seek(after + 1));
  for (std::int64_t expected = after + 1; cursor->valid(); ++expected) {
    if (cursor->integer_key() != expected) {
      return Damaged(expected, "is missing, found " + std::to_string(cursor->integer_key()));
    }
    FORESHORE_ASSIGN_OR_RETURN(const Change change, Decode(expected, cursor->value()));
    if (!visit(change)) return Status::Ok();
    FORESHORE_RETURN_IF_ERROR(cursor->Next());
  }
  return Status::Ok();
}

Status ChangeLog::SetCursor(WriteTxn& txn, const std::string& name, std::int64_t sequence) {
  FORESHORE_RETURN_IF_ERROR(CheckCursorName(name));
  return txn.Put(cursors_, Bytes(name), EncodeSequence(sequence));
}

Status ChangeLog::DropCursor(WriteTxn& txn, const std::string& name) {
  FORESHORE_RETURN_IF_ERROR(CheckCursorName(name));
  return txn.Delete(cursors_, Bytes(name));
}

Result<std::optional<std::int64_t>> ChangeLog::GetCursor(ReadTxn& txn, const std::string& name) {
  FORESHORE_RETURN_IF_ERROR(CheckCursorName(name));
  FORESHORE_ASSIGN_OR_RETURN(const std::optional<Bytes> stored, txn.Get(cursors_, Bytes(name)));
  if (!stored.has_value()) return std::optional<std::int64_t>();
  FORESHORE_ASSIGN_OR_RETURN(const std::int64_t sequence, DecodeSequence(*stored, name));
  return std::optional<std::int64_t>(sequence);
}

Result<std::int64_t> ChangeLog::SlowestCursor(ReadTxn& txn) {
  std::int64_t slowest = std::numeric_limits<std::int64_t>::max();
  FORESHORE_ASSIGN_OR_RETURN(const auto cursor, txn.NewCursor(cursors_));
  // Names begin with 1 or more; what begins with zero is ours.
  FORESHORE_RETURN_IF_ERROR(cursor->Seek(Bytes("\1")));
  while (cursor->valid()) {
    FORESHORE_ASSIGN_OR_RETURN(const std::int64_t sequence, DecodeSequence(cursor->value(), cursor->bytes_key()));
    slowest = std::min(slowest, sequence);
    FORESHORE_RETURN_IF_ERROR(cursor->Next());
  }
  return slowest;
}

Result<std::int64_t> ChangeLog::Trim(WriteTxn& txn, std::int64_t entry_count_max) {
  FORESHORE_ASSIGN_OR_RETURN(const std::int64_t tail, Tail(txn));
  FORESHORE_ASSIGN_OR_RETURN(const std::int64_t head, Head(txn));
  FORESHORE_ASSIGN_OR_RETURN(const std::int64_t slowest, SlowestCursor(txn));
  const std::int64_t count_max = std::clamp<std::int64_t>(entry_count_max, 0, head - tail + 1);
  const std::int64_t last = std::min(slowest, tail - 1 + count_max);
  if (last < tail) return std::int64_t{0};
  for (std::int64_t sequence = tail; sequence <= last; ++sequence) {
    FORESHORE_RETURN_IF_ERROR(txn.Delete(log_, sequence));
  }
  FORESHORE_RETURN_IF_ERROR(txn.Put(cursors_, kTailKey, EncodeSequence(last + 1)));
  return last - tail + 1;
}

}  // namespace foreshore
