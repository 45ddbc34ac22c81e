"""What is sold, by whom, in which units, and with what it is made."""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import ClassVar

from django.db import models
from django.db.models import F, Q
from django.db.models.functions import Lower, Now
from django.utils.translation import gettext_lazy as _

from bursar.catalogue.lifecycle import OfferingState
from bursar.kernel.quantity import Unit
from bursar.structure.models import ApiToken, Organization, Person, Project


class ServiceProvider(models.Model):
    """An organization that the operator has authorized to sell."""

    organization = models.OneToOneField(Organization, on_delete=models.PROTECT, related_name="provider")
    description = models.TextField(_("description"), blank=True, max_length=10_000)
    contact_email = models.EmailField(_("contact"), blank=True)
    authorized_at = models.DateTimeField()
    authorized_by = models.ForeignKey(Person, null=True, blank=True, on_delete=models.PROTECT, related_name="+")
    revoked_at = models.DateTimeField(null=True, blank=True)

    class Meta:
        db_table = "service_provider"
        verbose_name = _("service provider")

    def __str__(self) -> str:
        return str(self.organization)


class ProductType(models.TextChoices):
    COMPUTE = "compute", _("compute")
    STORAGE = "storage", _("storage")
    PUBLIC_LINK = "public_link", _("public link")
    LICENSE = "license", _("license")
    NETWORK_IP = "network_ip", _("network address")


class Charging(models.TextChoices):
    """How usage counts: a level that goes up and down, or an amount that accumulates per unit of time."""

    ONCE = "once", _("once (a level)")
    PER_MINUTE = "minute", _("per minute")
    PER_HOUR = "hour", _("per hour")
    PER_DAY = "day", _("per day")


class ProductCategory(models.Model):
    """The unit of account of one provider: "cpu on Thor, in core-hours"."""

    provider = models.ForeignKey(ServiceProvider, on_delete=models.PROTECT, related_name="categories")
    name = models.SlugField(_("name"), max_length=60, help_text=_("short and stable; programs use it"))
    title = models.CharField(_("title"), max_length=120)
    description = models.TextField(_("description"), blank=True, max_length=2000)
    product_type = models.CharField(_("product type"), max_length=16, choices=ProductType)
    charging = models.CharField(_("charged"), max_length=8, choices=Charging)
    unit_name = models.CharField(
        _("unit"),
        max_length=40,
        help_text=_("as people say it: core-hours, GB, addresses"),
    )
    ticks_per_unit = models.BigIntegerField(
        _("ticks per unit"),
        default=1,
        help_text=_("smallest amounts in one unit: 3600 core-seconds in a core-hour"),
    )
    requires_allocation = models.BooleanField(_("requires an allocation"), default=True)
    allows_suballocation = models.BooleanField(_("may be handed on"), default=True)
    allows_overallocation = models.BooleanField(_("may be promised beyond what there is"), default=True)
    grace_days = models.PositiveSmallIntegerField(_("days of grace after the end"), default=7)
    created_at = models.DateTimeField(db_default=Now(), editable=False)
    archived_at = models.DateTimeField(null=True, blank=True)
    sealed_at = models.DateTimeField(
        null=True,
        editable=False,
        help_text="since when wallets or an offering on the shelf count in it; a trigger keeps the unit from then on",
    )

    class Meta:
        db_table = "product_category"
        verbose_name = _("product category")
        ordering = ["title", "id"]
        constraints = [
            models.UniqueConstraint(fields=["provider", "name"], name="category_name_once_per_provider"),
            models.CheckConstraint(condition=Q(ticks_per_unit__gte=1), name="category_has_whole_ticks"),
            models.CheckConstraint(condition=Q(grace_days__lte=366), name="category_grace_within_a_year"),
        ]

    def __str__(self) -> str:
        return self.title

    @property
    def unit(self) -> Unit:
        return Unit(self.unit_name, self.ticks_per_unit)

    @property
    def is_over_time(self) -> bool:
        return self.charging != Charging.ONCE


