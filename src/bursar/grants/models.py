"""Givers and their forms, applications with their revisions, who decided, and what was awarded."""

from __future__ import annotations

from django.contrib.postgres.fields import ArrayField
from django.contrib.postgres.indexes import GinIndex
from django.contrib.postgres.search import SearchVector
from django.db import models
from django.db.models import F, Q
from django.db.models.functions import Now
from django.utils.translation import gettext_lazy as _

from bursar.accounting.models import Allocation
from bursar.catalogue.models import ProductCategory
from bursar.grants.lifecycle import APPLICATION_STATE_TITLES, PART_STATE_TITLES, ApplicationState, PartState
from bursar.structure.models import Organization, Person, Project, Workspace


class Recipient(models.TextChoices):
    NEW_PROJECT = "new_project", _("a new project")
    PROJECT = "project", _("an existing project")
    PERSONAL = "personal", _("a personal workspace")


# ------------------------------------------------------------------------------------------------ givers
class GiverSettings(models.Model):
    """How a workspace that holds quota, or a provider's, lets itself be asked for it."""

    workspace = models.OneToOneField(Workspace, on_delete=models.PROTECT, related_name="giver_settings")
    is_open = models.BooleanField(_("open for applications"), default=False)
    description = models.TextField(_("description"), blank=True, max_length=10_000)
    promise_percent = models.PositiveSmallIntegerField(
        _("may promise"),
        default=100,
        help_text=_("per cent of what it holds; more than 100 where not everybody will use all"),
    )
    changed_at = models.DateTimeField()

    class Meta:
        db_table = "grant_giver"
        verbose_name = _("grant giver")
        constraints = [
            models.CheckConstraint(
                name="grant_giver_promises_within_reason",
                condition=Q(promise_percent__gte=1, promise_percent__lte=1000),
            ),
        ]

    def __str__(self) -> str:
        return str(self.workspace)


class GiverLogo(models.Model):
    """The mark of a giver, shown beside its name. Its bytes lie apart, as those of attachments do."""

    giver = models.OneToOneField(GiverSettings, on_delete=models.CASCADE, primary_key=True, related_name="logo")
    content_type = models.CharField(max_length=10)
    width = models.PositiveSmallIntegerField()
    height = models.PositiveSmallIntegerField()
    size_bytes = models.PositiveIntegerField()
    sha256 = models.CharField(max_length=64)
    by = models.ForeignKey(Person, null=True, on_delete=models.PROTECT, related_name="+")
    at = models.DateTimeField()

    class Meta:
        db_table = "grant_giver_logo"
        constraints = [
            models.CheckConstraint(
                name="logo_is_a_picture", condition=Q(content_type__in=["image/png", "image/jpeg", "image/webp"])
            ),
            models.CheckConstraint(
                name="logo_is_small",
                condition=Q(size_bytes__lte=512 * 1024, width__range=(16, 2000), height__range=(16, 2000)),
            ),
        ]

    def __str__(self) -> str:
        return f"{self.giver_id} {self.content_type}"


class GiverLogoContent(models.Model):
    logo = models.OneToOneField(GiverLogo, on_delete=models.CASCADE, primary_key=True, related_name="content")
    data = models.BinaryField()

    class Meta:
        db_table = "grant_giver_logo_content"

    def __str__(self) -> str:
        return str(self.logo_id)


class Gift(models.Model):
    """A standing offer: so much for everybody whom a line fits, so often, as long as there is something left."""

    workspace = models.ForeignKey(Workspace, on_delete=models.PROTECT, related_name="gifts")
    title = models.CharField(_("title"), max_length=120)
    description = models.TextField(_("description"), blank=True, max_length=2000)
    start = models.DateTimeField(_("start"))
    end = models.DateTimeField(_("end"))
    every_months = models.PositiveSmallIntegerField(_("every so many months"), default=0, help_text=_("0 = once"))
    claims_max = models.PositiveIntegerField(_("at most so many times in all"))
    claimed = models.PositiveIntegerField(default=0)
    at_login = models.BooleanField(
        _("given at login"),
        default=False,
        help_text=_("Whoever it is for gets it at the first login in each of its periods, without a click."),
    )
    closed_at = models.DateTimeField(null=True)
    made_by = models.ForeignKey(Person, null=True, on_delete=models.PROTECT, related_name="+")
    made_at = models.DateTimeField()

    class Meta:
        db_table = "grant_gift"
        verbose_name = _("gift")
        constraints = [
            models.CheckConstraint(name="gift_ends_after_start", condition=Q(end__gt=F("start"))),
            models.CheckConstraint(name="gift_within_its_cap", condition=Q(claimed__lte=F("claims_max"))),
        ]

    def __str__(self) -> str:
        return self.title


