// One scan of a collection of readings: columns are decoded as they are asked for, the body only where it is.
#include <algorithm>
#include <cmath>
#include <optional>

#include "engine/document/json.h"
#include "engine/query/readings_table.h"
#include "engine/query/sql_json.h"
#include "engine/query/sqlite_callback.h"
#include "engine/query/time_functions.h"

namespace foreshore {
namespace {

constexpr std::int64_t kExactMax = 1LL << 53;  // Whole numbers up to here are exact as doubles.
constexpr double kPowers[] = {1,   1e1,  1e2,  1e3,  1e4,  1e5,  1e6,  1e7,  1e8,
                              1e9, 1e10, 1e11, 1e12, 1e13, 1e14, 1e15, 1e16, 1e17};

// Text from an id or a series; nothing equals NULL or a blob.
std::optional<std::string> SeriesToken(sqlite3_value* value) {
  switch (sqlite3_value_type(value)) {
    case SQLITE_INTEGER: return std::to_string(sqlite3_value_int64(value));
    case SQLITE_FLOAT: {
      const double number = sqlite3_value_double(value);
      if (std::floor(number) != number || std::abs(number) >= 9e18) return std::nullopt;
      return std::to_string(static_cast<std::int64_t>(number));
    }
    case SQLITE_TEXT: return "\"" + std::string(TextOf(value)) + "\"";
    default: return std::nullopt;
  }
}

class SqlReadingsCursor : public sqlite3_vtab_cursor {
 public:
  explicit SqlReadingsCursor(ReadingsTable& table) : sqlite3_vtab_cursor{}, table_(table) {}

  ReadingsTable& table() { return table_; }
  bool at_end() const { return at_end_; }

  Status Filter(const ReadingsPlan& plan, int argument_count, sqlite3_value** arguments) {
    FORESHORE_ASSIGN_OR_RETURN(ReadView * view, table_.session.View());
    cursor_.reset();
    shape_.reset();
    at_end_ = true;
    width_ = 0;
    const auto definition = table_.DefinitionIn(*view);
    if (!definition.ok()) return Status::Ok();  // It came after this snapshot.
    int next = 0;
    if (plan.has_width) {
      width_text_ = TextOf(arguments[next]);
      FORESHORE_ASSIGN_OR_RETURN(width_, ParseBucketWidth(TextOf(arguments[next++]), table_.time_unit));
    }
    ReadingsFilter filter;
    if (plan.by_id) {
      if (sqlite3_value_type(arguments[next]) != SQLITE_TEXT) return Status::Ok();
      return FilterById(*view, **definition, std::string(TextOf(arguments[next])));
    }
    if (plan.has_series) {
      filter.series = SeriesToken(arguments[next++]);
      if (!filter.series) return Status::Ok();
    }
    if (plan.has_lower) {
      if (!Bound(arguments[next], true, filter)) return Status::Ok();
      // With "=" the one argument is both bounds.
      if (!plan.has_upper || next + 1 < argument_count) ++next;
    }
    if (plan.has_upper && !Bound(arguments[next], false, filter)) return Status::Ok();
    const ReadingsOrder order = plan.time_up     ? ReadingsOrder::kTimeUp
                                : plan.time_down ? ReadingsOrder::kTimeDown
                                                 : ReadingsOrder::kAny;
    FORESHORE_ASSIGN_OR_RETURN(cursor_, view->ScanReadings(**definition, filter, order));
    return Next();
  }

  Status Next() {
    if (cursor_ == nullptr) {
      at_end_ = true;
      return Status::Ok();
    }
    FORESHORE_ASSIGN_OR_RETURN(const bool more, cursor_->Next());
    at_end_ = !more;
    if (at_end_) cursor_.reset();
    return Status::Ok();
  }

