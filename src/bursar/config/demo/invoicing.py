"""The demo nation's money: a year of invoices closed when their days of grace were over, what became of them, and budgets.

A month is closed when the story's clock comes to that day, before anything later is written: so each invoice stands on what
was known then, and can be verified.
"""

from collections.abc import Callable
from datetime import UTC, date, datetime, timedelta
from decimal import ROUND_FLOOR, Decimal
from functools import partial
from typing import Final, NamedTuple
from zoneinfo import ZoneInfo

from bursar.billing import services as billing
from bursar.billing.budgets import spending_of
from bursar.billing.models import Budget, Credit, Invoice, InvoiceLine
from bursar.billing.services import budgets
from bursar.catalogue import services as catalogue
from bursar.catalogue.models import Plan
from bursar.config.demo import world
from bursar.config.demo.made import World
from bursar.engine.budget import Threshold
from bursar.engine.rating.calendar import Month
from bursar.metering.models import UsageReport
from bursar.metering.services import Report, post_reports
from bursar.provisioning.models import Resource

# What happens to an invoice, in days after it was issued.
CREDITED_AFTER: Final = 5
PAID_AFTER: Final = 18
HALF: Final = Decimal("0.5")
NOTHING: Final = Decimal(0)
# (customer, seller, how many closed months ago) -> what part of the invoice was paid; of all others the whole
PAID_IN_PART: Final = {("alder", "ncc", 2): HALF, ("vestby", "ncc", 3): NOTHING}
# The closed month, counted back from the last, of which use is corrected after its invoices were issued.
CORRECTED: Final = 3
COMPENSATED: Final = 4
CREDITED: Final = 5
BUDGET_STEP: Final = Decimal(10)
BUDGET_SET: Final = 300  # days ago


class BudgetData(NamedTuple):
    """percent   of it that is spent today; first   what it was when it was set"""

    project: str
    percent: int
    first: str
    thresholds: tuple[Threshold, ...]


HOLD: Final = Threshold(100, "hold")
BUDGETS: Final = (
    BudgetData("ice", 92, "6000.00", (*budgets.USUAL_THRESHOLDS, Threshold(110, "hold"))),
    BudgetData("climate", 104, "6000.00", (Threshold(90, "tell"), HOLD)),
)


def set_up(made: World) -> None:
    """Before anything is sold: who sends invoices and who gets them, and the tax of the sellers' countries."""
    at = made.ago(world.DAYS + 4)
    for country, percent, *day in world.TAX_RATES:
        billing.set_tax_rate(
            country=country, percent=Decimal(percent), valid_from=date(*day), by=made.people["operator"], at=at
        )
    for seller in world.SELLERS:
        provider = made.providers[seller.provider]
        billing.edit_seller(
            provider=provider,
            legal_name=seller.legal_name,
            address=seller.address,
            email=seller.email,
            bank_account=seller.bank_account,
            number_prefix=seller.number_prefix,
            note=seller.note,
            grace_days=seller.grace_days,
            due_days=seller.due_days,
            bills_from=billing.today_of(provider, made.ago(world.DAYS)),
            by=made.people["operator"],
            at=at,
        )
    for buyer in world.BUYERS:
        billing.edit_buyer(
            organization=made.organizations[buyer.organization],
            legal_name=buyer.legal_name,
            address=buyer.address,
            email=buyer.email,
            reference=buyer.reference,
            by=made.people["operator"],
            at=at,
        )


# ------------------------------------------------------------------------------------------------ the past year
def plan_year(made: World) -> None:
    """Put on the timeline when each month is closed, and what became of its invoices."""
    for seller in world.SELLERS:
        months = closed_months(made, seller)
        for back, (month, closed_at) in enumerate(reversed(months), start=1):
            made.then(closed_at, partial(_close, made, seller.provider, closed_at))
            paid_at = closed_at + timedelta(days=PAID_AFTER)
            if paid_at <= made.today:
                made.then(paid_at, partial(_pay, made, seller.provider, month, back, paid_at))
    at = made.ago(240)
    made.then(at, partial(_give_credits, made, at))
    for data in BUDGETS:
        at = made.ago(BUDGET_SET)
        made.then(at, partial(_set_budget, made, data, at))
    closed = list(reversed(closed_months(made, world.SELLERS[0])))
    after: tuple[tuple[int, int, Callable[[World, date, datetime], None]], ...] = (
        (CREDITED, CREDITED_AFTER, _take_back_seats),
        (COMPENSATED + 1, CREDITED_AFTER, _compensate),  # on the next month's invoice
        (CORRECTED, CREDITED_AFTER, _correct_use),
    )
    for back, days, happening in after:
        month, closed_at = closed[back - 1]
        at = closed_at + timedelta(days=days)
        made.then(at, partial(happening, made, month, at))


def closed_months(made: World, seller: world.SellerData) -> list[tuple[date, datetime]]:
    """The months whose days of grace are over by today, with the instant at which that is noticed: at the seventh minute."""
    organization = made.providers[seller.provider].organization
    zone = ZoneInfo(organization.time_zone)
    month, found = Month.of(made.ago(world.DAYS), zone), []
    while (at := month.end(zone) + timedelta(days=seller.grace_days, minutes=7)) <= made.today:
        found.append((month.first, at))
        month = month.plus(1)
    return found


def _close(made: World, provider: str, at: datetime) -> None:
    billing.close_due_months(provider=made.providers[provider], at=at)