class Product(models.Model):
    """A concrete slice of a category: "thor-16: 16 cores, 64 GiB"."""

    category = models.ForeignKey(ProductCategory, on_delete=models.PROTECT, related_name="products")
    name = models.SlugField(_("name"), max_length=60)
    title = models.CharField(_("title"), max_length=120)
    description = models.TextField(_("description"), blank=True, max_length=2000)
    specs = models.JSONField(
        _("properties"),
        default=dict,
        blank=True,
        help_text="cores, memory_gib, gpus, gpu_model…",
    )
    ticks_per_charge = models.BigIntegerField(
        _("ticks it costs"),
        default=0,
        help_text=_("per minute, hour or day of the category; once: while it exists"),
    )
    archived_at = models.DateTimeField(null=True, blank=True)

    class Meta:
        db_table = "product"
        verbose_name = _("product")
        ordering = ["title", "id"]
        constraints = [
            models.UniqueConstraint(fields=["category", "name"], name="product_name_once_per_category"),
            models.CheckConstraint(
                condition=Q(ticks_per_charge__gte=0),
                name="product_costs_nothing_negative",
            ),
        ]

    def __str__(self) -> str:
        return self.title


class OfferingCategory(models.Model):
    """A shelf in the shop; shelves form a tree."""

    parent = models.ForeignKey("self", null=True, blank=True, on_delete=models.PROTECT, related_name="children")
    title = models.CharField(_("title"), max_length=120)
    slug = models.SlugField(_("short name"), max_length=60, unique=True)
    description = models.TextField(_("description"), blank=True, max_length=2000)
    icon = models.CharField(_("icon"), max_length=40, blank=True, help_text="a Tabler icon's name")
    position = models.PositiveSmallIntegerField(_("position"), default=0)

    class Meta:
        db_table = "offering_category"
        verbose_name = _("shelf")
        ordering = ["position", "title", "id"]
        constraints = [models.CheckConstraint(condition=~Q(parent=F("id")), name="shelf_is_not_its_own_parent")]

    def __str__(self) -> str:
        return self.title


class Agent(models.Model):
    """A `bursar agent` at a provider's site, told apart by the number that it keeps on its own disk.

    session  of its running process: what an earlier one still says is refused
    status   what it last said of itself: work under way, spool, findings
    rival    another agent that was refused because this one is in charge: when, host, address
    """

    SILENT_AFTER: ClassVar = timedelta(minutes=2)

    provider = models.ForeignKey(ServiceProvider, on_delete=models.CASCADE, related_name="agents")
    instance = models.UUIDField(_("instance"))
    session = models.UUIDField()
    token = models.ForeignKey(ApiToken, null=True, on_delete=models.SET_NULL, related_name="+")
    host = models.CharField(_("host"), max_length=255)
    address = models.CharField(_("address"), max_length=45, blank=True)
    version = models.CharField(_("version"), max_length=40)
    started_at = models.DateTimeField()
    seen_at = models.DateTimeField(_("last heard of"))
    stopped_at = models.DateTimeField(null=True)
    clock_ahead_ms = models.BigIntegerField(default=0, help_text="by how much its clock is ahead of the server's")
    status = models.JSONField(default=dict, blank=True)
    rival = models.JSONField(default=dict, blank=True)

    class Meta:
        db_table = "agent"
        verbose_name = _("agent")
        ordering = ["-seen_at", "id"]
        constraints = [models.UniqueConstraint(fields=["provider", "instance"], name="agent_once_per_provider")]

    def __str__(self) -> str:
        return self.host

    def is_silent(self, at: datetime) -> bool:
        """Whether nothing was heard of it for a while, though nobody stopped it."""
        return self.stopped_at is None and self.seen_at < at - self.SILENT_AFTER


