"""The C library behind the package: where it is found and how its functions are declared (bindings/c/include/foreshore.h)."""

import ctypes
import ctypes.util
import os
from pathlib import Path

ABI_VERSION = 2


class Error(ctypes.Structure):
    _fields_ = [("code", ctypes.c_int32), ("message", ctypes.c_char * 1020)]


class OpenOptions(ctypes.Structure):
    _fields_ = [("size_bytes", ctypes.c_uint32), ("create", ctypes.c_int32), ("storage", ctypes.c_int32),
                ("durability", ctypes.c_int32), ("cache_bytes", ctypes.c_uint64),
                ("inference_thread_count", ctypes.c_uint32), ("embed_on_wait_only", ctypes.c_int32),
                ("vector_memory_bytes", ctypes.c_uint64)]


class Value(ctypes.Structure):
    _fields_ = [("type", ctypes.c_int32), ("reserved", ctypes.c_int32), ("integer", ctypes.c_int64),
                ("real", ctypes.c_double), ("data", ctypes.c_void_p), ("data_bytes", ctypes.c_size_t)]


KeepGoing = ctypes.CFUNCTYPE(ctypes.c_int32, ctypes.c_void_p)


class SqlOptions(ctypes.Structure):
    _fields_ = [("size_bytes", ctypes.c_uint32), ("reserved", ctypes.c_uint32), ("busy_timeout_ms", ctypes.c_int64),
                ("time_limit_ms", ctypes.c_int64), ("keep_going", KeepGoing), ("context", ctypes.c_void_p)]


class VectorIndexOptions(ctypes.Structure):
    _fields_ = [("size_bytes", ctypes.c_uint32), ("dimension", ctypes.c_uint32), ("field", ctypes.c_char_p),
                ("model", ctypes.c_char_p), ("source_paths", ctypes.POINTER(ctypes.c_char_p)),
                ("source_path_count", ctypes.c_size_t), ("metric", ctypes.c_int32), ("bits", ctypes.c_int32),
                ("links_per_node", ctypes.c_uint32), ("graph", ctypes.c_int32), ("adapter", ctypes.c_char_p)]


class HnswlibImportOptions(ctypes.Structure):
    _fields_ = [("size_bytes", ctypes.c_uint32), ("has_metric", ctypes.c_int32), ("metric", ctypes.c_int32),
                ("bits", ctypes.c_int32), ("graph", ctypes.c_int32), ("rebuild", ctypes.c_int32),
                ("links_per_node", ctypes.c_uint32), ("reserved", ctypes.c_uint32),
                ("labels", ctypes.POINTER(ctypes.c_uint64)), ("ids", ctypes.POINTER(ctypes.c_char_p)),
                ("id_count", ctypes.c_size_t)]


class TextIndexOptions(ctypes.Structure):
    _fields_ = [("size_bytes", ctypes.c_uint32), ("keep_diacritics", ctypes.c_int32),
                ("fields", ctypes.POINTER(ctypes.c_char_p)), ("tokenizer", ctypes.c_char_p),
                ("prefix_lengths", ctypes.POINTER(ctypes.c_uint32)), ("field_count", ctypes.c_size_t),
                ("prefix_length_count", ctypes.c_size_t)]


class SearchRequest(ctypes.Structure):
    _fields_ = [("size_bytes", ctypes.c_uint32), ("k", ctypes.c_uint32), ("field", ctypes.c_char_p),
                ("text", ctypes.c_char_p), ("vector", ctypes.POINTER(ctypes.c_float)),
                ("vector_count", ctypes.c_size_t), ("where", ctypes.c_char_p)]


class Hit(ctypes.Structure):
    _fields_ = [("id", ctypes.c_char_p), ("json", ctypes.c_void_p), ("json_bytes", ctypes.c_size_t),
                ("distance", ctypes.c_double)]


class ModelOptions(ctypes.Structure):
    _fields_ = [("size_bytes", ctypes.c_uint32), ("quantization", ctypes.c_int32),
                ("vocabulary_path", ctypes.c_char_p), ("licence", ctypes.c_char_p), ("origin", ctypes.c_char_p)]


class QuantizeOptions(ctypes.Structure):
    _fields_ = [("size_bytes", ctypes.c_uint32), ("method", ctypes.c_int32), ("collection", ctypes.c_char_p),
                ("path", ctypes.c_char_p), ("group_size", ctypes.c_uint32), ("calibration_count", ctypes.c_uint32),
                ("held_out_count", ctypes.c_uint32), ("has_overlap_min", ctypes.c_int32),
                ("overlap_min", ctypes.c_double), ("image", ctypes.c_char_p)]


