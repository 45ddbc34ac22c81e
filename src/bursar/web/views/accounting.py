"""Wallets and allocations: who has how much left, what was given to whom, and why something is locked."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from typing import Any, Final

from django.contrib import messages
from django.db.models import F, Q
from django.http import Http404, HttpRequest, HttpResponse
from django.shortcuts import redirect
from django.urls import path, reverse
from django.utils import timezone
from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy
from django.views.decorators.http import require_POST

from bursar.accounting import history, selectors, services, visibility
from bursar.accounting.models import Allocation, Wallet
from bursar.accounting.selectors import AllocationState, TreeRow, WalletState
from bursar.catalogue.models import ProductCategory
from bursar.catalogue.words import unit_beside
from bursar.kernel.quantity import Unit, grouped
from bursar.metering import selectors as metering
from bursar.metering.history import health_of
from bursar.metering.verification import categories_that_differ
from bursar.structure.models import Organization, Person, Project, Workspace
from bursar.structure.roles import Permission, may, organizations_where, require
from bursar.structure.selectors import organization_seen, project_seen, workspace_of
from bursar.web.accounting_forms import AllocateForm, ChangeForm, MoveForm, PastForm, WriteOffForm
from bursar.web.forecasts import Foretold, foretell
from bursar.web.forms import refusals_in
from bursar.web.http import page, refusals_as_messages
from bursar.web.listing import Column, Filter, Listing
from bursar.web.panels import Panel, register
from bursar.web.structure_forms import after, first_moment, last_day
from bursar.web.tabs import card, scope_page
from bursar.web.viewer import Viewer

# Refusals of the ledger name their facts; these are the fields of our forms.
FIELDS: Final = {
    "end_not_after_start": "last_day",
    "allocation_end_in_the_past": "last_day",
    "start_is_fixed": "first_day",
}


def viewer_of(request: HttpRequest) -> Person:
    person = request.viewer.person  # type: ignore[attr-defined]
    assert person is not None
    return person  # type: ignore[no-any-return]


def at_of(request: HttpRequest) -> datetime:
    return request.at  # type: ignore[attr-defined,no-any-return]


# ------------------------------------------------------------------------------------------------ how a wallet is told
@dataclass(frozen=True, slots=True)
class Told:
    """A wallet's state in the words of the pages: `badge` is a state of `bursar.web.states`."""

    state: WalletState
    badge: str
    ends_soon: bool
    reason: str
    foretold: Foretold | None = None

    @property
    def wallet(self) -> Wallet:
        return self.state.wallet

    @property
    def gone_ticks(self) -> int:
        """What of the quota can no longer be used, here or because others used it up above or below."""
        return max(0, self.state.quota_ticks - (self.state.available_ticks or 0))


def told(state: WalletState, at: datetime) -> Told:
    badge = "over" if state.over else "locked" if state.locked else "free"
    ends_soon = state.until is not None and state.until <= at + timedelta(days=30)
    return Told(state, badge, ends_soon, reason_of(state))


def in_words(ticks: int, unit: Unit) -> str:
    """An amount within a sentence, to two decimals: "420 000 core-hours". What would be rounded to nothing stays exact."""
    text = unit.text(ticks, 2)
    if text == "0":
        text = unit.text(ticks)
    return f"{grouped(text)} {unit_beside(text, unit.name)}"


def reason_of(state: WalletState) -> str:
    """Why it is locked, in one sentence; "" where it is not."""
    if not state.locked:
        return ""
    unit = state.wallet.category.unit
    said = []
    for why in state.why:
        where = why.workspace
        if why.allocation_id is None:
            said.append(_("{where} has no allocation that is open now.").format(where=where))
        elif why.uncovered_ticks:
            said.append(
                _(
                    "The allocation of {quota} to {where} is used up, and {uncovered} more was used than it covers."
                ).format(
                    quota=in_words(why.quota_ticks, unit),
                    where=where,
                    uncovered=in_words(why.uncovered_ticks, unit),
                )
            )
        else:
            said.append(
                _("The allocation of {quota} to {where} is used up.").format(
                    quota=in_words(why.quota_ticks, unit), where=where
                )
            )
    return " ".join(sentence[0].upper() + sentence[1:] for sentence in said)