class GiftAmount(models.Model):
    gift = models.ForeignKey(Gift, on_delete=models.PROTECT, related_name="amounts")
    category = models.ForeignKey(ProductCategory, on_delete=models.PROTECT, related_name="+")
    ticks = models.BigIntegerField()

    class Meta:
        db_table = "grant_gift_amount"
        constraints = [
            models.UniqueConstraint(fields=["gift", "category"], name="gift_category_once"),
            models.CheckConstraint(name="gift_gives_something", condition=Q(ticks__gt=0)),
        ]

    def __str__(self) -> str:
        return f"{self.gift_id} {self.category_id} {self.ticks}"


class GiftClaim(models.Model):
    """That a person took a gift, in one of its periods (0 is the first). Only ever added to."""

    gift = models.ForeignKey(Gift, on_delete=models.PROTECT, related_name="claims")
    person = models.ForeignKey(Person, on_delete=models.PROTECT, related_name="+")
    period = models.PositiveIntegerField()
    at = models.DateTimeField()

    class Meta:
        db_table = "grant_gift_claim"
        constraints = [models.UniqueConstraint(fields=["gift", "person", "period"], name="gift_claimed_once")]

    def __str__(self) -> str:
        return f"{self.gift_id} {self.person_id} {self.period}"


class Criterion(models.Model):
    """A line that says who may ask a giver or take a gift (allow), or never may (never). The never-list wins."""

    class Side(models.TextChoices):
        ALLOW = "allow", _("may ask")
        NEVER = "never", _("never may")

    class Kind(models.TextChoices):
        ANYONE = "anyone", _("anyone")
        MAIL_DOMAIN = "mail_domain", _("with a mail address at")
        IDENTITY_PROVIDER = "identity_provider", _("who logs in with")
        ORGANIZATION = "organization", _("with a role in")

    giver = models.ForeignKey(GiverSettings, null=True, blank=True, on_delete=models.CASCADE, related_name="criteria")
    gift = models.ForeignKey(Gift, null=True, blank=True, on_delete=models.CASCADE, related_name="criteria")
    side = models.CharField(max_length=5, choices=Side)
    kind = models.CharField(max_length=17, choices=Kind)
    value = models.CharField(max_length=200, blank=True, help_text=_("a mail domain, or the name of a login"))
    organization = models.ForeignKey(Organization, null=True, blank=True, on_delete=models.PROTECT, related_name="+")

    class Meta:
        db_table = "grant_criterion"
        ordering = ["id"]
        constraints = [
            models.CheckConstraint(
                name="criterion_of_a_giver_or_a_gift",
                condition=Q(giver__isnull=False, gift__isnull=True) | Q(giver__isnull=True, gift__isnull=False),
            ),
            models.CheckConstraint(
                name="criterion_says_what_it_needs",
                condition=(
                    Q(kind="anyone", value="", organization__isnull=True)
                    | (Q(kind__in=["mail_domain", "identity_provider"], organization__isnull=True) & ~Q(value=""))
                    | Q(kind="organization", value="", organization__isnull=False)
                ),
            ),
        ]

    def __str__(self) -> str:
        return f"{self.side} {self.kind} {self.value or self.organization_id or ''}"


class FormTemplate(models.Model):
    """What a giver asks of applicants, for one kind of recipient. A change is a new version; none is ever edited."""

    giver = models.ForeignKey(Workspace, on_delete=models.PROTECT, related_name="form_templates")
    recipient = models.CharField(max_length=11, choices=Recipient)
    version = models.PositiveIntegerField()
    fields = models.JSONField(default=list)
    made_by = models.ForeignKey(Person, null=True, on_delete=models.PROTECT, related_name="+")
    made_at = models.DateTimeField()

    class Meta:
        db_table = "grant_form_template"
        constraints = [
            models.UniqueConstraint(fields=["giver", "recipient", "version"], name="form_version_once"),
        ]

    def __str__(self) -> str:
        return f"{self.giver_id} {self.recipient} {self.version}"


