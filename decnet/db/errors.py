"""What can be wrong with the database, in classes that a worker can tell apart."""

from __future__ import annotations

from zygote.errors import ZygoteError

EXIT_NO_DATABASE = 66
EXIT_STORAGE = 75
MIGRATE = "decnetctl migrate"


class DatabaseError(ZygoteError):
    """Base of all of them."""


class NotMigrated(DatabaseError):
    """The database is missing, older or newer than this program. Not to be retried."""

    def __init__(self, message: str, hint: str) -> None:
        super().__init__(message, code="not-migrated", hint=hint, exit_code=EXIT_NO_DATABASE)


class StorageError(DatabaseError):
    """The transaction did not happen, and the same one may work later: wait and retry."""


class StorageFull(StorageError):
    """No room for the transaction."""

    def __init__(self, detail: str) -> None:
        # SQLite reports some writes that found no room as plain I/O errors.
        trouble = "is full" if "full" in detail else "is full or failing"
        super().__init__(
            f"the database's disk {trouble} ({detail})",
            code="storage-full",
            hint="make room; nothing is lost, the worker goes on where it was",
            exit_code=EXIT_STORAGE,
        )


class StorageBusy(StorageError):
    """Others held the write lock for too long."""

    def __init__(self, seconds: float, detail: str) -> None:
        super().__init__(
            f"the database was locked for {seconds:.0f} s ({detail})",
            code="storage-busy",
            hint="look for a process that holds a write transaction open",
            exit_code=EXIT_STORAGE,
        )
