/* The part of foreshore.h that the others need: codes, errors, handles. Include foreshore.h, whose rules hold. */
#ifndef FORESHORE_C_TYPES_H_
#define FORESHORE_C_TYPES_H_

#include <stddef.h>
#include <stdint.h>

#if defined(__GNUC__)
#define FORESHORE_API __attribute__((visibility("default")))
#else
#define FORESHORE_API
#endif

#ifdef __cplusplus
extern "C" {
#endif

/* Grows when functions are added; foreshore_abi_version() tells what the loaded library has. */
#define FORESHORE_ABI_VERSION 2

enum {
  FORESHORE_OK = 0,
  FORESHORE_NOT_FOUND = 1,        /* The named object does not exist. */
  FORESHORE_ALREADY_EXISTS = 2,   /* The named object exists and must not. */
  FORESHORE_INVALID_ARGUMENT = 3, /* The input is malformed or does not fit the object. */
  FORESHORE_LIMIT = 4,            /* The input is larger than a documented limit. */
  FORESHORE_CORRUPTION = 5,       /* Stored or received bytes contradict their format. */
  FORESHORE_IO = 6,               /* The operating system refused a read, write or sync. */
  FORESHORE_NO_SPACE = 7,         /* The disk is full; nothing was committed. */
  FORESHORE_BUSY = 8,             /* Another holder has the object; trying again may succeed. */
  FORESHORE_CONFLICT = 9,         /* The state the caller relied on has changed. */
  FORESHORE_UNSUPPORTED = 10,     /* Well formed, and not something this build can do. */
  FORESHORE_NETWORK = 11,         /* The peer was not reached or went away. */
  FORESHORE_UNAUTHORISED = 12,    /* The peer refused the credentials. */
  FORESHORE_CANCELLED = 13,       /* The caller asked to stop. */
  FORESHORE_INTERNAL = 14         /* A mistake of this library. */
};

/* Belongs to the caller. `message` is one line, cut at a character's boundary where it is longer. */
typedef struct foreshore_error {
  int32_t code;
  char message[1020];
} foreshore_error;

typedef struct foreshore_database foreshore_database;
typedef struct foreshore_document foreshore_document;
typedef struct foreshore_transaction foreshore_transaction;
typedef struct foreshore_connection foreshore_connection;
typedef struct foreshore_statement foreshore_statement;
typedef struct foreshore_hits foreshore_hits;

FORESHORE_API int32_t foreshore_abi_version(void);
/* "0.1.0"; static. */
FORESHORE_API const char* foreshore_version(void);
/* "not_found" for FORESHORE_NOT_FOUND; static. */
FORESHORE_API const char* foreshore_code_name(int32_t code);
FORESHORE_API void foreshore_free(void* memory);

#ifdef __cplusplus
}
#endif

#endif /* FORESHORE_C_TYPES_H_ */
