"""One exception for each code of the C interface."""

from typing import Dict, Type


class Error(Exception):
    """Something failed. `code` is the C interface's number; the text is one line for people."""

    code = 14

    def __init__(self, message: str, code: int = 14) -> None:
        super().__init__(message)
        self.code = code


class NotFound(Error, KeyError):
    """The named object does not exist."""

    def __str__(self) -> str:  # KeyError shows the repr.
        return str(self.args[0])


class AlreadyExists(Error):
    """The named object exists and must not."""


class InvalidArgument(Error, ValueError):
    """The input is malformed or does not fit the object."""


class Limit(Error):
    """The input is larger than a documented limit."""


class Corruption(Error):
    """Stored or received bytes contradict their format."""


class IoError(Error, OSError):
    """The operating system refused a read, write or sync."""


class NoSpace(IoError):
    """The disk is full; nothing was committed."""


class Busy(Error):
    """Another holder has the object; trying again may succeed."""


class Conflict(Error):
    """The state the caller relied on has changed."""


class Unsupported(Error):
    """Well formed, and not something this build can do."""


class NetworkError(Error):
    """The peer was not reached or went away."""


class Unauthorised(Error):
    """The peer refused the credentials."""


class Cancelled(Error):
    """The caller asked to stop."""


CLASSES: Dict[int, Type[Error]] = {
    1: NotFound, 2: AlreadyExists, 3: InvalidArgument, 4: Limit, 5: Corruption, 6: IoError, 7: NoSpace, 8: Busy,
    9: Conflict, 10: Unsupported, 11: NetworkError, 12: Unauthorised, 13: Cancelled, 14: Error,
}


def error_for(code: int, message: str) -> Error:
    return CLASSES.get(code, Error)(message, code)