class AutomaticRule(models.Model):
    """When a giver's part needs no reviewer: every amount within its limit, and enough left after it."""

    giver = models.ForeignKey(GiverSettings, on_delete=models.CASCADE, related_name="automatic_rules")
    position = models.PositiveIntegerField(default=0)
    recipients = ArrayField(models.CharField(max_length=11, choices=Recipient), default=list)
    keeps_percent = models.PositiveSmallIntegerField(
        _("keeps free"), default=0, help_text=_("per cent of what the giver holds, after the award")
    )
    enabled = models.BooleanField(_("in force"), default=False)

    class Meta:
        db_table = "grant_automatic_rule"
        ordering = ["position", "id"]
        constraints = [
            models.CheckConstraint(name="automatic_rule_is_for_somebody", condition=~Q(recipients=[])),
            models.CheckConstraint(name="automatic_rule_keeps_at_most_all", condition=Q(keeps_percent__lte=100)),
        ]

    def __str__(self) -> str:
        return f"{self.giver_id} {self.position}"


class AutomaticLimit(models.Model):
    rule = models.ForeignKey(AutomaticRule, on_delete=models.CASCADE, related_name="limits")
    category = models.ForeignKey(ProductCategory, on_delete=models.PROTECT, related_name="+")
    ticks_max = models.BigIntegerField()

    class Meta:
        db_table = "grant_automatic_limit"
        ordering = ["id"]
        constraints = [
            models.UniqueConstraint(fields=["rule", "category"], name="automatic_limit_once"),
            models.CheckConstraint(name="automatic_limit_allows_something", condition=Q(ticks_max__gt=0)),
        ]

    def __str__(self) -> str:
        return f"{self.rule_id} {self.category_id} {self.ticks_max}"


# ------------------------------------------------------------------------------------------------ applications
class Application(models.Model):
    """A wish for quota on behalf of a new project, an existing one or a personal workspace."""

    recipient = models.CharField(_("for"), max_length=11, choices=Recipient)
    workspace = models.ForeignKey(
        Workspace,
        null=True,
        on_delete=models.PROTECT,
        related_name="applications",
        help_text="of a new project: from the award on",
    )
    applicant = models.ForeignKey(Person, on_delete=models.PROTECT, related_name="applications")
    state = models.CharField(
        max_length=10,
        default=ApplicationState.DRAFT.value,
        choices=[(s.value, APPLICATION_STATE_TITLES[s]) for s in ApplicationState],
    )
    revision = models.PositiveIntegerField(default=1, help_text="the number of the present one")
    agreement_awaited = models.BooleanField(
        default=False, help_text="a giver changed amounts, and the applicant has not agreed"
    )
    follows = models.ForeignKey(
        "self", null=True, blank=True, on_delete=models.PROTECT, related_name="followed_by", verbose_name=_("follows")
    )
    chosen_givers = ArrayField(
        models.BigIntegerField(), default=list, blank=True, help_text="workspaces that a draft is going to ask"
    )
    why = models.CharField(max_length=2000, blank=True, help_text="why it ended as it did")
    words = models.TextField(blank=True, editable=False, help_text="what the search reads")
    idempotency_key = models.CharField(max_length=80, blank=True)
    created_at = models.DateTimeField()
    submitted_at = models.DateTimeField(null=True)
    changed_at = models.DateTimeField()
    closed_at = models.DateTimeField(null=True)

    class Meta:
        db_table = "grant_application"
        verbose_name = _("application")
        ordering = ["-id"]
        constraints = [
            models.CheckConstraint(
                name="application_state_is_known", condition=Q(state__in=[s.value for s in ApplicationState])
            ),
            models.CheckConstraint(
                name="application_has_its_recipient",
                condition=Q(recipient="new_project") | Q(workspace__isnull=False),
            ),
            models.CheckConstraint(
                name="application_approved_has_a_workspace",
                condition=~Q(state="approved") | Q(workspace__isnull=False),
            ),
            models.CheckConstraint(
                name="application_closed_has_a_time",
                condition=Q(state__in=["draft", "submitted"], closed_at__isnull=True)
                | Q(state__in=["approved", "rejected", "withdrawn"], closed_at__isnull=False),
            ),
            models.CheckConstraint(
                name="application_awaits_agreement_while_open",
                condition=Q(agreement_awaited=False) | Q(state="submitted"),
            ),
            models.UniqueConstraint(
                name="application_once_per_key",
                fields=["applicant", "idempotency_key"],
                condition=~Q(idempotency_key=""),
            ),
        ]
        indexes = [
            models.Index(fields=["applicant", "-id"], name="application_applicant"),
            models.Index(fields=["workspace", "-id"], name="application_workspace"),
            models.Index(fields=["state", "-id"], name="application_state"),
            # Without a list of entries to be sorted in later, which each search would have to read through.
            GinIndex(SearchVector("words", config="simple"), name="application_words", fastupdate=False),
        ]

    def __str__(self) -> str:
        return f"#{self.pk}"


