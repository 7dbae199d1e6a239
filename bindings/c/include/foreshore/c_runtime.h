/* The part of foreshore.h about models that the application runs itself. Include foreshore.h, whose rules hold. */
#ifndef FORESHORE_C_RUNTIME_H_
#define FORESHORE_C_RUNTIME_H_

#include "foreshore/c_types.h"

#ifdef __cplusplus
extern "C" {
#endif

/* ---- Runtimes: a callback in the place of the library's own inference ---- */

/* Borrowed for the call. */
typedef struct foreshore_runtime_batch {
  size_t row_count;
  const char* const* texts; /* Of a model that embeds texts: one for each row, UTF-8, NUL-terminated; else NULL. */
  const size_t* text_bytes; /* Without the terminator; texts may hold NUL bytes. */
  const float* values;      /* Of a model of numbers: row after row, each as input_shape says; else NULL. */
  size_t value_count;
} foreshore_runtime_batch;

/* Fills `output`, row after row, `output_count` floats in all, and returns FORESHORE_OK. Each row's numbers must depend
 * on that row alone. What is not finite at the end is an error, and so is what was not written: it is NaN before. Any
 * other code fails the statement that asked, with `error->message` (NUL-terminated) as its words; a field's vectors
 * stay pending. It must not throw or jump out. It runs on the thread that asked for the prediction, or on one of the
 * database's own, which fills vectors or evaluates live queries. Inside, the database may be read; what writes, waits
 * for vectors or closes is FORESHORE_CONFLICT, and so is a call of the same model. */
typedef int32_t (*foreshore_runtime_callback)(const foreshore_runtime_batch* batch, float* output, size_t output_count,
                                              foreshore_error* error, void* context);

typedef struct foreshore_runtime_options {
  uint32_t size_bytes;
  uint32_t dimension;          /* Of a model that embeds texts, 2 to 4096; 0: a model of numbers, by the shapes. */
  const char* version;         /* 1 to 128 bytes. Another version is another model: vectors are made anew. */
  const int64_t* input_shape;  /* Of one row, without a batch dimension: 1 to 7 sizes. */
  const int64_t* output_shape; /* The same. */
  size_t input_rank;
  size_t output_rank;
  uint32_t row_count_max; /* The most rows that one call takes; 0: 256. */
  int32_t is_concurrent;  /* 1: several threads may be in the callback at once; else calls take turns. */
} foreshore_runtime_options;

/* `callback` runs the model of that name from now on, in place of an earlier one. The model's row, without weights, is
 * made where there is none, and replaced where the options name another version or other shapes than were registered on
 * this database last; one that came by sync stays otherwise, and calls are FORESHORE_CONFLICT until its version is
 * registered. `json` (may be NULL) describes the model. FORESHORE_ALREADY_EXISTS for the name of a model with weights.
 */
FORESHORE_API int32_t foreshore_runtime_register(foreshore_database* database, const char* model,
                                                 const foreshore_runtime_options* options,
                                                 foreshore_runtime_callback callback, void* context, char** json,
                                                 foreshore_error* error);
/* Waits for calls that run; after it none begins, and `context` may go. So it is after foreshore_close. */
FORESHORE_API int32_t foreshore_runtime_unregister(foreshore_database* database, const char* model,
                                                   foreshore_error* error);

#ifdef __cplusplus
}
#endif

#endif
