"""What billing refuses, each with its code and what to do next."""

from dataclasses import dataclass
from typing import ClassVar

from bursar.kernel.errors import DomainError, Kind
from bursar.kernel.i18n import N_


# ------------------------------------------------------------------------------------------------ what is not there
@dataclass(eq=False)
class InvoiceNotFound(DomainError):
    kind: ClassVar[Kind] = Kind.NOT_FOUND
    code: ClassVar[str] = "invoice_not_found"
    message: ClassVar[str] = N_("There is no such invoice, or you may not see it.")


@dataclass(eq=False)
class PaymentNotFound(DomainError):
    kind: ClassVar[Kind] = Kind.NOT_FOUND
    code: ClassVar[str] = "payment_not_found"
    message: ClassVar[str] = N_("There is no such payment, or you may not see it.")


@dataclass(eq=False)
class CreditNotFound(DomainError):
    kind: ClassVar[Kind] = Kind.NOT_FOUND
    code: ClassVar[str] = "credit_not_found"
    message: ClassVar[str] = N_("There is no such credit, or you may not see it.")


@dataclass(eq=False)
class CompensationNotFound(DomainError):
    kind: ClassVar[Kind] = Kind.NOT_FOUND
    code: ClassVar[str] = "compensation_not_found"
    message: ClassVar[str] = N_("There is no such compensation, or you may not see it.")


# ------------------------------------------------------------------------------------------------ months and issuing
@dataclass(eq=False)
class MonthNotOver(DomainError):
    kind: ClassVar[Kind] = Kind.CONFLICT
    code: ClassVar[str] = "month_not_over"
    message: ClassVar[str] = N_("{month} is not over for {seller}. Issue its invoices after its last day.")
    month: str
    seller: str


@dataclass(eq=False)
class OlderMonthOpen(DomainError):
    kind: ClassVar[Kind] = Kind.CONFLICT
    code: ClassVar[str] = "older_month_open"
    message: ClassVar[str] = N_("{older} is not closed yet. Issue its invoices first.")
    older: str
    month: str


@dataclass(eq=False)
class MonthNotBilled(DomainError):
    kind: ClassVar[Kind] = Kind.CONFLICT
    code: ClassVar[str] = "month_not_billed"
    message: ClassVar[str] = N_("{seller} bills from {first} on.")
    seller: str
    first: str


@dataclass(eq=False)
class InvoiceIssuedAlready(DomainError):
    kind: ClassVar[Kind] = Kind.CONFLICT
    code: ClassVar[str] = "invoice_issued_already"
    message: ClassVar[str] = N_("The invoice was issued as {number}. What was wrong with it is adjusted or credited.")
    number: str


@dataclass(eq=False)
class InvoiceEmpty(DomainError):
    kind: ClassVar[Kind] = Kind.CONFLICT
    code: ClassVar[str] = "invoice_empty"
    message: ClassVar[str] = N_("There is nothing to bill any more: the invoice was taken away.")


@dataclass(eq=False)
class InvoiceStillOpen(DomainError):
    kind: ClassVar[Kind] = Kind.CONFLICT
    code: ClassVar[str] = "invoice_still_open"
    message: ClassVar[str] = N_("The invoice is not issued yet, so nothing can be paid or taken back of it.")


@dataclass(eq=False)
class BillingBusy(DomainError):
    kind: ClassVar[Kind] = Kind.UNAVAILABLE
    code: ClassVar[str] = "billing_busy"
    message: ClassVar[str] = N_(
        "A long change is under way, so what is known cannot be fixed now. Try again in a minute."
    )


@dataclass(eq=False)
class ClosingUnderWay(DomainError):
    kind: ClassVar[Kind] = Kind.CONFLICT
    code: ClassVar[str] = "closing_under_way"
    message: ClassVar[str] = N_("{month} of {seller} is being closed. Wait until that is done.")
    month: str
    seller: str


@dataclass(eq=False)
class BillsAlready(DomainError):
    kind: ClassVar[Kind] = Kind.CONFLICT
    code: ClassVar[str] = "bills_already"
    message: ClassVar[str] = N_("Months were closed already, so the first month that is billed stays {first}.")
    first: str
    field: str = "bills_from"