class RuntimeBatch(ctypes.Structure):
    _fields_ = [("row_count", ctypes.c_size_t), ("texts", ctypes.POINTER(ctypes.c_void_p)),
                ("text_bytes", ctypes.POINTER(ctypes.c_size_t)), ("values", ctypes.POINTER(ctypes.c_float)),
                ("value_count", ctypes.c_size_t)]


RuntimeCallback = ctypes.CFUNCTYPE(ctypes.c_int32, ctypes.POINTER(RuntimeBatch), ctypes.c_void_p, ctypes.c_size_t,
                                   ctypes.POINTER(Error), ctypes.c_void_p)


class RuntimeOptions(ctypes.Structure):
    _fields_ = [("size_bytes", ctypes.c_uint32), ("dimension", ctypes.c_uint32), ("version", ctypes.c_char_p),
                ("input_shape", ctypes.POINTER(ctypes.c_int64)), ("output_shape", ctypes.POINTER(ctypes.c_int64)),
                ("input_rank", ctypes.c_size_t), ("output_rank", ctypes.c_size_t),
                ("row_count_max", ctypes.c_uint32), ("is_concurrent", ctypes.c_int32)]


class SyncProgress(ctypes.Structure):
    _fields_ = [(name, ctypes.c_uint64) for name in (
        "documents_pushed", "documents_pulled", "blobs_sent", "blobs_received", "bytes_sent", "bytes_received",
        "push_lag", "pull_lag")]


SyncCallback = ctypes.CFUNCTYPE(ctypes.c_int32, ctypes.POINTER(SyncProgress), ctypes.c_void_p)


ReadCallback = ctypes.CFUNCTYPE(ctypes.c_int64, ctypes.c_void_p, ctypes.c_void_p, ctypes.c_size_t)


class SyncOptions(ctypes.Structure):
    _fields_ = [("size_bytes", ctypes.c_uint32), ("timeout_ms", ctypes.c_uint32), ("url", ctypes.c_char_p),
                ("token", ctypes.c_char_p), ("progress", SyncCallback), ("context", ctypes.c_void_p)]


class RowChange(ctypes.Structure):
    _fields_ = [("kind", ctypes.c_int32), ("reserved", ctypes.c_int32), ("old_position", ctypes.c_size_t),
                ("new_position", ctypes.c_size_t)]


ChangesCallback = ctypes.CFUNCTYPE(None, ctypes.c_void_p, ctypes.c_void_p)
NotifyCallback = ctypes.CFUNCTYPE(None, ctypes.c_void_p)


class SubscribeOptions(ctypes.Structure):
    _fields_ = [("size_bytes", ctypes.c_uint32), ("interval_ms_min", ctypes.c_uint32),
                ("row_count_max", ctypes.c_uint64), ("result_bytes_max", ctypes.c_uint64),
                ("notify", NotifyCallback), ("context", ctypes.c_void_p)]


_HANDLE = ctypes.c_void_p
_TEXT = ctypes.c_char_p
_SIZE = ctypes.c_size_t
_OUT = ctypes.POINTER(ctypes.c_void_p)  # Handles, and text to be freed.
_SIZE_OUT = ctypes.POINTER(ctypes.c_size_t)
_VALUE = ctypes.POINTER(Value)
_ERROR = ctypes.POINTER(Error)

