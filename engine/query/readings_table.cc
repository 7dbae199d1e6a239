#include "engine/query/readings_table.h"

#include <algorithm>
#include <cmath>
#include <set>

#include "engine/document/json.h"
#include "engine/query/collection_table.h"
#include "engine/query/sql_json.h"
#include "engine/query/sqlite_callback.h"

namespace foreshore {
namespace {

std::string Folded(std::string_view name) {
  std::string folded(name);
  for (char& c : folded) {
    if (c >= 'A' && c <= 'Z') c = static_cast<char>(c - 'A' + 'a');
  }
  return folded;
}

std::vector<ReadingsTableColumn> ReadingsColumnsOf(const CollectionDefinition& collection) {
  std::vector<ReadingsTableColumn> columns = {{ReadingsColumnKind::kId, "id", ""},
                                              {ReadingsColumnKind::kBody, "body", ""}};
  std::set<std::string> taken{"id", "body", "time_bucket", "bucket_width"};
  for (const std::string& field : collection.fields) {
    if (field.empty() || field.find('\0') != field.npos || !taken.insert(Folded(field)).second) continue;
    ReadingsTableColumn& column = columns.emplace_back();
    column.name = field;
    AppendJsonString(column.key, field);
    if (field == collection.options.time_field) column.kind = ReadingsColumnKind::kTime;
    if (field == collection.options.series_field) column.kind = ReadingsColumnKind::kSeries;
  }
  columns.push_back({ReadingsColumnKind::kBucket, "time_bucket", ""});
  columns.push_back({ReadingsColumnKind::kBucketWidth, "bucket_width", ""});
  return columns;
}

int Connect(sqlite3* db, void* context, int argument_count, const char* const* arguments, sqlite3_vtab** table,
            char** error) {
  auto& session = *static_cast<SessionState*>(context);
  const CollectionDefinition* definition =
      argument_count >= 3 && session.declared ? session.declared->Find(arguments[2]) : nullptr;
  if (definition == nullptr) {
    *error = sqlite3_mprintf("collection \"%s\" does not exist", argument_count >= 3 ? arguments[2] : "");
    return SQLITE_ERROR;
  }
  if (const int code = sqlite3_declare_vtab(db, ReadingsDeclarationOf(*definition).c_str()); code != SQLITE_OK) {
    return code;
  }
  sqlite3_vtab_config(db, SQLITE_VTAB_CONSTRAINT_SUPPORT, 1);
  *table = new ReadingsTable(session, *definition);
  return SQLITE_OK;
}

// Another function than Connect, because SQLite offers a module whose two are one as a table of its own name.
int Create(sqlite3* db, void* context, int argument_count, const char* const* arguments, sqlite3_vtab** table,
           char** error) {
  return Connect(db, context, argument_count, arguments, table, error);
}

int Disconnect(sqlite3_vtab* table) {
  delete static_cast<ReadingsTable*>(table);
  return SQLITE_OK;
}

sqlite3_module MakeModule() {
  sqlite3_module module{};
  module.iVersion = 1;
  module.xCreate = SqliteCallback<&Create>;
  module.xConnect = SqliteCallback<&Connect>;
  module.xBestIndex = SqliteCallback<&PlanReadingsScan>;
  module.xDisconnect = SqliteCallback<&Disconnect>;
  module.xDestroy = SqliteCallback<&Disconnect>;
  module.xUpdate = SqliteCallback<&UpdateReadings>;
  SetReadingsCursorFunctions(module);
  return module;
}

// The positions of constraints that a plan can use; -1 where there is none.
struct Constraints {
  int id = -1;
  int series = -1;
  int lower = -1;
  int upper = -1;
  int width = -1;
};

bool IsBinary(sqlite3_index_info* info, int position) {
  const char* collation = sqlite3_vtab_collation(info, position);
  return collation == nullptr || sqlite3_stricmp(collation, "BINARY") == 0;
}

void Collect(const ReadingsTable& table, sqlite3_index_info* info, Constraints& found) {
  for (int i = 0; i < info->nConstraint; ++i) {
    const auto& constraint = info->aConstraint[i];
    if (constraint.usable == 0 || constraint.iColumn < 0) continue;
    // LIMIT and OFFSET stay with SQLite, which tests every term again.
    const bool equal = constraint.op == SQLITE_INDEX_CONSTRAINT_EQ || constraint.op == SQLITE_INDEX_CONSTRAINT_IS;
    const bool lower = constraint.op == SQLITE_INDEX_CONSTRAINT_GT || constraint.op == SQLITE_INDEX_CONSTRAINT_GE;
    const bool upper = constraint.op == SQLITE_INDEX_CONSTRAINT_LT || constraint.op == SQLITE_INDEX_CONSTRAINT_LE;
    if (!equal && !lower && !upper) continue;
    switch (table.columns[static_cast<std::size_t>(constraint.iColumn)].kind) {
      case ReadingsColumnKind::kId:
        if (equal && IsBinary(info, i)) found.id = i;
        break;
      case ReadingsColumnKind::kSeries:
        if (equal && IsBinary(info, i)) found.series = i;
        break;
      case ReadingsColumnKind::kTime:
        if (equal || lower) found.lower = i;
        if (equal || upper) found.upper = i;
        break;
      case ReadingsColumnKind::kBucketWidth:
        if (equal) found.width = i;
        break;
      default: break;
    }
  }
}

}  // namespace

std::string ReadingsDeclarationOf(const CollectionDefinition& collection) {
  std::string sql = "CREATE TABLE x(";
  for (const ReadingsTableColumn& column : ReadingsColumnsOf(collection)) {
    if (column.kind != ReadingsColumnKind::kId) sql += ", ";
    sql += QuoteIdentifier(column.name);
    if (column.kind == ReadingsColumnKind::kId) sql += " TEXT PRIMARY KEY";
    if (column.kind == ReadingsColumnKind::kBody) sql += " TEXT";
    if (column.kind == ReadingsColumnKind::kBucket || column.kind == ReadingsColumnKind::kBucketWidth) sql += " HIDDEN";
  }
  return sql + ") WITHOUT ROWID /* readings */";
}

ReadingsTable::ReadingsTable(SessionState& session_reference, const CollectionDefinition& definition)
    : sqlite3_vtab{},
      session(session_reference),
      collection_id(definition.id),
      name(definition.name),
      time_unit(definition.options.time_unit),
      columns(ReadingsColumnsOf(definition)) {}

Result<const CollectionDefinition*> ReadingsTable::DefinitionIn(const ReadView& view) const {
  if (const CollectionDefinition* definition = view.catalog().FindById(collection_id)) return definition;
  return Status::NotFound("collection \"" + name + "\" does not exist in this statement's snapshot");
}

Status RegisterReadingsModule(SessionState& session) {
  static const sqlite3_module module = MakeModule();
  const int code = sqlite3_create_module_v2(session.db, "foreshore_readings", &module, &session, nullptr);
  return code == SQLITE_OK ? Status::Ok() : session.ErrorOf(code);
}

int PlanReadingsScan(sqlite3_vtab* base, sqlite3_index_info* info) {
  auto& table = *static_cast<ReadingsTable*>(base);
  Constraints found;
  Collect(table, info, found);
  static const CollectionDefinition kNone;
  const CollectionDefinition* known =
      table.session.declared ? table.session.declared->FindById(table.collection_id) : nullptr;
  double rows = static_cast<double>(table.session.EstimateRows(known ? *known : kNone));
  int argument_count = 0;
  const auto use = [&](int position, bool& flag) {
    if (position < 0) return;
    flag = true;
    auto& usage = info->aConstraintUsage[position];
    // Equality of times is both bounds: one argument that is read twice.
    if (usage.argvIndex == 0) usage.argvIndex = ++argument_count;
  };
  ReadingsPlan plan;
  std::string text = "readings: ";
  use(found.width, plan.has_width);
  if (plan.has_width) info->aConstraintUsage[found.width].omit = 1;
  if (found.id >= 0) {
    use(found.id, plan.by_id);
    info->idxFlags |= SQLITE_INDEX_SCAN_UNIQUE;
    rows = 1;
    text += "id";
  } else {
    use(found.series, plan.has_series);
    use(found.lower, plan.has_lower);
    use(found.upper, plan.has_upper);
    if (plan.has_series) rows /= 20;
    if (plan.has_lower) rows /= 4;
    if (plan.has_upper) rows /= 4;
    text += plan.has_series ? "one series" : "all series";
    if (plan.has_lower) text += ", from time";
    if (plan.has_upper) text += ", to time";
  }
  double cost = 20 + rows;
  if (info->nOrderBy == 1 && info->aOrderBy[0].iColumn >= 0) {
    const auto kind = table.columns[static_cast<std::size_t>(info->aOrderBy[0].iColumn)].kind;
    // Starts of intervals grow with the time.
    if (kind == ReadingsColumnKind::kTime || (kind == ReadingsColumnKind::kBucket && plan.has_width)) {
      (info->aOrderBy[0].desc != 0 ? plan.time_down : plan.time_up) = true;
      info->orderByConsumed = 1;
      cost += plan.has_series ? 0 : rows / 2;
      text += info->aOrderBy[0].desc != 0 ? ", latest first" : ", in order of time";
    }
  }
  info->idxNum = plan.Encode();
  info->idxStr = sqlite3_mprintf("%s", text.c_str());
  info->needToFreeIdxStr = 1;
  info->estimatedCost = cost;
  info->estimatedRows = std::max<sqlite3_int64>(1, static_cast<sqlite3_int64>(rows));
  return SQLITE_OK;
}

}  // namespace foreshore
