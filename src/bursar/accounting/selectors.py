"""Questions that read: wallets as they stand at an instant, the tree below one, what was given, why something is locked.

Reads apply what is due in memory, so that they never depend on when a job woke. Each statement stays inside one category.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime
from functools import cache

import msgspec
from django.db import connection
from django.db.models import QuerySet

from bursar.accounting.books import EPOCH, Loaded, instant, load, read
from bursar.accounting.models import Allocation, Wallet
from bursar.catalogue.models import ProductCategory
from bursar.engine import ledger as engine
from bursar.engine.ledger.plan import drawing
from bursar.structure import prepared
from bursar.structure.models import Person, Workspace
from bursar.structure.roles import Permission, workspaces_where


@dataclass(frozen=True, slots=True)
class Why:
    """What keeps a wallet locked: a full allocation on the way up, or (None) a wallet without any that is open.

    distance         steps up from the locked wallet to the one that holds what binds
    uncovered_ticks  what stands at that wallet already, so that much more is needed before anything is free
    """

    wallet_id: int
    workspace: str
    allocation_id: int | None
    quota_ticks: int
    uncovered_ticks: int
    distance: int


@dataclass(frozen=True, slots=True)
class WalletState:
    """A wallet at an instant. `available_ticks` None: the category is free to use, there is no bound."""

    wallet: Wallet
    quota_ticks: int
    used_ticks: int
    uncovered_ticks: int
    written_off_ticks: int
    available_ticks: int | None
    locked: bool
    over: bool
    why: tuple[Why, ...]
    until: datetime | None


class Balance(msgspec.Struct, frozen=True, gc=False):
    """What a report is answered with: a wallet's present figures without its names, so that thousands cost little."""

    category_id: int
    workspace_id: int
    wallet_id: int
    used_ticks: int
    available_ticks: int | None
    uncovered_ticks: int
    locked: bool
    over: bool
    why: tuple[Why, ...]


@dataclass(frozen=True, slots=True)
class AllocationState:
    """An allocation at an instant: `state` is planned, open, grace or closed."""

    allocation: Allocation
    drawn_ticks: int
    state: str


@dataclass(frozen=True, slots=True)
class TreeRow:
    """A wallet in the tree below another. `given_ticks` is what its open allocations to others add up to.

    via        the allocations of the row's wallet from the wallet above it; none at the top
    below_ticks  what flows through the wallet on behalf of those below it
    is_again   it came before, below another source: what it gave on stands there
    """

    depth: int
    parent_id: int | None
    state: WalletState
    via: tuple[AllocationState, ...]
    given_ticks: int
    below_ticks: int
    is_again: bool


def wallet_states(*, wallets: Iterable[Wallet], at: datetime) -> dict[int, WalletState]:
    """By wallet id; one statement for each category, and one for the names of what binds."""
    by_category: dict[int, list[Wallet]] = {}
    for wallet in wallets:
        by_category.setdefault(wallet.category_id, []).append(wallet)
    result: dict[int, WalletState] = {}
    for group in by_category.values():
        loaded = read(group[0].category, [wallet.pk for wallet in group], at)
        result |= states_in(loaded, group)
    return result


def states_in(loaded: Loaded, wallets: Iterable[Wallet]) -> dict[int, WalletState]:
    """The states of wallets that were loaded, by id."""
    chosen = {wallet.pk: wallet for wallet in wallets}
    book, plan = loaded.book, drawing(loaded.book, loaded.book.now)
    states: dict[int, WalletState] = {}
    for balance in balances_in(loaded, chosen):
        row = loaded.row_of_wallet[balance.wallet_id]
        into = plan.into[row]
        states[balance.wallet_id] = WalletState(
            wallet=chosen[balance.wallet_id],
            quota_ticks=sum(int(book.quota[one]) for one in into),
            used_ticks=balance.used_ticks,
            uncovered_ticks=balance.uncovered_ticks,
            written_off_ticks=int(book.written_off[row]),
            available_ticks=balance.available_ticks,
            locked=balance.locked,
            over=balance.over,
            why=balance.why,
            until=max((instant(int(book.end[one])) for one in into), default=None),
        )
    return states


