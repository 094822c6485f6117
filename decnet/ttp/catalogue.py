"""The rules in force: the package's and the operator's, and how they change while we run.

A file that cannot be read or has a fault changes nothing: its last good rules stay in force. A
rule of the operator with the id of one of ours takes its place.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from importlib import resources
from pathlib import Path

from decnet.ttp.attack import Attack
from decnet.ttp.faults import Fault, RuleFileError
from decnet.ttp.rules import FILE_MOST, Rule, by_kind, read_rules

FILES_MOST = 200
Signature = tuple[int, int, int]


@dataclass(frozen=True, slots=True)
class Shared:
    """What never changes: ATT&CK and the package's rules, compiled."""

    attack: Attack
    rules: tuple[Rule, ...]


@dataclass(frozen=True)
class Change:
    """One rule that is another now; `rule` is None where it is gone."""

    rule_id: str
    rule: Rule | None


@dataclass
class _File:
    signature: Signature
    rules: list[Rule] = field(default_factory=list)


class Catalogue:
    """Rules by id and by kind.

    Args:
        shared: the package's.
        folder: the operator's, with *.yaml and *.yml; None where there is none.
    """

    def __init__(self, shared: Shared, folder: Path | None = None) -> None:
        self.attack = shared.attack
        self.folder = folder
        self.faults: dict[str, str] = {}
        """File -> what is wrong with it, for those that are not used as they are now."""
        self._package = {rule.id: rule for rule in shared.rules}
        self._files: dict[str, _File] = {}
        self.rules: dict[str, Rule] = {}
        self.kinds: dict[str, tuple[Rule, ...]] = {}
        self._settle()

    def refresh(self) -> list[Change]:
        """Look at the folder; what changed. Blocking: small files, but a disk."""
        if self.folder is None:
            return []
        found = self._scan(self.folder)
        for name in [name for name in self._files if name not in found]:
            del self._files[name]
        for name in [name for name in self.faults if name not in found and name != ""]:
            del self.faults[name]
        for name, signature in found.items():
            known = self._files.get(name)
            if known is None or known.signature != signature:
                self._load(self.folder / name, signature)
        return self._settle()

    def recover(self, name: str, contents: list[str]) -> bool:
        """Rules of a file that is faulty since before we started, as they were last loaded.

        Returns:
            Whether they are in force now (the file is faulty, and its old rules are good).
        """
        known = self._files.get(name)
        if name not in self.faults or known is None or known.rules:
            return False
        source = str((self.folder or Path()) / name)
        try:
            for content in contents:
                known.rules += read_rules(f"- {_indented(content)}".encode(), source, self.attack)
        except RuleFileError:
            known.rules = []
        self._settle()
        return bool(known.rules)

    def _scan(self, folder: Path) -> dict[str, Signature]:
        found: dict[str, Signature] = {}
        self.faults.pop("", None)
        try:
            for path in sorted(folder.iterdir()):
                if path.suffix in (".yaml", ".yml") and not path.name.startswith("."):
                    info = path.stat()
                    found[path.name] = (info.st_ino, info.st_size, info.st_mtime_ns)
        except FileNotFoundError:
            pass  # a folder that is not there yet holds no rules; a file that just went, neither
        except OSError as error:
            self.faults[""] = f"{folder}: {error.strerror}; make it readable for this user"
            return {name: file.signature for name, file in self._files.items()}
        if len(found) > FILES_MOST:
            self.faults[""] = f"{folder}: only the first {FILES_MOST} files are read; merge some"
        return dict(list(found.items())[:FILES_MOST])

    def _load(self, path: Path, signature: Signature) -> None:
        file = self._files.setdefault(path.name, _File(signature))
        file.signature = signature
        try:
            with path.open("rb") as handle:
                rules = read_rules(handle.read(FILE_MOST + 1), str(path), self.attack)
            self._refuse_doubles(path.name, rules)
        except RuleFileError as error:
            self.faults[path.name] = "\n".join(str(fault) for fault in error.faults)
        except OSError as error:
            self.faults[path.name] = f"{path}: {error.strerror}; make it readable for this user"
        else:
            file.rules = rules
            self.faults.pop(path.name, None)

    def _refuse_doubles(self, name: str, rules: list[Rule]) -> None:
        others = {
            rule.id: other
            for other, file in self._files.items()
            for rule in file.rules
            if other != name
        }
        doubles = [
            Fault(
                rule.source,
                rule.id,
                "rule_id",
                rule.id,
                f"is in {others[rule.id]} as well",
                "give each rule its own id",
            )
            for rule in rules
            if rule.id in others
        ]
        if doubles:
            raise RuleFileError(doubles)

    def _settle(self) -> list[Change]:
        """Take what the files say now into force."""
        rules = dict(self._package)
        for _, file in sorted(self._files.items()):
            rules |= {rule.id: rule for rule in file.rules}
        before, self.rules = self.rules, dict(sorted(rules.items()))
        changes = [
            Change(id, rule)
            for id, rule in self.rules.items()
            if id not in before or before[id].digest != rule.digest
        ]
        changes += [Change(id, None) for id in before if id not in self.rules]
        if changes:
            self.kinds = by_kind(self.rules.values())
        return changes


def load_package(attack: Attack | None = None) -> Shared:
    """Read and compile the package's rules.

    Raises:
        RuleFileError: one of them is wrong.
    """
    attack = attack or Attack.load()
    rules: dict[str, Rule] = {}
    folder = resources.files("decnet.ttp").joinpath("rules")
    for file in sorted(folder.iterdir(), key=lambda file: file.name):
        if not file.name.endswith(".yaml"):
            continue
        for rule in read_rules(file.read_bytes(), f"decnet/ttp/rules/{file.name}", attack):
            if rule.id in rules:
                other = rules[rule.id].source
                raise RuleFileError(
                    [
                        Fault(
                            rule.source,
                            rule.id,
                            "rule_id",
                            rule.id,
                            f"is in {other} as well",
                            "give each rule its own id",
                        )
                    ]
                )
            rules[rule.id] = rule
    return Shared(attack, tuple(rules[id] for id in sorted(rules)))


def _indented(content: str) -> str:
    """A rule's text as one item of a list."""
    return content.strip("\n").replace("\n", "\n  ")
