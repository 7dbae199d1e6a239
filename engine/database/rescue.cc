#include "engine/database/rescue.h"

#include "engine/database/stamp_coding.h"
#include "storage/base/coding.h"

namespace foreshore {
namespace {

constexpr std::uint8_t kVersion = 1;

ByteString DocumentPrefix(std::uint32_t collection_id, std::string_view document_id) {
  ByteString key;
  AppendFixed(key, __builtin_bswap32(collection_id));
  AppendPrefixed(key, document_id);
  return key;
}

ByteString Encode(const RescueEntry& entry) {
  ByteString out;
  AppendFixed(out, kVersion);
  AppendVarint(out, entry.collection_id);
  AppendPrefixed(out, entry.document_id);
  AppendPrefixed(out, entry.lost.path);
  AppendVarint(out, entry.lost.value.life);
  AppendStamp(out, entry.lost.value.stamp);
  AppendStamp(out, entry.lost.value.creation);
  AppendPrefixed(out, entry.lost.value.value);
  return out;
}

Result<RescueEntry> Decode(Bytes bytes) {
  ByteReader reader(bytes);
  const auto version = reader.Fixed<std::uint8_t>();
  RescueEntry entry;
  entry.collection_id = static_cast<std::uint32_t>(reader.VarintAtMost(UINT32_MAX));
  entry.document_id = reader.Prefixed();
  entry.lost.path = reader.Prefixed();
  entry.lost.value.life = static_cast<std::uint32_t>(reader.VarintAtMost(UINT32_MAX));
  entry.lost.value.stamp = ReadStamp(reader);
  entry.lost.value.creation = ReadStamp(reader);
  entry.lost.value.value = reader.Prefixed();
  if (version != kVersion || !reader.ok() || !reader.at_end()) {
    return Status::Corruption("rescued value: " + std::to_string(bytes.size()) + " bytes do not follow version 1");
  }
  return entry;
}

ByteString IdKey(std::string_view collection_name, const RescueEntry& entry) {
  ByteString key = DocumentPrefix(entry.collection_id, entry.document_id);
  key += RescueId(collection_name, entry.document_id, entry.lost.path, entry.lost.value.stamp);
  return key;
}

}  // namespace

Result<std::vector<LostValue>> RescuedOf(ReadTxn& txn, const RescueKeyspaces& keyspaces, std::uint32_t collection_id,
                                         std::string_view document_id) {
  std::vector<std::int64_t> numbers;
  const ByteString prefix = DocumentPrefix(collection_id, document_id);
  {
    FORESHORE_ASSIGN_OR_RETURN(const auto cursor, txn.NewCursor(keyspaces.ids));
    for (Status status = cursor->Seek(Bytes(prefix));; status = cursor->Next()) {
      FORESHORE_RETURN_IF_ERROR(status);
      if (!cursor->valid() || !cursor->bytes_key().starts_with(prefix)) break;
      ByteReader reader(cursor->value());
      numbers.push_back(reader.Fixed<std::int64_t>());
    }
  }
  std::vector<LostValue> values;
  for (const std::int64_t number : numbers) {
    FORESHORE_ASSIGN_OR_RETURN(const auto bytes, txn.Get(keyspaces.values, number));
    if (!bytes) return Status::Corruption("rescued value " + std::to_string(number) + " is named but not there");
    FORESHORE_ASSIGN_OR_RETURN(RescueEntry entry, Decode(*bytes));
    values.push_back(std::move(entry.lost));
  }
  return values;
}

Result<std::int64_t> AddRescued(WriteTxn& txn, const RescueKeyspaces& keyspaces, std::string_view collection_name,
                                const RescueEntry& entry) {
  const ByteString key = IdKey(collection_name, entry);
  FORESHORE_ASSIGN_OR_RETURN(const auto existing, txn.Get(keyspaces.ids, Bytes(key)));
  if (existing) return std::int64_t{0};
  std::int64_t number = 1;
  {
    FORESHORE_ASSIGN_OR_RETURN(const auto cursor, txn.NewCursor(keyspaces.values));
    FORESHORE_RETURN_IF_ERROR(cursor->SeekLast());
    if (cursor->valid()) number = cursor->integer_key() + 1;
  }
  FORESHORE_RETURN_IF_ERROR(txn.Put(keyspaces.values, number, Encode(entry)));
  ByteString value;
  AppendFixed(value, number);
  FORESHORE_RETURN_IF_ERROR(txn.Put(keyspaces.ids, Bytes(key), value));
  return std::int64_t{1};
}

Result<std::int64_t> DropRescued(WriteTxn& txn, const RescueKeyspaces& keyspaces, std::string_view collection_name,
                                 const RescueEntry& entry) {
  const ByteString key = IdKey(collection_name, entry);
  FORESHORE_ASSIGN_OR_RETURN(const auto existing, txn.Get(keyspaces.ids, Bytes(key)));
  if (!existing) return std::int64_t{0};
  ByteReader reader(*existing);
  const auto number = reader.Fixed<std::int64_t>();
  if (!reader.ok()) return Status::Corruption("rescue.ids: entry is shorter than 8 bytes");
  FORESHORE_RETURN_IF_ERROR(txn.Delete(keyspaces.values, number));
  FORESHORE_RETURN_IF_ERROR(txn.Delete(keyspaces.ids, Bytes(key)));
  return std::int64_t{-1};
}

Status VisitRescued(ReadTxn& txn, const RescueKeyspaces& keyspaces,
                    const std::function<Status(const RescueEntry&)>& visit) {
  FORESHORE_ASSIGN_OR_RETURN(const auto cursor, txn.NewCursor(keyspaces.values));
  for (Status status = cursor->SeekFirst();; status = cursor->Next()) {
    FORESHORE_RETURN_IF_ERROR(status);
    if (!cursor->valid()) return Status::Ok();
    FORESHORE_ASSIGN_OR_RETURN(const RescueEntry entry, Decode(cursor->value()));
    FORESHORE_RETURN_IF_ERROR(visit(entry));
  }
}

}  // namespace foreshore