class Revision(models.Model):
    """What an application says, whole. Free to change while it is a draft, and never again (a trigger holds that)."""

    application = models.ForeignKey(Application, on_delete=models.PROTECT, related_name="revisions")
    number = models.PositiveIntegerField()
    by = models.ForeignKey(Person, null=True, on_delete=models.PROTECT, related_name="+")
    giver = models.ForeignKey(
        Workspace, null=True, on_delete=models.PROTECT, related_name="+", help_text="on whose behalf; empty = applicant"
    )
    at = models.DateTimeField()
    project_name = models.CharField(_("name of the project"), max_length=200, blank=True)
    organization = models.ForeignKey(
        Organization,
        null=True,
        blank=True,
        on_delete=models.PROTECT,
        related_name="+",
        verbose_name=_("organization of the project"),
    )
    start = models.DateTimeField(_("start"), null=True, blank=True, help_text=_("empty = when it is approved"))
    end = models.DateTimeField(_("end"), null=True, blank=True)
    is_separable = models.BooleanField(_("parts stand alone"), default=False)
    allows_reductions = models.BooleanField(_("givers may give less without asking"), default=False)
    members = ArrayField(models.EmailField(max_length=254), default=list, blank=True)
    comment = models.CharField(_("why"), max_length=2000, blank=True)

    class Meta:
        db_table = "grant_revision"
        ordering = ["number"]
        constraints = [
            models.UniqueConstraint(fields=["application", "number"], name="revision_number_once"),
            models.CheckConstraint(
                name="revision_ends_after_start",
                condition=Q(start__isnull=True) | Q(end__isnull=True) | Q(end__gt=F("start")),
            ),
        ]

    def __str__(self) -> str:
        return f"{self.application_id}.{self.number}"


class RequestedAmount(models.Model):
    """How much of a product category a revision asks of one giver."""

    revision = models.ForeignKey(Revision, on_delete=models.PROTECT, related_name="amounts")
    giver = models.ForeignKey(Workspace, on_delete=models.PROTECT, related_name="+")
    category = models.ForeignKey(ProductCategory, on_delete=models.PROTECT, related_name="+")
    ticks = models.BigIntegerField()

    class Meta:
        db_table = "grant_amount"
        ordering = ["id"]
        constraints = [
            models.UniqueConstraint(fields=["revision", "giver", "category"], name="amount_once_per_giver"),
            models.CheckConstraint(name="amount_asks_for_something", condition=Q(ticks__gt=0)),
        ]

    def __str__(self) -> str:
        return f"{self.giver_id} {self.category_id} {self.ticks}"


class FormAnswer(models.Model):
    """What a revision answers to a giver's form, in the version that was filled in."""

    revision = models.ForeignKey(Revision, on_delete=models.PROTECT, related_name="answers")
    template = models.ForeignKey(FormTemplate, on_delete=models.PROTECT, related_name="+")
    values = models.JSONField(default=dict)

    class Meta:
        db_table = "grant_answer"
        constraints = [models.UniqueConstraint(fields=["revision", "template"], name="answer_once_per_form")]

    def __str__(self) -> str:
        return f"{self.revision_id} {self.template_id}"


