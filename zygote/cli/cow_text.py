"""What `cow` shows: a summary that is understood in ten seconds, then the objects."""

from __future__ import annotations

import functools
import sys
import time
from collections.abc import Mapping
from typing import Any

from zygote.cli import render
from zygote.cli.render import Column
from zygote.cli.text import clean
from zygote.inspect import causes
from zygote.inspect.report import Found, Key, Report, Size, advise, changes, label, summed
from zygote.units import format_seconds

Line = tuple[str, Size, str]


def _figure(kib: float) -> str:
    return f"{kib * 1024 / 1e6:.2f}"


def _signed(kib: float) -> str:
    return f"{kib * 1024 / 1e6:+.2f}"


def show(report: Report, top: int) -> None:
    """One process."""
    _head(report)
    _causes(report.found, report.private_kib)
    _advice(report.rows)
    _objects(report.objects()[:top])
    render.lines([("note", note, "yellow") for note in report.notes])


def _head(report: Report) -> None:
    private = report.private_kib
    named = f"{report.attributed_kib / private:.0%} of it named" if private else ""
    total = render.megabytes(report.rss_kib)
    render.heading(f"{report.subject}: {render.megabytes(private)} MB private of {total} MB")
    render.lines([
        ("compared with", report.parent, ""),
        ("named", named, ""),
        ("page tables", f"{render.megabytes(report.pagetables_kib)} MB, not in the figures below",
         "dim"),
        ("swapped out", f"{render.megabytes(report.swapped_kib)} MB, not looked at"
         if report.swapped_kib else "", "yellow"),
    ])  # fmt: skip


def _causes(found: Found, private: float) -> None:
    table = [
        Column("MB", lambda line: _figure(line[1].kib), right=True),
        Column("%", lambda line: f"{line[1].kib / private:.0%}" if private else "", right=True),
        Column("ALONE", lambda line: _figure(line[1].alone_kib), right=True, drop=1),
        Column("CAUSE", lambda line: line[0]),
        Column("WHAT IT IS", lambda line: line[2], drop=2, plain="WHAT_IT_IS"),
    ]
    lines: list[Line] = [
        (cause, size, causes.CAUSES[cause].meaning) for cause, size in found.causes()
    ]
    sys.stdout.write("\n")
    render.show(table, lines)


def _advice(rows: Mapping[Key, Size]) -> None:
    found = advise(rows)
    if not found:
        return
    sys.stdout.write("\n")
    render.heading("what would help")
    render.lines([
        (f"{_figure(advice.kib)} MB", f"{advice.cause}{': ' if advice.what else ''}{advice.what}"
         f"\n{advice.remedy}", "")
        for advice in found
    ])  # fmt: skip


def _objects(rows: list[tuple[Key, Size]]) -> None:
    table = [
        Column("MB", lambda row: _figure(row[1].kib), right=True),
        Column("ALONE", lambda row: _figure(row[1].alone_kib), right=True, drop=2),
        Column("CAUSE", lambda row: row[0].cause),
        Column("WHERE", lambda row: row[0].mapping, drop=3),
        Column("OBJECT", lambda row: clean(label(row[0]))),
    ]
    sys.stdout.write("\n")
    render.show(table, rows)


