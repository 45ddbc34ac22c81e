"""What leaves of an invoice: PDF, CSV, JSON and FOCUS, each with the exact figures."""

import csv
import io
import json
import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import date
from decimal import Decimal
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import pypdfium2
import pytest
from django.db import connection
from django.test.utils import CaptureQueriesContext

from bursar.billing import documents, exports, focus, lookup, pdf
from bursar.billing.documents import credit_note_document, document_of
from bursar.billing.errors import SpanNotPossible
from bursar.billing.models import Buyer, CreditNote, CreditNoteLine, Invoice, Payment, Seller
from bursar.provisioning.models import Resource
from bursar.structure.models import Organization
from tests.factories.billing import ISSUED, Trade, line, make_invoice, make_trade
from tests.factories.structure import LONG_AGO

pytestmark = [pytest.mark.django_db, pytest.mark.slow]


@pytest.fixture(scope="module")
def trade(standing: Callable[..., Any]) -> Trade:
    made: Trade = standing(make_trade)
    return made


def all_kinds(trade: Trade, **more: Any) -> Invoice:
    """Two rates, an adjustment of August, a compensation and a credit."""
    lines = [
        line(trade, trade.cpu, "12345.6789", "493.83"),
        line(
            trade, trade.disk, "15.4838709677", "3.87", percent=7, tax_category="reduced",
            basis={"quantity": "480/31", "first": "2026-10-20", "last": "2026-10-31"},
        ),
        line(trade, trade.cpu, -5, "-0.20", kind="adjustment", month=date(2026, 8, 1)),
        line(trade, None, 1, -25, kind="compensation", names={"text": "=cmd|'/c calc'!A1"}),
        line(trade, None, 1, -7, kind="credit", names={"text": "Granted for teaching"}),
    ]  # fmt: skip
    return make_invoice(trade, lines, **more)


@contextmanager
def opened(data: bytes) -> Iterator[list[str]]:
    """The text of each page."""
    document = pypdfium2.PdfDocument(data)
    pages = []
    for page in document:
        text = page.get_textpage()
        pages.append(text.get_text_bounded().replace("\u202f", " ").replace("\u2212", "-").replace("\r\n", "\n"))
        text.close()
        page.close()
    yield pages
    document.close()


def right_edges(data: bytes, words: list[str]) -> list[int]:
    """Where each of the words ends on the first page, in points."""
    document = pypdfium2.PdfDocument(data)
    page = document[0]
    text = page.get_textpage()
    edges = []
    for word in words:
        found = text.search(word, match_case=True, match_whole_word=True)
        at = found.get_next()
        assert at is not None, word
        edges.append(round(text.get_charbox(at[0] + at[1] - 1)[2]))
        found.close()
    text.close()
    page.close()
    document.close()
    return edges


# ------------------------------------------------------------------------------------------------ on paper
def test_pdf__of_an_issued_invoice__says_who_what_how_much_and_until_when(trade: Trade) -> None:
    invoice = all_kinds(trade, paid=100)
    with opened(pdf.invoice_pdf(invoice)) as (page,):
        said = " ".join(page.split())
    for text in (
        "Centre for Computing GmbH", "Hauptstraße 1 10115 Berlin", "VAT number DE136695976", "billing@centre.example",
        "University of the North Campus 7 24118 Kiel", "Your reference: PO-4711", f"Number {invoice.number_text}",
        "Date 8 Nov 2026", "Month October 2026", "Due 8 Dec 2026", "Ice cores 497.70", "CPU time 2026-10 12 345.6789",
        "Storage 2026-10-20 – 31 15.4839", "Adjustments of earlier months", "for August 2026", "Compensations",
        "Granted for teaching -7.00", "Net 465.50", "VAT 19% on 461.63 87.71", "VAT 7% (reduced) on 3.87 0.27",
        "Total EUR 553.48", "Paid -100.00", "Due EUR 453.48", "Page 1 of 1",
        f"Please pay to DE89 3704 0044 0532 0130 00 until 8 Dec 2026, naming {invoice.number_text}.",
    ):  # fmt: skip
        assert text in said, (text, said)


def test_pdf__figures__stand_below_one_another(trade: Trade) -> None:
    data = pdf.invoice_pdf(all_kinds(trade))
    amounts = right_edges(data, ["493.83", "3.87", "-0.20".replace("-", "−"), "465.50", "553.48"])
    assert len(set(amounts)) == 1, amounts
    whole, fraction = right_edges(data, ["12\u202f345.6789", "15.4839"])
    assert whole == fraction


