"""The life of one worker as a state machine. Pure: it decides, `worker.py` does.

    inactive ── start ─> starting ── up ──> up ── READY=1 ──> ready ── stop ─> stopping ─> inactive
                             ▲                │ ended            │ ended
                             │                ▼                  ▼
                             └── in time ── backoff  (or failed, or inactive: see policy.py)

`unknown` is a worker found at the manager's start whose process is gone without a trace.

Each method is one thing that happened; what the driver is to do about it is the `Do` it returns.
`deadline` is the one moment (monotonic) at which `timed_out` is due. What others should hear is
queued in `told`, as (event, detail). A simple worker is ready when it is up; a worker of type
"notify" when it says so.
"""

from __future__ import annotations

from zygote.manager.life import LIVE, Clock, Do, Life, State
from zygote.manager.policy import End

__all__ = ["LIVE", "Clock", "Do", "State", "Unit"]


class Unit(Life):
    """One worker: each method is one thing that happened, or that somebody asks for.

    Its attributes are those of `Life`.
    """

    # What somebody asks for

    def start(self) -> Do:
        """Somebody wants it to run. A running one is left as it is."""
        self.wanted, self.dismissed = True, False
        if self.state is State.STOPPING:
            self._again = True
            return Do.NOTHING
        if self.state in LIVE:
            return Do.NOTHING
        self.policy.forget()
        return self._begin()

    def stop(self) -> Do:
        """Somebody wants it to end, and to stay ended."""
        self.wanted = self._again = False
        self.dismissed = True
        if self.state is State.STOPPING:
            return Do.NOTHING
        if self.state not in LIVE:
            if self.state is not State.INACTIVE:
                self._blame("")
                self._move(State.INACTIVE)
            return Do.NOTHING
        starting = self.state is State.STARTING
        self._verdict = ""
        self._move(State.STOPPING)
        self.deadline = self.clock.monotonic() + self.spec.stop_grace
        return Do.CANCEL if starting else Do.STOP

    def recycle(self, *, moves: bool = False) -> Do:
        """Its budget is spent: it ends and another starts. One that is not ready is left.

        Args:
            moves: not for that, but for another generation to take over.
        """
        if self.state is not State.READY or self._verdict:
            return Do.NOTHING
        self.recycles += not moves
        self._again = True
        self._move(State.STOPPING, "to be moved" if moves else "to be recycled")
        self.deadline = self.clock.monotonic() + self.spec.stop_grace
        return Do.STOP

    def succeed(self, *, moves: bool = False) -> Do:
        """The same, but its process lives on, as somebody else's affair, beside its successor."""
        if self.state is not State.READY or self._verdict:
            return Do.NOTHING
        self._counted = not moves
        self.recycles += self._counted
        self._forget_process()
        return self._begin()

    # What happens to it

    def roll_back(self, pid: int, started_at: float | None, reason: str) -> None:
        """Its successor came to nothing: it is what runs, as before."""
        self.recycles -= self._counted
        reason = self._verdict or reason
        self._forget_process()
        self._blame("")
        self.pid, self.started_at = pid, started_at
        self._move(State.READY, f"rolled back: {reason}")
        self._ready_at = self.clock.monotonic()
        self._feed()

    @property
    def verdict(self) -> str:
        """Why we are about to end its process, if we are."""
        return self._verdict

    def sent(self) -> None:
        """The spawn request is on its way: from here `start_timeout` counts."""
        if self.state is State.STARTING:
            self._sent_at = self.clock.monotonic()
            self.deadline = self._sent_at + self.spec.start_timeout

    def up(self, pid: int, spawn_ms: float) -> Do:
        """The process is about to run the worker's code."""
        self.pid, self.spawn_ms, self.started_at = pid, spawn_ms, self.clock.wall()
        if self.state is not State.STARTING:
            return Do.STOP if self.state is State.STOPPING else Do.KILL
        self.adopted = False
        self._move(State.UP, f"after={spawn_ms / 1e3:.4f}s")
        self.deadline = self._sent_at + self.spec.start_timeout
        if self.spec.type == "simple":
            self._become_ready(spawn_ms)
        return Do.NOTHING

    def adopt(self, pid: int, started_at: float, *, ready: bool, restarts: int) -> None:
        """A process that an earlier manager started, alive and ours by pid, start and boot."""
        self.pid, self.started_at, self.restarts = pid, started_at, restarts
        self.wanted = self.adopted = True
        now = self.clock.monotonic()
        self._sent_at = now
        age = max(0.0, self.clock.wall() - started_at)
        self.state = State.READY if ready else State.UP
        self.since = self.clock.wall()
        if ready:
            self._ready_at = now - age
            self._feed()
        else:
            self.deadline = now + self.spec.start_timeout
        self.told.append(("adopted", f"age={age:.0f}s state={self.state}"))

    def displace(self, pid: int, started_at: float, *, again: bool) -> Do:
        """One that an earlier manager started is ours, but cannot be taken over: it is to end.

        Args:
            again: another is to be started after it.
        """
        self.pid, self.started_at = pid, started_at
        self.wanted = self._again = again
        self._move(State.STOPPING, "it cannot be taken over")
        self.deadline = self.clock.monotonic() + self.spec.stop_grace
        return Do.STOP

    def lost(self, restarts: int) -> Do:
        """A process that an earlier manager started is gone, and nobody knows how it ended."""
        self.wanted, self.restarts = True, restarts
        self.state = State.UNKNOWN
        return self.ended(End("unknown"))

    def said_ready(self) -> None:
        """READY=1 came. Said again, or by a simple worker, it changes nothing."""
        if self.state is State.UP:
            self._become_ready((self.clock.monotonic() - self._sent_at) * 1e3)

    def said_status(self, text: str) -> None:
        """STATUS= came."""
        if text != self.status:
            self.status = text
            self.told.append(("status", text))

    def alive(self) -> None:
        """WATCHDOG=1 came."""
        if self.state is State.READY and not self._verdict:
            self._feed()

    def excuse(self) -> bool:
        """It could not be heard for a while: its time to be ready, or to give a sign, begins anew.

        False where no such time runs.
        """
        runs = self.state in (State.STARTING, State.UP, State.READY)
        if self._verdict or not runs or self.deadline is None:
            return False
        ready = self.state is State.READY
        limit = (self.spec.watchdog or 0.0) if ready else self.spec.start_timeout
        self.deadline = self.clock.monotonic() + limit
        return True

    def extend(self, seconds: float) -> None:
        """EXTEND_TIMEOUT_USEC= came: the start, or the stop, may take so long from now."""
        if self.state in (State.UP, State.STOPPING) and self.deadline is not None:
            self.deadline = max(self.deadline, self.clock.monotonic() + seconds)

    def ended(self, end: End) -> Do:
        """Its main process is gone, and so is the rest of it."""
        now = self.clock.monotonic()
        if self._verdict == "watchdog" and self.state is not State.STOPPING:
            end = End("watchdog_expired")
        was, verdict, ready_at = self.state, self._verdict, self._ready_at
        if was not in LIVE and was is not State.UNKNOWN:
            return Do.NOTHING  # what was given up on before has ended at last
        self.last_end, self.last_end_at = end, self.clock.wall()
        self.told.append(("ended", end.story))
        self._forget_process()
        if was is State.STOPPING:
            return self._stopped()
        failed = not end.clean or was is not State.READY
        reason = end.story if was is State.READY or end.kind == "unknown" else ""
        if not reason:
            reason = f"{end.story} before it was ready"
        hint = ""
        if verdict and verdict != "watchdog":
            reason = verdict
            hint = (
                'with type = "notify" it must call zygote.notify.ready() (READY=1); its last '
                f"words: zygotectl logs {self.spec.name}"
            )
        up_for = 0.0 if ready_at is None else now - ready_at
        return self._decide(failed, up_for, now, reason, hint)

    def start_failed(
        self, error: str, *, hint: str = "", transient: bool = False, code: str = "failed",
        step: str = "", errno: int = 0,
    ) -> Do:  # fmt: skip
        """The attempt came to nothing, and nothing of it is left.

        Args:
            transient: trying again may help (no memory, no processes left): the policy decides.
        """
        was = self.state
        self._forget_process()
        if was is State.STOPPING:
            return self._stopped()
        if not transient:
            self.failures += 1
            self.wanted = False
            self._fail(error, hint, code, step, errno)
            return Do.NOTHING
        do = self._decide(True, 0.0, self.clock.monotonic(), error, hint)
        self.code, self.step, self.errno = code, step, errno
        return do

    def broke(self, error: str) -> Do:
        """The manager itself failed in handling this worker: it pays alone, the others go on."""
        self.wanted = self._again = False
        self._forget_process()
        self._fail(f"internal error: {error}", "please report it, with the manager's output")
        return Do.KILL

    def timed_out(self) -> Do:
        """`deadline` has come."""
        now = self.clock.monotonic()
        if self.deadline is None or now < self.deadline:
            return Do.NOTHING
        self.deadline = None
        if self.state is State.BACKOFF:
            self.restarts += 1
            return self._begin()
        if self.state is State.STOPPING:
            # Again and again: a process in an uninterruptible sleep dies later, or a fork escaped.
            self.deadline = now + max(self.spec.stop_grace, 1.0)
            self.told.append(("killing", f"still there after stop_grace={self.spec.stop_grace:g}s"))
            return Do.KILL
        if self.state is State.STARTING:
            return Do.CANCEL
        if self.state is State.UP and self.adopted:
            # It may have said so while there was no manager to hear it: no reason to kill it.
            self._become_ready((now - self._sent_at) * 1e3, "taken for ready: it was adopted")
            return Do.NOTHING
        self.deadline = now + max(self.spec.stop_grace, 1.0)
        if self.state is State.READY and not self._verdict:
            self._verdict = "watchdog"
            self.told.append(("watchdog-expired", f"no sign of life for {self.spec.watchdog:g}s"))
            return Do.ABORT
        if self.state is State.UP and not self._verdict:
            self._verdict = f"not ready within {self.spec.start_timeout:g} s (start_timeout)"
            self.told.append(("start-timeout", self._verdict))
        return Do.KILL

    # Inside

    def _decide(self, failed: bool, up_for: float, now: float, reason: str, hint: str = "") -> Do:
        decision = self.policy.decide(failed=failed, up_for=up_for, now=now)
        hint = hint or f"its last words: zygotectl logs {self.spec.name}"
        self.failures += failed
        if decision.delay is None:
            self.wanted = False
            if failed:
                why = f"{reason}; {decision.reason}" if decision.gave_up else reason
                self._fail(why, decision.hint or hint)
            else:
                self._move(State.INACTIVE)
            return Do.NOTHING
        if decision.delay == 0:
            self.restarts += 1
            do = self._begin()
            if failed:
                self._blame(reason, hint)
            return do
        self._blame(reason, hint)
        self.next_start_at = self.clock.wall() + decision.delay
        self._move(State.BACKOFF, f"next start in {decision.delay:.2f}s: {reason}")
        self.deadline = now + decision.delay
        return Do.NOTHING
