// Vector fields, search and models.
#include "bindings/c/call.h"
#include "bindings/json/reports.h"

using foreshore::Status;
using foreshore::c::Call;
using foreshore::c::CopyOut;
using foreshore::c::OrEmpty;
using foreshore::c::ReadOptions;
using foreshore::c::Required;

namespace {

// The stored numbers are the interface's.
static_assert(static_cast<int>(foreshore::VectorMetric::kCosine) == FORESHORE_METRIC_COSINE);
static_assert(static_cast<int>(foreshore::VectorMetric::kDot) == FORESHORE_METRIC_DOT);
static_assert(static_cast<int>(foreshore::VectorMetric::kL2) == FORESHORE_METRIC_L2);
static_assert(static_cast<int>(foreshore::VectorGraphKind::kFlat) == FORESHORE_GRAPH_FLAT);
static_assert(static_cast<int>(foreshore::VectorGraphKind::kHnswlib) == FORESHORE_GRAPH_HNSWLIB);

constexpr std::size_t kSourcePathCountMax = 64;

foreshore::Result<foreshore::VectorFieldOptions> ToField(const foreshore_vector_index_options& given) {
  foreshore::VectorFieldOptions field;
  FORESHORE_RETURN_IF_ERROR(Required(given.field, "field"));
  field.field = given.field;
  field.dimension = given.dimension;
  field.model = OrEmpty(given.model);
  field.adapter = OrEmpty(given.adapter);
  if (given.metric < FORESHORE_METRIC_COSINE || given.metric > FORESHORE_METRIC_L2) {
    return Status::InvalidArgument("metric is " + std::to_string(given.metric) + ", expected 0 to 2");
  }
  field.metric = static_cast<foreshore::VectorMetric>(given.metric);
  const auto precision = foreshore::VectorPrecisionFromBits(given.bits == 0 ? 8 : given.bits);
  if (!precision) {
    return Status::InvalidArgument("bits is " + std::to_string(given.bits) + ", expected 1, 4, 8 or 16");
  }
  field.precision = *precision;
  if (given.links_per_node != 0) field.links_per_node = given.links_per_node;
  if (given.graph < FORESHORE_GRAPH_FLAT || given.graph > FORESHORE_GRAPH_HNSWLIB) {
    return Status::InvalidArgument("graph is " + std::to_string(given.graph) + ", expected 0 or 1");
  }
  field.graph = static_cast<foreshore::VectorGraphKind>(given.graph);
  if (given.source_path_count > kSourcePathCountMax) {
    return Status::Limit("source_paths: found " + std::to_string(given.source_path_count) + ", expected at most " +
                         std::to_string(kSourcePathCountMax));
  }
  if (given.source_path_count > 0) FORESHORE_RETURN_IF_ERROR(Required(given.source_paths, "source_paths"));
  for (std::size_t index = 0; index < given.source_path_count; ++index) {
    FORESHORE_RETURN_IF_ERROR(Required(given.source_paths[index], "source_paths"));
    field.source_paths.emplace_back(given.source_paths[index]);
  }
  return field;
}

foreshore::Result<foreshore::TextIndexOptions> ToTextIndex(const foreshore_text_index_options& given) {
  foreshore::TextIndexOptions options;
  options.keep_diacritics = given.keep_diacritics != 0;
  const std::string tokenizer = given.tokenizer == nullptr ? "unicode" : given.tokenizer;
  const auto named = foreshore::TextTokenizerFromName(tokenizer);
  if (!named) {
    return Status::InvalidArgument("tokenizer is \"" + tokenizer + "\", expected unicode, porter or trigram");
  }
  options.tokenizer = *named;
  if (given.field_count > 64 || given.prefix_length_count > 64) {
    return Status::Limit("full-text index: more than 64 fields or prefix lengths");
  }
  if (given.field_count > 0) FORESHORE_RETURN_IF_ERROR(Required(given.fields, "fields"));
  for (std::size_t index = 0; index < given.field_count; ++index) {
    FORESHORE_RETURN_IF_ERROR(Required(given.fields[index], "fields"));
    options.fields.emplace_back(given.fields[index]);
  }
  if (given.prefix_length_count > 0) {
    FORESHORE_RETURN_IF_ERROR(Required(given.prefix_lengths, "prefix_lengths"));
    options.prefix_lengths.assign(given.prefix_lengths, given.prefix_lengths + given.prefix_length_count);
  }
  return options;
}

}  // namespace

