"""Commands of the pretended shell about the machine and its network."""

from __future__ import annotations

from typing import TYPE_CHECKING
from urllib.parse import urlsplit

from decnet.decoys.shell.commands import Result, command, flags_of, operands_of

if TYPE_CHECKING:
    from decnet.decoys.shell.shell import Shell


def _uptime_line(shell: Shell) -> str:
    now = shell.clock()
    up = now - shell.host.booted(now)
    clock = f"{up.seconds // 3600:2}:{up.seconds // 60 % 60:02}"
    return f" {now:%H:%M:%S} up {up.days} days, {clock},  1 user,  load average: 0.08, 0.03, 0.01\n"


@command("uptime")
def _uptime(shell: Shell, arguments: list[str], data: str) -> Result:
    return Result(_uptime_line(shell))


@command("w", "who", "users")
def _w(shell: Shell, arguments: list[str], data: str) -> Result:
    head = "USER     TTY      FROM             LOGIN@   IDLE   JCPU   PCPU WHAT\n"
    since = f"{shell.clock():%H:%M}"
    row = f"{shell.user:8.8} pts/0    {shell.remote:16.16} {since}    0.00s  0.02s  0.00s w\n"
    return Result(_uptime_line(shell) + head + row)


@command("last")
def _last(shell: Shell, arguments: list[str], data: str) -> Result:
    now = shell.clock()
    who = f"{shell.user:8.8} pts/0        {shell.remote:16.16}"
    return Result(
        f"{who} {now:%a %b %e %H:%M}   still logged in\n"
        f"\nwtmp begins {shell.host.booted(now):%a %b %e %H:%M:%S %Y}\n"
    )


@command("date")
def _date(shell: Shell, arguments: list[str], data: str) -> Result:
    now = shell.clock()
    if "+%s" in arguments:
        return Result(f"{int(now.timestamp())}\n")
    return Result(f"{now:%a %b %e %H:%M:%S UTC %Y}\n")


@command("nproc")
def _nproc(shell: Shell, arguments: list[str], data: str) -> Result:
    return Result("2\n")


@command("lscpu")
def _lscpu(shell: Shell, arguments: list[str], data: str) -> Result:
    return Result(
        "Architecture:            x86_64\nCPU(s):                  2\n"
        "Model name:              Intel(R) Xeon(R) Gold 6230 CPU @ 2.10GHz\n"
        "Hypervisor vendor:       KVM\n"
    )


@command("free")
def _free(shell: Shell, arguments: list[str], data: str) -> Result:
    divisor = 1024 if "m" in flags_of(arguments) else 1
    head = "               total        used        free      shared  buff/cache   available\n"
    rows = (
        ("Mem:", (2014596, 519504, 731240, 1204, 763852, 1426812)),
        ("Swap:", (998396, 0, 998396)),
    )
    body = "".join(
        f"{name:8}" + "".join(f"{n // divisor:12}" for n in numbers) + "\n"
        for name, numbers in rows
    )
    return Result(head + body)


@command("df")
def _df(shell: Shell, arguments: list[str], data: str) -> Result:
    if "h" in flags_of(arguments):
        return Result(
            "Filesystem      Size  Used Avail Use% Mounted on\n"
            "udev            963M     0  963M   0% /dev\n"
            "tmpfs           197M  512K  197M   1% /run\n"
            "/dev/vda1        20G  2.9G   16G  16% /\n"
        )
    return Result(
        "Filesystem     1K-blocks    Used Available Use% Mounted on\n"
        "udev              985664       0    985664   0% /dev\n"
        "/dev/vda1       20466256 2964120  16437172  16% /\n"
    )


@command("mount")
def _mount(shell: Shell, arguments: list[str], data: str) -> Result:
    return Result(
        "/dev/vda1 on / type ext4 (rw,relatime,errors=remount-ro)\n"
        "proc on /proc type proc (rw,nosuid,nodev,noexec,relatime)\n"
    )


@command("ps", "top")
def _ps(shell: Shell, arguments: list[str], data: str) -> Result:
    wide = "".join(arguments)
    if "a" not in wide and "e" not in wide:
        return Result("    PID TTY          TIME CMD\n   4127 pts/0    00:00:00 bash\n")
    rows = (
        ("root", 1, "?", "/sbin/init"),
        ("root", 214, "?", "/lib/systemd/systemd-journald"),
        ("root", 402, "?", "/usr/sbin/cron -f"),
        ("root", 431, "?", "sshd: /usr/sbin/sshd -D [listener] 0 of 10-100 startups"),
        ("root", 4120, "?", f"sshd: {shell.user}@pts/0"),
        (shell.user, 4127, "pts/0", "-bash"),
    )
    since = f"{shell.host.booted(shell.clock()):%b%d}"
    head = "USER         PID %CPU %MEM    VSZ   RSS TTY      STAT START   TIME COMMAND\n"
    return Result(
        head
        + "".join(
            f"{user:8.8} {pid:7}  0.0  0.3  16852  7212 {tty:8} Ss   {since}   0:00 {what}\n"
            for user, pid, tty, what in rows
        )
    )


@command("ifconfig", "ip")
def _network(shell: Shell, arguments: list[str], data: str) -> Result:
    address, mac = shell.host.address, shell.host.mac
    gateway = address.rpartition(".")[0] + ".1"
    if operands_of(arguments)[:1] and operands_of(arguments)[0].startswith("r"):
        return Result(f"default via {gateway} dev eth0 onlink\n")
    return Result(
        "1: lo: <LOOPBACK,UP,LOWER_UP> mtu 65536 qdisc noqueue state UNKNOWN group default\n"
        "    inet 127.0.0.1/8 scope host lo\n"
        "2: eth0: <BROADCAST,MULTICAST,UP,LOWER_UP> mtu 1500 qdisc fq_codel state UP\n"
        f"    link/ether {mac} brd ff:ff:ff:ff:ff:ff\n"
        f"    inet {address}/24 brd {address.rpartition('.')[0]}.255 scope global eth0\n"
    )


@command("netstat", "ss")
def _sockets(shell: Shell, arguments: list[str], data: str) -> Result:
    return Result(
        "State    Recv-Q   Send-Q     Local Address:Port     Peer Address:Port\n"
        "LISTEN   0        128              0.0.0.0:22            0.0.0.0:*\n"
        f"ESTAB    0        0      {shell.host.address}:22     {shell.remote}:51022\n"
    )


@command("wget", "curl", "tftp", "ftpget", "fetch")
def _download(shell: Shell, arguments: list[str], data: str) -> Result:
    url = next((a for a in operands_of(arguments) if "." in a or "/" in a), "")
    if not url:
        return Result("", 1, "wget: missing URL\nUsage: wget [OPTION]... [URL]...\n")
    shell.note_download(url)
    try:
        host = urlsplit(url if "//" in url else f"//{url}").hostname or url
    except ValueError:
        host = url
    # As behind a firewall that lets nothing out: the usual end of such a try.
    text = f"Connecting to {host[:255]}... failed: Connection timed out.\n"
    return Result("", 4, text)


@command("ping")
def _ping(shell: Shell, arguments: list[str], data: str) -> Result:
    target = (operands_of(arguments) or ["?"])[-1]
    return Result("", 1, f"ping: {target}: Temporary failure in name resolution\n")


@command("crontab")
def _crontab(shell: Shell, arguments: list[str], data: str) -> Result:
    if "l" in flags_of(arguments):
        return Result("", 1, f"no crontab for {shell.user}\n")
    return Result("")