@dataclass(eq=False)
class FirstMonthNotPossible(DomainError):
    kind: ClassVar[Kind] = Kind.INVALID
    code: ClassVar[str] = "first_month_not_possible"
    message: ClassVar[str] = N_(
        "The first month that is billed can be {first} at the earliest, because nothing was sold before, and {last} at the latest."
    )
    first: str
    last: str
    field: str = "bills_from"


@dataclass(eq=False)
class SpanNotPossible(DomainError):
    kind: ClassVar[Kind] = Kind.INVALID
    code: ClassVar[str] = "span_not_possible"
    message: ClassVar[str] = N_("Name one month, or the first and the last month in their order.")
    field: str = "month"


# ------------------------------------------------------------------------------------------------ amounts and payments
@dataclass(eq=False)
class AmountNotPositive(DomainError):
    kind: ClassVar[Kind] = Kind.INVALID
    code: ClassVar[str] = "money_not_positive"
    message: ClassVar[str] = N_("The amount has to be more than nothing.")
    field: str = "amount"


@dataclass(eq=False)
class AmountNotInCurrency(DomainError):
    kind: ClassVar[Kind] = Kind.INVALID
    code: ClassVar[str] = "amount_not_in_currency"
    message: ClassVar[str] = N_("{currency} has {digits} decimals and at most {whole} digits before them.")
    currency: str
    digits: int
    whole: int
    field: str = "amount"


@dataclass(eq=False)
class PaymentTooLarge(DomainError):
    kind: ClassVar[Kind] = Kind.CONFLICT
    code: ClassVar[str] = "payment_too_large"
    message: ClassVar[str] = N_("{due} {currency} are due. Note at most that; give the rest as a prepayment.")
    due: str
    currency: str
    field: str = "amount"


@dataclass(eq=False)
class PaidInTheFuture(DomainError):
    kind: ClassVar[Kind] = Kind.INVALID
    code: ClassVar[str] = "paid_in_the_future"
    message: ClassVar[str] = N_("A payment is noted once it came: its day is today or earlier.")
    field: str = "paid_on"


@dataclass(eq=False)
class PaymentTakenBack(DomainError):
    kind: ClassVar[Kind] = Kind.CONFLICT
    code: ClassVar[str] = "payment_taken_back"
    message: ClassVar[str] = N_("This payment was taken back already, or takes one back itself.")


@dataclass(eq=False)
class PaymentSettled(DomainError):
    kind: ClassVar[Kind] = Kind.CONFLICT
    code: ClassVar[str] = "payment_settled"
    message: ClassVar[str] = N_(
        "A credit note gave this payment back as a prepayment of the customer, so it cannot be taken back."
    )


# ------------------------------------------------------------------------------------------------ credits and compensations
@dataclass(eq=False)
class CurrencyOfSeller(DomainError):
    kind: ClassVar[Kind] = Kind.INVALID
    code: ClassVar[str] = "currency_of_seller"
    message: ClassVar[str] = N_("{seller} bills in {currency}.")
    seller: str
    currency: str
    field: str = "currency"


@dataclass(eq=False)
class NotOfCustomer(DomainError):
    kind: ClassVar[Kind] = Kind.INVALID
    code: ClassVar[str] = "not_of_customer"
    message: ClassVar[str] = N_("{what} does not belong to {customer}.")
    what: str
    customer: str
    field: str


@dataclass(eq=False)
class NotOfSeller(DomainError):
    kind: ClassVar[Kind] = Kind.INVALID
    code: ClassVar[str] = "not_of_seller"
    message: ClassVar[str] = N_("{what} is not offered by {seller}.")
    what: str
    seller: str
    field: str


@dataclass(eq=False)
class ExpiredAlready(DomainError):
    kind: ClassVar[Kind] = Kind.INVALID
    code: ClassVar[str] = "expired_already"
    message: ClassVar[str] = N_("The last day of a credit is today or later.")
    field: str = "expires_on"


@dataclass(eq=False)
class NothingLeftOfCredit(DomainError):
    kind: ClassVar[Kind] = Kind.CONFLICT
    code: ClassVar[str] = "nothing_left_of_credit"
    message: ClassVar[str] = N_("Nothing is left of this credit, or it was withdrawn already.")


@dataclass(eq=False)
class CompensationSettled(DomainError):
    kind: ClassVar[Kind] = Kind.CONFLICT
    code: ClassVar[str] = "compensation_settled"
    message: ClassVar[str] = N_("The compensation is on an issued invoice, or was withdrawn already.")


