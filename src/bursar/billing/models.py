"""Sellers and buyers, tax rates, invoices with their lines, payments, credits, credit notes and budgets."""

from typing import Any

from django.db import models
from django.db.models import F, Q
from django.db.models.functions import Now
from django.utils.translation import gettext_lazy as _

from bursar.catalogue.models import Component, Offering, Plan, PlanComponent, ServiceProvider
from bursar.provisioning.models import Resource
from bursar.structure.models import Organization, Person, Project, Workspace

MONEY: dict[str, Any] = {"max_digits": 20, "decimal_places": 3}


class Seller(models.Model):
    """A provider as the one who sends invoices. The last numbers given stand here: whoever gives the next holds this row."""

    provider = models.OneToOneField(ServiceProvider, on_delete=models.PROTECT, related_name="seller")
    legal_name = models.CharField(_("legal name"), max_length=200, blank=True)
    address = models.TextField(_("address"), max_length=500, blank=True)
    email = models.EmailField(_("mail"), blank=True)
    bank_account = models.CharField(_("bank account"), max_length=200, blank=True)
    note = models.TextField(_("note on each invoice"), max_length=1000, blank=True)
    number_prefix = models.CharField(_("numbers begin with"), max_length=20, blank=True)
    grace_days = models.PositiveSmallIntegerField(
        _("days of grace"), default=7, help_text=_("after the end of the month, for usage told late")
    )
    due_days = models.PositiveSmallIntegerField(_("days to pay"), default=30)
    issues_by_itself = models.BooleanField(_("issue when the days of grace are over"), default=True)
    bills_from = models.DateField(_("first month that is billed"), help_text=_("its first day"))
    closed_until = models.DateField(
        editable=False, help_text="the first month that is not closed; what comes late for those before is adjusted"
    )
    closed_cut = models.ForeignKey(
        "Cut",
        null=True,
        editable=False,
        on_delete=models.PROTECT,
        related_name="+",
        help_text="what was known when the last month was closed",
    )
    last_invoice = models.PositiveBigIntegerField(default=0, editable=False)
    last_credit_note = models.PositiveBigIntegerField(default=0, editable=False)

    class Meta:
        db_table = "seller"
        verbose_name = _("seller")

    def __str__(self) -> str:
        return self.legal_name or str(self.provider)


class Buyer(models.Model):
    """What stands on the invoices of an organization, and where they go."""

    organization = models.OneToOneField(Organization, on_delete=models.PROTECT, related_name="buyer")
    legal_name = models.CharField(_("legal name"), max_length=200, blank=True)
    address = models.TextField(_("address"), max_length=500, blank=True)
    email = models.EmailField(_("mail for invoices"), blank=True)
    reference = models.CharField(_("your reference"), max_length=100, blank=True)

    class Meta:
        db_table = "buyer"
        verbose_name = _("buyer")

    def __str__(self) -> str:
        return self.legal_name or str(self.organization)


class TaxRate(models.Model):
    """What part of the net of a category goes to a country from a day on. Rows are only added; the last of a day counts."""

    country = models.CharField(_("country"), max_length=2)
    category = models.SlugField(_("category"), max_length=40, default="standard")
    percent = models.DecimalField(_("per cent"), max_digits=6, decimal_places=3)
    valid_from = models.DateField(_("valid from"))
    recorded_at = models.DateTimeField(db_default=Now(), editable=False)
    by = models.ForeignKey(Person, null=True, on_delete=models.PROTECT, related_name="+")

    class Meta:
        db_table = "tax_rate"
        ordering = ["country", "category", "-valid_from", "-id"]
        constraints = [
            models.CheckConstraint(name="tax_rate_is_a_part", condition=Q(percent__gte=0, percent__lte=100)),
        ]

    def __str__(self) -> str:
        return f"{self.country} {self.category} {self.percent}"


class Cut(models.Model):
    """What was known at a moment: every row that rates with a number up to these, and none after.

    Taken while nobody writes such rows, so no row with a smaller number can come later (docs/adr/0028).
    """

    fact = models.BigIntegerField(help_text="the last resource_fact")
    price = models.BigIntegerField(help_text="the last plan_component")
    tax_rate = models.BigIntegerField()
    operations = models.JSONField(help_text="product category -> its last ledger operation")
    taken_at = models.DateTimeField()

    class Meta:
        db_table = "billing_cut"

    def __str__(self) -> str:
        return f"{self.taken_at:%Y-%m-%d %H:%M}"