class Backend(models.Model):
    """A configured instance of a plugin: where a provider's offerings are made real.

    runs_at   where the plugin runs: here in the worker, or at the provider's site in an agent, which keeps the settings
    agent     whose word counts for a backend at the site
    declared  what its agent said of the plugin: title, version, abilities, components, order form
    """

    class RunsAt(models.TextChoices):
        SERVER = "server", _("beside Bursar")
        SITE = "site", _("at the provider's site, in an agent")

    provider = models.ForeignKey(ServiceProvider, on_delete=models.PROTECT, related_name="backends")
    name = models.CharField(_("name"), max_length=120)
    plugin = models.CharField(_("plugin"), max_length=40, help_text="the plugin's key")
    settings = models.JSONField(_("settings"), default=dict, blank=True, help_text="everything that is not secret")
    secrets = models.BinaryField(
        default=bytes,
        editable=False,
        help_text="MultiFernet token of the secret settings",
    )
    health = models.CharField(
        max_length=8,
        default="unknown",
        choices=[(s, s) for s in ("unknown", "ok", "warning", "broken")],
    )
    findings = models.JSONField(default=list, editable=False)
    backend_version = models.CharField(max_length=80, blank=True, editable=False)
    checked_at = models.DateTimeField(null=True, editable=False)
    last_contact_at = models.DateTimeField(null=True, editable=False)
    enabled = models.BooleanField(_("in use"), default=True)
    runs_at = models.CharField(_("runs"), max_length=6, choices=RunsAt, default=RunsAt.SERVER)
    agent = models.ForeignKey(
        Agent, null=True, blank=True, editable=False, on_delete=models.SET_NULL, related_name="backends"
    )
    declared = models.JSONField(default=dict, blank=True, editable=False)
    found = models.JSONField(
        default=list, blank=True, editable=False, help_text="what its agent found that could be taken over"
    )
    found_at = models.DateTimeField(null=True, blank=True, editable=False)
    created_at = models.DateTimeField(db_default=Now(), editable=False)

    class Meta:
        db_table = "backend"
        verbose_name = _("backend")
        ordering = ["name", "id"]
        constraints = [
            models.UniqueConstraint(fields=["provider", "name"], name="backend_name_once_per_provider"),
            models.CheckConstraint(
                condition=Q(health__in=["unknown", "ok", "warning", "broken"]), name="backend_health_is_known"
            ),
            models.CheckConstraint(condition=Q(runs_at__in=["server", "site"]), name="backend_runs_somewhere"),
            models.CheckConstraint(
                condition=Q(runs_at="site", secrets=b"") | Q(runs_at="server", agent__isnull=True),
                name="backend_at_the_site_keeps_its_secrets",
            ),
        ]

    def __str__(self) -> str:
        return self.name

    @property
    def at_site(self) -> bool:
        return self.runs_at == self.RunsAt.SITE

    def agent_state(self, at: datetime) -> str:
        """How it stands with the agent of a backend at the site: "unseen" where none came forward yet, "heard", "silent",
        "stopped", or "dropped" where the one that came no longer names it; "" beside Bursar, where there is none.
        """
        if not self.at_site:
            return ""
        if self.agent is None:
            return "dropped" if self.declared else "unseen"
        if self.agent.stopped_at is not None:
            return "stopped"
        return "silent" if self.agent.is_silent(at) else "heard"


