"""Balances and, beside them, the journal that they are a cache of."""

from datetime import timedelta

from django.db import models
from django.db.models import F, Q
from django.utils.translation import gettext_lazy as _

from bursar.catalogue.models import ProductCategory
from bursar.structure.models import Person, Workspace


class Clock(models.Model):
    """Up to which instant a category's starts, ends and closings were applied. One row for each category with a ledger."""

    category = models.OneToOneField(ProductCategory, on_delete=models.PROTECT, primary_key=True, related_name="+")
    applied_until = models.DateTimeField()
    stamp = models.BigIntegerField(default=0, help_text="drawn anew by each operation")

    class Meta:
        db_table = "ledger_clock"

    def __str__(self) -> str:
        return f"{self.category_id} {self.applied_until}"


class Wallet(models.Model):
    """What a workspace has of a product category. Its figures are the sums of its postings."""

    category = models.ForeignKey(ProductCategory, on_delete=models.PROTECT, related_name="wallets", db_index=False)
    workspace = models.ForeignKey(Workspace, on_delete=models.PROTECT, related_name="wallets")
    used_ticks = models.BigIntegerField(default=0)
    uncovered_ticks = models.BigIntegerField(default=0)
    written_off_ticks = models.BigIntegerField(default=0)
    locked = models.BooleanField(default=True, help_text="as of the category's clock")
    made_at = models.DateTimeField()

    class Meta:
        db_table = "wallet"
        verbose_name = _("wallet")
        constraints = [
            models.UniqueConstraint(fields=["category", "workspace"], name="wallet_once_per_workspace"),
            models.CheckConstraint(
                condition=Q(used_ticks__gte=0, uncovered_ticks__gte=0, written_off_ticks__gte=0),
                name="wallet_holds_nothing_negative",
            ),
        ]

    def __str__(self) -> str:
        return f"{self.workspace} – {self.category}"


class Allocation(models.Model):
    """The right of a wallet to draw up to a quota from a source wallet, or from the provider, during `[start, end)`."""

    category = models.ForeignKey(ProductCategory, on_delete=models.PROTECT, related_name="allocations", db_index=False)
    wallet = models.ForeignKey(Wallet, on_delete=models.PROTECT, related_name="into", db_index=False)
    source = models.ForeignKey(
        Wallet,
        null=True,
        on_delete=models.PROTECT,
        related_name="out_of",
        db_index=False,
        help_text="empty = a root allocation, from the provider",
    )
    quota_ticks = models.BigIntegerField(_("quota"))
    drawn_ticks = models.BigIntegerField(default=0)
    start = models.DateTimeField(_("start"))
    end = models.DateTimeField(_("end"))
    priority = models.SmallIntegerField(_("priority"), default=0, help_text=_("lower numbers are used first"))
    note = models.CharField(_("note"), max_length=500, blank=True)
    closed_at = models.DateTimeField(
        null=True, help_text="drawn is frozen from then on (over time), or nothing (a level)"
    )
    made_by = models.ForeignKey(Person, null=True, on_delete=models.PROTECT, related_name="+", db_index=False)
    made_at = models.DateTimeField()

    class Meta:
        db_table = "allocation"
        verbose_name = _("allocation")
        constraints = [
            models.CheckConstraint(
                condition=Q(drawn_ticks__gte=0) & Q(drawn_ticks__lte=F("quota_ticks")),
                name="allocation_draws_within_quota",
            ),
            models.CheckConstraint(
                condition=Q(end__gt=F("start")) | Q(end=F("start"), closed_at__isnull=False),
                name="allocation_ends_after_start",
            ),
            models.CheckConstraint(
                condition=Q(source__isnull=True) | ~Q(source=F("wallet")), name="allocation_is_not_from_itself"
            ),
        ]
        indexes = [
            models.Index(fields=["category", "start"], name="allocation_starts"),
            models.Index(fields=["category", "end"], name="allocation_ends"),
            models.Index(fields=["wallet", "category"], name="allocation_into"),
            models.Index(fields=["source", "category"], name="allocation_out_of"),
        ]

    def __str__(self) -> str:
        return f"{self.wallet_id} <- {self.source_id or 'provider'}"

    @property
    def grace(self) -> timedelta:
        """How long after the end usage inside the window still lands here."""
        return timedelta(days=self.category.grace_days) if self.category.is_over_time else timedelta(0)


