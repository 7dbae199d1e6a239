// import and export: streaming, so that memory stays bounded by a batch.
#include <unistd.h>

#include <fstream>
#include <iostream>
#include <map>

#include "bindings/cli/command.h"
#include "bindings/cli/csv_reader.h"
#include "bindings/cli/json_member.h"
#include "bindings/cli/progress.h"
#include "bindings/json/json_writer.h"

namespace foreshore::cli {
namespace {

// A batch ends here too, so that large documents do not pile up.
constexpr std::size_t kBatchBytesMax = 4 << 20;
// More than a document may have: the engine names the limit, this bounds memory on files that are no JSON lines.
constexpr std::size_t kLineBytesMax = 2 << 20;

// Where the documents come from. `position` names the current one for errors: "notes.jsonl:17".
class DocumentSource {
 public:
  virtual ~DocumentSource() = default;
  // False at the end.
  virtual Result<bool> Next(ImportDocument& document) = 0;
  virtual std::uint64_t line_number() const = 0;
};

class JsonLinesSource : public DocumentSource {
 public:
  JsonLinesSource(std::istream& input, std::string id_field) : input_(input), id_field_(std::move(id_field)) {}

  Result<bool> Next(ImportDocument& document) override {
    for (;;) {
      FORESHORE_ASSIGN_OR_RETURN(const bool has_line, NextLine());
      if (!has_line) return false;
      if (line_.find_first_not_of(" \t\r") == std::string::npos) continue;
      FORESHORE_ASSIGN_OR_RETURN(document, ParseImportLine(line_, id_field_));
      return true;
    }
  }
  std::uint64_t line_number() const override { return line_number_; }

 private:
  Result<bool> NextLine() {
    line_.clear();
    ++line_number_;
    std::streambuf& buffer = *input_.rdbuf();
    for (;;) {
      const int next = buffer.sbumpc();
      if (next == std::streambuf::traits_type::eof()) return !line_.empty();
      if (next == '\n') return true;
      line_ += static_cast<char>(next);
      if (line_.size() > kLineBytesMax) {
        return Status::Limit("line is longer than " + std::to_string(kLineBytesMax) +
                             " bytes, expected one JSON object a line");
      }
    }
  }

  std::istream& input_;
  std::string id_field_;
  std::string line_;
  std::uint64_t line_number_ = 0;
};

class CsvSource : public DocumentSource {
 public:
  CsvSource(std::istream& input, std::string id_field) : reader_(input), id_field_(std::move(id_field)) {}

  Result<bool> Next(ImportDocument& document) override {
    if (names_.empty()) FORESHORE_RETURN_IF_ERROR(ReadHeader());
    do {
      FORESHORE_ASSIGN_OR_RETURN(const bool has_record, reader_.Next(fields_));
      if (!has_record) return false;
    } while (fields_.size() == 1 && fields_[0].text.empty() && !fields_[0].is_quoted);
    if (fields_.size() != names_.size()) {
      return Status::InvalidArgument("csv: record has " + std::to_string(fields_.size()) + " fields, the header has " +
                                     std::to_string(names_.size()));
    }
    document = {};
    if (id_column_ < names_.size()) {
      document.id = fields_[id_column_].text;
      // Beside the body, as in JSON lines; an absent field is one that is empty and unquoted.
      if (id_field_ == "id") fields_[id_column_] = {};
    }
    document.body = CsvObject(names_, fields_);
    return true;
  }
  std::uint64_t line_number() const override { return reader_.line_number(); }

 private:
  Status ReadHeader() {
    FORESHORE_ASSIGN_OR_RETURN(const bool has_header, reader_.Next(fields_));
    if (!has_header) return Status::InvalidArgument("csv: found an empty file, expected a header");
    std::map<std::string, int> counts;
    for (const CsvField& field : fields_) {
      if (field.text.empty() || ++counts[field.text] > 1) {
        return Status::InvalidArgument("csv: header name \"" + field.text + "\" is empty or there twice");
      }
      if (field.text == id_field_) id_column_ = names_.size();
      names_.push_back(field.text);
    }
    return Status::Ok();
  }

