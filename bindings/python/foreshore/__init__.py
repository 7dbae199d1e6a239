"""Foreshore: an embedded database for documents, vectors and models, that works offline and syncs.

    import foreshore

    with foreshore.open("plant.foreshore", create=True) as db:
        db.create_collection("notes")
        db.put("notes", "n1", {"text": "pump overheating", "site": "A"})
        for row in db.sql("SELECT id, text FROM notes WHERE site = ?", "A"):
            print(row["id"], row["text"])

Documents are dicts. Everything that fails raises foreshore.Error, whose `code` tells the kind and whose text names the
object, what was found and what was expected. A Database may be used from any thread; a Transaction and the rows of a
statement from one at a time.
"""

from .attachments import Attachment
from .database import Connection, Database, Document, Hit, Rows, Transaction, open
from .errors import (AlreadyExists, Busy, Cancelled, Conflict, Corruption, Error, InvalidArgument, IoError, Limit,
                     NetworkError, NoSpace, NotFound, Unauthorised, Unsupported)
from .live import Changes, RowChange, Subscription
from .rows import Row, version

__all__ = ["Attachment", "Changes", "Connection", "Database", "Document", "Hit", "Row", "RowChange", "Rows",
           "Subscription",
           "Transaction", "open", "version", "AlreadyExists", "Busy", "Cancelled", "Conflict", "Corruption", "Error",
           "InvalidArgument", "IoError", "Limit", "NetworkError", "NoSpace", "NotFound", "Unauthorised", "Unsupported"]
