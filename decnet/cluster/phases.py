"""The phases of an attack (the Unified Kill Chain's names), from ATT&CK tactics and commands."""

from __future__ import annotations

import re

PHASES = (
    *("reconnaissance", "resource_development", "delivery", "social_engineering"),
    *("exploitation", "persistence", "defense_evasion", "command_and_control"),
    *("pivoting", "discovery", "privilege_escalation", "execution"),
    *("credential_access", "lateral_movement", "collection", "exfiltration"),
    *("impact", "objectives", "unknown"),
)
"""The chain's eighteen, and one for what fits nowhere."""

_TACTICS = {
    "TA0043": "reconnaissance",
    "TA0042": "resource_development",
    "TA0001": "delivery",
    "TA0002": "execution",
    "TA0003": "persistence",
    "TA0004": "privilege_escalation",
    "TA0005": "defense_evasion",
    "TA0006": "credential_access",
    "TA0007": "discovery",
    "TA0008": "lateral_movement",
    "TA0009": "collection",
    "TA0010": "exfiltration",
    "TA0011": "command_and_control",
    "TA0040": "impact",
}
_NAMES = {"initial_access": "delivery", "defense_impairment": "defense_evasion"}
HANDED_OVER = frozenset({"command_and_control", "persistence"})
"""Who leaves a host like this has it ready for another."""
TAKEN_UP = frozenset({"discovery", "lateral_movement"})
"""Who begins so on a host did not have to break in."""

_COMMANDS = {
    "discovery": (
        "id whoami uname hostname ls cat ps netstat ss ifconfig ip w who last df free lscpu "
        "nproc env pwd find which dmidecode lspci uptime top arp route"
    ),
    "delivery": "wget curl tftp ftpget scp rsync fetch lwp-download",
    "persistence": "crontab systemctl chkconfig update-rc.d useradd adduser ssh-keygen at",
    "privilege_escalation": "sudo su doas pkexec chown setcap",
    "defense_evasion": "rm history unset shred kill killall pkill chattr iptables ufw touch",
    "credential_access": "passwd chpasswd getent unshadow john",
    "lateral_movement": "ssh sshpass telnet nmap masscan ping nc ncat",
    "exfiltration": "tar zip gzip base64 mail sendmail",
    "execution": "sh bash dash chmod python python3 perl php ruby nohup busybox ./",
}
_BY_COMMAND = {word: phase for phase, words in _COMMANDS.items() for word in words.split()}
_PARTS = re.compile(r"[;&|\n]+")
PARTS_MOST = 16


def phase_of_tactic(tactic: str) -> str:
    """The phase of an ATT&CK tactic, by its id ("TA0007") or its name ("Lateral Movement")."""
    name = re.sub(r"[\s-]+", "_", tactic.strip().lower())
    found = _TACTICS.get(tactic.strip().upper()) or _NAMES.get(name, name)
    return found if found in PHASES else "unknown"


def commands_by_phase(commands: list[str]) -> dict[str, set[str]]:
    """Commands, taken apart at `;`, `&` and `|`, by the phase that their first word tells."""
    found: dict[str, set[str]] = {}
    for command in commands:
        for part in _PARTS.split(command[:512])[:PARTS_MOST]:
            words = part.split()
            if words:
                name = words[0].rpartition("/")[2] or words[0]
                phase = _BY_COMMAND.get("./" if words[0].startswith("./") else name, "unknown")
                found.setdefault(phase, set()).add(" ".join(words))
    return found
