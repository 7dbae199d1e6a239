// Rows to standard output as an aligned table, JSON or CSV.
//
// json: an array with one object per line; names that occur twice get "_2", "_3"; blobs are base64 text.
// csv: RFC 4180 with a header; NULL is an empty cell, an empty text is "".
// table: for people; columns of numbers stand to the right, cells are cut to fit a terminal. The first 500 rows decide
// the widths.
//
// Threads: one at a time.
#pragma once

#include <cstdint>
#include <cstdio>
#include <string>
#include <string_view>
#include <vector>

#include "foreshore/sql.h"
#include "foreshore/status.h"

namespace foreshore::cli {

enum class Format { kTable, kJson, kCsv };

// kInvalidArgument for another name.
Result<Format> ParseFormat(std::string_view name);

struct PrintOptions {
  Format format = Format::kTable;
  // Of tables only.
  std::string null_text = "NULL";
  std::vector<std::size_t> widths = {};  // Of the first columns; 0: as they need.
  std::uint64_t row_count_max = 0;       // 0: all.
};

class RowPrinter {
 public:
  RowPrinter(std::FILE* file, Format format) : RowPrinter(file, PrintOptions{.format = format}) {}
  RowPrinter(std::FILE* file, PrintOptions options)
      : file_(file), format_(options.format), options_(std::move(options)) {}

  void Begin(std::vector<std::string> columns);
  void Row(std::vector<SqlValue> values);
  // A table has the rows it may have.
  bool is_full() const;
  // Prints what is held back and reports failed writes, such as those of a full disk.
  Status End();

 private:
  void PrintJson(const std::vector<SqlValue>& values);
  void PrintCsv(const std::vector<SqlValue>& values);
  enum class Kind { kEmpty, kNumber, kOther };
  std::string CellText(const SqlValue& value) const;
  void NoteKinds(const std::vector<SqlValue>& values);
  void PrintTable(const std::vector<std::string>& cells);
  void FlushTable();
  void ChooseWidths();

  std::FILE* file_;
  Format format_;
  PrintOptions options_;
  std::vector<std::string> columns_;
  std::vector<std::vector<std::string>> held_rows_;  // Table mode: until widths are known.
  std::vector<std::size_t> widths_;
  std::vector<Kind> kinds_;  // Of the held rows' columns.
  std::uint64_t row_count_ = 0;
};

// Prints one object: as JSON given, or its members as a table of two columns.
Status PrintObject(std::FILE* file, Format format, std::string_view json,
                   const std::vector<std::pair<std::string, std::string>>& members);

// Writes, or says why not.
Status WriteText(std::FILE* file, std::string_view text);
Status FlushFile(std::FILE* file);

std::string CsvCell(std::string_view text, char delimiter = ',');
// Columns that the text takes on a terminal. Bytes that are not UTF-8 take one each.
std::size_t DisplayWidth(std::string_view text);
// At most `width` columns, ending in "…" where something was cut; control characters become spaces.
std::string FitCell(std::string_view text, std::size_t width);
std::string HumanBytes(std::uint64_t bytes);

}  // namespace foreshore::cli