  Status Column(sqlite3_context* context, std::size_t number) {
    if (sqlite3_vtab_nochange(context)) return Status::Ok();
    const ReadingsTableColumn& column = table_.columns[number];
    switch (column.kind) {
      case ReadingsColumnKind::kId: {
        text_.clear();
        cursor_->AppendId(text_);
        sqlite3_result_text64(context, text_.data(), text_.size(), SQLITE_TRANSIENT, SQLITE_UTF8);
        return Status::Ok();
      }
      case ReadingsColumnKind::kBody: {
        text_.clear();
        FORESHORE_RETURN_IF_ERROR(cursor_->AppendBody(text_));
        sqlite3_result_text64(context, text_.data(), text_.size(), SQLITE_TRANSIENT, SQLITE_UTF8);
        sqlite3_result_subtype(context, kJsonSubtype);
        return Status::Ok();
      }
      case ReadingsColumnKind::kTime: sqlite3_result_int64(context, cursor_->time()); return Status::Ok();
      case ReadingsColumnKind::kSeries: SetResultFromJson(context, cursor_->series()); return Status::Ok();
      case ReadingsColumnKind::kBucket:
        if (width_ > 0) sqlite3_result_int64(context, BucketOf(cursor_->time(), width_));
        return Status::Ok();
      case ReadingsColumnKind::kBucketWidth:
        if (width_ > 0)
          sqlite3_result_text64(context, width_text_.data(), width_text_.size(), SQLITE_TRANSIENT, SQLITE_UTF8);
        return Status::Ok();
      case ReadingsColumnKind::kField: return FieldColumn(context, number);
    }
    return Status::Ok();
  }

 private:
  Status FilterById(ReadView& view, const CollectionDefinition& definition, const std::string& id) {
    for (const ReadingId& wanted : ParseReadingId(id)) {
      const ReadingsFilter filter{
          .series = wanted.series, .time_min = wanted.time, .time_max = wanted.time, .number = wanted.number};
      FORESHORE_ASSIGN_OR_RETURN(cursor_, view.ScanReadings(definition, filter, ReadingsOrder::kAny));
      FORESHORE_RETURN_IF_ERROR(Next());
      if (!at_end_) return Status::Ok();
    }
    return Status::Ok();
  }

  // False where nothing can pass. SQLite tests the terms again: a bound may let through too much.
  static bool Bound(sqlite3_value* value, bool is_lower, ReadingsFilter& filter) {
    switch (sqlite3_value_type(value)) {
      case SQLITE_INTEGER: (is_lower ? filter.time_min : filter.time_max) = sqlite3_value_int64(value); return true;
      case SQLITE_FLOAT: {
        const double number = sqlite3_value_double(value);
        if (is_lower ? number > 9.2e18 : number < -9.2e18) return false;
        if (number > -9.2e18 && number < 9.2e18) {
          (is_lower ? filter.time_min : filter.time_max) =
              static_cast<std::int64_t>(is_lower ? std::floor(number) : std::ceil(number));
        }
        return true;
      }
      // Numbers are less than any text or blob.
      case SQLITE_TEXT:
      case SQLITE_BLOB: return !is_lower;
      default: return false;
    }
  }

  Status FieldColumn(sqlite3_context* context, std::size_t number) {
    ReadingRun& run = cursor_->run();
    if (run.shared_shape() != shape_) {
      shape_ = run.shared_shape();
      places_.assign(table_.columns.size(), kUnknown);
    }
    std::size_t& place = places_[number];
    if (place == kUnknown) {
      const auto& keys = shape_->keys;
      const auto found = std::find(keys.begin(), keys.end(), table_.columns[number].key);
      place = found == keys.end() ? kAbsent : static_cast<std::size_t>(found - keys.begin());
    }
    if (place == kAbsent) return Status::Ok();
    FORESHORE_ASSIGN_OR_RETURN(const ReadingColumn* column, run.Column(place));
    const std::size_t row = cursor_->row();
    if (!column->is_decimal()) {
      SetResultFromJson(context, column->TokenAt(row));
      return Status::Ok();
    }
    const std::int64_t mantissa = column->mantissas[row];
    if (column->scale == 0) {
      sqlite3_result_int64(context, mantissa);
    } else if (column->kind != ReadingColumn::Kind::kTrimmed && mantissa > -kExactMax && mantissa < kExactMax) {
      // Both are exact, so the quotient is the double nearest to the token.
      sqlite3_result_double(context, static_cast<double>(mantissa) / kPowers[column->scale]);
    } else {
      text_.clear();
      column->AppendToken(text_, row);
      SetResultFromJson(context, text_);
    }
    return Status::Ok();
  }