# Functions that return a code, by their arguments before the last, which is always the error.
_CALLS = {
    "open": [_TEXT, ctypes.POINTER(OpenOptions), _OUT],
    "close": [_HANDLE],
    "create_collection": [_HANDLE, _TEXT],
    "list_collections": [_HANDLE, _OUT],
    "put": [_HANDLE, _TEXT, _TEXT, _TEXT, _SIZE],
    "put_new": [_HANDLE, _TEXT, _TEXT, _SIZE, _OUT],
    "get": [_HANDLE, _TEXT, _TEXT, _OUT, _SIZE_OUT],
    "patch": [_HANDLE, _TEXT, _TEXT, _TEXT, _SIZE],
    "delete": [_HANDLE, _TEXT, _TEXT],
    "read": [_HANDLE, _TEXT, _TEXT, _OUT],
    "put_over": [_HANDLE, _TEXT, _HANDLE, _TEXT, _SIZE],
    "attachment_put": [_HANDLE, _TEXT, _TEXT, _TEXT, _TEXT, ReadCallback, ctypes.c_void_p, _OUT],
    "attachment_open": [_HANDLE, _TEXT, _TEXT, _TEXT, _OUT],
    "attachment_read": [_HANDLE, ctypes.c_uint64, ctypes.c_void_p, _SIZE, _SIZE_OUT],
    "list_attachments": [_HANDLE, _TEXT, _TEXT, _OUT],
    "attachment_remove": [_HANDLE, _TEXT, _TEXT, _TEXT],
    "begin": [_HANDLE, ctypes.c_int64, _OUT],
    "transaction_put": [_HANDLE, _TEXT, _TEXT, _TEXT, _SIZE],
    "transaction_put_new": [_HANDLE, _TEXT, _TEXT, _SIZE, _OUT],
    "transaction_get": [_HANDLE, _TEXT, _TEXT, _OUT, _SIZE_OUT],
    "transaction_patch": [_HANDLE, _TEXT, _TEXT, _TEXT, _SIZE],
    "transaction_delete": [_HANDLE, _TEXT, _TEXT],
    "transaction_commit": [_HANDLE],
    "transaction_savepoint": [_HANDLE, _TEXT],
    "transaction_rollback_to": [_HANDLE, _TEXT],
    "transaction_release": [_HANDLE, _TEXT],
    "connect": [_HANDLE, ctypes.POINTER(SqlOptions), _OUT],
    "connection_prepare": [_HANDLE, _TEXT, _SIZE, _SIZE_OUT, _OUT],
    "prepare": [_HANDLE, _TEXT, _SIZE, _OUT],
    "prepare_with": [_HANDLE, _TEXT, _SIZE, ctypes.POINTER(SqlOptions), _OUT],
    "bind": [_HANDLE, ctypes.c_int32, _VALUE],
    "bind_named": [_HANDLE, _TEXT, _VALUE],
    "step": [_HANDLE, ctypes.POINTER(ctypes.c_int32)],
    "reset": [_HANDLE],
    "column": [_HANDLE, ctypes.c_int32, _VALUE],
    "subscribe": [_HANDLE, _TEXT, _SIZE, _VALUE, _SIZE, ctypes.POINTER(SubscribeOptions), ChangesCallback, _OUT],
    "changes_status": [_HANDLE],
    "create_field_index": [_HANDLE, _TEXT, _TEXT, ctypes.c_int32, _TEXT, _TEXT],
    "drop_field_index": [_HANDLE, _TEXT, _TEXT],
    "create_predictive_index": [_HANDLE, _TEXT, _TEXT, _TEXT, _TEXT, _TEXT, _TEXT],
    "drop_predictive_index": [_HANDLE, _TEXT, _TEXT],
    "wait_indexed": [_HANDLE, ctypes.c_int64],
    "create_vector_index": [_HANDLE, _TEXT, ctypes.POINTER(VectorIndexOptions)],
    "drop_vector_index": [_HANDLE, _TEXT, _TEXT],
    "tune_vector_index": [_HANDLE, _TEXT, _TEXT, ctypes.c_double, ctypes.c_size_t, _OUT],
    "import_hnswlib": [_HANDLE, _TEXT, _TEXT, _TEXT, ctypes.POINTER(HnswlibImportOptions), _OUT],
    "create_text_index": [_HANDLE, _TEXT, ctypes.POINTER(TextIndexOptions)],
    "drop_text_index": [_HANDLE, _TEXT],
    "list_indexes": [_HANDLE, _OUT],
    "search": [_HANDLE, _TEXT, ctypes.POINTER(SearchRequest), _OUT],
    "wait_embedded": [_HANDLE, ctypes.c_int64],
    "model_add": [_HANDLE, _TEXT, _TEXT, ctypes.POINTER(ModelOptions), _OUT],
    "list_models": [_HANDLE, _OUT],
    "model_remove": [_HANDLE, _TEXT],
    "embed": [_HANDLE, _TEXT, _TEXT, _SIZE, ctypes.POINTER(ctypes.c_float), _SIZE, _SIZE_OUT],
    "predict": [_HANDLE, _TEXT, _TEXT, _SIZE, _OUT],
    "predict_with_adapter": [_HANDLE, _TEXT, _TEXT, _SIZE, _TEXT, _OUT],
    "model_quantize": [_HANDLE, _TEXT, _TEXT, ctypes.POINTER(QuantizeOptions), _OUT],
    "runtime_register": [_HANDLE, _TEXT, ctypes.POINTER(RuntimeOptions), RuntimeCallback, ctypes.c_void_p, _OUT],
    "runtime_unregister": [_HANDLE, _TEXT],
    "adapter_add": [_HANDLE, _TEXT, _TEXT, _TEXT, _OUT],
    "adapter_remove": [_HANDLE, _TEXT, _TEXT],
    "sync_once": [_HANDLE, ctypes.POINTER(SyncOptions), _OUT],
    "list_rescued": [_HANDLE, _TEXT, _OUT],
    "stats": [_HANDLE, _OUT],
    "verify": [_HANDLE, _OUT],
    "checkpoint": [_HANDLE],
    "compact": [_HANDLE],
    "backup": [_HANDLE, _TEXT],
}

