// index, model, search and predict.
#include <cstdio>
#include <optional>

#include "bindings/cli/command.h"
#include "bindings/cli/input_file.h"
#include "bindings/cli/progress.h"
#include "bindings/json/json_writer.h"
#include "bindings/json/reports.h"

namespace foreshore::cli {
namespace {

constexpr std::size_t kInputFileBytesMax = 256 << 20;

std::vector<std::string> SplitPaths(const std::string& paths) {
  std::vector<std::string> parts;
  std::size_t start = 0;
  while (start <= paths.size() && !paths.empty()) {
    const std::size_t comma = std::min(paths.find(',', start), paths.size());
    parts.push_back(paths.substr(start, comma - start));
    start = comma + 1;
  }
  return parts;
}

std::string Joined(const std::vector<std::string>& paths) {
  std::string joined;
  for (const std::string& path : paths) joined += (joined.empty() ? "" : ",") + path;
  return joined;
}

Status PrintModel(const ModelInfo& model, Format format) {
  return PrintObject(stdout, format, ModelJson(model),
                     {{"name", model.name},
                      {"version", model.version},
                      {"architecture", model.architecture},
                      {"quantization", model.quantization},
                      {"dimension", std::to_string(model.dimension)},
                      {"tokens at most", std::to_string(model.token_count_max)},
                      {"tensors", std::to_string(model.tensor_count) + ", " + HumanBytes(model.tensor_bytes)},
                      {"licence", model.licence},
                      {"origin", model.origin},
                      {"adapters", Joined(model.adapters)},
                      {"fused", model.fusions},
                      {"complete", model.is_complete ? "yes" : "no: tensors are still on their way"}});
}

// "minilm+legal 788a1f02, next 01ab77c3: 1200": the version that answers, and how many vectors the next one has.
std::string ModelOf(const IndexInfo& index) {
  const bool is_predictive = index.kind == IndexKind::kPredictive;
  std::string text = is_predictive ? index.predictive.model : index.options.model;
  const std::string& adapter = is_predictive ? index.predictive.adapter : index.options.adapter;
  if (!adapter.empty()) text += "+" + adapter;
  if (!index.model_version.empty()) text += " " + index.model_version.substr(0, 8);
  if (index.next_model_version.empty()) return text;
  return text + ", next " + index.next_model_version.substr(0, 8) + ": " + std::to_string(index.next_vector_count);
}

Status NoSuchIndex(const std::string& name, const std::vector<IndexInfo>& indexes) {
  std::string known;
  for (const IndexInfo& index : indexes) known += (known.empty() ? "" : ", ") + index.name;
  return Status::NotFound("index \"" + name + "\": not found, expected " +
                          (known.empty() ? "one that index create made" : "one of " + known));
}

// With a bar where there is something to wait for.
Status WaitIndexed(Database& database) {
  std::optional<ProgressBar> bar;
  std::uint64_t total = 0;
  return database.WaitIndexed(std::chrono::hours(24), [&](std::uint64_t pending) {
    if (!bar) bar.emplace("indexing", total = pending);
    bar->Update(total > pending ? total - pending : 0, std::to_string(pending) + " left");
  });
}

Status CreatePredictiveIndex(const IndexCreateArguments& arguments) {
  if (arguments.is_vector || arguments.is_text || arguments.is_unique || !arguments.where.empty() ||
      !arguments.sources.empty() || arguments.dimension != 0) {
    return Status::InvalidArgument(
        "index: --predict goes with --model, --output, --adapter and --name, and with no other kind of index");
  }
  PredictiveIndexOptions options;
  options.model = arguments.model;
  options.path = arguments.path;
  options.output = arguments.output;
  options.adapter = arguments.adapter;
  options.name = arguments.name;
  FORESHORE_ASSIGN_OR_RETURN(const auto database,
                             OpenExisting(arguments.database, ThreadCount(arguments.thread_count)));
  FORESHORE_RETURN_IF_ERROR(RequireCollection(*database, arguments.collection));
  FORESHORE_RETURN_IF_ERROR(database->CreatePredictiveIndex(arguments.collection, options));
  FORESHORE_RETURN_IF_ERROR(WaitIndexed(*database));
  return database->Close();
}

Status CreateFieldIndex(const IndexCreateArguments& arguments) {
  if (!arguments.output.empty()) return Status::InvalidArgument("index: --output goes with --predict");
  if (!arguments.model.empty() || !arguments.adapter.empty() || !arguments.sources.empty() ||
      arguments.dimension != 0) {
    return Status::InvalidArgument("index: --model, --adapter, --source and --dim go with --vector");
  }
  FieldIndexOptions options;
  options.paths = SplitPaths(arguments.path);
  options.unique = arguments.is_unique;
  options.where = arguments.where;
  options.name = arguments.name;
  FORESHORE_ASSIGN_OR_RETURN(const auto database, OpenExisting(arguments.database));
  FORESHORE_RETURN_IF_ERROR(RequireCollection(*database, arguments.collection));
  FORESHORE_RETURN_IF_ERROR(database->CreateFieldIndex(arguments.collection, options));
  FORESHORE_RETURN_IF_ERROR(WaitIndexed(*database));
  return database->Close();
}

// "unique where size > 3, being built".
std::string TraitsOf(const IndexInfo& index) {
  std::string traits = index.fields.unique ? "unique" : "";
  const auto add = [&](const std::string& text) { traits += (traits.empty() ? "" : ", ") + text; };
  if (!index.fields.where.empty()) add("where " + index.fields.where);
  if (!index.is_ready) add("being built");
  if (index.conflict_count > 0) add(std::to_string(index.conflict_count) + " conflicts");
  return traits;
}

Status RunTextIndexCreate(const IndexCreateArguments& arguments) {
  if (arguments.is_vector || arguments.is_unique) {
    return Status::InvalidArgument("index: --text goes with neither --vector nor --unique");
  }
  TextIndexOptions options;
  options.fields = SplitPaths(arguments.path);
  options.tokenizer = TextTokenizerFromName(arguments.tokenizer).value_or(TextTokenizer::kUnicode);
  options.keep_diacritics = arguments.keep_diacritics;
  options.prefix_lengths = arguments.prefix_lengths;
  FORESHORE_ASSIGN_OR_RETURN(const auto database, OpenExisting(arguments.database));
  FORESHORE_RETURN_IF_ERROR(RequireCollection(*database, arguments.collection));
  FORESHORE_RETURN_IF_ERROR(database->CreateTextIndex(arguments.collection, options));
  std::uint64_t total = 0;
  FORESHORE_ASSIGN_OR_RETURN(const auto indexes, database->ListTextIndexes());
  for (const TextIndexInfo& index : indexes) {
    if (index.collection == arguments.collection) total = index.pending_count;
  }
  ProgressBar bar("indexing", total);
  const Status filled =
      database->WaitTextIndex(arguments.collection, std::chrono::hours(24), [&](std::uint64_t pending) {
        bar.Update(total > pending ? total - pending : 0, std::to_string(pending) + " left");
      });
  if (!filled.ok()) return filled;
  return database->Close();
}

}  // namespace

Status RunIndexCreate(const IndexCreateArguments& arguments) {
  if (arguments.is_predictive) return CreatePredictiveIndex(arguments);
  if (arguments.is_text) return RunTextIndexCreate(arguments);
  if (!arguments.is_vector) return CreateFieldIndex(arguments);
  if (arguments.is_unique) return Status::Unsupported("index: --unique does not go with --vector");
  if (!arguments.where.empty()) return Status::Unsupported("index: --where does not go with --vector");
  VectorFieldOptions options;
  options.field = arguments.path;
  options.dimension = arguments.dimension;
  options.model = arguments.model;
  options.adapter = arguments.adapter;
  options.source_paths = SplitPaths(arguments.sources);
  const auto metric = VectorMetricFromName(arguments.metric);
  if (!metric.has_value()) {
    return Status::InvalidArgument("metric \"" + arguments.metric + "\": expected cosine, dot or l2");
  }
  options.metric = *metric;
  const auto precision = VectorPrecisionFromBits(arguments.bits);
  if (!precision.has_value()) {
    return Status::InvalidArgument("bits are " + std::to_string(arguments.bits) + ", expected 1, 4, 8 or 16");
  }
  options.precision = *precision;
  options.links_per_node = arguments.links_per_node;
  if (arguments.graph == "hnswlib") options.graph = VectorGraphKind::kHnswlib;
  FORESHORE_ASSIGN_OR_RETURN(const auto database,
                             OpenExisting(arguments.database, ThreadCount(arguments.thread_count)));
  FORESHORE_RETURN_IF_ERROR(RequireCollection(*database, arguments.collection));
  FORESHORE_RETURN_IF_ERROR(database->CreateVectorIndex(arguments.collection, options));
  FORESHORE_ASSIGN_OR_RETURN(const DatabaseStats stats, database->Stats());
  const std::uint64_t total = stats.pending_embedding_count;
  ProgressBar bar("embedding", total);
  FORESHORE_RETURN_IF_ERROR(database->WaitEmbedded(std::chrono::hours(24), [&](std::uint64_t pending) {
    bar.Update(total > pending ? total - pending : 0, std::to_string(pending) + " left");
  }));
  return database->Close();
}

Status RunIndexList(const ListArguments& arguments) {
  FORESHORE_ASSIGN_OR_RETURN(const auto database, OpenExisting(arguments.database));
  FORESHORE_ASSIGN_OR_RETURN(const auto indexes, database->ListIndexes());
  FORESHORE_ASSIGN_OR_RETURN(const auto text_indexes, database->ListTextIndexes());
  if (arguments.format == Format::kJson) return WriteText(stdout, IndexesJson(indexes, text_indexes) + "\n");
  RowPrinter printer(stdout, arguments.format);
  printer.Begin({"name", "kind", "paths", "traits", "entries", "dimension", "metric", "model", "pending",
                 "memory_bytes", "strategy"});
  for (const IndexInfo& index : indexes) {
    if (index.kind == IndexKind::kField) {
      printer.Row({index.name, std::string("field"), Joined(index.fields.paths), TraitsOf(index),
                   static_cast<std::int64_t>(index.entry_count), SqlValue(), SqlValue(), SqlValue(), SqlValue(),
                   SqlValue(), SqlValue()});
      continue;
    }
    if (index.kind == IndexKind::kPredictive) {
      std::string state = index.predictive.output;
      if (index.failed_count > 0) state += ", " + std::to_string(index.failed_count) + " failed";
      if (index.awaited_count > 0) state += ", " + std::to_string(index.awaited_count) + " await attachments";
      printer.Row({index.name, std::string("predictive"), index.predictive.path, state,
                   static_cast<std::int64_t>(index.entry_count), SqlValue(), SqlValue(), ModelOf(index),
                   static_cast<std::int64_t>(index.pending_count), SqlValue(), index.failure});
      continue;
    }
    printer.Row({index.name, std::string("vector"), Joined(index.options.source_paths), std::string(),
                 static_cast<std::int64_t>(index.vector_count), std::int64_t(index.options.dimension),
                 std::string(VectorMetricName(index.options.metric)), ModelOf(index),
                 static_cast<std::int64_t>(index.pending_count), static_cast<std::int64_t>(index.memory_bytes),
                 index.strategy});
  }
  for (const TextIndexInfo& index : text_indexes) {
    printer.Row({index.collection, std::string("text"), Joined(index.options.fields),
                 std::string(TextTokenizerName(index.options.tokenizer)),
                 static_cast<std::int64_t>(index.document_count), SqlValue(), SqlValue(), SqlValue(),
                 static_cast<std::int64_t>(index.pending_count), SqlValue(), SqlValue()});
  }
  return printer.End();
}

Status RunIndexDrop(const NameArguments& arguments) {
  FORESHORE_ASSIGN_OR_RETURN(const auto database, OpenExisting(arguments.database));
  FORESHORE_ASSIGN_OR_RETURN(const auto indexes, database->ListIndexes());
  for (const IndexInfo& index : indexes) {
    if (index.name != arguments.name) continue;
    switch (index.kind) {
      case IndexKind::kField:
        FORESHORE_RETURN_IF_ERROR(database->DropFieldIndex(index.collection, index.fields.name));
        break;
      case IndexKind::kPredictive:
        FORESHORE_RETURN_IF_ERROR(database->DropPredictiveIndex(index.collection, index.predictive.name));
        break;
      case IndexKind::kVector:
        FORESHORE_RETURN_IF_ERROR(database->DropVectorIndex(index.collection, index.options.field));
        break;
    }
    return database->Close();
  }
  FORESHORE_ASSIGN_OR_RETURN(const auto text_indexes, database->ListTextIndexes());
  for (const TextIndexInfo& index : text_indexes) {
    if (index.collection != arguments.name) continue;
    FORESHORE_RETURN_IF_ERROR(database->DropTextIndex(index.collection));
    return database->Close();
  }
  return NoSuchIndex(arguments.name, indexes);
}

Status RunIndexTune(const IndexTuneArguments& arguments) {
  FORESHORE_ASSIGN_OR_RETURN(const auto database, OpenExisting(arguments.database));
  FORESHORE_ASSIGN_OR_RETURN(const auto indexes, database->ListIndexes());
  for (const IndexInfo& index : indexes) {
    if (index.name != arguments.name) continue;
    if (index.kind != IndexKind::kVector) {
      return Status::InvalidArgument("index \"" + index.name + "\": is of another kind, expected one of vectors");
    }
    FORESHORE_ASSIGN_OR_RETURN(
        const VectorTuningResult result,
        database->TuneVectorIndex(index.collection, index.options.field, arguments.recall, arguments.sample_count));
    RowPrinter printer(stdout, arguments.format);
    printer.Begin({"name", "ef", "recall", "search_us", "samples", "queries"});
    printer.Row({index.name, std::int64_t(result.ef), result.recall, result.search_us,
                 static_cast<std::int64_t>(result.sample_count), result.sample_kind});
    FORESHORE_RETURN_IF_ERROR(printer.End());
    return database->Close();
  }
  return NoSuchIndex(arguments.name, indexes);
}

Status RunModelAdd(const ModelAddArguments& arguments) {
  ModelImportOptions options;
  if (arguments.quantization == "none") options.quantization = Quantization::kNone;
  options.vocabulary_path = arguments.vocabulary;
  options.licence = arguments.licence;
  options.origin = arguments.origin;
  FORESHORE_ASSIGN_OR_RETURN(const auto database, OpenExisting(arguments.database));
  FORESHORE_ASSIGN_OR_RETURN(const ModelInfo model, database->AddModel(arguments.name, arguments.path, options));
  FORESHORE_RETURN_IF_ERROR(database->Close());
  return PrintModel(model, arguments.format);
}

Status RunModelQuantize(const ModelQuantizeArguments& arguments) {
  ModelQuantizeOptions options;
  if (arguments.method == "int8") options.method = Quantization::kInt8;
  if (arguments.method == "gptq3") options.method = Quantization::kGptq3;
  if (arguments.method == "nf4") options.method = Quantization::kNf4;
  const std::size_t dot = arguments.calibration.find('.');
  if (dot == std::string::npos || dot == 0 || dot + 1 == arguments.calibration.size()) {
    return Status::InvalidArgument("calibration \"" + arguments.calibration + "\": expected COLLECTION.PATH");
  }
  options.collection = arguments.calibration.substr(0, dot);
  options.path = arguments.calibration.substr(dot + 1);
  options.image = arguments.image;
  options.group_size = arguments.group_size;
  options.calibration_count = arguments.calibration_count;
  options.held_out_count = arguments.held_out_count;
  options.overlap_min = arguments.overlap_min;
  FORESHORE_ASSIGN_OR_RETURN(const auto database, OpenExisting(arguments.database));
  FORESHORE_RETURN_IF_ERROR(RequireCollection(*database, options.collection));
  FORESHORE_ASSIGN_OR_RETURN(const ModelQuantizeReport report,
                             database->QuantizeModel(arguments.name, arguments.as, options));
  FORESHORE_RETURN_IF_ERROR(database->Close());
  const auto number = [](const char* format, double value) {
    char digits[64];
    std::snprintf(digits, sizeof digits, format, value);
    return std::string(digits);
  };
  const bool is_calibrated = report.calibration_count > 0;
  const bool is_graph = report.model.architecture == "graph";
  FORESHORE_RETURN_IF_ERROR(PrintObject(
      stdout, arguments.format, ModelQuantizeJson(report),
      {{"model", report.model.name + ", " + report.model.quantization},
       {"activated", report.is_activated ? "yes" : "no"},
       {"tensors", HumanBytes(report.quantized_bytes) + ", original " + HumanBytes(report.original_bytes)},
       {is_graph ? "a document takes" : "a text takes",
        number("%.0f us", report.quantized_us) + number(", original %.0f us", report.original_us)},
       {"cosine to the original", number("mean %.4f", report.mean_cosine) + number(", least %.4f", report.min_cosine)},
       is_graph
           ? std::pair<std::string, std::string>("greatest output the same", number("%.4f", report.top_one_agreement))
           : std::pair<std::string, std::string>("ten nearest the same", number("%.3f", report.top_ten_overlap)),
       {"output error against nearest", is_calibrated && !is_graph ? number("%.3f", report.output_error_ratio) : ""},
       {"calibrated on", is_calibrated
                             ? std::to_string(report.calibration_count) + " documents" +
                                   (is_graph ? "" : ", " + std::to_string(report.calibration_token_count) + " tokens")
                             : ""},
       {"judged by", std::to_string(report.held_out_count) + " other documents"}}));
  return report.is_activated ? Status::Ok() : Status::Conflict(report.refusal);
}

Status RunAdapterAdd(const AdapterArguments& arguments) {
  FORESHORE_ASSIGN_OR_RETURN(const auto database, OpenExisting(arguments.database));
  FORESHORE_ASSIGN_OR_RETURN(const ModelInfo model,
                             database->AddAdapter(arguments.model, arguments.adapter, arguments.path));
  FORESHORE_RETURN_IF_ERROR(database->Close());
  return PrintModel(model, arguments.format);
}

Status RunAdapterRemove(const AdapterArguments& arguments) {
  FORESHORE_ASSIGN_OR_RETURN(const auto database, OpenExisting(arguments.database));
  FORESHORE_RETURN_IF_ERROR(database->RemoveAdapter(arguments.model, arguments.adapter));
  return database->Close();
}

Status RunModelList(const ListArguments& arguments) {
  FORESHORE_ASSIGN_OR_RETURN(const auto database, OpenExisting(arguments.database));
  FORESHORE_ASSIGN_OR_RETURN(const auto models, database->ListModels());
  if (arguments.format == Format::kJson) return WriteText(stdout, ModelsJson(models) + "\n");
  RowPrinter printer(stdout, arguments.format);
  printer.Begin({"name", "architecture", "quantization", "dimension", "tensor_bytes", "complete", "licence", "origin",
                 "version"});
  for (const ModelInfo& model : models) {
    printer.Row({model.name, model.architecture, model.quantization, std::int64_t(model.dimension),
                 static_cast<std::int64_t>(model.tensor_bytes), std::string(model.is_complete ? "yes" : "no"),
                 model.licence, model.origin, model.version});
  }
  return printer.End();
}

Status RunModelShow(const NameArguments& arguments) {
  FORESHORE_ASSIGN_OR_RETURN(const auto database, OpenExisting(arguments.database));
  FORESHORE_ASSIGN_OR_RETURN(const ModelInfo model, database->DescribeModel(arguments.name));
  return PrintModel(model, arguments.format);
}

Status RunModelRemove(const NameArguments& arguments) {
  FORESHORE_ASSIGN_OR_RETURN(const auto database, OpenExisting(arguments.database));
  FORESHORE_RETURN_IF_ERROR(database->RemoveModel(arguments.name));
  return database->Close();
}

Status RunSearch(const SearchArguments& arguments) {
  FORESHORE_ASSIGN_OR_RETURN(const auto database, OpenExisting(arguments.database));
  FORESHORE_RETURN_IF_ERROR(RequireCollection(*database, arguments.collection));
  SearchRequest request;
  request.field = arguments.field;
  request.text = arguments.text;
  request.where = arguments.where;
  request.k = arguments.k;
  if (arguments.is_text && arguments.is_hybrid) {
    return Status::InvalidArgument("search: found --text and --hybrid, expected one of them");
  }
  if (arguments.is_text) request.mode = SearchMode::kText;
  if (arguments.is_hybrid) request.mode = SearchMode::kHybrid;
  request.match = arguments.is_text ? arguments.text : arguments.match;
  const bool has_score = request.mode != SearchMode::kVector;
  FORESHORE_ASSIGN_OR_RETURN(const auto hits, database->Search(arguments.collection, request));
  if (arguments.format == Format::kJson) {
    std::string text = "[";
    for (const SearchHit& hit : hits) {
      JsonWriter json;
      json.BeginObject();
      json.Key("id").Text(hit.id);
      if (has_score) json.Key("score").Value(hit.score);
      if (!has_score) json.Key("distance").Value(hit.distance);
      json.Key("body").Raw(hit.body);
      json.EndObject();
      text += (text.size() == 1 ? "\n" : ",\n") + json.Take();
    }
    text += hits.empty() ? "]\n" : "\n]\n";
    FORESHORE_RETURN_IF_ERROR(WriteText(stdout, text));
    return FlushFile(stdout);
  }
  RowPrinter printer(stdout, arguments.format);
  printer.Begin({has_score ? "score" : "distance", "id", "body"});
  for (const SearchHit& hit : hits) {
    char distance[32];
    const double value = has_score ? hit.score : hit.distance;
    std::snprintf(distance, sizeof distance, "%.4f", value);
    printer.Row(
        {arguments.format == Format::kTable ? SqlValue(std::string(distance)) : SqlValue(value), hit.id, hit.body});
  }
  return printer.End();
}

Status RunPredict(const PredictArguments& arguments) {
  std::string input = arguments.input;
  if (input.starts_with("@")) {
    FORESHORE_ASSIGN_OR_RETURN(input, ReadInputFile(input.substr(1), kInputFileBytesMax));
  }
  FORESHORE_ASSIGN_OR_RETURN(const auto database, OpenExisting(arguments.database));
  FORESHORE_ASSIGN_OR_RETURN(const std::string output, database->Predict(arguments.model, input, arguments.adapter));
  FORESHORE_RETURN_IF_ERROR(WriteText(stdout, output + "\n"));
  return FlushFile(stdout);
}

}  // namespace foreshore::cli