def show_changes(before: Report, after: Report, top: int) -> None:
    """What has changed between two moments."""
    grown = after.private_kib - before.private_kib
    since = format_seconds(max(0.0, after.at - before.at))
    render.heading(f"{after.subject}: {_signed(grown)} MB private in {since}")
    same = before.pid == after.pid
    again = "" if same else f"it was pid {before.pid} then, it is {after.pid} now"
    render.lines([
        ("then", f"{render.megabytes(before.private_kib)} MB, "
         f"{time.strftime('%Y-%m-%d %H:%M:%S', time.localtime(before.at))}", ""),
        ("now", f"{render.megabytes(after.private_kib)} MB", ""),
        ("restarted", again, "yellow"),
    ])  # fmt: skip
    found = changes(before.rows, after.rows)
    columns = [
        Column("MB", lambda line: _signed(line[1].kib), right=True),
        Column("CAUSE", lambda line: line[0]),
    ]
    by_cause = sorted(summed(found, lambda key: key.cause), key=lambda line: -abs(line[1].kib))
    sys.stdout.write("\n")
    render.show(columns, by_cause)
    columns = [
        Column("MB", lambda row: _signed(row[1].kib), right=True),
        Column("CAUSE", lambda row: row[0].cause),
        Column("OBJECT", lambda row: clean(label(row[0]))),
    ]
    sys.stdout.write("\n")
    render.show(columns, sorted(found.items(), key=lambda row: -abs(row[1].kib))[:top])


def changes_as_dict(before: Report, after: Report, top: int | None) -> dict[str, Any]:
    """The same for --json."""
    found = changes(before.rows, after.rows)
    rows = sorted(found.items(), key=lambda row: -abs(row[1].kib))
    return {
        "at": before.at,
        "pid": before.pid,
        "private_kib": round(after.private_kib - before.private_kib, 2),
        "causes": [
            {"cause": cause, "kib": round(size.kib, 2)}
            for cause, size in summed(found, lambda key: key.cause)
        ],
        "objects": [{**key._asdict(), "kib": round(size.kib, 2)} for key, size in rows[:top]],
    }


def show_fleet(reports: list[Report], top: int) -> None:
    """All workers: the sum, what would help most, and each one's share."""
    found = _together(reports)
    rows = found.rows
    private = sum(size.kib for size in rows.values())
    named = sum(report.attributed_kib for report in reports)
    render.heading(f"{len(reports)} workers: {render.megabytes(private)} MB private")
    render.lines([("named", f"{named / private:.0%}" if private else "", "")])
    _causes(found, private)
    _advice(rows)
    columns = [
        Column("WORKER", lambda report: report.subject),
        Column("MB", lambda report: _figure(report.private_kib), right=True),
        *(
            Column(short, functools.partial(_of, cause), right=True, drop=number)
            for number, (short, cause) in enumerate(_SHOWN)
        ),
    ]
    sys.stdout.write("\n")
    render.show(columns, sorted(reports, key=lambda report: -report.private_kib))
    _objects(sorted(rows.items(), key=lambda row: -row[1].kib)[:top])
    notes = dict.fromkeys(note for report in reports for note in report.notes)
    render.lines([("note", note, "yellow") for note in notes])


def fleet_as_dict(reports: list[Report], top: int | None) -> dict[str, Any]:
    """The same for --json."""
    pagetables = sum(report.pagetables_kib for report in reports)
    whole = Report("fleet", 0, "", _together(reports), pagetables)
    found = whole.as_dict(top)
    for name in ("pid", "compared_with", "at", "subject", "rss_kib"):
        del found[name]
    found["workers"] = [
        {
            "worker": report.subject, "pid": report.pid,
            "private_kib": round(report.private_kib, 2),
            "attributed_kib": round(report.attributed_kib, 2),
            "causes": [
                {"cause": cause, "kib": round(size.kib, 2)} for cause, size in report.causes()
            ],
            "notes": report.notes,
        }
        for report in reports
    ]  # fmt: skip
    return found


_SHOWN = (
    ("FRESH", causes.FRESH),
    ("INLINE", causes.INLINE),
    ("WRITTEN", causes.WRITTEN),
    ("SAME", causes.SAME),
    ("HOLE", causes.HOLE),
    ("COUNT", causes.REFCOUNT),
    ("CACHE", causes.CACHE),
    ("GC", causes.GC_HEADER),
)


def _of(cause: str, report: Report) -> str:
    return _figure(sum(size.kib for key, size in report.rows.items() if key.cause == cause))


def _together(reports: list[Report]) -> Found:
    total = Found()
    for report in reports:
        total.add(report.found)
    return total
