"""Every word on a page can be translated, and no page needs what the content security policy forbids."""

import re
from html.parser import HTMLParser
from pathlib import Path

import pytest

from tests.architecture.source import PACKAGE

# One element of the login library's pages chooses its tag by a condition, which no HTML parser can follow.
UNREADABLE = {"web/templates/allauth/elements/button.html"}
TEMPLATES = sorted(
    path for path in PACKAGE.rglob("*.html")
    if "templates" in path.parts and str(path.relative_to(PACKAGE)) not in UNREADABLE
)  # fmt: skip
SPOKEN = {"title", "placeholder", "alt", "aria-label", "aria-description", "data-confirm", "data-copied", "label"}
LETTERS = re.compile(r"[^\W\d_]{2,}")
# Names of things that are the same in every language.
PROPER = re.compile(
    r"\b(Bursar|SLURM|OpenStack|OpenAPI|REST|API|CSV|JSON|openapi\.json|SSH|TOTP|QR|GiB|MiB|TiB|UTC|URL|ID|nbsp|times|middot)\b"
)


def bare(text: str) -> str:
    """The template without what is translated, computed or said to nobody."""
    text = re.sub(r"{#.*?#}", " ", text, flags=re.DOTALL)
    text = re.sub(r"{%\s*comment\b.*?{%\s*endcomment\s*%}", " ", text, flags=re.DOTALL)
    text = re.sub(r"{%\s*(blocktranslate|blocktrans)\b.*?{%\s*end\1\s*%}", " ", text, flags=re.DOTALL)
    text = re.sub(
        r"{%\s*block (?:width|\w*class)\s*%}.*?{%\s*endblock\b.*?%}", " ", text, flags=re.DOTALL
    )  # names of styles
    text = re.sub(r"{%.*?%}", " ", text, flags=re.DOTALL)
    return re.sub(r"{{.*?}}", " ", text, flags=re.DOTALL)


class Words(HTMLParser):
    def __init__(self, *, mail: bool) -> None:
        super().__init__(convert_charrefs=True)
        self.mail = mail
        self.found: list[str] = []
        self.silent = 0

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        if tag in {"script", "style", "code", "kbd", "pre"}:
            self.silent += 1
        for name, value in attrs:
            if name in SPOKEN and value and LETTERS.search(PROPER.sub("", value)):
                self.found.append(f'line {self.getpos()[0]}: {name}="{value.strip()}"')
            # Mail programs read no style sheets, so there the attribute is the only way.
            if (name == "style" and not self.mail) or name.startswith(("on", "hx-on")):
                self.found.append(f"line {self.getpos()[0]}: {name}= is forbidden by the content security policy")
            if name.startswith("hx-") and (value or "").strip().startswith(("js:", "javascript:")):
                self.found.append(f"line {self.getpos()[0]}: {name} is evaluated, which the policy forbids")

    def handle_endtag(self, tag: str) -> None:
        if tag in {"script", "style", "code", "kbd", "pre"}:
            self.silent = max(0, self.silent - 1)

    def handle_data(self, data: str) -> None:
        if not self.silent and LETTERS.search(PROPER.sub("", data)):
            self.found.append(f"line {self.getpos()[0]}: {' '.join(data.split())!r}")


def untranslated(text: str, *, mail: bool = False) -> list[str]:
    words = Words(mail=mail)
    words.feed(bare(text))
    words.close()
    return words.found


@pytest.mark.parametrize("template", TEMPLATES, ids=lambda path: str(Path(path).relative_to(PACKAGE)))
def test_template__its_words__go_through_gettext(template: Path) -> None:
    mail = "bursar_mail" in template.parts
    assert untranslated(template.read_text(encoding="utf-8"), mail=mail) == []


@pytest.mark.parametrize(
    "text",
    [
        "<p>Hello there</p>",
        '<input placeholder="Search">',
        '<a style="color: red">{{ name }}</a>',
        '<a onclick="go()">{{ name }}</a>',
        '<a hx-on:click="go()">{{ name }}</a>',
        """<a hx-vals='js:{"a": 1}'>{{ name }}</a>""",
    ],
)
def test_template_check__violation_planted__is_seen(text: str) -> None:
    assert len(untranslated(text)) == 1


def test_template_check__translated_and_computed__is_silent() -> None:
    text = """{% load i18n %}<p title="{% translate 'Hello' %}">{% blocktranslate %}Hello there{% endblocktranslate %}</p>
    <script type="application/json">{"a": "words"}</script>{# words #}{{ words }} · 42 <code>words</code>"""
    assert untranslated(text) == []


ENDS_AS_DAYS = re.compile(r"""{% when [\w.]*\b(?:end|until|member_until|expires_at|expiry) "date" %}""")


@pytest.mark.parametrize("template", TEMPLATES, ids=lambda path: str(Path(path).relative_to(PACKAGE)))
def test_template__the_end_of_a_period__is_told_by_its_last_day(template: Path) -> None:
    assert ENDS_AS_DAYS.findall(template.read_text(encoding="utf-8")) == []


@pytest.mark.parametrize("what", ["row.end", "state.until", "invitation.member_until", "one.allocation.end"])
def test_template_check__an_end_told_as_the_day_after_it__is_seen(what: str) -> None:
    assert len(ENDS_AS_DAYS.findall(f'{{% when {what} "date" %}}')) == 1
