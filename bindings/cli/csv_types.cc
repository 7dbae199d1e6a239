#include "bindings/cli/csv_types.h"

#include <algorithm>
#include <optional>

#include "bindings/cli/json_grammar.h"
#include "bindings/cli/json_member.h"
#include "bindings/cli/output.h"
#include "bindings/json/json_writer.h"

namespace foreshore::cli {
namespace {

bool IsWord(std::string_view text) {
  return text == "true" || text == "false" || text == "null";
}

// The array or object that the text writes, or a text that had to be told apart from one; nothing for other text.
std::optional<std::string> JsonInText(std::string_view text) {
  if (text.empty()) return std::nullopt;
  if (text.front() == '{' || text.front() == '[') {
    return IsJsonValue(text) ? std::optional(std::string(text)) : std::nullopt;
  }
  if (text.front() != '"' || text.size() < 2) return std::nullopt;
  const auto decoded = DecodeJsonString(text);
  return decoded.ok() && JsonInText(*decoded) ? std::optional(std::string(text)) : std::nullopt;
}

// "+007.5" as JSON writes it, for columns that are said to be numbers.
std::string PlainNumber(std::string_view text) {
  const bool is_negative = text.starts_with('-');
  if (text.starts_with('-') || text.starts_with('+')) text.remove_prefix(1);
  while (text.size() > 1 && text[0] == '0' && text[1] >= '0' && text[1] <= '9') text.remove_prefix(1);
  return std::string(is_negative ? "-" : "") + (text.starts_with('.') ? "0" : "") + std::string(text);
}

Status WrongType(const CsvColumn& column, std::string_view text, std::string_view wanted) {
  return Status::InvalidArgument("csv: column \"" + column.name + "\": found \"" + FitCell(text, 40) +
                                 "\", expected a " + std::string(wanted));
}

Result<std::string> TypedCell(const CsvColumn& column, const CsvField& field) {
  const std::string& text = field.text;
  if (column.type == CsvType::kText) return JsonString(text);
  if (column.type == CsvType::kNumber) {
    std::string number = PlainNumber(text);
    if (!IsJsonNumber(number)) return WrongType(column, text, "number");
    return number;
  }
  if (column.type == CsvType::kBoolean) {
    std::string folded = text;
    std::transform(folded.begin(), folded.end(), folded.begin(),
                   [](unsigned char character) { return static_cast<char>(std::tolower(character)); });
    if (folded == "true" || folded == "t" || folded == "yes" || folded == "1") return std::string("true");
    if (folded == "false" || folded == "f" || folded == "no" || folded == "0") return std::string("false");
    return WrongType(column, text, "boolean");
  }
  if (!IsJsonValue(text)) return WrongType(column, text, "JSON value");
  return text;
}

std::string AutoCell(const CsvColumn& column, const CsvField& field) {
  if (!field.is_quoted && !column.has_plain_text && (IsJsonNumber(field.text) || IsWord(field.text))) return field.text;
  if (!column.has_plain_text || field.is_quoted) {
    if (auto value = JsonInText(field.text)) return *std::move(value);
  }
  return JsonString(field.text);
}

Result<CsvType> ParseType(std::string_view name) {
  static constexpr std::pair<std::string_view, CsvType> kTypes[] = {{"auto", CsvType::kAuto},
                                                                    {"text", CsvType::kText},
                                                                    {"number", CsvType::kNumber},
                                                                    {"boolean", CsvType::kBoolean},
                                                                    {"json", CsvType::kJson}};
  for (const auto& [known, type] : kTypes) {
    if (known == name) return type;
  }
  return Status::InvalidArgument("types: found \"" + std::string(name) +
                                 "\", expected auto, text, number, boolean or json");
}

}  // namespace

Status ApplyCsvTypes(std::string_view types, std::vector<CsvColumn>& columns) {
  if (types.find('=') == std::string_view::npos) {
    if (types.empty()) return Status::Ok();
    FORESHORE_ASSIGN_OR_RETURN(const CsvType type, ParseType(types));
    for (CsvColumn& column : columns) column.type = type;
    return Status::Ok();
  }
  while (!types.empty()) {
    const std::size_t comma = std::min(types.find(','), types.size());
    const std::string_view part = types.substr(0, comma);
    types.remove_prefix(std::min(comma + 1, types.size()));
    const std::size_t equals = part.rfind('=');
    if (equals == std::string_view::npos) {
      return Status::InvalidArgument("types: found \"" + std::string(part) + "\", expected NAME=TYPE");
    }
    FORESHORE_ASSIGN_OR_RETURN(const CsvType type, ParseType(part.substr(equals + 1)));
    const auto found = std::find_if(columns.begin(), columns.end(),
                                    [&](const CsvColumn& column) { return column.name == part.substr(0, equals); });
    if (found == columns.end()) {
      return Status::NotFound("types: the file has no column \"" + std::string(part.substr(0, equals)) + "\"");
    }
    found->type = type;
  }
  return Status::Ok();
}

bool IsPlainText(const CsvField& field) {
  return !field.is_quoted && !field.text.empty() && !IsJsonNumber(field.text) && !IsWord(field.text) &&
         !JsonInText(field.text);
}

Result<std::string> CsvObject(const std::vector<CsvColumn>& columns, const std::vector<CsvField>& fields,
                              std::string_view null_text) {
  JsonWriter json;
  json.BeginObject();
  for (std::size_t index = 0; index < columns.size(); ++index) {
    const CsvColumn& column = columns[index];
    const CsvField& field = fields[index];
    const bool is_text = column.type == CsvType::kAuto || column.type == CsvType::kText;
    if (field.text.empty() && (!field.is_quoted || !is_text)) continue;
    if (!field.is_quoted && field.text == null_text) continue;
    if (column.type == CsvType::kAuto) {
      json.Key(column.name).Raw(AutoCell(column, field));
    } else {
      FORESHORE_ASSIGN_OR_RETURN(const std::string value, TypedCell(column, field));
      json.Key(column.name).Raw(value);
    }
  }
  json.EndObject();
  return json.Take();
}

Result<std::string> CsvValueCell(std::string_view json_value, bool quote_text, char delimiter) {
  if (!json_value.starts_with('"')) return CsvCell(json_value, delimiter);
  FORESHORE_ASSIGN_OR_RETURN(std::string text, DecodeJsonString(json_value));
  if (JsonInText(text)) return CsvCell(JsonString(text), delimiter);
  std::string cell = CsvCell(text, delimiter);
  // Digits in any form are quoted: 007 is no JSON number, but other readers take it for one.
  const bool looks_typed = IsWord(text) || text.find_first_not_of("0123456789+-.eE") == std::string::npos;
  if (cell.front() != '"' && (quote_text || looks_typed)) cell = "\"" + cell + "\"";
  return cell;
}

}  // namespace foreshore::cli
