#include "engine/query/collection_table.h"

#include <algorithm>

#include "engine/document/json.h"
#include "engine/query/array_contains.h"
#include "engine/query/collection_cursor.h"
#include "engine/query/sqlite_callback.h"

namespace foreshore {

namespace {

// SQLite folds only ASCII letters when it compares names.
std::string FoldedName(std::string_view name) {
  std::string folded(name);
  for (char& c : folded) {
    if (c >= 'A' && c <= 'Z') c = static_cast<char>(c - 'A' + 'a');
  }
  return folded;
}

std::string JsonKey(std::string_view name) {
  std::string key;
  AppendJsonString(key, name);
  return key;
}

int Connect(sqlite3* db, void* context, int argument_count, const char* const* arguments, sqlite3_vtab** table,
            char** error) {
  auto& session = *static_cast<SessionState*>(context);
  // Arguments: module, database, table.
  const CollectionDefinition* definition =
      argument_count >= 3 && session.declared ? session.declared->Find(arguments[2]) : nullptr;
  if (definition == nullptr) {
    *error = sqlite3_mprintf("collection \"%s\" does not exist", argument_count >= 3 ? arguments[2] : "");
    return SQLITE_ERROR;
  }
  const std::string declaration = DeclarationOf(*definition);
  if (const int code = sqlite3_declare_vtab(db, declaration.c_str()); code != SQLITE_OK) return code;
  // INSERT OR IGNORE and OR REPLACE reach xUpdate.
  sqlite3_vtab_config(db, SQLITE_VTAB_CONSTRAINT_SUPPORT, 1);
  *table = new CollectionTable(session, *definition);
  return SQLITE_OK;
}

// Another function than Connect, because SQLite offers a module whose two are one as a table of its own name.
int Create(sqlite3* db, void* context, int argument_count, const char* const* arguments, sqlite3_vtab** table,
           char** error) {
  return Connect(db, context, argument_count, arguments, table, error);
}

int Disconnect(sqlite3_vtab* table) {
  delete static_cast<CollectionTable*>(table);
  return SQLITE_OK;
}

void RefuseMatch(sqlite3_context* context, int /*argument_count*/, sqlite3_value** /*arguments*/) {
  sqlite3_result_error(context, "MATCH must be an AND term of WHERE or of a join's ON", -1);
}

// SQLite asks for a function only where it has to compute MATCH row by row, which no plan of ours leaves to it.
int FindFunction(sqlite3_vtab* table, int argument_count, const char* name,
                 void (**function)(sqlite3_context*, int, sqlite3_value**), void** /*argument*/) {
  if (argument_count == 2 && sqlite3_stricmp(name, "array_contains") == 0) {
    *function = SqliteCallback<&ArrayContains>;
    return kArrayContainsConstraint;
  }
  if (argument_count != 2 || sqlite3_stricmp(name, "match") != 0) return 0;
  auto& collection = *static_cast<CollectionTable*>(table);
  try {
    collection.session.notes.misplaced_match = collection.name;
  } catch (const std::bad_alloc&) {
    return 0;  // The code of an error would mean a function here; SQLite then says itself what it cannot do.
  }
  *function = &RefuseMatch;
  return 1;
}

sqlite3_module MakeModule() {
  sqlite3_module module{};
  module.iVersion = 1;
  module.xCreate = SqliteCallback<&Create>;
  module.xConnect = SqliteCallback<&Connect>;
  module.xBestIndex = SqliteCallback<&PlanCollectionScan>;
  module.xDisconnect = SqliteCallback<&Disconnect>;
  module.xDestroy = SqliteCallback<&Disconnect>;
  module.xUpdate = SqliteCallback<&UpdateCollection>;
  module.xFindFunction = &FindFunction;
  SetCursorFunctions(module);
  return module;
}

}  // namespace

std::string QuoteIdentifier(std::string_view name) {
  std::string quoted = "\"";
  for (const char c : name) {
    if (c == '"') quoted += '"';
    quoted += c;
  }
  return quoted + '"';
}

std::vector<TableColumn> ColumnsOf(const CollectionDefinition& collection) {
  std::vector<TableColumn> columns;
  std::set<std::string> taken{"id", "body", "distance", "k", FoldedName(collection.name)};
  if (collection.text_index) taken.insert({"rank", "score"});
  int field_count = 0;
  const auto usable = [&](const std::string& name) {
    return !name.empty() && name.find('\0') == std::string::npos && taken.insert(FoldedName(name)).second;
  };
  columns.push_back({ColumnKind::kId, "id", "", 0, -1});
  columns.push_back({ColumnKind::kBody, "body", "", 0, -1});
  // A top-level field is a column as soon as a document has it; under an index, from the start.
  std::vector<std::string> indexed_fields;
  const auto add_path = [&](const std::string& path) {
    if (path.find(kPathSeparator) == std::string::npos) {
      if (std::find(collection.fields.begin(), collection.fields.end(), path) == collection.fields.end()) {
        indexed_fields.push_back(path);
      }
    } else if (const std::string name = PathForPeople(path); columns.size() < 2 * kColumnCountMax && usable(name)) {
      columns.push_back({ColumnKind::kPath, name, "", 0, -1, path});
    }
  };
  for (const FieldIndexDefinition& index : collection.field_indexes) {
    for (const IndexedPath& path : index.paths) add_path(path.path);
    for (const FieldTerm& term : index.predicate) add_path(term.path);
  }
  for (const PredictiveIndexDefinition& index : collection.predictive_indexes) {
    if (index.input.is_image()) continue;
    for (const std::string& path : index.input.paths()) add_path(path);
  }
  for (const VectorIndexDefinition& index : collection.vector_indexes) {
    if (!usable(index.options.field)) continue;
    TableColumn column{ColumnKind::kVector, index.options.field, "", index.id, -1};
    // A vector that the application writes is an ordinary value of the document.
    if (!index.has_model() && index.paths.size() == 1 && index.paths[0].find(kPathSeparator) == std::string::npos) {
      column.key = JsonKey(index.paths[0]);
      column.field_number = field_count++;
    }
    columns.push_back(std::move(column));
  }
  for (const std::string& field : collection.fields) {
    if (field_count >= static_cast<int>(kColumnCountMax)) break;
    if (usable(field)) columns.push_back({ColumnKind::kField, field, JsonKey(field), 0, field_count++, field});
  }
  for (const std::string& field : indexed_fields) {
    if (usable(field)) columns.push_back({ColumnKind::kField, field, JsonKey(field), 0, field_count++, field});
  }
  columns.push_back({ColumnKind::kDistance, "distance", "", 0, -1});
  columns.push_back({ColumnKind::kNearestCount, "k", "", 0, -1});
  if (collection.text_index) {
    columns.push_back({ColumnKind::kRank, "rank", "", 0, -1});
    columns.push_back({ColumnKind::kScore, "score", "", 0, -1});
  }
  for (const PredictiveIndexDefinition& index : collection.predictive_indexes) {
    if (!usable(index.column)) continue;
    columns.push_back({ColumnKind::kPredicted, index.column, "", index.id, -1, PathOfPrediction(index.column)});
  }
  columns.push_back({ColumnKind::kFullText, collection.name, "", 0, -1});
  return columns;
}

std::string DeclarationOf(const CollectionDefinition& collection) {
  std::string sql = "CREATE TABLE x(";
  std::string vectors;
  std::string predictions;
  for (const TableColumn& column : ColumnsOf(collection)) {
    if (column.kind != ColumnKind::kId) sql += ", ";
    sql += QuoteIdentifier(column.name);
    switch (column.kind) {
      case ColumnKind::kId:
      case ColumnKind::kBody: sql += " TEXT"; break;
      case ColumnKind::kVector: vectors += " " + std::to_string(column.index_id); break;
      case ColumnKind::kPath:
      case ColumnKind::kField: break;  // No affinity: values keep the type that the document gave them.
      case ColumnKind::kDistance:
      case ColumnKind::kNearestCount:
      case ColumnKind::kRank:
      case ColumnKind::kScore:
      case ColumnKind::kFullText: sql += " HIDDEN"; break;
      case ColumnKind::kPredicted:
        sql += " HIDDEN";
        predictions += " " + std::to_string(column.index_id);
        break;
    }
  }
  std::string fields;  // Statements are planned anew where an index came or went.
  for (const FieldIndexDefinition& index : collection.field_indexes) {
    if (index.is_ready) fields += " " + std::to_string(index.id);
  }
  if (collection.text_index) vectors += ", full-text index " + std::to_string(collection.text_index->id);
  return sql + ") /* vector indexes" + vectors + ", indexes" + fields + ", predictive" + predictions + " */";
}

CollectionTable::CollectionTable(SessionState& session_reference, const CollectionDefinition& definition)
    : sqlite3_vtab{},
      session(session_reference),
      collection_id(definition.id),
      name(definition.name),
      columns(ColumnsOf(definition)) {
  for (const TableColumn& column : columns) {
    if (column.field_number >= 0) field_keys.push_back(column.key);
  }
}

std::string CollectionTable::KeepFieldScan(const FieldScanPlan& plan, std::string text) {
  std::string key = text;
  for (int number = 2;; ++number) {
    const auto [place, is_new] = field_scans.try_emplace(key, plan);
    if (is_new || place->second == plan) return key;
    key = text + " #" + std::to_string(number);
  }
}

Result<const CollectionDefinition*> CollectionTable::DefinitionIn(const ReadView& view) const {
  if (const CollectionDefinition* definition = view.catalog().FindById(collection_id)) return definition;
  return Status::NotFound("collection \"" + name + "\" does not exist in this statement's snapshot");
}

const VectorIndexDefinition* CollectionTable::FindIndex(const CollectionDefinition& definition,
                                                        const TableColumn& column) const {
  // By name: another index may have taken the field over since the table was declared.
  return column.kind == ColumnKind::kVector ? definition.FindVectorIndex(column.name) : nullptr;
}

Status RegisterCollectionModule(SessionState& session) {
  static const sqlite3_module module = MakeModule();
  const int code = sqlite3_create_module_v2(session.db, "foreshore_collection", &module, &session, nullptr);
  return code == SQLITE_OK ? Status::Ok() : session.ErrorOf(code);
}

}  // namespace foreshore
