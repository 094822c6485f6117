"""Whatever happens to a unit, in whatever order, some things stay true."""

from __future__ import annotations

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from tests.support.clock import FakeClock
from tests.support.specs import worker_spec
from zygote.manager.policy import End
from zygote.manager.unit import LIVE, Do, State, Unit

ENDS = st.sampled_from(
    [End("exited", 0), End("exited", 1), End("signalled", 9), End("signalled", 15),
     End("oom_killed"), End("unknown")]
)  # fmt: skip


class Life(RuleBasedStateMachine):
    """Plays the driver: holds a process and a spawn as the unit's `Do`s ask for them."""

    @initialize(
        restart=st.sampled_from(["no", "on-failure", "always"]),
        kind=st.sampled_from(["simple", "notify"]),
        watchdog=st.sampled_from([None, 3.0]),
        limit=st.integers(0, 4),
    )
    def begin(self, restart: str, kind: str, watchdog: float | None, limit: int) -> None:
        self.clock = FakeClock()
        spec = worker_spec(restart=restart, type=kind, watchdog=watchdog, start_limit=limit)
        self.unit = Unit(spec, self.clock.clock, lambda: 0.5)
        self.spawning = self.sent = self.process = False
        self.killed = False

    def obey(self, do: Do) -> None:
        if do is Do.SPAWN:
            assert not self.spawning, "two spawns at once"
            assert not self.process, "a second process beside the first"
            self.spawning, self.sent, self.killed = True, False, False
        elif do is Do.CANCEL or (do is Do.KILL and self.spawning):
            assert self.spawning, "nothing to cancel"
            self.spawning = False
            self.obey(self.unit.start_failed("given up", transient=True))
        elif do in (Do.STOP, Do.ABORT, Do.KILL):
            assert self.process, f"{do} for no process"
            self.killed = self.killed or do is Do.KILL

    @rule()
    def start(self) -> None:
        self.obey(self.unit.start())

    @rule()
    def stop(self) -> None:
        self.obey(self.unit.stop())
        assert not self.unit.wanted

    @precondition(lambda self: self.spawning and not self.sent)
    @rule()
    def send(self) -> None:
        self.sent = True
        self.unit.sent()

    @precondition(lambda self: self.spawning and self.sent)
    @rule()
    def come_up(self) -> None:
        self.spawning, self.process = False, True
        self.obey(self.unit.up(42, 1.0))

    @precondition(lambda self: self.spawning)
    @rule(transient=st.booleans())
    def fail_to_start(self, transient: bool) -> None:
        self.spawning = False
        self.obey(self.unit.start_failed("no", transient=transient))

    @precondition(lambda self: self.process)
    @rule(end=ENDS)
    def end(self, end: End) -> None:
        self.process = False
        self.obey(self.unit.ended(end))

    @rule()
    def recycle(self) -> None:
        before = self.unit.recycles
        do = self.unit.recycle()
        self.obey(do)
        assert self.unit.recycles - before == (do is Do.STOP)

    @rule()
    def say_ready(self) -> None:
        self.unit.said_ready()

    @rule()
    def say_alive(self) -> None:
        self.unit.alive()

    @rule(seconds=st.floats(0, 400))
    def wait(self, seconds: float) -> None:
        self.clock.go(seconds)
        self.obey(self.unit.timed_out())

    @invariant()
    def holds(self) -> None:
        if not hasattr(self, "unit"):
            return
        unit, state = self.unit, self.unit.state
        assert (state in LIVE) == (self.spawning or self.process)
        if self.process:
            assert state in (State.UP, State.READY, State.STOPPING)
            assert unit.pid == 42
        if state is State.BACKOFF:
            assert unit.deadline is not None
            assert unit.wanted
            assert unit.error
        if state is State.STOPPING:
            assert unit.deadline is not None, "a stop that nobody will ever enforce"
        if state is State.UP:
            assert unit.deadline is not None, "a start that may take for ever"
        if state is State.FAILED:
            assert unit.error
        if state in (State.INACTIVE, State.FAILED):
            assert unit.pid is None
            assert not unit.wanted
        if unit.spec.start_limit:
            assert len(unit.policy._times) <= unit.spec.start_limit


TestLife = Life.TestCase
TestLife.settings = settings(max_examples=60, stateful_step_count=40, deadline=None)