def test_pdf__of_the_same_invoice__has_the_same_bytes(trade: Trade) -> None:
    invoice = all_kinds(trade)
    assert pdf.invoice_pdf(invoice) == pdf.invoice_pdf(Invoice.objects.get(pk=invoice.pk))


def test_pdf__of_a_text_that_looks_like_markup__shows_it_as_it_is(trade: Trade) -> None:
    text = '#panic("x") *not bold* $x$ <label> @reference \\ `raw` //'
    invoice = make_invoice(trade, [line(trade, None, 1, -1, kind="compensation", names={"text": text})])
    with opened(pdf.invoice_pdf(invoice)) as (page,):
        assert text in " ".join(page.split())


def test_pdf__of_a_currency_without_cents__has_none() -> None:
    trade = make_trade(currency="JPY")
    lines = [line(trade, trade.cpu, 1234567, 49383, percent=10), line(trade, trade.disk, 16, 4, percent=8)]
    with opened(pdf.invoice_pdf(make_invoice(trade, lines))) as (page,):
        said = " ".join(page.split())
    assert "Net 49 387 VAT 10% on 49 383 4 938 VAT 8% on 4 0 Total JPY 54 325 Due JPY 54 325" in said


def test_pdf__of_a_buyer_elsewhere_in_the_union__says_who_owes_the_tax(trade: Trade) -> None:
    customer = Organization.objects.create(name="Lund", slug="lund", country="SE", vat_number="SE556036079301")
    Buyer.objects.create(organization=customer, legal_name="Lunds universitet", address="Box 117\n221 00 Lund")
    abroad = make_trade(provider=trade.provider, customer=customer)
    lines = [line(abroad, abroad.cpu, 100, 4, percent=0, tax_note="reverse_charge")]
    with opened(pdf.invoice_pdf(make_invoice(abroad, lines))) as (page,):
        said = " ".join(page.split())
    assert "Lunds universitet Box 117 221 00 Lund SE VAT number SE556036079301" in said
    assert "Reverse charge: the recipient owes the tax on 4.00 0.00" in said
    assert "The recipient owes the value added tax (article 196 of directive 2006/112/EC)." in said


def test_pdf__of_an_open_invoice__says_that_it_is_none(trade: Trade) -> None:
    invoice = make_invoice(trade, issued=False)
    with opened(pdf.invoice_pdf(invoice)) as (page,):
        said = " ".join(page.split())
    assert "Not an invoice: the month is not closed. Computed 2026-11-08 09:00 UTC; amounts may change" in said
    assert "Provisional statement" in said
    assert "Due" not in said
    assert "Number" not in said


def credit(invoice: Invoice, amount: str, net: str, tax: str) -> CreditNote:
    note = CreditNote.objects.create(
        invoice=invoice, provider=invoice.provider, number=1, number_text="CC-G00001", reason="Reported twice",
        net=Decimal(net), tax=Decimal(tax), total=Decimal(net) + Decimal(tax), issued_at=ISSUED, after_invoice=invoice.number or 0,
    )  # fmt: skip
    CreditNoteLine.objects.create(credit_note=note, line=invoice.lines.get(position=1), amount=Decimal(amount))
    return note


def test_pdf__of_a_credit_note__is_negative_and_names_its_invoice(trade: Trade) -> None:
    invoice = all_kinds(trade)
    note = credit(invoice, "100.00", "100", "19")
    with opened(pdf.credit_note_pdf(note)) as (page,):
        said = " ".join(page.split())
    assert f"Takes back {invoice.number_text}: Reported twice" in said
    assert "CPU time 2026-10 -2 499.9856 core-hours 0.04 -100.00" in said
    assert "Net -100.00 VAT 19% on -100.00 -19.00 Total EUR -119.00" in said


def test_pdf__as_frozen__does_not_follow_what_changes_later(trade: Trade) -> None:
    invoice = make_invoice(
        trade,
        parties={
            "seller": {"name": "Old Centre", "country": "DE"},
            "buyer": {"name": "Old University", "country": "DE"},
        },
    )
    Seller.objects.filter(provider=trade.provider).update(legal_name="New Centre")
    with opened(pdf.invoice_pdf(invoice)) as (page,):
        assert "Old Centre" in page
        assert "Old University" in page
        assert "New Centre" not in page


