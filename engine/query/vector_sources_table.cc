#include "engine/query/vector_sources_table.h"

#include <array>
#include <vector>

#include "engine/database/stored_vector.h"
#include "engine/database/vector_reader.h"
#include "engine/model/model_registry.h"
#include "engine/query/sql_json.h"
#include "engine/query/table_function.h"
#include "storage/base/coding.h"

namespace foreshore {
namespace {

enum ColumnNumber : int {
  kIdColumn,
  kFieldColumn,
  kModelColumn,
  kVersionColumn,
  kAdapterColumn,
  kAdapterVersionColumn,
  kRevisionColumn,
  kMadeAtColumn,
  kStaleColumn
};

class VectorSourcesCursor : public sqlite3_vtab_cursor {
 public:
  static constexpr const char* kName = "vector_sources";
  static constexpr const char* kDeclaration =
      "CREATE TABLE x(id TEXT, field TEXT, model TEXT, version TEXT, adapter TEXT, adapter_version TEXT, "
      "document_revision INTEGER, made_at INTEGER, stale TEXT, collection HIDDEN, wanted_field HIDDEN)";
  static constexpr int kFirstArgument = kStaleColumn + 1;
  static constexpr int kArgumentCount = 2;
  static constexpr int kArgumentCountMin = 1;
  static constexpr const char* kExpected = "the name of a collection";
  using Arguments = std::array<sqlite3_value*, kArgumentCount>;

  explicit VectorSourcesCursor(SessionState& session) : sqlite3_vtab_cursor{}, session_(session) {}
  static void Describe(SessionState&, sqlite3_index_info*, const std::array<int, kArgumentCount>&) {}

  // Of a collection, and of one of its vector fields or all.
  Status Filter(const Arguments& arguments) {
    const auto [collection, field] = arguments;
    fields_.clear();
    row_id_ = 0;
    FORESHORE_ASSIGN_OR_RETURN(view_, session_.View());
    FORESHORE_ASSIGN_OR_RETURN(collection_, view_->catalog().Require(TextOf(collection)));
    for (const VectorIndexDefinition& index : collection_->vector_indexes) {
      if (field == nullptr || index.options.field == TextOf(field)) fields_.push_back(&index);
    }
    if (field != nullptr && fields_.empty()) {
      return Status::NotFound("vector index \"" + collection_->name + "." + std::string(TextOf(field)) +
                              "\" does not exist");
    }
    next_field_ = 0;
    docids_.clear();
    next_docid_ = 0;
    return Next();
  }

  Status Next() {
    ++row_id_;
    while (true) {
      if (next_docid_ % 256 == 0) FORESHORE_RETURN_IF_ERROR(session_.Check());
      if (next_docid_ < docids_.size()) {
        FORESHORE_ASSIGN_OR_RETURN(const bool found, StandOn(docids_[next_docid_++]));
        if (found) return Status::Ok();
        continue;
      }
      at_end_ = next_field_ >= fields_.size();
      if (at_end_) return Status::Ok();
      FORESHORE_RETURN_IF_ERROR(EnterField(*fields_[next_field_++]));
    }
  }
  bool at_end() const { return at_end_; }
  std::int64_t row_id() const { return row_id_; }

  void Column(sqlite3_context* context, int column) const {
    const auto set_text = [&](std::string_view text) {
      if (!text.empty()) sqlite3_result_text64(context, text.data(), text.size(), SQLITE_TRANSIENT, SQLITE_UTF8);
    };
    switch (column) {
      case kIdColumn: return set_text(id_);
      case kFieldColumn: return set_text(index_->options.field);
      case kModelColumn: return set_text(index_->options.model);
      case kVersionColumn: return set_text(index_->pin.version);
      case kAdapterColumn: return set_text(index_->options.adapter);
      case kAdapterVersionColumn: return set_text(index_->pin.adapter_version);
      case kRevisionColumn:
        // Hlcs have 48 bits of milliseconds: the sign is free until the year 6429.
        if (revision_ != 0) sqlite3_result_int64(context, static_cast<sqlite3_int64>(revision_));
        return;
      case kMadeAtColumn:
        if (made_unix_ms_ != 0) sqlite3_result_int64(context, made_unix_ms_);
        return;
      case kStaleColumn: return set_text(stale_);
      default: return;
    }
  }

 private:
  // Docids alone, since a statement that writes may write to what it reads here.
  Status EnterField(const VectorIndexDefinition& index) {
    index_ = &index;
    docids_.clear();
    next_docid_ = 0;
    {
      VectorReader vectors(view_->txn(), index);
      for (Status status = vectors.SeekFirst();; status = vectors.Next()) {
        FORESHORE_RETURN_IF_ERROR(status);
        if (!vectors.valid()) break;
        docids_.push_back(vectors.docid());
        if (docids_.size() % 4096 == 0) FORESHORE_RETURN_IF_ERROR(session_.Check());
      }
    }
    model_changed_ = false;
    const CollectionDefinition* models = view_->catalog().Find(kModelsCollection);
    if (!index.has_model() || models == nullptr) return Status::Ok();
    FORESHORE_ASSIGN_OR_RETURN(const auto row, view_->Get(*models, index.options.model));
    const auto now = row ? ModelRegistry::PinOfRow(row->body, index.options.adapter) : Status::NotFound("model");
    model_changed_ = !now.ok() || *now != index.pin;
    return Status::Ok();
  }

  Result<bool> StandOn(std::int64_t docid) {
    std::string source;
    {
      FORESHORE_ASSIGN_OR_RETURN(const auto document, view_->GetByDocid(*collection_, docid));
      if (!document) return false;  // It has expired, or this statement's transaction has deleted it.
      id_ = document->id;
      if (index_->has_model()) source = SourceTextOf(*index_, document->body);
    }
    VectorReader vectors(view_->txn(), *index_);
    FORESHORE_ASSIGN_OR_RETURN(const auto bytes, vectors.Get(docid));
    if (!bytes) return false;
    FORESHORE_ASSIGN_OR_RETURN(const StoredVector stored, DecodeStoredVector(*bytes));
    revision_ = stored.document_revision;
    made_unix_ms_ = stored.made_unix_ms;
    stale_.clear();
    if (!index_->has_model()) return true;
    if (Fnv1a64(source) != stored.source_hash) stale_ = "document";
    if (model_changed_) stale_ += stale_.empty() ? "model" : ",model";
    return true;
  }

  SessionState& session_;
  ReadView* view_ = nullptr;
  const CollectionDefinition* collection_ = nullptr;
  std::vector<const VectorIndexDefinition*> fields_;
  std::size_t next_field_ = 0;
  const VectorIndexDefinition* index_ = nullptr;
  bool model_changed_ = false;
  std::vector<std::int64_t> docids_;  // Of index_.
  std::size_t next_docid_ = 0;
  bool at_end_ = true;
  std::int64_t row_id_ = 0;
  // The present row.
  std::string id_;
  std::string stale_;
  std::uint64_t revision_ = 0;
  std::int64_t made_unix_ms_ = 0;
};

}  // namespace

Status RegisterVectorSourcesTable(SessionState& session) {
  return TableFunction<VectorSourcesCursor>::Register(session);
}

}  // namespace foreshore