def told_all(wallets: Sequence[Wallet], at: datetime) -> list[Told]:
    states = selectors.wallet_states(wallets=wallets, at=at)
    return [told(states[wallet.pk], at) for wallet in wallets]


# ------------------------------------------------------------------------------------------------ lists of wallets
def _listing(request: HttpRequest, rows: Any, *, holder: bool = True) -> Listing:
    columns = {
        "holder": Column(
            gettext_lazy("Holder"),
            sort=("workspace__organization__name", "workspace__project__name", "category__title"),
        ),
        "category": Column(gettext_lazy("Product category"), sort="category__title"),
        "quota": Column(gettext_lazy("Quota"), classes="num"),
        "used": Column(gettext_lazy("Used here"), classes="num"),
        "available": Column(gettext_lazy("Available"), classes="num"),
        "until": Column(gettext_lazy("Until")),
        "state": Column(gettext_lazy("State")),
    }
    filters = [
        Filter(
            "state",
            gettext_lazy("Any state"),
            [
                ("locked", gettext_lazy("Locked")),
                ("over", gettext_lazy("Over quota")),
                ("free", gettext_lazy("Available")),
            ],
            _by_state,
        )
    ]
    if holder:
        kinds = [
            ("organization", gettext_lazy("Organizations")),
            ("project", gettext_lazy("Projects")),
            ("personal", gettext_lazy("Personal workspaces")),
        ]
        filters.insert(0, Filter("kind", gettext_lazy("Any holder"), kinds, "workspace__kind"))
    else:
        del columns["holder"]
    return Listing(
        request,
        rows,
        label=gettext_lazy("Wallets"),
        sort="holder" if holder else "category",
        search=(
            *(("workspace__project__name__icontains", "workspace__organization__name__icontains") if holder else ()),
            "category__title__icontains",
            "category__provider__organization__name__icontains",
        ),
        columns=columns,
        filters=filters,
    )


def _by_state(rows: Any, value: str) -> Any:
    if value == "over":
        return rows.filter(uncovered_ticks__gt=0)
    return rows.filter(locked=value == "locked")


def allocations(request: HttpRequest) -> HttpResponse:
    """All wallets the viewer sees, and the categories they give from."""
    viewer, at = viewer_of(request), at_of(request)
    listing = _listing(request, visibility.wallets_seen(viewer, at))
    provided = (
        ProductCategory.objects.filter(
            archived_at=None,
            requires_allocation=True,
            provider__organization__in=organizations_where(viewer, Permission.ALLOCATE_ROOT, at),
        )
        .select_related("provider__organization")
        .order_by("provider__organization__name", "title")
    )
    return page(
        request,
        "bursar/accounting/allocations.html",
        {"listing": listing, "rows": told_all(listing.rows, at), "provided": list(provided[:50])},
    )


def project_wallets(request: HttpRequest, pk: int) -> HttpResponse:
    project = project_seen(pk, viewer_of(request), at_of(request))
    return _scope_wallets(request, project, "bursar/accounting/project_wallets.html")


def organization_wallets(request: HttpRequest, pk: int) -> HttpResponse:
    organization = organization_seen(pk, viewer_of(request), at_of(request))
    return _scope_wallets(request, organization, "bursar/accounting/organization_wallets.html")


def _scope_wallets(request: HttpRequest, scope: Organization | Project, template: str) -> HttpResponse:
    viewer, at = viewer_of(request), at_of(request)
    workspace = workspace_of(scope)
    rows = visibility.wallets_seen(viewer, at).filter(workspace=workspace)
    listing = _listing(request, rows, holder=False)
    shown = told_all(listing.rows, at)
    if isinstance(scope, Project):
        # One wallet for each category, so as many statements as these need anyway. An organization's trees are large.
        shown = [replace(one, foretold=foretell(one.wallet, at)) for one in shown]
    return page(
        request,
        template,
        {**scope_page(request, scope, "wallets"), "listing": listing, "rows": shown},
    )


