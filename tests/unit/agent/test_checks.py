"""`bursar agent check` in words, on answers of a server that a test decides."""

from pathlib import Path
from typing import Any

import pytest

from bursar.agent import checks
from bursar.agent.client import Away, Refused
from bursar.agent.configuration import Configuration
from bursar.plugins.contract import Finding, Severity

RIGHTS = {
    "provider_id": 1, "provider": "Centre", "may_read": True, "may_manage_backends": True, "may_report_usage": True,
    "expires_at": "2027-01-01T00:00:00Z", "backends": [{"id": 1, "name": "Lockers", "plugin": "manual"}],
}  # fmt: skip


class Answers:
    """A server that says what it is told to say. `ahead`: by how many seconds its clock is ahead of ours."""

    def __init__(self, answer: Any, ahead: float = 0.0) -> None:
        self.answer, self.server_ahead_seconds = answer, ahead

    def get(self, _path: str) -> Any:
        if isinstance(self.answer, Exception):
            raise self.answer
        return self.answer


def configuration(folder: Path) -> Configuration:
    return Configuration.model_validate(
        {
            "server": {"url": "https://bursar.example.org", "token_file": str(folder / "token")},
            "agent": {"folder": str(folder / "state")},
            "backend": [{"name": "Lockers", "plugin": "manual", "settings": {"contact": "desk@example.org"}}],
        }
    )


def bad(folder: Path, answers: Answers) -> list[tuple[str, str]]:
    found = list(checks._server(answers, configuration(folder)))  # type: ignore[arg-type]
    return [(one.subject, one.message) for one in found if one.severity is not Severity.OK]


@pytest.mark.parametrize(
    ("answers", "said"),
    [
        (Answers(RIGHTS), []),
        (Answers(Away("no route")), [("Bursar", "https://bursar.example.org does not answer: no route")]),
        (Answers(Refused(401, "not_authenticated", "Send a valid token.")), [("Token", "Send a valid token.")]),
        (Answers(RIGHTS, ahead=-600), [("Clock", "The clock here is 600 s ahead of Bursar's.")]),
        (Answers(RIGHTS, ahead=600), [("Clock", "The clock here is 600 s behind Bursar's.")]),
        (Answers({**RIGHTS, "may_report_usage": False}), [("Rights", "The token may not: report usage.")]),
        (
            Answers({**RIGHTS, "backends": []}),
            [("Lockers", "The provider has no such backend with the plugin manual at its site; it has: none.")],
        ),
    ],
)
def test_check__of_the_server__says_what_would_not_work(
    tmp_path: Path, answers: Answers, said: list[tuple[str, str]]
) -> None:
    assert bad(tmp_path, answers) == said


def test_check__files__says_who_may_read_them_and_what_is_missing(tmp_path: Path) -> None:
    file = tmp_path / "agent.toml"
    file.write_text("")
    file.chmod(0o644)
    first, folder, token = list(checks.findings(configuration(tmp_path), file))
    assert (first.severity, first.advice) == (Severity.WARNING, f"chmod 640 {file}")
    assert folder == Finding(Severity.OK, "Folder", f"{tmp_path / 'state'} will be made")
    assert (token.subject, token.severity) == ("Token", Severity.BROKEN)
    assert token.message == f"server.token_file: there is no file {tmp_path / 'token'}"
