// export: one document at a time, in order of id, so that equal collections export equal bytes on every device.
#include <unistd.h>

#include <algorithm>
#include <functional>
#include <map>

#include "bindings/cli/csv_types.h"
#include "bindings/cli/document_source.h"
#include "bindings/cli/json_member.h"
#include "bindings/cli/output_file.h"
#include "bindings/cli/progress.h"
#include "bindings/cli/transfer.h"
#include "bindings/json/json_writer.h"

namespace foreshore::cli {
namespace {

struct ExportColumn {
  std::string name;
  bool has_text = false;
  bool has_other = false;
};

struct NamedValue {
  std::string name;
  std::string_view value;  // JSON, into the body.
};

std::vector<std::string> SplitFields(const std::string& fields) {
  std::vector<std::string> names;
  std::size_t start = 0;
  while (!fields.empty() && start <= fields.size()) {
    const std::size_t comma = std::min(fields.find(',', start), fields.size());
    const std::string name = fields.substr(start, comma - start);
    if (!name.empty() && name != "id" && std::find(names.begin(), names.end(), name) == names.end()) {
      names.push_back(name);
    }
    start = comma + 1;
  }
  return names;
}

Result<std::vector<NamedValue>> Members(std::string_view json) {
  FORESHORE_ASSIGN_OR_RETURN(const auto members, TopLevelMembers(json));
  std::vector<NamedValue> values;
  values.reserve(members.size());
  for (const JsonMember& member : members) {
    FORESHORE_ASSIGN_OR_RETURN(std::string name, DecodeJsonString(member.name));
    values.push_back({std::move(name), member.value});
  }
  return values;
}

// The value at "site.name"; empty where there is none. A field whose name has the dots in it goes first.
Result<std::string_view> ValueAt(std::string_view json, std::string_view path) {
  if (!json.starts_with('{')) return std::string_view();
  FORESHORE_ASSIGN_OR_RETURN(const auto members, Members(json));
  for (const NamedValue& member : members) {
    if (member.name == path) return member.value;
  }
  for (const NamedValue& member : members) {
    const bool leads =
        path.size() > member.name.size() && path.starts_with(member.name) && path[member.name.size()] == '.';
    if (leads) return ValueAt(member.value, path.substr(member.name.size() + 1));
  }
  return std::string_view();
}

class Exporter {
 public:
  Exporter(Database& database, const ExportArguments& arguments, const Interrupt& interrupt)
      : database_(database), arguments_(arguments), interrupt_(interrupt), fields_(SplitFields(arguments.fields)) {}

  Result<std::uint64_t> Run() {
    format_ = TransferFormat(arguments_.format, arguments_.output);
    if (format_ != "jsonl" && format_ != "json" && format_ != "csv") {
      return Status::InvalidArgument("format \"" + format_ + "\": expected jsonl, json or csv");
    }
    FORESHORE_ASSIGN_OR_RETURN(delimiter_, TransferDelimiter(arguments_.delimiter, arguments_.output));
    FORESHORE_RETURN_IF_ERROR(RequireCollection(database_, arguments_.collection));
    // Where rows come to the terminal a bar would get between them.
    shows_progress_ = isatty(STDERR_FILENO) != 0 && (!arguments_.output.empty() || isatty(STDOUT_FILENO) == 0);
    if (shows_progress_ && arguments_.where.empty()) FORESHORE_RETURN_IF_ERROR(CountDocuments());
    if (format_ == "csv") FORESHORE_RETURN_IF_ERROR(FindColumns());
    FORESHORE_ASSIGN_OR_RETURN(file_, OutputFile::Create(arguments_.output));
    FORESHORE_RETURN_IF_ERROR(WriteAll());
    FORESHORE_RETURN_IF_ERROR(file_->Commit());
    return document_count_;
  }

 private:
  using Visitor = std::function<Status(const std::string& id, const std::string& body)>;

  Status CountDocuments() {
    FORESHORE_ASSIGN_OR_RETURN(const DatabaseStats stats, database_.Stats());
    for (const CollectionStats& collection : stats.collections) {
      if (collection.name == arguments_.collection) total_ = collection.document_count;
    }
    return Status::Ok();
  }

  Status Visit(const std::string& what, const Visitor& visit) {
    std::string sql = "SELECT id, body FROM " + QuoteName(arguments_.collection);
    // A comment at the end of the expression must not swallow what follows.
    if (!arguments_.where.empty()) sql += " WHERE (" + arguments_.where + "\n)";
    FORESHORE_ASSIGN_OR_RETURN(const auto statement, database_.Prepare(sql + " ORDER BY id"));
    ProgressBar bar(what, total_);
    document_count_ = 0;
    for (;;) {
      FORESHORE_ASSIGN_OR_RETURN(const bool has_row, statement->Step());
      if (!has_row) return Status::Ok();
      if (interrupt_.is_requested()) return Status::Cancelled("export: interrupted, expected to run to its end");
      const SqlValue id = statement->Column(0);
      const SqlValue body = statement->Column(1);
      if (!std::holds_alternative<std::string>(id) || !std::holds_alternative<std::string>(body)) {
        return Status::Internal("export: id or body is not text");
      }
      FORESHORE_RETURN_IF_ERROR(visit(std::get<std::string>(id), std::get<std::string>(body)));
      ++document_count_;
      if (shows_progress_) bar.UpdateDocuments(document_count_, document_count_);
    }
  }

