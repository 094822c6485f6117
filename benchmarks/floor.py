"""What decnet's floor costs a cold process, layer by layer, and that its command line pays none.

    .venv/bin/python benchmarks/floor.py [--json] [--repeat 3] [--plot FILE]

By `zygote.inspect.floor`, as `zygotectl floor`: fresh interpreters, bytecode compiled before, each
figure the median. First the layers over each other, then the command lines, each alone over a
bare interpreter. Exit code 1 if a command line adds more than 5 MB.
"""

from __future__ import annotations

import json
import platform
import sys
from dataclasses import asdict
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from benchmarks.support import options
from benchmarks.support.about import about
from zygote.inspect import bars, floor

LAYERS = (
    "sqlmodel,sqlalchemy,pydantic", "decnet.db.tables", "decnet.cli.app", "decnet.floor",
    "decnet.packets.floor", "scapy.all",
)  # fmt: skip
ALONE = ("decnet.cli.app", "zygote.cli.app", "decnet.db.tables", "decnet.floor", "scapy.all")
GOAL_MB = 5.0
MB = 1024 / 1e6


def main() -> int:
    parser = options.parser(__doc__)
    parser.add_argument("--repeat", type=int, default=3, help="measure so often (default 3)")
    parser.add_argument("--plot", type=Path, help="draw the layers into this file")
    given = parser.parse_args()
    place = floor.Place(sys.executable, str(Path(__file__).resolve().parent.parent))
    found = {}
    for mode, layers in (("layers", LAYERS), ("alone", ALONE)):
        found[mode] = floor.measure(
            layers, place, repeat=given.repeat, each=mode == "alone",
            tell=lambda text: print(f"floor.py: {text} …", file=sys.stderr, flush=True),
        )  # fmt: skip
    if given.plot:
        bars.draw(found["layers"], given.plot)
    if given.json:
        result = {
            **about(),
            "repeat": given.repeat,
            "compiled_while_measured": sum(len(each.compiled) for each in found.values()),
            **{mode: [asdict(layer) for layer in each.layers] for mode, each in found.items()},
        }
        print(json.dumps(result))
    for mode, each in found.items() if not given.json else ():
        print(f"{mode}, Python {platform.python_version()}; MB of 10^6 bytes")
        print(f"  {'':30}{'+RSS':>8}{'RSS':>8}{'+USS':>8}{'s':>8}{'modules':>9}")
        for layer in each.layers:
            sizes = (layer.added_rss_kib, layer.rss_kib, layer.added_uss_kib)
            figures = "".join(f"{size * MB:8.1f}" for size in sizes)
            print(f"  {layer.layer:30}{figures}{layer.seconds:8.2f}{layer.modules:9}")
    small = [row for row in found["alone"].layers if ".cli." in row.layer]
    return int(any(row.added_rss_kib * MB > GOAL_MB for row in small))


if __name__ == "__main__":
    sys.exit(main())
