"""An invoice or a credit note as it leaves: read once, with the names and parties it bears.

PDF, CSV, JSON, FOCUS, the pages and the API are all made of it, so that they cannot differ.
"""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import date, datetime
from decimal import Decimal
from fractions import Fraction
from itertools import groupby
from typing import Any, Final
from zoneinfo import ZoneInfo

from django.db.models import Count, Prefetch, QuerySet, prefetch_related_objects
from django.utils.translation import gettext as _

from bursar.billing.models import Buyer, CreditNote, CreditNoteLine, Invoice, InvoiceLine, InvoiceTax, Payment, Seller
from bursar.billing.reckoning import last_day
from bursar.catalogue.words import unit_beside
from bursar.kernel.money import Money, minor_digits, plain
from bursar.structure.models import Organization, Workspace

INVOICES_AT_ONCE: Final = 100
LINES_AT_ONCE: Final = 5_000
# What a line needs besides itself when its names are not kept yet, or an id is wanted.
LINE_JOINS: Final = (
    "workspace__project__organization",
    "workspace__organization",
    "workspace__person",
    "resource__offering",
    "component__category",
    "plan",
    "price",
    "compensation",
    "credit",
)


@dataclass(frozen=True, slots=True)
class Party:
    """The seller or the buyer, as they stand on the paper."""

    name: str
    address: str = ""
    country: str = ""
    vat_number: str = ""
    email: str = ""
    reference: str = ""
    bank_account: str = ""
    note: str = ""


@dataclass(frozen=True, slots=True)
class Line:
    """A line with its names.

    what         its own text: the component, the reason of a compensation, the credit
    first, last  days of the month it belongs to that it counts; both included
    quantity     rounded to ten decimals; `basis` says how it came about
    """

    id: int
    position: int
    kind: str
    month: date
    first: date
    last: date
    workspace_id: int | None
    workspace: str
    project_id: int | None
    resource_id: int | None
    resource: str
    offering_id: int | None
    offering: str
    component_id: int | None
    component: str
    component_key: str
    billing: str
    limit_period: str
    product_type: str
    unit: str
    plan_id: int | None
    plan: str
    price_id: int | None
    compensation_id: int | None
    credit_id: int | None
    what: str
    quantity: Decimal
    unit_price: Decimal
    amount: Decimal
    tax_category: str
    tax_percent: Decimal
    tax_note: str
    basis: Mapping[str, Any]

    @property
    def counted_unit(self) -> str:
        """The unit as it stands behind the quantity: one seat, two seats."""
        return unit_beside(plain(self.quantity), self.unit)

    @property
    def exact_quantity(self) -> str:
        """A whole number, a decimal or a fraction such as 12/31."""
        return str(self.basis.get("quantity") or plain(self.quantity))


@dataclass(frozen=True, slots=True)
class Tax:
    category: str
    percent: Decimal
    note: str
    net: Decimal
    tax: Decimal


@dataclass(frozen=True, slots=True)
class Part:
    """Lines that stand together: of one resource; or without one."""

    title: str
    offering: str
    resource_id: int | None
    lines: Sequence[Line]

    @property
    def amount(self) -> Decimal:
        return sum((line.amount for line in self.lines), Decimal(0))


@dataclass(frozen=True, slots=True)
class Group:
    """The parts of one project, or of a section that belongs to none."""

    title: str
    workspace_id: int | None
    project_id: int | None
    parts: Sequence[Part]

    @property
    def amount(self) -> Decimal:
        return sum((part.amount for part in self.parts), Decimal(0))


@dataclass(frozen=True, slots=True)
class Section:
    """Lines of one kind. title   empty for what is charged"""

    kind: str
    title: str
    groups: Sequence[Group]


