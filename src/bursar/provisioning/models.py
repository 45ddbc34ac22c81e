"""Orders, resources, who has to agree, and everything a resource ever was."""

from __future__ import annotations

from django.contrib.postgres.fields import ArrayField
from django.db import models
from django.db.models import F, Q
from django.db.models.functions import Now
from django.utils.translation import gettext_lazy as _

from bursar.catalogue.models import Backend, Component, Offering, Plan
from bursar.provisioning.lifecycle import (
    ACCOUNT_STATE_TITLES,
    OPEN_ORDER_STATES,
    ORDER_STATE_TITLES,
    RESOURCE_STATE_TITLES,
    AccountState,
    OrderState,
    ResourceState,
)
from bursar.structure.models import Organization, Person, Project, Workspace


class Resource(models.Model):
    """What exists, or is to exist, at a backend.

    The wish (`desired_*`) carries a `generation`, counted up by each new wish; `observed_generation` is the last wish
    that the backend was found to match. `plan` and `limits` are those in force: what the backend is known to hold.
    """

    workspace = models.ForeignKey(Workspace, on_delete=models.PROTECT, related_name="resources")
    offering = models.ForeignKey(Offering, on_delete=models.PROTECT, related_name="resources")
    name = models.CharField(_("name"), max_length=150)
    slug = models.SlugField(_("short name"), max_length=80, unique=True, null=True)
    form = models.JSONField(default=dict)
    end = models.DateTimeField(_("end"), null=True, blank=True)
    state = models.CharField(
        max_length=12,
        default=ResourceState.CREATING.value,
        choices=[(s.value, RESOURCE_STATE_TITLES[s]) for s in ResourceState],
    )

    plan = models.ForeignKey(Plan, on_delete=models.PROTECT, related_name="resources")
    limits = models.JSONField(default=dict, help_text="component key -> whole units, in force")

    desired_plan = models.ForeignKey(Plan, on_delete=models.PROTECT, related_name="+")
    desired_limits = models.JSONField(default=dict)
    desired_paused = models.BooleanField(default=False)
    desired_gone = models.BooleanField(default=False)
    generation = models.PositiveIntegerField(default=1)

    observed_generation = models.PositiveIntegerField(default=0)
    observed_paused = models.BooleanField(default=False)
    observed_at = models.DateTimeField(null=True)
    removed_at = models.DateTimeField(null=True, help_text="the backend holds it no longer; its last usage may be out")
    backend_id = models.CharField(max_length=255, blank=True)
    plugin_state = models.JSONField(default=dict, help_text="the plugin's own notes")
    access = models.JSONField(default=dict, help_text="label -> value")

    message = models.CharField(max_length=1000, blank=True, help_text="what the backend last said")
    awaited_work = models.CharField(max_length=1000, blank=True, help_text="what a person at the provider has to do")
    unreachable_since = models.DateTimeField(null=True)
    retry_at = models.DateTimeField(null=True, help_text="the backend is not asked again before")
    attempts = models.PositiveIntegerField(default=0, help_text="times asked for this wish without success")

    quota = models.JSONField(null=True, help_text="what the backend was last told may still be drawn")
    quota_at = models.DateTimeField(null=True)
    quota_offer = models.PositiveIntegerField(default=0, help_text="the number of the last offer of quota")
    quota_offered = models.JSONField(null=True, help_text="the most that its backend may have been told beyond `quota`")
    members = models.JSONField(null=True, help_text="usernames the backend was last told")
    members_at = models.DateTimeField(null=True)

    taken_over_from = models.ForeignKey(
        Backend,
        null=True,
        on_delete=models.PROTECT,
        related_name="+",
        help_text="where it was before it was a resource here, under this backend_id",
    )
    taken_over_at = models.DateTimeField(null=True, help_text="what was used before is no wallet's")

    created_by = models.ForeignKey(Person, null=True, on_delete=models.PROTECT, related_name="+")
    created_at = models.DateTimeField()
    first_ok_at = models.DateTimeField(null=True)
    terminated_at = models.DateTimeField(null=True)

    class Meta:
        db_table = "resource"
        verbose_name = _("resource")
        ordering = ["name", "id"]
        constraints = [
            models.CheckConstraint(
                name="resource_state_is_known", condition=Q(state__in=[s.value for s in ResourceState])
            ),
            models.CheckConstraint(
                name="resource_taken_over_is_told_whole",
                condition=Q(taken_over_from=None, taken_over_at=None)
                | Q(taken_over_from__isnull=False, taken_over_at__isnull=False) & ~Q(backend_id=""),
            ),
            models.UniqueConstraint(
                name="taken_over_once",
                fields=["taken_over_from", "backend_id"],
                condition=Q(taken_over_from__isnull=False) & ~Q(state=ResourceState.TERMINATED.value),
            ),
            models.CheckConstraint(
                name="resource_observes_no_later_wish", condition=Q(observed_generation__lte=F("generation"))
            ),
            models.CheckConstraint(
                name="resource_terminated_has_a_time",
                condition=Q(state="terminated", terminated_at__isnull=False)
                | (~Q(state="terminated") & Q(terminated_at__isnull=True)),
            ),
        ]
        indexes = [
            models.Index(fields=["workspace", "state"], name="resource_workspace"),
            models.Index(fields=["offering", "state"], name="resource_offering"),
            models.Index(
                fields=["id"],
                condition=~Q(observed_generation=F("generation")),
                name="resource_unmatched",
            ),
            models.Index(fields=["end"], condition=Q(end__isnull=False, desired_gone=False), name="resource_end"),
        ]

    def __str__(self) -> str:
        return self.name

    @property
    def matches(self) -> bool:
        return self.observed_generation == self.generation


