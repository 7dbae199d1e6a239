#include "engine/database/field_index_writer.h"

#include <algorithm>
#include <numeric>

#include "engine/database/field_key.h"
#include "engine/database/unique_conflicts.h"
#include "engine/document/record.h"

namespace foreshore {
namespace {

constexpr std::size_t kGatheredBytesMax = 8U << 20;

// The values of a key, or nothing where one of them is NULL.
std::optional<Bytes> ValuesToCompare(Bytes key) {
  const Bytes values = key.substr(0, key.size() - kDocidKeyBytes);
  for (Bytes rest = values; !rest.empty();) {
    if (rest.front() == kNullTag || !SkipKeyValue(rest)) return std::nullopt;
  }
  return values;
}

bool SameTokens(std::span<const std::uint16_t> slots, const FieldTokens& a, const FieldTokens& b) {
  return std::all_of(slots.begin(), slots.end(), [&](std::uint16_t slot) { return a[slot] == b[slot]; });
}

}  // namespace

// Long texts are cut in keys, so two documents may share a key's values and differ all the same.
Result<bool> FieldIndexWriter::SameValues(const CollectionDefinition& collection, std::size_t index_number,
                                          std::int64_t docid, std::string_view body) {
  FORESHORE_ASSIGN_OR_RETURN(const auto record, txn_.Get(collection.documents, docid));
  if (!record) return false;
  FORESHORE_ASSIGN_OR_RETURN(const RecordView other, ViewRecord(*record));
  FieldTokens tokens;
  FieldTokens other_tokens;
  collection.indexed_paths->Find(body, tokens);
  collection.indexed_paths->Find(other.body, other_tokens);
  return SameTokens(collection.indexed_paths->slots(index_number), tokens, other_tokens);
}

Result<std::optional<std::int64_t>> FieldIndexWriter::FindOther(const CollectionDefinition& collection,
                                                                const FieldIndexDefinition& index,
                                                                std::size_t index_number, Bytes key, Bytes marks,
                                                                std::int64_t docid, std::string_view body) {
  const auto values = ValuesToCompare(key);
  if (!values) return std::optional<std::int64_t>();
  const bool must_compare = marks.find(static_cast<char>(FieldMark::kDocument)) != Bytes::npos;
  std::vector<std::int64_t> candidates;
  {
    FORESHORE_ASSIGN_OR_RETURN(const auto cursor, txn_.NewCursor(index.entries));
    for (Status status = cursor->Seek(*values);; status = cursor->Next()) {
      FORESHORE_RETURN_IF_ERROR(status);
      if (!cursor->valid() || cursor->bytes_key().size() != key.size() || !cursor->bytes_key().starts_with(*values)) {
        break;
      }
      const std::int64_t other = DocidOfKey(cursor->bytes_key());
      if (other != docid) candidates.push_back(other);
      if (!must_compare && !candidates.empty()) break;
    }
  }
  for (const std::int64_t candidate : candidates) {
    if (!must_compare) return std::optional<std::int64_t>(candidate);
    FORESHORE_ASSIGN_OR_RETURN(const bool same, SameValues(collection, index_number, candidate, body));
    if (same) return std::optional<std::int64_t>(candidate);
  }
  return std::optional<std::int64_t>();
}

Status FieldIndexWriter::Clash(const CollectionDefinition& collection, const FieldIndexDefinition& index,
                               std::int64_t other) {
  FORESHORE_ASSIGN_OR_RETURN(const auto record, txn_.Get(collection.documents, other));
  std::string id = std::to_string(other);
  if (record) {
    FORESHORE_ASSIGN_OR_RETURN(const RecordView view, ViewRecord(*record));
    id = view.id;
  }
  return Status::AlreadyExists("unique index \"" + index.name + "\": document \"" + id +
                               "\" has the same value already");
}

Status FieldIndexWriter::CheckUnique(const CollectionDefinition& collection, std::int64_t docid,
                                     std::string_view body) {
  FORESHORE_ASSIGN_OR_RETURN(const Holders holders, FindHolders(collection, docid, body));
  return holders.empty() ? Status::Ok() : Clash(collection, *holders[0].first, holders[0].second);
}

Result<FieldIndexWriter::Holders> FieldIndexWriter::FindHolders(const CollectionDefinition& collection,
                                                                std::int64_t docid, std::string_view body) {
  Holders holders;
  if (body.empty()) return holders;
  bool found_tokens = false;
  for (std::size_t i = 0; i < collection.field_indexes.size(); ++i) {
    const FieldIndexDefinition& index = collection.field_indexes[i];
    if (!index.options.unique) continue;
    if (!found_tokens) collection.indexed_paths->Find(body, tokens_);
    found_tokens = true;
    new_entries_.Clear();
    new_entries_.AddDocument(index, *collection.indexed_paths, i, tokens_, docid, false);
    for (const EntryList::Entry& entry : new_entries_.entries()) {
      FORESHORE_ASSIGN_OR_RETURN(const auto other, FindOther(collection, index, i, new_entries_.key(entry),
                                                             new_entries_.value(entry), docid, body));
      if (other) holders.emplace_back(&index, *other);
    }
  }
  return holders;
}

EntryList& FieldIndexWriter::GatheredFor(KeyspaceId keyspace) {
  for (Gathered& each : gathered_) {
    if (each.keyspace == keyspace) return each.entries;
  }
  gathered_.emplace_back().keyspace = keyspace;
  return gathered_.back().entries;
}

// Writes new_entries_ of a unique index.
Status FieldIndexWriter::WriteUnique(const CollectionDefinition& collection, std::size_t index_number,
                                     std::int64_t docid, std::string_view body, bool is_merge, bool refuse_conflicts) {
  const FieldIndexDefinition& index = collection.field_indexes[index_number];
  for (const EntryList::Entry& entry : new_entries_.entries()) {
    const Bytes key = new_entries_.key(entry);
    if (is_merge || refuse_conflicts) {
      FORESHORE_ASSIGN_OR_RETURN(
          const auto other, FindOther(collection, index, index_number, key, new_entries_.value(entry), docid, body));
      if (other && refuse_conflicts) return Clash(collection, index, *other);
      if (other) FORESHORE_RETURN_IF_ERROR(NoteUniqueConflict(txn_, conflicts_, index.id, docid, *other));
    }
    FORESHORE_RETURN_IF_ERROR(txn_.Put(index.entries, key, new_entries_.value(entry)));
  }
  return Status::Ok();
}

Status FieldIndexWriter::Change(const CollectionDefinition& collection, std::size_t index_number, std::int64_t docid,
                                std::string_view old_body, std::string_view body, bool is_merge) {
  const FieldIndexDefinition& index = collection.field_indexes[index_number];
  const IndexedPaths& paths = *collection.indexed_paths;
  EntryList& gathered = GatheredFor(index.entries);
  if (old_body.empty() && !index.options.unique) {
    gathered.AddDocument(index, paths, index_number, tokens_, docid, false);
    return Status::Ok();
  }
  if (!old_body.empty() && !body.empty() && SameTokens(paths.slots(index_number), old_tokens_, tokens_) &&
      SameTokens(paths.predicate_slots(index_number), old_tokens_, tokens_)) {
    return Status::Ok();
  }
  old_entries_.Clear();
  new_entries_.Clear();
  if (!old_body.empty()) old_entries_.AddDocument(index, paths, index_number, old_tokens_, docid, true);
  if (!body.empty()) new_entries_.AddDocument(index, paths, index_number, tokens_, docid, false);
  FORESHORE_RETURN_IF_ERROR(RemoveLeft(index, docid, gathered));
  if (index.options.unique) return WriteUnique(collection, index_number, docid, body, is_merge, false);
  auto old = old_entries_.entries().begin();
  const auto old_end = old_entries_.entries().end();
  for (const EntryList::Entry& entry : new_entries_.entries()) {
    const Bytes key = new_entries_.key(entry);
    while (old != old_end && old_entries_.key(*old) < key) ++old;
    const bool is_there =
        old != old_end && old_entries_.key(*old) == key && old_entries_.value(*old) == new_entries_.value(entry);
    if (!is_there) gathered.Add(new_entries_, entry, false);
  }
  return Status::Ok();
}

// Removes the entries of old_entries_ that are not among new_entries_; both are in key order.
Status FieldIndexWriter::RemoveLeft(const FieldIndexDefinition& index, std::int64_t docid, EntryList& gathered) {
  auto fresh = new_entries_.entries().begin();
  const auto fresh_end = new_entries_.entries().end();
  for (const EntryList::Entry& old : old_entries_.entries()) {
    const Bytes key = old_entries_.key(old);
    while (fresh != fresh_end && new_entries_.key(*fresh) < key) ++fresh;
    if (fresh != fresh_end && new_entries_.key(*fresh) == key) continue;
    if (!index.options.unique) {
      gathered.Add(old_entries_, old, true);
      continue;
    }
    FORESHORE_RETURN_IF_ERROR(txn_.Delete(index.entries, key));
    FORESHORE_RETURN_IF_ERROR(ForgetUniqueConflict(txn_, conflicts_, index.id, docid));
  }
  return Status::Ok();
}

Status FieldIndexWriter::Follow(const CollectionDefinition& collection, std::int64_t docid, std::string_view old_body,
                                std::string_view body, bool is_merge) {
  if (collection.field_indexes.empty()) return Status::Ok();
  if (!old_body.empty()) collection.indexed_paths->Find(old_body, old_tokens_);
  if (!body.empty()) collection.indexed_paths->Find(body, tokens_);
  std::size_t gathered_bytes = 0;
  for (std::size_t i = 0; i < collection.field_indexes.size(); ++i) {
    FORESHORE_RETURN_IF_ERROR(Change(collection, i, docid, old_body, body, is_merge));
  }
  for (const Gathered& each : gathered_) gathered_bytes += each.entries.size_bytes();
  return gathered_bytes > kGatheredBytesMax ? Flush() : Status::Ok();
}

Status FieldIndexWriter::AddExisting(const CollectionDefinition& collection, std::size_t index_number,
                                     std::int64_t docid, std::string_view body, bool refuse_conflicts) {
  const FieldIndexDefinition& index = collection.field_indexes[index_number];
  collection.indexed_paths->Find(body, tokens_);
  if (!index.options.unique) {
    GatheredFor(index.entries).AddDocument(index, *collection.indexed_paths, index_number, tokens_, docid, false);
    return Status::Ok();
  }
  new_entries_.Clear();
  new_entries_.AddDocument(index, *collection.indexed_paths, index_number, tokens_, docid, false);
  return WriteUnique(collection, index_number, docid, body, true, refuse_conflicts);
}

Status FieldIndexWriter::WriteGathered(Gathered& gathered) {
  const auto entries = gathered.entries.entries();
  std::vector<std::uint32_t> order(entries.size());
  std::iota(order.begin(), order.end(), 0U);
  std::sort(order.begin(), order.end(), [&](std::uint32_t a, std::uint32_t b) {
    const int compared = gathered.entries.key(entries[a]).compare(gathered.entries.key(entries[b]));
    return compared != 0 ? compared < 0 : a < b;
  });
  for (std::size_t i = 0; i < order.size(); ++i) {
    const EntryList::Entry& entry = entries[order[i]];
    const Bytes key = gathered.entries.key(entry);
    // Of several changes to one entry the last one counts.
    if (i + 1 < order.size() && gathered.entries.key(entries[order[i + 1]]) == key) continue;
    FORESHORE_RETURN_IF_ERROR(entry.is_removal ? txn_.Delete(gathered.keyspace, key)
                                               : txn_.Put(gathered.keyspace, key, gathered.entries.value(entry)));
  }
  gathered.entries.Clear();
  return Status::Ok();
}

Status FieldIndexWriter::Flush() {
  for (Gathered& each : gathered_) {
    if (!each.entries.empty()) FORESHORE_RETURN_IF_ERROR(WriteGathered(each));
  }
  return Status::Ok();
}

void FieldIndexWriter::Discard() {
  for (Gathered& each : gathered_) each.entries.Clear();
}

}  // namespace foreshore