@dataclass(frozen=True, slots=True)
class Document:
    """What stands on the paper.

    credit_note   None: of the invoice itself; amounts of a credit note are what it takes back, so less than nothing
    due           what is still to be paid; of a credit note nothing
    """

    invoice: Invoice
    credit_note: CreditNote | None
    seller: Party
    buyer: Party
    lines: Sequence[Line]
    taxes: Sequence[Tax]
    net: Decimal
    tax: Decimal
    total: Decimal
    due: Decimal
    payments: Sequence[Payment]
    credit_notes: Sequence[CreditNote]

    @property
    def currency(self) -> str:
        return self.invoice.currency

    @property
    def digits(self) -> int:
        return minor_digits(self.invoice.currency)

    @property
    def is_provisional(self) -> bool:
        return self.invoice.state == Invoice.State.OPEN

    @property
    def number(self) -> str:
        return self.credit_note.number_text if self.credit_note is not None else self.invoice.number_text

    @property
    def issued_on(self) -> date | None:
        """The day of the seller's calendar on which it was issued."""
        issued_at = self.credit_note.issued_at if self.credit_note is not None else self.invoice.issued_at
        return None if issued_at is None else day_of(issued_at, self.invoice)

    @property
    def file_name(self) -> str:
        """Without an ending; of letters, digits and dashes."""
        number = self.number or f"{self.invoice.month:%Y-%m}-{self.invoice.pk}"
        safe = "".join(c if c.isascii() and c.isalnum() else "-" for c in number.lower()).strip("-")
        kind = "credit-note" if self.credit_note is not None else "invoice" if self.number else "provisional"
        return f"{kind}-{safe or self.invoice.pk}"

    @property
    def sections(self) -> list[Section]:
        """What is charged by project and resource, then adjustments, compensations and credits."""
        found = []
        for kind, title in _SECTIONS:
            lines = [line for line in self.lines if line.kind == kind]
            if lines:
                found.append(Section(kind, _(title) if title else "", _groups(lines)))
        return found

    def money(self, amount: Decimal) -> Money:
        return Money.rounded(amount, self.invoice.currency)

    def plain(self, amount: Decimal) -> str:
        """An amount with exactly the decimals of its currency, for programs."""
        return self.money(amount).plain


def _n(text: str) -> str:
    """Marks a text for translation that is translated later."""
    return text


_SECTIONS: Final = (
    (InvoiceLine.Kind.CHARGE, ""),
    (InvoiceLine.Kind.ADJUSTMENT, _n("Adjustments of earlier months")),
    (InvoiceLine.Kind.COMPENSATION, _n("Compensations")),
    (InvoiceLine.Kind.CREDIT, _n("Credits")),
)


def day_of(moment: datetime, invoice: Invoice) -> date:
    """The day of an instant by the seller's calendar."""
    return moment.astimezone(ZoneInfo(invoice.time_zone)).date()


def amount_due(invoice: Invoice) -> Decimal:
    """What is still to be paid; never less than nothing, and nothing before it is issued."""
    if invoice.state == Invoice.State.OPEN:
        return Decimal(0)
    return max(Decimal(0), invoice.total - invoice.paid - invoice.credited)


# ------------------------------------------------------------------------------------------------ reading
def document_of(invoice: Invoice, lines: Iterable[InvoiceLine] | None = None) -> Document:
    """An invoice with all that stands on it, by a number of queries that does not grow with its lines.

    lines   those that the reader may see, with LINE_JOINS; None = all
    """
    return _document(
        invoice,
        _all_lines(invoice) if lines is None else lines,
        _taxes(invoice),
        invoice.payments.select_related("prepayment", "by", "takes_back").order_by("paid_on", "id"),
        invoice.credit_notes.order_by("issued_at", "id"),
    )


def _document(
    invoice: Invoice,
    lines: Iterable[InvoiceLine],
    taxes: Iterable[InvoiceTax],
    payments: Iterable[Payment],
    credit_notes: Iterable[CreditNote],
) -> Document:
    seller, buyer = parties_of(invoice)
    return Document(
        invoice=invoice,
        credit_note=None,
        seller=seller,
        buyer=buyer,
        lines=[named(line) for line in lines],
        taxes=[Tax(row.category, row.percent, row.note, row.net, row.tax) for row in taxes],
        net=invoice.net,
        tax=invoice.tax,
        total=invoice.total,
        due=amount_due(invoice),
        payments=list(payments),
        credit_notes=list(credit_notes),
    )


def documents_of(invoices: QuerySet[Invoice]) -> Iterator[Document]:
    """Many issued invoices, each followed by its credit notes, so that the whole adds up to what is owed.

    So many at once that what is held at a time stays small; each such part takes as many queries as one invoice does.
    """
    rows = invoices.select_related("provider__organization", "customer")
    counts = dict(rows.order_by().values_list("pk").annotate(Count("lines")))
    part: list[Invoice] = []
    lines = 0
    for invoice in rows.iterator(chunk_size=INVOICES_AT_ONCE):
        count = counts.get(invoice.pk, 0)
        if part and (lines + count > LINES_AT_ONCE or len(part) >= INVOICES_AT_ONCE):
            yield from _documents(part)
            part, lines = [], 0
        part.append(invoice)
        lines += count
    yield from _documents(part)


