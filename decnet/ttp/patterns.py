"""Regular expressions on hostile text: with a time limit, and on texts of bounded length."""

from __future__ import annotations

from dataclasses import dataclass

import regex

from decnet.ttp.event import Event

SECONDS = 0.05
"""A search of one text may take so long; a good pattern needs microseconds."""
PATTERN_MOST = 2000
"""Characters of a pattern."""


class PatternTimeout(Exception):
    """A search took longer than `SECONDS`: the pattern backtracks too much on this text."""


@dataclass(frozen=True, slots=True)
class Condition:
    """True of an event when one of its fields matches, and does not match `unless` as well."""

    fields: tuple[str, ...]
    pattern: regex.Pattern[str]
    unless: regex.Pattern[str] | None = None

    def holds(self, event: Event) -> bool:
        """Whether it is true.

        Raises:
            PatternTimeout: it cannot be said within the time.
        """
        for name in self.fields:
            text = event.text(name)
            if text and search(self.pattern, text):
                return self.unless is None or not search(self.unless, text)
        return False


def compile_pattern(text: str) -> regex.Pattern[str]:
    """Compile; case counts unless the pattern begins with (?i).

    Raises:
        regex.error: no pattern; says what and where.
    """
    # Version 0 means the syntax of `re`. The module's own cache would keep dropped rules alive.
    return regex.compile(text, regex.VERSION0, cache_pattern=False)


def search(pattern: regex.Pattern[str], text: str) -> bool:
    """Whether the pattern is found in the text.

    Raises:
        PatternTimeout: not within `SECONDS`.
    """
    try:
        return pattern.search(text, timeout=SECONDS) is not None
    except TimeoutError as error:
        raise PatternTimeout(pattern.pattern[:60]) from error