class Operation(models.Model):
    """One transaction on a category's ledger: who did what, when, and why. Only ever added to."""

    category_id = models.BigIntegerField()
    kind = models.CharField(max_length=12, help_text="usage, due, allocate, change, revoke, transfer, write_off")
    actor_id = models.BigIntegerField(null=True, help_text="the person; empty = the system")
    reason = models.CharField(max_length=500, blank=True)
    effective_at = models.DateTimeField()
    recorded_at = models.DateTimeField()

    class Meta:
        db_table = "ledger_operation"
        indexes = [models.Index(fields=["category_id", "recorded_at", "id"], name="operation_recorded")]

    def __str__(self) -> str:
        return f"{self.kind} {self.category_id} {self.recorded_at}"


class Posting(models.Model):
    """What an operation changed on one wallet or one allocation. Only ever added to; the table is in parts by month.

    A row tells of a wallet and, where `allocation_id` is set, of one allocation of that wallet too: `used_ticks`, `uncovered_ticks`
    and `written_off_ticks` are the wallet's, the other figures are the allocation's.
    """

    pk = models.CompositePrimaryKey("category_id", "recorded_at", "id")
    id = models.BigIntegerField(
        editable=False, help_text="made of the operation's: the order of recording in a category"
    )
    category_id = models.BigIntegerField()
    operation_id = models.BigIntegerField()
    kind = models.CharField(max_length=12)
    wallet_id = models.BigIntegerField()
    allocation_id = models.BigIntegerField(null=True)
    used_ticks = models.BigIntegerField(default=0)
    uncovered_ticks = models.BigIntegerField(default=0)
    written_off_ticks = models.BigIntegerField(default=0)
    drawn_ticks = models.BigIntegerField(default=0)
    quota_ticks = models.BigIntegerField(default=0)
    start = models.DateTimeField(null=True, help_text="the window from now on, where it was set")
    end = models.DateTimeField(null=True)
    turned = models.CharField(max_length=6, default="", help_text="opened or closed")
    effective_at = models.DateTimeField(help_text="usage: the hour it belongs to")
    recorded_at = models.DateTimeField()

    class Meta:
        db_table = "posting"

    def __str__(self) -> str:
        return f"{self.kind} {self.wallet_id} {self.allocation_id or ''}"


class Checkpoint(models.Model):
    """A place in a category's journal up to which it was summed up. They stand some ten thousand postings apart."""

    pk = models.CompositePrimaryKey("category_id", "number")
    category_id = models.BigIntegerField()
    number = models.IntegerField(help_text="from 1, in the order of recording")
    recorded_until = models.DateTimeField(help_text="the last recording that is in it")

    class Meta:
        db_table = "ledger_checkpoint"
        indexes = [models.Index(fields=["category_id", "recorded_until"], name="checkpoint_recorded")]

    def __str__(self) -> str:
        return f"{self.category_id} {self.number}"


class CheckpointWallet(models.Model):
    """How many postings of a wallet lie before the last checkpoint, and whether they are many enough to be summed up."""

    pk = models.CompositePrimaryKey("category_id", "wallet_id")
    category_id = models.BigIntegerField()
    wallet_id = models.BigIntegerField()
    postings = models.BigIntegerField()
    summed_since = models.IntegerField(null=True, help_text="the checkpoint at which its sums were first made")

    class Meta:
        db_table = "ledger_checkpoint_wallet"

    def __str__(self) -> str:
        return f"{self.wallet_id} {self.postings}"


class CheckpointSum(models.Model):
    """What the postings of a stretch of recording add up to, for a wallet or an allocation, up to an effective instant.

    `number` names the stretch: it ends at that checkpoint (`checkpoints.reach` says how far back it goes).
    """

    pk = models.CompositePrimaryKey("category_id", "wallet_id", "allocation_id", "number", "effective_at")
    category_id = models.BigIntegerField()
    wallet_id = models.BigIntegerField()
    allocation_id = models.BigIntegerField(help_text="0 = the wallet's own figures")
    number = models.IntegerField()
    effective_at = models.DateTimeField()
    used_ticks = models.BigIntegerField()
    uncovered_ticks = models.BigIntegerField()
    written_off_ticks = models.BigIntegerField()
    drawn_ticks = models.BigIntegerField()

    class Meta:
        db_table = "ledger_checkpoint_sum"

    def __str__(self) -> str:
        return f"{self.wallet_id} {self.allocation_id} {self.number}"
