"""Traits of a session: how somebody types, thinks, comes and goes. Pure.

Each trait ("primitive") is a function from what is known of the session to a value and how much
it is to be believed, or None where the session says nothing of it. Words are for people and for
comparison between sessions; a SimHash compares by its distance.
"""

from __future__ import annotations

import hashlib
import itertools
import math
import re
import statistics
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from decnet.analysis.phases import EXECUTION, EXFILTRATION, RECON, TOOLING, phases_of
from decnet.analysis.recording import Keys
from decnet.analysis.strokes import Strokes, variation

Value = str | int | float | bool
Found = tuple[Value, float] | None
GAPS_LEAST = 10
PAIRS_LEAST = 30
"""Digraphs below which a SimHash is chance."""
_APART = re.compile(r"&&|\|\||[;|&\n]")
_BRANCH = re.compile(r"&&|\|\||\b(if|for|while|case)\b")
_QUIET = re.compile(r"2>\s*/dev/null|&>\s*/dev/null|\|\|\s*(true|:)")
_CLEANUP = re.compile(
    r"\bhistory\s+-[cw]|\bHISTFILE\b|\bHISTSIZE=0|\.bash_history|\bshred\b|"
    r"\brm\b.*/var/log|>\s*/var/log/|\btruncate\b.*/var/log|\bunlink\b.*\.log"
)
_ESCALATE = re.compile(r"(^|[;|&]\s*)(sudo|su|doas|pkexec)\b")


@dataclass(frozen=True)
class Session:
    """What is known of a session. `times` are seconds of each command since the first one."""

    commands: Sequence[str]
    times: Sequence[float]
    duration_s: float
    keys: Keys | None = None
    strokes: Strokes | None = None


@dataclass(frozen=True)
class Trait:
    """One trait that was found."""

    primitive: str
    value: Value
    confidence: float


def traits_of(session: Session) -> list[Trait]:
    """All that can be said, in a fixed order."""
    traits = []
    for primitive, find in PRIMITIVES.items():
        found = find(session)
        if found is not None:
            value, confidence = found
            value = round(value, 6) if isinstance(value, float) else value
            traits.append(Trait(primitive, value, round(min(1.0, confidence), 3)))
    return traits


def _modality(s: Session) -> Found:
    if s.keys is None or s.strokes is None:
        return None
    if s.keys.command is not None or (not s.keys.term and s.keys.inputs):
        return "scripted", 0.95
    strokes = s.strokes
    if not strokes.printable:
        return None
    share = strokes.pasted / strokes.printable
    word = "pasted" if share >= 0.8 else "typed" if share <= 0.2 else "mixed"
    if word == "typed" and len(strokes.gaps) >= GAPS_LEAST and variation(strokes.gaps) < 0.05:
        # Keys like a metronome's: a program that pretends.
        return "scripted", 0.7
    return word, _trust(strokes.printable, 40)


def _paste_bursts(s: Session) -> Found:
    if s.strokes is None or not s.strokes.keys:
        return None
    return s.strokes.bursts, _trust(s.strokes.keys, 20)


def _cadence(s: Session) -> Found:
    gaps = s.strokes.gaps if s.strokes else []
    return (statistics.median(gaps), _trust(len(gaps), 80)) if len(gaps) >= GAPS_LEAST else None


def _stability(s: Session) -> Found:
    gaps = s.strokes.gaps if s.strokes else []
    return (variation(gaps), _trust(len(gaps), 80)) if len(gaps) >= GAPS_LEAST else None


def _corrections(s: Session) -> Found:
    if s.strokes is None or s.strokes.printable < GAPS_LEAST:
        return None
    return s.strokes.erased / s.strokes.printable, _trust(s.strokes.printable, 80)


def _tabs(s: Session) -> Found:
    if s.strokes is None or not s.strokes.lines:
        return None
    return s.strokes.tabs / len(s.strokes.lines), _trust(len(s.strokes.lines), 8)


def _shortcuts(s: Session) -> Found:
    if s.strokes is None or not s.strokes.lines:
        return None
    used = {**s.strokes.shortcuts, **s.strokes.arrows}
    names = " ".join(sorted(used, key=lambda name: (-used[name], name))[:4])
    return names or "none", _trust(len(s.strokes.lines), 8)


def _pipes(s: Session) -> Found:
    depth = max((text.replace("||", "").count("|") for text in s.commands), default=None)
    return None if depth is None else (depth, _trust(len(s.commands), 5))


def _simhash(s: Session) -> Found:
    pairs = s.strokes.pairs if s.strokes else {}
    count = sum(map(len, pairs.values()))
    if count < PAIRS_LEAST:
        return None
    sums = [0] * 64
    for (first, second), gaps in pairs.items():
        # A gap by its octave: hands differ by more than a network's jitter.
        octave = round(math.log2(statistics.median(gaps) * 1000 + 1))
        text = f"{first}{second}{octave}".encode("utf-8", "surrogatepass")
        digest = int.from_bytes(hashlib.blake2b(text, digest_size=8).digest(), "big")
        for bit in range(64):
            sums[bit] += len(gaps) if digest >> bit & 1 else -len(gaps)
    value = sum(1 << bit for bit in range(64) if sums[bit] > 0)
    return f"{value:016x}", _trust(count, 300)