class Order(models.Model):
    """A wish to create, change or terminate a resource, with what it was estimated to cost and who decided."""

    class Kind(models.TextChoices):
        CREATE = "create", _("new")
        CHANGE = "change", _("change")
        TERMINATE = "terminate", _("termination")

    kind = models.CharField(max_length=10, choices=Kind)
    workspace = models.ForeignKey(Workspace, on_delete=models.PROTECT, related_name="orders")
    offering = models.ForeignKey(Offering, on_delete=models.PROTECT, related_name="orders")
    resource = models.ForeignKey(Resource, null=True, blank=True, on_delete=models.PROTECT, related_name="orders")
    plan = models.ForeignKey(Plan, on_delete=models.PROTECT, related_name="+")
    name = models.CharField(_("name of the resource"), max_length=150)
    limits = models.JSONField(default=dict, help_text="component key -> whole units")
    form = models.JSONField(default=dict)
    before = models.JSONField(default=dict, help_text="plan id and limits before a change")
    start = models.DateTimeField(_("start"), null=True, blank=True, help_text="not before; empty = at once")
    end = models.DateTimeField(_("end of the resource"), null=True, blank=True)
    comment = models.TextField(_("comment"), blank=True, max_length=5000)

    estimate_month = models.DecimalField(max_digits=24, decimal_places=4, default=0)
    estimate_once = models.DecimalField(max_digits=24, decimal_places=4, default=0)
    currency = models.CharField(max_length=3)
    estimate_ticks = models.JSONField(default=dict, help_text="product category id -> ticks it may draw")

    verdicts = models.JSONField(default=dict, help_text="side -> what its policies said when it was placed")
    awaited_roles = ArrayField(
        models.CharField(max_length=40), default=list, help_text="whose decision is awaited now; empty = nobody's"
    )
    terms_accepted_at = models.DateTimeField(null=True)
    state = models.CharField(
        max_length=16,
        default=OrderState.PENDING_CONSUMER.value,
        choices=[(s.value, ORDER_STATE_TITLES[s]) for s in OrderState],
    )
    error = models.CharField(max_length=2000, blank=True)
    generation = models.PositiveIntegerField(null=True, help_text="the resource's wish that this order made")
    assignee = models.ForeignKey(
        Person, null=True, blank=True, on_delete=models.PROTECT, related_name="+", verbose_name=_("handled by")
    )
    idempotency_key = models.CharField(max_length=80, blank=True)
    created_by = models.ForeignKey(Person, null=True, on_delete=models.PROTECT, related_name="orders")
    created_at = models.DateTimeField()
    executed_at = models.DateTimeField(null=True, help_text="when the backend was first asked")
    closed_at = models.DateTimeField(null=True)

    class Meta:
        db_table = "purchase_order"
        verbose_name = _("order")
        ordering = ["-created_at", "-id"]
        constraints = [
            models.CheckConstraint(name="order_state_is_known", condition=Q(state__in=[s.value for s in OrderState])),
            models.CheckConstraint(name="order_kind_is_known", condition=Q(kind__in=["create", "change", "terminate"])),
            models.CheckConstraint(
                name="order_names_its_resource",
                condition=Q(kind="create") | Q(resource__isnull=False),
            ),
            models.CheckConstraint(
                name="order_in_hand_has_a_resource",
                condition=~Q(state__in=["executing", "done"]) | Q(resource__isnull=False),
            ),
            models.UniqueConstraint(
                name="one_open_order_per_resource",
                fields=["resource"],
                condition=Q(state__in=[s.value for s in OPEN_ORDER_STATES]),
            ),
            models.UniqueConstraint(
                name="order_once_per_key", fields=["created_by", "idempotency_key"], condition=~Q(idempotency_key="")
            ),
        ]
        indexes = [
            models.Index(fields=["workspace", "-created_at"], name="order_workspace"),
            models.Index(fields=["offering", "state"], name="order_offering"),
            models.Index(fields=["state", "start"], name="order_state_start"),
        ]

    def __str__(self) -> str:
        return f"#{self.pk} {self.get_kind_display()} {self.name}"


