"""What the ftp decoy says to commands that always have the same answer. Data only."""

from __future__ import annotations

FEATURES = ("EPRT", "EPSV", "MDTM", "MLSD", "PASV", "REST STREAM", "SIZE", "TVFS", "UTF8")
OPEN_ANSWERS = {
    "QUIT": "221 Goodbye.",
    "AUTH": "530 Please login with USER and PASS.",
    "SYST": "215 UNIX Type: L8",
    "NOOP": "200 NOOP ok.",
    "HELP": "214 Help OK.",
    "OPTS": "200 Always in UTF8 mode.",
}
"""To everybody, logged in or not."""
ANSWERS = {
    "TYPE": "200 Switching to Binary mode.",
    "MODE": "200 Mode set to S.",
    "STRU": "200 Structure set to F.",
    "ALLO": "202 ALLO command ignored.",
    "REST": "350 Restart position accepted (0).",
    "ABOR": "225 No transfer to ABOR.",
    "STAT": "211 End of status",
    "SITE": "550 Permission denied.",
    "RNFR": "350 Ready for RNTO.",
    "RNTO": "550 Rename failed.",
}