def balances_in(loaded: Loaded, wallet_ids: Iterable[int]) -> list[Balance]:
    """The balances of wallets that were loaded, in the order asked."""
    book, category = loaded.book, loaded.category
    rows = [loaded.row_of_wallet[wallet_id] for wallet_id in wallet_ids]
    free = not book.rules.requires_allocation
    available: list[int | None] = [None] * len(rows) if free else [*engine.available_everywhere(book, rows)]
    used, uncovered = book.used.tolist(), book.uncovered.tolist()
    locked, over = book.locked.tolist(), engine.over(book).tolist()
    bindings = {row: engine.binding(book, row) for row in rows if locked[row]}
    names = _names({loaded.wallet_ids[one.wallet] for found in bindings.values() for one in found}, category)
    why = {
        row: tuple(
            Why(
                wallet_id=loaded.wallet_ids[one.wallet],
                workspace=names[loaded.wallet_ids[one.wallet]],
                allocation_id=None if one.allocation is None else loaded.allocation_ids[one.allocation],
                quota_ticks=0 if one.allocation is None else int(book.quota[one.allocation]),
                uncovered_ticks=one.uncovered,
                distance=one.distance,
            )
            for one in found
        )
        for row, found in bindings.items()
    }
    category_id = category.pk
    return [
        Balance(
            category_id=category_id,
            workspace_id=loaded.workspace_ids[row],
            wallet_id=loaded.wallet_ids[row],
            used_ticks=used[row],
            available_ticks=amount,
            uncovered_ticks=uncovered[row],
            locked=locked[row] and not free,
            over=over[row],
            why=why.get(row, ()),
        )
        for row, amount in zip(rows, available, strict=True)
    ]


def wallets_of(*, workspace: Workspace, at: datetime) -> list[WalletState]:
    """A workspace's wallets, by title of their category."""
    wallets = list(_wallets().filter(workspace=workspace).order_by("category__title", "pk"))
    states = wallet_states(wallets=wallets, at=at)
    return [states[wallet.pk] for wallet in wallets]


def wallets_of_all(*, workspaces: Iterable[Workspace], at: datetime) -> dict[int, list[WalletState]]:
    """The wallets of many workspaces, by workspace id: as many statements as there are categories."""
    wallets = list(_wallets().filter(workspace__in=list(workspaces)).order_by("category__title", "pk"))
    states = wallet_states(wallets=wallets, at=at)
    result: dict[int, list[WalletState]] = {}
    for wallet in wallets:
        result.setdefault(wallet.workspace_id, []).append(states[wallet.pk])
    return result


def wallet_state(*, workspace_id: int, category_id: int, at: datetime) -> WalletState | None:
    """None where the workspace has no wallet in the category."""
    wallet = _wallets().filter(workspace_id=workspace_id, category_id=category_id).first()
    return None if wallet is None else wallet_states(wallets=[wallet], at=at)[wallet.pk]


def standing(*, workspace_id: int, category_id: int, at: datetime) -> Balance | None:
    """A wallet's present figures without its names: what a provider asks before each start. None: there is no wallet."""
    found = next(prepared.fetch(_category_and_wallet(), [category_id, workspace_id], ProductCategory), None)
    if found is None:
        return None
    category, wallet_id = found
    return balances_in(read(category, [wallet_id], at), [wallet_id])[0]


@cache
def _category_and_wallet() -> str:
    return (
        f"SELECT {prepared.columns(c=ProductCategory)}, w.id "  # noqa: S608  names of ours
        "FROM wallet w JOIN product_category c ON c.id = w.category_id WHERE w.category_id = %s AND w.workspace_id = %s"
    )


def available_ticks(*, workspace_id: int, category_id: int, at: datetime) -> int | None:
    """What a workspace can still use; None = free to use, no bound; 0 where it has no wallet."""
    state = standing(workspace_id=workspace_id, category_id=category_id, at=at)
    if state is not None:
        return state.available_ticks
    free = ProductCategory.objects.filter(pk=category_id, requires_allocation=False).exists()
    return None if free else 0


def has_valid_allocation(*, workspace_id: int, category_id: int, at: datetime) -> bool:
    """Whether a workspace may order what draws on a category: it holds an open allocation, or needs none."""
    if ProductCategory.objects.filter(pk=category_id, requires_allocation=False).exists():
        return True
    return _open_at(at).filter(wallet__workspace_id=workspace_id, category_id=category_id).exists()


