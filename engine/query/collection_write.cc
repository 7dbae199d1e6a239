// INSERT, UPDATE and DELETE on a collection: each row becomes one call of the statement's WriteView.

#include <algorithm>

#include "engine/document/json.h"
#include "engine/document/json_walk.h"
#include "engine/query/collection_table.h"
#include "engine/query/sql_json.h"
#include "engine/query/vector_argument.h"

namespace foreshore {

namespace {

// xUpdate's arguments are the old rowid, the new rowid and then the columns.
constexpr int kFirstColumnArgument = 2;

struct FieldEdit {
  std::string_view key;  // JSON string token.
  std::string token;     // Empty: the field is removed.
};

// The object with its top-level fields changed; fields that are new go to the end.
std::string EditedBody(std::string_view body, std::vector<FieldEdit>& edits) {
  std::string out = "{";
  const auto append = [&](std::string_view key, std::string_view token) {
    if (out.size() > 1) out += ',';
    out.append(key).append(1, ':').append(token);
  };
  JsonMembers members(body);
  for (JsonMember member; members.Next(member);) {
    const auto edit =
        std::find_if(edits.begin(), edits.end(), [&](const FieldEdit& each) { return each.key == member.key; });
    if (edit == edits.end()) {
      append(member.key, member.value);
    } else if (!edit->token.empty()) {
      append(member.key, edit->token);
      edit->token.clear();  // Done; nothing is left to append.
    }
  }
  for (const FieldEdit& edit : edits) {
    if (!edit.token.empty()) append(edit.key, edit.token);
  }
  return out + '}';
}

// The value of a top-level field; empty where there is none.
std::string_view FieldOf(std::string_view body, std::string_view key) {
  JsonMembers members(body);
  for (JsonMember member; members.Next(member);) {
    if (member.key == key) return member.value;
  }
  return {};
}

// How SQLite says which columns a row leaves alone.
enum class WriteMode : std::uint8_t {
  kInsert,      // NULL, whether it was written or the column not named.
  kUpdate,      // sqlite3_value_nochange.
  kUpdateFrom,  // UPDATE … FROM gives every column back as it was read.
};

class RowWriter {
 public:
  RowWriter(CollectionTable& table, WriteView& view, const CollectionDefinition& definition, sqlite3_value** arguments)
      : table_(table), view_(view), definition_(definition), arguments_(arguments) {}

  Status Insert(sqlite3_int64* rowid, bool& conflict);
  Status Update();
  Status Delete();

 private:
  sqlite3_value* ArgumentOf(std::size_t column) const { return arguments_[kFirstColumnArgument + column]; }
  std::string Named(const TableColumn& column) const { return "column \"" + table_.name + "." + column.name + "\""; }
  Result<std::string> InsertedId() const;
  WriteMode FindUpdateMode() const;
  bool IsUntouched(const TableColumn& column, sqlite3_value* value) const;
  // The body that `before_` becomes with the columns that are set.
  Result<std::string> ComposeBody();
  Status CollectEdit(const TableColumn& column, sqlite3_value* value, std::string_view base,
                     std::vector<FieldEdit>& edits);
  Result<std::string> VectorToken(const TableColumn& column, sqlite3_value* value) const;
  // OR REPLACE: removes the documents that hold a unique value of the one that is written.
  Status ReplaceHolders(std::int64_t docid, const std::string& body);
  // Runs one write of the view and keeps account of it.
  Status Write(const std::function<Status()>& write);