# ------------------------------------------------------------------------------------------------ one wallet
@dataclass(frozen=True, slots=True)
class Branch:
    """A row of the tree as the page shows it. `key` is unique although a wallet may stand below several others."""

    key: int
    parent: int | None
    level: int
    row: TreeRow
    told: Told
    has_children: bool
    via: tuple[AllocationState, ...]
    over_percent: int
    health: str
    may_change: bool
    seen: bool

    @property
    def indent(self) -> int:
        return self.level - 1

    @property
    def gone_ticks(self) -> int:
        """What flowed through it: its own usage and that of those below."""
        return self.row.state.used_ticks + self.row.below_ticks


def _branches(rows: list[TreeRow], viewer: Person, at: datetime) -> list[Branch]:
    seen = set(
        visibility.wallets_seen(viewer, at)
        .filter(pk__in=[row.state.wallet.pk for row in rows])
        .values_list("pk", flat=True)
    )
    health = health_of(
        category=rows[0].state.wallet.category, groups={key: row.via for key, row in enumerate(rows, start=1)}, at=at
    )
    may_of: dict[int, bool] = {}
    branches: list[Branch] = []
    path_: list[int] = []
    for key, row in enumerate(rows, start=1):
        del path_[row.depth :]
        changing = False
        if row.via:
            source = row.via[0].allocation.source_id or 0
            if source not in may_of:
                may_of[source] = visibility.may_change(viewer, row.via[0].allocation, at)
            changing = may_of[source]
        quota = row.state.quota_ticks
        branches.append(
            Branch(
                key=key,
                parent=path_[-1] if path_ else None,
                level=min(row.depth, 5),
                row=row,
                told=told(row.state, at),
                has_children=key < len(rows) and rows[key].depth > row.depth,
                via=row.via,
                over_percent=row.given_ticks * 100 // quota if quota else 0,
                health=health[key] or "",
                may_change=changing,
                seen=row.state.wallet.pk in seen,
            )
        )
        path_.append(key)
    return branches


PERIODS: Final = {
    "30": (30, gettext_lazy("30 days")),
    "90": (90, gettext_lazy("90 days")),
    "365": (365, gettext_lazy("1 year")),
}


def wallet(request: HttpRequest, pk: int) -> HttpResponse:
    """What a wallet has, from where, what was handed on, and what was used."""
    viewer, at = viewer_of(request), at_of(request)
    shown = visibility.wallet_seen(pk, viewer, at)
    state = selectors.wallet_states(wallets=[shown], at=at)[shown.pk]
    into = selectors.allocations_into(wallet=shown, at=at)
    may_change = {one.allocation.pk: visibility.may_change(viewer, one.allocation, at) for one in into}
    tree = _branches(selectors.tree_below(wallet=shown, at=at), viewer, at)
    given = tree[0].row.given_ticks if tree else 0
    days, _label = PERIODS.get(request.GET.get("days", ""), PERIODS["90"])
    since = timezone.localtime(at).replace(hour=0, minute=0, second=0, microsecond=0) - timedelta(days=days - 1)
    sees_people = may(viewer, Permission.VIEW_USAGE, shown.workspace, at)
    return page(
        request,
        "bursar/accounting/wallet.html",
        {
            "wallet": shown,
            "category": shown.category,
            "told": told(state, at),
            "foretold": foretell(shown, at, drawing=True),
            "state": state,
            "into": [(one, may_change[one.allocation.pk]) for one in into if one.state != "closed"],
            "past": [one for one in into if one.state == "closed"],
            "tree": tree[1:],
            "given_ticks": given,
            "over_given": max(0, given - state.quota_ticks),
            "below_ticks": tree[0].row.below_ticks if tree else 0,
            "may_give": visibility.may_give(viewer, shown, at),
            "may_write_off": state.uncovered_ticks > 0
            and shown.category.is_over_time
            and may(viewer, Permission.WRITE_OFF, shown.category.provider.organization, at),
            "owner_url": owner_url(shown.workspace, viewer, at),
            "days": days,
            "periods": PERIODS.values(),
            "usage": usage_chart(
                shown,
                state,
                since=since,
                until=at + timedelta(minutes=10),
                below=[branch.row.state for branch in tree[1:] if not branch.row.is_again],
            ),
            "people": _people(shown, since, at) if sees_people else [],
            "sees_people": sees_people,
        },
    )