class Part(models.Model):
    """Where a giver stands in an application now. How it came there is told by the decisions."""

    application = models.ForeignKey(Application, on_delete=models.PROTECT, related_name="parts")
    giver = models.ForeignKey(Workspace, on_delete=models.PROTECT, related_name="parts")
    state = models.CharField(
        max_length=8,
        default=PartState.PENDING.value,
        choices=[(s.value, PART_STATE_TITLES[s]) for s in PartState],
    )
    decided_by = models.ForeignKey(Person, null=True, on_delete=models.PROTECT, related_name="+")
    decided_at = models.DateTimeField(null=True)

    class Meta:
        db_table = "grant_part"
        ordering = ["id"]
        constraints = [
            models.UniqueConstraint(fields=["application", "giver"], name="part_once_per_giver"),
            models.CheckConstraint(name="part_state_is_known", condition=Q(state__in=[s.value for s in PartState])),
        ]
        indexes = [models.Index(fields=["giver", "state", "-application"], name="part_giver")]

    def __str__(self) -> str:
        return f"{self.application_id} {self.giver_id} {self.state}"


class Decision(models.Model):
    """Who decided what about an application, on whose behalf, about which revision. Only ever added to."""

    class What(models.TextChoices):
        SUBMITTED = "submitted", _("submitted")
        REVISED = "revised", _("changed by the applicant")
        CHANGED = "changed", _("amounts changed by the giver")
        AGREED = "agreed", _("agreed by the applicant")
        APPROVED = "approved", _("approved")
        AUTOMATIC = "automatic", _("approved by a rule")
        REJECTED = "rejected", _("rejected")
        RESET = "reset", _("to be decided again")
        ASKED = "asked", _("asked")
        LEFT = "left", _("no longer asked")
        HANDED_OVER = "handed_over", _("handed over")
        WITHDRAWN = "withdrawn", _("withdrawn")
        AWARDED = "awarded", _("awarded")
        REVOKED = "revoked", _("grant taken back")

    application = models.ForeignKey(Application, on_delete=models.PROTECT, related_name="decisions")
    giver = models.ForeignKey(Workspace, null=True, on_delete=models.PROTECT, related_name="+")
    revision = models.PositiveIntegerField()
    what = models.CharField(max_length=11, choices=What)
    by = models.ForeignKey(Person, null=True, on_delete=models.PROTECT, related_name="+")
    at = models.DateTimeField()
    recorded_at = models.DateTimeField(db_default=Now(), editable=False)
    reason = models.CharField(max_length=2000, blank=True)

    class Meta:
        db_table = "grant_decision"
        ordering = ["id"]
        indexes = [models.Index(fields=["application", "id"], name="decision_application")]

    def __str__(self) -> str:
        return f"{self.application_id} {self.what}"


class Award(models.Model):
    """That an application was granted: once, as its last revision says."""

    application = models.OneToOneField(Application, on_delete=models.PROTECT, related_name="award")
    revision = models.ForeignKey(Revision, on_delete=models.PROTECT, related_name="+")
    project = models.ForeignKey(
        Project, null=True, on_delete=models.PROTECT, related_name="+", help_text="the project that was made for it"
    )
    at = models.DateTimeField()

    class Meta:
        db_table = "grant_award"

    def __str__(self) -> str:
        return f"{self.application_id}"


class AwardedAllocation(models.Model):
    """The allocation that an amount became."""

    award = models.ForeignKey(Award, on_delete=models.PROTECT, related_name="allocations")
    amount = models.OneToOneField(RequestedAmount, on_delete=models.PROTECT, related_name="awarded")
    allocation = models.OneToOneField(Allocation, on_delete=models.PROTECT, related_name="awarded")

    class Meta:
        db_table = "grant_award_allocation"
        ordering = ["id"]

    def __str__(self) -> str:
        return f"{self.award_id} {self.allocation_id}"