class Closing(models.Model):
    """That somebody had a month of a seller closed by a job: how far it is, and what came of it.

    What was issued stays issued wherever it stops; asked for again, it goes on with the rest.
    """

    class Step(models.TextChoices):
        WAITING = "waiting", _("waiting")
        RATED = "rated", _("resources rated")
        ISSUED = "issued", _("customers")

    provider = models.ForeignKey(ServiceProvider, on_delete=models.PROTECT, related_name="closings")
    month = models.DateField(help_text="its first day")
    by = models.ForeignKey(Person, null=True, on_delete=models.PROTECT, related_name="+")
    asked_at = models.DateTimeField()
    step = models.CharField(max_length=7, choices=Step, default=Step.WAITING)
    done = models.PositiveIntegerField(default=0, help_text="of the step")
    count = models.PositiveIntegerField(default=0)
    moved_at = models.DateTimeField(help_text="when something was last heard of it")
    ended_at = models.DateTimeField(null=True)
    issued = models.PositiveIntegerField(default=0, help_text="invoices")
    refusal = models.TextField(blank=True, help_text="in words, when it could not be closed")

    class Meta:
        db_table = "month_closing"
        constraints = [
            models.UniqueConstraint(
                name="month_closing_one_at_a_time", fields=["provider"], condition=Q(ended_at=None)
            ),
        ]

    def __str__(self) -> str:
        return f"{self.provider_id} {self.month:%Y-%m}"


class Invoice(models.Model):
    """What a customer owes a seller for a month in a currency. Open: computed again at will; from issuing on frozen."""

    class State(models.TextChoices):
        OPEN = "open", _("open")
        ISSUED = "issued", _("issued")
        PART_PAID = "part_paid", _("part paid")
        PAID = "paid", _("paid")
        CREDITED = "credited", _("credited")

    customer = models.ForeignKey(Organization, on_delete=models.PROTECT, related_name="invoices")
    provider = models.ForeignKey(ServiceProvider, on_delete=models.PROTECT, related_name="invoices")
    currency = models.CharField(_("currency"), max_length=3)
    month = models.DateField(_("month"), help_text="its first day, of the seller's calendar")
    state = models.CharField(_("state"), max_length=9, choices=State, default=State.OPEN)
    time_zone = models.CharField(max_length=64, help_text="the seller's, in which its days are counted")
    cut = models.ForeignKey(Cut, null=True, on_delete=models.PROTECT, related_name="+", help_text="what it stands on")
    computed_at = models.DateTimeField(null=True)

    number = models.PositiveBigIntegerField(null=True, help_text="per seller, without gaps, from issuing on")
    number_text = models.CharField(_("number"), max_length=40, blank=True, help_text="with the seller's prefix of then")
    issued_at = models.DateTimeField(null=True)
    due_on = models.DateField(_("due"), null=True)
    parties = models.JSONField(
        default=dict, help_text="names, addresses, countries and VAT numbers of the moment of issuing"
    )
    fingerprint = models.CharField(max_length=64, blank=True, help_text="SHA-256 of the canonical document")
    overdue_told_at = models.DateTimeField(null=True)

    net = models.DecimalField(_("net"), **MONEY, default=0)
    tax = models.DecimalField(_("tax"), **MONEY, default=0)
    total = models.DecimalField(_("total"), **MONEY, default=0)
    paid = models.DecimalField(_("paid"), **MONEY, default=0, help_text="by payments and prepayments")
    credited = models.DecimalField(_("credited"), **MONEY, default=0, help_text="by credit notes")

    class Meta:
        db_table = "invoice"
        verbose_name = _("invoice")
        ordering = ["-month", "-id"]
        constraints = [
            models.UniqueConstraint(name="invoice_once", fields=["customer", "provider", "currency", "month"]),
            models.UniqueConstraint(name="invoice_number_once", fields=["provider", "number"]),
            models.CheckConstraint(
                name="invoice_has_a_number_when_issued",
                condition=Q(state="open", number=None, issued_at=None)
                | ~Q(state="open") & Q(number__isnull=False, issued_at__isnull=False, cut__isnull=False),
            ),
            models.CheckConstraint(name="invoice_adds_up", condition=Q(total=F("net") + F("tax"))),
        ]
        indexes = [
            models.Index(fields=["provider", "month"], name="invoice_of_seller"),
            models.Index(fields=["due_on"], condition=Q(state__in=["issued", "part_paid"]), name="invoice_due"),
        ]

    def __str__(self) -> str:
        return self.number_text or f"{self.month:%Y-%m}"


