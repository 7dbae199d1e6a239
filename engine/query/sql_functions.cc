#include "engine/query/sql_functions.h"

#include <algorithm>
#include <limits>

#include "engine/model/model_registry.h"
#include "engine/query/array_contains.h"
#include "engine/query/attachment_functions.h"
#include "engine/query/sql_json.h"
#include "engine/query/sqlite_callback.h"
#include "engine/query/vector_argument.h"
#include "index/vector_query.h"

namespace foreshore {

namespace {

SessionState& SessionOf(sqlite3_context* context) {
  return *static_cast<SessionState*>(sqlite3_user_data(context));
}

bool AnyNull(int count, sqlite3_value** arguments) {
  for (int i = 0; i < count; ++i) {
    if (sqlite3_value_type(arguments[i]) == SQLITE_NULL) return true;
  }
  return false;
}

// The embedding of a constant text, kept by SQLite between the rows of one statement.
struct CachedEmbedding {
  std::string model;
  ByteString blob;
};

void SetBlob(sqlite3_context* context, const ByteString& blob) {
  sqlite3_result_blob64(context, blob.data(), blob.size(), SQLITE_TRANSIENT);
}

Result<ByteString> EmbedText(SessionState& session, const std::string& model_name, std::string_view text) {
  FORESHORE_ASSIGN_OR_RETURN(const auto model, session.core.models().Load(model_name));
  std::vector<float> vector(model->info().dimension);
  FORESHORE_RETURN_IF_ERROR(model->Embed(std::span(&text, 1), vector));
  return BlobFromVector(vector);
}

void Embed(sqlite3_context* context, int count, sqlite3_value** arguments) {
  if (AnyNull(count, arguments)) return;
  const std::string model(TextOf(arguments[0]));
  // SQLite keeps this only where the text is a constant; the model is compared here.
  if (const auto* kept = static_cast<const CachedEmbedding*>(sqlite3_get_auxdata(context, 1));
      kept != nullptr && kept->model == model) {
    return SetBlob(context, kept->blob);
  }
  auto blob = EmbedText(SessionOf(context), model, TextOf(arguments[1]));
  if (!blob.ok()) return SessionOf(context).FailFunction(context, blob.status());
  SetBlob(context, *blob);
  sqlite3_set_auxdata(context, 1, new CachedEmbedding{model, std::move(blob).value()},
                      [](void* kept) { delete static_cast<CachedEmbedding*>(kept); });
}

void Predict(sqlite3_context* context, int count, sqlite3_value** arguments) {
  if (AnyNull(count, arguments)) return;
  SessionState& session = SessionOf(context);
  const std::string adapter = count > 2 ? std::string(TextOf(arguments[2])) : std::string();
  const auto result =
      session.core.models().Predict(std::string(TextOf(arguments[0])), TextOf(arguments[1]), adapter, &session);
  if (!result.ok()) return SessionOf(context).FailFunction(context, result.status());
  sqlite3_result_text64(context, result->data(), result->size(), SQLITE_TRANSIENT, SQLITE_UTF8);
  sqlite3_result_subtype(context, kJsonSubtype);
}

Result<double> DistanceOf(int count, sqlite3_value** arguments) {
  VectorMetric metric = VectorMetric::kCosine;
  if (count == 3) {
    const auto named = VectorMetricFromName(TextOf(arguments[2]));
    if (!named) {
      return Status::InvalidArgument("vector_distance: metric is \"" + std::string(TextOf(arguments[2])) +
                                     "\", expected cosine, dot or l2");
    }
    metric = *named;
  }
  // Of a document with several vectors the nearest counts.
  FORESHORE_ASSIGN_OR_RETURN(const auto first, VectorsFromValue(arguments[0], "vector_distance: first vector"));
  FORESHORE_ASSIGN_OR_RETURN(const auto second, VectorsFromValue(arguments[1], "vector_distance: second vector"));
  double nearest = std::numeric_limits<double>::infinity();
  for (const std::vector<float>& a : first) {
    for (const std::vector<float>& b : second) {
      if (a.size() != b.size()) {
        return Status::InvalidArgument("vector_distance: first vector has " + std::to_string(a.size()) +
                                       " dimensions, second has " + std::to_string(b.size()));
      }
      FORESHORE_ASSIGN_OR_RETURN(const double distance, ExactVectorDistance(metric, a, b));
      nearest = std::min(nearest, distance);
    }
  }
  return nearest;
}

void VectorDistance(sqlite3_context* context, int count, sqlite3_value** arguments) {
  if (AnyNull(count, arguments)) return;
  const auto distance = DistanceOf(count, arguments);
  if (!distance.ok()) return SessionOf(context).FailFunction(context, distance.status());
  sqlite3_result_double(context, *distance);
}

using SqlFunction = void (*)(sqlite3_context*, int, sqlite3_value**);

struct Registration {
  const char* name;
  int argument_count;
  SqlFunction function;
};

}  // namespace

Status RegisterSqlFunctions(SessionState& session) {
  // All depend on their arguments alone as far as one statement goes, so that constant calls run once.
  constexpr int kFlags = SQLITE_UTF8 | SQLITE_DETERMINISTIC;
  constexpr Registration kFunctions[] = {{"array_contains", 2, SqliteCallback<&ArrayContains>},
                                         {"attachment", 3, SqliteCallback<&AttachmentContent>},
                                         {"image_tensor", 1, SqliteCallback<&ImageTensor>},
                                         {"image_tensor", 2, SqliteCallback<&ImageTensor>},
                                         {"embed", 2, SqliteCallback<&Embed>},
                                         {"predict", 2, SqliteCallback<&Predict>},
                                         {"predict", 3, SqliteCallback<&Predict>},
                                         {"vector_distance", 2, SqliteCallback<&VectorDistance>},
                                         {"vector_distance", 3, SqliteCallback<&VectorDistance>}};
  for (const Registration& each : kFunctions) {
    const int code = sqlite3_create_function_v2(session.db, each.name, each.argument_count, kFlags, &session,
                                                each.function, nullptr, nullptr, nullptr);
    if (code != SQLITE_OK) return session.ErrorOf(code);
  }
  return Status::Ok();
}

}  // namespace foreshore