class Side(models.TextChoices):
    CONSUMER = "consumer", _("your side")
    PROVIDER = "provider", _("the provider")


class OrderDecision(models.Model):
    """Who decided what about an order, when and why. Only ever added to."""

    class Decision(models.TextChoices):
        APPROVED = "approved", _("approved")
        NOT_ASKED = "not_asked", _("nobody had to be asked")
        REJECTED = "rejected", _("rejected")
        CANCELED = "canceled", _("canceled")
        RETRIED = "retried", _("tried again")
        REFUSED = "refused", _("said that it cannot be done")
        CONFIRMED = "confirmed", _("said that it was done")
        HELD = "held", _("held by a budget")
        AGREED = "agreed", _("agreed although a budget is spent")
        LET_GO = "let_go", _("no budget holds it any more")

    order = models.ForeignKey(Order, on_delete=models.PROTECT, related_name="decisions")
    side = models.CharField(max_length=8, choices=Side)
    decision = models.CharField(max_length=10, choices=Decision)
    by = models.ForeignKey(Person, null=True, on_delete=models.PROTECT, related_name="+")
    at = models.DateTimeField()
    recorded_at = models.DateTimeField(db_default=Now(), editable=False)
    reason = models.CharField(max_length=2000, blank=True)

    class Meta:
        db_table = "order_decision"
        ordering = ["id"]

    def __str__(self) -> str:
        return f"{self.order_id} {self.side} {self.decision}"


class OrderComment(models.Model):
    """A remark on an order, seen by both sides."""

    order = models.ForeignKey(Order, on_delete=models.PROTECT, related_name="comments")
    by = models.ForeignKey(Person, on_delete=models.PROTECT, related_name="+")
    at = models.DateTimeField()
    text = models.TextField(max_length=5000)

    class Meta:
        db_table = "order_comment"
        ordering = ["id"]

    def __str__(self) -> str:
        return self.text[:60]