def tree_below(*, wallet: Wallet, at: datetime) -> list[TreeRow]:
    """The wallet and all that draw from it, depth first.

    One with several sources stands below each of them, and what it gave on below the first alone: six layers of six wallets,
    each drawing on all above it, would otherwise be told in 9,331 rows.
    """
    ids = _below(wallet)
    wallets = {one.pk: one for one in _wallets().filter(category=wallet.category, pk__in=ids)}
    loaded = read(wallet.category, ids, at)
    states = states_in(loaded, wallets.values())
    # Of those that closed unused the holder need not be below.
    within = Allocation.objects.filter(category=wallet.category, source_id__in=ids, wallet_id__in=wallets.keys())
    allocations = list(within.order_by("pk"))
    for allocation in allocations:
        allocation.wallet = wallets[allocation.wallet_id]
        allocation.source = wallets[allocation.source_id] if allocation.source_id else None
    by_source: dict[int, dict[int, list[AllocationState]]] = {}
    for one in _states_of(loaded, allocations):
        if one.state != "closed" or one.drawn_ticks:
            source_id = one.allocation.source_id
            assert source_id is not None
            by_source.setdefault(source_id, {}).setdefault(one.allocation.wallet_id, []).append(one)

    rows: list[TreeRow] = []
    told: set[int] = set()

    def visit(wallet_id: int, depth: int, parent_id: int | None, via: list[AllocationState]) -> None:
        below = by_source.get(wallet_id, {})
        is_again = wallet_id in told
        told.add(wallet_id)
        given = [one for group in below.values() for one in group]
        rows.append(
            TreeRow(
                depth=depth,
                parent_id=parent_id,
                state=states[wallet_id],
                via=tuple(via),
                given_ticks=sum(one.allocation.quota_ticks for one in given if one.state == "open"),
                below_ticks=sum(one.drawn_ticks for one in given),
                is_again=is_again,
            )
        )
        for child_id in () if is_again else sorted(below, key=lambda key: (str(wallets[key].workspace), key)):
            visit(child_id, depth + 1, wallet_id, below[child_id])

    visit(wallet.pk, 0, None, [])
    return rows


def roots_of(*, category: ProductCategory, at: datetime) -> list[AllocationState]:
    """What the provider gave from the category."""
    return _listed(category, _allocations().filter(category=category, source=None), at)


def allocations_into(*, wallet: Wallet, at: datetime) -> list[AllocationState]:
    """What a wallet holds, in the order in which it is used."""
    return _listed(wallet.category, _allocations().filter(category_id=wallet.category_id, wallet=wallet), at)


def allocations_out_of(*, wallet: Wallet, at: datetime) -> list[AllocationState]:
    """What others hold from a wallet."""
    return _listed(wallet.category, _allocations().filter(category_id=wallet.category_id, source=wallet), at)


def allocation_state(*, allocation: Allocation, at: datetime) -> AllocationState:
    return _states_of(read(allocation.category, [allocation.wallet_id], at), [allocation])[0]


def sources_for(*, person: Person, workspace: Workspace, category: ProductCategory, at: datetime) -> list[Wallet]:
    """The wallets with an open allocation from which a person may allocate to a workspace."""
    owned = workspaces_where(person, Permission.ALLOCATE, at)
    holders = _open_at(at).filter(category=category).values("wallet_id")
    candidates = _wallets().filter(category=category, workspace__in=owned, pk__in=holders).exclude(workspace=workspace)
    own = Wallet.objects.filter(category=category, workspace=workspace).first()
    below = set(_below(own)) if own else set()
    return [wallet for wallet in candidates.order_by("pk") if wallet.pk not in below]


@dataclass(frozen=True, slots=True)
class Discrepancy:
    """A figure of a wallet or an allocation that is not the sum of its postings, or a law that does not hold."""

    subject: str
    subject_id: int
    figure: str
    balance: str
    journal: str


def verify(*, category_id: int) -> list[Discrepancy]:
    """Compare every balance of a category with its journal, to the tick; empty when all is well.

    Several statements: whoever calls it lets them see one state (`metering.verification.one_state`).
    """
    with connection.cursor() as cursor:
        cursor.execute(_VERIFY, {"category": category_id})
        found = [Discrepancy(*row) for row in cursor.fetchall()]
    category = ProductCategory.objects.get(pk=category_id)
    everyone = list(Wallet.objects.filter(category_id=category_id).values_list("pk", flat=True))
    # At the clock's own instant: the laws hold for what was applied, not for what is due since.
    loaded = load(category, everyone, EPOCH)
    found += [
        Discrepancy("category", category_id, law, "", "") for law in engine.broken_laws(loaded.book, loaded.wallet_ids)
    ]
    if category.requires_allocation:
        everywhere = engine.available_everywhere(loaded.book)
        found += [
            Discrepancy("wallet", wallet_id, "locked", str(locked), str(amount == 0))
            for wallet_id, locked, amount in zip(
                loaded.wallet_ids, loaded.book.locked.tolist(), everywhere, strict=True
            )
            if locked != (amount == 0)
        ]
    return found


