"""Models that the application runs itself: a Python function in the place of the library's own inference."""

import ctypes
import json
import threading
from typing import Any, Callable, Dict, List, Optional, Sequence

from . import _library
from .errors import Error, error_for
from .rows import Json, _call, _encoded, _text

_inside = threading.local()  # .depth: how many callbacks this thread is in.


def inside_callback() -> bool:
    return getattr(_inside, "depth", 0) > 0


def _flatten(value: Any, out: List[float]) -> None:
    if isinstance(value, (str, bytes)):
        raise TypeError(f"found {type(value).__name__} among the output, expected numbers")
    try:
        items = iter(value)
    except TypeError:
        out.append(float(value))
        return
    for item in items:
        _flatten(item, out)


def _numbers(result: Any, count: int) -> Any:
    """The output as `count` C floats: from anything with floats in a buffer (NumPy), or nested sequences."""
    try:
        view = memoryview(result)
    except TypeError:
        view = None
    if view is not None and view.format in ("f", "<f", "@f") and view.c_contiguous:
        flat = view.cast("B")
        if flat.nbytes != count * 4:
            raise ValueError(f"made {flat.nbytes // 4} numbers, expected {count}")
        return flat
    numbers: List[float] = []
    _flatten(result, numbers)
    if len(numbers) != count:
        raise ValueError(f"made {len(numbers)} numbers, expected {count}")
    return memoryview((ctypes.c_float * count)(*numbers)).cast("B")


class RuntimesMixin:
    """What a Database does with models that the application runs."""

    _runtimes: Dict[str, Any]

    def register_runtime(self, name: str, callback: Callable[[Any], Any], *, version: str, dimension: int = 0,
                         input_shape: Sequence[int] = (), output_shape: Sequence[int] = (), batch: int = 256,
                         concurrent: bool = False) -> Json:
        """Makes `callback` what runs the model of that name: in predict(), predict_batch, embed(), fields that it fills.

        With `dimension` it embeds texts: the callback gets a list of str and returns that many floats for each. Else it
        gets a memoryview of float32 of shape (rows, *input_shape), good during the call only (numpy.asarray reads it in
        place), and returns (rows, *output_shape): an array of float32, or nested sequences of numbers. Each row's
        numbers must depend on that row alone. Another `version` is another model; see foreshore/c_runtime.h for what is
        stored, for threads, and for what a callback may do. An exception fails the statement that asked. Returns the
        model's description."""
        inputs = (ctypes.c_int64 * len(input_shape))(*input_shape)
        outputs = (ctypes.c_int64 * len(output_shape))(*output_shape)
        options = _library.RuntimeOptions(
            size_bytes=ctypes.sizeof(_library.RuntimeOptions), dimension=dimension,
            version=_encoded(version, "version"), input_shape=inputs, output_shape=outputs,
            input_rank=len(input_shape), output_rank=len(output_shape), row_count_max=batch,
            is_concurrent=concurrent)

        def run(pointer: Any, output: int, output_count: int, error: Any, _context: Any) -> int:
            _inside.depth = getattr(_inside, "depth", 0) + 1
            view: Optional[memoryview] = None
            try:
                given = pointer.contents
                rows = given.row_count
                if given.texts:
                    argument: Any = [ctypes.string_at(given.texts[row], given.text_bytes[row]).decode("utf-8", "replace")
                                     for row in range(rows)]
                else:
                    floats = (ctypes.c_float * given.value_count).from_address(
                        ctypes.cast(given.values, ctypes.c_void_p).value)
                    view = memoryview(floats).cast("B").cast("f", (rows, *input_shape)).toreadonly()
                    argument = view
                made = _numbers(callback(argument), output_count)
                ctypes.memmove(output, bytes(made), made.nbytes)
                return 0
            except BaseException as failure:  # Must not pass through C.
                text = str(failure) if isinstance(failure, Error) else f"{type(failure).__name__}: {failure}"
                raw = text.encode("utf-8", "replace")[:1019]
                error.contents.message = raw.replace(b"\0", b" ").decode("utf-8", "ignore").encode("utf-8")
                return failure.code if isinstance(failure, Error) else 14
            finally:
                _inside.depth -= 1

        function = _library.RuntimeCallback(run)
        described = json.loads(_text("runtime_register", self._open_handle(), _encoded(name, "model"),
                                     ctypes.byref(options), function, None))
        self._runtimes[name] = function  # No call of the earlier one runs any more.
        return described

    def unregister_runtime(self, name: str) -> None:
        """Waits for calls that run; the model's row stays."""
        _call("runtime_unregister", self._open_handle(), _encoded(name, "model"))
        self._runtimes.pop(name, None)

    def _refuse_inside_callback(self, what: str) -> None:
        if inside_callback():
            raise error_for(9, f"database: {what} inside a runtime's callback, which may only read")
