// Rows of up to 1,024 entries under the sequence of their last one, run-length encoded (docs/file-format.md): one row
// for a usual transaction, so that the log costs a large import about nothing and a small commit one page.
#include "storage/change_log.h"

#include <algorithm>
#include <limits>

#include "storage/base/checksum.h"
#include "storage/base/coding.h"

namespace foreshore {
namespace {

constexpr std::uint8_t kRowVersion = 2;
constexpr std::uint8_t kEndsTransaction = 1;
constexpr std::size_t kFlagsOffset = 1;
constexpr std::size_t kChecksumOffset = 2;
constexpr std::size_t kFixedBytes = 6;
constexpr std::size_t kRowEntriesMax = 1024;
constexpr int kOriginShift = 4;
// A cursor's name cannot begin with a zero byte, so this one is out of every caller's reach.
constexpr Bytes kTailKey("\0tail", 5);
constexpr std::size_t kCursorNameBytesMax = 255;

std::int64_t Plus(std::int64_t docid, std::int64_t delta) {  // Wraps, as the difference did.
  return static_cast<std::int64_t>(static_cast<std::uint64_t>(docid) + static_cast<std::uint64_t>(delta));
}
std::int64_t Minus(std::int64_t a, std::int64_t b) {
  return static_cast<std::int64_t>(static_cast<std::uint64_t>(a) - static_cast<std::uint64_t>(b));
}

bool IsOfOneRun(const Change& a, const Change& b) {
  return a.kind == b.kind && a.origin == b.origin && a.collection_id == b.collection_id && a.index_id == b.index_id;
}

std::uint32_t ChecksumOf(Bytes row) {
  return Crc32c(row.substr(kFixedBytes), Crc32c(row.substr(0, kChecksumOffset)));
}

ByteString EncodeRow(std::span<const Change> changes, bool ends_transaction) {
  ByteString row;
  AppendFixed(row, kRowVersion);
  AppendFixed(row, static_cast<std::uint8_t>(ends_transaction ? kEndsTransaction : 0));
  AppendFixed(row, std::uint32_t{0});
  AppendVarint(row, changes.size());
  std::int64_t docid = 0;
  for (std::size_t begin = 0, end = 0; begin < changes.size(); begin = end) {
    const Change& first = changes[begin];
    bool is_consecutive = true;
    for (end = begin + 1; end < changes.size() && IsOfOneRun(first, changes[end]); ++end) {
      is_consecutive = is_consecutive && Minus(changes[end].docid, changes[end - 1].docid) == 1;
    }
    AppendVarint(row, (end - begin) << 1 | (is_consecutive ? 1 : 0));
    AppendFixed(row, static_cast<std::uint8_t>(static_cast<std::uint8_t>(first.kind) |
                                               static_cast<std::uint8_t>(first.origin) << kOriginShift));
    AppendVarint(row, first.collection_id);
    AppendVarint(row, first.index_id);
    AppendVarint(row, ZigZag(Minus(first.docid, docid)));
    for (std::size_t index = begin + 1; index < end && !is_consecutive; ++index) {
      AppendVarint(row, ZigZag(Minus(changes[index].docid, changes[index - 1].docid)));
    }
    docid = changes[end - 1].docid;
  }
  const std::uint32_t checksum = ChecksumOf(row);
  std::memcpy(row.data() + kChecksumOffset, &checksum, sizeof(checksum));
  return row;
}

Status Damaged(std::int64_t sequence, const std::string& found) {
  return Status::Corruption("change log row " + std::to_string(sequence) + ": " + found);
}

// The number of entries, without looking at them.
Result<std::int64_t> CountOf(std::int64_t sequence, Bytes row) {
  if (row.size() < kFixedBytes + 1) {
    return Damaged(sequence, "has " + std::to_string(row.size()) + " bytes, expected at least 7");
  }
  const auto version = static_cast<std::uint8_t>(row[0]);
  if (version > kRowVersion) {
    return Status::Unsupported("change log row " + std::to_string(sequence) + ": version is " +
                               std::to_string(version) + ", expected " + std::to_string(kRowVersion));
  }
  const auto count = static_cast<std::int64_t>(ByteReader(row.substr(kFixedBytes)).VarintAtMost(kRowEntriesMax));
  if (version != kRowVersion || count < 1 || count > sequence) {
    return Damaged(sequence, "version " + std::to_string(version) + " with " + std::to_string(count) +
                                 " entries, expected version " + std::to_string(kRowVersion) + " with 1 to 1024");
  }
  return count;
}

// The entries of the row whose last one is `sequence`.
Result<std::vector<Change>> DecodeRow(std::int64_t sequence, Bytes row) {
  FORESHORE_ASSIGN_OR_RETURN(const std::int64_t count, CountOf(sequence, row));
  if (LoadFixed<std::uint32_t>(row.data() + kChecksumOffset) != ChecksumOf(row)) {
    return Damaged(sequence, "checksum does not match");
  }
  const auto flags = static_cast<std::uint8_t>(row[kFlagsOffset]);
  if (flags > kEndsTransaction) return Damaged(sequence, "has unknown flags " + std::to_string(flags));
  ByteReader reader(row.substr(kFixedBytes));
  reader.Varint();
  std::vector<Change> changes;
  changes.reserve(static_cast<std::size_t>(count));
  Change change;
  change.sequence = sequence - count;
  while (changes.size() < static_cast<std::size_t>(count)) {
    const std::uint64_t left = static_cast<std::uint64_t>(count) - changes.size();
    const std::uint64_t head = reader.VarintAtMost(left << 1 | 1);
    const auto kinds = reader.Fixed<std::uint8_t>();
    const int kind = kinds & ((1 << kOriginShift) - 1);
    const int origin = kinds >> kOriginShift;
    change.collection_id = static_cast<std::uint32_t>(reader.VarintAtMost(std::numeric_limits<std::uint32_t>::max()));
    change.index_id = static_cast<std::uint32_t>(reader.VarintAtMost(std::numeric_limits<std::uint32_t>::max()));
    change.docid = Plus(change.docid, UnZigZag(reader.Varint()));
    if (!reader.ok() || head < 2) return Damaged(sequence, "its runs do not hold together");
    if (kind < 1 || kind > static_cast<int>(ChangeKind::kReadings)) {
      return Damaged(sequence, "kind is " + std::to_string(kind) + ", expected 1..5");
    }
    if (origin != 1 && origin != 2) return Damaged(sequence, "origin is " + std::to_string(origin) + ", expected 1..2");
    change.kind = static_cast<ChangeKind>(kind);
    change.origin = static_cast<ChangeOrigin>(origin);
    for (std::uint64_t index = 0; index < head >> 1; ++index) {
      if (index > 0) change.docid = Plus(change.docid, (head & 1) != 0 ? 1 : UnZigZag(reader.Varint()));
      ++change.sequence;
      changes.push_back(change);
    }
  }
  if (!reader.ok() || !reader.at_end()) return Damaged(sequence, "its runs do not hold together");
  changes.back().ends_transaction = flags == kEndsTransaction;
  return changes;
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

// Up to and including `last`; what is left of the row that it cuts is written anew.
Status DropEntries(WriteTxn& txn, KeyspaceId log, std::int64_t last) {
  std::vector<std::int64_t> whole;
  std::optional<std::pair<std::int64_t, ByteString>> rest;
  {
    FORESHORE_ASSIGN_OR_RETURN(const auto cursor, txn.NewCursor(log));
    FORESHORE_RETURN_IF_ERROR(cursor->SeekFirst());
    for (; cursor->valid() && !rest;) {
      const std::int64_t sequence = cursor->integer_key();
      if (sequence <= last) {
        whole.push_back(sequence);
      } else {
        FORESHORE_ASSIGN_OR_RETURN(const std::vector<Change> changes, DecodeRow(sequence, cursor->value()));
        const std::int64_t dropped = last - changes.front().sequence + 1;
        if (dropped <= 0) break;
        rest = {sequence, EncodeRow(std::span(changes).subspan(static_cast<std::size_t>(dropped)),
                                    changes.back().ends_transaction)};
      }
      FORESHORE_RETURN_IF_ERROR(cursor->Next());
    }
  }
  for (const std::int64_t sequence : whole) FORESHORE_RETURN_IF_ERROR(txn.Delete(log, sequence));
  return rest ? txn.Put(log, rest->first, Bytes(rest->second)) : Status::Ok();
}

}  // namespace

Result<std::unique_ptr<ChangeLog>> ChangeLog::Open(Store& store) {
  FORESHORE_ASSIGN_OR_RETURN(const KeyspaceId log, store.OpenKeyspace("log", KeyspaceKind::kInteger));
  FORESHORE_ASSIGN_OR_RETURN(const KeyspaceId cursors, store.OpenKeyspace("log.cursors", KeyspaceKind::kBytes));
  return std::unique_ptr<ChangeLog>(new ChangeLog(log, cursors));
}

Result<std::int64_t> ChangeLog::Append(WriteTxn& txn, std::span<const Change> changes) {
  FORESHORE_ASSIGN_OR_RETURN(std::int64_t sequence, Head(txn));
  for (std::size_t begin = 0; begin < changes.size(); begin += kRowEntriesMax) {
    const auto part = changes.subspan(begin, std::min(kRowEntriesMax, changes.size() - begin));
    sequence += static_cast<std::int64_t>(part.size());
    const ByteString row = EncodeRow(part, begin + part.size() == changes.size());
    FORESHORE_RETURN_IF_ERROR(txn.Put(log_, sequence, Bytes(row)));
  }
  return sequence;
}

// The last row says it; only an empty log needs the stored tail. So a commit writes no counter.
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
    if (cursor->valid()) {
      FORESHORE_ASSIGN_OR_RETURN(const std::int64_t count, CountOf(cursor->integer_key(), cursor->value()));
      return cursor->integer_key() - count + 1;
    }
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
  for (std::int64_t expected = after + 1; cursor->valid();) {
    const std::int64_t last = cursor->integer_key();
    FORESHORE_ASSIGN_OR_RETURN(const std::vector<Change> changes, DecodeRow(last, cursor->value()));
    const std::int64_t first = changes.front().sequence;
    // A reader may begin inside a row; from there on each row begins where the one before ended.
    if (first > expected || (first < expected && expected != after + 1)) {
      return Damaged(last, "begins at entry " + std::to_string(first) + ", expected " + std::to_string(expected));
    }
    for (std::size_t index = static_cast<std::size_t>(expected - first); index < changes.size(); ++index) {
      if (!visit(changes[index])) return Status::Ok();
    }
    expected = last + 1;
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
  FORESHORE_RETURN_IF_ERROR(DropEntries(txn, log_, last));
  FORESHORE_RETURN_IF_ERROR(txn.Put(cursors_, kTailKey, EncodeSequence(last + 1)));
  return last - tail + 1;
}

}  // namespace foreshore
