"""Which program somebody used, by how it names itself. Pure."""

from __future__ import annotations

TOOLS = (
    *("nmap", "nikto", "sqlmap", "nuclei", "masscan", "zgrab", "metasploit", "curl", "wget"),
    *("python-requests", "gobuster", "dirbuster", "hydra", "wfuzz", "gophish", "libssh"),
    *("paramiko", "asyncssh", "putty", "jsch", "medusa", "ncrack", "go-http-client"),
)


def tools_in(text: str) -> list[str]:
    """The tools that a user agent or an SSH client's banner names, in the order of `TOOLS`."""
    small = text[:512].lower()
    found = [tool for tool in TOOLS if tool in small]
    if small.startswith("ssh-2.0-go"):
        found.append("go-ssh")
    return found


_HEADERS = {"x-gophish-contact": "gophish", "x-gophish-signature": "gophish"}


def tools_of_headers(names: str) -> list[str]:
    """The tools that add HTTP headers of their own, by the names of a request's headers."""
    if not names:
        return []
    found = {_HEADERS.get(name) for name in names[:2048].lower().split(",")}
    return sorted(tool for tool in found if tool)
