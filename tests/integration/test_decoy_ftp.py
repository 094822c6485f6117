"""The ftp decoy as the real programs of visitors meet it."""

from __future__ import annotations

import ftplib
import hashlib
from pathlib import Path

import pytest

from tests.support.bus import DEADLINE, until
from tests.support.visitors import BOMB, decoy, kept, needs, run, secrets


@needs("curl", "curl")
async def test_ftp_upload_and_listing_by_curl(tmp_path: Path) -> None:
    file = tmp_path / "tools.zip"
    file.write_bytes(BOMB)
    async with decoy(tmp_path, "ftp") as running:
        base = f"ftp://127.0.0.1:{running.port}"
        for how in ("--disable-epsv", "--ftp-pasv"):
            up = ("curl", "-sS", "-q", how, "-u", "bob:s3cret", "-T", str(file))
            ran = await run(*up, f"{base}/incoming/")
            assert ran.code == 0, ran.err
        listed = await run("curl", "-sS", "-q", f"{base}/pub/")
        assert "README" in listed.out
        assert "drwxr-xr-x" in (await run("curl", "-sS", "-q", f"{base}/")).out
        got = await run("curl", "-sS", "-q", f"{base}/pub/README")
        assert got.out.startswith("Files of web01.corp.lan")
        missing = await run("curl", "-sS", "-q", f"{base}/nothing")
        assert missing.code == 78
        await until(lambda: len(running.events("disconnect")) == 6)
        assert secrets(running)[0] == ("bob", b"s3cret", "accepted")
        assert ("anonymous", b"ftp@example.com", "accepted") in secrets(running)
        told = [e.fields for e in running.events("upload")]
        assert [t["filename"] for t in told] == ["tools.zip", "tools.zip"]
        assert told[0]["sha256"] == hashlib.sha256(BOMB).hexdigest()
        assert told[0]["size_bytes"] == str(len(BOMB))
        (copy,) = kept(running)
        assert copy.read_bytes() == BOMB
        assert str(copy) == told[0]["stored_as"] == told[1]["stored_as"]
        assert copy.stat().st_mode & 0o777 == 0o600
        assert [e.fields["path"] for e in running.events("retr")] == ["/pub/README"]


@needs("lftp", "lftp")
async def test_ftp_session_by_lftp(tmp_path: Path) -> None:
    async with decoy(tmp_path, "ftp") as running:
        script = (
            "set net:max-retries 1; set ftp:ssl-allow no; "
            f"open -u root,toor -p {running.port} 127.0.0.1; "
            "cd incoming; mkdir x; cd x; put /etc/hostname -o a.txt; ls; rm a.txt; ls; bye"
        )
        ran = await run("lftp", "-c", script)
        assert ran.code == 0, ran.err
        assert ran.out.count("a.txt") == 1
        assert running.events("upload")[0].fields["path"] == "/incoming/x/a.txt"


async def test_ftp_calls_nobody_and_tells_a_bounce(tmp_path: Path) -> None:
    async with decoy(tmp_path, "ftp") as running:
        with ftplib.FTP(timeout=DEADLINE) as client:
            client.connect("127.0.0.1", running.port)
            with pytest.raises(ftplib.error_perm, match="530"):
                client.sendcmd("LIST")
            client.login("root", "x")
            for words in ("PORT 192,0,2,66,0,25", "EPRT |1|192.0.2.66|25|", "PORT 1,2,3"):
                with pytest.raises(ftplib.error_perm, match="500 Illegal"):
                    client.sendcmd(words)
            with pytest.raises(ftplib.error_temp, match="425"):
                client.sendcmd("LIST")
        bounces = [e.fields for e in running.events("tunneling_suspect")]
        assert [(b["dest_host"], b["dest_port"]) for b in bounces] == [("192.0.2.66", "25")] * 2


async def test_ftp_upload_has_a_bound_and_so_has_a_day(tmp_path: Path) -> None:
    env = {"DECNET_DECOY_CAPTURE_MB": "1", "DECNET_DECOY_CAPTURE_DAY_MB": "2"}
    async with decoy(tmp_path, "ftp", **env) as running:
        with ftplib.FTP(timeout=DEADLINE) as client:
            client.connect("127.0.0.1", running.port)
            client.login("root", "x")
            for number in range(4):
                source = tmp_path / "big"
                source.write_bytes(bytes([number]) * 3_000_000)
                with (
                    source.open("rb") as file,
                    pytest.raises((ftplib.Error, OSError)),
                ):
                    client.storbinary(f"STOR /incoming/{number}", file)
                client.close()
                client.connect("127.0.0.1", running.port)
                client.login("root", "x")
        await until(lambda: len(running.events("upload")) == 4)
        told = running.events("upload")
        assert all(t.fields["cut_short"] == "true" for t in told)
        sizes = [path.stat().st_size for path in kept(running)]
        assert sum(sizes) <= 2 << 20
        assert max(sizes) == 1 << 20
        assert not list(running.folder.glob("artifacts/**/.draft-*"))