def _pay(made: World, provider: str, month: date, back: int, at: datetime) -> None:
    keys = {organization.pk: key for key, organization in made.organizations.items()}
    issued = Invoice.objects.filter(provider=made.providers[provider], month=month).exclude(state=Invoice.State.OPEN)
    for invoice in issued.order_by("number"):
        part = PAID_IN_PART.get((keys[invoice.customer_id], provider, back), Decimal(1))
        due = invoice.total - invoice.paid - invoice.credited
        amount = (due * part).quantize(Decimal("0.01"), rounding=ROUND_FLOOR)
        if amount > 0:
            billing.note_payment(
                invoice_id=invoice.pk, amount=amount, reference=invoice.number_text, by=made.people["operator"], at=at
            )


def _give_credits(made: World, at: datetime) -> None:
    """A gift for one project's accelerators, and what Aldermoor paid the cloud ahead."""
    billing.give_credit(
        provider=made.providers["ncc"],
        customer=made.organizations["nordhavn"],
        project=made.projects["ice-melt"],
        offerings=[made.offerings["gpu"]],
        kind=Credit.Kind.GRANTED,
        amount=Decimal("2500.00"),
        expires_on=made.ago(-120).date(),
        reason="Start-up grant for accelerators",
        by=made.people["operator"],
        at=at,
    )
    billing.give_credit(
        provider=made.providers["sky"],
        customer=made.organizations["alder"],
        kind=Credit.Kind.PREPAYMENT,
        amount=Decimal("1000.00"),
        reason="Paid ahead for the year",
        by=made.people["operator"],
        at=at,
    )


def _take_back_seats(made: World, month: date, at: datetime) -> None:
    """Two of twelve seats did not work that month: they are credited before the invoice is paid."""
    line = InvoiceLine.objects.select_related("invoice").get(
        invoice__provider=made.providers["ncc"], month=month, resource__name="bridge-seats", kind="charge"
    )
    billing.credit_invoice(
        invoice_id=line.invoice_id,
        amounts={line.pk: Decimal("9.00")},
        reason="Two seats could not be used all month.",
        by=made.people["provider"],
        at=at,
    )


def _compensate(made: World, month: date, at: datetime) -> None:
    billing.compensate(
        provider=made.providers["ncc"],
        customer=made.organizations["nordhavn"],
        resource=Resource.objects.select_related("offering", "workspace__project").get(name="climate-archive"),
        amount=Decimal("25.00"),
        reason="Mimer could be read but not written for two days.",
        by=made.people["provider"],
        at=at,
    )


def _correct_use(made: World, month: date, at: datetime) -> None:
    """A day's use was counted twice in a month that was invoiced: the next open invoice makes up for it."""
    resource = Resource.objects.get(name="brain-thor")
    wrong = (
        UsageReport.objects.filter(
            category_id=made.categories["thor-cpu"].pk,
            resource_id=resource.pk,
            period_start__range=(_utc(month) + timedelta(days=13), _utc(month) + timedelta(days=20)),
        )
        .order_by("-posted_ticks", "report_id")
        .first()
    )
    assert wrong is not None
    post_reports(
        reports=[
            Report(
                report_id=f"{wrong.report_id}/corrected",
                corrects=wrong.report_id,
                category_id=wrong.category_id,
                workspace_id=made.workspace("brain").pk,
                amount_ticks=wrong.amount_ticks // 2,
                period_start=wrong.period_start,
                period_end=wrong.period_end,
                scope=wrong.scope,
                resource_id=resource.pk,
                person_id=wrong.person_id,
                user=wrong.user,
                job=wrong.job,
            )
        ],
        by=None,
        at=at,
    )


def _utc(day: date) -> datetime:
    return datetime(day.year, day.month, day.day, tzinfo=UTC)


# ------------------------------------------------------------------------------------------------ today
def present(made: World) -> None:
    """The open invoices as they stand now, a price to come, and budgets that are nearly or wholly spent."""
    now = made.today
    _announce_price(made)
    for provider in made.providers.values():
        billing.refresh(provider=provider, by=None, at=now)
    billing.tell_overdue(at=now)
    for data in BUDGETS:
        _raise_budget(made, data)


def _announce_price(made: World) -> None:
    """Seats cost more from the month after next."""
    provider, offering = made.providers["ncc"], made.offerings["matrixlab"]
    zone = ZoneInfo(provider.organization.time_zone)
    catalogue.set_price(
        plan=Plan.objects.select_related("offering__provider").get(offering=offering, name="Academic"),
        component=offering.components.get(key="seats"),
        price=Decimal("4.9500"),
        valid_from=Month.of(made.today, zone).plus(2).start(zone),
        by=made.people["provider"],
        at=made.today,
    )


def _set_budget(made: World, data: BudgetData, at: datetime) -> None:
    budgets.set_budget(
        scope=made.projects[data.project],
        span=Budget.Span.TOTAL,
        amount=Decimal(data.first),
        thresholds=data.thresholds,
        reason="As in the application",
        by=made.people["operator"],
        at=at,
    )


def _raise_budget(made: World, data: BudgetData) -> None:
    """So far that a stated part of it is spent today, whenever today is."""
    budget = Budget.objects.select_related("organization", "project__organization").get(
        project=made.projects[data.project]
    )
    spent = spending_of([budget], at=made.today)[budget.pk].spent
    budgets.change_budget(
        budget_id=budget.pk,
        amount=spent * 100 // data.percent // BUDGET_STEP * BUDGET_STEP,
        reason="More was granted in the second round",
        by=made.people["allocator"],
        at=made.today,
    )