FIGURES: Final = (
    ("quota_ticks", gettext_lazy("Quota")),
    ("used_ticks", gettext_lazy("Used here")),
    ("available_ticks", gettext_lazy("Available")),
    ("uncovered_ticks", gettext_lazy("Stands uncovered")),
    ("written_off_ticks", gettext_lazy("Written off")),
)


def wallet_past(request: HttpRequest, pk: int) -> HttpResponse:
    """A wallet as it was at the end of a day, as far as was known then or later, beside what it is now."""
    viewer, at = viewer_of(request), at_of(request)
    shown = visibility.wallet_seen(pk, viewer, at)
    today = timezone.localtime(at).date()
    form = PastForm(request.GET if "on" in request.GET else None, initial={"on": today - timedelta(days=30)})
    context: dict[str, Any] = {"wallet": shown, "category": shown.category}
    if form.is_valid():
        on, known = (_end_of(form.cleaned_data[name], at) for name in ("on", "known"))
        past = history.name_sources(history.balance_as_of(wallet=shown, effective_at=on, known_at=known, at=at))
        present = history.balance_as_of(wallet=shown, at=at)
        change = history.difference(past, present)
        context |= {
            "past": past,
            "present": present,
            "figures": [
                (label, getattr(past, name), getattr(present, name), getattr(change, name)) for name, label in FIGURES
            ],
        }
    return page(request, "bursar/accounting/past.html", context, form=form)


def _end_of(day: Any, at: datetime) -> datetime | None:
    """The last instant of a day as people name it, at most now."""
    end = after(day)
    return None if end is None else min(at, end - timedelta(microseconds=1))


def owner_url(workspace: Workspace, viewer: Person, at: datetime) -> str:
    """The holder's page; "" for those who may not open it, and for a person."""
    if workspace.project_id:
        seen = may(viewer, Permission.VIEW_PROJECT, workspace, at)
        return reverse("project", args=[workspace.project_id]) if seen else ""
    if workspace.organization_id and may(viewer, Permission.VIEW_ORGANIZATION, workspace, at):
        return reverse("organization", args=[workspace.organization_id])
    return ""


def usage_chart(
    shown: Wallet, state: WalletState, *, since: datetime, until: datetime, below: Sequence[WalletState] = ()
) -> dict[str, Any]:
    """Usage by day, here and (stacked) below; of a level, the level at the end of each day. Numbers in the unit, for
    drawing only."""
    category, unit = shown.category, shown.category.unit
    zone = timezone.get_current_timezone_name()
    first, last = since.astimezone(timezone.get_current_timezone()).date(), timezone.localtime(until).date()
    days = [first + timedelta(days=n) for n in range((last - first).days + 1)]
    under = {one.wallet.pk: one.used_ticks for one in below}

    def moved(wallet_ids: Sequence[int]) -> list[int]:
        found = metering.usage_by_day(
            category_id=category.pk, wallet_ids=wallet_ids, since=since, until=until, time_zone=zone
        )
        by_day = {one.day: one.ticks for one in found}
        return [by_day.get(day, 0) for day in days]

    lines = [(_("Here"), moved([shown.pk]), state.used_ticks)]
    if under:
        lines.append((_("Below"), moved(list(under)), sum(under.values())))
    kind = "stack"
    if not category.is_over_time:
        kind = "area"
        lines = [(name, _levels(ticks, now), now) for name, ticks, now in lines]
    elif len(days) > 120:  # a bar of a day would be thinner than a pixel
        lines = [(name, [sum(ticks[n : n + 7]) for n in range(0, len(ticks), 7)], now) for name, ticks, now in lines]
        days = days[::7]
    return {
        "kind": kind,
        "unit": unit.name,
        "x": [day.isoformat() for day in days],
        "time": True,
        "series": [
            {"name": name, "values": [float(unit.text(each, 6)) for each in ticks]} for name, ticks, _now in lines
        ],
    }


