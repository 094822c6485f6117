"""Who works on the deckies, and what they write: plain material for files and mails. Data only."""

from __future__ import annotations

import random
from dataclasses import dataclass


@dataclass(frozen=True)
class Persona:
    """Somebody who seems to work here."""

    login: str
    name: str
    job: str


PERSONAS = (
    Persona("mhartmann", "Martin Hartmann", "systems"),
    Persona("lnowak", "Lena Nowak", "accounting"),
    Persona("tokafor", "Tobe Okafor", "development"),
    Persona("sperez", "Silvia Perez", "sales"),
    Persona("jlind", "Jonas Lind", "support"),
)

_TASKS = (
    "renew the certificate of the intranet",
    "ask the provider about last Thursday",
    "move the old invoices to the archive",
    "order two more disks for the backup",
    "write down how the label printer is set up",
    "check why the nightly export took three hours",
    "give the new colleague a door key",
    "remove the test accounts",
    "update the phone list",
)
_SUBJECTS = (
    "Backup of last night",
    "Meeting room on Tuesday",
    "Numbers for the quarter",
    "Printer on the second floor",
    "New laptop",
    "Access for the auditors",
    "Holiday plan",
)
_LINES = (
    "I had a look this morning and it seems to be all right again.",
    "Could you please check it on your side as well?",
    "The file is where it always is, with the date of today.",
    "If nobody objects I will do it on Friday after five.",
    "It happened twice this week, both times shortly after noon.",
    "Please do not restart it before we have talked.",
    "The supplier says that it will take until the end of the month.",
)
CLASSES = ("note", "todo", "draft", "script", "cron_log", "daemon_log", "cache")


def subject(chance: random.Random) -> str:
    """What a new thread is about."""
    return chance.choice(_SUBJECTS)


def mail(sender: Persona, receiver: Persona, chance: random.Random) -> str:
    """A mail's text."""
    first, second = chance.sample(_LINES, 2)
    hello, bye = receiver.name.split()[0], sender.name.split()[0]
    return f"Hi {hello},\n\n{first}\n{second}\n\n{bye}\n"


def path_of(kind: str, persona: Persona, chance: random.Random) -> str:
    """Where a persona keeps such a file; below a folder that the decoys' shell has."""
    number = chance.randrange(1, 6)
    return {
        "note": f"/home/admin/notes-{persona.login}-{number}.txt",
        "todo": f"/home/admin/TODO.{persona.login}",
        "draft": f"/home/admin/draft-{persona.job}-{number}.md",
        "script": f"/usr/local/bin/{persona.job}-job{number}.sh",
        "cron_log": f"/var/log/cron-{persona.job}.log",
        "daemon_log": f"/var/log/{persona.job}d.log",
        "cache": f"/var/tmp/.{persona.job}-{number}.cache",
    }[kind]


def body(kind: str, persona: Persona, stamp: str, chance: random.Random, old: str = "") -> str:
    """A file's text; `old` is what was in it before an edit.

    Args:
        stamp: the date and time that the text mentions.
    """
    tasks = chance.sample(_TASKS, 3)
    if kind in ("cron_log", "daemon_log"):
        lines = [f"{stamp} {persona.job}[{chance.randrange(400, 4000)}]: {_log(chance)}"]
        return "\n".join([*old.splitlines()[-60:], *lines]) + "\n"
    if kind == "todo":
        kept = [line for line in old.splitlines() if line.strip()][-12:]
        return "\n".join([*kept, f"[ ] {tasks[0]}"]) + "\n"
    if kind == "script":
        return (
            f"#!/bin/sh\n# {persona.name}, {stamp[:10]}\nset -eu\n"
            f"src=/srv/{persona.job}\ndst=/var/backups/{persona.job}-$(date +%F).tar\n"
            'tar -cf "$dst" "$src"\nfind /var/backups -mtime +14 -delete\n'
        )
    if kind == "cache":
        return "".join(chance.choice("0123456789abcdef") for _ in range(512)) + "\n"
    text = "\n".join(f"- {task}" for task in tasks)
    head = old or f"{persona.name}, {stamp[:10]}\n"
    return f"{head}\n{stamp[:16]}\n{text}\n"[-8000:]


def _log(chance: random.Random) -> str:
    return chance.choice(
        (
            f"run finished in {chance.randrange(2, 90)} s",
            f"{chance.randrange(3, 400)} items taken over",
            "nothing to do",
            "connection closed by peer, trying again",
            f"rotated after {chance.randrange(2, 30)} MB",
        )
    )