class SpendingHold(models.Model):
    """That so much is spent that something stands still until this is lifted. Set from above, by a budget.

    effect   orders: new ones that cost something wait for whoever answers for the budget
             resources: those that cost something are paused, as far as they can be
    source   what set it, in its own words; one hold of a source stands at a time
    facts    what is told of it: percent, spent, amount, currency, span, stretch
    """

    class Effect(models.TextChoices):
        ORDERS = "orders", _("holds new orders")
        RESOURCES = "resources", _("pauses resources")

    organization = models.ForeignKey(Organization, on_delete=models.PROTECT, related_name="+")
    project = models.ForeignKey(
        Project, null=True, on_delete=models.PROTECT, related_name="+", help_text="with those below it; empty = all"
    )
    effect = models.CharField(max_length=9, choices=Effect)
    source = models.CharField(max_length=80)
    facts = models.JSONField(default=dict)
    set_at = models.DateTimeField()
    lifted_at = models.DateTimeField(null=True)

    class Meta:
        db_table = "spending_hold"
        ordering = ["set_at", "id"]
        constraints = [
            models.CheckConstraint(name="spending_hold_is_known", condition=Q(effect__in=["orders", "resources"])),
            models.UniqueConstraint(
                name="spending_hold_once", fields=["source", "effect"], condition=Q(lifted_at__isnull=True)
            ),
        ]
        indexes = [
            models.Index(fields=["organization"], condition=Q(lifted_at__isnull=True), name="spending_hold_in_force"),
        ]

    def __str__(self) -> str:
        return f"{self.organization_id} {self.effect} {self.source}"


class OrderHold(models.Model):
    """That an order waits, or waited, because of a hold. `order_decision` says who let it go on and why."""

    order = models.ForeignKey(Order, on_delete=models.PROTECT, related_name="holds")
    hold = models.ForeignKey(SpendingHold, on_delete=models.PROTECT, related_name="orders")
    at = models.DateTimeField()

    class Meta:
        db_table = "order_hold"
        ordering = ["id"]
        constraints = [models.UniqueConstraint(name="order_hold_once", fields=["order", "hold"])]

    def __str__(self) -> str:
        return f"{self.order_id} {self.hold_id}"


class SpendingPause(models.Model):
    """That a resource was paused because of a hold, and not by a person; it is resumed when no hold wants that any more."""

    resource = models.ForeignKey(Resource, on_delete=models.PROTECT, related_name="spending_pauses")
    hold = models.ForeignKey(SpendingHold, on_delete=models.PROTECT, related_name="pauses")
    paused_at = models.DateTimeField()
    ended_at = models.DateTimeField(null=True)

    class Meta:
        db_table = "spending_pause"
        ordering = ["id"]
        constraints = [
            models.UniqueConstraint(
                name="spending_pause_once", fields=["resource"], condition=Q(ended_at__isnull=True)
            ),
        ]

    def __str__(self) -> str:
        return f"{self.resource_id} {self.paused_at:%Y-%m-%d}"


