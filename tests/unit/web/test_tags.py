"""The words of the templates."""

from datetime import UTC, datetime, timedelta
from decimal import Decimal
from types import SimpleNamespace
from typing import Any

import pytest
from django.template import Context, Template
from django.utils import timezone

from bursar.kernel.money import Money
from bursar.kernel.quantity import Unit, grouped
from bursar.web.markdown import to_html
from bursar.web.states import LOOKS
from bursar.web.views.accounting import in_words

HOURS = Unit("core-hours", 3600)
AT = datetime(2026, 11, 21, 12, 0, tzinfo=UTC)


def shown(source: str, **context: Any) -> str:
    return Template("{% load bursar %}" + source).render(Context(context))


@pytest.mark.parametrize(
    ("plain", "thin"),
    [
        ("0", "0"),
        ("999", "999"),
        ("1000", "1\u202f000"),
        ("1234567.125", "1\u202f234\u202f567.125"),
        ("-1000", "\u22121\u202f000"),
    ],
)
def test_grouped__plain_decimal__has_thin_spaces(plain: str, thin: str) -> None:
    assert grouped(plain) == thin


def test_quantity__exact__says_its_unit() -> None:
    assert shown("{% quantity ticks unit %}", ticks=3600 * 1234, unit=HOURS) == (
        '<span class="num">1\u202f234&nbsp;<span class="unit">core-hours</span></span>'
    )


def test_quantity__rounded__keeps_the_exact_amount_in_the_title() -> None:
    html = shown("{% quantity ticks unit 1 %}", ticks=3601, unit=HOURS)
    assert 'title="1.000277777778 core-hours"' in html
    assert ">1&nbsp;" in html


def test_quantity__unknown__is_a_dash() -> None:
    assert "–" in shown("{% quantity ticks unit %}", ticks=None, unit=HOURS)


def test_quantity__hostile_unit__is_escaped() -> None:
    assert "<b>" not in shown("{% quantity 1 unit %}", unit=Unit("<b>", 1))


def test_money__decimal__is_rounded_to_the_minor_unit() -> None:
    assert '1\u202f234.50&nbsp;<span class="unit">EUR</span>' in shown(
        "{% money m %}", m=Money.rounded(Decimal("1234.495"), "EUR")
    )
    assert '13&nbsp;<span class="unit">JPY</span>' in shown('{% money m "JPY" %}', m=Decimal("12.5"))


def test_when__viewer_elsewhere__shows_local_time_and_utc() -> None:
    with timezone.override("Europe/Tallinn"):
        html = shown("{% when t %}", t=AT)
    assert html == (
        '<time datetime="2026-11-21T12:00:00Z" title="2026-11-21 14:00 EET · 2026-11-21 12:00:00 UTC">'
        "21 Nov 2026, 14:00</time>"
    )


@pytest.mark.parametrize(
    ("part", "whole", "said"),
    [
        (7947, 10000, "79.5\u202f%"),
        (2053, 10000, "20.5\u202f%"),
        (19995, 20000, "100.0\u202f%"),
        (-1, 8, "\u221212.5\u202f%"),
        (0, 0, "–"),
        (2**63 - 1, 3, "307\u202f445\u202f734\u202f561\u202f825\u202f860\u202f233.3\u202f%"),
    ],
)
def test_share__of_a_whole__is_rounded_to_a_tenth_of_a_percent(part: int, whole: int, said: str) -> None:
    assert shown("{{ part|share:whole }}", part=part, whole=whole) == said


@pytest.mark.parametrize(
    ("ticks", "said"),
    [
        (3600 * 1234 + 1234, "1\u202f234.34 core-hours"),
        (3600 - 1, "1 core-hour"),
        (1, "0.000277777778 core-hours"),  # rounded it would be nothing, which is not what is said
        (0, "0 core-hours"),
    ],
)
def test_in_words__an_amount__has_two_decimals(ticks: int, said: str) -> None:
    assert in_words(ticks, HOURS) == said


