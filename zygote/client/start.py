"""Start a manager as a process of its own and learn how its start-up ends."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

from zygote.errors import ZygoteError

LOG_NAME = "manager.log"
"""In the runtime folder: what the manager itself says, one line an event."""

_LOG_MAX_BYTES = 8 * 1024 * 1024


class Starting:
    """A manager that was started.

    Attributes:
        process: of the manager. It outlives us if we end first.
        answer_fd: one line of JSON comes when the start-up is decided (`read_answer`).
        output: what the manager writes to stdout and stderr; may be read from `began` on.
    """

    def __init__(
        self, process: subprocess.Popen[bytes], answer_fd: int, output: int, began: int
    ) -> None:
        self.process = process
        self.answer_fd = answer_fd
        self._output = output
        self._began = began

    def read_answer(self, line: bytes) -> tuple[dict[str, Any], list[tuple[ZygoteError, str]]]:
        """What the manager said: its answer if it runs, else each error with its traceback."""
        try:
            said = json.loads(line)
        except ValueError:
            return {}, [(self._silent(), "")]
        if said.get("ok"):
            return said, []
        found = [
            (ZygoteError.from_dict(parts), str(parts.get("traceback") or ""))
            for parts in said.get("errors", [])
        ]
        return {}, found or [(self._silent(), "")]

    def close(self) -> None:
        """Close what is ours; the manager goes on. Idempotent."""
        for name in ("answer_fd", "_output"):
            fd = getattr(self, name)
            if fd >= 0:
                os.close(fd)
                setattr(self, name, -1)

    def _silent(self) -> ZygoteError:
        """It ended without an answer: its last words are all there is."""
        size = os.fstat(self._output).st_size
        words = os.pread(self._output, 4000, max(self._began, size - 4000))
        text = words.decode(errors="replace").strip()
        code = self.process.poll()
        how = f"signal {-code}" if code is not None and code < 0 else f"exit code {code}"
        return ZygoteError(
            f"the manager ended before it was ready ({how})" + (f":\n{text}" if text else ""),
            code="manager-died",
            hint="this is a fault of the manager: please report it with these lines",
        )


def start_manager(fleet: Path, runtime_dir: Path | None, *, detach: bool) -> Starting:
    """Start `python -m zygote.manager` on a fleet file.

    Args:
        runtime_dir: also where its log goes; None: the manager finds out, and its output is kept
            in memory only.
        detach: in a session of its own, for a life without us; else in a process group of its own,
            so that Ctrl-C reaches us alone and we stop it in order.
    """
    arguments = [sys.executable, "-P", "-m", "zygote.manager", "--fleet", str(fleet)]
    if runtime_dir:
        arguments += ["--runtime-dir", str(runtime_dir)]
    output = _open_log(runtime_dir)
    answer, theirs = os.pipe2(os.O_CLOEXEC)
    try:
        process = subprocess.Popen(
            [*arguments, "--ready-fd", str(theirs)],
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=output,
            pass_fds=(theirs,),
            start_new_session=detach,
            process_group=None if detach else 0,
        )
    except BaseException:
        os.close(answer)
        os.close(output)
        raise
    finally:
        os.close(theirs)
    return Starting(process, answer, output, os.fstat(output).st_size)


def _open_log(runtime_dir: Path | None) -> int:
    """The manager's log to append to; a file in memory where there cannot be one.

    The manager checks its folder itself, and says what is wrong with it: here no fault is told.
    """
    flags = os.O_RDWR | os.O_APPEND | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC
    if runtime_dir is not None:
        try:
            runtime_dir.parent.mkdir(mode=0o711, parents=True, exist_ok=True)
            if not os.path.lexists(runtime_dir):
                runtime_dir.mkdir(mode=0o711)
                runtime_dir.chmod(0o711)
            if runtime_dir.lstat().st_uid == os.geteuid() and not runtime_dir.is_symlink():
                path = runtime_dir / LOG_NAME
                if path.exists() and path.stat().st_size > _LOG_MAX_BYTES:
                    path.replace(path.with_name(f"{LOG_NAME}.1"))
                return os.open(path, flags, 0o600)
        except OSError:
            pass
    return os.memfd_create("manager-output")