class InvoiceLine(models.Model):
    """One amount of an invoice, with how it came about."""

    class Kind(models.TextChoices):
        CHARGE = "charge", _("charge")
        ADJUSTMENT = "adjustment", _("adjustment")
        COMPENSATION = "compensation", _("compensation")
        CREDIT = "credit", _("credit")

    invoice = models.ForeignKey(Invoice, on_delete=models.CASCADE, related_name="lines")
    position = models.PositiveIntegerField()
    kind = models.CharField(max_length=12, choices=Kind)
    month = models.DateField(help_text="the month it belongs to; of an adjustment an earlier one")
    workspace = models.ForeignKey(Workspace, null=True, on_delete=models.PROTECT, related_name="+")
    resource = models.ForeignKey(Resource, null=True, on_delete=models.PROTECT, related_name="+")
    component = models.ForeignKey(Component, null=True, on_delete=models.PROTECT, related_name="+")
    plan = models.ForeignKey(Plan, null=True, on_delete=models.PROTECT, related_name="+")
    price = models.ForeignKey(PlanComponent, null=True, on_delete=models.PROTECT, related_name="+")
    compensation = models.ForeignKey("Compensation", null=True, on_delete=models.PROTECT, related_name="+")
    credit = models.ForeignKey("Credit", null=True, on_delete=models.PROTECT, related_name="+")
    quantity = models.DecimalField(max_digits=38, decimal_places=10, help_text="rounded; `basis` has it exactly")
    unit_price = models.DecimalField(max_digits=20, decimal_places=10)
    amount = models.DecimalField(_("amount"), **MONEY)
    tax_category = models.CharField(max_length=40)
    tax_percent = models.DecimalField(max_digits=6, decimal_places=3)
    tax_note = models.CharField(
        max_length=20, blank=True, help_text="code of why nothing is taxed: reverse_charge, ..."
    )
    names = models.JSONField(
        default=dict, help_text="what things were called when it was issued; not part of the document"
    )
    basis = models.JSONField(default=dict, help_text="days, hours, limits, tiers: how the quantity came about")

    class Meta:
        db_table = "invoice_line"
        ordering = ["position"]
        constraints = [
            models.UniqueConstraint(
                name="invoice_line_once",
                fields=["invoice", "kind", "month", "resource", "component", "plan", "price"],
                condition=Q(kind__in=["charge", "adjustment"]),
            ),
        ]

    def __str__(self) -> str:
        return f"{self.invoice_id} {self.position} {self.amount}"


class InvoiceTax(models.Model):
    """Tax of one (category, rate) of an invoice, on the sum of its lines."""

    invoice = models.ForeignKey(Invoice, on_delete=models.CASCADE, related_name="taxes")
    category = models.CharField(max_length=40)
    percent = models.DecimalField(max_digits=6, decimal_places=3)
    note = models.CharField(max_length=20, blank=True)
    net = models.DecimalField(**MONEY)
    tax = models.DecimalField(**MONEY)

    class Meta:
        db_table = "invoice_tax"
        constraints = [
            models.UniqueConstraint(name="invoice_tax_once", fields=["invoice", "category", "percent", "note"]),
        ]

    def __str__(self) -> str:
        return f"{self.category} {self.percent} {self.tax}"


class Payment(models.Model):
    """Money that came for an invoice; one with a negative amount takes back the one that it names."""

    invoice = models.ForeignKey(Invoice, on_delete=models.PROTECT, related_name="payments")
    amount = models.DecimalField(_("amount"), **MONEY)
    paid_on = models.DateField(_("paid on"))
    reference = models.CharField(_("reference"), max_length=100, blank=True)
    prepayment = models.ForeignKey("Credit", null=True, on_delete=models.PROTECT, related_name="+")
    takes_back = models.OneToOneField("self", null=True, on_delete=models.PROTECT, related_name="taken_back_by")
    by = models.ForeignKey(Person, null=True, on_delete=models.PROTECT, related_name="+")
    recorded_at = models.DateTimeField()

    class Meta:
        db_table = "payment"
        ordering = ["paid_on", "id"]
        constraints = [
            models.CheckConstraint(
                name="payment_is_positive_or_takes_back",
                condition=Q(amount__gt=0, takes_back=None) | Q(amount__lt=0, takes_back__isnull=False),
            ),
        ]

    def __str__(self) -> str:
        return f"{self.invoice_id} {self.amount}"


