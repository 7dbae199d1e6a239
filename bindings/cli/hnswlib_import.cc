// index import: an index that hnswlib saved.
#include <charconv>
#include <fstream>
#include <memory>
#include <optional>
#include <unordered_map>

#include "bindings/cli/command.h"
#include "bindings/cli/progress.h"

namespace foreshore::cli {
namespace {

using IdsByLabel = std::unordered_map<std::uint64_t, std::string>;

// Lines of a label, a tab and an id.
Result<IdsByLabel> ReadIds(const std::string& path) {
  std::ifstream file(path);
  if (!file) return Status::NotFound("file \"" + path + "\": cannot be opened");
  IdsByLabel ids;
  std::string line;
  for (std::uint64_t number = 1; std::getline(file, line); ++number) {
    if (!line.empty() && line.back() == '\r') line.pop_back();
    if (line.empty()) continue;
    const std::string where = path + ":" + std::to_string(number) + ": ";
    std::uint64_t label = 0;
    const char* const end = line.data() + line.size();
    const auto [next, error] = std::from_chars(line.data(), end, label);
    if (error != std::errc() || next == end || *next != '\t') {
      return Status::InvalidArgument(where + "found \"" + line + "\", expected a label, a tab and an id");
    }
    if (!ids.emplace(label, std::string(next + 1, end)).second) {
      return Status::InvalidArgument(where + "label " + std::to_string(label) + " is there twice, expected it once");
    }
  }
  if (file.bad()) return Status::Io("file \"" + path + "\": cannot be read");
  return ids;
}

}  // namespace

Status RunIndexImport(const IndexImportArguments& arguments) {
  HnswlibImportOptions options;
  options.file = arguments.file;
  options.field = arguments.field;
  if (!arguments.metric.empty()) {
    options.metric = VectorMetricFromName(arguments.metric);
    if (!options.metric) {
      return Status::InvalidArgument("metric \"" + arguments.metric + "\": expected cosine, dot or l2");
    }
  }
  if (arguments.bits == 16) options.precision = VectorPrecision::kInt16;
  if (arguments.graph == "hnswlib") options.graph = VectorGraphKind::kHnswlib;
  options.keep_links = !arguments.is_rebuilt;
  options.links_per_node = arguments.links_per_node;
  std::optional<IdsByLabel> ids;
  if (!arguments.ids_file.empty()) {
    FORESHORE_ASSIGN_OR_RETURN(ids, ReadIds(arguments.ids_file));
    options.id_of = [&](std::uint64_t label) -> Result<std::string> {
      const auto found = ids->find(label);
      if (found != ids->end()) return found->second;
      return Status::NotFound(arguments.ids_file + ": no line for label " + std::to_string(label) +
                              ", expected one for each that is not deleted");
    };
  }
  FORESHORE_ASSIGN_OR_RETURN(const auto database, OpenExisting(arguments.database));
  options.create_collection = true;
  std::unique_ptr<ProgressBar> bar;
  options.progress = [&](std::uint64_t done, std::uint64_t total) {
    if (!bar) bar = std::make_unique<ProgressBar>("importing", total);
    bar->Update(done);
  };
  FORESHORE_ASSIGN_OR_RETURN(const HnswlibImportResult result, database->ImportHnswlib(arguments.collection, options));
  bar.reset();
  RowPrinter printer(stdout, arguments.format);
  printer.Begin({"name", "documents", "deleted", "dimension", "links", "graph"});
  printer.Row({arguments.collection + "." + arguments.field, static_cast<std::int64_t>(result.document_count),
               static_cast<std::int64_t>(result.deleted_count), std::int64_t(result.dimension),
               std::int64_t(result.links_per_node), std::string(result.has_kept_links ? "kept" : "built")});
  FORESHORE_RETURN_IF_ERROR(printer.End());
  return database->Close();
}

}  // namespace foreshore::cli
