"""The event log as people read it: sentences with names, amounts and moments; names are looked up in bulk."""

from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from datetime import date, datetime
from decimal import Decimal
from functools import partial
from string import Formatter
from typing import Any, Final

from django.core.exceptions import FieldDoesNotExist
from django.db.models import Model, Q, QuerySet, TextChoices
from django.template.context import Context
from django.urls import reverse
from django.utils.formats import date_format
from django.utils.html import format_html, format_html_join
from django.utils.safestring import SafeString
from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy

from bursar.accounting.models import Wallet
from bursar.accounting.visibility import wallets_seen
from bursar.billing.models import Budget, BudgetThreshold, Buyer, Invoice, Seller
from bursar.billing.selectors import invoices_seen
from bursar.catalogue.models import (
    Backend,
    Component,
    Offering,
    OfferingCategory,
    Plan,
    Product,
    ProductCategory,
    ServiceProvider,
)
from bursar.catalogue.selectors import offerings_visible_to
from bursar.catalogue.words import singular
from bursar.events.models import Event
from bursar.grants.models import Application, Gift
from bursar.grants.selectors import applications_seen
from bursar.kernel.money import plain
from bursar.provisioning.models import AccountPolicy, Order, Resource, Side, SpendingHold
from bursar.provisioning.selectors import orders_for, provider_orders, provider_resources, resources_for
from bursar.structure.models import Organization, Person, Project, Workspace
from bursar.structure.roles import ROLE_TITLES, Permission, on_platform, organizations_where, projects_where
from bursar.structure.selectors import organizations_seen, projects_seen
from bursar.web.happening_words import SENTENCES
from bursar.web.states import look_of
from bursar.web.templatetags.bursar import grouped, money, quantity, role_title, when

Seen = Callable[[Person, datetime], Iterable[QuerySet[Any]]]


# ------------------------------------------------------------------------------------------------ what has a name
@dataclass(frozen=True, slots=True)
class _Noun:
    """Rows that events tell of by their number.

    title   what one of them is called where its name is not known, as it was deleted
    name    what it is called
    route   of its page; "" where it has none of its own
    seen    the rows whose page the viewer may open
    """

    model: type[Model]
    title: Any = ""
    name: Callable[[Any], str] = str
    related: tuple[str, ...] = ()
    route: str = ""
    seen: Seen = lambda _viewer, _at: ()


def _people(viewer: Person, at: datetime) -> Iterable[QuerySet[Person]]:
    return [Person.objects.all()] if on_platform(viewer, Permission.READ_PLATFORM, at) else []


def _budgets(viewer: Person, at: datetime) -> Iterable[QuerySet[Budget]]:
    within = Q(project__in=projects_where(viewer, Permission.VIEW_COSTS, at)) | Q(
        project=None, organization__in=organizations_where(viewer, Permission.VIEW_COSTS, at)
    )
    return [Budget.objects.filter(within)]


def _backends(viewer: Person, at: datetime) -> Iterable[QuerySet[Backend]]:
    sellers = organizations_where(viewer, Permission.VIEW_PROVIDER, at)
    return [Backend.objects.filter(provider__organization__in=sellers)]


def _owners(prefix: str = "") -> tuple[str, ...]:
    return tuple(f"{prefix}{owner}" for owner in ("project", "organization", "person"))


