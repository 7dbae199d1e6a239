#include "engine/query/vector_sources_table.h"

#include <vector>

#include "engine/database/stored_vector.h"
#include "engine/model/model_registry.h"
#include "engine/query/sql_json.h"
#include "engine/query/sqlite_callback.h"
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
  kStaleColumn,
  kCollectionColumn,
  kWantedFieldColumn
};
constexpr const char* kDeclaration =
    "CREATE TABLE x(id TEXT, field TEXT, model TEXT, version TEXT, adapter TEXT, adapter_version TEXT, "
    "document_revision INTEGER, made_at INTEGER, stale TEXT, collection HIDDEN, wanted_field HIDDEN)";

struct VectorSourcesTable : sqlite3_vtab {
  explicit VectorSourcesTable(SessionState& session_state) : sqlite3_vtab{}, session(session_state) {}
  int Fail(const Status& status) { return session.Fail(this, status); }
  SessionState& session;
};

class VectorSourcesCursor : public sqlite3_vtab_cursor {
 public:
  explicit VectorSourcesCursor(VectorSourcesTable& table) : sqlite3_vtab_cursor{}, table_(table) {}

  // `field` may be null: all vector fields.
  Status Filter(sqlite3_value* collection, sqlite3_value* field) {
    fields_.clear();
    row_id_ = 0;
    FORESHORE_ASSIGN_OR_RETURN(view_, table_.session.View());
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
      if (next_docid_ % 256 == 0) FORESHORE_RETURN_IF_ERROR(table_.session.Check());
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
      FORESHORE_ASSIGN_OR_RETURN(const auto cursor, view_->txn().NewCursor(index.vectors));
      for (Status status = cursor->SeekFirst();; status = cursor->Next()) {
        FORESHORE_RETURN_IF_ERROR(status);
        if (!cursor->valid()) break;
        docids_.push_back(cursor->integer_key());
        if (docids_.size() % 4096 == 0) FORESHORE_RETURN_IF_ERROR(table_.session.Check());
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
    FORESHORE_ASSIGN_OR_RETURN(const auto bytes, view_->txn().Get(index_->vectors, docid));
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

  VectorSourcesTable& table_;
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

VectorSourcesCursor& CursorOf(sqlite3_vtab_cursor* cursor) {
  return *static_cast<VectorSourcesCursor*>(cursor);
}

int Finish(sqlite3_vtab_cursor* cursor, const Status& status) {
  return status.ok() ? SQLITE_OK : static_cast<VectorSourcesTable*>(cursor->pVtab)->Fail(status);
}

int Connect(sqlite3* db, void* context, int, const char* const*, sqlite3_vtab** table, char**) {
  const int code = sqlite3_declare_vtab(db, kDeclaration);
  if (code != SQLITE_OK) return code;
  *table = new VectorSourcesTable(*static_cast<SessionState*>(context));
  return SQLITE_OK;
}

int Disconnect(sqlite3_vtab* table) {
  delete static_cast<VectorSourcesTable*>(table);
  return SQLITE_OK;
}

int BestIndex(sqlite3_vtab* table, sqlite3_index_info* info) {
  int collection = -1;
  int field = -1;
  bool has_unusable = false;
  for (int i = 0; i < info->nConstraint; ++i) {
    const auto& constraint = info->aConstraint[i];
    if (constraint.op != SQLITE_INDEX_CONSTRAINT_EQ) continue;
    if (constraint.iColumn != kCollectionColumn && constraint.iColumn != kWantedFieldColumn) continue;
    has_unusable = has_unusable || constraint.usable == 0;
    (constraint.iColumn == kCollectionColumn ? collection : field) = i;
  }
  if (has_unusable) return SQLITE_CONSTRAINT;
  if (collection < 0) {
    return static_cast<VectorSourcesTable*>(table)->Fail(
        Status::InvalidArgument("vector_sources: expected the name of a collection"));
  }
  info->aConstraintUsage[collection] = {1, 1};
  if (field >= 0) info->aConstraintUsage[field] = {2, 1};
  info->estimatedCost = 1e6;
  info->estimatedRows = 100'000;
  return SQLITE_OK;
}

int Open(sqlite3_vtab* table, sqlite3_vtab_cursor** cursor) {
  *cursor = new VectorSourcesCursor(*static_cast<VectorSourcesTable*>(table));
  return SQLITE_OK;
}
int Close(sqlite3_vtab_cursor* cursor) {
  delete &CursorOf(cursor);
  return SQLITE_OK;
}
int Filter(sqlite3_vtab_cursor* cursor, int, const char*, int count, sqlite3_value** arguments) {
  if (count < 1) return SQLITE_INTERNAL;
  return Finish(cursor, CursorOf(cursor).Filter(arguments[0], count > 1 ? arguments[1] : nullptr));
}
int Next(sqlite3_vtab_cursor* cursor) {
  return Finish(cursor, CursorOf(cursor).Next());
}
int AtEnd(sqlite3_vtab_cursor* cursor) {
  return CursorOf(cursor).at_end() ? 1 : 0;
}
int Column(sqlite3_vtab_cursor* cursor, sqlite3_context* context, int column) {
  CursorOf(cursor).Column(context, column);
  return SQLITE_OK;
}
int RowId(sqlite3_vtab_cursor* cursor, sqlite3_int64* row_id) {
  *row_id = CursorOf(cursor).row_id();
  return SQLITE_OK;
}

// Without xCreate: a table-valued function under its own name.
sqlite3_module MakeModule() {
  sqlite3_module module{};
  module.iVersion = 1;
  module.xConnect = SqliteCallback<&Connect>;
  module.xBestIndex = SqliteCallback<&BestIndex>;
  module.xDisconnect = SqliteCallback<&Disconnect>;
  module.xOpen = SqliteCallback<&Open>;
  module.xClose = SqliteCallback<&Close>;
  module.xFilter = SqliteCallback<&Filter>;
  module.xNext = SqliteCallback<&Next>;
  module.xEof = SqliteCallback<&AtEnd>;
  module.xColumn = SqliteCallback<&Column>;
  module.xRowid = SqliteCallback<&RowId>;
  return module;
}

}  // namespace

Status RegisterVectorSourcesTable(SessionState& session) {
  static const sqlite3_module kModule = MakeModule();
  const int code = sqlite3_create_module_v2(session.db, "vector_sources", &kModule, &session, nullptr);
  return code == SQLITE_OK ? Status::Ok() : session.ErrorOf(code);
}

}  // namespace foreshore
