"""Calls into the library, values of SQL, and rows."""

import ctypes
import json
import os
from typing import Any, Dict, Optional, Sequence, Union

from . import _library
from .errors import error_for

_lib = _library.load()

Json = Dict[str, Any]
SqlValue = Union[None, bool, int, float, str, bytes]
_INT64_MIN, _INT64_MAX = -2**63, 2**63 - 1


def version() -> str:
    """Of the library."""
    return _lib.foreshore_version().decode()


def _call(name: str, *arguments: Any) -> None:
    error = _library.Error()
    code = getattr(_lib, "foreshore_" + name)(*arguments, ctypes.byref(error))
    if code != 0:
        raise error_for(code, error.message.decode("utf-8", "replace"))


def _taken(pointer: ctypes.c_void_p, size: Optional[int] = None) -> str:
    """The text behind a pointer that the library gave to us, which is freed."""
    try:
        raw = ctypes.string_at(pointer, size) if size is not None else ctypes.string_at(pointer)
        return raw.decode("utf-8")
    finally:
        _lib.foreshore_free(pointer)


def _text(name: str, *arguments: Any) -> str:
    out = ctypes.c_void_p()
    _call(name, *arguments, ctypes.byref(out))
    return _taken(out)


def _encoded(text: str, what: str) -> bytes:
    raw = text.encode("utf-8")
    if b"\0" in raw:
        raise error_for(3, f"{what}: found a NUL character, expected text without one")
    return raw


def _path(path: Any) -> bytes:
    raw = os.fsencode(path)
    if b"\0" in raw:
        raise error_for(3, f"path {path!r}: found a NUL character, expected a path without one")
    return raw


def _optional(text: Optional[str], what: str) -> Optional[bytes]:
    return None if text is None else _encoded(text, what)


def _document_bytes(document: Json) -> bytes:
    # NaN and infinities are no JSON; json would write them all the same.
    try:
        return json.dumps(document, ensure_ascii=False, allow_nan=False, separators=(",", ":")).encode("utf-8")
    except (TypeError, ValueError) as error:
        raise error_for(3, f"document: {error}") from error


def _to_value(value: SqlValue) -> _library.Value:
    out = _library.Value()
    if value is None:
        return out
    if isinstance(value, (bool, int)):
        if not _INT64_MIN <= value <= _INT64_MAX:
            raise error_for(3, f"sql parameter {value}: expected an integer of 64 bits")
        out.type, out.integer = 1, int(value)
    elif isinstance(value, float):
        out.type, out.real = 2, value
    elif isinstance(value, (str, bytes, bytearray, memoryview)):
        raw = value.encode("utf-8") if isinstance(value, str) else bytes(value)
        out.type = 3 if isinstance(value, str) else 4
        out._kept = ctypes.create_string_buffer(raw, len(raw) + 1)  # Lives as long as the struct.
        out.data = ctypes.cast(out._kept, ctypes.c_void_p)
        out.data_bytes = len(raw)
    else:
        raise error_for(3, f"sql parameter of type {type(value).__name__}: expected None, int, float, str or bytes")
    return out


def _from_value(value: _library.Value) -> SqlValue:
    if value.type == 1:
        return value.integer
    if value.type == 2:
        return value.real
    if value.type in (3, 4):
        raw = ctypes.string_at(value.data, value.data_bytes) if value.data else b""
        return raw.decode("utf-8", "replace") if value.type == 3 else raw
    return None


class Row(tuple):
    """A row: a tuple whose values are also found by column name."""

    columns: Sequence[str]

    def __new__(cls, values: Sequence[SqlValue], columns: Sequence[str]) -> "Row":
        row = super().__new__(cls, values)
        row.columns = columns
        return row

    def __getitem__(self, key: Any) -> Any:
        if isinstance(key, str):
            try:
                return super().__getitem__(self.columns.index(key))
            except ValueError:
                raise KeyError(f"column {key!r}: the row has {', '.join(self.columns)}") from None
        return super().__getitem__(key)

    def as_dict(self) -> Dict[str, SqlValue]:
        return dict(zip(self.columns, self))
