"""How each decky looks: one machine with a host name, a system and versions that fit together.

A scanner that sees ten hosts of the same build knows what it has found. So every decky is another
machine, the same after each restart: it depends on the decky's number alone. Data, and pure.
"""

from __future__ import annotations

import zlib
from dataclasses import dataclass

DOMAIN = "corp.lan"


@dataclass(frozen=True)
class Look:
    """One machine as it looks from outside.

    `mysql` and `redis` are bare versions, the others what the service says of itself.
    `telnet` is shown before "login:", with a line feed for each line end.
    """

    host: str
    distro: str
    kernel: str
    kernel_build: str
    ssh: str
    http: str
    realm: str
    telnet: str
    ftp: str
    smtp: str
    redis: str
    mysql: str
    tcp: str

    @property
    def fqdn(self) -> str:
        """Host and domain."""
        return f"{self.host}.{DOMAIN}"

    @property
    def seed(self) -> int:
        """A number that stays the same for this host."""
        return zlib.crc32(self.host.encode())


def look_of(number: int) -> Look:
    """The look of a decky by its number, from 1. After `len(LOOKS)` only host names are new."""
    look = LOOKS[(number - 1) % len(LOOKS)]
    host = look.host.rstrip("0123456789") + f"{number:02}"
    values = {name: getattr(look, name) for name in Look.__dataclass_fields__}
    values = {name: text.replace(look.host, host) for name, text in values.items()}
    return Look(**values)


LOOKS = (
    Look(
        host="web01",
        distro="Debian GNU/Linux 12 (bookworm)",
        kernel="6.1.0-18-amd64",
        kernel_build="#1 SMP PREEMPT_DYNAMIC Debian 6.1.76-1 (2024-02-01)",
        ssh="OpenSSH_9.2p1 Debian-2+deb12u3",
        http="nginx/1.22.1",
        realm="Gateway",
        telnet="Debian GNU/Linux 12\nweb01 ",
        ftp="(vsFTPd 3.0.3)",
        smtp="ESMTP Postfix (Debian/GNU)",
        redis="7.0.15",
        mysql="5.5.5-10.11.6-MariaDB-0+deb12u1",
        tcp="backup-agent 2.4.1 ready on web01",
    ),
    Look(
        host="app02",
        distro="Ubuntu 22.04.4 LTS",
        kernel="5.15.0-102-generic",
        kernel_build="#112-Ubuntu SMP Tue Mar 5 16:50:32 UTC 2024",
        ssh="OpenSSH_8.9p1 Ubuntu-3ubuntu0.7",
        http="nginx/1.18.0 (Ubuntu)",
        realm="Staging",
        telnet="Ubuntu 22.04.4 LTS\napp02 ",
        ftp="(vsFTPd 3.0.5)",
        smtp="ESMTP Postfix (Ubuntu)",
        redis="6.0.16",
        mysql="8.0.36-0ubuntu0.22.04.1",
        tcp="220 app02 job-runner 1.9.0",
    ),
    Look(
        host="files03",
        distro="CentOS Linux 7 (Core)",
        kernel="3.10.0-1160.el7.x86_64",
        kernel_build="#1 SMP Mon Oct 19 16:18:59 UTC 2020",
        ssh="OpenSSH_7.4",
        http="Apache/2.4.6 (CentOS)",
        realm="Intranet",
        telnet="CentOS Linux 7 (Core)\nKernel 3.10.0-1160.el7.x86_64 on an x86_64\nfiles03 ",
        ftp="(vsFTPd 3.0.2)",
        smtp="ESMTP Postfix",
        redis="3.2.12",
        mysql="5.7.44",
        tcp="files03 sync service, protocol 3",
    ),
    Look(
        host="gw04",
        distro="Debian GNU/Linux 11 (bullseye)",
        kernel="5.10.0-28-amd64",
        kernel_build="#1 SMP Debian 5.10.209-2 (2024-01-31)",
        ssh="OpenSSH_8.4p1 Debian-5+deb11u3",
        http="Apache/2.4.56 (Debian)",
        realm="Router",
        telnet="Debian GNU/Linux 11\ngw04 ",
        ftp="ProFTPD Server (Debian) [::ffff:10.4.0.4]",
        smtp="ESMTP Exim 4.94.2",
        redis="6.0.16",
        mysql="5.5.5-10.5.23-MariaDB-0+deb11u1",
        tcp="gw04 telemetry 0.8",
    ),
    Look(
        host="build05",
        distro="Rocky Linux 9.3 (Blue Onyx)",
        kernel="5.14.0-362.24.1.el9_3.x86_64",
        kernel_build="#1 SMP PREEMPT_DYNAMIC Wed Mar 13 17:33:16 UTC 2024",
        ssh="OpenSSH_8.7",
        http="nginx/1.20.1",
        realm="Builds",
        telnet="Rocky Linux 9.3 (Blue Onyx)\nKernel 5.14.0-362.24.1.el9_3.x86_64\n\nbuild05 ",
        ftp="(vsFTPd 3.0.5)",
        smtp="ESMTP Postfix",
        redis="6.2.7",
        mysql="8.0.36",
        tcp="build05 worker pool, 4 slots",
    ),
    Look(
        host="mail06",
        distro="Ubuntu 20.04.6 LTS",
        kernel="5.4.0-174-generic",
        kernel_build="#193-Ubuntu SMP Thu Mar 7 14:29:28 UTC 2024",
        ssh="OpenSSH_8.2p1 Ubuntu-4ubuntu0.11",
        http="Apache/2.4.41 (Ubuntu)",
        realm="Webmail",
        telnet="Ubuntu 20.04.6 LTS\nmail06 ",
        ftp="ProFTPD Server (mail06) [10.6.0.6]",
        smtp="ESMTP Exim 4.93 Ubuntu",
        redis="5.0.7",
        mysql="8.0.36-0ubuntu0.20.04.1",
        tcp="mail06 queue monitor 1.2",
    ),
)
