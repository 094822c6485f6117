"""The machine that the shell pretends to be: names, versions and files. Data only."""

from __future__ import annotations

import datetime as dt
import zlib
from dataclasses import dataclass

KERNEL = "6.1.0-18-amd64"
KERNEL_BUILD = "#1 SMP PREEMPT_DYNAMIC Debian 6.1.76-1 (2024-02-01)"
DISTRO = "Debian GNU/Linux 12 (bookworm)"


@dataclass(frozen=True)
class Host:
    """One believable machine; everything that differs comes from its name."""

    name: str
    distro: str = DISTRO
    kernel: str = KERNEL
    kernel_build: str = KERNEL_BUILD

    @property
    def seed(self) -> int:
        """A number that stays the same for this name."""
        return zlib.crc32(self.name.encode())

    @property
    def address(self) -> str:
        """Its address on the inner network."""
        return f"10.{self.seed >> 8 & 127}.{self.seed >> 16 & 255}.{2 + self.seed % 250}"

    @property
    def mac(self) -> str:
        """A locally administered MAC address."""
        return ":".join(f"{b:02x}" for b in b"\x52\x54\x00" + self.seed.to_bytes(4)[1:])

    def booted(self, now: dt.datetime) -> dt.datetime:
        """When it was started: some weeks ago, at the same instant in every session of a month."""
        days = 17 + self.seed % 40
        month = now.replace(day=1, hour=0, minute=0, second=0, microsecond=0)
        return month - dt.timedelta(days=days, seconds=self.seed % 86_400)

    def files(self) -> dict[str, bytes | None]:
        """Every file by absolute path; None is a folder."""
        return {path: text if text is None else text.encode() for path, text in self._tree()}

    def _tree(self) -> list[tuple[str, str | None]]:
        shadow = "".join(f"{user}:*:19700:0:99999:7:::\n" for user in _SYSTEM_USERS)
        files = [
            ("/etc/hostname", f"{self.name}\n"),
            ("/etc/hosts", f"127.0.0.1\tlocalhost\n127.0.1.1\t{self.name}\n"),
            ("/etc/issue", f"{self.distro.partition(' (')[0]} \\n \\l\n\n"),
            ("/etc/os-release", _os_release(self.distro)),
            ("/etc/passwd", _passwd()),
            ("/etc/shadow", f"root:!:19700:0:99999:7:::\n{shadow}"),
            ("/etc/group", "root:x:0:\ndaemon:x:1:\nsudo:x:27:admin\nadmin:x:1000:\n"),
            ("/etc/resolv.conf", f"nameserver {self.address.rpartition('.')[0]}.1\n"),
            ("/etc/crontab", "17 *\t* * *\troot\tcd / && run-parts --report /etc/cron.hourly\n"),
            ("/etc/ssh/sshd_config", "PermitRootLogin yes\nPasswordAuthentication yes\n"),
            ("/proc/cpuinfo", "".join(_CPU.format(n=n) for n in range(2))),
            ("/proc/meminfo", _MEMINFO),
            ("/proc/version", f"Linux version {self.kernel} {self.kernel_build}\n"),
            ("/proc/loadavg", "0.08 0.03 0.01 1/182 4127\n"),
            ("/root/.bashrc", "# ~/.bashrc\nalias ll='ls -l'\n"),
            ("/root/.profile", "# ~/.profile\nmesg n 2> /dev/null || true\n"),
            ("/home/admin/.bashrc", "# ~/.bashrc\n"),
            ("/var/log/auth.log", ""),
            ("/var/log/dpkg.log", ""),
            ("/var/www/html/index.html", "<html><body><h1>It works</h1></body></html>\n"),
        ]
        binaries = [(f"/usr/bin/{name}", "\x7fELF\x02\x01\x01") for name in _BINARIES]
        return [*((path, None) for path in _FOLDERS), *files, *binaries]


_FOLDERS = (
    *("/", "/bin", "/boot", "/dev", "/etc", "/etc/cron.d", "/etc/ssh", "/home", "/home/admin"),
    *("/lib", "/media", "/mnt", "/opt", "/proc", "/root", "/root/.ssh", "/run", "/sbin", "/srv"),
    *("/sys", "/tmp", "/usr", "/usr/bin", "/usr/local", "/usr/local/bin", "/usr/sbin"),
    *("/usr/share", "/var", "/var/backups", "/var/lib", "/var/log", "/var/mail", "/var/tmp"),
    *("/var/www", "/var/www/html"),
)
_SYSTEM_USERS = ("daemon", "bin", "sys", "man", "mail", "www-data", "sshd", "admin")
_BINARIES = (
    *("bash", "sh", "ls", "cat", "id", "uname", "whoami", "ps", "wget", "curl", "perl", "python3"),
    *("grep", "head", "tail", "wc", "free", "df", "uptime", "chmod", "crontab", "nproc", "tar"),
)
_CPU = """processor\t: {n}
vendor_id\t: GenuineIntel
cpu family\t: 6
model\t\t: 85
model name\t: Intel(R) Xeon(R) Gold 6230 CPU @ 2.10GHz
cpu MHz\t\t: 2095.076
cache size\t: 28160 KB
cpu cores\t: 2
flags\t\t: fpu vme de pse tsc msr pae mce cx8 apic sep mtrr aes avx avx2 hypervisor

"""
_MEMINFO = """MemTotal:        2014596 kB
MemFree:          731240 kB
MemAvailable:    1426812 kB
Buffers:           61508 kB
Cached:           702344 kB
SwapTotal:        998396 kB
SwapFree:         998396 kB
"""


def _os_release(distro: str) -> str:
    words = distro.partition(" (")[0].split()
    version = next((w for w in words if w[0].isdigit()), "")
    plain = " ".join(w for w in words if w[0].isalpha() and w != "LTS")
    return (
        f'PRETTY_NAME="{distro}"\nNAME="{plain}"\nVERSION_ID="{version}"\nID={words[0].lower()}\n'
    )


def _passwd() -> str:
    return (
        "root:x:0:0:root:/root:/bin/bash\n"
        "daemon:x:1:1:daemon:/usr/sbin:/usr/sbin/nologin\n"
        "bin:x:2:2:bin:/bin:/usr/sbin/nologin\n"
        "mail:x:8:8:mail:/var/mail:/usr/sbin/nologin\n"
        "www-data:x:33:33:www-data:/var/www:/usr/sbin/nologin\n"
        "sshd:x:105:65534::/run/sshd:/usr/sbin/nologin\n"
        "admin:x:1000:1000:,,,:/home/admin:/bin/bash\n"
    )
