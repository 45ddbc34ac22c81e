"""The demo nation's data: numbers that check out, everybody priced has a seller, and when its months are closed."""

from datetime import UTC, date, datetime

import pytest
from stdnum import iban
from stdnum.eu import vat

from bursar.catalogue.models import ServiceProvider
from bursar.config.demo import world
from bursar.config.demo.invoicing import closed_months
from bursar.config.demo.made import World
from bursar.structure.models import Organization

SELLERS = {seller.provider: seller for seller in world.SELLERS}
ORGANIZATIONS = {organization.key: organization for organization in world.ORGANIZATIONS}


def utc(text: str) -> datetime:
    return datetime.fromisoformat(text).replace(tzinfo=UTC)


def a_world(today: datetime) -> World:
    """One in which only the sellers' calendars are known."""
    made = World(today=today)
    for key in world.PROVIDERS:
        zone = ORGANIZATIONS[key].time_zone
        made.providers[key] = ServiceProvider(organization=Organization(time_zone=zone))
    return made


def test_numbers__of_organizations_and_banks__check_out() -> None:
    numbers = {key: one.vat_number for key, one in ORGANIZATIONS.items() if one.vat_number}
    assert sorted(numbers) == ["alder", "ncc", "nordhavn", "sky"]
    assert [key for key, number in numbers.items() if not vat.is_valid(number)] == []
    assert [key for key, number in numbers.items() if not number.startswith(ORGANIZATIONS[key].country)] == []
    assert [seller.provider for seller in world.SELLERS if not iban.is_valid(seller.bank_account)] == []


def test_sellers_and_buyers__are_all_who_sell_and_buy() -> None:
    assert tuple(SELLERS) == world.PROVIDERS
    assert tuple(buyer.organization for buyer in world.BUYERS) == world.UNIVERSITIES
    assert {ORGANIZATIONS[key].country for key in SELLERS} == {country for country, *_ in world.TAX_RATES}


@pytest.mark.parametrize(
    ("seller", "today", "last", "count", "last_closed_at"),
    [
        ("ncc", "2026-11-26T12:00", (2026, 10), 12, "2026-11-10T23:07"),
        ("sky", "2026-11-26T12:00", (2026, 10), 12, "2026-11-10T22:07"),
        # seven minutes before October is closed in Copenhagen, an hour after it was in Helsinki
        ("ncc", "2026-11-10T23:00", (2026, 9), 11, "2026-10-10T22:07"),
        ("sky", "2026-11-10T23:00", (2026, 10), 12, "2026-11-10T22:07"),
    ],
)
def test_closed_months__when_days_of_grace_are_over__are_closed(
    seller: str, today: str, last: tuple[int, int], count: int, last_closed_at: str
) -> None:
    found = closed_months(a_world(utc(today)), SELLERS[seller])
    assert found[0][0] == date(2025, 11, 1)
    assert found[-1] == (date(*last, 1), utc(last_closed_at))
    assert len(found) == count
