// The SQL shell. Statements end with a semicolon and may span lines; lines that begin with a dot are commands.
//
// On a pipe it runs what it reads, without prompts, and ends at the first failure.
#include <signal.h>

#include <algorithm>
#include <array>
#include <cctype>
#include <chrono>
#include <cstdio>
#include <cstdlib>
#include <filesystem>

#include "bindings/cli/command.h"
#include "bindings/cli/line_editor.h"
#include "bindings/cli/sql_text.h"
#include "bindings/cli/statement_runner.h"

namespace foreshore::cli {
namespace {

constexpr std::array<std::string_view, 60> kKeywords = {
    "ALL",     "AND",    "AS",    "ASC",    "BEGIN",  "BETWEEN",  "BY",     "CASE",    "CAST",      "COLLATE",
    "COMMIT",  "COUNT",  "CROSS", "DELETE", "DESC",   "DISTINCT", "ELSE",   "END",     "EXCEPT",    "EXISTS",
    "EXPLAIN", "FROM",   "GLOB",  "GROUP",  "HAVING", "IN",       "INNER",  "INSERT",  "INTERSECT", "INTO",
    "IS",      "ISNULL", "JOIN",  "LEFT",   "LIKE",   "LIMIT",    "MATCH",  "NATURAL", "NOT",       "NOTNULL",
    "NULL",    "OFFSET", "ON",    "OR",     "ORDER",  "OUTER",    "PLAN",   "QUERY",   "RECURSIVE", "ROLLBACK",
    "SELECT",  "SET",    "THEN",  "UNION",  "UPDATE", "USING",    "VALUES", "WHEN",    "WHERE",     "WITH"};
constexpr std::array<std::string_view, 8> kCommands = {".create", ".help", ".indexes", ".mode",
                                                       ".models", ".quit", ".tables",  ".timer"};
constexpr std::string_view kHelp =
    "Statements end with a semicolon. Commands:\n"
    "  .create NAME             make a collection\n"
    "  .indexes                 the vector indexes\n"
    "  .mode table|json|csv     how rows are shown\n"
    "  .models                  the models\n"
    "  .tables                  the collections\n"
    "  .timer on|off            show how long statements take\n"
    "  .quit                    leave (or ^D)\n"
    "Tab completes keywords, collections and fields. ^C drops the line or stops the rows.\n";

volatile std::sig_atomic_t interrupted = 0;
void OnInterrupt(int) {
  interrupted = 1;
}

bool StartsWithIgnoringCase(std::string_view text, std::string_view prefix) {
  if (prefix.size() > text.size()) return false;
  return std::equal(prefix.begin(), prefix.end(), text.begin(),
                    [](unsigned char left, unsigned char right) { return std::tolower(left) == std::tolower(right); });
}

std::string HistoryPath() {
  const char* state = std::getenv("XDG_STATE_HOME");
  const char* home = std::getenv("HOME");
  std::filesystem::path folder;
  if (state != nullptr && *state != '\0') {
    folder = state;
  } else if (home != nullptr && *home != '\0') {
    folder = std::filesystem::path(home) / ".local" / "state";
  } else {
    return {};
  }
  std::error_code error;
  std::filesystem::create_directories(folder / "foreshore", error);
  return error ? std::string() : (folder / "foreshore" / "history").string();
}

class Shell {
 public:
  explicit Shell(Database& database)
      : database_(database), editor_(HistoryPath(), [this](std::string_view word) { return Complete(word); }) {}

  Status Run() {
    if (editor_.is_interactive()) std::fputs("Foreshore " FORESHORE_VERSION "; .help for help\n", stdout);
    struct sigaction action = {};
    action.sa_handler = OnInterrupt;
    if (editor_.is_interactive()) sigaction(SIGINT, &action, nullptr);
    while (!is_over_) {
      const auto line = editor_.ReadLine(pending_.empty() ? "foreshore> " : "      ...> ");
      if (!line.has_value()) break;
      if (line->is_cancelled) {
        pending_.clear();
        continue;
      }
      const Status status = TakeLine(line->text);
      if (status.ok()) continue;
      if (!editor_.is_interactive()) return status;
      std::fflush(stdout);
      std::fprintf(stderr, "error: %s\n", status.message().c_str());
    }
    if (editor_.is_interactive()) return Status::Ok();
    return IsBlankSql(pending_) ? Status::Ok() : RunSql(pending_);
  }

 private:
  Status TakeLine(const std::string& line) {
    if (IsBlankSql(pending_)) {
      pending_.clear();
      const std::size_t start = line.find_first_not_of(" \t");
      if (start != std::string::npos && line[start] == '.') {
        editor_.AddHistory(line);
        return RunCommand(line.substr(start));
      }
    }
    pending_ += line + "\n";
    const std::string text = pending_;
    const SqlSplit split = SplitSql(text);
    if (split.statements.empty() && split.rest.size() == text.size()) return Status::Ok();
    pending_ = IsBlankSql(split.rest) ? std::string() : std::string(split.rest);
    std::string entry = text;
    std::replace(entry.begin(), entry.end(), '\n', ' ');
    editor_.AddHistory(entry);
    for (const std::string_view statement : split.statements) {
      const Status status = RunSql(statement);
      if (!status.ok()) {
        pending_.clear();
        return status;
      }
    }
    return Status::Ok();
  }

