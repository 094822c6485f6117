"""Fleet files in a folder of their own, with a few modules beside them."""

from __future__ import annotations

from pathlib import Path

from zygote.errors import ZygoteError
from zygote.fleet.load import check
from zygote.fleet.model import Fleet

MODULES = {
    "app/__init__.py": "",
    "app/floor.py": "import json\n\n\ndef warm():\n    pass\n",
    "app/web.py": "async def main():\n    pass\n\n\nclass Server:\n    pass\n",
    "app/jobs/__init__.py": "",
    "app/jobs/mail.py": "if True:\n    main = print\n",
    "tool/__init__.py": "",
    "tool/__main__.py": "print('tool')\n",
    "made_up/__init__.py": "import sys\nsys.modules[__name__ + '.inner'] = sys\n",
    "late.py": "def __getattr__(name):\n    return print\n",
    "script.py": "print('script')\n",
}
GOOD_HEAD = '[fleet]\nname = "demo"\n[zygote.floor]\n'


def write_fleet(folder: Path, text: str | bytes) -> Path:
    """fleet.toml with this text in `folder`, the modules beside it."""
    for name, source in MODULES.items():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(source)
    path = folder / "fleet.toml"
    if isinstance(text, bytes):
        path.write_bytes(text)
    else:
        path.write_text(text)
    return path


def check_text(
    folder: Path, text: str | bytes, **environ: str
) -> tuple[Fleet | None, list[ZygoteError]]:
    """Write and check it, with no other variables than these."""
    return check(write_fleet(folder, text), environ)


def good_fleet(folder: Path, text: str, **environ: str) -> Fleet:
    """The fleet of a text that is right."""
    fleet, errors = check_text(folder, text, **environ)
    assert fleet is not None, "\n".join(f"{e.place}: {e.message}" for e in errors)
    return fleet
