"""Live queries: the result of a statement, followed."""

import collections
import ctypes
import threading
import traceback
from typing import TYPE_CHECKING, Callable, Deque, Iterator, List, NamedTuple, Optional, Sequence

from . import _library
from .errors import Error, error_for
from .rows import Row, SqlValue, _call, _from_value, _lib, _to_value

if TYPE_CHECKING:
    from .database import Database

_KINDS = {1: "inserted", 2: "updated", 3: "removed"}


class RowChange(NamedTuple):
    """`kind` is "inserted", "updated" or "removed"; positions and rows that do not apply are None."""

    kind: str
    old_position: Optional[int]
    new_position: Optional[int]
    old_row: Optional[Row]
    new_row: Optional[Row]


class Changes(NamedTuple):
    """What differs from the delivery before; the first one holds the whole result, as insertions. `rows` is the result
    now, and `sequence` the place in the change log up to which it tells. With `error` the subscription has ended."""

    is_first: bool
    sequence: int
    changes: List[RowChange]
    rows: List[Row]
    error: Optional[Error] = None


# Pointers of subscriptions that were closed from inside their own callback: C still returns through them.
_closed_inside: list = []


class Subscription:
    """Made by db.subscribe(). Without a callback, iterate over it or call wait(). It goes on until close(), or until the
    database closes."""

    def __init__(self, database: "Database", sql: str, parameters: Sequence[SqlValue],
                 callback: Optional[Callable[[Changes], None]], interval: float, row_limit: int) -> None:
        self._database = database
        self._handle: Optional[ctypes.c_void_p] = None
        self._rows: List[Row] = []
        self._runner: Optional[int] = None  # The thread that runs the callback.
        self._ready = threading.Condition()
        self._is_ready = False
        self._told: Deque[Changes] = collections.deque()
        self._user_callback = callback
        # The library keeps these pointers: they live as long as the subscription.
        self._callback = _library.ChangesCallback(self._on_changes)
        self._notify = _library.NotifyCallback(self._on_notify) if callback is None else _library.NotifyCallback()
        options = _library.SubscribeOptions(size_bytes=ctypes.sizeof(_library.SubscribeOptions),
                                            interval_ms_min=int(interval * 1000), row_count_max=row_limit,
                                            notify=self._notify)
        values = (_library.Value * len(parameters))(*[_to_value(value) for value in parameters])
        raw = sql.encode("utf-8")
        handle = ctypes.c_void_p()
        _call("subscribe", database._open_handle(), raw, len(raw), values, len(parameters), ctypes.byref(options),
              self._callback, ctypes.byref(handle))
        self._handle = handle
        database._subscriptions.add(self)

    def _on_notify(self, _context: Optional[int]) -> None:
        with self._ready:
            self._is_ready = True
            self._ready.notify_all()

    def _on_changes(self, pointer: int, _context: Optional[int]) -> None:
        self._runner = threading.get_ident()
        try:
            try:
                changes = self._read(pointer)
            except Error as error:
                changes = Changes(False, _lib.foreshore_changes_sequence(pointer), [], self._rows, error)
            if self._user_callback is not None:
                self._user_callback(changes)
            else:
                self._told.append(changes)
        except BaseException:  # Must not pass through C, and nobody else hears of it.
            traceback.print_exc()
        finally:
            self._runner = None

    def _read(self, pointer: int) -> Changes:
        _call("changes_status", pointer)
        columns = [_lib.foreshore_changes_column_name(pointer, column).decode()
                   for column in range(_lib.foreshore_changes_column_count(pointer))]

        def row(index: int, is_old: bool) -> Row:
            values = []
            for column in range(len(columns)):
                value = _library.Value()
                # An old row may have had fewer columns, where "*" has come to mean more.
                if _lib.foreshore_changes_value(pointer, index, int(is_old), column, ctypes.byref(value)) != 0:
                    break
                values.append(_from_value(value))
            return Row(values, columns)

        changes = []
        for index in range(_lib.foreshore_changes_count(pointer)):
            change = _library.RowChange()
            _lib.foreshore_changes_at(pointer, index, ctypes.byref(change))
            kind = _KINDS[change.kind]
            has_old, has_new = kind != "inserted", kind != "removed"
            changes.append(RowChange(kind, change.old_position if has_old else None,
                                     change.new_position if has_new else None, row(index, True) if has_old else None,
                                     row(index, False) if has_new else None))
        gone = {change.old_position for change in changes if change.old_position is not None}
        rows = [kept for position, kept in enumerate(self._rows) if position not in gone]
        for change in changes:
            if change.new_row is not None:
                rows.insert(change.new_position, change.new_row)
        self._rows = rows
        return Changes(bool(_lib.foreshore_changes_is_first(pointer)), _lib.foreshore_changes_sequence(pointer), changes,
                       list(rows))

    @property
    def active(self) -> bool:
        return self._handle is not None and bool(_lib.foreshore_subscription_active(self._handle))

    def wait(self, timeout: Optional[float] = None) -> Optional[Changes]:
        """The next delivery; None after `timeout` seconds, and once the subscription was closed. Raises what ended it,
        such as Limit."""
        while True:
            if self._told:
                changes = self._told.popleft()
                if changes.error is None:
                    return changes
                self.close()
                raise changes.error
            with self._ready:
                if not self._ready.wait_for(lambda: self._is_ready or self._handle is None, timeout):
                    return None
                self._is_ready = False
            if self._handle is None:
                return None
            _lib.foreshore_subscription_dispatch(self._handle)

    def __iter__(self) -> Iterator[Changes]:
        if self._user_callback is not None:
            raise error_for(3, "subscription: has a callback, expected none where it is iterated")
        while True:
            changes = self.wait()
            if changes is None:
                return
            yield changes

    def close(self) -> None:
        """No callback begins after this; one that runs on another thread is waited for."""
        handle, self._handle = self._handle, None
        self._database._subscriptions.discard(self)
        if handle is not None:
            if self._runner == threading.get_ident():
                _closed_inside.append(self._callback)
            _lib.foreshore_subscription_free(handle)
        with self._ready:
            self._ready.notify_all()

    def __enter__(self) -> "Subscription":
        return self

    def __exit__(self, kind: object, value: object, trace: object) -> None:
        self.close()