_NOUNS: Final[Mapping[str, _Noun]] = {
    "person": _Noun(Person, gettext_lazy("person"), route="operator_person", seen=_people),
    "organization": _Noun(
        Organization,
        gettext_lazy("organization"),
        route="organization",
        seen=lambda viewer, at: [organizations_seen(viewer, at)],
    ),
    "project": _Noun(
        Project, gettext_lazy("project"), route="project", seen=lambda viewer, at: [projects_seen(viewer, at)]
    ),
    "workspace": _Noun(Workspace, gettext_lazy("workspace"), related=_owners()),
    "wallet": _Noun(
        Wallet,
        gettext_lazy("wallet"),
        related=("category", *_owners("workspace__")),
        route="wallet",
        seen=lambda viewer, at: [wallets_seen(viewer, at)],
    ),
    "application": _Noun(
        Application,
        gettext_lazy("application"),
        route="application",
        seen=lambda viewer, at: [applications_seen(viewer, at)],
    ),
    "gift": _Noun(Gift, gettext_lazy("gift")),
    "invoice": _Noun(
        Invoice, gettext_lazy("invoice"), route="invoice", seen=lambda viewer, at: [invoices_seen(viewer, at)]
    ),
    "seller": _Noun(Seller, related=("provider__organization",)),
    "buyer": _Noun(Buyer, related=("organization",)),
    "budget": _Noun(
        Budget,
        gettext_lazy("budget"),
        name=lambda row: _("budget of {scope}").format(scope=row.project or row.organization),
        related=("project", "organization"),
        route="budget",
        seen=_budgets,
    ),
    "serviceprovider": _Noun(ServiceProvider, gettext_lazy("service provider"), related=("organization",)),
    "offeringcategory": _Noun(OfferingCategory, gettext_lazy("shelf")),
    "productcategory": _Noun(ProductCategory, gettext_lazy("product category")),
    "product": _Noun(Product, gettext_lazy("product")),
    "backend": _Noun(Backend, gettext_lazy("backend"), route="provider_backend", seen=_backends),
    "offering": _Noun(
        Offering,
        gettext_lazy("offering"),
        route="offering",
        seen=lambda viewer, at: [offerings_visible_to(viewer, at)],
    ),
    "plan": _Noun(Plan, gettext_lazy("plan")),
    "order": _Noun(
        Order,
        gettext_lazy("order"),
        name=lambda row: f"#{row.pk} {row.name}",
        route="order",
        seen=lambda viewer, at: [orders_for(viewer, at=at), provider_orders(viewer, at=at)],
    ),
    "resource": _Noun(
        Resource,
        gettext_lazy("resource"),
        route="resource",
        seen=lambda viewer, at: [resources_for(viewer, at=at), provider_resources(viewer, at=at)],
    ),
}
_ALIASES: Final = {"category": "productcategory"}
"""The kinds of subject that the log names otherwise than their table's model."""


# ------------------------------------------------------------------------------------------------ an event, told
@dataclass(frozen=True, slots=True)
class Told:
    """An event as a line of a page.

    said      the sentence, as HTML
    actor     who did it; "" = the system
    where     the project or organization that it happened in, as HTML; "" where the page is about that one
    details   (name, value) of each raw fact
    """

    event: Event
    said: SafeString
    actor: str
    where: SafeString | str
    details: list[tuple[str, str]]


def told(
    events: Iterable[Event], viewer: Person, at: datetime, *, within: Project | Organization | None = None
) -> list[Told]:
    """Put the sentences to the events; so many queries as kinds of rows are named, however many events there are.

    within   what the page is about; None = everything
    """
    events = list(events)
    names = _Names(events, viewer, at)
    return [
        Told(
            event=event,
            said=_sentence(event, names),
            actor=names.text("person", event.actor_id) if event.actor_id else "",
            where=_where(event, names, within),
            details=[
                (_("kind"), event.kind),
                (_("about"), f"{event.subject_type} {event.subject_id}"),
                *((key, raw(value, changed=key in CHANGES)) for key, value in event.facts.items()),
            ],
        )
        for event in events
    ]


def _where(event: Event, names: "_Names", within: Project | Organization | None) -> SafeString | str:
    if isinstance(within, Project):
        return ""
    if event.project_id is not None and (event.subject_type, event.subject_id) != ("project", event.project_id):
        return names.link("project", event.project_id)
    place = event.organization_id or event.provider_id
    if within is not None or place is None or event.subject_type == "organization":
        return ""
    return names.link("organization", place)


def _sentence(event: Event, names: "_Names") -> SafeString:
    parts = (_part(str(part), event, names) for part in SENTENCES.get(event.kind, ()))
    shown = [part for part in parts if part]
    if not shown:  # a kind without a sentence: "thing.done" of something
        words = event.kind.replace(".", " ").replace("_", " ")
        shown = [format_html("{}: {}", words, _about(event, names))]
    return format_html_join(" · ", "{}", ((part,) for part in shown))


