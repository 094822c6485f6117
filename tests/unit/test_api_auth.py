"""Passwords, tokens and the brake, without a server."""

from __future__ import annotations

import pytest

from decnet.web.api import auth

SECRET = "a secret of thirty-two characters"


def test_password_is_verified_and_never_stored() -> None:
    stored = auth.hash_password("correct horse")
    assert "horse" not in stored
    assert auth.verify_password("correct horse", stored)
    assert not auth.verify_password("wrong horse", stored)
    assert auth.hash_password("correct horse") != stored


@pytest.mark.parametrize("stored", ["", "x", "pbkdf2$a$b$c", "pbkdf2$1$!$!", "md5$1$YQ==$YQ=="])
def test_password_malformed_hash_matches_nothing(stored: str) -> None:
    assert not auth.verify_password("", stored)


def test_token_carries_its_claims_and_only_its_own_secret_opens_it() -> None:
    token = auth.mint(SECRET, "ann", "viewer")
    identity = auth.check(SECRET, token)
    assert (identity.username, identity.role) == ("ann", "viewer")
    with pytest.raises(auth.BadToken, match="valid"):
        auth.check(SECRET + "!", token)
    with pytest.raises(auth.BadToken, match="expired"):
        auth.check(SECRET, auth.mint(SECRET, "ann", "viewer", lifetime=-1))


def test_brake_stops_after_its_limit_and_lets_go_after_its_window() -> None:
    brake = auth.LoginBrake(limit=3, window=60)
    for _ in range(3):
        assert brake.wait_seconds("ip:a", now=100) == 0
        brake.failed("ip:a", now=100)
    assert brake.wait_seconds("ip:a", now=101) == 59
    assert brake.wait_seconds("ip:b", now=101) == 0
    assert brake.wait_seconds("ip:a", now=161) == 0


def test_brake_forgets_the_oldest_names_first() -> None:
    brake = auth.LoginBrake(limit=1, keys=2)
    for name in ("a", "b", "c"):
        brake.failed(name, now=1)
    assert [brake.wait_seconds(name, now=2) > 0 for name in "abc"] == [False, True, True]
