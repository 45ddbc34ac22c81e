"""Why a wallet is locked and what would free it, and what an operation did: the path to each figure, in words and rows."""

from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Final

from django.utils.translation import gettext as _

from bursar.accounting.books import instant, load, micros
from bursar.accounting.models import Operation, Posting, Wallet
from bursar.accounting.selectors import WalletState, _names, states_in
from bursar.engine import ledger as engine
from bursar.engine.ledger import what_if as trial
from bursar.kernel.quantity import Unit
from bursar.structure.models import Person

# How far ahead an allocation is looked for that would free a wallet by its start.
AHEAD: Final = timedelta(days=400)
ROWS_MAX: Final = 1_000


@dataclass(frozen=True, slots=True)
class Remedy:
    """What has to be given: at least so much more through an allocation, or (None) an allocation to that wallet."""

    wallet_id: int
    workspace: str
    allocation_id: int | None
    ticks: int


@dataclass(frozen=True, slots=True)
class Explanation:
    """A wallet, and where it is locked: what together would free it, and when it is freed if nothing is done.

    free_at   the first instant within `AHEAD` at which an allocation that is planned frees it; None: none does
    """

    state: WalletState
    remedies: tuple[Remedy, ...]
    free_at: datetime | None


def explain_lock(*, wallet: Wallet, at: datetime) -> Explanation:
    """Why a wallet is locked, and what would free it."""
    # What others hold of a level gives room above when it ends; of what is used over time it never does.
    loaded = load(wallet.category, [wallet.pk], at if wallet.category.is_over_time else at + AHEAD)
    book = loaded.book
    engine.advance(book, max(micros(at), book.now))
    state = states_in(loaded, [wallet])[wallet.pk]
    if not state.locked:
        return Explanation(state, (), None)
    row = loaded.row_of_wallet[wallet.pk]
    found = trial.remedies(book, row)
    names = _names({loaded.wallet_ids[one.wallet] for one in found}, wallet.category)
    freed = trial.freed_at(book, row, micros(at + AHEAD))
    return Explanation(
        state=state,
        remedies=tuple(
            Remedy(
                wallet_id=loaded.wallet_ids[one.wallet],
                workspace=names[loaded.wallet_ids[one.wallet]],
                allocation_id=None if one.allocation is None else loaded.allocation_ids[one.allocation],
                ticks=one.ticks,
            )
            for one in found
        ),
        free_at=None if freed is None else instant(freed),
    )


def sentences(told: Explanation) -> list[str]:
    """The explanation in words, amounts in the category's unit."""
    state, unit = told.state, told.state.wallet.category.unit
    if not state.locked:
        if state.available_ticks is None:
            return [_("It is not locked: this product category is free to use.")]
        return [_("It is not locked: {amount} are available.").format(amount=_amount(state.available_ticks, unit))]
    said = []
    for why in state.why:
        if why.allocation_id is None:
            said.append(_("{where} has no allocation that is open now.").format(where=why.workspace))
            continue
        facts = {
            "number": why.allocation_id,
            "quota": _amount(why.quota_ticks, unit),
            "where": why.workspace,
            "uncovered": _amount(why.uncovered_ticks, unit),
        }
        if why.uncovered_ticks:
            text = _(
                "Allocation {number} of {quota} to {where} is used up, and {uncovered} more stands uncovered there."
            )
        else:
            text = _("Allocation {number} of {quota} to {where} is used up.")
        said.append(text.format(**facts))
    if told.remedies:
        parts = []
        for remedy in told.remedies:
            if remedy.allocation_id is None:
                text = _("an allocation to {where} of at least {more}")
            else:
                text = _("at least {more} more through allocation {number} to {where}")
            # To be entered as it is said: every digit of it, and none that would be rounded.
            more = f"{unit.text(unit.writable(remedy.ticks), 63)} {unit.name}"
            parts.append(text.format(where=remedy.workspace, more=more, number=remedy.allocation_id))
        said.append(_("It would be free with {remedies}.").format(remedies=_(", and ").join(parts)))
    if told.free_at is not None:
        when = told.free_at.isoformat(timespec="seconds")
        said.append(_("If nothing is done it is free from {when}, when an allocation starts.").format(when=when))
    return said


def _amount(ticks: int, unit: Unit) -> str:
    return f"{unit.text(ticks)} {unit.name}"


@dataclass(frozen=True, slots=True)
class OperationTold:
    """An operation, who did it ("" = the system), and what it changed, in the order of recording.

    postings_total   how many rows it wrote; `postings` holds at most `ROWS_MAX` of them
    """

    operation: Operation
    actor: str
    postings: tuple[Posting, ...]
    postings_total: int
    names: dict[int, str]


def explain_operation(
    *, category_id: int, operation_id: int, wallet_ids: list[int] | None = None
) -> OperationTold | None:
    """What an operation changed on each wallet and allocation; None where the category has no such operation.

    wallet_ids   only what it changed on these wallets
    """
    operation = Operation.objects.filter(category_id=category_id, pk=operation_id).first()
    if operation is None:
        return None
    # By the instant of recording, which the primary key begins with: an operation's rows all bear the same.
    rows = Posting.objects.filter(
        category_id=category_id, recorded_at=operation.recorded_at, operation_id=operation_id
    ).order_by("id")
    if wallet_ids is not None:
        rows = rows.filter(wallet_id__in=wallet_ids)
    postings = tuple(rows[:ROWS_MAX])
    wallets = Wallet.objects.select_related("workspace__project", "workspace__organization", "workspace__person")
    named = wallets.filter(category_id=category_id, pk__in={one.wallet_id for one in postings})
    actor = Person.objects.filter(pk=operation.actor_id).first() if operation.actor_id else None
    return OperationTold(
        operation=operation,
        actor=str(actor) if actor else "",
        postings=postings,
        postings_total=len(postings) if len(postings) < ROWS_MAX else rows.count(),
        names={one.pk: str(one.workspace) for one in named},
    )
