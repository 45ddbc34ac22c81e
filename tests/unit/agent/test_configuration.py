"""The agent's file: what it takes, and what it says of what it does not take."""

from pathlib import Path

import pytest
from pydantic import SecretStr

from bursar.agent.configuration import Wrong, read

GOOD = """
[server]
url = "https://bursar.example.org/"
token_file = "{folder}/token"

[[backend]]
name = "Lockers"
plugin = "manual"
[backend.settings]
contact = {{ file = "{folder}/contact" }}
"""


def write(folder: Path, text: str = GOOD) -> Path:
    file = folder / "agent.toml"
    file.write_text(text.format(folder=folder))
    return file


def test_read__a_good_file__has_its_defaults_and_values_from_files(tmp_path: Path) -> None:
    (tmp_path / "token").write_text("bur_secret\n")
    (tmp_path / "contact").write_text("desk@example.org\n")
    configuration = read(write(tmp_path))
    assert (configuration.server.url, configuration.agent.workers) == ("https://bursar.example.org", 4)
    assert configuration.token() == SecretStr("bur_secret")
    plugin = configuration.plugin(configuration.backend[0])
    assert plugin.settings.model_dump()["contact"] == "desk@example.org"


@pytest.mark.parametrize(
    ("before", "after", "says"),
    [
        ("[server]", "[server", "is not TOML"),
        ("https://bursar.example.org/", "http://bursar.example.org", "server.url: Value error, an address that begins with"),
        ("https://bursar.example.org/", "https://me:pw@bursar.example.org", "without user, query or fragment"),
        ("token_file", "token", "server.token: Extra inputs are not permitted"),
        ('plugin = "manual"', 'plugin = "manual"\n[agent]\nworkers = 0\n[x]', "agent.workers: Input should be greater than"),
    ],
)  # fmt: skip
def test_read__a_fault__is_named_with_its_place(tmp_path: Path, before: str, after: str, says: str) -> None:
    text = GOOD.replace(before, after)
    with pytest.raises(Wrong) as refusal:
        read(write(tmp_path, text))
    assert says in str(refusal.value)
    assert "pw" not in str(refusal.value).replace("pwd", "")


def test_read__a_backend_twice_or_none__is_told(tmp_path: Path) -> None:
    with pytest.raises(Wrong, match="backend “Lockers” stands there twice"):
        read(write(tmp_path, GOOD + GOOD[GOOD.index("[[backend]]") :]))
    with pytest.raises(Wrong, match="backend: Field required"):
        read(write(tmp_path, GOOD[: GOOD.index("[[backend]]")]))


def test_read__no_file__says_how_to_name_one(tmp_path: Path) -> None:
    with pytest.raises(Wrong, match="name it with --config"):
        read(tmp_path / "none.toml")


def test_plugin__not_here_or_with_wrong_settings__is_told_without_values(tmp_path: Path) -> None:
    (tmp_path / "contact").write_text("s3cret\nlines")
    configuration = read(write(tmp_path, GOOD.replace('"manual"', '"warp"')))
    with pytest.raises(Wrong, match="the plugin warp cannot be used: it is not installed here"):
        configuration.plugin(configuration.backend[0])
    configuration = read(write(tmp_path, GOOD + 'colour = "s3cret"\n'))
    with pytest.raises(Wrong, match="settings: colour: Extra inputs are not permitted") as refusal:
        configuration.plugin(configuration.backend[0])
    assert "s3cret" not in str(refusal.value)


def test_token__missing_or_empty__says_which_file(tmp_path: Path) -> None:
    configuration = read(write(tmp_path))
    with pytest.raises(Wrong, match=r"server\.token_file: there is no file"):
        configuration.token()
    (tmp_path / "token").write_text("\n")
    with pytest.raises(Wrong, match="is empty"):
        configuration.token()
