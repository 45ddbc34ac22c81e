"""What providers reported, who said it first, and where each level stands."""

from django.db import models

from bursar.accounting.models import Wallet
from bursar.catalogue.models import ProductCategory


class ReportIdentity(models.Model):
    """A report's name and the hash of its content, for ever: neither in parts by time nor archived."""

    pk = models.CompositePrimaryKey("category_id", "report_id")
    # No constraint: the service holds the category's lock, and a check for each of millions of rows would cost as much as
    # writing them.
    category = models.ForeignKey(
        ProductCategory, on_delete=models.PROTECT, related_name="+", db_constraint=False, db_index=False
    )
    report_id = models.CharField(max_length=200)
    content_hash = models.BinaryField()
    recorded_at = models.DateTimeField(help_text="in which part the report itself lies")

    class Meta:
        db_table = "report_identity"

    def __str__(self) -> str:
        return f"{self.category_id} {self.report_id}"


class UsageReport(models.Model):
    """A report as it came. Only ever added to; the table is in parts by month of recording."""

    pk = models.CompositePrimaryKey("category_id", "recorded_at", "id")
    id = models.BigIntegerField(
        editable=False, help_text="made of the operation's: the order of recording in a category"
    )
    category_id = models.BigIntegerField()
    report_id = models.CharField(max_length=200)
    operation_id = models.BigIntegerField(help_text="the posting operation")
    wallet_id = models.BigIntegerField()
    resource_id = models.BigIntegerField(null=True)
    person_id = models.BigIntegerField(null=True)
    is_absolute = models.BooleanField()
    scope = models.CharField(max_length=200, default="")
    corrects = models.CharField(max_length=200, default="", help_text="the report whose amount this one replaces")
    amount_ticks = models.BigIntegerField(help_text="as reported: a difference or a level")
    posted_ticks = models.BigIntegerField(help_text="by how much the wallet's usage changed")
    period_start = models.DateTimeField()
    period_end = models.DateTimeField()
    used_at = models.DateTimeField(help_text="the instant that it was charged at")
    user = models.CharField(max_length=200, default="", db_column="user_name")
    job = models.CharField(max_length=200, default="")
    labels = models.JSONField(default=dict)
    recorded_at = models.DateTimeField()

    class Meta:
        db_table = "usage_report"

    def __str__(self) -> str:
        return f"{self.report_id} {self.amount_ticks}"


class ScopeLevel(models.Model):
    """Where the level of a scope stands: the sum of what was posted to it, and the report that set it last.

    The scope "" is the whole wallet: its level is the wallet's usage, so only the last report is kept here.
    """

    category = models.ForeignKey(ProductCategory, on_delete=models.PROTECT, related_name="+")
    wallet = models.ForeignKey(Wallet, on_delete=models.PROTECT, related_name="levels")
    scope = models.CharField(max_length=200, blank=True)
    level_ticks = models.BigIntegerField(default=0)
    set_until = models.DateTimeField(null=True, help_text="period end of the absolute report that is the level")
    set_by = models.CharField(max_length=200, default="", help_text="and its report id")

    class Meta:
        db_table = "scope_level"
        constraints = [
            models.UniqueConstraint(fields=["category", "wallet", "scope"], name="scope_level_once"),
        ]

    def __str__(self) -> str:
        return f"{self.wallet_id} {self.scope} {self.level_ticks}"


class Backfill(models.Model):
    """How far a file of past usage was booked; written with each step, so that it goes on where it ended."""

    path = models.CharField(max_length=1000, unique=True)
    content_hash = models.CharField(max_length=64, default="", help_text="of the lines that were booked")
    lines_done = models.BigIntegerField(default=0)
    posted = models.BigIntegerField(default=0)
    duplicates = models.BigIntegerField(default=0)
    set_aside = models.BigIntegerField(default=0)

    class Meta:
        db_table = "backfill"

    def __str__(self) -> str:
        return f"{self.path} {self.lines_done}"


class RollupMark(models.Model):
    """Up to which report and which posting of a category the rollups go. What was recorded later is read beside them."""

    category = models.OneToOneField(ProductCategory, on_delete=models.PROTECT, primary_key=True, related_name="+")
    report_recorded_at = models.DateTimeField(help_text="of the last report that is in the rollups")
    report_id = models.BigIntegerField()
    posting_recorded_at = models.DateTimeField()
    posting_id = models.BigIntegerField()

    class Meta:
        db_table = "rollup_mark"

    def __str__(self) -> str:
        return f"{self.category_id} {self.report_id} {self.posting_id}"


# The days of a month, columns d01 to d31 of the next seven tables, are known to `bursar.metering.rollups` alone.
class UsageMonth(models.Model):
    """What a wallet's reports of use in a month posted, by day. A cache of the reports."""

    pk = models.CompositePrimaryKey("category_id", "wallet_id", "month")
    category_id = models.BigIntegerField()
    wallet_id = models.BigIntegerField()
    month = models.DateField(help_text="its first day, in UTC")
    ticks = models.BigIntegerField()

    class Meta:
        db_table = "usage_month"

    def __str__(self) -> str:
        return f"{self.wallet_id} {self.month} {self.ticks}"