class CreditNote(models.Model):
    """Takes back an issued invoice, whole or in part; with a number of its own, without gaps per seller."""

    invoice = models.ForeignKey(Invoice, on_delete=models.PROTECT, related_name="credit_notes")
    provider = models.ForeignKey(ServiceProvider, on_delete=models.PROTECT, related_name="credit_notes")
    number = models.PositiveBigIntegerField()
    number_text = models.CharField(_("number"), max_length=40)
    after_invoice = models.PositiveBigIntegerField(help_text="the last invoice number that its seller had given before")
    reason = models.CharField(_("reason"), max_length=500)
    carries_out = models.BooleanField(
        default=False, help_text="a month computed again; only then it counts as invoiced"
    )
    net = models.DecimalField(**MONEY)
    tax = models.DecimalField(**MONEY)
    total = models.DecimalField(**MONEY)
    by = models.ForeignKey(Person, null=True, on_delete=models.PROTECT, related_name="+")
    issued_at = models.DateTimeField()

    class Meta:
        db_table = "credit_note"
        ordering = ["-issued_at", "-id"]
        constraints = [
            models.UniqueConstraint(name="credit_note_number_once", fields=["provider", "number"]),
            models.CheckConstraint(name="credit_note_adds_up", condition=Q(total=F("net") + F("tax"), total__gt=0)),
        ]

    def __str__(self) -> str:
        return self.number_text


class CreditNoteLine(models.Model):
    """How much of an invoice's line a credit note takes back."""

    credit_note = models.ForeignKey(CreditNote, on_delete=models.PROTECT, related_name="lines")
    line = models.ForeignKey(InvoiceLine, on_delete=models.PROTECT, related_name="credited_by")
    amount = models.DecimalField(**MONEY, help_text="has the sign of the line's")

    class Meta:
        db_table = "credit_note_line"
        constraints = [models.UniqueConstraint(name="credit_note_line_once", fields=["credit_note", "line"])]

    def __str__(self) -> str:
        return f"{self.credit_note_id} {self.amount}"


class Credit(models.Model):
    """Money that a customer has with a seller: granted (lowers the net) or paid ahead (lowers what is due)."""

    class Kind(models.TextChoices):
        GRANTED = "granted", _("granted")
        PREPAYMENT = "prepayment", _("paid ahead")

    provider = models.ForeignKey(ServiceProvider, on_delete=models.PROTECT, related_name="credits")
    customer = models.ForeignKey(Organization, on_delete=models.PROTECT, related_name="credits")
    project = models.ForeignKey(Project, null=True, blank=True, on_delete=models.PROTECT, related_name="credits")
    offerings = models.ManyToManyField(Offering, blank=True, related_name="+", db_table="credit_offering")
    kind = models.CharField(_("kind"), max_length=10, choices=Kind)
    currency = models.CharField(_("currency"), max_length=3)
    amount = models.DecimalField(_("amount"), **MONEY)
    used = models.DecimalField(**MONEY, default=0)
    expires_on = models.DateField(_("last day"), null=True, blank=True, help_text=_("compared with the day of issue"))
    reason = models.CharField(_("reason"), max_length=500, blank=True)
    of_invoice = models.ForeignKey(
        Invoice, null=True, on_delete=models.PROTECT, related_name="+", help_text="whose total was below zero"
    )
    of_credit_note = models.ForeignKey(
        CreditNote, null=True, on_delete=models.PROTECT, related_name="+", help_text="of what was paid already"
    )
    by = models.ForeignKey(Person, null=True, on_delete=models.PROTECT, related_name="+")
    granted_at = models.DateTimeField()
    withdrawn_at = models.DateTimeField(null=True)

    class Meta:
        db_table = "credit"
        ordering = ["expires_on", "id"]
        constraints = [
            models.CheckConstraint(
                name="credit_is_not_overdrawn", condition=Q(amount__gt=0, used__gte=0, used__lte=F("amount"))
            ),
        ]

    def __str__(self) -> str:
        return f"{self.customer_id} {self.amount} {self.currency}"


class Compensation(models.Model):
    """A negative line with a reason and an author, on the open invoice of a month."""

    provider = models.ForeignKey(ServiceProvider, on_delete=models.PROTECT, related_name="compensations")
    customer = models.ForeignKey(Organization, on_delete=models.PROTECT, related_name="compensations")
    workspace = models.ForeignKey(Workspace, null=True, on_delete=models.PROTECT, related_name="+")
    resource = models.ForeignKey(Resource, null=True, on_delete=models.PROTECT, related_name="+")
    currency = models.CharField(_("currency"), max_length=3)
    amount = models.DecimalField(_("amount"), **MONEY, help_text="what the customer pays less, before tax")
    tax_category = models.CharField(max_length=40, default="standard")
    reason = models.CharField(_("reason"), max_length=500)
    by = models.ForeignKey(Person, null=True, on_delete=models.PROTECT, related_name="+")
    made_at = models.DateTimeField()
    invoice = models.ForeignKey(
        Invoice,
        null=True,
        on_delete=models.PROTECT,
        related_name="compensations",
        help_text="the issued one that holds it",
    )
    withdrawn_at = models.DateTimeField(null=True)

    class Meta:
        db_table = "compensation"
        constraints = [
            models.CheckConstraint(name="compensation_is_positive", condition=Q(amount__gt=0)),
            models.CheckConstraint(
                name="compensation_billed_is_not_withdrawn", condition=Q(invoice=None) | Q(withdrawn_at=None)
            ),
        ]

    def __str__(self) -> str:
        return f"{self.customer_id} {self.amount}"


