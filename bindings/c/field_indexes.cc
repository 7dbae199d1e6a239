// Secondary and predictive indexes.
#include <chrono>
#include <sstream>
#include <string>

#include "bindings/c/call.h"

using foreshore::Status;
using foreshore::c::Call;
using foreshore::c::OrEmpty;
using foreshore::c::Required;

int32_t foreshore_create_field_index(foreshore_database* database, const char* collection, const char* paths,
                                     int32_t unique, const char* where, const char* name, foreshore_error* error) {
  return Call(error, [&]() -> Status {
    FORESHORE_RETURN_IF_ERROR(Required(database, "database", collection, "collection", paths, "paths"));
    foreshore::FieldIndexOptions index;
    std::stringstream each(paths);
    for (std::string path; std::getline(each, path, ',');) index.paths.push_back(path);
    index.unique = unique != 0;
    index.where = OrEmpty(where);
    index.name = OrEmpty(name);
    return database->database->CreateFieldIndex(collection, index);
  });
}

int32_t foreshore_drop_field_index(foreshore_database* database, const char* collection, const char* name,
                                   foreshore_error* error) {
  return Call(error, [&]() -> Status {
    FORESHORE_RETURN_IF_ERROR(Required(database, "database", collection, "collection", name, "name"));
    return database->database->DropFieldIndex(collection, name);
  });
}

int32_t foreshore_create_predictive_index(foreshore_database* database, const char* collection, const char* model,
                                          const char* path, const char* output, const char* adapter, const char* name,
                                          foreshore_error* error) {
  return Call(error, [&]() -> Status {
    FORESHORE_RETURN_IF_ERROR(Required(database, "database", collection, "collection", model, "model"));
    FORESHORE_RETURN_IF_ERROR(Required(database, "database", path, "path", output, "output"));
    foreshore::PredictiveIndexOptions index;
    index.model = model;
    index.path = path;
    index.output = output;
    index.adapter = OrEmpty(adapter);
    index.name = OrEmpty(name);
    return database->database->CreatePredictiveIndex(collection, index);
  });
}

int32_t foreshore_drop_predictive_index(foreshore_database* database, const char* collection, const char* name,
                                        foreshore_error* error) {
  return Call(error, [&]() -> Status {
    FORESHORE_RETURN_IF_ERROR(Required(database, "database", collection, "collection", name, "name"));
    return database->database->DropPredictiveIndex(collection, name);
  });
}

int32_t foreshore_wait_indexed(foreshore_database* database, int64_t timeout_ms, foreshore_error* error) {
  return Call(error, [&]() -> Status {
    FORESHORE_RETURN_IF_ERROR(Required(database, "database"));
    return database->database->WaitIndexed(timeout_ms < 0 ? std::chrono::hours(24)
                                                          : std::chrono::milliseconds(timeout_ms));
  });
}