  CollectionTable& table_;
  WriteView& view_;
  const CollectionDefinition& definition_;
  sqlite3_value** arguments_;
  WriteMode mode_ = WriteMode::kInsert;
  std::string before_ = "{}";  // The body that is there.
};

// A plain UPDATE marks at least the hidden columns as left alone, because nothing can be written to them.
WriteMode RowWriter::FindUpdateMode() const {
  for (std::size_t i = 0; i < table_.columns.size(); ++i) {
    if (sqlite3_value_nochange(ArgumentOf(i))) return WriteMode::kUpdate;
  }
  return WriteMode::kUpdateFrom;
}

bool RowWriter::IsUntouched(const TableColumn& column, sqlite3_value* value) const {
  const bool is_null = sqlite3_value_type(value) == SQLITE_NULL;
  if (mode_ == WriteMode::kInsert) return is_null;
  if (mode_ == WriteMode::kUpdate) return sqlite3_value_nochange(value) != 0;
  if (column.kind == ColumnKind::kBody) return sqlite3_value_type(value) == SQLITE_TEXT && TextOf(value) == before_;
  // What is no field of the document cannot be told from what was read, and cannot be written anyway.
  if (column.key.empty()) return true;
  const std::string_view token = FieldOf(before_, column.key);
  return is_null ? token.empty() || token == "null" : ReadsAs(value, token);
}

Status RowWriter::Write(const std::function<Status()>& write) {
  const Status status = write();
  ++table_.session.write_counts[table_.collection_id];
  if (status.ok()) ++table_.session.running->changed_count;
  return status;
}

Status RowWriter::ReplaceHolders(std::int64_t docid, const std::string& body) {
  if (sqlite3_vtab_on_conflict(table_.session.db) != SQLITE_REPLACE) return Status::Ok();
  FORESHORE_ASSIGN_OR_RETURN(const auto holders, view_.UniqueHolders(definition_, docid, body));
  for (const std::string& holder : holders) {
    FORESHORE_RETURN_IF_ERROR(Write([&] { return view_.Delete(definition_, holder, true); }));
    --table_.session.running->changed_count;  // SQLite does not count what a REPLACE removes.
  }
  return Status::Ok();
}

Result<std::string> RowWriter::VectorToken(const TableColumn& column, sqlite3_value* value) const {
  const VectorIndexDefinition* index = table_.FindIndex(definition_, column);
  if (index != nullptr && index->has_model()) {
    return Status::InvalidArgument(Named(column) + " is filled by model \"" + index->options.model +
                                   "\" and cannot be written");
  }
  if (column.field_number < 0) return Status::Unsupported(Named(column) + " is nested: write it through body");
  FORESHORE_ASSIGN_OR_RETURN(const auto vectors, VectorsFromValue(value, Named(column)));
  // JSON keeps the numbers as they were written; only a blob has none to keep.
  if (sqlite3_value_type(value) == SQLITE_TEXT) return NormaliseValue(TextOf(value));
  return JsonFromVector(vectors[0]);
}

Status RowWriter::CollectEdit(const TableColumn& column, sqlite3_value* value, std::string_view base,
                              std::vector<FieldEdit>& edits) {
  const bool is_null = sqlite3_value_type(value) == SQLITE_NULL;
  switch (column.kind) {
    case ColumnKind::kId:
    case ColumnKind::kBody: return Status::Ok();
    case ColumnKind::kDistance:
    case ColumnKind::kNearestCount:
    case ColumnKind::kRank:
    case ColumnKind::kScore:
    case ColumnKind::kPredicted:
    case ColumnKind::kFullText: return Status::InvalidArgument(Named(column) + " is hidden and cannot be written");
    case ColumnKind::kPath: return Status::Unsupported(Named(column) + " is nested: write it through body");
    case ColumnKind::kVector: {
      if (is_null && column.field_number >= 0) {
        edits.push_back({column.key, ""});
        return Status::Ok();
      }
      FORESHORE_ASSIGN_OR_RETURN(std::string token, VectorToken(column, value));
      edits.push_back({column.key, std::move(token)});
      return Status::Ok();
    }
    case ColumnKind::kField: break;
  }
  if (is_null) {
    edits.push_back({column.key, ""});
    return Status::Ok();
  }
  const bool is_update = mode_ != WriteMode::kInsert;
  if (is_update && ReadsAs(value, FieldOf(base, column.key))) return Status::Ok();
  // UPDATE loses JSON's subtype in some plans and keeps it in others, so there it never counts.
  auto token = JsonFromValue(value, !is_update);
  if (!token.ok()) return token.status().WithContext(Named(column));
  edits.push_back({column.key, std::move(token).value()});
  return Status::Ok();
}

Result<std::string> RowWriter::ComposeBody() {
  std::string base = before_;
  std::vector<FieldEdit> edits;
  for (std::size_t i = 0; i < table_.columns.size(); ++i) {
    const TableColumn& column = table_.columns[i];
    sqlite3_value* value = ArgumentOf(i);
    if (IsUntouched(column, value)) continue;
    if (column.kind == ColumnKind::kBody) {  // It comes before every field.
      const std::string name = "column \"" + table_.name + ".body\"";
      if (sqlite3_value_type(value) != SQLITE_TEXT) {
        return Status::InvalidArgument(name + " expects a JSON object as text");
      }
      auto normalised = NormaliseDocument(TextOf(value));
      if (!normalised.ok()) return normalised.status().WithContext(name);
      base = std::move(normalised).value();
    }
    FORESHORE_RETURN_IF_ERROR(CollectEdit(column, value, base, edits));
  }
  return edits.empty() ? base : EditedBody(base, edits);
}

Result<std::string> RowWriter::InsertedId() const {
  sqlite3_value* value = ArgumentOf(0);
  if (sqlite3_value_type(value) == SQLITE_NULL) return std::string();
  if (sqlite3_value_type(value) == SQLITE_BLOB) {
    return Status::InvalidArgument("column \"" + table_.name + ".id\" expects text, found a blob");
  }
  const std::string id(TextOf(value));
  FORESHORE_RETURN_IF_ERROR(ValidateDocumentId(id));
  return id;
}

Status RowWriter::Insert(sqlite3_int64* rowid, bool& conflict) {
  if (sqlite3_value_type(arguments_[1]) != SQLITE_NULL) {
    return Status::InvalidArgument("collection \"" + table_.name + "\": rowid is given out by the database, use id");
  }
  FORESHORE_ASSIGN_OR_RETURN(std::string id, InsertedId());
  FORESHORE_ASSIGN_OR_RETURN(const std::string body, ComposeBody());
  if (id.empty()) {
    FORESHORE_RETURN_IF_ERROR(ReplaceHolders(0, body));
    FORESHORE_RETURN_IF_ERROR(Write([&]() -> Status {
      FORESHORE_ASSIGN_OR_RETURN(id, view_.PutNew(definition_, body));
      return Status::Ok();
    }));
  } else {
    FORESHORE_ASSIGN_OR_RETURN(const auto existing, view_.Get(definition_, id));
    if (existing && sqlite3_vtab_on_conflict(table_.session.db) != SQLITE_REPLACE) {
      conflict = true;
      return Status::AlreadyExists("collection \"" + table_.name + "\": document \"" + id + "\" exists already");
    }
    FORESHORE_ASSIGN_OR_RETURN(const auto place, view_.FindDocid(definition_, id));
    FORESHORE_RETURN_IF_ERROR(ReplaceHolders(place.value_or(0), body));
    FORESHORE_RETURN_IF_ERROR(Write([&] { return view_.Put(definition_, id, body); }));
  }
  FORESHORE_ASSIGN_OR_RETURN(const auto docid, view_.FindDocid(definition_, id));
  *rowid = docid.value_or(0);
  return Status::Ok();
}

Status RowWriter::Update() {
  const std::int64_t docid = sqlite3_value_int64(arguments_[0]);
  if (sqlite3_value_int64(arguments_[1]) != docid) {
    return Status::InvalidArgument("collection \"" + table_.name + "\": rowid cannot be changed");
  }
  FORESHORE_ASSIGN_OR_RETURN(const auto record, view_.GetByDocid(definition_, docid));
  if (!record) return Status::Ok();  // Deleted by an earlier row of the statement.
  const std::string id(record->id);
  before_ = record->body;
  mode_ = FindUpdateMode();
  if (sqlite3_value* value = ArgumentOf(0); !sqlite3_value_nochange(value) && TextOf(value) != id) {
    return Status::InvalidArgument("collection \"" + table_.name + "\": id of document \"" + id +
                                   "\" cannot be changed: insert it anew and delete the old one");
  }
  FORESHORE_ASSIGN_OR_RETURN(const std::string body, ComposeBody());
  FORESHORE_RETURN_IF_ERROR(ReplaceHolders(docid, body));
  return Write([&] { return view_.Put(definition_, id, body); });
}

Status RowWriter::Delete() {
  FORESHORE_ASSIGN_OR_RETURN(const auto record, view_.GetByDocid(definition_, sqlite3_value_int64(arguments_[0])));
  if (!record) return Status::Ok();
  const std::string id(record->id);
  return Write([&] { return view_.Delete(definition_, id); });
}

}  // namespace

int UpdateCollection(sqlite3_vtab* base, int argument_count, sqlite3_value** arguments, sqlite3_int64* rowid) {
  auto& table = *static_cast<CollectionTable*>(base);
  bool conflict = false;
  WriteView* writer = nullptr;
  const auto update = [&]() -> Status {
    FORESHORE_ASSIGN_OR_RETURN(writer, table.session.Writer());
    FORESHORE_ASSIGN_OR_RETURN(const CollectionDefinition* definition, table.DefinitionIn(*writer));
    RowWriter row(table, *writer, *definition, arguments);
    if (argument_count == 1) return row.Delete();
    if (sqlite3_value_type(arguments[0]) == SQLITE_NULL) return row.Insert(rowid, conflict);
    return row.Update();
  };
  const Status status = update();
  if (status.ok()) return SQLITE_OK;
  conflict |= status.code() == ErrorCode::kAlreadyExists && writer != nullptr && !writer->finished();
  if (conflict) {
    const int action = sqlite3_vtab_on_conflict(table.session.db);
    // OR IGNORE: SQLite takes a constraint for a row that was left out.
    if (action == SQLITE_IGNORE) return SQLITE_CONSTRAINT;
    table.session.running->rolls_transaction_back = action == SQLITE_ROLLBACK;
  }
  table.Fail(status);
  return conflict ? SQLITE_CONSTRAINT : SQLITE_ERROR;
}

}  // namespace foreshore