class Offering(models.Model):
    """What can be ordered."""

    class Visibility(models.TextChoices):
        EVERYONE = "everyone", _("everyone")
        ORGANIZATIONS = "organizations", _("chosen organizations")
        PROJECTS = "projects", _("chosen projects")

    provider = models.ForeignKey(ServiceProvider, on_delete=models.PROTECT, related_name="offerings")
    shelf = models.ForeignKey(
        OfferingCategory,
        null=True,
        blank=True,
        on_delete=models.PROTECT,
        related_name="offerings",
        verbose_name=_("shelf"),
    )
    name = models.CharField(_("name"), max_length=150)
    slug = models.SlugField(_("short name"), max_length=60, help_text=_("in addresses and at the backend"))
    summary = models.CharField(_("summary"), max_length=300, blank=True)
    description = models.TextField(_("description"), blank=True, max_length=20_000, help_text=_("Markdown"))
    terms_of_use = models.TextField(_("terms of use"), blank=True, max_length=20_000, help_text=_("Markdown"))
    access_instructions = models.TextField(
        _("access instructions"),
        blank=True,
        max_length=20_000,
        help_text=_("Markdown, with {resource_name}, {username}, {backend_id} and what the plugin tells"),
    )
    backend = models.ForeignKey(
        Backend,
        null=True,
        blank=True,
        on_delete=models.PROTECT,
        related_name="offerings",
    )
    order_form = models.JSONField(_("order form"), default=dict, blank=True, help_text="a JSON Schema subset")
    state = models.CharField(
        max_length=12,
        default=OfferingState.DRAFT,
        choices=[(s.value, s.value) for s in OfferingState],
    )
    paused_reason = models.CharField(max_length=300, blank=True)
    visibility = models.CharField(_("visible to"), max_length=16, choices=Visibility, blank=True)
    visible_organizations = models.ManyToManyField(
        Organization, blank=True, related_name="+", db_table="offering_organization"
    )
    visible_projects = models.ManyToManyField(Project, blank=True, related_name="+", db_table="offering_project")
    created_at = models.DateTimeField(db_default=Now(), editable=False)
    activated_at = models.DateTimeField(
        null=True,
        editable=False,
        help_text="when it first stood on the shelf; triggers keep what it counts and where it runs from then on",
    )

    class Meta:
        db_table = "offering"
        verbose_name = _("offering")
        ordering = ["name", "id"]
        constraints = [
            models.UniqueConstraint(fields=["provider", "slug"], name="offering_slug_once_per_provider"),
            models.CheckConstraint(
                condition=Q(state__in=[s.value for s in OfferingState]),
                name="offering_state_is_known",
            ),
            models.CheckConstraint(
                condition=~Q(state=OfferingState.ACTIVE)
                | (
                    Q(shelf__isnull=False, backend__isnull=False, activated_at__isnull=False)
                    & ~Q(visibility="")
                    & ~Q(summary="")
                    & ~Q(description="")
                ),
                name="active_offering_is_complete",
            ),
        ]
        indexes = [models.Index(fields=["state", "shelf"], name="offering_on_shelf")]

    def __str__(self) -> str:
        return self.name


class Component(models.Model):
    """What is measured or limited in an offering; with a category, what it draws from wallets."""

    class Billing(models.TextChoices):
        FIXED = "fixed", _("fixed")
        USAGE = "usage", _("usage")
        LIMIT = "limit", _("limit")
        ONE_TIME = "one_time", _("one time")
        ON_SWITCH = "on_switch", _("on switch of plan")

    class LimitPeriod(models.TextChoices):
        DAY = "day", _("per day")
        MONTH = "month", _("per month")
        QUARTER = "quarter", _("per quarter")
        YEAR = "year", _("per year")
        TOTAL = "total", _("in total")

    offering = models.ForeignKey(Offering, on_delete=models.CASCADE, related_name="components")
    key = models.SlugField(_("key"), max_length=40, help_text=_("the plugin's name for it"))
    title = models.CharField(_("title"), max_length=120)
    unit_name = models.CharField(_("unit"), max_length=40, help_text=_("what limits and prices count"))
    billing = models.CharField(_("billing"), max_length=10, choices=Billing)
    limit_period = models.CharField(
        _("price of the limit is"),
        max_length=8,
        choices=LimitPeriod,
        default=LimitPeriod.MONTH,
    )
    limit_min = models.BigIntegerField(_("smallest limit"), null=True, blank=True)
    limit_max = models.BigIntegerField(_("greatest limit"), null=True, blank=True)
    limit_default = models.BigIntegerField(_("usual limit"), null=True, blank=True)
    category = models.ForeignKey(
        ProductCategory,
        null=True,
        blank=True,
        on_delete=models.PROTECT,
        related_name="components",
        verbose_name=_("draws from"),
    )
    ticks_per_unit = models.BigIntegerField(
        _("ticks per unit"),
        default=1,
        help_text=_("ticks of the category that one unit of the component draws"),
    )
    ticks_per_measured = models.BigIntegerField(
        _("ticks per measured unit"),
        default=1,
        help_text=_("ticks that one unit of what the plugin measures draws"),
    )
    measured_unit = models.CharField(_("measured in"), max_length=40, blank=True)
    position = models.PositiveSmallIntegerField(default=0)
    free_while_paused = models.BooleanField(_("free while paused"), default=False)
    tax_category = models.SlugField(_("tax category"), max_length=40, default="standard")

    class Meta:
        db_table = "component"
        verbose_name = _("component")
        ordering = ["position", "id"]
        constraints = [
            models.UniqueConstraint(fields=["offering", "key"], name="component_key_once_per_offering"),
            models.CheckConstraint(
                condition=Q(ticks_per_unit__gte=1, ticks_per_measured__gte=1),
                name="component_has_whole_ticks",
            ),
            models.CheckConstraint(
                condition=Q(limit_min__isnull=True) | Q(limit_min__gte=0),
                name="component_limit_not_negative",
            ),
            models.CheckConstraint(
                condition=Q(limit_min__isnull=True) | Q(limit_max__isnull=True) | Q(limit_max__gte=F("limit_min")),
                name="component_limits_in_order",
            ),
            models.CheckConstraint(
                condition=(Q(limit_default__isnull=True) | Q(limit_default__gte=0))
                & (Q(limit_default__isnull=True) | Q(limit_min__isnull=True) | Q(limit_default__gte=F("limit_min")))
                & (Q(limit_default__isnull=True) | Q(limit_max__isnull=True) | Q(limit_default__lte=F("limit_max"))),
                name="component_default_within_limits",
            ),
            models.CheckConstraint(
                condition=Q(limit_max__isnull=True) | Q(limit_max__gte=0), name="component_limit_max_not_negative"
            ),
        ]

    def __str__(self) -> str:
        return self.title