def many(trade: Trade, count: int) -> Invoice:
    """Two lines for each resource, of six projects."""
    trades = [make_trade(provider=trade.provider, customer=trade.customer, project=f"Project {k}") for k in range(6)]
    wanted = [
        Resource(
            workspace=own.workspace, offering=own.offering, name=f"vm-{k:05}", plan=own.plan, desired_plan=own.plan,
            state="ok", created_at=LONG_AGO,
        )
        for k in range(count // 2) for own in (trades[k % 6],)
    ]  # fmt: skip
    made = Resource.objects.bulk_create(wanted)
    lines = []
    for k, one in enumerate(made):
        own = trades[k % 6]
        lines.append(line(own, own.cpu, Decimal(k) + Decimal("0.25"), Decimal(k) / 100, resource=one))
        lines.append(line(own, own.disk, k, Decimal(k) / 4, resource=one))
    return make_invoice(trade, lines, month=date(2026, 7, 1))


def test_pdf__over_several_pages__repeats_its_head_and_counts_its_pages(trade: Trade) -> None:
    with opened(pdf.invoice_pdf(many(trade, 240))) as pages:
        assert len(pages) == 7
        for number, page in enumerate(pages, start=1):
            assert f"Page {number} of 7" in page
            assert "Unit price" in page
            assert "Project " in page  # whose lines these are is said again
        assert "Total" in pages[-1]


@pytest.mark.soak
def test_pdf__of_five_thousand_lines__is_made_in_bounded_time_and_memory(trade: Trade, tmp_path: Path) -> None:
    document = document_of(many(trade, 5000))
    # In a process of its own, so that the peak is that of this document.
    (tmp_path / "data.json").write_text(json.dumps(pdf.on_paper(document)))
    program = (
        "import sys, time, typst\n"
        "from bursar.config.bench.peak import peak_mib\n"
        "begin = time.monotonic()\n"
        "made = typst.compile(sys.argv[1], format='pdf', ignore_system_fonts=True, font_paths=[], timestamp=0,\n"
        "    pdf_tags=False, sys_inputs={'data': open(sys.argv[2]).read()})\n"
        "print(len(made), time.monotonic() - begin, peak_mib())\n"
    )
    template = Path(pdf.__file__).parent / "paper" / "invoice.typ"
    done = subprocess.run(
        [sys.executable, "-c", program, str(template), str(tmp_path / "data.json")],
        capture_output=True, text=True, check=True,
    )  # fmt: skip
    size, seconds, mebibytes = map(float, done.stdout.split())
    assert size < 1_000_000
    assert seconds < 60
    assert mebibytes < 600


# ------------------------------------------------------------------------------------------------ for programs
def test_csv__of_lines__is_exact_and_nothing_in_it_acts(trade: Trade) -> None:
    invoice = all_kinds(trade)
    rows = list(csv.DictReader(io.StringIO(exports.lines_csv([document_of(invoice)]))))
    assert [(r["kind"], r["month"], r["quantity"], r["exact_quantity"], r["amount"]) for r in rows] == [
        ("charge", "2026-10", "12345.6789", "12345.6789", "493.83"),
        ("charge", "2026-10", "15.4838709677", "480/31", "3.87"),
        ("adjustment", "2026-08", "-5", "-5", "-0.20"),
        ("compensation", "2026-10", "1", "1", "-25.00"),
        ("credit", "2026-10", "1", "1", "-7.00"),
    ]
    assert [row["description"] for row in rows] == [
        "CPU time", "Storage", "CPU time", "'=cmd|'/c calc'!A1", "Granted for teaching",
    ]  # fmt: skip
    assert (rows[1]["first_day"], rows[1]["last_day"], rows[1]["unit_price"]) == ("2026-10-20", "2026-10-31", "0.25")
    assert {row["invoice"] for row in rows} == {invoice.number_text}


def test_json__of_an_invoice__adds_up(trade: Trade) -> None:
    invoice = all_kinds(trade, paid=100)
    Payment.objects.create(invoice=invoice, amount=100, paid_on=date(2026, 11, 20), recorded_at=ISSUED)
    told = exports.document_json(document_of(invoice))
    assert json.loads(json.dumps(told)) == told
    assert (told["net"], told["tax"], told["total"], told["paid"], told["due"]) == (
        "465.50", "87.98", "553.48", "100.00", "453.48",
    )  # fmt: skip
    assert sum(Decimal(one["amount"]) for one in told["lines"]) == Decimal("465.50")
    assert told["taxes"] == [
        {"category": "standard", "percent": "19", "note": "", "net": "461.63", "tax": "87.71"},
        {"category": "reduced", "percent": "7", "note": "", "net": "3.87", "tax": "0.27"},
    ]
    assert told["payments"][0]["amount"] == "100.00"
    assert told["lines"][1]["exact_quantity"] == "480/31"


def test_document__of_many_lines__asks_no_more_than_of_few(trade: Trade) -> None:
    def queries(invoice: Invoice) -> int:
        fresh = Invoice.objects.select_related("provider__organization", "customer").get(pk=invoice.pk)
        with CaptureQueriesContext(connection) as asked:
            focus.focus_csv([document_of(fresh)])
        return len(asked)

    assert queries(all_kinds(trade)) == queries(many(trade, 60)) == 6


# ------------------------------------------------------------------------------------------------ of many at once
def span_of(trade: Trade, first: date, last: date) -> Any:
    return lookup.of_span(Invoice.objects.filter(provider=trade.provider), first=first, last=last)


def test_stream__of_a_span__has_its_issued_invoices_and_their_credit_notes_and_adds_up(trade: Trade) -> None:
    august = make_invoice(trade, month=date(2026, 8, 1))
    october = all_kinds(trade)
    note = credit(october, "100.00", "100", "19")
    make_invoice(trade, month=date(2026, 9, 1), issued=False)
    make_invoice(trade, month=date(2026, 7, 1))
    found = span_of(trade, date(2026, 8, 1), date(2026, 10, 1))
    told = json.loads("".join(exports.stream("json", found)))
    assert [(one["kind"], one["number"], one["total"]) for one in told] == [
        ("invoice", august.number_text, "9.37"),
        ("invoice", october.number_text, "553.48"),
        ("credit_note", note.number_text, "-119.00"),
    ]
    assert told[1] == exports.document_json(document_of(october))
    assert told[2] == exports.document_json(credit_note_document(note))
    rows = list(csv.DictReader(io.StringIO("".join(exports.stream("csv", found)))))
    assert [row["amount"] for row in rows] == ["4.00", "3.87", "493.83", "3.87", "-0.20", "-25.00", "-7.00", "-100.00"]
    billed = list(csv.DictReader(io.StringIO("".join(exports.stream("focus", found)))))
    assert focus.billed(billed) == Decimal("9.37") + Decimal("553.48") - Decimal("119.00")
    assert "".join(exports.stream("focus", found)) == focus.focus_csv(
        [document_of(august), document_of(october), credit_note_document(note)]
    )


def test_stream__of_nothing__is_heads_or_an_empty_array(trade: Trade) -> None:
    nothing = span_of(trade, date(2026, 1, 1), date(2026, 1, 1))
    assert "".join(exports.stream("json", nothing)) == "[]\n"
    assert "".join(exports.stream("csv", nothing)).splitlines() == [",".join(exports.COLUMNS)]


def test_stream__of_more_invoices__asks_no_more_and_begins_before_all_is_read(
    trade: Trade, monkeypatch: pytest.MonkeyPatch
) -> None:
    parties = {"seller": {"name": "Centre"}, "buyer": {"name": "University"}}  # frozen, as they are once it is issued

    def queries(count: int) -> int:
        for _ in range(count):
            invoice = make_invoice(make_trade(provider=trade.provider), parties=parties)
            if count == 1:
                credit(invoice, "1.00", "1", "0.19")
        with CaptureQueriesContext(connection) as asked:
            for _ in exports.stream("csv", span_of(trade, date(2026, 10, 1), date(2026, 10, 1))):
                pass
        return len(asked)

    assert queries(1) == queries(4) == 7
    monkeypatch.setattr(documents, "INVOICES_AT_ONCE", 2)
    with CaptureQueriesContext(connection) as asked:
        parts = exports.stream("json", span_of(trade, date(2026, 10, 1), date(2026, 10, 1)))
        next(parts)
        begun = len(asked)
        assert len(list(parts)) == 5 + 1  # four more, the credit note, and the end
    assert (begun, len(asked)) == (7, 2 + 5 + 4 + 4)


@pytest.mark.parametrize(
    "span",
    [
        {},
        {"first": date(2026, 8, 1)},
        {"last": date(2026, 8, 1)},
        {"first": date(2026, 9, 1), "last": date(2026, 8, 1)},
        {"month": date(2026, 9, 1), "last": date(2026, 9, 1)},
    ],
)
def test_of_span__not_a_span__refused(span: dict[str, date]) -> None:
    with pytest.raises(SpanNotPossible):
        lookup.of_span(Invoice.objects.all(), **span)


# ------------------------------------------------------------------------------------------------ FOCUS
def test_focus__of_an_invoice__has_corrections_taxes_and_the_total(trade: Trade) -> None:
    rows = list(focus.focus_rows(document_of(all_kinds(trade))))
    assert [(r["ChargeCategory"], r["ChargeClass"], r["ChargeFrequency"], r["BilledCost"]) for r in rows] == [
        ("Usage", None, "Usage-Based", "493.83"),
        ("Usage", None, "Usage-Based", "3.87"),
        ("Usage", "Correction", "Usage-Based", "-0.20"),
        ("Adjustment", None, "One-Time", "-25.00"),
        ("Credit", None, "One-Time", "-7.00"),
        ("Tax", None, "One-Time", "87.71"),
        ("Tax", None, "One-Time", "0.27"),
    ]
    assert focus.billed(rows) == Decimal("553.48")
    storage, adjusted = rows[1], rows[2]
    # Days are those of Berlin.
    assert (storage["ChargePeriodStart"], storage["ChargePeriodEnd"]) == (
        "2026-10-19T22:00:00Z",
        "2026-10-31T23:00:00Z",
    )
    assert (adjusted["ChargePeriodStart"], adjusted["ChargePeriodEnd"]) == (
        "2026-07-31T22:00:00Z", "2026-08-31T22:00:00Z",
    )  # fmt: skip
    assert adjusted["BillingPeriodStart"] == "2026-09-30T22:00:00Z"
    assert storage["SubAccountId"] == f"project-{trade.project.pk}"
    assert storage["ResourceId"] == f"resource-{trade.resource.pk}"
    assert {r["EffectiveCost"] == r["BilledCost"] for r in rows} == {True}


VALIDATOR = Path(sys.prefix) / "focus" / "bin" / "focus-validator"
# Two rules of the validator are at odds with the specification: the column is called ResourceId there, and ChargeType is
# the name that ChargeCategory bore before 1.0. What they mean to ask is asked below.
AT_ODDS = ["ResourceID_Required", "SkuPriceId_Nullable"]


@pytest.mark.slow
@pytest.mark.skipif(
    not VALIDATOR.exists(), reason="the FOCUS validator is not there; `make test` sets it up (requirements/focus.txt)"
)
def test_focus__of_a_real_export__passes_the_validator(trade: Trade, tmp_path: Path) -> None:
    credit(all_kinds(trade), "100.00", "100", "19")
    make_invoice(trade, month=date(2026, 9, 1))
    other = make_trade(provider=trade.provider, resource="elsewhere")
    make_invoice(other, month=date(2026, 9, 1))
    export, answer, overrides = tmp_path / "focus.csv", tmp_path / "answer.xml", tmp_path / "overrides.yaml"
    export.write_text("".join(exports.stream("focus", Invoice.objects.order_by("provider_id", "number"))))
    overrides.write_text("".join(["overrides:\n", *(f"  - {name}\n" for name in AT_ODDS)]))
    packages = next(VALIDATOR.parent.parent.glob("lib/python*/site-packages"))
    command = [
        str(VALIDATOR), "--data-file", str(export), "--validate-version", "1.0", "--override-file", str(overrides),
        "--output-type", "unittest", "--output-destination", str(answer),
    ]  # fmt: skip
    # It looks for its list of currencies below the folder in which it is started.
    environment = {name: value for name, value in os.environ.items() if not name.startswith("PYTHON")}
    done = subprocess.run(command, cwd=packages, env=environment, capture_output=True, text=True, check=False)
    assert answer.exists(), done.stdout + done.stderr
    told = ElementTree.parse(answer).getroot()
    failed = [case.get("name") for case in told.iter("testcase") if case.find("failure") is not None]
    assert (failed, told.get("tests"), told.get("skipped")) == ([], "133", "2")
    rows = list(csv.DictReader(io.StringIO(export.read_text())))
    assert len({row["InvoiceId"] for row in rows}) == 3
    assert len({row["BillingAccountId"] for row in rows}) == 2
    assert all("ResourceId" in row for row in rows)
    assert all(row["SkuPriceId"] for row in rows if row["ChargeCategory"] in {"Usage", "Purchase"})
