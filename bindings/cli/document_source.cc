#include "bindings/cli/document_source.h"

#include <deque>
#include <set>

#include "bindings/cli/csv_reader.h"
#include "bindings/cli/csv_types.h"

namespace foreshore::cli {
namespace {

// More than a document may have: the engine names the limit, this bounds memory on files that are something else.
constexpr std::size_t kObjectBytesMax = 2 << 20;
constexpr std::size_t kSampleRecordCountMax = 1000;
constexpr std::size_t kSampleBytesMax = 1 << 20;
constexpr int kEnd = std::streambuf::traits_type::eof();

class JsonLinesSource : public DocumentSource {
 public:
  JsonLinesSource(std::istream& input, std::string id_field) : input_(*input.rdbuf()), id_field_(std::move(id_field)) {}

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
    for (;;) {
      int next = input_.sbumpc();
      if (next == kEnd) return !line_.empty();
      if (next == '\n') return true;
      line_ += static_cast<char>(next);
      if (line_.size() > kObjectBytesMax) {
        while (next != '\n' && next != kEnd) next = input_.sbumpc();
        return Status::Limit("line is longer than " + std::to_string(kObjectBytesMax) +
                             " bytes, expected one JSON object a line");
      }
    }
  }

  std::streambuf& input_;
  std::string id_field_;
  std::string line_;
  std::uint64_t line_number_ = 0;
};

// One array of objects, or objects with white space or nothing between them.
class JsonSource : public DocumentSource {
 public:
  JsonSource(std::istream& input, std::string id_field) : input_(*input.rdbuf()), id_field_(std::move(id_field)) {}

  Result<bool> Next(ImportDocument& document) override {
    can_continue_ = false;  // Where the punctuation is wrong nobody knows where the next object begins.
    SkipSpace();
    if (is_first_ && input_.sgetc() == '[') {
      is_array_ = true;
      Take();
      SkipSpace();
      if (input_.sgetc() == ']') return EndArray();
    } else if (!is_first_ && is_array_ && !is_over_) {
      if (input_.sgetc() == ']') return EndArray();
      if (input_.sgetc() != ',') return Unexpected("a comma or closing bracket");
      Take();
      SkipSpace();
    }
    is_first_ = false;
    if (is_over_ || (!is_array_ && input_.sgetc() == kEnd)) return false;
    object_line_ = line_;
    FORESHORE_RETURN_IF_ERROR(ReadObject());
    can_continue_ = true;
    FORESHORE_ASSIGN_OR_RETURN(document, ParseImportLine(object_, id_field_));
    return true;
  }
  bool can_continue() const override { return can_continue_; }
  std::uint64_t line_number() const override { return object_line_; }

 private:
  int Take() {
    const int next = input_.sbumpc();
    if (next == '\n') ++line_;
    return next;
  }
  void SkipSpace() {
    for (int next = input_.sgetc(); next == ' ' || next == '\t' || next == '\r' || next == '\n';
         next = input_.sgetc()) {
      Take();
    }
  }
  Status Unexpected(std::string_view wanted) {
    object_line_ = line_;
    const int next = input_.sgetc();
    const std::string found = next == kEnd ? "the end" : std::string("\"") + static_cast<char>(next) + "\"";
    return Status::InvalidArgument("json: found " + found + ", expected " + std::string(wanted));
  }
  Result<bool> EndArray() {
    Take();
    SkipSpace();
    is_over_ = true;
    is_first_ = false;
    if (input_.sgetc() != kEnd) return Unexpected("the end after the array");
    return false;
  }
  Status ReadObject() {
    object_.clear();
    if (input_.sgetc() != '{') return Unexpected("an object");
    int depth = 0;
    bool is_in_string = false;
    do {
      const int next = Take();
      if (next == kEnd) return Unexpected("the object's closing brace");
      object_ += static_cast<char>(next);
      if (object_.size() > kObjectBytesMax) {
        return Status::Limit("object is longer than " + std::to_string(kObjectBytesMax) + " bytes");
      }
      if (is_in_string) {
        if (next == '\\' && input_.sgetc() != kEnd) object_ += static_cast<char>(Take());
        if (next == '"') is_in_string = false;
      } else if (next == '"') {
        is_in_string = true;
      } else if (next == '{' || next == '[') {
        ++depth;
      } else if (next == '}' || next == ']') {
        --depth;
      }
    } while (depth > 0);
    return Status::Ok();
  }

  std::streambuf& input_;
  std::string id_field_;
  std::string object_;
  std::uint64_t line_ = 1;
  std::uint64_t object_line_ = 1;
  bool is_first_ = true;
  bool is_array_ = false;
  bool is_over_ = false;
  bool can_continue_ = false;
};

class CsvSource : public DocumentSource {
 public:
  CsvSource(std::istream& input, const SourceOptions& options) : reader_(input, options.delimiter), options_(options) {}

  Result<bool> Next(ImportDocument& document) override {
    if (columns_.empty()) FORESHORE_RETURN_IF_ERROR(Begin());
    Record record;
    if (sample_.empty()) {
      record = Read();
    } else {
      record = std::move(sample_.front());
      sample_.pop_front();
    }
    line_ = record.line;
    FORESHORE_RETURN_IF_ERROR(record.status);
    if (record.is_end) return false;
    document = {};
    if (id_column_ < columns_.size()) {
      const CsvField& id = record.fields[id_column_];
      if (!id.text.empty()) document.id = id.text;
      // Beside the body, as in JSON lines; an absent field is one that is empty and unquoted.
      if (options_.id_field == "id") record.fields[id_column_] = {};
    }
    FORESHORE_ASSIGN_OR_RETURN(document.body, CsvObject(columns_, record.fields, options_.null_text));
    return true;
  }
  bool can_continue() const override { return !columns_.empty(); }
  std::uint64_t line_number() const override { return line_; }