def _levels(moved: Sequence[int], now: int) -> list[int]:
    """The level at the end of each day, from what each day changed and the level at the end of all."""
    level, levels = now - sum(moved), []
    for change_ticks in moved:
        level += change_ticks
        levels.append(level)
    return levels


def _people(shown: Wallet, since: datetime, at: datetime) -> list[tuple[str, int]]:
    found = metering.usage_by_person(
        category_id=shown.category_id, wallet_id=shown.pk, since=since, until=at + timedelta(minutes=10)
    )
    names = Person.objects.in_bulk([one.person_id for one in found if one.person_id])
    return [
        (str(names[one.person_id]) if one.person_id in names else one.user or _("not told"), one.ticks) for one in found
    ][:20]


# ------------------------------------------------------------------------------------------------ giving
def _next_year_end(at: datetime) -> Any:
    today = timezone.localtime(at).date()
    return today.replace(year=today.year + (1 if today.month > 9 else 0), month=12, day=31)


def _initial(request: HttpRequest) -> dict[str, Any]:
    at = at_of(request)
    initial: dict[str, Any] = {"first_day": timezone.localtime(at).date(), "last_day": _next_year_end(at)}
    if request.GET.get("to", "").isdigit():
        initial["workspace"] = request.GET["to"]
    return initial


def _give(
    request: HttpRequest,
    form: AllocateForm,
    category: ProductCategory,
    source: Wallet | None,
    *,
    source_end: datetime | None = None,
) -> Allocation | None:
    if not (request.method == "POST" and form.is_valid()):
        return None
    data = form.cleaned_data
    end = after(data["last_day"])
    assert end is not None
    if source_end is not None and data["last_day"] == last_day(source_end):
        end = source_end  # it may end within its last day, and then so does what is given from it
    with refusals_in(form, FIELDS):
        return services.allocate(
            workspace=data["workspace"],
            category=category,
            source=source,
            quota_ticks=data["quota"],
            start=first_moment(data["first_day"]),
            end=end,
            priority=data["priority"],
            note=data["note"],
            by=viewer_of(request),
            at=at_of(request),
        )
    return None


def _given(request: HttpRequest, allocation: Allocation) -> None:
    unit = allocation.category.unit
    messages.success(
        request,
        _("{amount} given to {name}.").format(
            amount=in_words(allocation.quota_ticks, unit), name=allocation.wallet.workspace
        ),
    )


def give(request: HttpRequest, pk: int) -> HttpResponse:
    """A sub-allocation from a wallet."""
    viewer, at = viewer_of(request), at_of(request)
    source = visibility.wallet_seen(pk, viewer, at)
    require(viewer, Permission.ALLOCATE, source.workspace, at)
    state = selectors.wallet_states(wallets=[source], at=at)[source.pk]
    initial = _initial(request)
    if state.until is not None:  # what the source itself does not hold any more helps nobody
        initial["last_day"] = last_day(state.until)
    form = AllocateForm(
        request.POST or None,
        initial=initial,
        category=source.category,
        recipients=visibility.recipients_below(source),
    )
    allocation = _give(request, form, source.category, source, source_end=state.until)
    if allocation is not None:
        _given(request, allocation)
        return redirect("wallet", source.pk)
    given = [one for one in selectors.allocations_out_of(wallet=source, at=at) if one.state == "open"]
    return page(
        request,
        "bursar/accounting/give.html",
        {
            "source": source,
            "category": source.category,
            "state": state,
            "given_ticks": sum(one.allocation.quota_ticks for one in given),
            "back_url": reverse("wallet", args=[source.pk]),
        },
        form=form,
    )