class UsageDetailMonth(models.Model):
    """The same by resource, person and product."""

    pk = models.CompositePrimaryKey("category_id", "wallet_id", "month", "resource_id", "person_id", "user", "product")
    category_id = models.BigIntegerField()
    wallet_id = models.BigIntegerField()
    month = models.DateField()
    resource_id = models.BigIntegerField(help_text="0 = none was named")
    person_id = models.BigIntegerField(help_text="0 = nobody we know")
    user = models.CharField(max_length=200, db_column="user_name")
    product = models.CharField(max_length=60, help_text="its name; empty = none was named")
    ticks = models.BigIntegerField()

    class Meta:
        db_table = "usage_detail_month"

    def __str__(self) -> str:
        return f"{self.wallet_id} {self.month} {self.user} {self.ticks}"


class UsageCategoryMonth(models.Model):
    """The same of all wallets of a category together, whose sum may be more than a wallet can hold."""

    pk = models.CompositePrimaryKey("category_id", "month")
    category_id = models.BigIntegerField()
    month = models.DateField()
    ticks = models.DecimalField(max_digits=40, decimal_places=0)

    class Meta:
        db_table = "usage_category_month"

    def __str__(self) -> str:
        return f"{self.category_id} {self.month} {self.ticks}"


class UsagePersonMonth(models.Model):
    """The same by person and the name of the user at the provider."""

    pk = models.CompositePrimaryKey("category_id", "month", "person_id", "user")
    category_id = models.BigIntegerField()
    month = models.DateField()
    person_id = models.BigIntegerField(help_text="0 = nobody we know")
    user = models.CharField(max_length=200, db_column="user_name")
    ticks = models.DecimalField(max_digits=40, decimal_places=0)

    class Meta:
        db_table = "usage_person_month"

    def __str__(self) -> str:
        return f"{self.person_id} {self.user} {self.month} {self.ticks}"


class UsageResourceMonth(models.Model):
    """The same by resource."""

    pk = models.CompositePrimaryKey("category_id", "month", "resource_id")
    category_id = models.BigIntegerField()
    month = models.DateField()
    resource_id = models.BigIntegerField(help_text="0 = none was named")
    ticks = models.DecimalField(max_digits=40, decimal_places=0)

    class Meta:
        db_table = "usage_resource_month"

    def __str__(self) -> str:
        return f"{self.resource_id} {self.month} {self.ticks}"


class UsageProductMonth(models.Model):
    """The same by product."""

    pk = models.CompositePrimaryKey("category_id", "month", "product")
    category_id = models.BigIntegerField()
    month = models.DateField()
    product = models.CharField(max_length=60, help_text="its name; empty = none was named")
    ticks = models.DecimalField(max_digits=40, decimal_places=0)

    class Meta:
        db_table = "usage_product_month"

    def __str__(self) -> str:
        return f"{self.product} {self.month} {self.ticks}"


class UsagePersonYear(models.Model):
    """What a whole category used in a year, by month, by person and the name of the user at the provider."""

    pk = models.CompositePrimaryKey("category_id", "year", "person_id", "user")
    category_id = models.BigIntegerField()
    year = models.DateField(help_text="its first day, in UTC")
    person_id = models.BigIntegerField(help_text="0 = nobody we know")
    user = models.CharField(max_length=200, db_column="user_name")
    ticks = models.DecimalField(max_digits=40, decimal_places=0)

    class Meta:
        db_table = "usage_person_year"

    def __str__(self) -> str:
        return f"{self.person_id} {self.user} {self.year} {self.ticks}"


class UsageResourceYear(models.Model):
    """The same by resource."""

    pk = models.CompositePrimaryKey("category_id", "year", "resource_id")
    category_id = models.BigIntegerField()
    year = models.DateField()
    resource_id = models.BigIntegerField(help_text="0 = none was named")
    ticks = models.DecimalField(max_digits=40, decimal_places=0)

    class Meta:
        db_table = "usage_resource_year"

    def __str__(self) -> str:
        return f"{self.resource_id} {self.year} {self.ticks}"


class DrawnMonth(models.Model):
    """By how much an allocation's drawn changed in a month, by day. A cache of the postings."""

    pk = models.CompositePrimaryKey("category_id", "allocation_id", "month")
    category_id = models.BigIntegerField()
    allocation_id = models.BigIntegerField()
    month = models.DateField()
    ticks = models.BigIntegerField()

    class Meta:
        db_table = "drawn_month"

    def __str__(self) -> str:
        return f"{self.allocation_id} {self.month} {self.ticks}"


class QuotaHistory(models.Model):
    """A posting that changed an allocation's quota or window, found without reading those of its usage."""

    pk = models.CompositePrimaryKey("category_id", "allocation_id", "posting_id")
    category_id = models.BigIntegerField()
    allocation_id = models.BigIntegerField()
    posting_id = models.BigIntegerField()
    quota_ticks = models.BigIntegerField(help_text="by how much it changed")
    start = models.DateTimeField(null=True)
    end = models.DateTimeField(null=True)
    effective_at = models.DateTimeField()

    class Meta:
        db_table = "quota_history"

    def __str__(self) -> str:
        return f"{self.allocation_id} {self.quota_ticks}"