class ResourceFact(models.Model):
    """One thing that became true of a resource: its state, its plan, or one limit. Bills are computed from these.

    effective_at   when it took effect
    recorded_at    when this row was written; of two facts for one instant the later recorded counts
    """

    class What(models.TextChoices):
        STATE = "state", _("state")
        PLAN = "plan", _("plan")
        LIMIT = "limit", _("limit")

    resource = models.ForeignKey(Resource, on_delete=models.PROTECT, related_name="facts")
    what = models.CharField(max_length=5, choices=What)
    state = models.CharField(max_length=12, blank=True)
    plan = models.ForeignKey(Plan, null=True, on_delete=models.PROTECT, related_name="+")
    component = models.ForeignKey(Component, null=True, on_delete=models.PROTECT, related_name="+")
    limit = models.BigIntegerField(null=True)
    order = models.ForeignKey(Order, null=True, on_delete=models.PROTECT, related_name="+")
    by = models.ForeignKey(Person, null=True, on_delete=models.PROTECT, related_name="+")
    effective_at = models.DateTimeField()
    recorded_at = models.DateTimeField(db_default=Now(), editable=False)

    class Meta:
        db_table = "resource_fact"
        ordering = ["effective_at", "id"]
        constraints = [
            models.CheckConstraint(
                name="resource_fact_is_of_one_kind",
                condition=(
                    Q(
                        what="state",
                        state__in=[s.value for s in ResourceState],
                        plan__isnull=True,
                        component__isnull=True,
                        limit__isnull=True,
                    )
                    | Q(what="plan", state="", plan__isnull=False, component__isnull=True, limit__isnull=True)
                    | Q(what="limit", state="", plan__isnull=True, component__isnull=False, limit__isnull=False)
                ),
            ),
        ]
        indexes = [models.Index(fields=["resource", "effective_at"], name="resource_fact_time")]

    def __str__(self) -> str:
        return f"{self.resource_id} {self.what}"


class ApprovalPolicy(models.Model):
    """A line that says when somebody has to agree to an order. Lines are read in order; the first that fits decides.

    Those of the project come before those of its organization, those before the platform's; on the provider's side
    those of the offering come before those of the provider's organization, those before the platform's.
    """

    class Condition(models.TextChoices):
        ALWAYS = "always", _("always")
        ROLE = "role", _("the orderer has a role")
        PERSONAL = "personal", _("it is the orderer's personal workspace")
        FREE = "free", _("the plan is free")
        COST = "cost", _("it costs at most so much per month")
        WALLET = "wallet", _("the wallet covers the estimate")
        ORGANIZATIONS = "organizations", _("it is for named organizations")

    class Outcome(models.TextChoices):
        ALLOW = "allow", _("nobody is asked")
        ASK = "ask", _("somebody is asked")

    side = models.CharField(_("side"), max_length=8, choices=Side)
    organization = models.ForeignKey(
        Organization, null=True, blank=True, on_delete=models.CASCADE, related_name="approval_policies"
    )
    project = models.ForeignKey(
        Project, null=True, blank=True, on_delete=models.CASCADE, related_name="approval_policies"
    )
    offering = models.ForeignKey(
        Offering, null=True, blank=True, on_delete=models.CASCADE, related_name="approval_policies"
    )
    position = models.PositiveIntegerField(_("position"))
    kinds = ArrayField(
        models.CharField(max_length=10, choices=Order.Kind), default=list, blank=True, help_text=_("none = all kinds")
    )
    condition = models.CharField(_("when"), max_length=13, choices=Condition)
    roles = ArrayField(models.CharField(max_length=40), default=list, blank=True)
    amount = models.DecimalField(_("at most"), max_digits=24, decimal_places=4, null=True, blank=True)
    currency = models.CharField(_("currency"), max_length=3, blank=True)
    organizations = models.ManyToManyField(
        Organization, blank=True, related_name="+", db_table="approval_policy_organization"
    )
    outcome = models.CharField(_("then"), max_length=5, choices=Outcome)
    approvers = ArrayField(
        models.CharField(max_length=40), default=list, blank=True, help_text=_("roles that are asked")
    )
    enabled = models.BooleanField(_("in force"), default=True)

    class Meta:
        db_table = "approval_policy"
        verbose_name = _("approval policy")
        ordering = ["position", "id"]
        constraints = [
            models.CheckConstraint(
                name="policy_has_one_scope",
                condition=(
                    Q(organization__isnull=True, project__isnull=True)
                    | Q(organization__isnull=True, offering__isnull=True)
                    | Q(project__isnull=True, offering__isnull=True)
                ),
            ),
            models.CheckConstraint(
                name="policy_scope_fits_side",
                condition=Q(side="consumer", offering__isnull=True) | Q(side="provider", project__isnull=True),
            ),
            models.CheckConstraint(
                name="policy_cost_has_an_amount",
                condition=~Q(condition="cost") | (Q(amount__isnull=False) & ~Q(currency="")),
            ),
            models.CheckConstraint(name="policy_role_names_roles", condition=~Q(condition="role", roles=[])),
        ]

    def __str__(self) -> str:
        return f"{self.side} {self.condition} {self.outcome}"