def _part(pattern: str, event: Event, names: "_Names") -> SafeString | str:
    """One part of a sentence as HTML; "" where a fact that it names is not there."""
    pieces: list[str] = []
    for literal, field, printer, _conversion in Formatter().parse(pattern):
        pieces.append(literal)
        if field is None:
            continue
        shown = _about(event, names) if field == "it" else _shown(event, field, printer or "", names)
        if shown == "":
            return ""
        pieces.append(shown)
    return format_html_join("", "{}", ((piece,) for piece in pieces))


def _about(event: Event, names: "_Names") -> SafeString | str:
    noun = _ALIASES.get(event.subject_type, event.subject_type)
    known = names.link(noun, event.subject_id)
    return known or str(
        event.facts.get("name") or f"{_NOUNS[noun].title if noun in _NOUNS else noun} {event.subject_id}"
    )


def _shown(event: Event, field: str, printer: str, names: "_Names") -> SafeString | str:
    value = event.facts.get(field)
    if value is None or value in ("", [], {}):
        return ""
    if printer in _NOUNS:
        return names.link(printer, value) or f"{_NOUNS[printer].title} {value}"
    if printer == "ticks":
        category = names.row("productcategory", event.facts.get("category_id"))
        return "" if category is None else quantity(value, category)
    if printer == "limits":
        return names.limits(event.facts.get("offering"), value)
    if printer == "component":
        return names.component(event.subject_id, value)
    if printer == "price":
        return names.price(event, value)
    return _PRINTERS[printer](value, event)


# ------------------------------------------------------------------------------------------------ names in bulk
class _Names:
    """The names of all that the events point to, and which of it the viewer may open."""

    def __init__(self, events: list[Event], viewer: Person, at: datetime) -> None:
        wanted: dict[str, set[int]] = {}
        for event in events:
            for name, pk in _pointed_to(event):
                wanted.setdefault(name, set()).add(pk)
        self.rows: dict[str, dict[int, Any]] = {}
        self.open: dict[str, set[int]] = {}
        for name, ids in wanted.items():
            noun = _NOUNS[name]
            rows: QuerySet[Any] = noun.model._default_manager.filter(pk__in=ids)
            self.rows[name] = {row.pk: row for row in rows.select_related(*noun.related)}
            self.open[name] = {
                pk
                for seen in noun.seen(viewer, at)
                for pk in seen.filter(pk__in=ids).order_by().values_list("pk", flat=True)
            }
        found = Component.objects.filter(offering__in=wanted.get("offering", ()))
        self.components = {(component.offering_id, component.key): component for component in found}

    def row(self, noun: str, pk: Any) -> Any:
        return self.rows.get(noun, {}).get(pk)

    def text(self, noun: str, pk: Any) -> str:
        row = self.row(noun, pk)
        return "" if row is None else _NOUNS[noun].name(row)

    def link(self, noun: str, pk: Any) -> SafeString | str:
        """Its name, with a link where the viewer may open it; "" where it is not there any more."""
        text = self.text(noun, pk)
        if not text or pk not in self.open[noun]:
            return text
        return format_html('<a href="{}">{}</a>', reverse(_NOUNS[noun].route, args=[pk]), text)

    def component(self, offering: Any, key: str) -> str:
        component = self.components.get((offering, key))
        return key if component is None else component.title

    def price(self, event: Event, price: str) -> str:
        """Of a component of the offering that the event is about."""
        component = self.components.get((event.subject_id, event.facts.get("component", "")))
        seller = self.row("organization", event.organization_id)
        shown = f"{grouped(plain(Decimal(price)))} {'' if seller is None else seller.currency}"
        return shown if component is None else f"{shown} / {singular(component.unit_name)}"

    def limits(self, offering: Any, limits: Mapping[str, Any]) -> str:
        return ", ".join(
            f"{component.title} {grouped(str(limit))} {component.unit_name}"
            if (component := self.components.get((offering, key))) is not None
            else f"{key} {limit}"
            for key, limit in limits.items()
        )


def _pointed_to(event: Event) -> Iterator[tuple[str, int]]:
    """(noun, number) of what an event's line may name."""
    noun = _ALIASES.get(event.subject_type, event.subject_type)
    if noun in _NOUNS:
        yield noun, event.subject_id
    for name, pk in (
        ("person", event.actor_id),
        ("project", event.project_id),
        ("organization", event.organization_id or event.provider_id),
        ("productcategory", event.facts.get("category_id")),
        ("offering", event.facts.get("offering")),
    ):
        if isinstance(pk, int):
            yield name, pk
    for part in SENTENCES.get(event.kind, ()):
        for _literal, field, printer, _conversion in Formatter().parse(str(part)):
            if printer and printer in _NOUNS and isinstance(pk := event.facts.get(str(field)), int):
                yield printer, pk


