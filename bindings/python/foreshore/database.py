"""Databases, transactions, rows."""

import atexit
import ctypes
import json
import os
import sys
import threading
import weakref
from typing import Any, Callable, Dict, Iterator, List, Mapping, NamedTuple, Optional, Sequence, Set, Union

from . import _library
from .attachments import AttachmentsMixin
from .errors import Error, error_for
from .live import Changes, Subscription
from .rows import (Json, Row, SqlValue, _call, _document_bytes, _encoded, _from_value, _lib, _optional, _path, _taken,
                   _text, _to_value)
from .runtimes import RuntimesMixin


_main_thread = threading.main_thread().ident
_raised: List[BaseException] = []  # By signal handlers while the main thread stepped a statement.


_METRICS = {"cosine": 0, "dot": 1, "l2": 2}
_GRAPHS = {"flat": 0, "hnswlib": 1}


def _number_of(what: str, name: str, numbers: Mapping[str, int]) -> int:
    if name not in numbers:
        raise error_for(3, f"{what} {name!r}: expected one of {', '.join(numbers)}")
    return numbers[name]


def _poll(_context: Any) -> int:
    return 0 if _raised and threading.get_ident() == _main_thread else 1


# The library calls this now and then while a statement runs. Entering it lets Python run its signal handlers; what they
# raise, such as KeyboardInterrupt, goes to the hook of _step, and the next call stops the statement.
_keep_going = _library.KeepGoing(_poll)


def _sql_options(timeout: Optional[float], busy_timeout: float) -> _library.SqlOptions:
    if timeout is not None and timeout <= 0:
        raise error_for(3, f"timeout {timeout}: expected seconds above 0, or None")
    # The library takes 0 for its default, so no waiting at all is a negative number.
    busy_ms = int(busy_timeout * 1000) or -1
    limit_ms = 0 if timeout is None else max(1, int(timeout * 1000))
    return _library.SqlOptions(size_bytes=ctypes.sizeof(_library.SqlOptions), busy_timeout_ms=busy_ms,
                               time_limit_ms=limit_ms, keep_going=_keep_going)


def _step(handle: ctypes.c_void_p, has_row: ctypes.c_int32) -> None:
    """Steps a statement; an exception that a signal handler raised meanwhile stops it and is raised here."""
    if threading.get_ident() != _main_thread:  # Signal handlers run on the main thread alone.
        _call("step", handle, ctypes.byref(has_row))
        return
    before = sys.unraisablehook

    def hook(unraisable: Any) -> None:
        if unraisable.object is _poll:
            _raised.append(unraisable.exc_value)
        else:
            before(unraisable)

    sys.unraisablehook = hook
    try:
        _call("step", handle, ctypes.byref(has_row))
    except Error:
        if not _raised:
            raise
    finally:
        sys.unraisablehook = before
        raised = list(_raised)
        _raised.clear()
    if raised:
        raise raised[0]


