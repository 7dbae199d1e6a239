#include "bindings/cli/shell_commands.h"

#include <algorithm>
#include <charconv>

#include "bindings/cli/command.h"
#include "bindings/cli/completion.h"
#include "bindings/cli/database_names.h"
#include "bindings/cli/error_hint.h"
#include "bindings/cli/progress.h"
#include "bindings/cli/transfer.h"
#include "bindings/cli/transfer_options.h"

namespace foreshore::cli {
namespace {

constexpr std::uint64_t kSummarisedCountMax = 10'000;
constexpr std::uint64_t kCountMax = 1'000'000'000;
constexpr std::size_t kWidthMax = 10'000;

using Words = std::vector<std::string>;

std::string Usage(const ShellCommand& command) {
  return std::string(command.name) + (command.arguments.empty() ? "" : " ") + std::string(command.arguments);
}

// The words behind the command: from `least` to `most`.
Status ExpectArguments(const Words& words, std::size_t least, std::size_t most) {
  const std::size_t count = words.size() - 1;
  if (count >= least && count <= most) return Status::Ok();
  return Status::InvalidArgument(words[0] + ": found " + std::to_string(count) + " arguments, expected " +
                                 Usage(*FindShellCommand(words[0])));
}

Result<std::uint64_t> ParseCount(const std::string& command, const std::string& text, std::uint64_t most) {
  std::uint64_t count = 0;
  const auto parsed = std::from_chars(text.data(), text.data() + text.size(), count);
  if (parsed.ec == std::errc() && parsed.ptr == text.data() + text.size() && count <= most) return count;
  return Status::InvalidArgument(command + ": found \"" + text + "\", expected a number up to " + std::to_string(most));
}

Status Help(const Words& words) {
  FORESHORE_RETURN_IF_ERROR(ExpectArguments(words, 0, 1));
  if (words.size() == 2) {
    const std::string name = (words[1].starts_with('.') ? "" : ".") + words[1];
    const ShellCommand* command = FindShellCommand(name);
    if (command == nullptr) return Status::NotFound("command \"" + name + "\": unknown; .help lists them");
    return WriteText(stdout,
                     Usage(*command) + "\n  " + std::string(command->summary) + "\n" + std::string(command->detail));
  }
  std::size_t widest = 0;
  for (const ShellCommand& command : ShellCommands()) widest = std::max(widest, DisplayWidth(Usage(command)));
  std::string text = "Statements end with a semicolon and may span lines. Commands:\n";
  for (const ShellCommand& command : ShellCommands()) {
    const std::string usage = Usage(command);
    text += "  " + usage + std::string(widest + 2 - DisplayWidth(usage), ' ') + std::string(command.summary) + "\n";
  }
  return WriteText(stdout, text +
                               "Tab completes what can stand at the cursor. ^C drops the input or stops the statement; "
                               "^R searches the history.\n");
}

Status ShowCollections(ShellState& state) {
  FORESHORE_ASSIGN_OR_RETURN(const DatabaseStats stats, state.database.Stats());
  RowPrinter printer(stdout, state.options);
  printer.Begin({"collection", "documents"});
  for (const CollectionStats& collection : stats.collections) {
    printer.Row({collection.name, static_cast<std::int64_t>(collection.document_count)});
  }
  return printer.End();
}

Status ShowModels(ShellState& state, const Words& words) {
  FORESHORE_RETURN_IF_ERROR(ExpectArguments(words, 0, 1));
  FORESHORE_ASSIGN_OR_RETURN(const auto models, state.database.ListModels());
  if (words.size() == 2) FORESHORE_RETURN_IF_ERROR(state.database.GetModel(words[1]).status());
  RowPrinter printer(stdout, state.options);
  printer.Begin({"model", "quantization", "dimension", "licence", "origin"});
  for (const ModelInfo& model : models) {
    if (words.size() == 2 && model.name != words[1]) continue;
    printer.Row({model.name, model.quantization, std::int64_t(model.dimension), model.licence, model.origin});
  }
  return printer.End();
}

Status ShowIndexes(ShellState& state, const Words& words) {
  FORESHORE_RETURN_IF_ERROR(ExpectArguments(words, 0, 1));
  if (words.size() == 2) FORESHORE_RETURN_IF_ERROR(RequireCollection(state.database, words[1]));
  FORESHORE_ASSIGN_OR_RETURN(const auto indexes, state.database.ListIndexes());
  FORESHORE_ASSIGN_OR_RETURN(const auto text_indexes, state.database.ListTextIndexes());
  RowPrinter printer(stdout, state.options);
  printer.Begin({"index", "kind", "model", "entries", "pending"});
  for (const IndexInfo& index : indexes) {
    if (words.size() == 2 && index.collection != words[1]) continue;
    if (index.kind == IndexKind::kField) {
      printer.Row({index.name, std::string("field"), SqlValue(), static_cast<std::int64_t>(index.entry_count),
                   index.is_ready ? SqlValue() : SqlValue(std::string("being built"))});
      continue;
    }
    if (index.kind == IndexKind::kPredictive) {
      printer.Row({index.name, std::string("predictive"), index.predictive.model,
                   static_cast<std::int64_t>(index.entry_count), static_cast<std::int64_t>(index.pending_count)});
      continue;
    }
    printer.Row({index.name, std::string("vector"), index.options.model, static_cast<std::int64_t>(index.vector_count),
                 static_cast<std::int64_t>(index.pending_count)});
  }
  for (const TextIndexInfo& index : text_indexes) {
    if (words.size() == 2 && index.collection != words[1]) continue;
    printer.Row({index.collection, std::string("text"), SqlValue(), static_cast<std::int64_t>(index.document_count),
                 static_cast<std::int64_t>(index.pending_count)});
  }
  return printer.End();
}

Status ShowSchema(ShellState& state, const Words& words) {
  FORESHORE_RETURN_IF_ERROR(ExpectArguments(words, 0, 1));
  if (words.size() == 2) FORESHORE_RETURN_IF_ERROR(RequireCollection(state.database, words[1]));
  FORESHORE_ASSIGN_OR_RETURN(const DatabaseNames names, ReadDatabaseNames(state.database));
  RowPrinter printer(stdout, state.options);
  printer.Begin({"collection", "column"});
  for (const CollectionNames& collection : names.collections) {
    if (words.size() == 2 && collection.name != words[1]) continue;
    for (const std::string& column : collection.columns) printer.Row({collection.name, column});
  }
  return printer.End();
}

Status ShowFields(ShellState& state, const Words& words) {
  FORESHORE_RETURN_IF_ERROR(ExpectArguments(words, 1, 2));
  FORESHORE_RETURN_IF_ERROR(RequireCollection(state.database, words[1]));
  std::uint64_t count_max = kSummarisedCountMax;
  if (words.size() == 3) {
    FORESHORE_ASSIGN_OR_RETURN(count_max, ParseCount(words[0], words[2], kCountMax));
  }
  FORESHORE_ASSIGN_OR_RETURN(const CollectionSummary summary, SummariseCollection(state.database, words[1], count_max));
  RowPrinter printer(stdout, state.options);
  printer.Begin({"field", "types", "documents"});
  for (const FieldSummary& field : summary.fields) {
    std::string types;
    for (const std::string& type : field.types) types += (types.empty() ? "" : ", ") + type;
    printer.Row({field.path, types, static_cast<std::int64_t>(field.document_count)});
  }
  FORESHORE_RETURN_IF_ERROR(printer.End());
  if (!summary.is_complete) Say("of the first " + GroupedCount(summary.document_count) + " documents");
  return Status::Ok();
}

Status Import(ShellState& state, const Words& words) {
  FORESHORE_ASSIGN_OR_RETURN(const ImportArguments arguments, ParseImportWords({words.begin() + 1, words.end()}));
  if (arguments.file == "-") return Status::InvalidArgument(".import: found -, expected a file");
  const Interrupt interrupt;
  FORESHORE_ASSIGN_OR_RETURN(const ImportReport report, ImportFile(state.database, arguments, interrupt));
  if (report.skipped_count > 0) Warn(SkippedText(arguments.file, report));
  Say(GroupedCount(report.imported_count) + " documents imported in " + ClockText(report.seconds));
  return Status::Ok();
}

Status Export(ShellState& state, const Words& words) {
  FORESHORE_ASSIGN_OR_RETURN(const ExportArguments arguments, ParseExportWords({words.begin() + 1, words.end()}));
  const Interrupt interrupt;
  FORESHORE_ASSIGN_OR_RETURN(const std::uint64_t count, ExportFile(state.database, arguments, interrupt));
  if (!arguments.output.empty()) Say(GroupedCount(count) + " documents exported");
  return Status::Ok();
}

Status SetWidths(ShellState& state, const Words& words) {
  std::vector<std::size_t> widths;
  for (std::size_t index = 1; index < words.size(); ++index) {
    FORESHORE_ASSIGN_OR_RETURN(const std::uint64_t width, ParseCount(words[0], words[index], kWidthMax));
    widths.push_back(static_cast<std::size_t>(width));
  }
  state.options.widths = std::move(widths);
  return Status::Ok();
}

Status SetTimer(ShellState& state, const Words& words) {
  FORESHORE_RETURN_IF_ERROR(ExpectArguments(words, 1, 1));
  if (words[1] != "on" && words[1] != "off") {
    return Status::InvalidArgument(".timer: found \"" + words[1] + "\", expected on or off");
  }
  state.is_timed = words[1] == "on";
  return Status::Ok();
}

// What does not run on the shell's connection would wait for the transaction's write lock, or escape its ROLLBACK.
Status ExpectNoTransaction(const ShellState& state, const std::string& name) {
  if (!state.connection.in_transaction()) return Status::Ok();
  return Status::InvalidArgument(name + ": is not part of the open transaction; expected COMMIT or ROLLBACK before it");
}

Status Unknown(const std::string& name) {
  std::vector<std::string> known;
  for (const ShellCommand& command : ShellCommands()) known.emplace_back(command.name);
  const auto nearest = NearestName(name, known);
  return Status::InvalidArgument("command \"" + name + "\": unknown; " +
                                 (nearest ? "did you mean \"" + *nearest + "\"?" : ".help lists them"));
}

}  // namespace

Status RunShellCommand(ShellState& state, const std::string& line) {
  FORESHORE_ASSIGN_OR_RETURN(const Words words, SplitWords(line));
  const std::string& name = words[0];
  if (name == ".help") return Help(words);
  if (name == ".import" || name == ".create") FORESHORE_RETURN_IF_ERROR(ExpectNoTransaction(state, name));
  if (name == ".import") return Import(state, words);
  if (name == ".export") return Export(state, words);
  if (name == ".models") return ShowModels(state, words);
  if (name == ".indexes") return ShowIndexes(state, words);
  if (name == ".schema") return ShowSchema(state, words);
  if (name == ".fields") return ShowFields(state, words);
  if (name == ".width") return SetWidths(state, words);
  if (name == ".timer") return SetTimer(state, words);
  if (name == ".quit" || name == ".exit") {
    state.is_over = true;
    return Status::Ok();
  }
  if (FindShellCommand(name) == nullptr) return Unknown(name);
  const bool takes_one = name != ".tables" && name != ".stats";
  FORESHORE_RETURN_IF_ERROR(ExpectArguments(words, takes_one ? 1 : 0, takes_one ? 1 : 0));
  if (name == ".tables") return ShowCollections(state);
  if (name == ".stats") return PrintStats(state.database, state.options.format);
  if (name == ".create") return state.database.CreateCollection(words[1]);
  if (name == ".read") return state.read_script(words[1]);
  if (name == ".nullvalue") {
    state.options.null_text = words[1];
    return Status::Ok();
  }
  if (name == ".limit") {
    FORESHORE_ASSIGN_OR_RETURN(state.options.row_count_max, ParseCount(name, words[1], kCountMax));
    return Status::Ok();
  }
  FORESHORE_ASSIGN_OR_RETURN(state.options.format, ParseFormat(words[1]));
  return Status::Ok();
}

}  // namespace foreshore::cli
