"""The kinds of values that a fleet file's keys hold: how each is read, and said in words."""

from __future__ import annotations

from typing import Annotated, Literal, NamedTuple

from pydantic import PlainValidator

from zygote.fleet import seccomp, targets, values, walls


class Kind(NamedTuple):
    """How a value is written, in words and by example."""

    words: str
    example: str


Text = Annotated[str, PlainValidator(values.text), Kind("text", '"…"')]
Texts = Annotated[tuple[str, ...], PlainValidator(values.texts), Kind("list of text", '["a", "b"]')]
Arguments = Annotated[
    tuple[str, ...], PlainValidator(values.arguments), Kind("list of text", '["-v", "%i"]')
]
Env = Annotated[dict[str, str], PlainValidator(values.env), Kind("table of text", '{ TZ = "UTC" }')]
Folder = Annotated[str, PlainValidator(values.text), Kind("path", '"data"')]
Folders = Annotated[tuple[str, ...], PlainValidator(values.texts), Kind("list of paths", '["lib"]')]
Size = Annotated[int, PlainValidator(values.size), Kind("size", '"8M"')]
SizeLimit = Annotated[
    int | None, PlainValidator(values.size_limit), Kind('size or "infinity"', '"128M"')
]
CountLimit = Annotated[
    int | None, PlainValidator(values.count_limit), Kind('number or "infinity"', "32")
]
Seconds = Annotated[float, PlainValidator(values.seconds), Kind("time", '"200ms"')]
SecondsAboveZero = Annotated[
    float, PlainValidator(values.seconds_above_zero), Kind("time", '"30s"')
]
SecondsLimit = Annotated[
    float | None, PlainValidator(values.seconds_limit), Kind('time or "infinity"', '"30s"')
]
Cpus = Annotated[
    float | None, PlainValidator(values.cpus), Kind('CPUs, percent or "infinity"', '0.5 or "50%"')
]
Umask = Annotated[int, PlainValidator(values.umask), Kind("octal text", '"0027"')]
SignalName = Annotated[str, PlainValidator(values.signal_name), Kind("signal", '"SIGINT"')]
Affinity = Annotated[
    tuple[int, ...], PlainValidator(values.affinity), Kind("CPU numbers", '[0, 2] or "0-3"')
]
Rlimits = Annotated[
    dict[str, tuple[int, int]],
    PlainValidator(values.rlimits),
    Kind("table of limits", "{ nofile = 1024, core = [0, 0] }"),
]
Account = Annotated[str, PlainValidator(values.account), Kind("name or number", '"www-data"')]
Accounts = Annotated[
    tuple[str, ...], PlainValidator(values.accounts), Kind("list of names", '["adm"]')
]
Capabilities = Annotated[
    tuple[str, ...], PlainValidator(values.capabilities), Kind("list of names", '["CAP_NET_RAW"]')
]
Seccomp = Annotated[
    tuple[str, ...],
    PlainValidator(seccomp.words),
    Kind("list of calls and @groups", '["@basic-io", "@network-io"]'),
]
Families = Annotated[
    tuple[str, ...], PlainValidator(seccomp.families), Kind("list of names", '["AF_UNIX"]')
]
Landlock = Annotated[
    dict[str, tuple[str, ...]],
    PlainValidator(walls.landlock),
    Kind("table of lists", '{ read = ["/srv"], write = ["data/"], connect = [443] }'),
]
Credentials = Annotated[
    dict[str, str],
    PlainValidator(walls.credentials),
    Kind("table of paths", '{ api-key = "/etc/shop/key" }'),
]
Control = Annotated[Literal["all", "read", "none"], Kind('"all", "read" or "none"', '"none"')]
Walls = Annotated[Literal["require", "report"], Kind('"require" or "report"', '"report"')]
Modules = Annotated[
    tuple[str, ...], PlainValidator(targets.modules), Kind("list of modules", '["app.floor"]')
]
Functions = Annotated[
    tuple[str, ...],
    PlainValidator(targets.functions),
    Kind("list of functions", '["app.floor:warm"]'),
]
Run = Annotated[
    tuple[str, str], PlainValidator(targets.run), Kind("module, function or file", '"app.web:main"')
]
Isolation = Annotated[
    str, PlainValidator(values.isolation), Kind('"none", "class:NAME" or "exec"', '"exec"')
]
Flag = Annotated[bool, Kind("true or false", "true")]
Readiness = Annotated[Literal["simple", "notify"], Kind('"simple" or "notify"', '"notify"')]
Restart = Annotated[
    Literal["no", "on-failure", "always"], Kind('"no", "on-failure" or "always"', '"always"')
]
