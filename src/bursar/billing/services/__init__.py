"""The verbs that write: invoices, payments, credit notes, credits and compensations, sellers, buyers, tax rates.

Locks are taken in one order: the seller, then invoices, then credits. Closing a month and taking a credit note that carries out
a recomputation are several transactions, because what is known is fixed before; each of them may be the last.
"""

from bursar.billing.services._common import today_of
from bursar.billing.services.closings import ask_to_close
from bursar.billing.services.credit_notes import credit_invoice
from bursar.billing.services.credits import compensate, give_credit, withdraw_compensation, withdraw_credit
from bursar.billing.services.invoices import Closed, close_due_months, close_month, issue_invoice, refresh
from bursar.billing.services.overdue import tell_overdue
from bursar.billing.services.payments import note_payment, take_back_payment
from bursar.billing.services.sellers import edit_buyer, edit_seller, set_tax_rate

__all__ = [
    "Closed",
    "ask_to_close",
    "close_due_months",
    "close_month",
    "compensate",
    "credit_invoice",
    "edit_buyer",
    "edit_seller",
    "give_credit",
    "issue_invoice",
    "note_payment",
    "refresh",
    "set_tax_rate",
    "take_back_payment",
    "tell_overdue",
    "today_of",
    "withdraw_compensation",
    "withdraw_credit",
]