int32_t foreshore_create_text_index(foreshore_database* database, const char* collection,
                                    const foreshore_text_index_options* options, foreshore_error* error) {
  return Call(error, [&]() -> Status {
    FORESHORE_RETURN_IF_ERROR(Required(database, "database", collection, "collection", options, "options"));
    FORESHORE_ASSIGN_OR_RETURN(const auto given, ReadOptions(options, "foreshore_text_index_options"));
    FORESHORE_ASSIGN_OR_RETURN(const auto index, ToTextIndex(given));
    return database->database->CreateTextIndex(collection, index);
  });
}

int32_t foreshore_drop_text_index(foreshore_database* database, const char* collection, foreshore_error* error) {
  return Call(error, [&]() -> Status {
    FORESHORE_RETURN_IF_ERROR(Required(database, "database", collection, "collection"));
    return database->database->DropTextIndex(collection);
  });
}

int32_t foreshore_create_vector_index(foreshore_database* database, const char* collection,
                                      const foreshore_vector_index_options* options, foreshore_error* error) {
  return Call(error, [&]() -> Status {
    FORESHORE_RETURN_IF_ERROR(Required(database, "database", collection, "collection", options, "options"));
    FORESHORE_ASSIGN_OR_RETURN(const auto given, ReadOptions(options, "foreshore_vector_index_options"));
    FORESHORE_ASSIGN_OR_RETURN(const auto field, ToField(given));
    return database->database->CreateVectorIndex(collection, field);
  });
}

int32_t foreshore_drop_vector_index(foreshore_database* database, const char* collection, const char* field,
                                    foreshore_error* error) {
  return Call(error, [&]() -> Status {
    FORESHORE_RETURN_IF_ERROR(Required(database, "database", collection, "collection", field, "field"));
    return database->database->DropVectorIndex(collection, field);
  });
}

int32_t foreshore_tune_vector_index(foreshore_database* database, const char* collection, const char* field,
                                    double recall, size_t sample_count, char** json, foreshore_error* error) {
  return Call(error, [&]() -> Status {
    FORESHORE_RETURN_IF_ERROR(Required(database, "database", collection, "collection", field, "field", json, "json"));
    constexpr std::size_t kSampleCount = 200;
    FORESHORE_ASSIGN_OR_RETURN(const auto tuning,
                               database->database->TuneVectorIndex(collection, field, recall,
                                                                   sample_count == 0 ? kSampleCount : sample_count));
    return CopyOut(foreshore::TuningJson(tuning), json);
  });
}

int32_t foreshore_list_indexes(foreshore_database* database, char** json, foreshore_error* error) {
  return Call(error, [&]() -> Status {
    FORESHORE_RETURN_IF_ERROR(Required(database, "database", json, "json"));
    FORESHORE_ASSIGN_OR_RETURN(const auto indexes, database->database->ListIndexes());
    FORESHORE_ASSIGN_OR_RETURN(const auto text_indexes, database->database->ListTextIndexes());
    return CopyOut(foreshore::IndexesJson(indexes, text_indexes), json);
  });
}

int32_t foreshore_search(foreshore_database* database, const char* collection, const foreshore_search_request* request,
                         foreshore_hits** hits, foreshore_error* error) {
  return Call(error, [&]() -> Status {
    FORESHORE_RETURN_IF_ERROR(
        Required(database, "database", collection, "collection", request, "request", hits, "hits"));
    FORESHORE_ASSIGN_OR_RETURN(const auto given, ReadOptions(request, "foreshore_search_request"));
    foreshore::SearchRequest search;
    search.field = OrEmpty(given.field);
    search.text = OrEmpty(given.text);
    search.where = OrEmpty(given.where);
    if (given.k != 0) search.k = given.k;
    if (given.vector_count > 0) {
      FORESHORE_RETURN_IF_ERROR(Required(given.vector, "vector"));
      search.vector.assign(given.vector, given.vector + given.vector_count);
    }
    FORESHORE_ASSIGN_OR_RETURN(auto found, database->database->Search(collection, search));
    *hits = new foreshore_hits{std::move(found)};
    return Status::Ok();
  });
}