class Budget(models.Model):
    """How much a project, or an organization with all its projects, means to spend in a currency, net of tax."""

    class Span(models.TextChoices):
        MONTH = "month", _("each month")
        YEAR = "year", _("each year")
        TOTAL = "total", _("in total")

    organization = models.ForeignKey(Organization, on_delete=models.PROTECT, related_name="budgets")
    project = models.ForeignKey(
        Project,
        null=True,
        blank=True,
        on_delete=models.PROTECT,
        related_name="budgets",
        help_text="with those below it",
    )
    currency = models.CharField(_("currency"), max_length=3)
    span = models.CharField(_("for"), max_length=5, choices=Span)
    amount = models.DecimalField(_("amount"), **MONEY)
    made_at = models.DateTimeField()
    closed_at = models.DateTimeField(null=True)

    class Meta:
        db_table = "budget"
        constraints = [
            models.CheckConstraint(name="budget_is_not_negative", condition=Q(amount__gte=0)),
            models.UniqueConstraint(
                name="budget_once",
                fields=["organization", "project", "currency", "span"],
                condition=Q(closed_at=None),
                nulls_distinct=False,
            ),
        ]

    def __str__(self) -> str:
        return f"{self.amount} {self.currency}"


class BudgetThreshold(models.Model):
    """What happens when so many per cent of a budget are spent."""

    class Action(models.TextChoices):
        TELL = "tell", _("tell the owners")
        HOLD = "hold", _("hold new orders until an owner agrees")
        PAUSE = "pause", _("pause resources")

    budget = models.ForeignKey(Budget, on_delete=models.CASCADE, related_name="thresholds")
    percent = models.PositiveSmallIntegerField(_("per cent"))
    action = models.CharField(_("then"), max_length=5, choices=Action)

    class Meta:
        db_table = "budget_threshold"
        ordering = ["percent", "id"]
        constraints = [
            models.UniqueConstraint(name="budget_threshold_once", fields=["budget", "percent", "action"]),
            models.CheckConstraint(name="budget_threshold_is_sensible", condition=Q(percent__gte=1, percent__lte=1000)),
        ]

    def __str__(self) -> str:
        return f"{self.percent} {self.action}"


class BudgetChange(models.Model):
    """The trace of a budget: set, raised, lowered, closed."""

    budget = models.ForeignKey(Budget, on_delete=models.PROTECT, related_name="changes")
    amount = models.DecimalField(**MONEY)
    reason = models.CharField(_("reason"), max_length=500, blank=True)
    by = models.ForeignKey(Person, null=True, on_delete=models.PROTECT, related_name="+")
    at = models.DateTimeField()

    class Meta:
        db_table = "budget_change"
        ordering = ["at", "id"]

    def __str__(self) -> str:
        return f"{self.budget_id} {self.amount}"


class BudgetCrossing(models.Model):
    """That spending passed a threshold in a stretch of the budget; its action was done in the same transaction, once.

    ended_at   spending is below it again: the budget was raised, the stretch is over, or a correction came
    """

    budget = models.ForeignKey(Budget, on_delete=models.PROTECT, related_name="crossings")
    threshold = models.ForeignKey(BudgetThreshold, null=True, on_delete=models.SET_NULL, related_name="+")
    percent = models.PositiveSmallIntegerField()
    action = models.CharField(max_length=5, choices=BudgetThreshold.Action)
    stretch = models.DateField(help_text="first day of the month or year; of a total 1970-01-01")
    spent = models.DecimalField(**MONEY)
    amount = models.DecimalField(**MONEY, help_text="the budget of then")
    at = models.DateTimeField()
    ended_at = models.DateTimeField(null=True)

    class Meta:
        db_table = "budget_crossing"
        ordering = ["-at", "-id"]
        constraints = [
            models.UniqueConstraint(
                name="budget_crossing_once",
                fields=["budget", "stretch", "percent", "action"],
                condition=Q(ended_at=None),
            ),
        ]

    def __str__(self) -> str:
        return f"{self.budget_id} {self.percent} {self.stretch}"