_VERIFY = """
WITH wallets AS (
    SELECT wallet_id, sum(used_ticks) AS used, sum(uncovered_ticks) AS uncovered, sum(written_off_ticks) AS written_off
    FROM posting WHERE category_id = %(category)s GROUP BY wallet_id
), allocations AS (
    SELECT allocation_id, sum(drawn_ticks) AS drawn, sum(quota_ticks) AS quota, bool_or(turned = 'closed') AS closed,
           (array_agg(start ORDER BY id DESC) FILTER (WHERE start IS NOT NULL))[1] AS start,
           (array_agg("end" ORDER BY id DESC) FILTER (WHERE "end" IS NOT NULL))[1] AS "end"
    FROM posting WHERE category_id = %(category)s AND allocation_id IS NOT NULL GROUP BY allocation_id
), compared AS (
    SELECT 'wallet' AS subject, coalesce(w.id, j.wallet_id) AS subject_id, v.figure, v.balance, v.journal
    FROM (SELECT * FROM wallet WHERE category_id = %(category)s) w FULL JOIN wallets j ON j.wallet_id = w.id,
    LATERAL (VALUES
        ('used', w.used_ticks::text, coalesce(j.used, 0)::text),
        ('uncovered', w.uncovered_ticks::text, coalesce(j.uncovered, 0)::text),
        ('written off', w.written_off_ticks::text, coalesce(j.written_off, 0)::text)
    ) AS v(figure, balance, journal)
    UNION ALL
    SELECT 'allocation', coalesce(a.id, j.allocation_id), v.figure, v.balance, v.journal
    FROM (SELECT * FROM allocation WHERE category_id = %(category)s) a
    FULL JOIN allocations j ON j.allocation_id = a.id,
    LATERAL (VALUES
        ('drawn', a.drawn_ticks::text, j.drawn::text),
        ('quota', a.quota_ticks::text, j.quota::text),
        ('start', a.start::text, j.start::text),
        ('end', a."end"::text, j."end"::text),
        ('closed', (a.closed_at IS NOT NULL)::text, j.closed::text)
    ) AS v(figure, balance, journal)
)
SELECT subject, subject_id, figure, coalesce(balance, ''), coalesce(journal, '') FROM compared
WHERE balance IS DISTINCT FROM journal ORDER BY subject DESC, subject_id, figure
"""


def _wallets() -> QuerySet[Wallet]:
    return Wallet.objects.select_related(
        "category__provider__organization", "workspace__project", "workspace__organization", "workspace__person"
    )


def _allocations() -> QuerySet[Allocation]:
    names = ("project", "organization", "person")
    return Allocation.objects.select_related(
        "category__provider__organization",
        *(f"wallet__workspace__{name}" for name in names),
        *(f"source__workspace__{name}" for name in names),
    ).order_by("priority", "end", "pk")


def _open_at(at: datetime) -> QuerySet[Allocation]:
    return Allocation.objects.filter(closed_at=None, start__lte=at, end__gt=at)


def _names(wallet_ids: set[int], category: ProductCategory) -> dict[int, str]:
    if not wallet_ids:
        return {}
    return {wallet.pk: str(wallet.workspace) for wallet in _wallets().filter(category=category, pk__in=wallet_ids)}


def _below(wallet: Wallet) -> list[int]:
    """The ids of a wallet and of all that draw from it, over any number of steps."""
    with connection.cursor() as cursor:
        cursor.execute(
            """
            WITH RECURSIVE down(id) AS (
                SELECT %(wallet)s::bigint
                UNION
                SELECT a.wallet_id FROM down JOIN allocation a ON a.source_id = down.id
                WHERE a.category_id = %(category)s AND (a.closed_at IS NULL OR a.drawn_ticks > 0)
            ) SELECT id FROM down
            """,
            {"wallet": wallet.pk, "category": wallet.category_id},
        )
        return [row[0] for row in cursor.fetchall()]


def ids_below(*, wallet: Wallet) -> list[int]:
    """The ids of a wallet and of all that draw from it: whose usage is drawn through it."""
    return _below(wallet)


def _listed(category: ProductCategory, allocations: QuerySet[Allocation], at: datetime) -> list[AllocationState]:
    found = list(allocations)
    return _states_of(read(category, {one.wallet_id for one in found}, at), found)


def _states_of(loaded: Loaded, allocations: Iterable[Allocation]) -> list[AllocationState]:
    """As they stand in a book that holds their wallets; what is not in it is closed and empty."""
    book, result = loaded.book, []
    closes = book.closes()
    for one in allocations:
        row = loaded.row_of_allocation.get(one.pk)
        if row is None or book.closed[row]:
            drawn, state = (0 if row is None else int(book.drawn[row])), "closed"
        else:
            drawn = int(book.drawn[row])
            if book.now < book.start[row]:
                state = "planned"
            elif book.now < book.end[row]:
                state = "open"
            else:
                state = "grace" if book.now < closes[row] else "closed"
        result.append(AllocationState(one, drawn, state))
    return result