 private:
  struct Record {
    Status status;
    bool is_end = false;
    std::vector<CsvField> fields;
    std::uint64_t line = 0;
  };

  Record Read() {
    Record record;
    do {
      const Result<bool> has_record = reader_.Next(record.fields);
      record.line = reader_.line_number();
      if (!has_record.ok()) record.status = has_record.status();
      record.is_end = has_record.ok() && !*has_record;
      if (!has_record.ok() || record.is_end) return record;
      // An empty line is no record.
    } while (record.fields.size() == 1 && record.fields[0].text.empty() && !record.fields[0].is_quoted);
    if (record.fields.size() != columns_.size()) {
      record.status = Status::InvalidArgument("csv: record has " + std::to_string(record.fields.size()) +
                                              " fields, the header has " + std::to_string(columns_.size()));
    }
    return record;
  }

  Status Begin() {
    std::vector<CsvField> names;
    line_ = 1;
    if (options_.columns.empty()) {
      FORESHORE_ASSIGN_OR_RETURN(const bool has_header, reader_.Next(names));
      line_ = reader_.line_number();
      if (!has_header) return Status::InvalidArgument("csv: found an empty file, expected a header");
    } else {
      std::size_t start = 0;
      while (start <= options_.columns.size()) {
        const std::size_t comma = std::min(options_.columns.find(',', start), options_.columns.size());
        names.push_back({options_.columns.substr(start, comma - start), false});
        start = comma + 1;
      }
    }
    std::vector<CsvColumn> columns;
    std::set<std::string> seen;
    for (const CsvField& name : names) {
      if (name.text.empty() || !seen.insert(name.text).second) {
        return Status::InvalidArgument("csv: header name \"" + name.text + "\" is empty or there twice");
      }
      if (name.text == options_.id_field) id_column_ = columns.size();
      columns.push_back({.name = name.text});
    }
    FORESHORE_RETURN_IF_ERROR(ApplyCsvTypes(options_.types, columns));
    columns_ = std::move(columns);
    ReadSample();
    return Status::Ok();
  }

  // What the first records show decides whether a column is text throughout.
  void ReadSample() {
    std::size_t bytes = 0;
    while (sample_.size() < kSampleRecordCountMax && bytes < kSampleBytesMax) {
      sample_.push_back(Read());
      const Record& record = sample_.back();
      if (record.is_end) return;
      if (!record.status.ok()) continue;
      for (std::size_t index = 0; index < columns_.size(); ++index) {
        const CsvField& field = record.fields[index];
        bytes += field.text.size() + sizeof(CsvField);
        if (!columns_[index].has_plain_text && field.text != options_.null_text && IsPlainText(field)) {
          columns_[index].has_plain_text = true;
        }
      }
    }
  }

  CsvReader reader_;
  SourceOptions options_;
  std::vector<CsvColumn> columns_;
  std::deque<Record> sample_;  // Read ahead, not yet given out.
  std::size_t id_column_ = SIZE_MAX;
  std::uint64_t line_ = 0;
};

std::string WithoutPacking(const std::string& file) {
  for (const std::string_view suffix : {".gz", ".zst"}) {
    if (file.ends_with(suffix)) return file.substr(0, file.size() - suffix.size());
  }
  return file;
}

}  // namespace

std::string TransferFormat(const std::string& asked, const std::string& file) {
  if (!asked.empty()) return asked;
  const std::string name = WithoutPacking(file);
  if (name.ends_with(".csv") || name.ends_with(".tsv")) return "csv";
  return name.ends_with(".json") ? "json" : "jsonl";
}

Result<char> TransferDelimiter(const std::string& asked, const std::string& file) {
  if (asked.empty()) return WithoutPacking(file).ends_with(".tsv") ? '\t' : ',';
  if (asked == "tab" || asked == "\\t") return '\t';
  const bool is_usable = asked.size() == 1 && asked != "\"" && asked != "\n" && asked != "\r";
  if (is_usable) return asked[0];
  return Status::InvalidArgument("delimiter \"" + asked + "\": expected one ASCII character or tab");
}

Result<std::unique_ptr<DocumentSource>> MakeDocumentSource(std::istream& input, const SourceOptions& options) {
  if (options.format != "csv" && !(options.types.empty() && options.columns.empty() && options.null_text.empty())) {
    return Status::InvalidArgument("format \"" + options.format + "\": --types, --columns and --null are for csv");
  }
  std::unique_ptr<DocumentSource> source;
  if (options.format == "csv") {
    source = std::make_unique<CsvSource>(input, options);
  } else if (options.format == "json") {
    source = std::make_unique<JsonSource>(input, options.id_field);
  } else if (options.format == "jsonl") {
    source = std::make_unique<JsonLinesSource>(input, options.id_field);
  } else {
    return Status::InvalidArgument("format \"" + options.format + "\": expected jsonl, json or csv");
  }
  return source;
}

}  // namespace foreshore::cli