class Plan(models.Model):
    """Prices and fixed amounts, who may take it, and how many at once."""

    class Unit(models.TextChoices):
        MONTH = "month", _("month")
        HALF_MONTH = "half_month", _("half month")
        DAY = "day", _("day")
        HOUR = "hour", _("hour")
        QUANTITY = "quantity", _("once")

    offering = models.ForeignKey(Offering, on_delete=models.CASCADE, related_name="plans")
    name = models.CharField(_("name"), max_length=120)
    description = models.TextField(_("description"), blank=True, max_length=2000)
    unit = models.CharField(_("billed per"), max_length=12, choices=Unit, default=Unit.MONTH)
    organizations = models.ManyToManyField(
        Organization,
        blank=True,
        related_name="+",
        db_table="plan_organization",
        help_text=_("nobody chosen = everyone"),
    )
    resources_max = models.PositiveIntegerField(_("at most so many at once"), null=True, blank=True)
    archived_at = models.DateTimeField(null=True, blank=True)
    position = models.PositiveSmallIntegerField(default=0)

    class Meta:
        db_table = "plan"
        verbose_name = _("plan")
        ordering = ["position", "id"]
        constraints = [
            models.UniqueConstraint("offering", Lower("name"), name="plan_name_once_per_offering"),
        ]

    def __str__(self) -> str:
        return self.name


class PlanComponent(models.Model):
    """What a component costs in a plan, and how much of it the plan fixes, from an instant on.

    Rows are only added. In force at an instant is the row with the latest `valid_from` not after it; of several with
    the same `valid_from` the one written last. So an invoice can be computed again from what was known when it was
    issued. Use may be sold in steps: graduated = each unit at the price of the step it lies in; volume = all units at
    the price of the step that the month's whole use reaches.
    """

    class Tiers(models.TextChoices):
        GRADUATED = "graduated", _("graduated")
        VOLUME = "volume", _("by volume")

    plan = models.ForeignKey(Plan, on_delete=models.CASCADE, related_name="prices")
    component = models.ForeignKey(Component, on_delete=models.CASCADE, related_name="prices")
    amount = models.BigIntegerField(
        _("amount"),
        default=0,
        help_text=_("units the plan includes; for fixed components"),
    )
    price = models.DecimalField(_("price"), max_digits=20, decimal_places=10, default=0)
    tier_kind = models.CharField(_("steps"), max_length=9, choices=Tiers, blank=True)
    tiers = models.JSONField(
        default=list,
        blank=True,
        help_text="[[from quantity, price], ...] beyond the first; quantities and prices as text",
    )
    valid_from = models.DateTimeField()
    recorded_at = models.DateTimeField(db_default=Now(), editable=False)

    class Meta:
        db_table = "plan_component"
        indexes = [models.Index(fields=["plan", "component", "-valid_from", "-id"], name="plan_price_in_force")]
        constraints = [
            models.CheckConstraint(condition=Q(price__gte=0, amount__gte=0), name="plan_price_not_negative"),
        ]

    def __str__(self) -> str:
        return f"{self.plan_id} {self.component_id} {self.price}"
