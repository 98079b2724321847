"""A file that is seen under its name when it is whole, and not before: what a sink that leaves files needs."""

from __future__ import annotations

import hashlib
import os
import stat
from typing import BinaryIO

from .fault import Fault
from .stage import Context, Receipt, Resource

UNFINISHED = ".partial"


def _says(error: OSError) -> str:
    return f"the file cannot be delivered: {error.strerror}"


def _hint(error: OSError) -> str:
    return "make the folder first" if isinstance(error, FileNotFoundError) else ""


class File:
    """A file of this run in a folder, which is given with its whole path. Its name begins with the run's id, and ends with ending.

    The host knows of the file before it is there: when this process is killed, another one is asked to undo.
    """

    def __init__(self, context: Context, folder: str, ending: str) -> None:
        if not os.path.isabs(folder):
            raise Fault("file.folder", "usage", "expected the whole path of a folder")
        self.path = os.path.join(folder, context.run_id + ending)
        self._partial = self.path + UNFINISHED
        self._hash, self._size = hashlib.sha256(), 0
        self._file: BinaryIO | None = None
        self._release = context.announce(Resource("the unfinished file " + self._partial, "remove the file", self._partial.encode()))
        try:
            self._file = os.fdopen(os.open(self._partial, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "wb")
        except OSError as e:
            self._release()
            raise Fault("file.open", "sink", _says(e), hint=_hint(e)) from None

    def write(self, data: bytes) -> None:
        assert self._file
        try:
            self._file.write(data)
        except OSError as e:
            raise Fault("file.write", "sink", _says(e), hint=_hint(e)) from None
        self._hash.update(data)
        self._size += len(data)

    def commit(self) -> Receipt:
        """Makes the file appear, whole and on the disk."""
        assert self._file
        try:
            self._file.flush()
            os.fsync(self._file.fileno())
            os.rename(self._partial, self.path)
        except OSError as e:
            raise Fault("file.commit", "sink", _says(e), hint=_hint(e)) from None
        self._file.close()
        self._file = None
        self._release()
        return Receipt(self._size, self._hash.hexdigest(), self.path)

    def abort(self) -> None:
        """Removes all traces; a second time, and after commit, it does nothing."""
        if self._file is None:
            return
        try:
            os.remove(self._partial)
            self._file.close()
        except OSError as e:
            raise Fault("file.abort", "sink", _says(e), hint=_hint(e)) from None
        self._file = None
        self._release()

    @staticmethod
    def undo(folder: str, resource: Resource, run_id: str) -> None:
        """Removes the file of a run whose process was killed, for the undo of a sink. It believes nothing of what it is given: only a
        file of that run in this folder goes."""
        where, name = os.path.split(os.fsdecode(resource.state))
        if not run_id or os.path.normpath(where) != os.path.normpath(folder) or not name.startswith(run_id) or \
                not name.endswith(UNFINISHED):
            raise Fault("undo.foreign", "plugin", f"what was announced is no unfinished file of run {run_id!r}")
        try:
            at = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
        except OSError as e:
            raise Fault("file.undo", "sink", _says(e), hint=_hint(e)) from None
        try:
            if not stat.S_ISREG(os.stat(name, dir_fd=at, follow_symlinks=False).st_mode):
                raise Fault("undo.foreign", "plugin", "what was announced is no file")
            os.remove(name, dir_fd=at)
        except FileNotFoundError:
            pass  # somebody has ended it
        except OSError as e:
            raise Fault("file.undo", "sink", _says(e), hint=_hint(e)) from None
        finally:
            os.close(at)