class AccountPolicy(models.Model):
    """How accounts come to be at a backend: who asks for them, who names them, and the numbers they get.

    `*_next` are the counters: where the search for a free number begins, so that none is given twice. A backend without
    a row keeps to the defaults.
    """

    class Arrival(models.TextChoices):
        AUTOMATIC = "automatic", _("by themselves, for everybody who may use something there")
        ON_REQUEST = "on_request", _("when the person connects")
        REDIRECT = "redirect", _("when the person connects and has been at your own page")

    class Naming(models.TextChoices):
        GIVEN = "given", _("your side gives the name")
        INITIAL_LAST = "initial_last", _("first letter and last name: alovelace, alovelace2")
        ANONYMOUS = "anonymous", _("a letter and a number: u000017")
        CLAIM = "claim", _("what the person’s login says of them")

    backend = models.OneToOneField(Backend, on_delete=models.CASCADE, related_name="account_policy")
    arrival = models.CharField(_("accounts come"), max_length=10, choices=Arrival, default=Arrival.AUTOMATIC)
    naming = models.CharField(_("names"), max_length=12, choices=Naming, default=Naming.GIVEN)
    identity_provider = models.CharField(
        _("login"), max_length=100, blank=True, help_text=_("the short name of the login whose word is taken")
    )
    claim = models.CharField(_("claim"), max_length=60, blank=True, help_text=_("such as preferred_username"))
    connect_url = models.CharField(
        _("your page"),
        max_length=500,
        blank=True,
        help_text=_("where people are sent, with a signed token as “token” in the address"),
    )
    uid_first = models.BigIntegerField(_("first user number"), default=200_000)
    uid_last = models.BigIntegerField(_("last user number"), default=299_999)
    uid_next = models.BigIntegerField(default=200_000)
    gid_first = models.BigIntegerField(_("first group number"), default=300_000)
    gid_last = models.BigIntegerField(_("last group number"), default=399_999)
    gid_next = models.BigIntegerField(default=300_000)
    number_next = models.BigIntegerField(default=1, help_text="of anonymous names")

    class Meta:
        db_table = "account_policy"
        verbose_name = _("account policy")
        constraints = [
            models.CheckConstraint(
                name="account_policy_is_known",
                condition=Q(arrival__in=["automatic", "on_request", "redirect"])
                & Q(naming__in=["given", "initial_last", "anonymous", "claim"]),
            ),
            models.CheckConstraint(
                name="account_policy_redirect_has_an_address", condition=~Q(arrival="redirect") | ~Q(connect_url="")
            ),
            models.CheckConstraint(
                name="account_policy_claim_is_somebodys_word",
                condition=~Q(naming="claim") | (~Q(claim="") & ~Q(identity_provider="")),
            ),
            models.CheckConstraint(
                name="account_policy_ranges_hold_something",
                condition=Q(uid_first__gte=1, gid_first__gte=1)
                & Q(uid_last__gte=F("uid_first"))
                & Q(gid_last__gte=F("gid_first")),
            ),
        ]

    def __str__(self) -> str:
        return f"{self.backend_id} {self.arrival} {self.naming}"


