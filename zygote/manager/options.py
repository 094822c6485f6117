"""What the manager's command line said."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Options:
    """What the command line said.

    Attributes:
        runtime_dir: "" leaves it to the fleet file.
        spawn_path: auto, clone3, clone or fork.
        ready_fd: gets one line of JSON when the start-up is decided; -1: nobody asked.
        log: where workers' output goes: "file" or "journal".
        resume: descriptor of the state of the manager that this process was before; -1: none.
    """

    fleet: str
    runtime_dir: str = ""
    spawn_path: str = "auto"
    ready_fd: int = -1
    log: str = "file"
    resume: int = -1

    def words(self) -> list[str]:
        """As a command line, without what holds for one process alone."""
        given = [("--fleet", self.fleet), ("--runtime-dir", self.runtime_dir),
                 ("--spawn-path", self.spawn_path), ("--log", self.log)]  # fmt: skip
        return [word for pair in given if pair[1] for word in pair]
