"""`bursar invoice`: what it prints for people and for programs, and how it ends."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from django.db import connection
from typer.testing import CliRunner, Result

from bursar.billing.models import Invoice
from bursar.config import invoice_cli, ledger_cli
from tests.factories.selling import Shop, make_running, make_shop, when

pytestmark = [pytest.mark.django_db, pytest.mark.slow]


@pytest.fixture(autouse=True)
def already_running(monkeypatch: pytest.MonkeyPatch) -> None:
    """The tests' own database runs already, and it is the day on which July is closed."""
    monkeypatch.setattr(ledger_cli, "_setup", lambda **_: None)
    monkeypatch.setattr(invoice_cli, "_now", lambda: when(8, 8))
    monkeypatch.setattr(ledger_cli.out, "_width", 200)


@pytest.fixture(scope="module")
def shop(standing: Callable[..., Any]) -> Shop:
    def make() -> Shop:
        made = make_shop({"base": (31, 1)})
        make_running(made, at=when(1))
        return made

    return standing(make)


def run(*words: object) -> Result:
    return CliRunner().invoke(invoice_cli.app, [str(word) for word in words])


def test_issue__a_month_that_is_over__once_and_said(shop: Shop) -> None:
    slug = shop.provider.organization.slug
    told = run("issue", "2026-07", "--seller", slug, "--json")
    assert (told.exit_code, json.loads(told.stdout)) == (0, [{"seller": slug, "issued": 1, "lines": 1}])
    again = run("issue", "2026-07")
    assert again.exit_code == 0
    assert [row.number_text for row in Invoice.objects.all()] == ["00001"]


@pytest.mark.parametrize(
    ("words", "code", "said"),
    [
        (("issue", "2026-08", "--seller", "SLUG"), 1, "is not over"),
        (("issue", "2026-08"), 1, "is not over"),
        (("issue", "2026-06", "--seller", "SLUG"), 1, "bills from July 2026 on"),
        (("issue", "July"), 2, "is not a month"),
        (("issue", "9999-12"), 2, "is not a month"),
        (("issue", "2026-07", "--seller", "nobody"), 2, "There is no seller nobody."),
        (("verify", "00009"), 2, "There is no invoice 00009."),
        (("export", "pdf"), 2, "A PDF is of one invoice"),
        (("export", "xml"), 2, "xml"),
    ],
)
def test_commands__what_cannot_be__said_in_words_and_nothing_written(
    shop: Shop, words: tuple[str, ...], code: int, said: str
) -> None:
    told = run(*(shop.provider.organization.slug if word == "SLUG" else word for word in words))
    assert (told.exit_code, said in " ".join(told.output.split())) == (code, True)
    assert Invoice.objects.count() == 0


def test_verify__as_issued_and_after_somebody_reached_into_the_tables__0_and_1(shop: Shop) -> None:
    run("issue", "2026-07")
    assert run("verify").output.strip() == "1 of 1 invoices are as they were issued."
    with connection.cursor() as cursor:
        cursor.execute("SET LOCAL session_replication_role = replica")
        cursor.execute("UPDATE invoice_line SET amount = amount + 1")
        cursor.execute("SET LOCAL session_replication_role = DEFAULT")
    told = run("verify", "--json")
    assert told.exit_code == 1
    (differs,) = json.loads(told.stdout)["differ"]
    assert (differs["number"], differs["kept"], differs["recomputed"]) == ("00001", False, True)


@pytest.mark.parametrize(("form", "begins"), [("csv", "invoice,"), ("json", '[{"'), ("focus", ""), ("pdf", "%PDF-")])
def test_export__each_form__written_to_a_file(shop: Shop, tmp_path: Path, form: str, begins: str) -> None:
    run("issue", "2026-07")
    file = tmp_path / f"out.{form}"
    assert run("export", form, "--output", file).exit_code == 0
    content = file.read_bytes()
    assert content.startswith(begins.encode())
    assert form == "pdf" or b"31" in content
    assert run("export", form, "--output", tmp_path / "no" / "such" / "folder").exit_code == 1


def test_export__of_a_span_and_a_customer__only_these(shop: Shop) -> None:
    run("issue", "2026-07")
    customer, seller = shop.customer.slug, shop.provider.organization.slug
    for words, count in (
        (("--month", "2026-07"), 1),
        (("--from", "2026-06", "--to", "2026-07", "--customer", customer, "--seller", seller), 1),
        (("--from", "2026-08"), 0),
        (("--to", "2026-06"), 0),
        (("--customer", seller), 0),
    ):
        assert len(json.loads(run("export", "json", *words).stdout)) == count, words
    assert run("export", "csv", "--customer", "nobody").exit_code == 2
    assert run("export", "csv", "--from", "July").exit_code == 2
