"""How a line is explained, and how figures are written."""

from collections.abc import Mapping
from datetime import date
from decimal import Decimal
from typing import Any

import pytest

from bursar.billing.documents import Line
from bursar.billing.explanation import Step, explain
from bursar.billing.pdf import aligned, period_of, trimmed
from bursar.kernel.sheet import cell, table


def line(basis: Mapping[str, Any], *, kind: str = "charge", **more: Any) -> Line:
    texts = dict.fromkeys(
        ("workspace", "resource", "offering", "component", "component_key", "billing", "limit_period", "product_type",
         "unit", "plan", "what", "tax_category", "tax_note"), "",
    )  # fmt: skip
    ids = dict.fromkeys(
        ("workspace_id", "project_id", "resource_id", "offering_id", "component_id", "plan_id", "price_id",
         "compensation_id", "credit_id"),
    )  # fmt: skip
    fields: dict[str, Any] = {
        **texts, **ids, "id": 1, "position": 1, "kind": kind, "month": date(2026, 10, 1), "first": date(2026, 10, 1),
        "last": date(2026, 10, 31), "quantity": Decimal(2), "unit_price": Decimal("0.5"), "amount": Decimal(1),
        "tax_percent": Decimal(0), "basis": basis,
    }  # fmt: skip
    return Line(**{**fields, **more})


@pytest.mark.parametrize(
    "basis, steps",
    [
        ({"amount": 4, "stretches": [{"from": "2026-10-20", "to": "2026-10-31", "days": 12, "of": 31}]},
         [Step("20 Oct 2026 – 31 Oct 2026", "4 × 12 of 31 days")]),
        ({"amount": 4, "stretches": [{"from": "2026-10-20", "to": "2026-10-20", "days": 1}]},
         [Step("20 Oct 2026", "4 × 1 days")]),
        ({"stretches": [{"from": "2026-10-01", "to": "2026-10-31", "days": 31, "limit": 150, "of": 31}]},
         [Step("1 Oct 2026 – 31 Oct 2026", "150 × 31 of 31 days")]),
        ({"amount": 1, "stretches": [
            {"from": "2026-10-01T08:00:00+00:00", "to": "2026-10-01T12:10:00+00:00", "hours": 4, "paused": 1}]},
         [Step("2026-10-01 10:00 – 2026-10-01 14:10", "1 × 4 hours begun (1 paused hour is free)")]),
        ({"stretches": [{"at": "2026-10-05T10:00:00+00:00", "before": 10, "limit": 20}]},
         [Step("2026-10-05 12:00", "limit 10 → 20")]),
        ({"stretches": [{"at": "2026-10-05T10:00:00+00:00"}]}, [Step("2026-10-05 12:00", "changed to this plan")]),
        ({"at": "2026-10-05T10:00:00+00:00"}, [Step("2026-10-05 12:00", "once")]),
        ({"tiers": "graduated", "whole": "15", "steps": [{"from": "0", "quantity": "10", "price": "2"}]},
         [Step("from 0 on", "10 at 2 each")]),
        ({"stretches": "nonsense", "steps": [3], "at": ""}, []),
    ],
)  # fmt: skip
def test_explain__each_way_of_billing__says_what_counted_when(basis: Mapping[str, Any], steps: list[Step]) -> None:
    assert list(explain(line(basis), "Europe/Berlin").steps) == steps


def test_explain__what_was_free_or_taken_off__is_noted() -> None:
    told = explain(
        line({
            "paused": [{"from": "2026-10-03", "to": "2026-10-04", "days": 2}], "whole": "100",
            "taken_off": [{"month": "2026-04", "amount": "32.97"}],
        }),
        "UTC",
    )  # fmt: skip
    assert told.notes == (
        "3 Oct 2026 to 4 Oct 2026: paused, so free",
        "The whole period comes to 100; taken off is what its earlier months were billed (2026-04: 32.97).",
    )
    assert told.sum == "the whole period minus its earlier months"
    assert explain(line({"quantity": "12/31"}), "UTC").sum == "12/31 × 0.5, then rounded once"
    assert explain(line({}, kind="credit"), "UTC").sum == ""
    assert len(explain(line({}, kind="adjustment"), "UTC").notes) == 1


def test_figures__of_any_length__are_trimmed_and_aligned() -> None:
    assert [trimmed(Decimal(x), 4) for x in ("0.38709677", "16.00", "-0.00001", "12345.5")] == [
        "0.3871", "16", "0", "12345.5",
    ]  # fmt: skip
    assert trimmed(Decimal("0.00005"), 4) == "0.0001"
    assert trimmed(Decimal("-0.00005"), 4) == "-0.0001"
    assert trimmed(Decimal(4), 10, 2) == "4.00"
    assert aligned(["100", "12.5", "0.3871"]) == [("100", ".0000"), ("12.5", "000"), ("0.3871", "")]
    assert aligned(["7", "12"]) == [("7", ""), ("12", "")]


def test_period__of_a_line__is_a_month_a_day_or_days() -> None:
    assert period_of(line({})) == "2026-10"
    assert period_of(line({}, first=date(2026, 10, 20))) == "2026-10-20 – 31"
    assert period_of(line({}, first=date(2026, 10, 31))) == "2026-10-31"


def test_sheet__with_what_would_act__holds_it_as_text() -> None:
    cells = ["=1+1", "+49 30", "-2", "-2 GB", "@x", "\tx", None, 3]
    assert [cell(one) for one in cells] == ["'=1+1", "'+49 30", "-2", "'-2 GB", "'@x", "'\tx", "", "3"]
    assert table(["a"], [["=b"]]) == "a\r\n'=b\r\n"


def test_explain__parts_of_an_hour__are_told_as_a_decimal_and_parts_of_a_month_as_a_fraction() -> None:
    steps = {"tiers": "graduated", "whole": "398353/1200", "steps": [{"from": "0", "quantity": "12/31", "price": "2"}]}
    told = explain(line(steps), "UTC")
    assert [step.how for step in told.steps] == ["12/31 at 2 each"]
    assert told.notes == ("Used in the whole month: ≈ 331.960833.",)
    assert explain(line({"quantity": "331/200"}), "UTC").sum == "1.655 × 0.5, then rounded once"


def test_explain__long_numbers__stand_as_decimals_with_thin_spaces() -> None:
    steps = {"tiers": "graduated", "whole": "23075123/360", "steps": [{"from": 50000, "quantity": 20000, "price": "2"}]}
    told = explain(line(steps), "UTC")
    assert list(told.steps) == [Step("from 50\u202f000 on", "20\u202f000 at 2 each")]
    assert told.notes == ("Used in the whole month: ≈ 64\u202f097.563889.",)