def _documents(invoices: Sequence[Invoice]) -> Iterator[Document]:
    prefetch_related_objects(
        invoices,
        Prefetch("lines", InvoiceLine.objects.select_related(*LINE_JOINS).order_by("position", "id"), "all_lines"),
        Prefetch("taxes", InvoiceTax.objects.order_by("-percent", "category", "note"), "all_taxes"),
        Prefetch(
            "payments",
            Payment.objects.select_related("prepayment", "by", "takes_back").order_by("paid_on", "id"),
            "all_payments",
        ),
        Prefetch("credit_notes", CreditNote.objects.order_by("issued_at", "id"), "all_notes"),
        Prefetch("all_notes__lines", _note_lines(), "all_lines"),
    )
    for invoice in invoices:
        read: Any = invoice
        yield _document(invoice, read.all_lines, read.all_taxes, read.all_payments, read.all_notes)
        for note in read.all_notes:
            note.invoice = invoice
            yield credit_note_document(note, note.all_lines)


def credit_note_document(note: CreditNote, rows: Sequence[CreditNoteLine] | None = None) -> Document:
    """A credit note: the lines it takes back with what it takes back of each, turned round.

    rows   its lines, where they are read already
    """
    invoice = note.invoice
    seller, buyer = parties_of(invoice)
    if rows is None:
        rows = list(_note_lines().filter(credit_note=note))
    lines = [_taken_back(named(row.line), row.amount) for row in rows]
    return Document(
        invoice=invoice,
        credit_note=note,
        seller=seller,
        buyer=buyer,
        lines=lines,
        taxes=_taxes_taken_back(lines, note),
        net=-note.net,
        tax=-note.tax,
        total=-note.total,
        due=Decimal(0),
        payments=[],
        credit_notes=[],
    )


def _note_lines() -> QuerySet[CreditNoteLine]:
    joins = (f"line__{join}" for join in LINE_JOINS)
    return CreditNoteLine.objects.select_related("line", *joins).order_by("line__position", "id")


def _all_lines(invoice: Invoice) -> Iterable[InvoiceLine]:
    return InvoiceLine.objects.filter(invoice=invoice).select_related(*LINE_JOINS).order_by("position", "id")


def _taxes(invoice: Invoice) -> Iterable[InvoiceTax]:
    return invoice.taxes.order_by("-percent", "category", "note")


def _taken_back(line: Line, amount: Decimal) -> Line:
    """The line as a credit note has it: so much of its quantity as its amount is of the whole."""
    share = Fraction(amount) / Fraction(line.amount) if line.amount else Fraction(0)
    exact = Fraction(line.exact_quantity) * share
    quantity = (Decimal(exact.numerator) / Decimal(exact.denominator)).quantize(Decimal("0.0000000001"))
    values = {name: getattr(line, name) for name in Line.__slots__}
    basis = {**line.basis, "quantity": str(-exact)}
    return Line(**{**values, "quantity": -quantity, "amount": -amount, "basis": basis})


def _taxes_taken_back(lines: Sequence[Line], note: CreditNote) -> list[Tax]:
    """By category and rate. Where rounding leaves a difference to the tax of the note, the largest bears it."""
    nets: dict[tuple[str, Decimal, str], Decimal] = {}
    for line in lines:
        key = (line.tax_category, line.tax_percent, line.tax_note)
        nets[key] = nets.get(key, Decimal(0)) + line.amount
    found = [
        Tax(*key, net, Money.rounded(Fraction(net) * Fraction(key[1]) / 100, note.invoice.currency).amount)
        for key, net in sorted(nets.items(), key=lambda one: (-one[0][1], one[0]))
    ]
    rest = -note.tax - sum((tax.tax for tax in found), Decimal(0))
    if rest and found:
        at = max(range(len(found)), key=lambda i: abs(found[i].tax))
        most = found[at]
        found[at] = Tax(most.category, most.percent, most.note, most.net, most.tax + rest)
    return found


def parties_of(invoice: Invoice) -> tuple[Party, Party]:
    """Seller and buyer as frozen at issuing; of an open invoice as they are now."""
    frozen = invoice.parties or {}
    if frozen.get("seller") and frozen.get("buyer"):
        return _party(frozen["seller"]), _party(frozen["buyer"])
    selling, buying = invoice.provider.organization, invoice.customer
    seller = Seller.objects.filter(provider=invoice.provider_id).first() or Seller()
    buyer = Buyer.objects.filter(organization=invoice.customer_id).first() or Buyer()
    return (
        Party(
            **_of_organization(selling, seller.legal_name),
            address=seller.address,
            email=seller.email,
            bank_account=seller.bank_account,
            note=seller.note,
        ),
        Party(
            **_of_organization(buying, buyer.legal_name),
            address=buyer.address,
            email=buyer.email,
            reference=buyer.reference,
        ),
    )