  static constexpr std::size_t kUnknown = SIZE_MAX;
  static constexpr std::size_t kAbsent = SIZE_MAX - 1;

  ReadingsTable& table_;
  std::unique_ptr<ReadingsCursor> cursor_;
  bool at_end_ = true;
  std::int64_t width_ = 0;  // 0: none was given.
  std::string width_text_;
  std::shared_ptr<const ReadingShape> shape_;  // What places_ is for; kept, so that no other has its address.
  std::vector<std::size_t> places_;            // By column: which key of the shape.
  std::string text_;
};

SqlReadingsCursor& CursorOf(sqlite3_vtab_cursor* base) {
  return *static_cast<SqlReadingsCursor*>(base);
}

int CodeOf(SqlReadingsCursor& cursor, const Status& status) {
  return status.ok() ? SQLITE_OK : cursor.table().Fail(status);
}

int OpenCursor(sqlite3_vtab* table, sqlite3_vtab_cursor** cursor) {
  *cursor = new SqlReadingsCursor(*static_cast<ReadingsTable*>(table));
  return SQLITE_OK;
}
int CloseCursor(sqlite3_vtab_cursor* cursor) {
  delete &CursorOf(cursor);
  return SQLITE_OK;
}
int FilterCursor(sqlite3_vtab_cursor* base, int plan, const char*, int argument_count, sqlite3_value** arguments) {
  return CodeOf(CursorOf(base), CursorOf(base).Filter(ReadingsPlan::Decode(plan), argument_count, arguments));
}
int NextOfCursor(sqlite3_vtab_cursor* base) {
  return CodeOf(CursorOf(base), CursorOf(base).Next());
}
int CursorAtEnd(sqlite3_vtab_cursor* base) {
  return CursorOf(base).at_end() ? 1 : 0;
}
int ColumnOfCursor(sqlite3_vtab_cursor* base, sqlite3_context* context, int number) {
  const Status status = CursorOf(base).Column(context, static_cast<std::size_t>(number));
  if (status.ok()) return SQLITE_OK;
  CursorOf(base).table().session.FailFunction(context, status);
  return SQLITE_ERROR;
}
// A table without rowid is not asked for it.
int RowidOfCursor(sqlite3_vtab_cursor*, sqlite3_int64*) {
  return SQLITE_ERROR;
}

// Writing: columns go on top of the body as a merge patch.
class ReadingWriter {
 public:
  ReadingWriter(ReadingsTable& table, WriteView& view, const CollectionDefinition& definition,
                sqlite3_value** arguments)
      : table_(table), view_(view), definition_(definition), arguments_(arguments) {}

  Status Insert(bool& conflict) {
    FORESHORE_ASSIGN_OR_RETURN(const std::string body, Compose("{}", true));
    sqlite3_value* id = ColumnValue(0);
    if (sqlite3_value_type(id) == SQLITE_NULL) return Write([&] { return view_.PutNew(definition_, body).status(); });
    const std::string id_text(TextOf(id));
    FORESHORE_ASSIGN_OR_RETURN(const auto existing, view_.Get(definition_, id_text));
    if (existing && sqlite3_vtab_on_conflict(table_.session.db) != SQLITE_REPLACE) {
      conflict = true;
      return Status::AlreadyExists("collection \"" + table_.name + "\": reading \"" + id_text + "\" exists already");
    }
    return Write([&] { return view_.Put(definition_, id_text, body); });
  }

  Status Update() {
    const std::string id(TextOf(arguments_[0]));
    FORESHORE_ASSIGN_OR_RETURN(const auto before, view_.Get(definition_, id));
    if (!before) return Status::Ok();
    sqlite3_value* new_id = ColumnValue(0);
    if (!sqlite3_value_nochange(new_id) && TextOf(new_id) != id) {
      return Status::InvalidArgument("collection \"" + table_.name + "\": id of reading \"" + id +
                                     "\" cannot be changed");
    }
    FORESHORE_ASSIGN_OR_RETURN(const std::string body, Compose(std::string(before->body), false));
    return Write([&] { return view_.Put(definition_, id, body); });
  }