  CsvReader reader_;
  std::string id_field_;
  std::vector<std::string> names_;
  std::vector<CsvField> fields_;
  std::size_t id_column_ = SIZE_MAX;
};

Result<std::string> ImportFormat(const ImportArguments& arguments) {
  std::string format = arguments.format;
  if (format.empty()) format = arguments.file.ends_with(".csv") ? "csv" : "jsonl";
  if (format == "jsonl" || format == "csv") return format;
  return Status::InvalidArgument("format \"" + format + "\": expected jsonl or csv");
}

class Importer {
 public:
  Importer(Database& database, const ImportArguments& arguments, DocumentSource& source)
      : database_(database), arguments_(arguments), source_(source) {}

  Status Run(const std::function<void(std::uint64_t)>& progress) {
    bool is_done = false;
    while (!is_done) {
      const Result<bool> has_more = ImportBatch();
      if (!has_more.ok()) {
        return has_more.status().WithContext(arguments_.file + ":" + std::to_string(source_.line_number()) + ": " +
                                             std::to_string(committed_count_) +
                                             " documents imported before, none of this batch");
      }
      is_done = !*has_more;
      progress(committed_count_);
    }
    return Status::Ok();
  }
  std::uint64_t committed_count() const { return committed_count_; }

 private:
  // One transaction; false after the last.
  Result<bool> ImportBatch() {
    ImportDocument document;
    FORESHORE_ASSIGN_OR_RETURN(bool has_document, source_.Next(document));
    if (!has_document) return false;
    FORESHORE_ASSIGN_OR_RETURN(const auto transaction, database_.Begin(std::chrono::minutes(1)));
    std::uint64_t count = 0;
    std::size_t bytes = 0;
    while (has_document) {
      if (document.id.has_value()) {
        FORESHORE_RETURN_IF_ERROR(transaction->Put(arguments_.collection, *document.id, document.body));
      } else {
        FORESHORE_ASSIGN_OR_RETURN(const std::string id, transaction->PutNew(arguments_.collection, document.body));
      }
      ++count;
      bytes += document.body.size();
      if (count >= arguments_.batch_count || bytes >= kBatchBytesMax) break;
      FORESHORE_ASSIGN_OR_RETURN(has_document, source_.Next(document));
    }
    FORESHORE_RETURN_IF_ERROR(transaction->Commit());
    committed_count_ += count;
    return has_document;
  }