class Rows:
    """The rows of one statement, read as they are asked for, from one snapshot. Iterate, or call all() or one()."""

    def __init__(self, database: "Database", prepare: Callable[[bytes, Any], None], sql: str,
                 parameters: Sequence[SqlValue], named: Dict[str, SqlValue]) -> None:
        self._database = database
        self._handle: Optional[ctypes.c_void_p] = ctypes.c_void_p()
        self._is_cut = False  # The database was closed before the last row.
        prepare(sql.encode("utf-8"), ctypes.byref(self._handle))
        try:
            database._statements.add(self)
            for index, value in enumerate(parameters, 1):
                _call("bind", self._handle, index, ctypes.byref(_to_value(value)))
            for name, value in named.items():
                _call("bind_named", self._handle, _encoded(":" + name, "parameter"), ctypes.byref(_to_value(value)))
            count = _lib.foreshore_column_count(self._handle)
            self.columns = [_lib.foreshore_column_name(self._handle, index).decode() for index in range(count)]
            self.changed_count = 0
            # A statement without columns writes; nobody would ask it for rows.
            if not self.columns:
                self._step()
        except BaseException:
            self.close()
            raise

    def _step(self) -> bool:
        if self._is_cut:
            raise error_for(13, "statement: its database was closed before the last row")
        if self._handle is None:
            return False
        has_row = ctypes.c_int32()
        try:
            _step(self._handle, has_row)
        except BaseException:
            self.close()
            raise
        if not has_row.value:
            self.changed_count = _lib.foreshore_changed_count(self._handle)
            self.close()
            return False
        return True

    def __iter__(self) -> Iterator[Row]:
        while self._step():
            values = []
            for index in range(len(self.columns)):
                value = _library.Value()
                _call("column", self._handle, index, ctypes.byref(value))
                values.append(_from_value(value))
            yield Row(values, self.columns)

    def all(self) -> List[Row]:
        return list(self)

    def one(self) -> Optional[Row]:
        """The first row or None; the statement ends."""
        try:
            return next(iter(self), None)
        finally:
            self.close()

    def cancel(self) -> None:
        """From any thread: the statement stops and raises Cancelled where it runs."""
        if self._handle is not None:
            _lib.foreshore_statement_cancel(self._handle)

    def close(self) -> None:
        """Ends the statement and gives up its snapshot. Reaching the last row does so too."""
        handle, self._handle = self._handle, None
        self._database._statements.discard(self)
        if handle is not None:
            _lib.foreshore_statement_free(handle)

    def __del__(self) -> None:
        if getattr(self, "_handle", None) is not None:
            self.close()


class Hit(NamedTuple):
    """What a search found."""

    id: str
    distance: float
    document: Json


class Document(dict):
    """A document as it was read. db.put_over(document) writes what was changed in it since, so that an edit of another
    device that arrived in between is kept."""

    def __init__(self, collection: str, id: str, handle: ctypes.c_void_p) -> None:
        self.collection = collection
        self.id = id
        self._handle: Optional[ctypes.c_void_p] = handle
        size = ctypes.c_size_t()
        pointer = _lib.foreshore_document_json(handle, ctypes.byref(size))
        super().__init__(json.loads(ctypes.string_at(pointer, size.value)))

    def __del__(self) -> None:
        handle, self._handle = getattr(self, "_handle", None), None
        if handle is not None:
            _lib.foreshore_document_free(handle)


class _Writer:
    """What a database and a transaction share."""

    _prefix = ""

    def _open_handle(self) -> ctypes.c_void_p:
        raise NotImplementedError

    def put(self, collection: str, id: Optional[str], document: Json) -> str:
        """Writes what differs from the document that is there. Without an id a fresh one is made. Returns the id."""
        raw = _document_bytes(document)
        name = _encoded(collection, "collection")
        if id is None:
            return _text(self._prefix + "put_new", self._open_handle(), name, raw, len(raw))
        _call(self._prefix + "put", self._open_handle(), name, _encoded(id, "id"), raw, len(raw))
        return id

    def get(self, collection: str, id: str) -> Json:
        """Raises NotFound, which is a KeyError."""
        out, size = ctypes.c_void_p(), ctypes.c_size_t()
        _call(self._prefix + "get", self._open_handle(), _encoded(collection, "collection"), _encoded(id, "id"),
              ctypes.byref(out), ctypes.byref(size))
        return json.loads(_taken(out, size.value))

    def patch(self, collection: str, id: str, changes: Json) -> None:
        """A JSON merge patch (RFC 7396): None removes a field."""
        raw = _document_bytes(changes)
        _call(self._prefix + "patch", self._open_handle(), _encoded(collection, "collection"), _encoded(id, "id"), raw,
              len(raw))

    def delete(self, collection: str, id: str) -> None:
        _call(self._prefix + "delete", self._open_handle(), _encoded(collection, "collection"), _encoded(id, "id"))