def _category(pk: int, viewer: Person, at: datetime) -> ProductCategory:
    category = (
        ProductCategory.objects.select_related("provider__organization")
        .filter(pk=pk, provider__organization__in=organizations_where(viewer, Permission.VIEW_PROVIDER, at))
        .first()
    )
    if category is None:
        raise Http404
    return category


def category_allocations(request: HttpRequest, pk: int) -> HttpResponse:
    """What the provider gave from a category."""
    viewer, at = viewer_of(request), at_of(request)
    category = _category(pk, viewer, at)
    roots = selectors.roots_of(category=category, at=at)
    return page(
        request,
        "bursar/accounting/category.html",
        {
            "category": category,
            "roots": [one for one in roots if one.state != "closed"],
            "past": [one for one in roots if one.state == "closed"],
            "may_give": category.requires_allocation
            and may(viewer, Permission.ALLOCATE_ROOT, category.provider.organization, at),
        },
    )


def give_root(request: HttpRequest, pk: int) -> HttpResponse:
    """A root allocation, from the provider."""
    viewer, at = viewer_of(request), at_of(request)
    category = _category(pk, viewer, at)
    require(viewer, Permission.ALLOCATE_ROOT, category.provider.organization, at)
    form = AllocateForm(
        request.POST or None,
        initial=_initial(request),
        category=category,
        recipients=visibility.recipients_of_roots(viewer, category, at),
    )
    allocation = _give(request, form, category, None)
    if allocation is not None:
        _given(request, allocation)
        return redirect("category_allocations", category.pk)
    return page(
        request,
        "bursar/accounting/give.html",
        {"category": category, "back_url": reverse("category_allocations", args=[category.pk])},
        form=form,
    )


# ------------------------------------------------------------------------------------------------ one allocation
def _allocation(request: HttpRequest, pk: int) -> Allocation:
    return visibility.allocation_seen(pk, viewer_of(request), at_of(request))


def _source_url(allocation: Allocation) -> str:
    if allocation.source_id is None:
        return reverse("category_allocations", args=[allocation.category_id])
    return reverse("wallet", args=[allocation.source_id])


def change(request: HttpRequest, pk: int) -> HttpResponse:
    """Change, move from, or revoke an allocation, as its source."""
    viewer, at = viewer_of(request), at_of(request)
    allocation = _allocation(request, pk)
    if request.method == "POST":
        visibility.require_change(viewer, allocation, at)
    state = selectors.allocation_state(allocation=allocation, at=at)
    form = ChangeForm(request.POST or None, allocation=allocation, started=allocation.start <= at)
    if request.method == "POST" and form.is_valid():
        data = form.cleaned_data
        # A day that was not touched leaves the exact instant as it is.
        start = first_moment(data["first_day"]) if "first_day" in data and "first_day" in form.changed_data else None
        end = after(data["last_day"]) if data["last_day"] != last_day(allocation.end) else None
        quota = data["quota"] if data["quota"] != allocation.quota_ticks else None
        with refusals_in(form, FIELDS):
            services.change_allocation(allocation=allocation, quota_ticks=quota, start=start, end=end, by=viewer, at=at)
            messages.success(request, _("The allocation was changed."))
            return redirect(_source_url(allocation))
    return page(
        request,
        "bursar/accounting/change.html",
        {
            "allocation": allocation,
            "category": allocation.category,
            "state": state,
            "may_change": visibility.may_change(viewer, allocation, at),
            "others": _siblings(allocation, at),
            "back_url": _source_url(allocation),
        },
        form=form,
    )


def _siblings(allocation: Allocation, at: datetime) -> list[AllocationState]:
    """The other allocations of the same source that can take quota."""
    if allocation.source is None:
        found = selectors.roots_of(category=allocation.category, at=at)
    else:
        found = selectors.allocations_out_of(wallet=allocation.source, at=at)
    return [one for one in found if one.state in {"open", "planned"} and one.allocation.pk != allocation.pk]


