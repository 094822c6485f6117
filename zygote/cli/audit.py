"""`zygotectl audit`: may a process that has imported this be forked?"""

from __future__ import annotations

import json
import shutil
import sys
from collections.abc import Iterable
from pathlib import Path
from typing import Annotated, Any

from cyclopts import Parameter

from zygote.audit.rules import RULES, TABLE
from zygote.cli import render, report
from zygote.cli.context import current
from zygote.cli.options import Json
from zygote.cli.probing import Limits, Target, probe
from zygote.cli.progress import Progress
from zygote.cli.text import clean
from zygote.errors import Exit, ZygoteError
from zygote.fleet.load import check as check_file
from zygote.fleet.words import did_you_mean, listed
from zygote.units import format_seconds, parse_seconds


def audit(
    modules: Annotated[
        list[str],
        Parameter(
            show_default=False, help="What to import. Default: each zygote of the fleet file."
        ),
    ] = [],  # noqa: B006
    /,
    *,
    warm: Annotated[
        list[str],
        Parameter(show_default=False, help="A function to call then, module:function; repeatable."),
    ] = [],  # noqa: B006
    allow: Annotated[
        list[str],
        Parameter(show_default=False, help="RULE=REASON: accept what a rule finds; repeatable."),
    ] = [],  # noqa: B006
    python: Annotated[
        str | None, Parameter(help="Another interpreter, which need not have this package.")
    ] = None,
    cwd: Annotated[
        Path | None, Parameter(help="The folder to be in; first on sys.path, as python -m has it.")
    ] = None,
    timeout: Annotated[str, Parameter(help="For imports and warm-ups: 30s, 5min.")] = "2min",
    fork_patience: Annotated[
        str, Parameter(help="For a copy to come out of the fork hooks.")
    ] = "10s",
    as_json: Json = False,
) -> int:
    """Tell whether a process that has imported these modules may be forked.

    They are imported by a fresh interpreter, which ends; each thing found is
    blamed on the innermost module whose import made it. Works for any
    program, with or without a fleet: `help fork-safety`.

    The exit code is 1 if something is found that a bake would refuse;
    warnings do not count.
    """
    for name in modules:
        if "/" in name or name.endswith(".py"):
            module = name.removeprefix("./").removesuffix(".py").replace("/", ".")
            raise _usage(f"{name} is a file, not a module", f"as python -m names it: {module}")
    if not modules and (warm or allow or python or cwd):
        hint = f"{current.program} audit MODULE…; without one, the fleet file says all of it"
        raise _usage("--warm, --allow, --python and --cwd are for modules that are named", hint)
    targets = _of_fleet() if not modules else [
        Target(modules, warm, python=_interpreter(python), cwd=_folder(cwd), allow=_reasons(allow))
    ]  # fmt: skip
    limits = Limits(parse_seconds(timeout), parse_seconds(fork_patience))
    results = [_one(target, limits, as_json) for target in targets]
    refused = any(_refused(result) for result in results)
    if as_json:
        sys.stdout.write(json.dumps(_as_json(results, refused)) + "\n")
    else:
        for number, result in enumerate(results):
            sys.stdout.write("\n" * bool(number))
            _show(result)
    return Exit.FAILED if refused else Exit.DONE


def _one(target: Target, limits: Limits, quiet: bool) -> dict[str, Any]:
    name = target.name or " ".join(target.modules)
    with Progress(f"audit of {name}", quiet=quiet) as progress:
        try:
            result = probe(target, limits, lambda line: progress.show([line]))
        except ZygoteError as error:
            if trace := getattr(error, "traceback", ""):
                sys.stderr.write(report.indented(trace))
            error.message = f"cannot audit {name}: {error.message}"
            raise
    for finding in result["findings"]:
        finding["allowed"] = target.allow.get(finding["rule"], "")
    return {"name": name, "zygote": target.name, **result}


