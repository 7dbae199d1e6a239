#include "engine/query/sql_functions.h"

#include <algorithm>
#include <limits>

#include "engine/model/model_registry.h"
#include "engine/query/array_contains.h"
#include "engine/query/attachment_functions.h"
#include "engine/query/collection_cursor.h"
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
  std::string adapter;
  ByteString blob;
};

void SetBlob(sqlite3_context* context, const ByteString& blob) {
  sqlite3_result_blob64(context, blob.data(), blob.size(), SQLITE_TRANSIENT);
}

// By the weights that the vectors in the statement's snapshot were made by.
Result<ByteString> EmbedText(SessionState& session, const std::string& model_name, std::string_view text,
                             const std::string& adapter) {
  FORESHORE_ASSIGN_OR_RETURN(const ReadView* view, session.View());
  FORESHORE_ASSIGN_OR_RETURN(const auto model, session.core.LoadForSearch(view->catalog(), model_name, adapter));
  std::vector<float> vector(model->info().dimension);
  InferenceTimer timer(session.core.models().costs(), model_name, 1);
  if (Status status = model->Embed(std::span(&text, 1), vector); !status.ok()) {
    timer.Cancel();
    return status;
  }
  return BlobFromVector(vector);
}

void Embed(sqlite3_context* context, int count, sqlite3_value** arguments) {
  if (AnyNull(count, arguments)) return;
  const std::string model(TextOf(arguments[0]));
  const std::string adapter(count > 2 ? TextOf(arguments[2]) : std::string_view());
  // SQLite keeps this only where the text is a constant; model and adapter are compared here.
  if (const auto* kept = static_cast<const CachedEmbedding*>(sqlite3_get_auxdata(context, 1));
      kept != nullptr && kept->model == model && kept->adapter == adapter) {
    return SetBlob(context, kept->blob);
  }
  auto blob = EmbedText(SessionOf(context), model, TextOf(arguments[1]), adapter);
  if (!blob.ok()) return SessionOf(context).FailFunction(context, blob.status());
  SetBlob(context, *blob);
  sqlite3_set_auxdata(context, 1, new CachedEmbedding{model, adapter, std::move(blob).value()},
                      [](void* kept) { delete static_cast<CachedEmbedding*>(kept); });
}

// The argument may be a row that a scan has predicted ahead.
Status PredictOne(sqlite3_context* context, SessionState& session, const StatementModel& known,
                  std::string_view input) {
  const auto set = [&](const std::string& text) {
    sqlite3_result_text64(context, text.data(), text.size(), SQLITE_TRANSIENT, SQLITE_UTF8);
    sqlite3_result_subtype(context, kJsonSubtype);
  };
  const SessionState::LastArray& last = session.last_array;
  const bool is_column = known.row_width > 0 && last.cursor != nullptr && last.token == input;
  if (is_column) {
    if (const std::string* text = last.cursor->Predicted(last.column, known.name)) {
      set(*text);
      return Status::Ok();
    }
  }
  const auto text = known.predictor->Predict(input, &session);
  if (!text.ok()) return text.status();
  set(*text);
  const auto& numbers = known.predictor->numbers();
  if (is_column && numbers->has_independent_rows()) last.cursor->PredictAhead(last.column, known.name, numbers);
  return Status::Ok();
}

void Predict(sqlite3_context* context, int count, sqlite3_value** arguments) {
  if (AnyNull(count, arguments)) return;
  SessionState& session = SessionOf(context);
  const std::string_view name = TextOf(arguments[0]);
  const std::string_view input = TextOf(arguments[1]);
  const std::string_view adapter = count > 2 ? TextOf(arguments[2]) : std::string_view();
  if (session.running != nullptr) {
    const auto known = session.ModelOf(name, adapter);
    if (!known.ok()) return session.FailFunction(context, known.status());
    const Status status = PredictOne(context, session, **known, input);
    if (!status.ok()) session.FailFunction(context, status);
    return;
  }
  const auto result = session.core.models().Predict(std::string(name), input, std::string(adapter), &session);
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
                                         {"embed", 3, SqliteCallback<&Embed>},
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