# The others: result and arguments.
_OTHERS = {
    "abi_version": (ctypes.c_int32, []),
    "version": (_TEXT, []),
    "code_name": (_TEXT, [ctypes.c_int32]),
    "free": (None, [ctypes.c_void_p]),
    "document_json": (ctypes.c_void_p, [_HANDLE, _SIZE_OUT]),
    "document_free": (None, [_HANDLE]),
    "attachment_size": (ctypes.c_uint64, [_HANDLE]),
    "attachment_free": (None, [_HANDLE]),
    "transaction_free": (None, [_HANDLE]),
    "in_transaction": (ctypes.c_int32, [_HANDLE]),
    "interrupt": (None, [_HANDLE]),
    "connection_free": (None, [_HANDLE]),
    "statement_cancel": (None, [_HANDLE]),
    "column_count": (ctypes.c_int32, [_HANDLE]),
    "column_name": (_TEXT, [_HANDLE, ctypes.c_int32]),
    "changed_count": (ctypes.c_int64, [_HANDLE]),
    "statement_free": (None, [_HANDLE]),
    "subscription_active": (ctypes.c_int32, [_HANDLE]),
    "subscription_dispatch": (ctypes.c_int32, [_HANDLE]),
    "subscription_free": (None, [_HANDLE]),
    "changes_is_first": (ctypes.c_int32, [_HANDLE]),
    "changes_sequence": (ctypes.c_int64, [_HANDLE]),
    "changes_count": (_SIZE, [_HANDLE]),
    "changes_column_count": (ctypes.c_int32, [_HANDLE]),
    "changes_column_name": (_TEXT, [_HANDLE, ctypes.c_int32]),
    "changes_at": (ctypes.c_int32, [_HANDLE, _SIZE, ctypes.POINTER(RowChange)]),
    "changes_value": (ctypes.c_int32, [_HANDLE, _SIZE, ctypes.c_int32, ctypes.c_int32, _VALUE]),
    "hits_count": (_SIZE, [_HANDLE]),
    "hits_at": (ctypes.c_int32, [_HANDLE, _SIZE, ctypes.POINTER(Hit)]),
    "hits_free": (None, [_HANDLE]),
}


def _find() -> str:
    """FORESHORE_LIBRARY, else beside the package, else where the system looks."""
    named = os.environ.get("FORESHORE_LIBRARY")
    if named:
        return named
    for name in ("libforeshore.so", "libforeshore.so.0", "libforeshore.dylib"):
        beside = Path(__file__).parent / name
        if beside.exists():
            return str(beside)
    return ctypes.util.find_library("foreshore") or "libforeshore.so.0"


def load() -> ctypes.CDLL:
    path = _find()
    try:
        library = ctypes.CDLL(path)
    except OSError as error:
        raise ImportError(f"libforeshore: {error}; set FORESHORE_LIBRARY to the library's path") from error
    for name, arguments in _CALLS.items():
        function = getattr(library, "foreshore_" + name)
        function.restype = ctypes.c_int32
        function.argtypes = [*arguments, _ERROR]
    for name, (result, arguments) in _OTHERS.items():
        function = getattr(library, "foreshore_" + name)
        function.restype = result
        function.argtypes = arguments
    found = library.foreshore_abi_version()
    if found < ABI_VERSION:
        raise ImportError(f"{path}: has ABI version {found}, this package needs {ABI_VERSION}")
    return library