# ------------------------------------------------------------------------------------------------ what is said
class Comment(models.Model):
    """A remark on an application; an internal one is not seen by the applicant's side. Withdrawn, it leaves a mark."""

    application = models.ForeignKey(Application, on_delete=models.PROTECT, related_name="comments")
    by = models.ForeignKey(Person, on_delete=models.PROTECT, related_name="+")
    at = models.DateTimeField()
    text = models.TextField(max_length=5000)
    is_internal = models.BooleanField(_("only for the givers"), default=False)
    withdrawn_by = models.ForeignKey(Person, null=True, on_delete=models.PROTECT, related_name="+")
    withdrawn_at = models.DateTimeField(null=True)

    class Meta:
        db_table = "grant_comment"
        ordering = ["id"]
        constraints = [
            models.CheckConstraint(
                name="comment_withdrawn_is_empty", condition=Q(withdrawn_at__isnull=True) | Q(text="")
            ),
        ]

    def __str__(self) -> str:
        return self.text[:60]


class Attachment(models.Model):
    """A file that belongs to an application. Its bytes lie in a table of their own, and are only ever downloaded.

    Taken out of a submitted application, its bytes go and a mark stays; of a draft nothing stays.
    """

    application = models.ForeignKey(Application, on_delete=models.PROTECT, related_name="attachments")
    by = models.ForeignKey(Person, on_delete=models.PROTECT, related_name="+")
    at = models.DateTimeField()
    name = models.CharField(max_length=150)
    content_type = models.CharField(max_length=100)
    size_bytes = models.PositiveIntegerField()
    sha256 = models.CharField(max_length=64)
    removed_by = models.ForeignKey(Person, null=True, on_delete=models.PROTECT, related_name="+")
    removed_at = models.DateTimeField(null=True)

    class Meta:
        db_table = "grant_attachment"
        ordering = ["id"]

    def __str__(self) -> str:
        return self.name


class AttachmentContent(models.Model):
    """The bytes, apart so that no list reads them."""

    attachment = models.OneToOneField(Attachment, on_delete=models.PROTECT, primary_key=True, related_name="content")
    data = models.BinaryField()

    class Meta:
        db_table = "grant_attachment_content"

    def __str__(self) -> str:
        return str(self.attachment_id)


class Notice(models.Model):
    """That a step concerns a person: what the list in the pages shows. It says what happened; the thing itself says the rest.

    by   who did it; empty = the system
    """

    person = models.ForeignKey(Person, on_delete=models.CASCADE, related_name="+")
    kind = models.CharField(max_length=24)
    application = models.ForeignKey(Application, null=True, on_delete=models.PROTECT, related_name="+")
    gift = models.ForeignKey(Gift, null=True, on_delete=models.PROTECT, related_name="+")
    by = models.ForeignKey(Person, null=True, on_delete=models.PROTECT, related_name="+")
    at = models.DateTimeField()
    read_at = models.DateTimeField(null=True)

    class Meta:
        db_table = "grant_notice"
        constraints = [
            models.CheckConstraint(
                name="notice_is_about_one_thing",
                condition=Q(application__isnull=False, gift__isnull=True)
                | Q(application__isnull=True, gift__isnull=False),
            ),
        ]
        indexes = [
            models.Index(fields=["person", "-id"], name="notice_person"),
            models.Index(fields=["person", "-id"], condition=Q(read_at=None), name="notice_unread"),
        ]

    def __str__(self) -> str:
        return f"{self.person_id} {self.kind}"


class NoticeChoice(models.Model):
    """That a person does not want to be told of one kind of step in one way. Without a row they are."""

    class Channel(models.TextChoices):
        MAIL = "mail", _("by mail")
        PAGE = "page", _("in the list of notices")

    person = models.ForeignKey(Person, on_delete=models.CASCADE, related_name="+")
    kind = models.CharField(max_length=24)
    channel = models.CharField(max_length=4, choices=Channel, default=Channel.MAIL)

    class Meta:
        db_table = "grant_notice_choice"
        constraints = [
            models.UniqueConstraint(fields=["person", "kind", "channel"], name="notice_choice_once"),
            models.CheckConstraint(name="notice_channel_is_known", condition=Q(channel__in=["mail", "page"])),
        ]

    def __str__(self) -> str:
        return f"{self.person_id} {self.kind} {self.channel}"