def _latency(s: Session) -> Found:
    gaps = [b - a for a, b in itertools.pairwise(s.times)]
    return (statistics.median(gaps), _trust(len(gaps), 8)) if gaps else None


def _branching(s: Session) -> Found:
    if not s.commands:
        return None
    count = sum(bool(_BRANCH.search(text)) for text in s.commands)
    return count / len(s.commands), _trust(len(s.commands), 8)


def _planning(s: Session) -> Found:
    if not s.commands:
        return None
    return statistics.fmean(len(programs(c)) for c in s.commands), _trust(len(s.commands), 8)


def _vocabulary(s: Session) -> Found:
    words = {name for text in s.commands for name in programs(text)}
    return (len(words), _trust(len(s.commands), 8)) if words else None


def _errors(s: Session) -> Found:
    if not s.commands:
        return None
    count = sum(bool(_QUIET.search(text)) for text in s.commands)
    return count / len(s.commands), _trust(len(s.commands), 8)


def _duration(s: Session) -> Found:
    return float(s.duration_s), 1.0


def _landing(s: Session) -> Found:
    first = [name for text in s.commands[:5] for name in programs(text)[:3]][:3]
    return (" ".join(first), _trust(len(first), 3)) if first else None


def _escalation(s: Session) -> Found:
    if not s.commands:
        return None
    return any(_ESCALATE.search(text) for text in s.commands), _trust(len(s.commands), 5)


def _leaving(s: Session) -> Found:
    last = programs(s.commands[-1])[-1:] if s.commands else []
    if last and last[0] in ("exit", "logout"):
        return last[0], 0.95
    if s.keys is None or s.keys.cut:
        return None
    if s.strokes and "ctrl-d" in s.strokes.shortcuts and s.keys.ended:
        return "ctrl-d", 0.9
    return ("done", 0.9) if s.keys.command is not None else ("dropped", 0.6)


def _terminal(s: Session) -> Found:
    return (s.keys.term or "none", 0.9) if s.keys is not None else None


def _multiplexer(s: Session) -> Found:
    if s.keys is None or not s.keys.term:
        return None
    name = s.keys.term.partition("-")[0].partition(".")[0]
    return name if name in ("screen", "tmux") else "none", 0.7


def _objective(s: Session) -> Found:
    counts = dict.fromkeys((EXFILTRATION, TOOLING, EXECUTION, RECON), 0)
    for text in s.commands:
        for phase in phases_of("command", {"command": text}):
            counts[phase] += 1
    # Who takes or brings something came for that, however long he looked around before.
    best = next((phase for phase in (EXFILTRATION, TOOLING) if counts[phase]), None)
    best = best or max(counts, key=lambda phase: counts[phase])
    return (best, _trust(len(s.commands), 8)) if counts[best] else None


def _cleanup(s: Session) -> Found:
    if not s.commands:
        return None
    return any(_CLEANUP.search(text) for text in s.commands), _trust(len(s.commands), 3)


PRIMITIVES: dict[str, Callable[[Session], Found]] = {
    "motor.input_modality": _modality,
    "motor.paste_bursts": _paste_bursts,
    "motor.cadence_s": _cadence,
    "motor.cadence_variation": _stability,
    "motor.error_correction": _corrections,
    "motor.tab_completion": _tabs,
    "motor.shortcuts": _shortcuts,
    "motor.pipe_depth": _pipes,
    "motor.digraph_simhash": _simhash,
    "cognitive.inter_command_latency_s": _latency,
    "cognitive.branching": _branching,
    "cognitive.planning_depth": _planning,
    "cognitive.vocabulary": _vocabulary,
    "cognitive.error_handling": _errors,
    "temporal.duration_s": _duration,
    "temporal.landing_ritual": _landing,
    "temporal.escalation": _escalation,
    "temporal.exit": _leaving,
    "environment.terminal": _terminal,
    "environment.multiplexer": _multiplexer,
    "operational.objective": _objective,
    "operational.cleanup": _cleanup,
}


def programs(text: str) -> list[str]:
    """The programs that a line calls, without their folders, each cut to 32 characters."""
    names = []
    for piece in _APART.split(text[:4096])[:32]:
        words = [w for w in piece.split(None, 6)[:6] if "=" not in w and w != "sudo"]
        if words:
            names.append(words[0].strip("'\"(){}").rpartition("/")[2][:32])
    return [name for name in names if name]


def _trust(count: int, plenty: int) -> float:
    """From 0.3 for one sample to 0.95 for plenty of them."""
    return 0.3 + 0.65 * min(1.0, count / plenty)
