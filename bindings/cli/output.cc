#include "bindings/cli/output.h"

#include <sys/ioctl.h>
#include <unistd.h>
#include <utf8proc.h>

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <map>

#include "bindings/json/json_writer.h"

namespace foreshore::cli {
namespace {

constexpr std::size_t kHeldRowCountMax = 500;
constexpr std::size_t kCellWidthMax = 100;
constexpr std::size_t kCellWidthMin = 8;
constexpr std::size_t kNumberWidthMax = 24;  // Of any number; half a number would be another one.

// One character: its bytes and the columns it takes. Broken bytes are one column each.
struct Character {
  std::size_t size_bytes;
  std::size_t width;
  bool is_control;
};

Character NextCharacter(std::string_view text) {
  utf8proc_int32_t code_point = -1;
  const auto size_bytes = utf8proc_iterate(reinterpret_cast<const utf8proc_uint8_t*>(text.data()),
                                           static_cast<utf8proc_ssize_t>(text.size()), &code_point);
  if (size_bytes <= 0) return {1, 1, true};
  const bool is_control = code_point < 0x20 || (code_point >= 0x7F && code_point < 0xA0);
  if (is_control) return {static_cast<std::size_t>(size_bytes), 1, true};
  return {static_cast<std::size_t>(size_bytes), static_cast<std::size_t>(std::max(0, utf8proc_charwidth(code_point))),
          false};
}

// Columns of the terminal behind `file`, 0 where there is none.
std::size_t TerminalWidth(std::FILE* file) {
  winsize size = {};
  if (isatty(fileno(file)) == 0 || ioctl(fileno(file), TIOCGWINSZ, &size) != 0) return 0;
  return size.ws_col;
}

void MakeUnique(std::vector<std::string>& names) {
  std::map<std::string, int> counts;
  for (std::string& name : names) {
    const int count = ++counts[name];
    if (count > 1) name += "_" + std::to_string(count);
  }
}

}  // namespace

Result<Format> ParseFormat(std::string_view name) {
  if (name == "table") return Format::kTable;
  if (name == "json") return Format::kJson;
  if (name == "csv") return Format::kCsv;
  return Status::InvalidArgument("format \"" + std::string(name) + "\": expected table, json or csv");
}

Status WriteText(std::FILE* file, std::string_view text) {
  if (std::fwrite(text.data(), 1, text.size(), file) == text.size()) return Status::Ok();
  return FlushFile(file);
}

Status FlushFile(std::FILE* file) {
  errno = 0;
  if (std::fflush(file) == 0 && std::ferror(file) == 0) return Status::Ok();
  const int reason = errno;
  const std::string message = std::string("standard output: cannot write: ") +
                              (reason == 0 ? "an earlier write failed" : std::strerror(reason));
  return {reason == ENOSPC ? ErrorCode::kNoSpace : ErrorCode::kIo, message};
}

std::size_t DisplayWidth(std::string_view text) {
  std::size_t width = 0;
  while (!text.empty()) {
    const Character character = NextCharacter(text);
    width += character.width;
    text.remove_prefix(character.size_bytes);
  }
  return width;
}

std::string FitCell(std::string_view text, std::size_t width) {
  std::string fitted;
  std::size_t used = 0;
  std::size_t cut_bytes = 0;  // Of `fitted`, where "…" still fits.
  while (!text.empty()) {
    const Character character = NextCharacter(text);
    if (used + character.width > width) {
      fitted.resize(cut_bytes);
      return fitted + "…";
    }
    if (character.is_control) {
      fitted += ' ';
    } else {
      fitted += text.substr(0, character.size_bytes);
    }
    used += character.width;
    if (used + 1 <= width) cut_bytes = fitted.size();
    text.remove_prefix(character.size_bytes);
  }
  return fitted;
}

std::string CsvCell(std::string_view text, char delimiter) {
  const bool is_plain = !text.empty() && text.find_first_of("\"\r\n") == std::string_view::npos &&
                        text.find(delimiter) == std::string_view::npos && text.front() != ' ' && text.back() != ' ';
  if (is_plain) return std::string(text);
  std::string cell = "\"";
  for (const char character : text) {
    if (character == '"') cell += '"';
    cell += character;
  }
  return cell + '"';
}

std::string HumanBytes(std::uint64_t bytes) {
  if (bytes < 1024) return std::to_string(bytes) + " B";
  static constexpr const char* kUnits[] = {"KiB", "MiB", "GiB", "TiB"};
  double value = static_cast<double>(bytes) / 1024;
  std::size_t unit = 0;
  while (value >= 1024 && unit + 1 < std::size(kUnits)) {
    value /= 1024;
    ++unit;
  }
  char text[32];
  std::snprintf(text, sizeof text, "%.1f %s", value, kUnits[unit]);
  return text;
}

void RowPrinter::Begin(std::vector<std::string> columns) {
  columns_ = std::move(columns);
  if (columns_.empty()) return;
  if (format_ == Format::kJson) {
    MakeUnique(columns_);
    std::fputs("[", file_);
  } else if (format_ == Format::kCsv) {
    std::string line;
    for (std::size_t index = 0; index < columns_.size(); ++index) {
      line += (index == 0 ? "" : ",") + CsvCell(columns_[index]);
    }
    std::fprintf(file_, "%s\n", line.c_str());
  }
}

void RowPrinter::Row(std::vector<SqlValue> values) {
  if (format_ == Format::kJson) {
    PrintJson(values);
  } else if (format_ == Format::kCsv) {
    PrintCsv(values);
  } else {
    std::vector<std::string> cells;
    cells.reserve(values.size());
    for (const SqlValue& value : values) cells.push_back(CellText(value));
    if (widths_.empty()) NoteKinds(values);
    if (!widths_.empty()) {
      PrintTable(cells);
    } else {
      held_rows_.push_back(std::move(cells));
      if (held_rows_.size() == kHeldRowCountMax) FlushTable();
    }
  }
  ++row_count_;
}

bool RowPrinter::is_full() const {
  return format_ == Format::kTable && options_.row_count_max > 0 && row_count_ >= options_.row_count_max;
}

Status RowPrinter::End() {
  if (columns_.empty()) return Status::Ok();
  if (format_ == Format::kTable) FlushTable();
  if (format_ == Format::kJson) std::fputs(row_count_ == 0 ? "]\n" : "\n]\n", file_);
  return FlushFile(file_);
}

void RowPrinter::PrintJson(const std::vector<SqlValue>& values) {
  JsonWriter json;
  json.BeginObject();
  for (std::size_t index = 0; index < values.size(); ++index) json.Key(columns_[index]).Value(values[index]);
  json.EndObject();
  std::fprintf(file_, "%s\n%s", row_count_ == 0 ? "" : ",", json.Take().c_str());
}

void RowPrinter::PrintCsv(const std::vector<SqlValue>& values) {
  std::string line;
  for (std::size_t index = 0; index < values.size(); ++index) {
    if (index > 0) line += ',';
    const SqlValue& value = values[index];
    if (std::holds_alternative<std::monostate>(value)) continue;
    if (const auto* text = std::get_if<std::string>(&value)) {
      line += CsvCell(*text);
    } else if (std::holds_alternative<SqlBlob>(value)) {
      const std::string quoted = JsonValue(value);
      line += quoted.substr(1, quoted.size() - 2);
    } else {
      line += JsonValue(value);
    }
  }
  line += '\n';
  std::fwrite(line.data(), 1, line.size(), file_);
}

std::string RowPrinter::CellText(const SqlValue& value) const {
  if (const auto* text = std::get_if<std::string>(&value)) return *text;
  if (const auto* blob = std::get_if<SqlBlob>(&value)) return "<" + std::to_string(blob->bytes.size()) + " bytes>";
  if (std::holds_alternative<std::monostate>(value)) return options_.null_text;
  return JsonValue(value);
}

// A column is one of numbers when it has one and nothing else but NULL.
void RowPrinter::NoteKinds(const std::vector<SqlValue>& values) {
  kinds_.resize(values.size(), Kind::kEmpty);
  for (std::size_t index = 0; index < values.size(); ++index) {
    if (std::holds_alternative<std::monostate>(values[index])) continue;
    const bool is_number =
        std::holds_alternative<std::int64_t>(values[index]) || std::holds_alternative<double>(values[index]);
    kinds_[index] = is_number && kinds_[index] != Kind::kOther ? Kind::kNumber : Kind::kOther;
  }
}

void RowPrinter::ChooseWidths() {
  widths_.resize(columns_.size());
  auto is_given = [&](std::size_t index) { return index < options_.widths.size() && options_.widths[index] > 0; };
  for (std::size_t index = 0; index < columns_.size(); ++index) {
    if (is_given(index)) {
      widths_[index] = options_.widths[index];
      continue;
    }
    widths_[index] = DisplayWidth(columns_[index]);
    for (const auto& cells : held_rows_) widths_[index] = std::max(widths_[index], DisplayWidth(cells[index]));
    widths_[index] = std::clamp<std::size_t>(widths_[index], 1, kCellWidthMax);
  }
  const std::size_t terminal = TerminalWidth(file_);
  if (terminal == 0) return;
  // The widest column gives way first, so that short ones stay whole; given widths and numbers stay.
  for (;;) {
    std::size_t total = 2 * (widths_.size() - 1);
    std::size_t widest = widths_.size();
    for (std::size_t index = 0; index < widths_.size(); ++index) {
      total += widths_[index];
      if (is_given(index) || (kinds_[index] == Kind::kNumber && widths_[index] <= kNumberWidthMax)) continue;
      if (widest == widths_.size() || widths_[index] > widths_[widest]) widest = index;
    }
    if (total <= terminal || widest == widths_.size() || widths_[widest] <= kCellWidthMin) return;
    --widths_[widest];
  }
}

void RowPrinter::FlushTable() {
  if (!widths_.empty() || columns_.empty()) return;
  kinds_.resize(columns_.size(), Kind::kEmpty);
  ChooseWidths();
  std::vector<std::string> rule;
  for (std::size_t index = 0; index < columns_.size(); ++index) {
    rule.emplace_back(widths_[index], '-');
  }
  PrintTable(columns_);
  PrintTable(rule);
  for (const auto& cells : held_rows_) PrintTable(cells);
  held_rows_.clear();
}

void RowPrinter::PrintTable(const std::vector<std::string>& cells) {
  std::string line;
  for (std::size_t index = 0; index < cells.size(); ++index) {
    const std::string cell = FitCell(cells[index], widths_[index]);
    const std::string room(widths_[index] - std::min(widths_[index], DisplayWidth(cell)), ' ');
    if (index > 0) line += "  ";
    line += kinds_[index] == Kind::kNumber ? room + cell : cell + room;
  }
  while (!line.empty() && line.back() == ' ') line.pop_back();
  line += '\n';
  std::fwrite(line.data(), 1, line.size(), file_);
}

Status PrintObject(std::FILE* file, Format format, std::string_view json,
                   const std::vector<std::pair<std::string, std::string>>& members) {
  if (format == Format::kJson) {
    FORESHORE_RETURN_IF_ERROR(WriteText(file, std::string(json) + "\n"));
    return FlushFile(file);
  }
  RowPrinter printer(file, format);
  printer.Begin({"what", "value"});
  for (const auto& [name, value] : members) printer.Row({name, value});
  return printer.End();
}

}  // namespace foreshore::cli
