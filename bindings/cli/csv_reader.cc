#include "bindings/cli/csv_reader.h"

namespace foreshore::cli {
namespace {

constexpr int kEnd = std::streambuf::traits_type::eof();

}  // namespace

int CsvReader::Get() {
  last_ = input_.sbumpc();
  if (last_ == '\r') {
    if (input_.sgetc() == '\n') input_.sbumpc();
    last_ = '\n';
  }
  if (last_ == '\n') ++line_;
  return last_;
}

Result<bool> CsvReader::Next(std::vector<CsvField>& fields) {
  fields.clear();
  record_line_ = line_;
  if (input_.sgetc() == kEnd) return false;
  const Status status = Read(fields);
  if (status.ok()) return true;
  while (last_ != '\n' && last_ != kEnd) Get();
  return status;
}

Status CsvReader::Read(std::vector<CsvField>& fields) {
  CsvField field;
  bool is_in_quotes = false;
  std::size_t record_bytes = 0;
  for (;;) {
    // Inside quotes a line end is text and stays what it is.
    if (is_in_quotes) {
      last_ = input_.sbumpc();
      if (last_ == '\n') ++line_;
    } else {
      Get();
    }
    if (++record_bytes > kRecordBytesMax) {
      return Status::Limit("csv: record is longer than " + std::to_string(kRecordBytesMax) + " bytes");
    }
    if (last_ == kEnd) {
      if (is_in_quotes) return Status::InvalidArgument("csv: found the end of the file, expected a closing quote");
      break;
    }
    const char character = static_cast<char>(last_);
    if (is_in_quotes) {
      if (character != '"') {
        field.text += character;
      } else if (input_.sgetc() == '"') {
        field.text += static_cast<char>(input_.sbumpc());
      } else {
        is_in_quotes = false;
      }
    } else if (character == '"' && field.text.empty() && !field.is_quoted) {
      is_in_quotes = true;
      field.is_quoted = true;
    } else if (character == delimiter_) {
      fields.push_back(std::move(field));
      field = {};
    } else if (character == '\n') {
      break;
    } else if (field.is_quoted) {
      return Status::InvalidArgument(std::string("csv: found \"") + character +
                                     "\" after a closing quote, expected a delimiter or the end of the line");
    } else {
      field.text += character;
    }
  }
  fields.push_back(std::move(field));
  return Status::Ok();
}

}  // namespace foreshore::cli