class LocalAccount(models.Model):
    """A person's account at a backend: the name and number they bear there, and whether it may be used.

    The row stays for ever, and a trigger keeps name, number and person once they are given: files at the provider
    belong to a number, and usage that is told later names a user.

    told   what the backend was last found to hold, where a plugin keeps accounts; what differs from the state is told
    """

    class Told(models.TextChoices):
        NOTHING = "", "nothing yet"
        ACTIVE = "active", "active"
        OLD = "old", "active, with what the person was before"
        BLOCKED = "blocked", "blocked"
        GONE = "gone", "gone"

    backend = models.ForeignKey(Backend, on_delete=models.PROTECT, related_name="local_accounts")
    person = models.ForeignKey(Person, on_delete=models.PROTECT, related_name="local_accounts")
    username = models.CharField(_("local user name"), max_length=64, blank=True, help_text="empty = none given yet")
    uid = models.BigIntegerField(_("user number"), null=True, blank=True)
    state = models.CharField(
        max_length=8,
        default=AccountState.ACTIVE.value,
        choices=[(s.value, ACCOUNT_STATE_TITLES[s]) for s in AccountState],
    )
    state_by = models.ForeignKey(Person, null=True, on_delete=models.PROTECT, related_name="+")
    state_at = models.DateTimeField(null=True, help_text="since when it is in this state")
    reason = models.CharField(max_length=1000, blank=True, help_text="why it is blocked or ended, for the person")
    message = models.CharField(max_length=1000, blank=True, help_text="what stands in the way of an account")
    told = models.CharField(max_length=8, blank=True, choices=Told, default=Told.NOTHING)
    set_by = models.ForeignKey(Person, null=True, on_delete=models.PROTECT, related_name="+")
    set_at = models.DateTimeField(null=True, help_text="when name and number were last confirmed")

    class Meta:
        db_table = "local_account"
        verbose_name = _("local account")
        ordering = ["username"]
        constraints = [
            models.UniqueConstraint(fields=["backend", "person"], name="one_local_account_per_person"),
            models.UniqueConstraint(
                fields=["backend", "username"], name="local_account_of_one_person", condition=~Q(username="")
            ),
            models.UniqueConstraint(fields=["backend", "uid"], name="local_account_number_of_one_person"),
            models.CheckConstraint(
                name="local_account_has_a_name", condition=~Q(username="") | Q(state__in=["wanted", "ended"])
            ),
            models.CheckConstraint(
                name="local_account_state_is_known", condition=Q(state__in=[s.value for s in AccountState])
            ),
            models.CheckConstraint(
                name="local_account_blocked_with_a_reason", condition=~Q(state="blocked") | ~Q(reason="")
            ),
        ]

    def __str__(self) -> str:
        return self.username


class ProjectGroup(models.Model):
    """The UNIX group of a project at a backend. The row stays for ever, and a trigger keeps its name and number.

    members   the usernames that the backend was last told; is_there: whether it holds the group
    """

    backend = models.ForeignKey(Backend, on_delete=models.PROTECT, related_name="project_groups")
    project = models.ForeignKey(Project, on_delete=models.PROTECT, related_name="groups")
    name = models.CharField(max_length=32)
    gid = models.BigIntegerField()
    members = ArrayField(models.CharField(max_length=64), default=list)
    is_there = models.BooleanField(default=False)
    made_at = models.DateTimeField()
    told_at = models.DateTimeField(null=True)

    class Meta:
        db_table = "project_group"
        constraints = [
            models.UniqueConstraint(fields=["backend", "project"], name="one_group_per_project"),
            models.UniqueConstraint(fields=["backend", "name"], name="group_name_of_one_project"),
            models.UniqueConstraint(fields=["backend", "gid"], name="group_number_of_one_project"),
        ]

    def __str__(self) -> str:
        return self.name


class SigningKey(models.Model):
    """A key by which Bursar signs tokens for providers; `services.signing` says when it signs and how long it is shown.

    private   MultiFernet token of the private key; empty once nothing signed by it can be valid any more
    """

    kid = models.CharField(max_length=64, unique=True)
    public = models.JSONField(help_text="the public key as a JWK")
    private = models.BinaryField(default=bytes, editable=False)
    made_at = models.DateTimeField()
    signs_from = models.DateTimeField()

    class Meta:
        db_table = "signing_key"
        ordering = ["signs_from", "id"]

    def __str__(self) -> str:
        return self.kid


