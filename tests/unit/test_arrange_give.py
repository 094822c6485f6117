"""The state folder of a fleet that runs as another user than its manager."""

from __future__ import annotations

import os
import pwd
from pathlib import Path

import pytest

from decnet.run.arrange import arrange, give
from decnet.settings import Settings, SettingsError

pytestmark = pytest.mark.skipif(os.geteuid() != 0, reason="only root can give files away")
NOBODY = pwd.getpwnam("nobody").pw_uid


def test_give_leaves_secrets_and_the_folder_itself_ours(tmp_path: Path) -> None:
    state = tmp_path / "state"
    arrange(Settings.from_env({"DECNET_STATE_DIR": str(state)}))
    (state / "given").mkdir()
    (state / "given" / "admin-password").write_text("x")
    os.chown(state, NOBODY, -1)  # as an earlier version did
    for _ in range(2):
        give(state, "nobody")
        owners = {path.relative_to(state).as_posix(): path.lstat().st_uid
                  for path in (state, *state.rglob("*"))}  # fmt: skip
        kept = {name for name, uid in owners.items() if uid == 0}
        assert kept == {".", "jwt-secret", "admin-password", "given", "given/admin-password"}
        assert {uid for name, uid in owners.items() if name not in kept} == {NOBODY}
        assert state.stat().st_mode & 0o777 == 0o711, "to be passed through, and not to be listed"


def test_give_names_a_user_that_is_not_there(tmp_path: Path) -> None:
    with pytest.raises(SettingsError, match="'no-such-user' is no user of this machine"):
        give(tmp_path, "no-such-user")