  Status RunSql(std::string_view sql) {
    interrupted = 0;
    const auto start = std::chrono::steady_clock::now();
    const auto run = RunStatement(database_, sql, format_, &interrupted);
    if (!run.ok() && editor_.is_interactive()) {
      std::fflush(stdout);
      std::fputs(ErrorPlace(sql, run.status().message()).c_str(), stderr);
    }
    FORESHORE_ASSIGN_OR_RETURN(const StatementOutcome outcome, run);
    names_.clear();
    const std::chrono::duration<double, std::milli> elapsed = std::chrono::steady_clock::now() - start;
    if (!editor_.is_interactive() && !is_timed_) return Status::Ok();
    std::string summary;
    if (!outcome.has_columns) summary = std::to_string(outcome.changed_count) + " documents changed";
    if (outcome.has_columns && format_ == Format::kTable) summary = std::to_string(outcome.row_count) + " rows";
    if (is_timed_) {
      char text[32];
      std::snprintf(text, sizeof text, "%s%.2f ms", summary.empty() ? "" : ", ", elapsed.count());
      summary += text;
    }
    if (!summary.empty()) std::fprintf(stderr, "%s\n", summary.c_str());
    return Status::Ok();
  }

  Status RunCommand(const std::string& line) {
    const std::size_t space = std::min(line.find_first_of(" \t"), line.size());
    const std::string command = line.substr(0, space);
    std::string argument = line.substr(std::min(line.find_first_not_of(" \t", space), line.size()));
    while (!argument.empty() && std::isspace(static_cast<unsigned char>(argument.back())) != 0) argument.pop_back();
    if (command == ".quit" || command == ".exit") {
      is_over_ = true;
      return Status::Ok();
    }
    if (command == ".help") return WriteText(stdout, kHelp);
    if (command == ".create") return database_.CreateCollection(argument);
    if (command == ".tables") return ShowCollections();
    if (command == ".models") return ShowModels();
    if (command == ".indexes") return ShowIndexes();
    if (command == ".mode") {
      FORESHORE_ASSIGN_OR_RETURN(format_, ParseFormat(argument));
      return Status::Ok();
    }
    if (command == ".timer") {
      if (argument != "on" && argument != "off") {
        return Status::InvalidArgument(".timer: found \"" + argument + "\", expected on or off");
      }
      is_timed_ = argument == "on";
      return Status::Ok();
    }
    return Status::InvalidArgument("command \"" + command + "\": unknown; .help lists them");
  }

  Status ShowCollections() {
    FORESHORE_ASSIGN_OR_RETURN(const DatabaseStats stats, database_.Stats());
    RowPrinter printer(stdout, format_);
    printer.Begin({"collection", "documents"});
    for (const CollectionStats& collection : stats.collections) {
      printer.Row({collection.name, static_cast<std::int64_t>(collection.document_count)});
    }
    return printer.End();
  }

  Status ShowModels() {
    FORESHORE_ASSIGN_OR_RETURN(const auto models, database_.ListModels());
    RowPrinter printer(stdout, format_);
    printer.Begin({"model", "quantization", "dimension"});
    for (const ModelInfo& model : models) {
      printer.Row({model.name, model.quantization, std::int64_t(model.dimension)});
    }
    return printer.End();
  }

  Status ShowIndexes() {
    FORESHORE_ASSIGN_OR_RETURN(const auto indexes, database_.ListIndexes());
    RowPrinter printer(stdout, format_);
    printer.Begin({"index", "model", "entries", "pending"});
    for (const IndexInfo& index : indexes) {
      if (index.kind == IndexKind::kField) {
        printer.Row({index.name, SqlValue(), static_cast<std::int64_t>(index.entry_count), SqlValue()});
        continue;
      }
      printer.Row({index.name, index.options.model, static_cast<std::int64_t>(index.vector_count),
                   static_cast<std::int64_t>(index.pending_count)});
    }
    return printer.End();
  }

  // Names are read once after each statement that may have changed them.
  std::vector<std::string> Complete(std::string_view word) {
    if (word.empty()) return {};
    std::vector<std::string> found;
    if (word.front() == '.') {
      for (const std::string_view command : kCommands) {
        if (command.starts_with(word)) found.emplace_back(command);
      }
      return found;
    }
    if (names_.empty()) {
      if (auto names = database_.SqlNames(); names.ok()) names_ = std::move(*names);
    }
    const bool is_lower = std::islower(static_cast<unsigned char>(word.front())) != 0;
    for (const std::string_view keyword : kKeywords) {
      if (!StartsWithIgnoringCase(keyword, word)) continue;
      std::string spelled(keyword);
      if (is_lower)
        std::transform(spelled.begin(), spelled.end(), spelled.begin(),
                       [](unsigned char character) { return static_cast<char>(std::tolower(character)); });
      found.push_back(std::move(spelled));
    }
    for (const std::string& name : names_) {
      if (StartsWithIgnoringCase(name, word)) found.push_back(name);
    }
    std::sort(found.begin(), found.end());
    found.erase(std::unique(found.begin(), found.end()), found.end());
    return found;
  }

  Database& database_;
  LineEditor editor_;
  std::vector<std::string> names_;
  std::string pending_;
  Format format_ = Format::kTable;
  bool is_timed_ = false;
  bool is_over_ = false;
};

}  // namespace

Status RunShell(const ShellArguments& arguments) {
  FORESHORE_ASSIGN_OR_RETURN(const auto database, OpenExisting(arguments.database));
  {
    Shell shell(*database);
    FORESHORE_RETURN_IF_ERROR(shell.Run());
  }
  return database->Close();
}

}  // namespace foreshore::cli