class UsageMark(models.Model):
    """How far the usage of an offering has been read from its backend; written with the records it follows."""

    backend = models.ForeignKey(Backend, on_delete=models.PROTECT, related_name="usage_marks")
    offering = models.ForeignKey(Offering, on_delete=models.PROTECT, related_name="usage_marks")
    mark = models.TextField(blank=True)
    read_at = models.DateTimeField(null=True, help_text="when the backend was last read")
    failing_since = models.DateTimeField(null=True)
    error = models.CharField(max_length=1000, blank=True)

    class Meta:
        db_table = "usage_mark"
        constraints = [models.UniqueConstraint(fields=["backend", "offering"], name="one_mark_per_offering")]

    def __str__(self) -> str:
        return f"{self.backend_id} {self.offering_id}"


class SetAside(models.Model):
    """A record of usage that could not be posted, kept with the reason until it can be or is given up.

    One bad record must not stop the others; and none is lost: it is sent again when what was wrong is repaired.
    """

    backend = models.ForeignKey(Backend, on_delete=models.PROTECT, related_name="set_aside")
    record_id = models.CharField(_("record"), max_length=200)
    component = models.CharField(_("component"), max_length=80)
    resource_id = models.BigIntegerField(help_text="as the record says; there may be no such resource")
    record = models.JSONField(help_text="the whole record, as the plugin told it")
    code = models.CharField(max_length=60)
    why = models.CharField(_("what is wrong"), max_length=1000)
    first_at = models.DateTimeField(_("since"))
    last_at = models.DateTimeField(_("last tried"))
    tries = models.PositiveIntegerField(_("tries"), default=1)

    class Meta:
        db_table = "set_aside"
        verbose_name = _("record set aside")
        ordering = ["id"]
        constraints = [
            models.UniqueConstraint(fields=["backend", "component", "record_id"], name="set_aside_once"),
        ]

    def __str__(self) -> str:
        return f"{self.component} {self.record_id}"


class ProviderMessage(models.Model):
    """What the provider's side says of an order or a resource, and how far the work is. Only ever added to."""

    class Level(models.TextChoices):
        INFO = "info", _("note")
        WARNING = "warning", _("warning")
        ERROR = "error", _("trouble")

    order = models.ForeignKey(Order, null=True, on_delete=models.PROTECT, related_name="messages")
    resource = models.ForeignKey(Resource, null=True, on_delete=models.PROTECT, related_name="messages")
    level = models.CharField(max_length=7, choices=Level, default=Level.INFO)
    text = models.CharField(max_length=2000)
    progress = models.PositiveSmallIntegerField(null=True, help_text="per cent of the work")
    by = models.ForeignKey(Person, null=True, on_delete=models.PROTECT, related_name="+")
    at = models.DateTimeField()

    class Meta:
        db_table = "provider_message"
        ordering = ["-id"]
        constraints = [
            models.CheckConstraint(
                name="provider_message_of_one_thing",
                condition=Q(order__isnull=False, resource__isnull=True) | Q(order__isnull=True, resource__isnull=False),
            ),
            models.CheckConstraint(
                name="provider_message_progress_is_a_share", condition=Q(progress__isnull=True) | Q(progress__lte=100)
            ),
            models.CheckConstraint(
                name="provider_message_level_is_known", condition=Q(level__in=["info", "warning", "error"])
            ),
        ]

    def __str__(self) -> str:
        return self.text[:60]


class EventMark(models.Model):
    """How far a reader of provisioning has read the event log."""

    reader = models.CharField(max_length=40, primary_key=True)
    event_id = models.BigIntegerField(default=0)

    class Meta:
        db_table = "provisioning_event_mark"

    def __str__(self) -> str:
        return self.reader
