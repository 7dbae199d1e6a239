/* Foreshore's C interface: the embedded database for documents, vectors and models, as a stable ABI.
 *
 *   foreshore_error error;
 *   foreshore_open_options options = {sizeof options};
 *   options.create = 1;
 *   foreshore_database* db = NULL;
 *   if (foreshore_open("plant.foreshore", &options, &db, &error) != FORESHORE_OK) puts(error.message);
 *
 * Results. A function that can fail returns a code, FORESHORE_OK being 0, and fills the caller's `error`, which may be
 * NULL. Output parameters are set only on success. No exception leaves a function, and there is no hidden
 * per-thread state.
 *
 * Memory. What is returned through `char**` is a NUL-terminated copy for the caller to foreshore_free; its size,
 * where it may hold NUL bytes, is returned beside it without the terminator. Handles have a free or close function
 * of their own. Every free function takes NULL. Arguments are borrowed during the call only.
 *
 * Text is UTF-8. `const char*` with a size beside it need not end in NUL; without one it must. A collection, id, field
 * or model that is NULL where it is needed is FORESHORE_INVALID_ARGUMENT.
 *
 * Options. A struct that begins with `size_bytes` grows in later versions: set it to sizeof and the rest to zero, which
 * is the default of every field. A smaller size than today's means a caller compiled against an older header.
 *
 * Threads. A database may be used from any thread; a transaction, statement, document or result by one at a time.
 */
#ifndef FORESHORE_H_
#define FORESHORE_H_

#include "foreshore/c_runtime.h" /* Models that the application runs. */
#include "foreshore/c_sql.h"     /* SQL and live queries. */
#include "foreshore/c_types.h"   /* Codes, errors and handles. */