class Transaction(_Writer):
    """Several writes as one: commits at the end of the with block, and undoes everything on an exception."""

    _prefix = "transaction_"

    def __init__(self, database: "Database", timeout: float) -> None:
        self._database = database
        self._handle: Optional[ctypes.c_void_p] = ctypes.c_void_p()
        _call("begin", database._open_handle(), int(timeout * 1000), ctypes.byref(self._handle))
        database._transactions.add(self)

    def _open_handle(self) -> ctypes.c_void_p:
        if self._handle is None:
            raise error_for(13, "transaction: is over")
        return self._handle

    def savepoint(self, name: str) -> None:
        """A place to go back to. A name may be used again and then means the last one."""
        _call("transaction_savepoint", self._open_handle(), _encoded(name, "savepoint"))

    def rollback_to(self, name: str) -> None:
        """Undoes what was written since the savepoint, and keeps it."""
        _call("transaction_rollback_to", self._open_handle(), _encoded(name, "savepoint"))

    def release(self, name: str) -> None:
        """Forgets the savepoint and keeps what was written since."""
        _call("transaction_release", self._open_handle(), _encoded(name, "savepoint"))

    def commit(self) -> None:
        _call("transaction_commit", self._open_handle())
        self.close()

    def close(self) -> None:
        """Undoes what was not committed."""
        handle, self._handle = self._handle, None
        if handle is not None:
            _lib.foreshore_transaction_free(handle)

    def __enter__(self) -> "Transaction":
        return self

    def __exit__(self, kind: Any, value: Any, trace: Any) -> None:
        try:
            if kind is None and self._handle is not None:
                self.commit()
        finally:
            self.close()

    def __del__(self) -> None:
        if getattr(self, "_handle", None) is not None:
            self.close()


class Connection:
    """Statements that may share a transaction: BEGIN, SAVEPOINT, COMMIT, ROLLBACK. From db.connect()."""

    def __init__(self, database: "Database", timeout: Optional[float], busy_timeout: float) -> None:
        self._database = database
        self._handle: Optional[ctypes.c_void_p] = None
        handle = ctypes.c_void_p()
        self._options = _sql_options(timeout, busy_timeout)
        _call("connect", database._open_handle(), ctypes.byref(self._options), ctypes.byref(handle))
        self._handle = handle
        database._connections.add(self)

    def _open_handle(self) -> ctypes.c_void_p:
        if self._handle is None:
            raise error_for(13, "connection: is closed")
        return self._handle

    def sql(self, sql: str, *parameters: SqlValue, **named: SqlValue) -> Rows:
        """As Database.sql."""
        def prepare(raw: bytes, out: Any) -> None:
            _call("connection_prepare", self._open_handle(), raw, len(raw), None, out)

        return Rows(self._database, prepare, sql, parameters, named)

    @property
    def in_transaction(self) -> bool:
        return bool(_lib.foreshore_in_transaction(self._open_handle()))

    def interrupt(self) -> None:
        """From any thread: statements that are running stop and raise Cancelled; the transaction goes on."""
        if self._handle is not None:
            _lib.foreshore_interrupt(self._handle)

    def close(self) -> None:
        """Rolls an open transaction back."""
        handle, self._handle = self._handle, None
        self._database._connections.discard(self)
        if handle is not None:
            _lib.foreshore_connection_free(handle)

    def __enter__(self) -> "Connection":
        return self

    def __exit__(self, kind: Any, value: Any, trace: Any) -> None:
        self.close()

    def __del__(self) -> None:
        if getattr(self, "_handle", None) is not None:
            self.close()


_open_databases: Set["Database"] = set()


@atexit.register
def _close_all() -> None:
    """Before the interpreter and the library's static objects go, neither of which a thread in the background may meet."""
    for database in list(_open_databases):
        if database._process != os.getpid():
            continue  # A forked child has none of its threads.
        for transaction in list(database._transactions):
            transaction.close()
        try:
            database.close()
        except Error:  # Another thread is in it: at least no callback may begin.
            for name in list(database._runtimes):
                try:
                    database.unregister_runtime(name)
                except Error:
                    pass