size_t foreshore_hits_count(const foreshore_hits* hits) {
  return hits == nullptr ? 0 : hits->hits.size();
}

int32_t foreshore_hits_at(const foreshore_hits* hits, size_t index, foreshore_hit* hit) {
  if (hit == nullptr || index >= foreshore_hits_count(hits)) return FORESHORE_INVALID_ARGUMENT;
  const foreshore::SearchHit& found = hits->hits[index];
  hit->id = found.id.c_str();
  hit->json = found.body.c_str();
  hit->json_bytes = found.body.size();
  hit->distance = found.distance;
  return FORESHORE_OK;
}

void foreshore_hits_free(foreshore_hits* hits) {
  delete hits;
}

int32_t foreshore_wait_embedded(foreshore_database* database, int64_t timeout_ms, foreshore_error* error) {
  return Call(error, [&]() -> Status {
    FORESHORE_RETURN_IF_ERROR(Required(database, "database"));
    const std::chrono::milliseconds timeout = timeout_ms < 0 ? std::chrono::hours(24)  //
                                                             : std::chrono::milliseconds(timeout_ms);
    return database->database->WaitEmbedded(timeout);
  });
}

int32_t foreshore_model_add(foreshore_database* database, const char* name, const char* path,
                            const foreshore_model_options* options, char** json, foreshore_error* error) {
  return Call(error, [&]() -> Status {
    FORESHORE_RETURN_IF_ERROR(Required(database, "database", name, "name", path, "path"));
    FORESHORE_ASSIGN_OR_RETURN(const auto given, ReadOptions(options, "foreshore_model_options"));
    foreshore::ModelImportOptions import;
    if (given.quantization != FORESHORE_QUANTIZE_INT8 && given.quantization != FORESHORE_QUANTIZE_NONE) {
      return Status::InvalidArgument("quantization is " + std::to_string(given.quantization) + ", expected 0 or 1");
    }
    import.quantization =
        given.quantization == FORESHORE_QUANTIZE_NONE ? foreshore::Quantization::kNone : foreshore::Quantization::kInt8;
    import.vocabulary_path = OrEmpty(given.vocabulary_path);
    import.licence = OrEmpty(given.licence);
    import.origin = OrEmpty(given.origin);
    FORESHORE_ASSIGN_OR_RETURN(const auto model, database->database->AddModel(name, path, import));
    return json == nullptr ? Status::Ok() : CopyOut(foreshore::ModelJson(model), json);
  });
}

int32_t foreshore_list_models(foreshore_database* database, char** json, foreshore_error* error) {
  return Call(error, [&]() -> Status {
    FORESHORE_RETURN_IF_ERROR(Required(database, "database", json, "json"));
    FORESHORE_ASSIGN_OR_RETURN(const auto models, database->database->ListModels());
    return CopyOut(foreshore::ModelsJson(models), json);
  });
}

int32_t foreshore_model_remove(foreshore_database* database, const char* name, foreshore_error* error) {
  return Call(error, [&]() -> Status {
    FORESHORE_RETURN_IF_ERROR(Required(database, "database", name, "name"));
    return database->database->RemoveModel(name);
  });
}

int32_t foreshore_embed(foreshore_database* database, const char* model, const char* text, size_t text_bytes,
                        float* vector, size_t capacity, size_t* count, foreshore_error* error) {
  return Call(error, [&]() -> Status {
    FORESHORE_RETURN_IF_ERROR(Required(database, "database", model, "model", text, "text", count, "count"));
    FORESHORE_ASSIGN_OR_RETURN(const auto embedding, database->database->Embed(model, {text, text_bytes}));
    *count = embedding.size();
    if (capacity < embedding.size()) {
      return Status::Limit("embedding has " + std::to_string(embedding.size()) + " dimensions, the buffer has " +
                           std::to_string(capacity));
    }
    FORESHORE_RETURN_IF_ERROR(Required(vector, "vector"));
    std::copy(embedding.begin(), embedding.end(), vector);
    return Status::Ok();
  });
}