# ------------------------------------------------------------------------------------------------ facts
CHANGES: Final = frozenset({"changes", "name", "end", "plan", "limits"})
"""The facts in which a list of two is what was and what is; any other list is a list of things."""


def raw(value: Any, *, changed: bool = False) -> str:
    """A fact as it was written down, short.

    changed   it is one of `CHANGES`
    """
    if value is None or value == "":
        return "–"
    if isinstance(value, dict):
        return ", ".join(f"{key}: {raw(each, changed=changed)}" for key, each in value.items())
    if isinstance(value, list):
        between = " → " if changed and len(value) == 2 else ", "
        return between.join(raw(each) for each in value) or "–"
    return str(value)


def _moment(value: Any, _event: Event, style: str) -> str:
    return when(Context(), datetime.fromisoformat(value), style)


def _money(value: Any, event: Event) -> str:
    return money(Decimal(value), event.facts["currency"])


def _label(value: Any, _event: Event, choices: type[TextChoices]) -> str:
    return str(dict(choices.choices).get(value, value))


def _stretch(value: Any, event: Event) -> str:
    """Of a budget: the month or the year of which it is told; nothing where it is one for all time."""
    day, span = date.fromisoformat(value), event.facts.get("span")
    return {"month": date_format(day, "YEAR_MONTH_FORMAT"), "year": str(day.year)}.get(str(span), "")


def _side(value: Any, _event: Event) -> str:
    return _("the provider") if value == Side.PROVIDER else _("the customer’s side")


def _fields(value: Any, event: Event) -> str:
    """What people call the fields that were changed, of a list of names or of {name: what was and is}."""
    noun = _NOUNS.get(event.subject_type)
    models: list[type[Model]] = [] if noun is None else [noun.model]
    if event.kind == "offering.component_edited":
        models = [Component]
    elif event.kind == "offering.plan_edited":
        models = [Plan]
    elif event.kind == "backend.accounts_edited":
        models = [AccountPolicy]
    return ", ".join(_title_of(models, str(name)) for name in value)


def _title_of(models: Iterable[type[Model]], name: str) -> str:
    for model in models:
        try:
            return str(getattr(model._meta.get_field(name), "verbose_name", name))
        except FieldDoesNotExist:
            continue
    return name.replace("_", " ")


def _last_change(value: Any, event: Event) -> SafeString:
    before, after = (_moment(each, event, "last") if each else _("none") for each in value)
    return format_html("{} → {}", before, after)


_PRINTERS: Final[Mapping[str, Callable[[Any, Event], str]]] = {
    "": lambda value, _event: str(value),
    "time": partial(_moment, style="time"),
    "date": partial(_moment, style="date"),
    "last": partial(_moment, style="last"),
    "last_change": _last_change,
    "day": lambda value, _event: date_format(date.fromisoformat(value)),
    "month": lambda value, _event: date_format(date.fromisoformat(value), "YEAR_MONTH_FORMAT"),
    "stretch": _stretch,
    "span": partial(_label, choices=Budget.Span),
    "money": _money,
    "role": lambda value, _event: role_title(value) if value in ROLE_TITLES else str(value),
    "roles": lambda value, _event: ", ".join(role_title(one) if one in ROLE_TITLES else str(one) for one in value),
    "list": lambda value, _event: ", ".join(map(str, value)),
    "lines": lambda value, _event: "; ".join(map(str, value)),
    "change": lambda value, _event: raw(value, changed=True),
    "fields": _fields,
    "flag": lambda value, _event: _("yes") if value else _("no"),
    "state": lambda value, _event: str(look_of(value).words),
    "side": _side,
    "effect": partial(_label, choices=SpendingHold.Effect),
    "budget_action": partial(_label, choices=BudgetThreshold.Action),
    "order_kind": partial(_label, choices=Order.Kind),
    "visibility": partial(_label, choices=Offering.Visibility),
}
"""How a fact is written in a sentence; rows by their names, what a row is needed for is `_shown`'s."""
