#include "bindings/cli/csv_reader.h"

#include "bindings/json/json_writer.h"

namespace foreshore::cli {
namespace {

// RFC 8259's number grammar.
bool IsJsonNumber(std::string_view text) {
  std::size_t position = 0;
  auto digits = [&] {
    const std::size_t start = position;
    while (position < text.size() && text[position] >= '0' && text[position] <= '9') ++position;
    return position - start;
  };
  if (position < text.size() && text[position] == '-') ++position;
  const std::size_t integer_start = position;
  const std::size_t integer_digits = digits();
  if (integer_digits == 0 || (integer_digits > 1 && text[integer_start] == '0')) return false;
  if (position < text.size() && text[position] == '.') {
    ++position;
    if (digits() == 0) return false;
  }
  if (position < text.size() && (text[position] == 'e' || text[position] == 'E')) {
    ++position;
    if (position < text.size() && (text[position] == '+' || text[position] == '-')) ++position;
    if (digits() == 0) return false;
  }
  return position == text.size();
}

}  // namespace

Result<bool> CsvReader::Next(std::vector<CsvField>& fields) {
  fields.clear();
  record_line_ = line_;
  if (input_.peek() == std::istream::traits_type::eof()) return false;
  CsvField field;
  bool is_in_quotes = false;
  std::size_t record_bytes = 0;
  for (;;) {
    const int next = input_.get();
    if (++record_bytes > kRecordBytesMax) {
      return Status::Limit("csv: record is longer than " + std::to_string(kRecordBytesMax) + " bytes");
    }
    if (next == std::istream::traits_type::eof()) {
      if (is_in_quotes) return Status::InvalidArgument("csv: found the end of the file, expected a closing quote");
      break;
    }
    const char character = static_cast<char>(next);
    if (character == '\n') ++line_;
    if (is_in_quotes) {
      if (character != '"') {
        field.text += character;
      } else if (input_.peek() == '"') {
        field.text += static_cast<char>(input_.get());
      } else {
        is_in_quotes = false;
      }
    } else if (character == '"' && field.text.empty() && !field.is_quoted) {
      is_in_quotes = true;
      field.is_quoted = true;
    } else if (character == ',') {
      fields.push_back(std::move(field));
      field = {};
    } else if (character == '\n') {
      break;
    } else if (character != '\r') {
      if (field.is_quoted) {
        return Status::InvalidArgument(std::string("csv: found \"") + character +
                                       "\" after a closing quote, expected a comma or the end of the line");
      }
      field.text += character;
    }
  }
  fields.push_back(std::move(field));
  return true;
}

std::string CsvObject(const std::vector<std::string>& names, const std::vector<CsvField>& fields) {
  JsonWriter json;
  json.BeginObject();
  for (std::size_t index = 0; index < names.size(); ++index) {
    const CsvField& field = fields[index];
    if (field.text.empty() && !field.is_quoted) continue;
    json.Key(names[index]);
    if (!field.is_quoted && IsJsonNumber(field.text)) {
      json.Raw(field.text);
    } else {
      json.Text(field.text);
    }
  }
  json.EndObject();
  return json.Take();
}

}  // namespace foreshore::cli
