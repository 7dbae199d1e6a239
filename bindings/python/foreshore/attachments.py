"""Attachments: content of any size that belongs to a document, in and out as file objects."""

import ctypes
import io
import json
from typing import Any, BinaryIO, Dict, List, Union

from . import _library
from .errors import error_for
from .rows import _call, _encoded, _lib, _taken, _text


class Attachment(io.RawIOBase):
    """An open attachment, read and sought like a file. Every byte is checked; damage raises Corruption."""

    def __init__(self, handle: ctypes.c_void_p) -> None:
        super().__init__()
        self._handle, self._position = handle, 0
        self.size = _lib.foreshore_attachment_size(handle)

    def readable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return True

    def seek(self, offset: int, whence: int = io.SEEK_SET) -> int:
        base = {io.SEEK_SET: 0, io.SEEK_CUR: self._position, io.SEEK_END: self.size}[whence]
        if base + offset < 0:
            raise ValueError(f"attachment: seek to {base + offset}, expected 0 or more")
        self._position = base + offset
        return self._position

    def tell(self) -> int:
        return self._position

    def readinto(self, buffer: Any) -> int:
        if self.closed:
            raise ValueError("attachment: is closed")
        view = memoryview(buffer).cast("B")
        if not view:
            return 0
        target = (ctypes.c_char * len(view)).from_buffer(view)
        count, error = ctypes.c_size_t(), _library.Error()
        code = _lib.foreshore_attachment_read(self._handle, self._position, target, len(view),
                                                   ctypes.byref(count), ctypes.byref(error))
        if code != 0:
            raise error_for(code, error.message.decode("utf-8", "replace"))
        self._position += count.value
        return count.value

    def close(self) -> None:
        if not self.closed:
            _lib.foreshore_attachment_free(self._handle)
        super().close()


class AttachmentsMixin:
    """What a Database does with attachments."""

    def put_attachment(self, collection: str, id: str, name: str, content: Union[bytes, BinaryIO],
                       content_type: str = "") -> Dict[str, Any]:
        """Attaches bytes, or what a binary file object gives, to a document that exists. Streams."""
        file = content if hasattr(content, "read") else io.BytesIO(content)
        failure: List[BaseException] = []

        def read(_context: Any, buffer: int, capacity: int) -> int:
            try:
                piece = file.read(capacity) or b""
                ctypes.memmove(buffer, piece, len(piece))
                return len(piece)
            except BaseException as error:  # It must not pass through C; it is raised below.
                failure.append(error)
                return -1

        out = ctypes.c_void_p()
        try:
            _call("attachment_put", self._open_handle(), _encoded(collection, "collection"), _encoded(id, "id"),
                  _encoded(name, "name"), _encoded(content_type, "content_type"), _library.ReadCallback(read), None,
                  ctypes.byref(out))
        except Exception:
            if failure:
                raise failure[0] from None
            raise
        return json.loads(_taken(out))

    def open_attachment(self, collection: str, id: str, name: str) -> Attachment:
        """A file object. Raises NotFound also where the content has not arrived by sync yet."""
        handle = ctypes.c_void_p()
        _call("attachment_open", self._open_handle(), _encoded(collection, "collection"), _encoded(id, "id"),
              _encoded(name, "name"), ctypes.byref(handle))
        return Attachment(handle)

    def attachments(self, collection: str, id: str) -> List[Dict[str, Any]]:
        return json.loads(_text("list_attachments", self._open_handle(), _encoded(collection, "collection"),
                                _encoded(id, "id")))

    def remove_attachment(self, collection: str, id: str, name: str) -> None:
        _call("attachment_remove", self._open_handle(), _encoded(collection, "collection"), _encoded(id, "id"),
              _encoded(name, "name"))