#ifdef __cplusplus
extern "C" {
#endif

/* ---- Databases ---- */

enum { FORESHORE_STORAGE_SQLITE = 1, FORESHORE_STORAGE_ROCKSDB = 2 };
enum { FORESHORE_DURABILITY_FULL = 1, FORESHORE_DURABILITY_NORMAL = 2 };

typedef struct foreshore_open_options {
  uint32_t size_bytes;
  int32_t create;                  /* 1: make the directory where there is none. */
  int32_t storage;                 /* Of a new database; 0 is SQLite. An existing one keeps its own. */
  int32_t durability;              /* 0 is full: a commit survives a power cut. */
  uint64_t cache_bytes;            /* 0: 16 MiB. */
  uint32_t inference_thread_count; /* 0: 1. */
  int32_t embed_on_wait_only;      /* 1: vectors are filled only inside foreshore_wait_embedded. */
  uint64_t vector_memory_bytes;    /* What each vector index may keep in memory beside its mapped file; 0: no bound. */
} foreshore_open_options;

/* `options` may be NULL. FORESHORE_BUSY names the process that has the directory open. */
FORESHORE_API int32_t foreshore_open(const char* path, const foreshore_open_options* options,
                                     foreshore_database** database, foreshore_error* error);
/* Gives up the handle whatever is returned, except for FORESHORE_BUSY while statements or transactions are open,
 * and FORESHORE_CONFLICT inside the callback of a runtime. Before exit(), which takes away what threads in the
 * background use. */
FORESHORE_API int32_t foreshore_close(foreshore_database* database, foreshore_error* error);

FORESHORE_API int32_t foreshore_create_collection(foreshore_database* database, const char* collection,
                                                  foreshore_error* error);
/* A JSON array of names. */
FORESHORE_API int32_t foreshore_list_collections(foreshore_database* database, char** json, foreshore_error* error);

/* ---- Documents: JSON objects, one transaction each ---- */

/* Writes what differs from the document that is there. Ids are 1 to 255 bytes. */
FORESHORE_API int32_t foreshore_put(foreshore_database* database, const char* collection, const char* id,
                                    const char* json, size_t json_bytes, foreshore_error* error);
/* With a fresh id, which is returned. */
FORESHORE_API int32_t foreshore_put_new(foreshore_database* database, const char* collection, const char* json,
                                        size_t json_bytes, char** id, foreshore_error* error);
/* `json_bytes` may be NULL. */
FORESHORE_API int32_t foreshore_get(foreshore_database* database, const char* collection, const char* id, char** json,
                                    size_t* json_bytes, foreshore_error* error);
/* JSON merge patch (RFC 7396). */
FORESHORE_API int32_t foreshore_patch(foreshore_database* database, const char* collection, const char* id,
                                      const char* json, size_t json_bytes, foreshore_error* error);
FORESHORE_API int32_t foreshore_delete(foreshore_database* database, const char* collection, const char* id,
                                       foreshore_error* error);

/* Reads a document to write it back later: foreshore_put_over writes what differs from the version that was read, so
 * that an edit which arrived in between is kept. */
FORESHORE_API int32_t foreshore_read(foreshore_database* database, const char* collection, const char* id,
                                     foreshore_document** document, foreshore_error* error);
/* Valid until foreshore_document_free. `json_bytes` may be NULL. */
FORESHORE_API const char* foreshore_document_json(const foreshore_document* document, size_t* json_bytes);
FORESHORE_API int32_t foreshore_put_over(foreshore_database* database, const char* collection,
                                         const foreshore_document* document, const char* json, size_t json_bytes,
                                         foreshore_error* error);
FORESHORE_API void foreshore_document_free(foreshore_document* document);

/* ---- Attachments: content of any size that belongs to a document ---- */

typedef struct foreshore_attachment foreshore_attachment;

/* Puts up to `capacity` bytes into `buffer` and returns how many; 0 ends the content, a negative number gives up. */
typedef int64_t (*foreshore_read_callback)(void* context, char* buffer, size_t capacity);

/* Streams the content in; the document must exist. `content_type` may be NULL. `json` (may be NULL) receives
 * {"name", "type", "size_bytes", "sha256", "is_here"}. FORESHORE_CANCELLED where the callback gave up. */
FORESHORE_API int32_t foreshore_attachment_put(foreshore_database* database, const char* collection, const char* id,
                                               const char* name, const char* content_type, foreshore_read_callback read,
                                               void* context, char** json, foreshore_error* error);
/* FORESHORE_NOT_FOUND also where the content has not arrived by sync yet. The handle stays good when the attachment is
 * removed meanwhile, and must be freed before the database closes. */
FORESHORE_API int32_t foreshore_attachment_open(foreshore_database* database, const char* collection, const char* id,
                                                const char* name, foreshore_attachment** attachment,
                                                foreshore_error* error);
FORESHORE_API uint64_t foreshore_attachment_size(const foreshore_attachment* attachment);
/* Up to `capacity` bytes from `offset`; `read_bytes` is 0 at the end. Every byte is checked. */
FORESHORE_API int32_t foreshore_attachment_read(foreshore_attachment* attachment, uint64_t offset, char* buffer,
                                                size_t capacity, size_t* read_bytes, foreshore_error* error);
FORESHORE_API void foreshore_attachment_free(foreshore_attachment* attachment);
/* An array of what put returns. */
FORESHORE_API int32_t foreshore_list_attachments(foreshore_database* database, const char* collection, const char* id,
                                                 char** json, foreshore_error* error);
FORESHORE_API int32_t foreshore_attachment_remove(foreshore_database* database, const char* collection, const char* id,
                                                  const char* name, foreshore_error* error);

/* ---- Transactions: several documents and collections at once ---- */

/* FORESHORE_BUSY after `timeout_ms` behind another writer; negative: 5,000. */
FORESHORE_API int32_t foreshore_begin(foreshore_database* database, int64_t timeout_ms,
                                      foreshore_transaction** transaction, foreshore_error* error);
FORESHORE_API int32_t foreshore_transaction_put(foreshore_transaction* transaction, const char* collection,
                                                const char* id, const char* json, size_t json_bytes,
                                                foreshore_error* error);
FORESHORE_API int32_t foreshore_transaction_put_new(foreshore_transaction* transaction, const char* collection,
                                                    const char* json, size_t json_bytes, char** id,
                                                    foreshore_error* error);
FORESHORE_API int32_t foreshore_transaction_get(foreshore_transaction* transaction, const char* collection,
                                                const char* id, char** json, size_t* json_bytes,
                                                foreshore_error* error);
FORESHORE_API int32_t foreshore_transaction_patch(foreshore_transaction* transaction, const char* collection,
                                                  const char* id, const char* json, size_t json_bytes,
                                                  foreshore_error* error);
FORESHORE_API int32_t foreshore_transaction_delete(foreshore_transaction* transaction, const char* collection,
                                                   const char* id, foreshore_error* error);
FORESHORE_API int32_t foreshore_transaction_commit(foreshore_transaction* transaction, foreshore_error* error);
/* Named places to go back to. rollback_to undoes what was written since the last savepoint of that name and keeps it;
 * release forgets it and keeps the writes. FORESHORE_NOT_FOUND where there is none of that name. */
FORESHORE_API int32_t foreshore_transaction_savepoint(foreshore_transaction* transaction, const char* name,
                                                      foreshore_error* error);
FORESHORE_API int32_t foreshore_transaction_rollback_to(foreshore_transaction* transaction, const char* name,
                                                        foreshore_error* error);
FORESHORE_API int32_t foreshore_transaction_release(foreshore_transaction* transaction, const char* name,
                                                    foreshore_error* error);
/* Undoes what was not committed, and frees. */
FORESHORE_API void foreshore_transaction_free(foreshore_transaction* transaction);

/* ---- Secondary indexes ---- */

/* `paths`: "site,place.row", "tags[]" for each element. `where`: NULL or "size > 3 AND site IS NOT NULL". `name`: NULL
 * for the paths. What is there is indexed in the background, which foreshore_wait_indexed waits for (a negative
 * timeout: for as long as it takes); a unique index is complete on return, or refused. */
FORESHORE_API int32_t foreshore_create_field_index(foreshore_database* database, const char* collection,
                                                   const char* paths, int32_t unique, const char* where,
                                                   const char* name, foreshore_error* error);
FORESHORE_API int32_t foreshore_drop_field_index(foreshore_database* database, const char* collection, const char* name,
                                                 foreshore_error* error);
/* The number at `output` ("$[0][0]", "$.score[0][0]") of what `model` makes of `path`, kept for each document: SQL's
 * predict('model', path) ->> '$[0][0]' is then answered without inference. `path`: a field, or as SQL writes it
 * "json_array(a, b)", "json_object('age', age)" or "image_tensor(attachment('parts', id, 'photo.jpg'))". `adapter`:
 * NULL for none; `name`: NULL for model and paths, "scores_x". Filled in the background, which foreshore_wait_indexed
 * waits for too. */
FORESHORE_API int32_t foreshore_create_predictive_index(foreshore_database* database, const char* collection,
                                                        const char* model, const char* path, const char* output,
                                                        const char* adapter, const char* name, foreshore_error* error);
FORESHORE_API int32_t foreshore_drop_predictive_index(foreshore_database* database, const char* collection,
                                                      const char* name, foreshore_error* error);
FORESHORE_API int32_t foreshore_wait_indexed(foreshore_database* database, int64_t timeout_ms, foreshore_error* error);

/* ---- Vectors ---- */

enum { FORESHORE_METRIC_COSINE = 0, FORESHORE_METRIC_DOT = 1, FORESHORE_METRIC_L2 = 2 };
enum { FORESHORE_GRAPH_FLAT = 0, FORESHORE_GRAPH_HNSWLIB = 1 };

typedef struct foreshore_vector_index_options {
  uint32_t size_bytes;
  uint32_t dimension; /* 2 to 4096; may be 0 with a model. */
  const char* field;
  const char* model; /* NULL: documents carry the vector themselves. */
  const char* const* source_paths;
  size_t source_path_count;
  int32_t metric;
  int32_t bits;            /* Of each component: 8 (0 is the same), 16, or, walked over beside 8, 4 or 1. */
  uint32_t links_per_node; /* 4 to 64; 0: 16. */
  int32_t graph;           /* FORESHORE_GRAPH_… */
  const char* adapter;     /* One of the model's LoRA adapters; NULL: the model alone. */
} foreshore_vector_index_options;

FORESHORE_API int32_t foreshore_create_vector_index(foreshore_database* database, const char* collection,
                                                    const foreshore_vector_index_options* options,
                                                    foreshore_error* error);
FORESHORE_API int32_t foreshore_drop_vector_index(foreshore_database* database, const char* collection,
                                                  const char* field, foreshore_error* error);
/* Makes the smallest search that reaches this recall@10 (0.5 to 1) the index's own, with up to `sample_count` (0: 200)
 * queries, recent ones where there are 16, else stored vectors: ef, recall, search_us, sample_count, sample_kind.
 * FORESHORE_LIMIT where none reaches it. */
FORESHORE_API int32_t foreshore_tune_vector_index(foreshore_database* database, const char* collection,
                                                  const char* field, double recall, size_t sample_count, char** json,
                                                  foreshore_error* error);
typedef struct foreshore_hnswlib_import_options { /* Of an index that hnswlib saved with saveIndex(). */
  uint32_t size_bytes;
  int32_t has_metric; /* The file does not say its metric: must be 1 where the field has no index yet. */
  int32_t metric;
  int32_t bits; /* As in foreshore_vector_index_options, and so the next. */
  int32_t graph;
  int32_t rebuild;         /* 1: vectors are inserted anew, instead of keeping the file's links. */
  uint32_t links_per_node; /* 0: as in the file. */
  uint32_t reserved;
  const uint64_t* labels; /* NULL: ids are the labels in decimal digits; else ids[i] is that of labels[i]. */
  const char* const* ids;
  size_t id_count;
} foreshore_hnswlib_import_options;
/* Each label becomes a document, or gives the document of its id its vector; `json` gets document_count, deleted_count,
 * dimension, links_per_node, links_kept. FORESHORE_CORRUPTION, with nothing written, for a file that is damaged. */
FORESHORE_API int32_t foreshore_import_hnswlib(foreshore_database* database, const char* collection, const char* field,
                                               const char* file, const foreshore_hnswlib_import_options* options,
                                               char** json, foreshore_error* error);
typedef struct foreshore_text_index_options { /* One full-text index per collection, searched by SQL. */
  uint32_t size_bytes;
  int32_t keep_diacritics; /* Not 0: letters with accents are others. */
  const char* const* fields;
  const char* tokenizer; /* "unicode" (NULL), "porter" or "trigram". */
  const uint32_t* prefix_lengths;
  size_t field_count, prefix_length_count;
} foreshore_text_index_options;
FORESHORE_API int32_t foreshore_create_text_index(foreshore_database* database, const char* collection,
                                                  const foreshore_text_index_options* options, foreshore_error* error);
FORESHORE_API int32_t foreshore_drop_text_index(foreshore_database* database, const char* collection,
                                                foreshore_error* error);
/* A JSON array of objects: name, collection, kind; of a "vector" also field, dimension, metric, bits, links_per_node,
 * graph, model, adapter, model_version, adapter_version, next_model_version, next_adapter_version, next_vector_count
 * (of what is being filled to take its place; "" and 0 where nothing is), source_paths, vector_count, pending_count,
 * memory_bytes, mapped_bytes, memory_bytes_per_vector, mapped_bytes_per_vector, strategy, ef, recall, opened_from,
 * what is known of its recall (estimated_recall, sampled_recall, sampled_ef, sample_count, sample_kind, sample_age_ms)
 * and of what was deleted (garbage_count, repair_done_count, repair_total_count, repair_slice_count,
 * repair_slice_us_max, repair_reclaimed_count); of a "field" index also paths, unique, where, entry_count,
 * conflict_count, is_ready; of full text: name, collection, full_text, tokenizer, document_count, pending_count. */
FORESHORE_API int32_t foreshore_list_indexes(foreshore_database* database, char** json, foreshore_error* error);
typedef struct foreshore_search_request {
  uint32_t size_bytes;
  uint32_t k;          /* 0: 10. */
  const char* field;   /* NULL where the collection has one vector field. */
  const char* text;    /* Embedded with the field's model, or */
  const float* vector; /* the query itself. */
  size_t vector_count;
  const char* where; /* A SQL expression over the collection's columns, or NULL. */
} foreshore_search_request;

typedef struct foreshore_hit {
  const char* id;
  const char* json;
  size_t json_bytes;
  double distance;
} foreshore_hit;

/* The k nearest that match `where`, nearest first. */
FORESHORE_API int32_t foreshore_search(foreshore_database* database, const char* collection,
                                       const foreshore_search_request* request, foreshore_hits** hits,
                                       foreshore_error* error);
FORESHORE_API size_t foreshore_hits_count(const foreshore_hits* hits);
/* What it points to is valid until foreshore_hits_free. FORESHORE_INVALID_ARGUMENT out of range. */
FORESHORE_API int32_t foreshore_hits_at(const foreshore_hits* hits, size_t index, foreshore_hit* hit);
FORESHORE_API void foreshore_hits_free(foreshore_hits* hits);

/* Until no vector is missing or stale; FORESHORE_BUSY after `timeout_ms`, negative: a day. */
FORESHORE_API int32_t foreshore_wait_embedded(foreshore_database* database, int64_t timeout_ms, foreshore_error* error);

/* ---- Models ---- */

enum { FORESHORE_QUANTIZE_INT8 = 0, FORESHORE_QUANTIZE_NONE = 1 };

typedef struct foreshore_model_options {
  uint32_t size_bytes;
  int32_t quantization;
  const char* vocabulary_path; /* For an .onnx file without its vocabulary beside it. */
  const char* licence;
  const char* origin;
} foreshore_model_options;

/* Imports a file or folder. The same content again changes nothing. `json`, which may be NULL, describes the model:
 * name, version, architecture, quantization, dimension, token_count_max, tensor_count, tensor_bytes, licence, origin,
 * is_complete, adapters. */
FORESHORE_API int32_t foreshore_model_add(foreshore_database* database, const char* name, const char* path,
                                          const foreshore_model_options* options, char** json, foreshore_error* error);
/* A JSON array of such descriptions. */
FORESHORE_API int32_t foreshore_list_models(foreshore_database* database, char** json, foreshore_error* error);
FORESHORE_API int32_t foreshore_model_remove(foreshore_database* database, const char* name, foreshore_error* error);

enum { FORESHORE_METHOD_GPTQ4 = 0, FORESHORE_METHOD_INT8 = 1, FORESHORE_METHOD_GPTQ3 = 3, FORESHORE_METHOD_NF4 = 4 };

typedef struct foreshore_quantize_options {
  uint32_t size_bytes;
  int32_t method;
  const char* collection;     /* Documents whose text at `path` calibrates and judges. */
  const char* path;           /* Of a graph: the value that foreshore_predict takes, or with `image` an attachment. */
  uint32_t group_size;        /* Of GPTQ, a multiple of 32; 0: 128. */
  uint32_t calibration_count; /* Documents at most; 0: 600. */
  uint32_t held_out_count;    /* Documents at most, at least 20; 0: 256. */
  int32_t has_overlap_min;    /* 0: 0.9. */
  /* The part of the ten nearest, of a graph of the greatest outputs, that must stay the same for it to be activated. */
  double overlap_min;
  /* Of a graph: options of image_tensor() as JSON, "{}" for none, for the attachments called `path`. NULL: no images.
   */
  const char* image;
} foreshore_quantize_options;

/* Makes of a text model in f32 or int8 a smaller one, called `as`, and of a graph static int8 (FORESHORE_METHOD_INT8).
 * `json`: model, is_activated, refusal, original_bytes, quantized_bytes, original_us, quantized_us, mean_cosine,
 * min_cosine, top_ten_overlap, top_one_agreement, output_error_ratio, calibration_count, calibration_token_count,
 * held_out_count. A model that falls short is not kept, which is no error. */
FORESHORE_API int32_t foreshore_model_quantize(foreshore_database* database, const char* name, const char* as,
                                               const foreshore_quantize_options* options, char** json,
                                               foreshore_error* error);
/* A LoRA adapter as PEFT saves it, a folder; one of the same name is replaced. `json`, which may be NULL, describes the
 * model. */
FORESHORE_API int32_t foreshore_adapter_add(foreshore_database* database, const char* model, const char* adapter,
                                            const char* path, char** json, foreshore_error* error);
FORESHORE_API int32_t foreshore_adapter_remove(foreshore_database* database, const char* model, const char* adapter,
                                               foreshore_error* error);
/* Writes the model's dimension of floats to `vector` and their count to `count`. FORESHORE_LIMIT where `capacity` is
 * less; `count` then says how many are needed. */
FORESHORE_API int32_t foreshore_embed(foreshore_database* database, const char* model, const char* text,
                                      size_t text_bytes, float* vector, size_t capacity, size_t* count,
                                      foreshore_error* error);
/* `input` is JSON (for a text model a string or {"text": …}); so is the result. */
FORESHORE_API int32_t foreshore_predict(foreshore_database* database, const char* model, const char* input,
                                        size_t input_bytes, char** json, foreshore_error* error);
/* The same by one of the model's adapters; NULL or "": the model alone. */
FORESHORE_API int32_t foreshore_predict_with_adapter(foreshore_database* database, const char* model, const char* input,
                                                     size_t input_bytes, const char* adapter, char** json,
                                                     foreshore_error* error);

/* ---- Sync ---- */

typedef struct foreshore_sync_progress {
  uint64_t documents_pushed;
  uint64_t documents_pulled;
  uint64_t blobs_sent;
  uint64_t blobs_received;
  uint64_t bytes_sent;
  uint64_t bytes_received;
  uint64_t push_lag; /* Local changes not yet acknowledged. */
  uint64_t pull_lag; /* Remote changes not yet applied. */
} foreshore_sync_progress;

/* Called from the syncing thread; 0 asks to stop (FORESHORE_CANCELLED, resumable). */
typedef int32_t (*foreshore_sync_callback)(const foreshore_sync_progress* progress, void* context);

typedef struct foreshore_sync_options {
  uint32_t size_bytes;
  uint32_t timeout_ms; /* Of one request; 0: 30,000. */
  const char* url;     /* "http://host:port" or "https://host/prefix" */
  const char* token;   /* Bearer token, or NULL. */
  foreshore_sync_callback progress;
  void* context;
} foreshore_sync_options;

/* Pushes, pulls and fetches blobs until both sides are level. `json`, which may be NULL, reports: documents_pushed,
 * documents_pulled, documents_changed, values_rescued, blobs_sent, blobs_received, bytes_sent, bytes_received,
 * identity_forked, resynced, clock_corrected, blobs_missing. */
FORESHORE_API int32_t foreshore_sync_once(foreshore_database* database, const foreshore_sync_options* options,
                                          char** json, foreshore_error* error);
/* A JSON array of values that lost against a concurrent write: rescue_id, collection, document_id, path, value.
 * `collection` may be NULL for all. */
FORESHORE_API int32_t foreshore_list_rescued(foreshore_database* database, const char* collection, char** json,
                                             foreshore_error* error);

/* ---- Care ---- */

/* A JSON object; see docs/cli.md, `foreshore stats --format json`, which prints the same. */
FORESHORE_API int32_t foreshore_stats(foreshore_database* database, char** json, foreshore_error* error);
/* {"document_count", "vector_count", "blob_count", "problems": […]}; an error means that the check could not run. */
FORESHORE_API int32_t foreshore_verify(foreshore_database* database, char** json, foreshore_error* error);
FORESHORE_API int32_t foreshore_checkpoint(foreshore_database* database, foreshore_error* error);
FORESHORE_API int32_t foreshore_compact(foreshore_database* database, foreshore_error* error);
/* To a directory that must not exist. */
FORESHORE_API int32_t foreshore_backup(foreshore_database* database, const char* destination, foreshore_error* error);

#ifdef __cplusplus
}
#endif

#endif
