"""Do the links of all pages lead somewhere? `python .ci/links.py`; a part of `make check`."""

import re
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
_LINK = re.compile(r"(?<!\\)\[[^\]\n]*\]\(([^)\s]+)(?:\s+\"[^\"]*\")?\)")
_CODE = re.compile(r"^(```|~~~).*?^\1", re.DOTALL | re.MULTILINE)


def anchors(text: str) -> set[str]:
    """What headings can be linked by."""
    found = set()
    for title in re.findall(r"^#+ +(.*)$", _CODE.sub("", text), re.MULTILINE):
        plain = re.sub(r"[^\w\- ]", "", re.sub(r"\[([^\]]*)\]\([^)]*\)", r"\1", title).lower())
        found.add(plain.strip().replace(" ", "-"))
    return found


def main() -> int:
    """Print what leads nowhere; the exit code."""
    pages = [*ROOT.glob("*.md"), *ROOT.glob("docs/**/*.md"), *ROOT.glob("zygote/help/*.md")]
    wrong = []
    for page in sorted(pages):
        text = page.read_text(encoding="utf-8")
        prose = _CODE.sub(lambda code: "\n" * code[0].count("\n"), text)
        for number, line in enumerate(prose.split("\n"), 1):
            for target in _LINK.findall(re.sub(r"`[^`]*`", "", line)):
                if re.match(r"[a-z]+:", target):
                    continue
                path, _, anchor = target.partition("#")
                file = (page.parent / path).resolve() if path else page
                if not file.exists():
                    wrong.append(f"{page.relative_to(ROOT)}:{number}: no {target}")
                elif anchor and file.suffix == ".md" and anchor not in anchors(file.read_text()):
                    wrong.append(f"{page.relative_to(ROOT)}:{number}: no heading for {target}")
    print("\n".join(wrong), end="\n" * bool(wrong), file=sys.stderr)
    return bool(wrong)


if __name__ == "__main__":
    sys.exit(main())
