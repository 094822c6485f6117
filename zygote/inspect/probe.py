"""The measured side of `zygotectl floor`: imports what it is told to, and nothing for itself.

Its text is run as `python -c TEXT IN OUT` in a fresh interpreter, which need not be ours and finds
nothing of ours on its path, or in a clone of a zygote. It uses only modules that every interpreter
has loaded by then, and is told its memory by nobody: who asks reads /proc from outside, while this
process waits.

IN and OUT are descriptors. Each request is a line, VERB NAME…; each answer a line, the repr of a
tuple: (verb, …), or ("error", type, text, traceback).

    import NAME…   ("import", seconds, modules loaded, sources compiled)
    blame NAME…    ("blame", [(module, imported by, KiB with and without what it imported itself,
                   seconds with and without)…]), in the order in which they began
    search NAME    ("search",) after having looked for a module that there is not
    grow NAME…     ("grow", seconds, modules that this import added)
    modules        ("modules", address of sys.modules, where the letters of a str begin, names)
"""

import os
import sys
import time

_compiled: list[str] = []
_PAGE_KIB = os.sysconf("SC_PAGE_SIZE") // 1024


def main() -> None:
    """Answer requests until IN ends."""
    reader, writer = int(sys.argv[1]), int(sys.argv[2])
    del sys.argv[1:]
    if writer == 1:  # what a module prints at its import is not for the one who asks
        writer = os.dup(1)
        os.dup2(2, 1)
    _count_compilations()
    _say(writer, ("ready",))
    rest = b""
    while True:
        more = os.read(reader, 65536)
        if not more:
            return
        *lines, rest = (rest + more).split(b"\n")
        for line in lines:
            verb, *names = line.decode().split()
            try:
                answer = _VERBS[verb](names)
            except BaseException as error:
                answer = _failed(error)
            _say(writer, answer)


def _import(names: list[str]) -> tuple[object, ...]:
    began = time.perf_counter()
    for name in names:
        __import__(name)
    return ("import", time.perf_counter() - began, len(sys.modules), list(_compiled))


def _grow(names: list[str]) -> tuple[object, ...]:
    before, began = len(sys.modules), time.perf_counter()
    for name in names:
        __import__(name)
    # In the order of their insertion; what an import took out again is not missed here.
    return ("grow", time.perf_counter() - began, list(sys.modules)[before:])


def _search(names: list[str]) -> tuple[object, ...]:
    try:
        __import__(names[0])
    except ImportError:
        pass
    return ("search",)


def _modules(_names: list[str]) -> tuple[object, ...]:
    return ("modules", id(sys.modules), sys.getsizeof("") - 1, list(sys.modules))


class _Import:
    """One under way, and what the imports inside it have taken so far."""

    def __init__(self, module: str) -> None:
        self.module = module
        self.kib = 0
        self.seconds = 0.0


def _blame(names: list[str]) -> tuple[object, ...]:
    """Import with an eye on each module, nested imports told apart from their importers.

    All imports that do not find their module in sys.modules pass through one function of the
    import system. RSS is read from statm, which takes microseconds (smaps takes milliseconds).
    """
    machinery = vars(sys.modules["_frozen_importlib"])
    real = machinery["_load_unlocked"]
    statm = os.open("/proc/self/statm", os.O_RDONLY)
    found: list[tuple[object, ...]] = []
    under_way: list[_Import] = []
    spent = 0.0

    def resident() -> int:
        nonlocal spent
        began = time.perf_counter()
        pages = int(os.pread(statm, 128, 0).split()[1])
        spent += time.perf_counter() - began
        return pages * _PAGE_KIB

    def load(spec):  # type: ignore[no-untyped-def]
        place = len(found)
        found.append(())
        importer = under_way[-1].module if under_way else ""
        nested = _Import(spec.name)
        under_way.append(nested)
        kib = resident()
        spent_before, began = spent, time.perf_counter()
        try:
            return real(spec)
        finally:
            seconds = time.perf_counter() - began - (spent - spent_before)
            kib = resident() - kib
            under_way.pop()
            if under_way:
                under_way[-1].kib += kib
                under_way[-1].seconds += seconds
            own = (kib - nested.kib, seconds - nested.seconds)
            found[place] = (spec.name, importer, kib, own[0], seconds, own[1])

    machinery["_load_unlocked"] = load
    try:
        for name in names:
            __import__(name)
    finally:
        machinery["_load_unlocked"] = real
        os.close(statm)
    return ("blame", found)


def _count_compilations() -> None:
    """Note each source that had no valid bytecode: it falsifies time and memory."""
    loader = vars(sys.modules["_frozen_importlib_external"])["SourceLoader"]
    real = loader.source_to_code

    def source_to_code(self, data, path, *more, **named):  # type: ignore[no-untyped-def]
        _compiled.append(str(path))
        return real(self, data, path, *more, **named)

    loader.source_to_code = source_to_code


def _failed(error: BaseException) -> tuple[object, ...]:
    import traceback  # this measurement is lost anyway

    text = "".join(traceback.format_exception(type(error), error, error.__traceback__))
    return ("error", type(error).__name__, str(error), text)


def _say(writer: int, answer: tuple[object, ...]) -> None:
    data = repr(answer).encode("utf-8", "backslashreplace") + b"\n"
    while data:
        data = data[os.write(writer, data) :]


_VERBS = {
    "import": _import,
    "blame": _blame,
    "search": _search,
    "grow": _grow,
    "modules": _modules,
}

if __name__ == "__main__":
    main()
    os._exit(0)  # a thread that an import started must not hold us up
