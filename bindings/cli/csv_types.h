// JSON values as CSV cells and back, so that what is exported reads back with its types.
//
// Without a named type (kAuto) an unquoted cell is a number, true, false or null where it is written as JSON writes it,
// absent where it is empty, else text; a quoted cell is text. An array or object is its JSON text, quoted or not. A
// text that would be taken for one of those is written as a JSON string in its cell, and read back from it.
//
// Threads: free functions.
#pragma once

#include <string>
#include <string_view>
#include <vector>

#include "bindings/cli/csv_reader.h"
#include "foreshore/status.h"

namespace foreshore::cli {

enum class CsvType { kAuto, kText, kNumber, kBoolean, kJson };

struct CsvColumn {
  std::string name;
  CsvType type = CsvType::kAuto;
  // Unquoted cells are text whatever they look like, because others of the column are: 007 and 12 stay alike.
  bool has_plain_text = false;
};

// "text" (every column) or "NAME=TYPE,…" with auto, text, number, boolean or json; sets the types of `columns`.
Status ApplyCsvTypes(std::string_view types, std::vector<CsvColumn>& columns);
// Whether an unquoted cell is text and nothing else.
bool IsPlainText(const CsvField& field);

// One record as a JSON object. Unquoted cells equal to `null_text` are absent, as empty ones are.
// kInvalidArgument where a cell is not of its column's type.
Result<std::string> CsvObject(const std::vector<CsvColumn>& columns, const std::vector<CsvField>& fields,
                              std::string_view null_text = {});

// A JSON value, as written in a document, as a cell that CsvObject reads back to it. `quote_text`: where the column has
// other values too.
Result<std::string> CsvValueCell(std::string_view json_value, bool quote_text, char delimiter = ',');

}  // namespace foreshore::cli