def _of_fleet() -> list[Target]:
    """Each zygote of the fleet file in use, as it would be baked."""
    path = current.fleet_file()
    fleet, errors = check_file(path)
    if fleet is None:
        raise errors[0]
    return [
        Target(
            list(spec.preload), list(spec.warm), python=spec.python, cwd=spec.cwd, name=spec.name,
            path=list(spec.path), env=spec.env, allow=spec.allow,
        )
        for spec in fleet.zygotes.values()
    ]  # fmt: skip


def _reasons(allow: list[str]) -> dict[str, str]:
    reasons = {}
    for each in allow:
        rule, equals, reason = each.partition("=")
        if rule not in RULES:
            hint = did_you_mean(rule, RULES, f"one of {listed(RULES)}")
            raise _usage(f"--allow {each}: the audit has no such rule", hint)
        if not equals or not reason.strip():
            hint = f'--allow {rule}="why this is safe"'
            raise _usage(f"--allow {each}: a reason is wanted", hint)
        reasons[rule] = reason.strip()
    return reasons


def _interpreter(python: str | None) -> str:
    found = shutil.which(python) if python else ""
    if found is None:
        raise _usage(f"--python {python}: no such interpreter", "a path, or a name in PATH")
    return found


def _folder(cwd: Path | None) -> str:
    if cwd and not cwd.is_dir():
        raise _usage(f"--cwd {cwd}: no such folder", "the folder that the program is started in")
    return str(cwd.absolute()) if cwd else ""


def _usage(message: str, hint: str) -> ZygoteError:
    return ZygoteError(message, code="usage", hint=hint, exit_code=Exit.USAGE)


def _refused(result: dict[str, Any]) -> list[dict[str, Any]]:
    return [f for f in result["findings"] if f["severity"] == "refuse" and not f["allowed"]]


def _as_json(results: list[dict[str, Any]], refused: bool) -> dict[str, Any]:
    findings = [
        {"zygote": result["zygote"], **finding}
        for result in results
        for finding in result["findings"]
    ]
    return {
        "ok": not refused,
        "audited": [{key: result[key] for key in _KEYS} for result in results],
        "findings": findings,
    }


_KEYS = ("name", "zygote", "python", "modules", "seconds", "rss")


def _show(result: dict[str, Any]) -> None:
    refused = _refused(result)
    allowed = [f for f in result["findings"] if f["allowed"]]
    warned = [f for f in result["findings"] if f not in refused and f not in allowed]
    took = format_seconds(result["seconds"])
    verdict = f"{len(refused)} refused" if refused else "may be forked"
    counts = "".join(
        f", {len(some)} {word}{'s' * (len(some) > 1 and word == 'warning')}"
        for some, word in ((warned, "warning"), (allowed, "allowed"))
        if some
    )
    render.heading(
        f"{result['name']}: {verdict}{counts} ({result['modules']} modules, "
        f"{result['rss'] / 1e6:.1f} MB, {took})",
        "bold red" if refused else "bold green",
    )
    for word, style, some in (
        ("refused", "red", refused), ("warning", "yellow", warned), ("allowed", "dim", allowed),
    ):  # fmt: skip
        for rule in RULES:
            _show_rule(word, style, rule, [each for each in some if each["rule"] == rule])


def _show_rule(word: str, style: str, rule: str, findings: list[dict[str, Any]]) -> None:
    if not findings:
        return
    sys.stdout.write("\n")
    render.heading(f"{word}: {rule} ({TABLE[rule].title})", style)
    for finding in findings:
        blame = f"{finding['module']}: " if finding["module"] else ""
        place = f" ({finding['place']})" if finding["place"] else ""
        _line(f"  {blame}{finding['what']}{place}", "")
    for label, key in (("why", "why"), ("instead", "remedy"), ("allowed", "allowed")):
        for text in _distinct(finding[key] for finding in findings):
            _line(f"    {label}: {text}", "dim")


def _line(text: str, style: str) -> None:
    render.heading(clean(text), style)


def _distinct(texts: Iterable[str]) -> list[str]:
    return [text for text in dict.fromkeys(texts) if text]
