#include "bindings/cli/transfer_options.h"

#include <algorithm>

#include <CLI/CLI.hpp>

namespace foreshore::cli {
namespace {

template <typename Arguments>
Result<Arguments> ParseWords(const std::string& command, void (*add)(CLI::App&, Arguments&),
                             std::vector<std::string> words) {
  Arguments arguments;
  CLI::App app("", command);
  app.set_help_flag();
  add(app, arguments);
  std::reverse(words.begin(), words.end());  // CLI11 takes them from the back.
  try {
    app.parse(std::move(words));
  } catch (const CLI::ParseError& error) {
    return Status::InvalidArgument(command + ": " + error.what() + " (.help " + command.substr(1) + " tells more)");
  }
  return arguments;
}

}  // namespace

void AddImportOptions(CLI::App& verb, ImportArguments& arguments) {
  verb.add_option("COLLECTION", arguments.collection, "made where it is missing")->required();
  verb.add_option("FILE", arguments.file, "JSON lines, JSON or CSV, plain, gzip or zstd; - is standard input")
      ->required();
  verb.add_option("--format", arguments.format, "jsonl, json or csv; else by the file's suffix")
      ->check(CLI::IsMember({"jsonl", "json", "csv"}));
  verb.add_option("--id", arguments.id_field, "the field that is the document's id")->capture_default_str();
  verb.add_option("--batch", arguments.batch_count, "documents in one transaction")
      ->check(CLI::Range(1, 100'000))
      ->capture_default_str();
  verb.add_option("--on-error", arguments.on_error, "stop at a document that cannot be imported, or skip it")
      ->check(CLI::IsMember({"stop", "skip"}))
      ->capture_default_str();
  verb.add_option("--skip", arguments.pass_over_count, "documents at the beginning that are in already");
  verb.add_option("--delimiter", arguments.delimiter, "csv: what is between the cells: a character, or tab");
  verb.add_option("--columns", arguments.columns, "csv: NAME,NAME… of a file without a header");
  verb.add_option("--types", arguments.types,
                  "csv: a type for all or NAME=TYPE,…: auto, text, number, boolean or json");
  verb.add_option("--null", arguments.null_text, "csv: an unquoted cell like this is absent");
  verb.add_option("--threads", arguments.thread_count, "for embedding; else one per processor")
      ->check(CLI::Range(0, 1024));
}

void AddExportOptions(CLI::App& verb, ExportArguments& arguments) {
  verb.add_option("COLLECTION", arguments.collection, "")->required();
  verb.add_option("--output,-o", arguments.output, "a file, there whole or not at all; else standard output");
  verb.add_option("--format", arguments.format, "jsonl, json or csv; else by the output's suffix")
      ->check(CLI::IsMember({"jsonl", "json", "csv"}));
  verb.add_option("--where", arguments.where, "a SQL expression over the collection's columns");
  verb.add_option("--fields", arguments.fields, "NAME,NAME…: only these fields, or paths such as site.name");
  verb.add_option("--delimiter", arguments.delimiter, "csv: what is between the cells: a character, or tab");
}

Result<ImportArguments> ParseImportWords(std::vector<std::string> words) {
  return ParseWords<ImportArguments>(".import", &AddImportOptions, std::move(words));
}

Result<ExportArguments> ParseExportWords(std::vector<std::string> words) {
  return ParseWords<ExportArguments>(".export", &AddExportOptions, std::move(words));
}

}  // namespace foreshore::cli
