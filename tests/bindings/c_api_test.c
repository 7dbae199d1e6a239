/* The C interface from C: this file is compiled as C11 with every warning an error, and runs the whole of it.
 *
 *   c_api_test FOLDER [MODEL]
 *
 * FOLDER is empty and ours; with MODEL, a model's file or folder, embedding is run too. */
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "foreshore.h"

static int failure_count = 0;
static foreshore_error error;

#define CHECK(condition)                                                                              \
  do {                                                                                                \
    if (!(condition)) {                                                                               \
      ++failure_count;                                                                                \
      fprintf(stderr, "%s:%d: %s (last error: %s)\n", __FILE__, __LINE__, #condition, error.message); \
    }                                                                                                 \
  } while (0)
#define CHECK_OK(call) CHECK((call) == FORESHORE_OK)
#define CHECK_CODE(call, wanted)     \
  do {                               \
    CHECK((call) == (wanted));       \
    CHECK(error.code == (wanted));   \
    CHECK(error.message[0] != '\0'); \
  } while (0)

static size_t text_size(const char* text) {
  return strlen(text);
}

static int contains(const char* text, const char* part) {
  return strstr(text, part) != NULL;
}

static foreshore_database* open_database(const char* path, int create) {
  foreshore_open_options options = {0};
  foreshore_database* db = NULL;
  options.size_bytes = sizeof options;
  options.create = create;
  CHECK_OK(foreshore_open(path, &options, &db, &error));
  if (db == NULL) exit(1);
  return db;
}

static int put(foreshore_database* db, const char* id, const char* json) {
  return foreshore_put(db, "notes", id, json, text_size(json), &error);
}

static void check_body(foreshore_database* db, const char* id, const char* wanted) {
  char* json = NULL;
  size_t size = 0;
  CHECK_OK(foreshore_get(db, "notes", id, &json, &size, &error));
  if (json == NULL) return;
  CHECK(strcmp(json, wanted) == 0);
  CHECK(size == text_size(wanted));
  foreshore_free(json);
}

static void test_opening(const char* path) {
  foreshore_open_options options = {0};
  foreshore_open_options too_new[2];
  foreshore_database* db = NULL;
  foreshore_database* second = NULL;
  CHECK_CODE(foreshore_open(path, NULL, &db, &error), FORESHORE_NOT_FOUND);
  CHECK(db == NULL);
  CHECK(foreshore_open(path, NULL, &db, NULL) == FORESHORE_NOT_FOUND);
  CHECK_CODE(foreshore_open(NULL, NULL, &db, &error), FORESHORE_INVALID_ARGUMENT);
  CHECK_CODE(foreshore_open(path, &options, &db, &error), FORESHORE_INVALID_ARGUMENT); /* size_bytes is 0. */
  options.size_bytes = sizeof options;
  options.create = 1;
  options.storage = 9;
  CHECK_CODE(foreshore_open(path, &options, &db, &error), FORESHORE_INVALID_ARGUMENT);
  memset(too_new, 0, sizeof too_new);
  too_new[0].size_bytes = sizeof too_new;
  too_new[0].create = 1;
  too_new[1].create = 1; /* A field of a later version, set. */
  CHECK_CODE(foreshore_open(path, too_new, &db, &error), FORESHORE_UNSUPPORTED);
  too_new[1].create = 0; /* A field of a later version, at its default. */
  CHECK_OK(foreshore_open(path, too_new, &db, &error));
  CHECK_CODE(foreshore_open(path, NULL, &second, &error), FORESHORE_BUSY);
  CHECK_OK(foreshore_close(db, &error));
  CHECK_OK(foreshore_close(NULL, &error));
}

static void test_documents(foreshore_database* db) {
  foreshore_document* document = NULL;
  char* id = NULL;
  char* json = NULL;
  size_t size = 0;
  CHECK_OK(foreshore_create_collection(db, "notes", &error));
  CHECK_CODE(foreshore_create_collection(db, "notes", &error), FORESHORE_ALREADY_EXISTS);
  CHECK_OK(foreshore_list_collections(db, &json, &error));
  CHECK(json != NULL && contains(json, "\"notes\""));
  foreshore_free(json);

  CHECK_OK(put(db, "n1", "{\"text\": \"pump overheating\", \"site\": \"A\"}"));
  check_body(db, "n1", "{\"text\":\"pump overheating\",\"site\":\"A\"}");
  CHECK_CODE(put(db, "n2", "{\"text\": "), FORESHORE_INVALID_ARGUMENT);
  CHECK_CODE(put(db, NULL, "{}"), FORESHORE_INVALID_ARGUMENT);
  CHECK_CODE(foreshore_put(NULL, "notes", "n1", "{}", 2, &error), FORESHORE_INVALID_ARGUMENT);
  CHECK_CODE(foreshore_put(db, "nothing", "n1", "{}", 2, &error), FORESHORE_NOT_FOUND);
  json = NULL;
  CHECK_CODE(foreshore_get(db, "notes", "n2", &json, NULL, &error), FORESHORE_NOT_FOUND);
  CHECK(json == NULL);

  CHECK_OK(foreshore_put_new(db, "notes", "{\"site\":\"B\"}", 12, &id, &error));
  CHECK(id != NULL && text_size(id) == 36);
  CHECK_OK(foreshore_patch(db, "notes", id, "{\"site\":\"C\"}", 12, &error));
  check_body(db, id, "{\"site\":\"C\"}");
  CHECK_OK(foreshore_delete(db, "notes", id, &error));
  CHECK_CODE(foreshore_delete(db, "notes", id, &error), FORESHORE_NOT_FOUND);
  foreshore_free(id);

  /* What was read is the base: the edit of `text` in between stays. */
  CHECK_OK(foreshore_read(db, "notes", "n1", &document, &error));
  CHECK(strcmp(foreshore_document_json(document, &size), "{\"text\":\"pump overheating\",\"site\":\"A\"}") == 0);
  CHECK(size == 38);
  CHECK_OK(foreshore_patch(db, "notes", "n1", "{\"text\":\"pump repaired\"}", 24, &error));
  {
    const char* changed = "{\"text\":\"pump overheating\",\"site\":\"B\"}";
    CHECK_OK(foreshore_put_over(db, "notes", document, changed, text_size(changed), &error));
  }
  check_body(db, "n1", "{\"text\":\"pump repaired\",\"site\":\"B\"}");
  foreshore_document_free(document);
  foreshore_document_free(NULL);
}

static void test_transactions(foreshore_database* db) {
  foreshore_transaction* transaction = NULL;
  char* json = NULL;
  CHECK_OK(foreshore_begin(db, -1, &transaction, &error));
  CHECK_OK(foreshore_transaction_put(transaction, "notes", "t1", "{\"a\":1}", 7, &error));
  CHECK_OK(foreshore_transaction_get(transaction, "notes", "t1", &json, NULL, &error));
  CHECK(json != NULL && strcmp(json, "{\"a\":1}") == 0);
  foreshore_free(json);
  json = NULL;
  CHECK_CODE(foreshore_get(db, "notes", "t1", &json, NULL, &error), FORESHORE_NOT_FOUND);
  CHECK_CODE(foreshore_close(db, &error), FORESHORE_BUSY);
  foreshore_transaction_free(transaction);
  CHECK_CODE(foreshore_get(db, "notes", "t1", &json, NULL, &error), FORESHORE_NOT_FOUND);

  CHECK_OK(foreshore_begin(db, 1000, &transaction, &error));
  CHECK_OK(foreshore_transaction_put(transaction, "notes", "t1", "{\"a\":1,\"b\":2}", 13, &error));
  CHECK_OK(foreshore_transaction_patch(transaction, "notes", "t1", "{\"a\":null}", 10, &error));
  CHECK_OK(foreshore_transaction_put_new(transaction, "notes", "{}", 2, &json, &error));
  CHECK_OK(foreshore_transaction_delete(transaction, "notes", json, &error));
  CHECK_OK(foreshore_transaction_savepoint(transaction, "s", &error));
  CHECK_OK(foreshore_transaction_put(transaction, "notes", "t1", "{}", 2, &error));
  CHECK_OK(foreshore_transaction_rollback_to(transaction, "s", &error));
  CHECK_OK(foreshore_transaction_release(transaction, "s", &error));
  CHECK_CODE(foreshore_transaction_release(transaction, "s", &error), FORESHORE_NOT_FOUND);
  CHECK_CODE(foreshore_transaction_savepoint(transaction, NULL, &error), FORESHORE_INVALID_ARGUMENT);
  CHECK_OK(foreshore_transaction_commit(transaction, &error));
  foreshore_transaction_free(transaction);
  foreshore_transaction_free(NULL);
  foreshore_free(json);
  check_body(db, "t1", "{\"b\":2}");
}

static foreshore_value text_value(const char* text) {
  foreshore_value value = {0};
  value.type = FORESHORE_TEXT;
  value.data = text;
  value.data_bytes = text_size(text);
  return value;
}

static foreshore_statement* prepare(foreshore_database* db, const char* sql) {
  foreshore_statement* statement = NULL;
  CHECK_OK(foreshore_prepare(db, sql, text_size(sql), &statement, &error));
  if (statement == NULL) exit(1);
  return statement;
}

/* Steps the only statement of `sql` once. */
static int32_t run(foreshore_connection* connection, const char* sql) {
  foreshore_statement* statement = NULL;
  int32_t has_row = 0;
  int32_t code = foreshore_connection_prepare(connection, sql, text_size(sql), NULL, &statement, &error);
  if (code != FORESHORE_OK) return code;
  code = foreshore_step(statement, &has_row, &error);
  foreshore_statement_free(statement);
  return code;
}

/* Says yes so many times. */
static int32_t count_down(void* context) {
  int* left = (int*)context;
  return (*left)-- > 0;
}

static void test_connections(foreshore_database* db) {
  static const char endless[] =
      "WITH RECURSIVE c(x) AS (SELECT 1 UNION ALL SELECT x + 1 FROM c) SELECT count(*) FROM c";
  static const char script[] = "SELECT 1; SELECT 2; ";
  foreshore_sql_options options = {0};
  foreshore_connection* connection = NULL;
  foreshore_connection* other = NULL;
  foreshore_statement* statement = NULL;
  size_t consumed = 0;
  int32_t has_row = 0;
  int asked = 2;
  CHECK_CODE(foreshore_connect(db, &options, &connection, &error), FORESHORE_INVALID_ARGUMENT); /* size_bytes is 0. */
  options.size_bytes = sizeof options;
  options.time_limit_ms = -1;
  CHECK_CODE(foreshore_connect(db, &options, &connection, &error), FORESHORE_INVALID_ARGUMENT);
  options.time_limit_ms = 0;
  options.busy_timeout_ms = -1;
  CHECK_OK(foreshore_connect(db, NULL, &connection, &error));
  CHECK_OK(foreshore_connect(db, &options, &other, &error));
  CHECK(foreshore_in_transaction(connection) == 0 && foreshore_in_transaction(NULL) == 0);
  CHECK_OK(run(connection, "BEGIN"));
  CHECK(foreshore_in_transaction(connection) == 1);
  CHECK_OK(run(connection, "INSERT INTO notes (id, body) VALUES ('c1', '{}')"));
  CHECK_OK(run(connection, "SAVEPOINT s"));
  CHECK_OK(run(connection, "DELETE FROM notes"));
  CHECK_OK(run(connection, "ROLLBACK TO s"));
  CHECK_CODE(run(other, "DELETE FROM notes"), FORESHORE_BUSY);
  CHECK_OK(run(connection, "COMMIT"));
  check_body(db, "c1", "{}");
  CHECK_CODE(run(connection, "SELECT 1; SELECT 2"), FORESHORE_INVALID_ARGUMENT);
  CHECK_OK(foreshore_connection_prepare(connection, script, 20, &consumed, &statement, &error));
  CHECK(consumed == 9 && statement != NULL);
  CHECK_OK(foreshore_step(statement, &has_row, &error));
  foreshore_interrupt(connection);
  CHECK_CODE(foreshore_step(statement, &has_row, &error), FORESHORE_CANCELLED);
  CHECK_OK(foreshore_reset(statement, &error));
  CHECK_OK(foreshore_step(statement, &has_row, &error));
  foreshore_statement_cancel(statement);
  foreshore_statement_cancel(NULL);
  CHECK_CODE(foreshore_step(statement, &has_row, &error), FORESHORE_CANCELLED);
  foreshore_statement_free(statement);
  statement = NULL;
  CHECK_OK(foreshore_connection_prepare(connection, script + 19, 1, &consumed, &statement, &error));
  CHECK(statement == NULL); /* Only a space was left. */
  foreshore_connection_free(other);

  options.time_limit_ms = 20;
  CHECK_OK(foreshore_prepare_with(db, endless, sizeof endless - 1, &options, &statement, &error));
  CHECK_CODE(foreshore_step(statement, &has_row, &error), FORESHORE_CANCELLED);
  foreshore_statement_free(statement);
  options.time_limit_ms = 0;
  options.keep_going = count_down;
  options.context = &asked;
  CHECK_OK(foreshore_prepare_with(db, endless, sizeof endless - 1, &options, &statement, &error));
  CHECK_CODE(foreshore_step(statement, &has_row, &error), FORESHORE_CANCELLED);
  CHECK(asked == -1);
  foreshore_statement_free(statement);

  CHECK_OK(run(connection, "BEGIN"));
  CHECK_OK(run(connection, "DELETE FROM notes WHERE id = 'c1'"));
  CHECK_CODE(foreshore_close(db, &error), FORESHORE_BUSY);
  foreshore_connection_free(connection);
  foreshore_connection_free(NULL);
  check_body(db, "c1", "{}");
  CHECK_OK(foreshore_delete(db, "notes", "c1", &error));
}

static void test_sql(foreshore_database* db) {
  foreshore_value site = text_value("B");
  foreshore_value value = {0};
  foreshore_statement* statement = NULL;
  const char* broken = "SELEC id FROM notes";
  int32_t has_row = 0;
  CHECK_CODE(foreshore_prepare(db, broken, text_size(broken), &statement, &error), FORESHORE_INVALID_ARGUMENT);

  statement = prepare(db, "SELECT id, 7 AS seven, 2.5, NULL, x'00ff' FROM notes WHERE site = ?");
  CHECK(foreshore_column_count(statement) == 5);
  CHECK(strcmp(foreshore_column_name(statement, 1), "seven") == 0);
  CHECK(foreshore_column_name(statement, 5) == NULL);
  CHECK_CODE(foreshore_column(statement, 0, &value, &error), FORESHORE_INVALID_ARGUMENT); /* No row yet. */
  CHECK_OK(foreshore_bind(statement, 1, &site, &error));
  CHECK_OK(foreshore_step(statement, &has_row, &error));
  CHECK(has_row == 1);
  CHECK_OK(foreshore_column(statement, 0, &value, &error));
  CHECK(value.type == FORESHORE_TEXT && value.data_bytes == 2 && strcmp(value.data, "n1") == 0);
  CHECK_OK(foreshore_column(statement, 1, &value, &error));
  CHECK(value.type == FORESHORE_INTEGER && value.integer == 7);
  CHECK_OK(foreshore_column(statement, 2, &value, &error));
  CHECK(value.type == FORESHORE_REAL && value.real == 2.5);
  CHECK_OK(foreshore_column(statement, 3, &value, &error));
  CHECK(value.type == FORESHORE_NULL);
  CHECK_OK(foreshore_column(statement, 4, &value, &error));
  CHECK(value.type == FORESHORE_BLOB && value.data_bytes == 2 && memcmp(value.data, "\0\xff", 2) == 0);
  CHECK_CODE(foreshore_column(statement, 5, &value, &error), FORESHORE_INVALID_ARGUMENT);
  CHECK_OK(foreshore_step(statement, &has_row, &error));
  CHECK(has_row == 0);
  CHECK_OK(foreshore_reset(statement, &error));
  CHECK_OK(foreshore_step(statement, &has_row, &error));
  CHECK(has_row == 1);
  CHECK_CODE(foreshore_close(db, &error), FORESHORE_BUSY);
  foreshore_statement_free(statement);
  foreshore_statement_free(NULL);

  statement = prepare(db, "UPDATE notes SET site = :site WHERE id = 'n1'");
  site = text_value("D");
  CHECK_OK(foreshore_bind_named(statement, ":site", &site, &error));
  CHECK_CODE(foreshore_bind_named(statement, ":nothing", &site, &error), FORESHORE_NOT_FOUND);
  site.type = 77;
  CHECK_CODE(foreshore_bind(statement, 1, &site, &error), FORESHORE_INVALID_ARGUMENT);
  CHECK_OK(foreshore_step(statement, &has_row, &error));
  CHECK(has_row == 0);
  CHECK(foreshore_changed_count(statement) == 1);
  foreshore_statement_free(statement);
  check_body(db, "n1", "{\"text\":\"pump repaired\",\"site\":\"D\"}");
}

static void test_indexes(foreshore_database* db) {
  const char* document = "{\"n\":1,\"kind\":2}";
  CHECK_OK(foreshore_create_collection(db, "indexed", &error));
  CHECK_CODE(foreshore_create_field_index(db, "indexed", NULL, 0, NULL, NULL, &error), FORESHORE_INVALID_ARGUMENT);
  CHECK_CODE(foreshore_create_field_index(db, "indexed", "", 0, NULL, NULL, &error), FORESHORE_INVALID_ARGUMENT);
  CHECK_OK(foreshore_create_field_index(db, "indexed", "n,kind", 1, NULL, NULL, &error));
  CHECK_CODE(foreshore_create_field_index(db, "indexed", "n,kind", 1, NULL, NULL, &error), FORESHORE_ALREADY_EXISTS);
  CHECK_OK(foreshore_create_field_index(db, "indexed", "n", 0, "n > 3", "late", &error));
  CHECK_OK(foreshore_wait_indexed(db, -1, &error));
  CHECK_OK(foreshore_put(db, "indexed", "a", document, strlen(document), &error));
  CHECK_CODE(foreshore_put(db, "indexed", "b", document, strlen(document), &error), FORESHORE_ALREADY_EXISTS);
  CHECK_OK(foreshore_drop_field_index(db, "indexed", "n,kind", &error));
  CHECK_CODE(foreshore_drop_field_index(db, "indexed", "n,kind", &error), FORESHORE_NOT_FOUND);
  CHECK_CODE(foreshore_create_predictive_index(db, "indexed", NULL, "n", "$[0]", NULL, NULL, &error),
             FORESHORE_INVALID_ARGUMENT);
  CHECK_CODE(foreshore_create_predictive_index(db, "indexed", "m", "n", NULL, NULL, NULL, &error),
             FORESHORE_INVALID_ARGUMENT);
  CHECK_CODE(foreshore_create_predictive_index(db, "indexed", "m", "n", "$[0]", NULL, NULL, &error),
             FORESHORE_NOT_FOUND);
  CHECK_CODE(foreshore_drop_predictive_index(db, "indexed", "m_n", &error), FORESHORE_NOT_FOUND);
}

static void test_vectors(foreshore_database* db) {
  const float query[3] = {1, 0, 0};
  foreshore_vector_index_options options = {0};
  foreshore_search_request request = {0};
  foreshore_hits* hits = NULL;
  foreshore_hit hit = {0};
  char* json = NULL;
  options.size_bytes = sizeof options;
  options.field = "place";
  options.dimension = 3;
  options.metric = FORESHORE_METRIC_L2;
  CHECK_OK(foreshore_create_collection(db, "points", &error));
  CHECK_OK(foreshore_create_vector_index(db, "points", &options, &error));
  CHECK_CODE(foreshore_create_vector_index(db, "points", &options, &error), FORESHORE_ALREADY_EXISTS);
  CHECK_OK(foreshore_put(db, "points", "near", "{\"place\":[1,0.1,0],\"kind\":1}", 28, &error));
  CHECK_OK(foreshore_put(db, "points", "far", "{\"place\":[0,0,9],\"kind\":1}", 26, &error));
  CHECK_OK(foreshore_put(db, "points", "here", "{\"place\":[1,0,0],\"kind\":2}", 26, &error));
  CHECK_CODE(foreshore_put(db, "points", "bad", "{\"place\":[1,0]}", 15, &error), FORESHORE_INVALID_ARGUMENT);

  request.size_bytes = sizeof request;
  request.vector = query;
  request.vector_count = 3;
  request.where = "kind = 1";
  CHECK_OK(foreshore_search(db, "points", &request, &hits, &error));
  CHECK(foreshore_hits_count(hits) == 2);
  CHECK_OK(foreshore_hits_at(hits, 0, &hit));
  CHECK(strcmp(hit.id, "near") == 0);
  CHECK(contains(hit.json, "\"kind\":1") && hit.json_bytes == text_size(hit.json));
  CHECK(hit.distance >= 0 && hit.distance < 1);
  CHECK(foreshore_hits_at(hits, 2, &hit) == FORESHORE_INVALID_ARGUMENT);
  foreshore_hits_free(hits);
  foreshore_hits_free(NULL);
  request.vector_count = 2;
  CHECK_CODE(foreshore_search(db, "points", &request, &hits, &error), FORESHORE_INVALID_ARGUMENT);

  {
    foreshore_hnswlib_import_options import = {0};
    CHECK_CODE(foreshore_import_hnswlib(db, "points", "place", "nowhere", &import, &json, &error),
               FORESHORE_INVALID_ARGUMENT); /* size_bytes */
    import.size_bytes = sizeof import;
    CHECK_CODE(foreshore_import_hnswlib(db, "points", "place", "nowhere", &import, &json, &error), FORESHORE_NOT_FOUND);
    import.id_count = 1;
    CHECK_CODE(foreshore_import_hnswlib(db, "points", "place", "nowhere", &import, &json, &error),
               FORESHORE_INVALID_ARGUMENT);
    import.id_count = 0;
    import.bits = 4;
    CHECK_CODE(foreshore_import_hnswlib(db, "points", "place", "nowhere", &import, &json, &error),
               FORESHORE_INVALID_ARGUMENT);
  }
  CHECK_OK(foreshore_list_indexes(db, &json, &error));
  CHECK(contains(json, "\"points.place\"") && contains(json, "\"l2\""));
  CHECK(contains(json, "\"bits\":8,\"links_per_node\":16,\"graph\":\"flat\"") && contains(json, "\"ef\":0"));
  foreshore_free(json);
  CHECK_CODE(foreshore_tune_vector_index(db, "points", "place", 0.9, 0, &json, &error), FORESHORE_INVALID_ARGUMENT);
  CHECK_CODE(foreshore_tune_vector_index(db, "points", "nowhere", 0.9, 0, &json, &error), FORESHORE_NOT_FOUND);
  CHECK_OK(foreshore_drop_vector_index(db, "points", "place", &error));
  CHECK_CODE(foreshore_drop_vector_index(db, "points", "place", &error), FORESHORE_NOT_FOUND);
}

static void test_models(foreshore_database* db, const char* model) {
  static const char* const sources[] = {"text"};
  float vector[4096];
  size_t count = 0;
  foreshore_vector_index_options options = {0};
  foreshore_quantize_options quantize = {0};
  foreshore_search_request request = {0};
  foreshore_hits* hits = NULL;
  foreshore_hit hit = {0};
  char* json = NULL;
  CHECK_CODE(foreshore_embed(db, "minilm", "text", 4, vector, 4096, &count, &error), FORESHORE_NOT_FOUND);
  CHECK_CODE(foreshore_model_add(db, "minilm", "no-such-file", NULL, NULL, &error), FORESHORE_NOT_FOUND);
  if (model == NULL) {
    fprintf(stderr, "c_api_test: no model given, embedding is not run\n");
    return;
  }
  CHECK_OK(foreshore_model_add(db, "minilm", model, NULL, &json, &error));
  CHECK(json != NULL && contains(json, "\"dimension\":384"));
  foreshore_free(json);
  CHECK_OK(foreshore_list_models(db, &json, &error));
  CHECK(contains(json, "\"minilm\""));
  foreshore_free(json);
  CHECK_CODE(foreshore_embed(db, "minilm", "text", 4, vector, 10, &count, &error), FORESHORE_LIMIT);
  CHECK(count == 384);
  CHECK_OK(foreshore_embed(db, "minilm", "text", 4, vector, 4096, &count, &error));
  CHECK_OK(foreshore_predict(db, "minilm", "\"text\"", 6, &json, &error));
  CHECK(json != NULL && json[0] != '\0');
  foreshore_free(json);
  quantize.size_bytes = sizeof quantize;
  quantize.collection = "notes";
  quantize.path = "photo";
  quantize.image = "{}";
  CHECK_CODE(foreshore_model_quantize(db, "minilm", "small", &quantize, &json, &error), FORESHORE_INVALID_ARGUMENT);
  CHECK(contains(error.message, "expected a graph for images"));
  quantize.size_bytes = offsetof(foreshore_quantize_options, image); /* A caller from before there were images. */
  CHECK_CODE(foreshore_model_quantize(db, "minilm", "small", &quantize, &json, &error), FORESHORE_INVALID_ARGUMENT);
  CHECK(contains(error.message, "texts"));

  options.size_bytes = sizeof options;
  options.field = "embedding";
  options.model = "minilm";
  options.source_paths = sources;
  options.source_path_count = 1;
  options.adapter = "absent";
  CHECK_CODE(foreshore_create_vector_index(db, "notes", &options, &error), FORESHORE_NOT_FOUND);
  options.adapter = NULL;
  CHECK_OK(foreshore_create_vector_index(db, "notes", &options, &error));
  CHECK_OK(foreshore_list_indexes(db, &json, &error));
  CHECK(strstr(json, "\"model\":\"minilm\",\"adapter\":\"\",\"model_version\":\"") != NULL);
  CHECK(strstr(json, "\"next_model_version\":\"\"") != NULL);
  foreshore_free(json);
  CHECK_OK(put(db, "cold", "{\"text\":\"the freezer is too warm\"}"));
  CHECK_OK(put(db, "door", "{\"text\":\"the gate does not open\"}"));
  CHECK_OK(foreshore_wait_embedded(db, 60000, &error));
  request.size_bytes = sizeof request;
  request.text = "cooling failure";
  request.k = 1;
  request.where = "id IN ('cold', 'door')";
  CHECK_OK(foreshore_search(db, "notes", &request, &hits, &error));
  CHECK(foreshore_hits_count(hits) == 1);
  CHECK_OK(foreshore_hits_at(hits, 0, &hit));
  CHECK(strcmp(hit.id, "cold") == 0);
  foreshore_hits_free(hits);
  CHECK_CODE(foreshore_model_remove(db, "minilm", &error), FORESHORE_CONFLICT);
  CHECK_OK(foreshore_drop_vector_index(db, "notes", "embedding", &error));
  CHECK_OK(foreshore_model_remove(db, "minilm", &error));
}

static void test_care(foreshore_database* db, const char* backup) {
  foreshore_sync_options options = {0};
  foreshore_database* copy = NULL;
  char* json = NULL;
  CHECK_OK(foreshore_stats(db, &json, &error));
  CHECK(contains(json, "\"storage\":\"sqlite\"") && contains(json, "\"name\":\"notes\""));
  foreshore_free(json);
  CHECK_OK(foreshore_verify(db, &json, &error));
  CHECK(contains(json, "\"problems\":[]"));
  foreshore_free(json);
  CHECK_OK(foreshore_list_rescued(db, NULL, &json, &error));
  CHECK(strcmp(json, "[]") == 0);
  foreshore_free(json);
  CHECK_OK(foreshore_checkpoint(db, &error));
  CHECK_OK(foreshore_compact(db, &error));
  CHECK_OK(foreshore_backup(db, backup, &error));
  copy = open_database(backup, 0);
  check_body(copy, "t1", "{\"b\":2}");
  CHECK_OK(foreshore_close(copy, &error));

  options.size_bytes = sizeof options;
  CHECK_CODE(foreshore_sync_once(db, &options, NULL, &error), FORESHORE_INVALID_ARGUMENT);
  options.url = "http://127.0.0.1:1"; /* Nobody listens on port 1. */
  options.timeout_ms = 2000;
  CHECK_CODE(foreshore_sync_once(db, &options, NULL, &error), FORESHORE_NETWORK);
}

static void test_error_text(foreshore_database* db) {
  /* A message longer than the struct is cut between characters. */
  char name[2400];
  size_t index = 0;
  size_t size = 0;
  for (index = 0; index + 3 < sizeof name; index += 3) memcpy(name + index, "\xe2\x82\xac", 3);
  name[index] = '\0';
  CHECK(foreshore_create_collection(db, name, &error) != FORESHORE_OK);
  size = text_size(error.message);
  CHECK(size < sizeof error.message);
  while (size > 0 && ((unsigned char)error.message[size - 1] & 0xC0) == 0x80) --size;
  if (size > 0 && (unsigned char)error.message[size - 1] >= 0x80) {
    CHECK(text_size(error.message) - (size - 1) == 3);
  }
}

typedef struct live_result {
  int delivery_count;
  int notify_count;
  size_t row_count;
  int32_t last_kind;
  char last_id[32];
  int32_t status;
} live_result;

static void take_changes(const foreshore_changes* changes, void* context) {
  live_result* result = context;
  foreshore_row_change change;
  foreshore_value value;
  size_t count = foreshore_changes_count(changes);
  ++result->delivery_count;
  result->status = foreshore_changes_status(changes, NULL);
  if (result->status != FORESHORE_OK) return;
  result->row_count = foreshore_changes_row_count(changes);
  CHECK(foreshore_changes_is_first(changes) == (result->delivery_count == 1));
  CHECK(foreshore_changes_sequence(changes) > 0);
  CHECK(foreshore_changes_column_count(changes) == 1);
  CHECK(strcmp(foreshore_changes_column_name(changes, 0), "id") == 0);
  CHECK(foreshore_changes_column_name(changes, 1) == NULL);
  CHECK(foreshore_changes_at(changes, count, &change) == FORESHORE_INVALID_ARGUMENT);
  if (count == 0) return;
  CHECK_OK(foreshore_changes_at(changes, count - 1, &change));
  result->last_kind = change.kind;
  CHECK_OK(foreshore_changes_value(changes, count - 1, change.kind == FORESHORE_ROW_REMOVED, 0, &value));
  CHECK(foreshore_changes_value(changes, count - 1, change.kind != FORESHORE_ROW_REMOVED, 0, &value) ==
        FORESHORE_INVALID_ARGUMENT);
  CHECK_OK(foreshore_changes_value(changes, count - 1, change.kind == FORESHORE_ROW_REMOVED, 0, &value));
  CHECK(value.type == FORESHORE_TEXT && value.data_bytes < sizeof result->last_id);
  memcpy(result->last_id, value.data, value.data_bytes);
  result->last_id[value.data_bytes] = '\0';
}

static void ignore_notice(void* context) {
  (void)context;
}

/* Until the thread that evaluates has something ready. */
static void dispatch_until(foreshore_database* db, const live_result* result, int delivery_count) {
  while (result->delivery_count < delivery_count) foreshore_dispatch_subscriptions(db);
}

static void test_live(foreshore_database* db) {
  const char* sql = "SELECT id FROM notes WHERE id LIKE 'live%' AND ?1 = 7";
  foreshore_subscribe_options options = {0};
  foreshore_subscription* subscription = NULL;
  foreshore_value seven = {0};
  live_result result;
  memset(&result, 0, sizeof result);
  seven.type = FORESHORE_INTEGER;
  seven.integer = 7;
  options.size_bytes = sizeof options;
  options.row_count_max = 1;
  options.notify = ignore_notice;
  options.context = &result;
  CHECK_CODE(foreshore_subscribe(db, sql, text_size(sql), &seven, 1, &options, NULL, &subscription, &error),
             FORESHORE_INVALID_ARGUMENT);
  CHECK_CODE(foreshore_subscribe(db, "DELETE FROM notes", 17, NULL, 0, NULL, take_changes, &subscription, &error),
             FORESHORE_INVALID_ARGUMENT);
  CHECK(subscription == NULL);
  CHECK_OK(foreshore_subscribe(db, sql, text_size(sql), &seven, 1, &options, take_changes, &subscription, &error));
  CHECK(foreshore_subscription_active(subscription) == 1);
  dispatch_until(db, &result, 1);
  CHECK(result.row_count == 0);
  CHECK_OK(put(db, "live1", "{}"));
  dispatch_until(db, &result, 2);
  CHECK(result.last_kind == FORESHORE_ROW_INSERTED && strcmp(result.last_id, "live1") == 0);
  CHECK_OK(foreshore_delete(db, "notes", "live1", &error));
  dispatch_until(db, &result, 3);
  CHECK(result.last_kind == FORESHORE_ROW_REMOVED && result.row_count == 0);
  CHECK(foreshore_subscription_dispatch(subscription) == 0);
  CHECK_OK(put(db, "live1", "{}"));
  CHECK_OK(put(db, "live2", "{}"));
  while (foreshore_subscription_active(subscription)) foreshore_subscription_dispatch(subscription);
  CHECK(result.status == FORESHORE_LIMIT);
  foreshore_subscription_free(subscription);
  foreshore_subscription_free(NULL);
  CHECK_OK(foreshore_delete(db, "notes", "live1", &error));
  CHECK_OK(foreshore_delete(db, "notes", "live2", &error));
}

/* a - b of each row; 7 in the first place asks for a failure. */
static int32_t subtract(const foreshore_runtime_batch* batch, float* output, size_t output_count,
                        foreshore_error* failure, void* context) {
  size_t row = 0;
  ++*(int*)context;
  CHECK(batch->texts == NULL && output_count == batch->row_count && batch->value_count == 2 * batch->row_count);
  for (row = 0; row < batch->row_count; ++row) {
    if (batch->values[row * 2] == 7) {
      strcpy(failure->message, "seven");
      return FORESHORE_LIMIT;
    }
    if (batch->values[row * 2] == 8) return 1000;
    output[row] = batch->values[row * 2] - batch->values[row * 2 + 1];
  }
  return FORESHORE_OK;
}

static int32_t text_sizes(const foreshore_runtime_batch* batch, float* output, size_t output_count,
                          foreshore_error* failure, void* context) {
  size_t row = 0;
  (void)failure;
  (void)context;
  CHECK(batch->values == NULL && output_count == 2 * batch->row_count);
  for (row = 0; row < batch->row_count; ++row) {
    CHECK(strlen(batch->texts[row]) == batch->text_bytes[row]);
    output[row * 2] = (float)batch->text_bytes[row];
    output[row * 2 + 1] = 1;
  }
  return FORESHORE_OK;
}

static void test_runtimes(foreshore_database* db) {
  foreshore_runtime_options options = {0};
  const int64_t two[] = {2};
  const int64_t one[] = {1};
  int call_count = 0;
  char* json = NULL;
  float vector[2];
  size_t count = 0;
  options.size_bytes = sizeof options;
  options.version = "1";
  options.input_shape = two;
  options.input_rank = 1;
  CHECK_CODE(foreshore_runtime_register(db, "scores", &options, subtract, &call_count, NULL, &error),
             FORESHORE_INVALID_ARGUMENT);
  options.output_shape = one;
  options.output_rank = 1;
  CHECK_CODE(foreshore_runtime_register(db, "scores", &options, NULL, NULL, NULL, &error), FORESHORE_INVALID_ARGUMENT);
  CHECK_OK(foreshore_runtime_register(db, "scores", &options, subtract, &call_count, &json, &error));
  CHECK(contains(json, "\"runtime_version\":\"1\""));
  foreshore_free(json);
  CHECK_OK(foreshore_predict(db, "scores", "[3,1]", 5, &json, &error));
  CHECK(strcmp(json, "[[2]]") == 0 && call_count == 1);
  foreshore_free(json);
  CHECK_CODE(foreshore_predict(db, "scores", "[7,1]", 5, &json, &error), FORESHORE_LIMIT);
  CHECK(contains(error.message, "model \"scores\"") && contains(error.message, "seven"));
  CHECK_CODE(foreshore_predict(db, "scores", "[8,1]", 5, &json, &error), FORESHORE_INTERNAL);
  CHECK(contains(error.message, "1000"));
  CHECK_OK(foreshore_runtime_unregister(db, "scores", &error));
  CHECK_CODE(foreshore_runtime_unregister(db, "scores", &error), FORESHORE_NOT_FOUND);
  CHECK_CODE(foreshore_predict(db, "scores", "[3,1]", 5, &json, &error), FORESHORE_UNSUPPORTED);

  memset(&options, 0, sizeof options);
  options.size_bytes = sizeof options;
  options.version = "1";
  options.dimension = 2;
  CHECK_OK(foreshore_runtime_register(db, "sizes", &options, text_sizes, NULL, NULL, &error));
  CHECK_OK(foreshore_embed(db, "sizes", "four", 4, vector, 2, &count, &error));
  CHECK(count == 2 && vector[0] == 4 && vector[1] == 1);
}

int main(int argc, char** argv) {
  char path[4096];
  char backup[4096];
  foreshore_database* db = NULL;
  if (argc < 2) return 2;
  snprintf(path, sizeof path, "%s/c.foreshore", argv[1]);
  snprintf(backup, sizeof backup, "%s/copy.foreshore", argv[1]);
  CHECK(foreshore_abi_version() == FORESHORE_ABI_VERSION);
  CHECK(strchr(foreshore_version(), '.') != NULL);
  CHECK(strcmp(foreshore_code_name(FORESHORE_NOT_FOUND), "not_found") == 0);
  CHECK(strcmp(foreshore_code_name(99), "unknown") == 0);
  test_opening(path);
  db = open_database(path, 0);
  test_documents(db);
  test_transactions(db);
  test_connections(db);
  test_sql(db);
  test_live(db);
  test_indexes(db);
  test_vectors(db);
  test_models(db, argc > 2 ? argv[2] : NULL);
  test_runtimes(db);
  test_care(db, backup);
  test_error_text(db);
  CHECK_OK(foreshore_close(db, &error));
  db = open_database(path, 0);
  check_body(db, "n1", "{\"text\":\"pump repaired\",\"site\":\"D\"}");
  CHECK_OK(foreshore_close(db, &error));
  printf("%d failures\n", failure_count);
  return failure_count == 0 ? 0 : 1;
}