@pytest.mark.parametrize(
    ("price", "currency", "said"),
    [("0.5", "EUR", "0.50"), ("1234.125", "EUR", "1\u202f234.125"), ("12", "JPY", "12"), ("0.0012", "USD", "0.0012")],
)
def test_unit_price__of_a_line__has_the_decimals_of_its_currency_at_least(price: str, currency: str, said: str) -> None:
    html = Template("{% load billing %}{% unit_price price currency %}").render(
        Context({"price": Decimal(price), "currency": currency})
    )
    assert html == f'<span class="num">{said}&nbsp;<span class="unit">{currency}</span></span>'


@pytest.mark.parametrize(
    ("end", "day"),
    [
        (datetime(2026, 12, 31, 22, 0, tzinfo=UTC), "31 Dec 2026"),  # midnight in Tallinn
        (datetime(2026, 12, 31, 22, 0, 1, tzinfo=UTC), "1 Jan 2027"),
        (datetime(2026, 12, 31, 9, 30, tzinfo=UTC), "31 Dec 2026"),
    ],
)
def test_when__last__is_the_last_day_that_the_period_touches_where_the_viewer_is(end: datetime, day: str) -> None:
    with timezone.override("Europe/Tallinn"):
        assert f">{day}</time>" in shown('{% when t "last" %}', t=end)


@pytest.mark.parametrize(
    ("ahead", "said"),
    [
        (timedelta(days=3), "in 3\xa0days"),
        (timedelta(hours=-2), "2\xa0hours ago"),
        (timedelta(seconds=5), "just now"),
    ],
)
def test_when__relative__counts_from_the_instant_of_the_request(ahead: timedelta, said: str) -> None:
    request = SimpleNamespace(at=AT)
    assert f">{said}</time>" in shown('{% when t "relative" %}', t=AT + ahead, request=request)


@pytest.mark.parametrize(
    ("used", "quota", "value", "colour", "title"),
    [
        (0, 100, 0, "primary", "0% used"),
        (74, 100, 74, "primary", "74% used"),
        (75, 100, 75, "yellow", "75% used"),
        (90, 100, 90, "orange", "90% used"),
        (999, 1000, 99, "orange", "99% used"),
        (100, 100, 100, "red", "100% used"),
        (250, 100, 100, "red", "250% used"),
        (5, 0, 100, "red", "100+% used"),
        (0, 0, 0, "primary", "0% used"),
    ],
)
def test_bar__used_of_quota__is_never_full_before_it_is(
    used: int, quota: int, value: int, colour: str, title: str
) -> None:
    html = shown("{% bar used quota %}", used=used, quota=quota)
    assert f'class="progress progress-{colour}"' in html
    assert f'value="{value}"' in html
    assert f'title="{title}"' in html
    assert "style" not in html


def test_state__each_known_one__has_words() -> None:
    for name, look in LOOKS.items():
        html = shown("{% state value %}", value=name)
        assert str(look.words) in html
        assert f"bg-{look.colour}-lt" in html


def test_state__unknown__is_shown_as_it_is() -> None:
    assert "Very odd" in shown("{% state value %}", value="very_odd")


def test_markdown__by_a_stranger__cannot_act() -> None:
    html = to_html(
        "# Title\n\n<script>alert(1)</script> [x](javascript:alert(1)) ![i](http://evil/x.png) "
        "[ok](https://example.org) **bold**\n\n| a |\n|---|\n| b |"
    )
    assert "<h3>Title</h3>" in html
    assert "<strong>bold</strong>" in html
    assert "<td>b</td>" in html
    assert 'rel="noopener noreferrer nofollow"' in html
    for danger in ("<script", "javascript:", "<img", "style="):
        assert danger not in html.replace("[x](javascript:alert(1))", "")


def test_chart__nothing_in_it__says_so() -> None:
    data = {"kind": "bar", "unit": "h", "x": ["a"], "series": [{"name": "s", "values": [0]}]}
    assert "no numbers" in shown('{% chart data "Usage" %}', data=data)


def test_chart__data_by_a_stranger__cannot_leave_its_block() -> None:
    data = {"kind": "bar", "unit": "</script><script>x", "x": ["a"], "series": [{"name": "s", "values": [1]}]}
    html = shown('{% chart data "Usage" %}', data=data)
    assert "</script><script>x" not in html
    assert '<th scope="row">a</th><td class="num">1</td>' in html
