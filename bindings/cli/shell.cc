// The SQL shell. Statements end with a semicolon and may span lines; lines that begin with a dot are commands.
//
// On a pipe it runs what it reads, without prompts, and ends at the first failure.
#include <signal.h>

#include <chrono>
#include <cstdio>
#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <optional>

#include "bindings/cli/command.h"
#include "bindings/cli/completion.h"
#include "bindings/cli/database_names.h"
#include "bindings/cli/line_editor.h"
#include "bindings/cli/progress.h"
#include "bindings/cli/shell_commands.h"
#include "bindings/cli/sql_text.h"
#include "bindings/cli/statement_runner.h"

namespace foreshore::cli {
namespace {

// On a terminal, where more rows than this would only scroll by.
constexpr std::uint64_t kShownRowCountMax = 1000;
constexpr int kScriptDepthMax = 10;

volatile std::sig_atomic_t interrupted = 0;
void OnInterrupt(int) {
  interrupted = 1;
}

// A command is one line; statements end with their semicolon.
bool IsWholeInput(std::string_view text) {
  const std::size_t start = text.find_first_not_of(" \t\n");
  if (start == std::string_view::npos || text[start] == '.') return true;
  return IsBlankSql(SplitSql(text).rest);
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
  Shell(Database& database, SqlConnection& connection)
      : database_(database),
        connection_(connection),
        editor_(
            HistoryPath(), [this](std::string_view before, std::string_view after) { return Complete(before, after); },
            IsWholeInput),
        state_{.database = database, .connection = connection} {
    state_.read_script = [this](const std::string& path) { return ReadScript(path); };
    if (editor_.is_interactive()) state_.options.row_count_max = kShownRowCountMax;
  }

  Status Run() {
    if (editor_.is_interactive()) std::fputs("Foreshore " FORESHORE_VERSION "; .help for help\n", stdout);
    struct sigaction action = {};
    action.sa_handler = OnInterrupt;
    if (editor_.is_interactive()) sigaction(SIGINT, &action, nullptr);
    std::string pending;
    while (!state_.is_over) {
      const auto line = editor_.ReadLine("foreshore> ");
      if (!line.has_value()) break;
      if (line->is_cancelled) continue;
      if (editor_.is_interactive() && !IsBlankSql(line->text)) editor_.AddHistory(line->text);
      const Status status = TakeLine(line->text, pending);
      if (status.ok()) continue;
      if (!editor_.is_interactive()) return status;
      pending.clear();
      std::fflush(stdout);
      std::fprintf(stderr, "error: %s\n", status.message().c_str());
    }
    return IsBlankSql(pending) ? Status::Ok() : RunSql(pending);
  }

 private:
  // `pending` is what came before of a statement without its end.
  Status TakeLine(const std::string& line, std::string& pending) {
    if (IsBlankSql(pending)) {
      pending.clear();
      const std::size_t start = line.find_first_not_of(" \t");
      if (start != std::string::npos && line[start] == '.') {
        names_.reset();
        return RunShellCommand(state_, line.substr(start));
      }
    }
    pending += line + "\n";
    const std::string text = pending;
    const SqlSplit split = SplitSql(text);
    if (split.statements.empty() && split.rest.size() == text.size()) return Status::Ok();
    pending = IsBlankSql(split.rest) ? std::string() : std::string(split.rest);
    for (const std::string_view statement : split.statements) FORESHORE_RETURN_IF_ERROR(RunSql(statement));
    return Status::Ok();
  }

  Status ReadScript(const std::string& path) {
    if (script_depth_ == kScriptDepthMax) {
      return Status::Limit(".read \"" + path + "\": scripts read each other more than " +
                           std::to_string(kScriptDepthMax) + " deep");
    }
    std::ifstream file(path);
    if (!file || std::filesystem::is_directory(path)) {
      return Status::NotFound(".read \"" + path + "\": cannot be opened");
    }
    ++script_depth_;
    const Status status = ReadLines(file, path);
    --script_depth_;
    return status;
  }

  Status ReadLines(std::istream& file, const std::string& path) {
    std::string line;
    std::string pending;
    for (std::uint64_t number = 1; !state_.is_over && std::getline(file, line); ++number) {
      const Status status = TakeLine(line, pending);
      if (!status.ok()) return status.WithContext(path + ":" + std::to_string(number));
    }
    return IsBlankSql(pending) ? Status::Ok() : RunSql(pending);
  }

  Status RunSql(std::string_view sql) {
    interrupted = 0;
    const auto start = std::chrono::steady_clock::now();
    const auto run = RunStatement(connection_, sql, state_.options, &interrupted);
    names_.reset();
    if (!run.ok()) return ReportSqlError(database_, sql, run.status());
    const std::chrono::duration<double, std::milli> elapsed = std::chrono::steady_clock::now() - start;
    if (editor_.is_interactive() || state_.is_timed) Summarise(*run, elapsed.count());
    return Status::Ok();
  }

  void Summarise(const StatementOutcome& outcome, double elapsed_ms) const {
    std::string summary;
    const bool is_table = state_.options.format == Format::kTable;
    if (!outcome.has_columns && outcome.may_change) {
      summary = GroupedCount(static_cast<std::uint64_t>(outcome.changed_count)) + " documents changed";
    } else if (outcome.is_cut) {
      summary = "the first " + GroupedCount(outcome.row_count) + " rows; .limit 0 shows all";
    } else if (outcome.has_columns && is_table) {
      summary = GroupedCount(outcome.row_count) + (outcome.row_count == 1 ? " row" : " rows");
    }
    if (state_.is_timed) {
      char text[32];
      std::snprintf(text, sizeof text, "%s%.2f ms", summary.empty() ? "" : ", ", elapsed_ms);
      summary += text;
    }
    if (!summary.empty()) std::fprintf(stderr, "%s\n", summary.c_str());
  }

  // Names are read once after each statement or command that may have changed them.
  Completion Complete(std::string_view before, std::string_view after) {
    if (!names_) {
      auto names = ReadDatabaseNames(database_);
      names_ = names.ok() ? *std::move(names) : DatabaseNames();
    }
    const std::size_t start = before.find_first_not_of(" \t");
    const bool is_command = start != std::string_view::npos && before[start] == '.';
    return is_command ? CompleteCommand(before.substr(start), *names_) : CompleteSql(before, after, *names_);
  }

  Database& database_;
  SqlConnection& connection_;  // One for all statements, so that BEGIN works.
  LineEditor editor_;
  ShellState state_;
  std::optional<DatabaseNames> names_;
  int script_depth_ = 0;
};

}  // namespace

Status RunShell(const ShellArguments& arguments) {
  FORESHORE_ASSIGN_OR_RETURN(const auto database, OpenExisting(arguments.database));
  {
    SqlOptions options;
    options.keep_going = [] { return interrupted == 0; };
    FORESHORE_ASSIGN_OR_RETURN(const auto connection, database->Connect(options));
    Shell shell(*database, *connection);
    FORESHORE_RETURN_IF_ERROR(shell.Run());
    if (connection->in_transaction()) std::fputs("the open transaction is rolled back\n", stderr);
  }
  return database->Close();
}

}  // namespace foreshore::cli