def _party(kept: Mapping[str, Any]) -> Party:
    return Party(**{name: str(kept.get(name) or "") for name in Party.__slots__})


def _of_organization(organization: Organization, legal_name: str) -> dict[str, str]:
    return {
        "name": legal_name or organization.name,
        "country": organization.country,
        "vat_number": organization.vat_number,
    }


def named(line: InvoiceLine) -> Line:
    """A line with the names kept with it; where none are kept, with those of now. Needs LINE_JOINS."""
    kept: Mapping[str, Any] = line.names or {}
    resource, component, plan = line.resource, line.component, line.plan
    basis = line.basis or {}
    component_name = str(kept.get("component") or (component.title if component else ""))
    return Line(
        id=line.pk,
        position=line.position,
        kind=line.kind,
        month=line.month,
        first=_day(basis.get("first"), line.month),
        last=_day(basis.get("last"), last_day(line.month)),
        workspace_id=line.workspace_id,
        workspace=str(kept.get("workspace") or kept.get("project") or _title(line.workspace)),
        project_id=line.workspace.project_id if line.workspace else None,
        resource_id=line.resource_id,
        resource=str(kept.get("resource") or (resource.name if resource else "")),
        offering_id=resource.offering_id if resource else None,
        offering=str(kept.get("offering") or (resource.offering.name if resource else "")),
        component_id=line.component_id,
        component=component_name,
        component_key=component.key if component else "",
        billing=component.billing if component else "",
        limit_period=component.limit_period if component else "",
        product_type=component.category.product_type if component and component.category else "",
        unit=str(kept.get("unit") or (component.unit_name if component else "")),
        plan_id=line.plan_id,
        plan=str(kept.get("plan") or (plan.name if plan else "")),
        price_id=line.price_id,
        compensation_id=line.compensation_id,
        credit_id=line.credit_id,
        what=str(kept.get("text") or component_name or _text(line)),
        quantity=line.quantity,
        unit_price=line.unit_price,
        amount=line.amount,
        tax_category=line.tax_category,
        tax_percent=line.tax_percent,
        tax_note=line.tax_note,
        basis=basis,
    )


def _day(told: Any, otherwise: date) -> date:
    try:
        return date.fromisoformat(str(told))
    except ValueError:
        return otherwise


def _title(workspace: Workspace | None) -> str:
    return "" if workspace is None else str(workspace.project or workspace.organization or workspace)


def _text(line: InvoiceLine) -> str:
    if line.compensation is not None:
        return line.compensation.reason
    if line.credit is not None:
        return line.credit.reason or _("Credit")
    return str(line.get_kind_display())


def _groups(lines: Sequence[Line]) -> list[Group]:
    """By project, then by resource; inside in the order of the invoice."""

    def by_workspace(line: Line) -> tuple[bool, str, int]:
        return (line.workspace_id is None, line.workspace.lower(), line.workspace_id or 0)

    def by_resource(line: Line) -> tuple[bool, str, int]:
        return (line.resource_id is None, line.resource.lower(), line.resource_id or 0)

    groups = []
    for _key, found in groupby(sorted(lines, key=by_workspace), by_workspace):
        here = sorted(found, key=by_resource)
        first = here[0]
        parts = []
        for _resource, of_one in groupby(here, by_resource):
            inside = list(of_one)
            parts.append(Part(inside[0].resource, inside[0].offering, inside[0].resource_id, inside))
        groups.append(Group(first.workspace, first.workspace_id, first.project_id, parts))
    return groups


# ------------------------------------------------------------------------------------------------ words
def tax_words(tax: Tax | Line) -> str:
    """What is taxed and how, in words: "VAT 19%", "Reverse charge"."""
    category, percent, note = (
        (tax.category, tax.percent, tax.note)
        if isinstance(tax, Tax)
        else (tax.tax_category, tax.tax_percent, tax.tax_note)
    )
    if note == "reverse_charge":
        return _("Reverse charge: the recipient owes the tax")
    if note == "same_organization":
        return _("No tax within one organization")
    if note == "no_rate":
        return _("No tax")
    shown = plain(percent)
    if category == "standard":
        return _("VAT {percent}%").format(percent=shown)
    return _("VAT {percent}% ({category})").format(percent=shown, category=category)
