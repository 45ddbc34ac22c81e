"""A new key stands first, the old ones stay, and nobody else may read them."""

import stat

from cryptography.fernet import Fernet
from typer.testing import CliRunner

from bursar.config.keys import load_keys
from bursar.config.keys_cli import app


def test_add__keys_in_the_home__new_one_first(tmp_path, monkeypatch):
    monkeypatch.delenv("BURSAR_KEYS", raising=False)
    monkeypatch.setenv("BURSAR_HOME", str(tmp_path))
    before = load_keys("", tmp_path)
    said = CliRunner().invoke(app, ["add"])
    assert said.exit_code == 0
    after = load_keys("", tmp_path)
    assert after[1:] == before
    assert len(Fernet(after[0]).encrypt(b"x")) > 0
    assert stat.S_IMODE((tmp_path / "keys").stat().st_mode) == 0o600
    assert after[0] not in said.output
    assert [path.name for path in tmp_path.iterdir()] == ["keys"]


def test_add__keys_in_the_environment__told_what_to_put_there(tmp_path, monkeypatch):
    monkeypatch.setenv("BURSAR_HOME", str(tmp_path))
    monkeypatch.setenv("BURSAR_KEYS", Fernet.generate_key().decode())
    said = CliRunner().invoke(app, ["add"])
    key = said.output.splitlines()[1].strip()
    assert Fernet(key)
    assert not list(tmp_path.iterdir())
