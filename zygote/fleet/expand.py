"""`${VAR}` and `${VAR:-default}` in the values of a fleet file.

A bare `$VAR` is left alone: arguments are full of dollar signs that are not ours. `$$` is one `$`.
"""

from __future__ import annotations

import re
from collections.abc import Mapping

from zygote.errors import Exit, ZygoteError

_PIECE = re.compile(
    r"\$\$|\$\{(?P<name>[A-Za-z_][A-Za-z0-9_]*)(?::-(?P<default>[^}]*))?\}|(?P<bad>\$\{[^}]*\}?)"
)


def expand(text: str, environ: Mapping[str, str], *, keep_percent: bool = False) -> str:
    """Fill in variables from the environment.

    Args:
        keep_percent: write a `%` that comes out of a variable as `%%`, because `%i` is replaced
            in this text afterwards.
    Raises:
        ZygoteError: code "unset-variable", or "bad-variable" for `${` without a proper name.
    """

    def fill(match: re.Match[str]) -> str:
        name = match["name"]
        if match["bad"] is not None:
            raise ZygoteError(
                f"cannot read {match['bad']!r}",
                code="bad-variable",
                hint="write ${NAME} or ${NAME:-default}; a plain dollar before a brace is $$",
                exit_code=Exit.FLEET_FILE,
            )
        if name is None:
            return "$"
        value = environ.get(name)
        if match["default"] is not None and not value:
            return match["default"]
        if value is None:
            raise ZygoteError(
                f"the variable {name} is not set",
                code="unset-variable",
                hint=f"set it where the manager is started, or give a default: ${{{name}:-…}}",
                exit_code=Exit.FLEET_FILE,
            )
        return value.replace("%", "%%") if keep_percent else value

    return _PIECE.sub(fill, text)
