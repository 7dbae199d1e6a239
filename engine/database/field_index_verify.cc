#include "engine/database/field_index_verify.h"

#include "engine/database/field_entries.h"
#include "engine/database/field_key.h"

namespace foreshore {
namespace {

class FieldIndexVerifier {
 public:
  FieldIndexVerifier(ReadView& view, const CollectionDefinition& collection, const FieldIndexDefinition& index,
                     const std::function<void(const std::string&)>& report)
      : view_(view),
        collection_(collection),
        index_(index),
        number_(static_cast<std::size_t>(&index - collection.field_indexes.data())),
        report_(report) {}

  Result<std::uint64_t> Check() {
    FORESHORE_ASSIGN_OR_RETURN(const std::uint64_t expected_count, CheckDocuments());
    FORESHORE_ASSIGN_OR_RETURN(const std::uint64_t entry_count, CountEntries());
    // All that belong are there, so any more do not belong; only then is each looked at.
    if (missing_count_ > 0 || entry_count != expected_count) FORESHORE_RETURN_IF_ERROR(CheckEntries());
    return entry_count;
  }

 private:
  std::string Named(std::int64_t docid) const {
    return "index \"" + index_.name + "\": document " + std::to_string(docid);
  }
  void ExpectedOf(std::int64_t docid, std::string_view body) {
    collection_.indexed_paths->Find(body, tokens_);
    expected_.Clear();
    expected_.AddDocument(index_, *collection_.indexed_paths, number_, tokens_, docid, false);
  }

  // Returns how many entries there should be.
  Result<std::uint64_t> CheckDocuments() {
    std::uint64_t count = 0;
    FORESHORE_ASSIGN_OR_RETURN(const auto documents, view_.txn().NewCursor(collection_.documents));
    for (Status status = documents->SeekFirst();; status = documents->Next()) {
      FORESHORE_RETURN_IF_ERROR(status);
      if (!documents->valid()) return count;
      const auto record = ViewRecord(documents->value());
      if (!record.ok() || !record->alive) continue;  // A damaged record is reported with its collection.
      ExpectedOf(documents->integer_key(), record->body);
      for (const EntryList::Entry& entry : expected_.entries()) {
        FORESHORE_ASSIGN_OR_RETURN(const auto marks, view_.txn().Get(index_.entries, expected_.key(entry)));
        if (marks && *marks == expected_.value(entry)) {
          ++count;
        } else if (marks) {
          ++count;
          report_(Named(documents->integer_key()) + " has an entry with wrong marks");
        } else if (index_.is_ready) {
          ++missing_count_;
          report_(Named(documents->integer_key()) + " has no entry");
        }
      }
    }
  }

  Result<std::uint64_t> CountEntries() {
    std::uint64_t count = 0;
    FORESHORE_ASSIGN_OR_RETURN(const auto cursor, view_.txn().NewCursor(index_.entries));
    for (Status status = cursor->SeekFirst();; status = cursor->Next()) {
      FORESHORE_RETURN_IF_ERROR(status);
      if (!cursor->valid()) return count;
      ++count;
    }
  }

  Status CheckEntries() {
    FORESHORE_ASSIGN_OR_RETURN(const auto cursor, view_.txn().NewCursor(index_.entries));
    for (Status status = cursor->SeekFirst();; status = cursor->Next()) {
      FORESHORE_RETURN_IF_ERROR(status);
      if (!cursor->valid()) return Status::Ok();
      const std::int64_t docid = DocidOfKey(cursor->bytes_key());
      FORESHORE_ASSIGN_OR_RETURN(const auto record, view_.GetByDocid(collection_, docid));
      if (!record) {
        report_(Named(docid) + " has an entry and does not exist");
        continue;
      }
      ExpectedOf(docid, record->body);
      bool belongs = false;
      for (const EntryList::Entry& entry : expected_.entries()) {
        belongs |= expected_.key(entry) == cursor->bytes_key();
      }
      if (!belongs) report_(Named(docid) + " has an entry of another value");
    }
  }

  ReadView& view_;
  const CollectionDefinition& collection_;
  const FieldIndexDefinition& index_;
  const std::size_t number_;
  const std::function<void(const std::string&)>& report_;
  std::uint64_t missing_count_ = 0;
  FieldTokens tokens_;
  EntryList expected_;
};

}  // namespace

Result<std::uint64_t> VerifyFieldIndex(ReadView& view, const CollectionDefinition& collection,
                                       const FieldIndexDefinition& index,
                                       const std::function<void(const std::string&)>& report) {
  return FieldIndexVerifier(view, collection, index, report).Check();
}

}  // namespace foreshore