# ------------------------------------------------------------------------------------------------ credit notes
@dataclass(eq=False)
class NothingToCredit(DomainError):
    kind: ClassVar[Kind] = Kind.CONFLICT
    code: ClassVar[str] = "nothing_to_credit"
    message: ClassVar[str] = N_("Nothing of this is left to take back.")


@dataclass(eq=False)
class LineNotOfInvoice(DomainError):
    kind: ClassVar[Kind] = Kind.INVALID
    code: ClassVar[str] = "line_not_of_invoice"
    message: ClassVar[str] = N_("Line {line} is not on this invoice.")
    line: int
    field: str = "lines"


@dataclass(eq=False)
class CreditNoteTooLarge(DomainError):
    kind: ClassVar[Kind] = Kind.CONFLICT
    code: ClassVar[str] = "credit_note_too_large"
    message: ClassVar[str] = N_(
        "Line {line}: at most {left} {currency} can still be taken back, with the line's own sign."
    )
    line: int
    left: str
    currency: str
    field: str = "lines"


@dataclass(eq=False)
class CreditNoteBeyondInvoice(DomainError):
    kind: ClassVar[Kind] = Kind.CONFLICT
    code: ClassVar[str] = "credit_note_beyond_invoice"
    message: ClassVar[str] = N_(
        "Of the whole invoice at most {left} {currency} can still be taken back, for credits or compensations lowered it."
        " Take back their lines too, or less of the others."
    )
    left: str
    currency: str
    field: str = "lines"


# ------------------------------------------------------------------------------------------------ tax rates
@dataclass(eq=False)
class TaxRateNotPossible(DomainError):
    kind: ClassVar[Kind] = Kind.INVALID
    code: ClassVar[str] = "tax_rate_not_possible"
    message: ClassVar[str] = N_("A rate is between 0 and 100 per cent, with at most three decimals.")
    field: str = "percent"


@dataclass(eq=False)
class TaxCountryMissing(DomainError):
    kind: ClassVar[Kind] = Kind.INVALID
    code: ClassVar[str] = "tax_country_missing"
    message: ClassVar[str] = N_("Say of which country the rate is.")
    field: str = "country"


# ------------------------------------------------------------------------------------------------ budgets
@dataclass(eq=False)
class BudgetNotFound(DomainError):
    kind: ClassVar[Kind] = Kind.NOT_FOUND
    code: ClassVar[str] = "budget_not_found"
    message: ClassVar[str] = N_("There is no such budget, or you may not see it.")


@dataclass(eq=False)
class BudgetExists(DomainError):
    kind: ClassVar[Kind] = Kind.CONFLICT
    code: ClassVar[str] = "budget_exists"
    message: ClassVar[str] = N_("There is such a budget in {currency} already, of {amount}. Raise or lower that one.")
    currency: str
    amount: str
    field: str = "span"


@dataclass(eq=False)
class BudgetClosed(DomainError):
    kind: ClassVar[Kind] = Kind.CONFLICT
    code: ClassVar[str] = "budget_closed"
    message: ClassVar[str] = N_("This budget is closed. Set a new one.")


@dataclass(eq=False)
class BudgetNegative(DomainError):
    kind: ClassVar[Kind] = Kind.INVALID
    code: ClassVar[str] = "budget_negative"
    message: ClassVar[str] = N_("A budget is nothing or more.")
    field: str = "amount"


@dataclass(eq=False)
class BudgetUnchanged(DomainError):
    kind: ClassVar[Kind] = Kind.INVALID
    code: ClassVar[str] = "budget_unchanged"
    message: ClassVar[str] = N_("The budget is {amount} {currency} already.")
    amount: str
    currency: str
    field: str = "amount"


@dataclass(eq=False)
class BudgetPlaceOver(DomainError):
    kind: ClassVar[Kind] = Kind.CONFLICT
    code: ClassVar[str] = "budget_place_over"
    message: ClassVar[str] = N_("“{place}” is archived, so nothing is spent there any more.")
    place: str


@dataclass(eq=False)
class ThresholdInvalid(DomainError):
    kind: ClassVar[Kind] = Kind.INVALID
    code: ClassVar[str] = "threshold_invalid"
    message: ClassVar[str] = N_(
        "Each threshold is a whole number of per cent from 1 to 1000 with one of: {actions}; at most {most}, none twice."
    )
    actions: str
    most: int
    field: str = "thresholds"
