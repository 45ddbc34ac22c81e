"""The ledger's arithmetic: who has how much left, for one product category at a time."""

from bursar.engine.ledger import errors
from bursar.engine.ledger.book import Book, Charged, Rules
from bursar.engine.ledger.change import Change, Kind, nothing
from bursar.engine.ledger.due import advance
from bursar.engine.ledger.errors import LedgerRefusal, NegativeUsage
from bursar.engine.ledger.hours import Moved, by_hour
from bursar.engine.ledger.locks import binding, lock_states, over, relock
from bursar.engine.ledger.operations import allocate, change, revoke, transfer, write_off
from bursar.engine.ledger.posting import epochs, is_tree, post, settle
from bursar.engine.ledger.reading import available, available_everywhere, broken_laws

__all__ = [
    "Book",
    "Change",
    "Charged",
    "Kind",
    "LedgerRefusal",
    "Moved",
    "NegativeUsage",
    "Rules",
    "advance",
    "allocate",
    "available",
    "available_everywhere",
    "binding",
    "broken_laws",
    "by_hour",
    "change",
    "epochs",
    "errors",
    "is_tree",
    "lock_states",
    "nothing",
    "over",
    "post",
    "relock",
    "revoke",
    "settle",
    "transfer",
    "write_off",
]