class Database(AttachmentsMixin, RuntimesMixin, _Writer):
    """One directory. Made by foreshore.open()."""

    def __init__(self, path: Union[str, "os.PathLike[str]"], *, create: bool = False, storage: str = "sqlite",
                 durability: str = "full", inference_threads: int = 1, embed_in_background: bool = True,
                 vector_memory_bytes: int = 0) -> None:
        self._handle: Optional[ctypes.c_void_p] = None
        self._statements: set = set()
        self._subscriptions: set = set()
        self._connections: set = set()
        self._transactions: "weakref.WeakSet[Transaction]" = weakref.WeakSet()
        self._process = os.getpid()
        self._runtimes: Dict[str, Any] = {}  # Functions that the library may call until it is closed.
        # Seconds that a statement of sql() may run and wait, then Cancelled; None: as long as it takes.
        self.timeout: Optional[float] = None
        storages, durabilities = {"sqlite": 1, "rocksdb": 2}, {"full": 1, "normal": 2}
        if storage not in storages:
            raise error_for(3, f"storage {storage!r}: expected one of {', '.join(storages)}")
        if durability not in durabilities:
            raise error_for(3, f"durability {durability!r}: expected one of {', '.join(durabilities)}")
        options = _library.OpenOptions(size_bytes=ctypes.sizeof(_library.OpenOptions), create=create,
                                       storage=storages[storage], durability=durabilities[durability],
                                       inference_thread_count=inference_threads,
                                       embed_on_wait_only=not embed_in_background,
                                       vector_memory_bytes=vector_memory_bytes)
        handle = ctypes.c_void_p()
        _call("open", _path(path), ctypes.byref(options), ctypes.byref(handle))
        self._handle = handle
        _open_databases.add(self)

    def _open_handle(self) -> ctypes.c_void_p:
        if self._handle is None:
            raise error_for(13, "database: is closed")
        return self._handle

    def close(self) -> None:
        """Ends open statements, writes the indexes' snapshots and gives up the lock."""
        if self._handle is None:
            return
        self._refuse_inside_callback("closing")
        for subscription in list(self._subscriptions):
            subscription.close()
        for rows in list(self._statements):
            rows._is_cut = True
            rows.close()
        for connection in list(self._connections):
            connection.close()
        try:
            _call("close", self._handle)
        except BaseException as error:
            if getattr(error, "code", None) not in (8, 9):  # Busy and conflict keep the handle.
                self._give_up()
            raise
        self._give_up()
        self._runtimes.clear()

    def _give_up(self) -> None:
        self._handle = None
        _open_databases.discard(self)

    def __enter__(self) -> "Database":
        return self

    def __exit__(self, kind: Any, value: Any, trace: Any) -> None:
        self.close()

    # Collections and documents

    def create_collection(self, name: str) -> None:
        _call("create_collection", self._open_handle(), _encoded(name, "collection"))

    def collections(self) -> List[str]:
        return json.loads(_text("list_collections", self._open_handle()))

    def read(self, collection: str, id: str) -> Document:
        """For a change that is written back with put_over."""
        handle = ctypes.c_void_p()
        _call("read", self._open_handle(), _encoded(collection, "collection"), _encoded(id, "id"),
              ctypes.byref(handle))
        return Document(collection, id, handle)

    def put_over(self, document: Document) -> None:
        raw = _document_bytes(document)
        _call("put_over", self._open_handle(), _encoded(document.collection, "collection"), document._handle, raw,
              len(raw))

    def transaction(self, timeout: float = 5.0) -> Transaction:
        """Raises Busy after `timeout` seconds behind another writer."""
        return Transaction(self, timeout)

    def sql(self, sql: str, *parameters: SqlValue, **named: SqlValue) -> Rows:
        """Runs SQL. Parameters are given in order for ?, or by name for :name. A statement that writes has run when
        this returns; changed_count says how many documents it wrote. Control-C stops it."""
        def prepare(raw: bytes, out: Any) -> None:
            options = _sql_options(self.timeout, 5.0)
            _call("prepare_with", self._open_handle(), raw, len(raw), ctypes.byref(options), out)

        return Rows(self, prepare, sql, parameters, named)

    def connect(self, *, timeout: Optional[float] = None, busy_timeout: float = 5.0) -> Connection:
        """A connection whose statements may share a transaction. Each may run `timeout` seconds, then it raises
        Cancelled, and wait `busy_timeout` seconds for another writer, then it raises Busy, which says who that is."""
        return Connection(self, timeout, busy_timeout)

    def subscribe(self, sql: str, *parameters: SqlValue, callback: Optional[Callable[[Changes], None]] = None,
                  interval: float = 0.0, row_limit: int = 10_000) -> Subscription:
        """Follows the result of a SELECT: first the rows that are there, then what differs after each commit that
        matters, not more often than every `interval` seconds. With a callback, it is called on a thread of the library;
        without one, iterate over the subscription."""
        return Subscription(self, sql, parameters, callback, interval, row_limit)

    # Secondary indexes

    def create_index(self, collection: str, *paths: str, unique: bool = False, where: Optional[str] = None,
                     name: Optional[str] = None) -> None:
        """Orders documents by the values at the paths ("site", "site.name", "tags[]"); SQL uses it where it helps.

        What is there is indexed in the background (see `wait_indexed`); a unique index is complete on return.
        """
        _call("create_field_index", self._open_handle(), _encoded(collection, "collection"),
              _encoded(",".join(paths), "paths"), int(unique), _optional(where, "where"), _optional(name, "name"))

    def drop_index(self, collection: str, name: str) -> None:
        """`name` as it was given, or the paths joined by commas."""
        _call("drop_field_index", self._open_handle(), _encoded(collection, "collection"), _encoded(name, "name"))

    def create_predictive_index(self, collection: str, model: str, path: str, output: str,
                                adapter: Optional[str] = None, name: Optional[str] = None) -> None:
        """Keeps the number at `output` ("$[0][0]", "$.score[0][0]") of what the model makes of each document.

        `path` is the input: a field, or as SQL writes it "json_array(a, b)", "json_object('age', age)" or
        "image_tensor(attachment('parts', id, 'photo.jpg'), '{\"width\":224}')". SQL's predict('model', path) ->>
        '$[0][0]' is then answered without inference. Values are computed in the background (see `wait_indexed`); a
        statement that needs what is still missing computes it.
        """
        _call("create_predictive_index", self._open_handle(), _encoded(collection, "collection"),
              _encoded(model, "model"), _encoded(path, "path"), _encoded(output, "output"),
              _optional(adapter, "adapter"), _optional(name, "name"))

    def drop_predictive_index(self, collection: str, name: str) -> None:
        """`name` as it was given, or model and paths joined by underscores."""
        _call("drop_predictive_index", self._open_handle(), _encoded(collection, "collection"), _encoded(name, "name"))

    def wait_indexed(self, timeout: Optional[float] = None) -> None:
        """Until every index is built; seconds, None for as long as it takes."""
        _call("wait_indexed", self._open_handle(), -1 if timeout is None else int(timeout * 1000))

    # Vectors and models

    def create_vector_index(self, collection: str, field: str, *, model: Optional[str] = None,
                            sources: Sequence[str] = (), dimension: int = 0, metric: str = "cosine", bits: int = 8,
                            links: int = 16, graph: str = "flat", adapter: Optional[str] = None) -> None:
        """With a model, the field is filled on write from the text at `sources`, by `adapter` if one is named. With 16 bits of each number and with more
        links (4 to 64) of each vector in the graph, searches find better and cost more. With 4 bits or 1, not over
        hnswlib's graph, a search reads fewer bytes and puts what it found in order by the 8 that are kept beside."""
        paths = (ctypes.c_char_p * len(sources))(*(_encoded(source, "source") for source in sources))
        options = _library.VectorIndexOptions(
            size_bytes=ctypes.sizeof(_library.VectorIndexOptions), dimension=dimension,
            field=_encoded(field, "field"), model=_optional(model, "model"),
            source_paths=ctypes.cast(paths, ctypes.POINTER(ctypes.c_char_p)), source_path_count=len(sources),
            metric=_number_of("metric", metric, _METRICS), bits=bits, links_per_node=links,
            graph=_number_of("graph", graph, _GRAPHS), adapter=_optional(adapter, "adapter"))
        _call("create_vector_index", self._open_handle(), _encoded(collection, "collection"), ctypes.byref(options))

    def drop_vector_index(self, collection: str, field: str) -> None:
        _call("drop_vector_index", self._open_handle(), _encoded(collection, "collection"), _encoded(field, "field"))

    def tune_vector_index(self, collection: str, field: str, recall: float = 0.95, samples: int = 200) -> Json:
        """Makes the smallest search that reaches this recall@10 the index's own; stored vectors serve as queries."""
        return json.loads(_text("tune_vector_index", self._open_handle(), _encoded(collection, "collection"),
                                _encoded(field, "field"), recall, samples))

    def import_hnswlib(self, collection: str, field: str, path: Union[str, "os.PathLike[str]"], *,
                       metric: Optional[str] = None, ids: Optional[Mapping[int, str]] = None, bits: int = 8,
                       graph: str = "flat", rebuild: bool = False, links: int = 0) -> Json:
        """Takes over an index that hnswlib's save_index() wrote: each label becomes a document with its vector in `field`,
        under the label's own digits or the id that `ids` has for it. `metric` is "cosine", "dot" (hnswlib's "ip") or
        "l2", which the file does not say; it may be left out where the field has an index. The index gets the file's
        graph, unless `rebuild` or an index that is there already: then the vectors are inserted anew."""
        options = _library.HnswlibImportOptions(
            size_bytes=ctypes.sizeof(_library.HnswlibImportOptions), has_metric=int(metric is not None),
            metric=0 if metric is None else _number_of("metric", metric, _METRICS), bits=bits,
            graph=_number_of("graph", graph, _GRAPHS), rebuild=int(rebuild), links_per_node=links)
        if ids is not None:
            labels = (ctypes.c_uint64 * len(ids))(*ids.keys())
            texts = (ctypes.c_char_p * len(ids))(*(_encoded(each, "id") for each in ids.values()))
            options.labels = ctypes.cast(labels, ctypes.POINTER(ctypes.c_uint64))
            options.ids = ctypes.cast(texts, ctypes.POINTER(ctypes.c_char_p))
            options.id_count = len(ids)
        return json.loads(_text("import_hnswlib", self._open_handle(), _encoded(collection, "collection"),
                                _encoded(field, "field"), _encoded(os.fspath(path), "path"), ctypes.byref(options)))

    def create_text_index(self, collection: str, fields: Sequence[str], *, tokenizer: str = "unicode",
                          keep_diacritics: bool = False, prefix_lengths: Sequence[int] = ()) -> None:
        """Full-text search over the fields, asked by SQL: `WHERE notes MATCH 'pump'`."""
        paths = (ctypes.c_char_p * len(fields))(*(_encoded(field, "field") for field in fields))
        lengths = (ctypes.c_uint32 * len(prefix_lengths))(*prefix_lengths)
        options = _library.TextIndexOptions(
            size_bytes=ctypes.sizeof(_library.TextIndexOptions), keep_diacritics=int(keep_diacritics),
            fields=ctypes.cast(paths, ctypes.POINTER(ctypes.c_char_p)), field_count=len(fields),
            tokenizer=_encoded(tokenizer, "tokenizer"),
            prefix_lengths=ctypes.cast(lengths, ctypes.POINTER(ctypes.c_uint32)),
            prefix_length_count=len(prefix_lengths))
        _call("create_text_index", self._open_handle(), _encoded(collection, "collection"), ctypes.byref(options))

    def drop_text_index(self, collection: str) -> None:
        _call("drop_text_index", self._open_handle(), _encoded(collection, "collection"))

    def indexes(self) -> List[Json]:
        return json.loads(_text("list_indexes", self._open_handle()))

    def search(self, collection: str, text: Optional[str] = None, *, vector: Optional[Sequence[float]] = None,
               k: int = 10, where: Optional[str] = None, field: Optional[str] = None) -> List[Hit]:
        """The k nearest to a text or vector that match `where`, a SQL expression. Nearest first."""
        if k < 1:
            raise error_for(3, f"search: k is {k}, expected at least 1")
        request = _library.SearchRequest(size_bytes=ctypes.sizeof(_library.SearchRequest), k=k,
                                         field=_optional(field, "field"), text=_optional(text, "text"),
                                         where=_optional(where, "where"))
        if vector is not None:
            numbers = (ctypes.c_float * len(vector))(*vector)
            request.vector = ctypes.cast(numbers, ctypes.POINTER(ctypes.c_float))
            request.vector_count = len(vector)
        handle = ctypes.c_void_p()
        _call("search", self._open_handle(), _encoded(collection, "collection"), ctypes.byref(request),
              ctypes.byref(handle))
        try:
            hits = []
            for index in range(_lib.foreshore_hits_count(handle)):
                hit = _library.Hit()
                _lib.foreshore_hits_at(handle, index, ctypes.byref(hit))
                body = ctypes.string_at(hit.json, hit.json_bytes)
                hits.append(Hit(hit.id.decode("utf-8"), hit.distance, json.loads(body)))
            return hits
        finally:
            _lib.foreshore_hits_free(handle)

    def wait_embedded(self, timeout: float = 86400.0) -> None:
        """Until no vector is missing or stale; raises Busy after `timeout` seconds."""
        _call("wait_embedded", self._open_handle(), int(timeout * 1000))

    def add_model(self, name: str, path: Union[str, "os.PathLike[str]"], *, quantize: str = "int8",
                  vocabulary: Optional[str] = None, licence: Optional[str] = None,
                  origin: Optional[str] = None) -> Json:
        """Imports an ONNX or GGUF file or a folder with safetensors; returns the model's description."""
        quantizations = {"int8": 0, "none": 1}
        if quantize not in quantizations:
            raise error_for(10, f"quantize {quantize!r}: this version knows {', '.join(quantizations)}")
        options = _library.ModelOptions(
            size_bytes=ctypes.sizeof(_library.ModelOptions), quantization=quantizations[quantize],
            vocabulary_path=_optional(vocabulary, "vocabulary"), licence=_optional(licence, "licence"),
            origin=_optional(origin, "origin"))
        return json.loads(_text("model_add", self._open_handle(), _encoded(name, "model"), _path(path),
                                ctypes.byref(options)))

    def models(self) -> List[Json]:
        return json.loads(_text("list_models", self._open_handle()))

    def remove_model(self, name: str) -> None:
        _call("model_remove", self._open_handle(), _encoded(name, "model"))
        self._runtimes.pop(name, None)

    def embed(self, model: str, text: str) -> List[float]:
        raw = text.encode("utf-8")
        numbers = (ctypes.c_float * 4096)()  # The most dimensions that there are.
        count = ctypes.c_size_t()
        _call("embed", self._open_handle(), _encoded(model, "model"), raw, len(raw), numbers, len(numbers),
              ctypes.byref(count))
        return list(numbers[:count.value])

    def predict(self, model: str, input: Any, adapter: Optional[str] = None) -> Any:
        """With `adapter`, one of the model's, as that makes it."""
        raw = json.dumps(input, ensure_ascii=False).encode("utf-8")
        return json.loads(_text("predict_with_adapter", self._open_handle(), _encoded(model, "model"), raw, len(raw),
                                _optional(adapter, "adapter")))

    def quantize_model(self, name: str, as_name: str, *, method: str = "gptq4", collection: str, path: str,
                       image: Optional[Json] = None, group_size: int = 128, calibration: int = 600,
                       held_out: int = 256, overlap_min: float = 0.9) -> Json:
        """Makes of a text model a smaller one, calibrated and judged on the text at `path` of the collection's documents,
        and of a graph static int8 (`method="int8"`), on the values there as predict() takes them or, with `image`, the
        options of image_tensor() ({} for none), on the attachments called `path`; returns the report. One that keeps less
        than `overlap_min` of the ten nearest, or of the greatest outputs, is not kept: is_activated says so."""
        methods = {"gptq4": 0, "int8": 1, "gptq3": 3, "nf4": 4}
        if method not in methods:
            raise error_for(3, f"method {method!r}: expected one of {', '.join(methods)}")
        options = _library.QuantizeOptions(
            size_bytes=ctypes.sizeof(_library.QuantizeOptions), method=methods[method],
            collection=_encoded(collection, "collection"), path=_encoded(path, "path"), group_size=group_size,
            calibration_count=calibration, held_out_count=held_out, has_overlap_min=1, overlap_min=overlap_min,
            image=None if image is None else json.dumps(image, ensure_ascii=False).encode("utf-8"))
        return json.loads(_text("model_quantize", self._open_handle(), _encoded(name, "model"),
                                _encoded(as_name, "model"), ctypes.byref(options)))

    def add_adapter(self, model: str, name: str, path: Union[str, "os.PathLike[str]"]) -> Json:
        """Adds a LoRA adapter as PEFT saves it, a folder, to a model; returns the model's description."""
        return json.loads(_text("adapter_add", self._open_handle(), _encoded(model, "model"),
                                _encoded(name, "adapter"), _path(path)))

    def remove_adapter(self, model: str, name: str) -> None:
        _call("adapter_remove", self._open_handle(), _encoded(model, "model"), _encoded(name, "adapter"))

    # Sync and care

    def sync(self, url: str, *, token: Optional[str] = None, timeout: float = 30.0,
             progress: Optional[Callable[[Dict[str, int]], Any]] = None) -> Json:
        """Pushes and pulls until both sides are level; returns the report. `progress` gets a dict now and then, and
        returns False to stop; an exception in it stops as well and is raised here."""
        failure: List[BaseException] = []

        def on_progress(pointer: Any, _context: Any) -> int:
            try:
                now = {name: getattr(pointer.contents, name) for name, _ in _library.SyncProgress._fields_}
                return 0 if progress is not None and progress(now) is False else 1
            except BaseException as error:  # Must not pass through C.
                failure.append(error)
                return 0

        callback = _library.SyncCallback(on_progress) if progress is not None else _library.SyncCallback()
        options = _library.SyncOptions(size_bytes=ctypes.sizeof(_library.SyncOptions), timeout_ms=int(timeout * 1000),
                                       url=_encoded(url, "url"), token=_optional(token, "token"), progress=callback)
        try:
            return json.loads(_text("sync_once", self._open_handle(), ctypes.byref(options)))
        except Exception:
            if failure:
                raise failure[0] from None
            raise

    def rescued(self, collection: Optional[str] = None) -> List[Json]:
        """Values that lost against a concurrent write of another device and were kept aside."""
        return json.loads(_text("list_rescued", self._open_handle(), _optional(collection, "collection")))

    def stats(self) -> Json:
        return json.loads(_text("stats", self._open_handle()))

    def verify(self) -> Json:
        """{"document_count", "vector_count", "blob_count", "problems"}; no problems is what one hopes for."""
        return json.loads(_text("verify", self._open_handle()))

    def checkpoint(self) -> None:
        _call("checkpoint", self._open_handle())

    def compact(self) -> None:
        _call("compact", self._open_handle())

    def backup(self, destination: Union[str, "os.PathLike[str]"]) -> None:
        _call("backup", self._open_handle(), _path(destination))


def open(path: Union[str, "os.PathLike[str]"], **options: Any) -> Database:  # noqa: A001
    """Opens a database; see Database for the options."""
    return Database(path, **options)