int32_t foreshore_predict(foreshore_database* database, const char* model, const char* input, size_t input_bytes,
                          char** json, foreshore_error* error) {
  return Call(error, [&]() -> Status {
    FORESHORE_RETURN_IF_ERROR(Required(database, "database", model, "model", input, "input", json, "json"));
    FORESHORE_ASSIGN_OR_RETURN(const auto output, database->database->Predict(model, {input, input_bytes}));
    return CopyOut(output, json);
  });
}

int32_t foreshore_predict_with_adapter(foreshore_database* database, const char* model, const char* input,
                                       size_t input_bytes, const char* adapter, char** json, foreshore_error* error) {
  return Call(error, [&]() -> Status {
    FORESHORE_RETURN_IF_ERROR(Required(database, "database", model, "model", input, "input", json, "json"));
    FORESHORE_ASSIGN_OR_RETURN(const auto output,
                               database->database->Predict(model, {input, input_bytes}, OrEmpty(adapter)));
    return CopyOut(output, json);
  });
}

int32_t foreshore_model_quantize(foreshore_database* database, const char* name, const char* as,
                                 const foreshore_quantize_options* options, char** json, foreshore_error* error) {
  return Call(error, [&]() -> Status {
    FORESHORE_RETURN_IF_ERROR(Required(database, "database", name, "name", as, "as", options, "options", json, "json"));
    FORESHORE_ASSIGN_OR_RETURN(const auto given, ReadOptions(options, "foreshore_quantize_options"));
    FORESHORE_RETURN_IF_ERROR(Required(given.collection, "collection", given.path, "path"));
    foreshore::ModelQuantizeOptions quantize;
    switch (given.method) {
      case FORESHORE_METHOD_GPTQ4: quantize.method = foreshore::Quantization::kGptq4; break;
      case FORESHORE_METHOD_INT8: quantize.method = foreshore::Quantization::kInt8; break;
      case FORESHORE_METHOD_GPTQ3: quantize.method = foreshore::Quantization::kGptq3; break;
      case FORESHORE_METHOD_NF4: quantize.method = foreshore::Quantization::kNf4; break;
      default: return Status::InvalidArgument("method is " + std::to_string(given.method) + ", expected 0, 1, 3 or 4");
    }
    quantize.collection = given.collection;
    quantize.path = given.path;
    quantize.image = OrEmpty(given.image);
    if (given.group_size != 0) quantize.group_size = given.group_size;
    if (given.calibration_count != 0) quantize.calibration_count = given.calibration_count;
    if (given.held_out_count != 0) quantize.held_out_count = given.held_out_count;
    if (given.has_overlap_min != 0) quantize.overlap_min = given.overlap_min;
    FORESHORE_ASSIGN_OR_RETURN(const auto report, database->database->QuantizeModel(name, as, quantize));
    return CopyOut(foreshore::ModelQuantizeJson(report), json);
  });
}

int32_t foreshore_adapter_add(foreshore_database* database, const char* model, const char* adapter, const char* path,
                              char** json, foreshore_error* error) {
  return Call(error, [&]() -> Status {
    FORESHORE_RETURN_IF_ERROR(Required(database, "database", model, "model", adapter, "adapter", path, "path"));
    FORESHORE_ASSIGN_OR_RETURN(const auto info, database->database->AddAdapter(model, adapter, path));
    return json == nullptr ? Status::Ok() : CopyOut(foreshore::ModelJson(info), json);
  });
}

int32_t foreshore_adapter_remove(foreshore_database* database, const char* model, const char* adapter,
                                 foreshore_error* error) {
  return Call(error, [&]() -> Status {
    FORESHORE_RETURN_IF_ERROR(Required(database, "database", model, "model", adapter, "adapter"));
    return database->database->RemoveAdapter(model, adapter);
  });
}