  Database& database_;
  const ImportArguments& arguments_;
  DocumentSource& source_;
  std::uint64_t committed_count_ = 0;
};

// An import waits for its vectors: what it reports as done is searchable.
Status WaitForVectors(Database& database) {
  FORESHORE_ASSIGN_OR_RETURN(const DatabaseStats stats, database.Stats());
  const std::uint64_t total = stats.pending_embedding_count;
  if (total == 0) return Status::Ok();
  ProgressBar bar("embedding", total);
  return database.WaitEmbedded(std::chrono::hours(24), [&](std::uint64_t pending) {
    const std::uint64_t done = total > pending ? total - pending : 0;
    bar.Update(done, std::to_string(pending) + " left");
  });
}

// Every top-level name of a collection's documents, in order of first sight.
Result<std::vector<std::string>> FieldNames(Database& database, const std::string& collection) {
  std::vector<std::string> names;
  std::map<std::string, bool> seen;
  Status problem;
  FORESHORE_RETURN_IF_ERROR(database.Scan(collection, [&](std::string_view, std::string_view body) {
    const auto members = TopLevelMembers(body);
    if (!members.ok()) {
      problem = members.status();
      return false;
    }
    for (const JsonMember& member : *members) {
      const auto name = DecodeJsonString(member.name);
      if (name.ok() && seen.emplace(*name, true).second) names.push_back(*name);
    }
    return true;
  }));
  if (!problem.ok()) return problem;
  return names;
}

Result<std::string> CsvLine(const std::vector<std::string>& names, std::string_view id, std::string_view body) {
  FORESHORE_ASSIGN_OR_RETURN(const auto members, TopLevelMembers(body));
  std::map<std::string, std::string> cells;
  for (const JsonMember& member : members) {
    FORESHORE_ASSIGN_OR_RETURN(const std::string name, DecodeJsonString(member.name));
    if (member.value.front() == '"') {
      FORESHORE_ASSIGN_OR_RETURN(const std::string text, DecodeJsonString(member.value));
      // Quoted, so that a text of digits stays a text.
      const std::string cell = CsvCell(text);
      cells[name] = cell.front() == '"' || text.find_first_not_of("0123456789+-.eE") != std::string::npos
                        ? cell
                        : "\"" + cell + "\"";
    } else {
      cells[name] = CsvCell(member.value);
    }
  }
  std::string line = CsvCell(id);
  for (const std::string& name : names) line += "," + cells[name];
  return line + "\n";
}

}  // namespace

Status RunImport(const ImportArguments& arguments) {
  FORESHORE_ASSIGN_OR_RETURN(const std::string format, ImportFormat(arguments));
  std::ifstream file;
  std::uint64_t file_bytes = 0;
  const bool is_standard_input = arguments.file == "-";
  if (!is_standard_input) {
    file.open(arguments.file, std::ios::binary | std::ios::ate);
    if (!file) return Status::NotFound("file \"" + arguments.file + "\": cannot be opened");
    if (file.tellg() > 0) file_bytes = static_cast<std::uint64_t>(file.tellg());
    file.seekg(0);
  } else {
    std::ios::sync_with_stdio(false);
  }
  std::istream& input = is_standard_input ? std::cin : file;
  FORESHORE_ASSIGN_OR_RETURN(const auto database,
                             OpenExisting(arguments.database, ThreadCount(arguments.thread_count)));
  if (!RequireCollection(*database, arguments.collection).ok()) {
    FORESHORE_RETURN_IF_ERROR(database->CreateCollection(arguments.collection));
  }
  std::unique_ptr<DocumentSource> source;
  if (format == "csv") {
    source = std::make_unique<CsvSource>(input, arguments.id_field);
  } else {
    source = std::make_unique<JsonLinesSource>(input, arguments.id_field);
  }
  Importer importer(*database, arguments, *source);
  {
    ProgressBar bar("importing", file_bytes);
    FORESHORE_RETURN_IF_ERROR(importer.Run([&](std::uint64_t count) {
      const auto position = is_standard_input ? std::streamoff(0) : std::streamoff(file.tellg());
      // At the end of the file tellg says -1.
      bar.Update(position < 0 ? file_bytes : static_cast<std::uint64_t>(position),
                 std::to_string(count) + " documents");
    }));
  }
  FORESHORE_RETURN_IF_ERROR(WaitForVectors(*database));
  Say(std::to_string(importer.committed_count()) + " documents imported");
  return database->Close();
}

Status RunExport(const ExportArguments& arguments) {
  if (arguments.format != "jsonl" && arguments.format != "csv") {
    return Status::InvalidArgument("format \"" + arguments.format + "\": expected jsonl or csv");
  }
  FORESHORE_ASSIGN_OR_RETURN(const auto database, OpenExisting(arguments.database));
  FORESHORE_RETURN_IF_ERROR(RequireCollection(*database, arguments.collection));
  std::vector<std::string> names;
  if (arguments.format == "csv") {
    FORESHORE_ASSIGN_OR_RETURN(names, FieldNames(*database, arguments.collection));
    std::string header = "id";
    for (const std::string& name : names) header += "," + CsvCell(name);
    FORESHORE_RETURN_IF_ERROR(WriteText(stdout, header + "\n"));
  }
  // In order of id, so that equal collections export equal bytes on every device.
  FORESHORE_ASSIGN_OR_RETURN(const auto statement, database->Prepare("SELECT id, body FROM " +
                                                                     QuoteName(arguments.collection) + " ORDER BY id"));
  for (;;) {
    FORESHORE_ASSIGN_OR_RETURN(const bool has_row, statement->Step());
    if (!has_row) break;
    const SqlValue id = statement->Column(0);
    const SqlValue body = statement->Column(1);
    if (!std::holds_alternative<std::string>(id) || !std::holds_alternative<std::string>(body)) {
      return Status::Internal("export: id or body is not text");
    }
    const auto& id_text = std::get<std::string>(id);
    const auto& body_text = std::get<std::string>(body);
    FORESHORE_ASSIGN_OR_RETURN(const std::string line, arguments.format == "csv"
                                                           ? CsvLine(names, id_text, body_text)
                                                           : FormatExportLine(id_text, body_text));
    FORESHORE_RETURN_IF_ERROR(WriteText(stdout, arguments.format == "csv" ? line : line + "\n"));
  }
  return FlushFile(stdout);
}

}  // namespace foreshore::cli