def move(request: HttpRequest, pk: int) -> HttpResponse:
    """Move unused quota to another allocation of the same source."""
    viewer, at = viewer_of(request), at_of(request)
    allocation = _allocation(request, pk)
    visibility.require_change(viewer, allocation, at)  # what others got from the same source is told to it alone
    state = selectors.allocation_state(allocation=allocation, at=at)
    others = _siblings(allocation, at)
    form = MoveForm(request.POST or None, category=allocation.category, others=others)
    if request.method == "POST" and form.is_valid():
        taker = next(one.allocation for one in others if one.allocation.pk == form.cleaned_data["taker"])
        with refusals_in(form, FIELDS):
            services.transfer_quota(
                giver=allocation, taker=taker, amount_ticks=form.cleaned_data["amount"], by=viewer, at=at
            )
            messages.success(request, _("The quota was moved."))
            return redirect(_source_url(allocation))
    return page(
        request,
        "bursar/accounting/move.html",
        {
            "allocation": allocation,
            "category": allocation.category,
            "state": state,
            "unused_ticks": allocation.quota_ticks - state.drawn_ticks,
            "others": others,
            "back_url": reverse("allocation_change", args=[allocation.pk]),
        },
        form=form,
    )


@require_POST
@refusals_as_messages(to=lambda pk: reverse("allocation_change", args=[pk]))
def revoke(request: HttpRequest, pk: int) -> HttpResponse:
    allocation = _allocation(request, pk)
    services.revoke_allocation(allocation=allocation, by=viewer_of(request), at=at_of(request))
    messages.success(request, _("The allocation was revoked."))
    return redirect(_source_url(allocation))


def write_off(request: HttpRequest, pk: int) -> HttpResponse:
    """Let uncovered usage stand as written off, as the provider."""
    viewer, at = viewer_of(request), at_of(request)
    shown = visibility.wallet_seen(pk, viewer, at)
    require(viewer, Permission.WRITE_OFF, shown.category.provider.organization, at)
    form = WriteOffForm(request.POST or None, category=shown.category, initial={"amount": shown.uncovered_ticks})
    if request.method == "POST" and form.is_valid():
        with refusals_in(form):
            services.write_off(
                wallet=shown,
                amount_ticks=form.cleaned_data["amount"],
                reason=form.cleaned_data["reason"],
                by=viewer,
                at=at,
            )
            messages.success(request, _("Written off."))
            return redirect("wallet", shown.pk)
    return page(
        request,
        "bursar/accounting/write_off.html",
        {"wallet": shown, "category": shown.category, "back_url": reverse("wallet", args=[shown.pk])},
        form=form,
    )


# ------------------------------------------------------------------------------------------------ cards and panels
SHOWN_MAX: Final = 8
CANDIDATES_MAX: Final = 100


def _mine(viewer: Viewer) -> Any:
    """The wallets of the viewer's own projects and organizations, and of the projects of those organizations."""
    projects = [m.project_id for m in viewer.memberships if m.project_id]
    organizations = [m.organization_id for m in viewer.memberships if m.organization_id]
    return Wallet.objects.filter(
        Q(workspace__project_id__in=projects)
        | Q(workspace__organization_id__in=organizations)
        | Q(workspace__project__organization_id__in=organizations, workspace__project__archived_at=None)
        | Q(workspace__person=viewer.person),
        category__archived_at=None,
    ).select_related(
        "category__provider__organization", "workspace__project", "workspace__organization", "workspace__person"
    )


@register("ledger_differs", order=5)
def ledger_differs_panel(viewer: Viewer) -> Panel | None:
    """For whoever reads the whole platform: ledgers that were last found not to agree with their journal."""
    if not viewer.may(Permission.READ_PLATFORM):
        return None
    since = categories_that_differ()
    if not since:
        return None
    categories = ProductCategory.objects.filter(pk__in=since).select_related("provider__organization")
    return Panel(
        _("A ledger differs from its journal"),
        "bursar/accounting/_ledger_differs_panel.html",
        icon="alert-triangle",
        data=[(category, since[category.pk]) for category in categories[:SHOWN_MAX]],
        url=reverse("operator_events"),
        count=len(since),
    )


