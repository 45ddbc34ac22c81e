"""What translators are given."""

import shutil
from pathlib import Path

import pytest
from django.core.management import call_command

pytestmark = pytest.mark.skipif(shutil.which("xgettext") is None, reason="GNU gettext is not here")


def test_makemessages__code_templates_and_refusals__are_all_found(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, settings: object
) -> None:
    (tmp_path / "locale").mkdir()
    (tmp_path / "errors.py").write_text('message = N_("“{text}” is not a number.")\n', encoding="utf-8")
    (tmp_path / "views.py").write_text('title = _("Said in code")\n', encoding="utf-8")
    (tmp_path / "page.html").write_text(
        '{% load i18n %}{% crumb _("Said in a tag") %}{% translate "Said" %}', encoding="utf-8"
    )
    monkeypatch.chdir(tmp_path)
    settings.LOCALE_PATHS = [str(tmp_path / "locale")]  # type: ignore[attr-defined]

    call_command("makemessages", locale=["et"], verbosity=0)

    found = (tmp_path / "locale/et/LC_MESSAGES/django.po").read_text(encoding="utf-8")
    for message in ("“{text}” is not a number.", "Said in code", "Said in a tag", "Said"):
        assert f'msgid "{message}"' in found