  // What the document holds of what is asked for.
  Result<std::vector<NamedValue>> Selected(std::string_view body) const {
    if (fields_.empty()) return Members(body);
    std::vector<NamedValue> selected;
    for (const std::string& field : fields_) {
      FORESHORE_ASSIGN_OR_RETURN(const std::string_view value, ValueAt(body, field));
      if (!value.empty()) selected.push_back({field, value});
    }
    return selected;
  }

  // Every name, in order of first sight or as asked for, and what kinds of values it has.
  Status FindColumns() {
    std::map<std::string, std::size_t, std::less<>> places;
    auto place_of = [&](const std::string& name) {
      const auto [place, is_new] = places.emplace(name, columns_.size());
      if (is_new) columns_.push_back({.name = name});
      return place->second;
    };
    for (const std::string& field : fields_) place_of(field);
    FORESHORE_RETURN_IF_ERROR(Visit("finding fields", [&](const std::string& id, const std::string& body) -> Status {
      FORESHORE_ASSIGN_OR_RETURN(const auto values, Selected(body));
      for (const NamedValue& value : values) {
        if (value.name == "id" || value.name.empty()) {
          return Status::Unsupported("document \"" + id + "\": found a field \"" + value.name +
                                     "\", which CSV cannot hold beside the id; expected jsonl, or --fields without it");
        }
        ExportColumn& column = columns_[place_of(value.name)];
        (value.value.starts_with('"') ? column.has_text : column.has_other) = true;
      }
      return Status::Ok();
    }));
    return Status::Ok();
  }

  Status WriteAll() {
    if (format_ == "csv") {
      std::string header = "id";
      for (const ExportColumn& column : columns_) header += delimiter_ + CsvCell(column.name, delimiter_);
      FORESHORE_RETURN_IF_ERROR(file_->Write(header + "\n"));
    } else if (format_ == "json") {
      FORESHORE_RETURN_IF_ERROR(file_->Write("["));
    }
    FORESHORE_RETURN_IF_ERROR(Visit("exporting", [&](const std::string& id, const std::string& body) -> Status {
      if (format_ == "csv") {
        FORESHORE_ASSIGN_OR_RETURN(const std::string line, CsvLine(id, body));
        return file_->Write(line);
      }
      FORESHORE_ASSIGN_OR_RETURN(const std::string object, Object(id, body));
      if (format_ == "jsonl") return file_->Write(object + "\n");
      return file_->Write((document_count_ == 0 ? "\n" : ",\n") + object);
    }));
    if (format_ == "json") return file_->Write(document_count_ == 0 ? "]\n" : "\n]\n");
    return Status::Ok();
  }

  Result<std::string> Object(const std::string& id, const std::string& body) const {
    if (fields_.empty()) return FormatExportLine(id, body);
    FORESHORE_ASSIGN_OR_RETURN(const auto values, Selected(body));
    JsonWriter json;
    json.BeginObject();
    for (const NamedValue& value : values) json.Key(value.name).Raw(value.value);
    json.EndObject();
    return FormatExportLine(id, json.Take());
  }

  Result<std::string> CsvLine(const std::string& id, const std::string& body) const {
    FORESHORE_ASSIGN_OR_RETURN(const auto values, Selected(body));
    std::string line = CsvCell(id, delimiter_);
    std::size_t hint = 0;  // Documents of one kind have their fields in one order.
    std::vector<std::string_view> cells(columns_.size());
    for (const NamedValue& value : values) {
      if (hint >= columns_.size() || columns_[hint].name != value.name) {
        const auto found = std::find_if(columns_.begin(), columns_.end(),
                                        [&](const ExportColumn& column) { return column.name == value.name; });
        if (found == columns_.end()) return Status::Internal("export: field \"" + value.name + "\" has no column");
        hint = static_cast<std::size_t>(found - columns_.begin());
      }
      cells[hint++] = value.value;
    }
    for (std::size_t index = 0; index < cells.size(); ++index) {
      line += delimiter_;
      if (cells[index].empty()) continue;
      FORESHORE_ASSIGN_OR_RETURN(const std::string cell,
                                 CsvValueCell(cells[index], columns_[index].has_other, delimiter_));
      line += cell;
    }
    return line + "\n";
  }

  Database& database_;
  const ExportArguments& arguments_;
  const Interrupt& interrupt_;
  std::vector<std::string> fields_;
  std::string format_;
  char delimiter_ = ',';
  bool shows_progress_ = false;
  std::uint64_t total_ = 0;
  std::uint64_t document_count_ = 0;
  std::vector<ExportColumn> columns_;
  std::unique_ptr<OutputFile> file_;
};

}  // namespace

Result<std::uint64_t> ExportFile(Database& database, const ExportArguments& arguments, const Interrupt& interrupt) {
  return Exporter(database, arguments, interrupt).Run();
}

Status RunExport(const ExportArguments& arguments) {
  Interrupt interrupt;
  FORESHORE_ASSIGN_OR_RETURN(const auto database, OpenExisting(arguments.database));
  FORESHORE_ASSIGN_OR_RETURN(const std::uint64_t count, ExportFile(*database, arguments, interrupt));
  if (!arguments.output.empty()) Say(GroupedCount(count) + " documents exported");
  return database->Close();
}

}  // namespace foreshore::cli