  Status Delete() {
    const std::string id(TextOf(arguments_[0]));
    return Write([&] {
      const Status deleted = view_.Delete(definition_, id);
      // An earlier row of the statement may have been the same reading.
      return deleted.code() == ErrorCode::kNotFound ? Status::Ok() : deleted;
    });
  }

 private:
  sqlite3_value* ColumnValue(std::size_t column) const { return arguments_[2 + column]; }

  Result<std::string> Compose(std::string body, bool is_insert) const {
    std::string patch = "{";
    for (std::size_t i = 1; i < table_.columns.size(); ++i) {
      const ReadingsTableColumn& column = table_.columns[i];
      sqlite3_value* value = ColumnValue(i);
      const bool is_null = sqlite3_value_type(value) == SQLITE_NULL;
      if (is_insert ? is_null : sqlite3_value_nochange(value) != 0) continue;
      const std::string named = "column \"" + table_.name + "." + column.name + "\"";
      if (column.kind == ReadingsColumnKind::kBucket || column.kind == ReadingsColumnKind::kBucketWidth) {
        return Status::InvalidArgument(named + " is hidden and cannot be written");
      }
      if (column.kind == ReadingsColumnKind::kBody) {
        if (sqlite3_value_type(value) != SQLITE_TEXT) {
          return Status::InvalidArgument(named + " expects a JSON object as text");
        }
        auto normalised = NormaliseDocument(TextOf(value));
        if (!normalised.ok()) return normalised.status().WithContext(named);
        body = std::move(normalised).value();
        continue;
      }
      auto token = is_null ? Result<std::string>(std::string("null")) : JsonFromValue(value, is_insert);
      if (!token.ok()) return token.status().WithContext(named);
      if (patch.size() > 1) patch += ',';
      patch.append(column.key).append(1, ':').append(*token);
    }
    return MergePatch(body, patch + "}");
  }

  template <typename Body>
  Status Write(const Body& write) {
    const Status status = write();
    ++table_.session.write_counts[table_.collection_id];
    if (status.ok()) ++table_.session.running->changed_count;
    return status;
  }

  ReadingsTable& table_;
  WriteView& view_;
  const CollectionDefinition& definition_;
  sqlite3_value** arguments_;
};

}  // namespace

void SetReadingsCursorFunctions(sqlite3_module& module) {
  module.xOpen = SqliteCallback<&OpenCursor>;
  module.xClose = SqliteCallback<&CloseCursor>;
  module.xFilter = SqliteCallback<&FilterCursor>;
  module.xNext = SqliteCallback<&NextOfCursor>;
  module.xEof = SqliteCallback<&CursorAtEnd>;
  module.xColumn = SqliteCallback<&ColumnOfCursor>;
  module.xRowid = SqliteCallback<&RowidOfCursor>;
}

int UpdateReadings(sqlite3_vtab* base, int argument_count, sqlite3_value** arguments, sqlite3_int64*) {
  auto& table = *static_cast<ReadingsTable*>(base);
  bool conflict = false;
  const auto update = [&]() -> Status {
    FORESHORE_ASSIGN_OR_RETURN(WriteView * view, table.session.Writer());
    FORESHORE_ASSIGN_OR_RETURN(const CollectionDefinition* definition, table.DefinitionIn(*view));
    ReadingWriter writer(table, *view, *definition, arguments);
    if (argument_count == 1) return writer.Delete();
    if (sqlite3_value_type(arguments[0]) == SQLITE_NULL) return writer.Insert(conflict);
    return writer.Update();
  };
  const Status status = update();
  if (status.ok()) return SQLITE_OK;
  if (conflict) {
    const int action = sqlite3_vtab_on_conflict(table.session.db);
    if (action == SQLITE_IGNORE) return SQLITE_CONSTRAINT;
    table.session.running->rolls_transaction_back = action == SQLITE_ROLLBACK;
  }
  table.Fail(status);
  return conflict ? SQLITE_CONSTRAINT : SQLITE_ERROR;
}

}  // namespace foreshore