@register("locked", order=20)
def locked_panel(viewer: Viewer) -> Panel | None:
    at: datetime = viewer.at  # type: ignore[assignment]
    # A wallet that holds nothing and used nothing is no news.
    candidates = _mine(viewer).filter(Q(locked=True) | Q(uncovered_ticks__gt=0), category__requires_allocation=True)
    told_now = told_all(list(candidates.order_by("-uncovered_ticks", "-used_ticks", "pk")[:CANDIDATES_MAX]), at)
    found = [one for one in told_now if one.badge != "free" and (one.state.until or one.state.used_ticks)]
    if not found:
        return None
    return Panel(
        _("Locked, and why"),
        "bursar/accounting/_locked_panel.html",
        icon="lock",
        data=found[:SHOWN_MAX],
        url=reverse("allocations") + "?state=locked",
        count=len(found),
    )


@register("runs_out", order=30)
def runs_out_panel(viewer: Viewer) -> Panel | None:
    at: datetime = viewer.at  # type: ignore[assignment]

    def nearly_used(state: WalletState) -> bool:
        return state.quota_ticks > 0 and (state.available_ticks or 0) * 5 <= state.quota_ticks

    soon = Q(into__end__gt=at, into__end__lte=at + timedelta(days=30))
    # Four fifths, without a product that a large quota would take out of bigint.
    four_fifths = F("into__quota_ticks") - F("into__quota_ticks") / 5
    used_up = Q(into__end__gt=at, into__drawn_ticks__gte=four_fifths, into__quota_ticks__gt=0)
    candidates = _mine(viewer).filter(soon | used_up, into__closed_at=None).distinct().order_by("pk")
    told_now = told_all(list(candidates[:CANDIDATES_MAX]), at)
    found = [one for one in told_now if one.badge == "free" and (one.ends_soon or nearly_used(one.state))]
    found.sort(key=lambda one: (one.state.until or at, one.wallet.pk))
    if not found:
        return None
    return Panel(
        _("Runs out soon"),
        "bursar/accounting/_runs_out_panel.html",
        icon="hourglass",
        data=found[:SHOWN_MAX],
        url=reverse("allocations"),
        count=len(found),
    )


def _scope_card(viewer: Viewer, scope: Organization | Project, name: str) -> Panel | None:
    at: datetime = viewer.at  # type: ignore[assignment]
    states = selectors.wallets_of(workspace=workspace_of(scope), at=at)
    person = viewer.person
    if not states or person is None or not may(person, Permission.VIEW_PROJECT, scope, at):
        return None
    return Panel(
        _("Quota"),
        "bursar/accounting/_wallets_panel.html",
        icon="wallet",
        data=[told(state, at) for state in states[:SHOWN_MAX]],
        url=reverse(name, args=[scope.pk]),
    )


@card("project", "wallets", order=20)
def project_card(viewer: Viewer, project: Project) -> Panel | None:
    return _scope_card(viewer, project, "project_wallets")


@card("organization", "wallets", order=20)
def organization_card(viewer: Viewer, organization: Organization) -> Panel | None:
    return _scope_card(viewer, organization, "organization_wallets")


urlpatterns = [
    path("allocations/", allocations, name="allocations"),
    path("allocations/<int:pk>/", change, name="allocation_change"),
    path("allocations/<int:pk>/move/", move, name="allocation_move"),
    path("allocations/<int:pk>/revoke/", revoke, name="allocation_revoke"),
    path("wallets/<int:pk>/", wallet, name="wallet"),
    path("wallets/<int:pk>/past/", wallet_past, name="wallet_past"),
    path("wallets/<int:pk>/give/", give, name="allocation_create"),
    path("wallets/<int:pk>/write-off/", write_off, name="wallet_write_off"),
    path("categories/<int:pk>/allocations/", category_allocations, name="category_allocations"),
    path("categories/<int:pk>/give/", give_root, name="allocation_create_root"),
    path("projects/<int:pk>/wallets/", project_wallets, name="project_wallets"),
    path("organizations/<int:pk>/wallets/", organization_wallets, name="organization_wallets"),
]
