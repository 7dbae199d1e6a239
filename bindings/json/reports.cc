#include "bindings/json/reports.h"

#include <algorithm>

#include "bindings/json/json_writer.h"

namespace foreshore {
namespace {

void Write(JsonWriter& json, const ModelInfo& model) {
  json.BeginObject();
  json.Key("name").Text(model.name);
  json.Key("version").Text(model.version);
  json.Key("architecture").Text(model.architecture);
  json.Key("quantization").Text(model.quantization);
  json.Key("dimension").Count(model.dimension);
  json.Key("token_count_max").Count(model.token_count_max);
  json.Key("tensor_count").Count(model.tensor_count);
  json.Key("tensor_bytes").Count(model.tensor_bytes);
  json.Key("licence").Text(model.licence);
  json.Key("origin").Text(model.origin);
  json.Key("is_complete").Bool(model.is_complete);
  json.Key("adapters").BeginArray();
  for (const std::string& adapter : model.adapters) json.Text(adapter);
  json.EndArray();
  if (model.architecture == "runtime") {
    json.Key("runtime_version").Text(model.runtime_version);
    json.Key("is_registered").Bool(model.is_registered);
  }
  if (!model.fusions.empty()) json.Key("fusions").Text(model.fusions);
  json.EndObject();
}

void Write(JsonWriter& json, const AttachmentInfo& attachment) {
  json.BeginObject();
  json.Key("name").Text(attachment.name);
  json.Key("type").Text(attachment.content_type);
  json.Key("size_bytes").Count(attachment.size_bytes);
  json.Key("sha256").Text(attachment.sha256);
  json.Key("is_here").Bool(attachment.is_here);
  json.EndObject();
}

// What is behind the kind.
void WritePredictive(JsonWriter& json, const IndexInfo& index) {
  json.Key("path").Text(index.predictive.path);
  json.Key("output").Text(index.predictive.output);
  json.Key("model").Text(index.predictive.model);
  json.Key("adapter").Text(index.predictive.adapter);
  json.Key("model_version").Text(index.model_version);
  json.Key("adapter_version").Text(index.adapter_version);
  json.Key("entry_count").Count(index.entry_count);
  json.Key("pending_count").Count(index.pending_count);
  json.Key("failed_count").Count(index.failed_count);
  json.Key("failure").Text(index.failure);
  json.Key("awaited_count").Count(index.awaited_count);
  json.EndObject();
}

void Write(JsonWriter& json, const IndexInfo& index) {
  json.BeginObject();
  json.Key("name").Text(index.name);
  json.Key("collection").Text(index.collection);
  json.Key("kind").Text(index.kind == IndexKind::kField        ? "field"
                        : index.kind == IndexKind::kPredictive ? "predictive"
                                                               : "vector");
  if (index.kind == IndexKind::kPredictive) return WritePredictive(json, index);
  if (index.kind == IndexKind::kField) {
    json.Key("paths").BeginArray();
    for (const std::string& path : index.fields.paths) json.Text(path);
    json.EndArray();
    json.Key("unique").Bool(index.fields.unique);
    json.Key("where").Text(index.fields.where);
    json.Key("entry_count").Count(index.entry_count);
    json.Key("conflict_count").Count(index.conflict_count);
    json.Key("is_ready").Bool(index.is_ready);
    json.EndObject();
    return;
  }
  json.Key("field").Text(index.options.field);
  json.Key("dimension").Count(index.options.dimension);
  json.Key("metric").Text(VectorMetricName(index.options.metric));
  json.Key("bits").Count(static_cast<std::uint64_t>(VectorPrecisionBits(index.options.precision)));
  json.Key("links_per_node").Count(index.options.links_per_node);
  json.Key("graph").Text(index.options.graph == VectorGraphKind::kHnswlib ? "hnswlib" : "flat");
  json.Key("model").Text(index.options.model);
  json.Key("adapter").Text(index.options.adapter);
  json.Key("model_version").Text(index.model_version);
  json.Key("adapter_version").Text(index.adapter_version);
  json.Key("next_model_version").Text(index.next_model_version);
  json.Key("next_adapter_version").Text(index.next_adapter_version);
  json.Key("next_vector_count").Count(index.next_vector_count);
  json.Key("source_paths").BeginArray();
  for (const std::string& path : index.options.source_paths) json.Text(path);
  json.EndArray();
  json.Key("vector_count").Count(index.vector_count);
  json.Key("pending_count").Count(index.pending_count);
  json.Key("memory_bytes").Count(index.memory_bytes);
  json.Key("mapped_bytes").Count(index.mapped_bytes);
  const std::uint64_t vector_count = std::max<std::uint64_t>(1, index.vector_count);
  json.Key("memory_bytes_per_vector").Count(index.memory_bytes / vector_count);
  json.Key("mapped_bytes_per_vector").Count(index.mapped_bytes / vector_count);
  json.Key("strategy").Text(index.strategy);
  json.Key("ef").Count(index.ef);
  json.Key("recall").Value(index.recall);
  json.Key("estimated_recall").Value(index.estimated_recall);
  json.Key("sampled_recall").Value(index.sampled_recall);
  json.Key("sampled_ef").Count(index.sampled_ef);
  json.Key("sample_count").Count(index.sample_count);
  json.Key("sample_kind").Text(index.sample_kind);
  json.Key("sample_age_ms").Count(static_cast<std::uint64_t>(index.sample_age_ms));
  json.Key("garbage_count").Count(index.garbage_count);
  json.Key("repair_done_count").Count(index.repair_done_count);
  json.Key("repair_total_count").Count(index.repair_total_count);
  json.Key("repair_slice_count").Count(index.repair_slice_count);
  json.Key("repair_slice_us_max").Count(static_cast<std::uint64_t>(index.repair_slice_us_max));
  json.Key("repair_reclaimed_count").Count(index.repair_reclaimed_count);
  json.Key("opened_from").Text(index.opened_from);
  json.EndObject();
}

void Write(JsonWriter& json, const TextIndexInfo& index) {
  json.BeginObject();
  json.Key("name").Text(index.collection);
  json.Key("collection").Text(index.collection);
  json.Key("kind").Text("text");
  json.Key("full_text").BeginArray();
  for (const std::string& field : index.options.fields) json.Text(field);
  json.EndArray();
  json.Key("tokenizer").Text(TextTokenizerName(index.options.tokenizer));
  json.Key("document_count").Count(index.document_count);
  json.Key("pending_count").Count(index.pending_count);
  json.EndObject();
}

void WriteRow(JsonWriter& json, std::string_view key, const std::vector<std::string>& columns, const SqlRow& row) {
  json.Key(key).BeginObject();
  for (std::size_t i = 0; i < std::min(columns.size(), row.size()); ++i) json.Key(columns[i]).Value(row[i]);
  json.EndObject();
}

}  // namespace

std::string ModelJson(const ModelInfo& model) {
  JsonWriter json;
  Write(json, model);
  return json.Take();
}

std::string ModelQuantizeJson(const ModelQuantizeReport& report) {
  JsonWriter json;
  json.BeginObject();
  json.Key("model");
  Write(json, report.model);
  json.Key("is_activated").Bool(report.is_activated);
  json.Key("refusal").Text(report.refusal);
  json.Key("original_bytes").Count(report.original_bytes);
  json.Key("quantized_bytes").Count(report.quantized_bytes);
  json.Key("original_us").Value(report.original_us);
  json.Key("quantized_us").Value(report.quantized_us);
  json.Key("mean_cosine").Value(report.mean_cosine);
  json.Key("min_cosine").Value(report.min_cosine);
  json.Key("top_ten_overlap").Value(report.top_ten_overlap);
  json.Key("top_one_agreement").Value(report.top_one_agreement);
  json.Key("output_error_ratio").Value(report.output_error_ratio);
  json.Key("calibration_count").Count(report.calibration_count);
  json.Key("calibration_token_count").Count(report.calibration_token_count);
  json.Key("held_out_count").Count(report.held_out_count);
  json.EndObject();
  return json.Take();
}

std::string ModelsJson(std::span<const ModelInfo> models) {
  JsonWriter json;
  json.BeginArray();
  for (const ModelInfo& model : models) Write(json, model);
  json.EndArray();
  return json.Take();
}

std::string IndexJson(const IndexInfo& index) {
  JsonWriter json;
  Write(json, index);
  return json.Take();
}

std::string TuningJson(const VectorTuningResult& tuning) {
  JsonWriter json;
  json.BeginObject();
  json.Key("ef").Count(tuning.ef);
  json.Key("recall").Value(tuning.recall);
  json.Key("search_us").Value(tuning.search_us);
  json.Key("sample_count").Count(tuning.sample_count);
  json.Key("sample_kind").Text(tuning.sample_kind);
  json.EndObject();
  return json.Take();
}

std::string HnswlibImportJson(const HnswlibImportResult& result) {
  JsonWriter json;
  json.BeginObject();
  json.Key("document_count").Count(result.document_count);
  json.Key("deleted_count").Count(result.deleted_count);
  json.Key("dimension").Count(result.dimension);
  json.Key("links_per_node").Count(result.links_per_node);
  json.Key("links_kept").Bool(result.has_kept_links);
  json.EndObject();
  return json.Take();
}

std::string IndexesJson(std::span<const IndexInfo> indexes, std::span<const TextIndexInfo> text_indexes) {
  JsonWriter json;
  json.BeginArray();
  for (const IndexInfo& index : indexes) Write(json, index);
  for (const TextIndexInfo& index : text_indexes) Write(json, index);
  json.EndArray();
  return json.Take();
}

std::string StatsJson(const DatabaseStats& stats) {
  JsonWriter json;
  json.BeginObject();
  json.Key("storage").Text(stats.storage);
  json.Key("disk_bytes").Count(stats.disk_bytes);
  json.Key("blob_count").Count(stats.blob_count);
  json.Key("blob_bytes").Count(stats.blob_bytes);
  json.Key("last_sequence").Integer(stats.last_sequence);
  json.Key("log_entry_count").Integer(stats.log_entry_count);
  json.Key("rescued_count").Count(stats.rescued_count);
  json.Key("pending_embedding_count").Count(stats.pending_embedding_count);
  json.Key("pending_prediction_count").Count(stats.pending_prediction_count);
  json.Key("failed_prediction_count").Count(stats.failed_prediction_count);
  json.Key("subscription_count").Count(stats.subscription_count);
  json.Key("replica").Text(stats.replica);
  json.Key("identity_forked").Bool(stats.identity_forked);
  json.Key("collections").BeginArray();
  for (const CollectionStats& collection : stats.collections) {
    json.BeginObject();
    json.Key("name").Text(collection.name);
    json.Key("document_count").Count(collection.document_count);
    json.EndObject();
  }
  json.EndArray();
  json.Key("indexes").BeginArray();
  for (const IndexInfo& index : stats.indexes) Write(json, index);
  json.EndArray();
  json.EndObject();
  return json.Take();
}

std::string AttachmentJson(const AttachmentInfo& attachment) {
  JsonWriter json;
  Write(json, attachment);
  return json.Take();
}

std::string AttachmentsJson(std::span<const AttachmentInfo> attachments) {
  JsonWriter json;
  json.BeginArray();
  for (const AttachmentInfo& attachment : attachments) Write(json, attachment);
  json.EndArray();
  return json.Take();
}

std::string VerifyJson(const VerifyReport& report) {
  JsonWriter json;
  json.BeginObject();
  json.Key("document_count").Count(report.document_count);
  json.Key("vector_count").Count(report.vector_count);
  json.Key("index_entry_count").Count(report.index_entry_count);
  json.Key("blob_count").Count(report.blob_count);
  json.Key("wanted_blob_count").Count(report.wanted_blob_count);
  json.Key("problems").BeginArray();
  for (const std::string& problem : report.problems) json.Text(problem);
  json.EndArray();
  json.EndObject();
  return json.Take();
}

std::string RescuedJson(std::span<const RescuedValue> values) {
  JsonWriter json;
  json.BeginArray();
  for (const RescuedValue& value : values) {
    json.BeginObject();
    json.Key("rescue_id").Text(value.rescue_id);
    json.Key("collection").Text(value.collection);
    json.Key("document_id").Text(value.document_id);
    json.Key("path").Text(value.path);
    json.Key("value").Raw(value.value);
    json.EndObject();
  }
  json.EndArray();
  return json.Take();
}

std::string ChangesJsonLines(const ResultChanges& changes) {
  static constexpr std::string_view kNames[] = {"", "inserted", "updated", "removed"};
  if (!changes.status.ok()) {
    JsonWriter json;
    json.BeginObject().Key("error").Text(changes.status.ToString()).EndObject();
    return json.Take() + "\n";
  }
  std::string lines;
  for (const RowChange& change : changes.changes) {
    JsonWriter json;
    json.BeginObject();
    json.Key("sequence").Integer(changes.sequence);
    json.Key("change").Text(kNames[static_cast<std::size_t>(change.kind)]);
    if (change.kind != RowChange::Kind::kInserted) WriteRow(json, "old", changes.columns, change.old_row);
    if (change.kind != RowChange::Kind::kRemoved) WriteRow(json, "new", changes.columns, change.new_row);
    json.EndObject();
    lines += json.Take() + "\n";
  }
  return lines;
}

std::string SyncReportJson(const SyncReport& report) {
  JsonWriter json;
  json.BeginObject();
  json.Key("documents_pushed").Count(report.totals.documents_pushed);
  json.Key("documents_pulled").Count(report.totals.documents_pulled);
  json.Key("documents_changed").Count(report.documents_changed);
  json.Key("values_rescued").Count(report.values_rescued);
  json.Key("blobs_sent").Count(report.totals.blobs_sent);
  json.Key("blobs_received").Count(report.totals.blobs_received);
  json.Key("bytes_sent").Count(report.totals.bytes_sent);
  json.Key("bytes_received").Count(report.totals.bytes_received);
  json.Key("identity_forked").Bool(report.identity_forked);
  json.Key("resynced").Bool(report.resynced);
  json.Key("clock_corrected").Bool(report.clock_corrected);
  json.Key("blobs_missing").BeginArray();
  for (const std::string& blob : report.blobs_missing) json.Text(blob);
  json.EndArray();
  json.EndObject();
  return json.Take();
}

}  // namespace foreshore
