"""People, organizations, projects and what holds wallets."""

from __future__ import annotations

from datetime import datetime
from typing import Any, ClassVar, Self

from django.contrib.auth.base_user import AbstractBaseUser, BaseUserManager
from django.contrib.postgres.fields import ArrayField
from django.contrib.postgres.indexes import GinIndex
from django.db import models
from django.db.models import F, Q
from django.db.models.functions import Lower, Now
from django.utils.translation import gettext_lazy as _

from bursar.structure.lifecycle import InvitationState, ProjectState
from bursar.structure.roles import (
    ORGANIZATION_ROLES,
    PLATFORM_ROLES,
    PROJECT_ROLES,
    Role,
    TokenLimits,
)


class PersonManager(BaseUserManager["Person"]):
    def create_user(self, email: str, password: str | None = None, **extra: Any) -> Person:
        person = self.model(email=self.normalize_email(email).lower(), **extra)
        person.set_password(password)
        person.save(using=self._db)
        return person

    def get_by_natural_key(self, username: str | None) -> Person:
        return self.get(email__iexact=username)


class Person(AbstractBaseUser):
    """Somebody who can log in. The mail address is the name to log in with."""

    email = models.EmailField(_("mail address"), max_length=254)
    full_name = models.CharField(_("full name"), max_length=200)
    is_active = models.BooleanField(_("active"), default=True)
    language = models.CharField(_("language"), max_length=12, default="en")
    time_zone = models.CharField(_("time zone"), max_length=64, default="UTC")
    created_at = models.DateTimeField(db_default=Now(), editable=False)

    objects: ClassVar[PersonManager] = PersonManager()

    # Set on the instance that acts with an API token; the role table then answers within these limits only.
    limits: TokenLimits | None = None

    EMAIL_FIELD = "email"
    USERNAME_FIELD = "email"
    REQUIRED_FIELDS: ClassVar[list[str]] = ["full_name"]

    class Meta:
        db_table = "person"
        verbose_name = _("person")
        constraints = [models.UniqueConstraint(Lower("email"), name="person_email_once")]

    def __str__(self) -> str:
        return self.full_name or self.email


class SshKey(models.Model):
    """A public key of a person, as it goes to machines."""

    person = models.ForeignKey(Person, on_delete=models.CASCADE, related_name="ssh_keys")
    name = models.CharField(_("name"), max_length=100)
    public_key = models.TextField(_("public key"), max_length=8192)
    fingerprint = models.CharField(max_length=80, help_text="SHA256:…, as ssh-keygen -l shows it")
    created_at = models.DateTimeField(db_default=Now(), editable=False)

    class Meta:
        db_table = "ssh_key"
        constraints = [models.UniqueConstraint(fields=["person", "fingerprint"], name="ssh_key_once_per_person")]

    def __str__(self) -> str:
        return f"{self.name} ({self.fingerprint})"


class Organization(models.Model):
    """A university, a funder, a computing centre: a customer, a provider or both."""

    name = models.CharField(_("name"), max_length=200)
    slug = models.SlugField(_("short name"), max_length=40, unique=True)
    country = models.CharField(_("country"), max_length=2, blank=True, help_text=_("two letters, ISO 3166"))
    vat_number = models.CharField(_("VAT number"), max_length=32, blank=True)
    currency = models.CharField(_("currency"), max_length=3, default="EUR")
    time_zone = models.CharField(_("time zone"), max_length=64, default="UTC")
    url = models.URLField(_("web site"), blank=True)
    created_at = models.DateTimeField(db_default=Now(), editable=False)
    archived_at = models.DateTimeField(null=True, blank=True)

    class Meta:
        db_table = "organization"
        verbose_name = _("organization")
        ordering = ["name", "id"]

    def __str__(self) -> str:
        return self.name


class Project(models.Model):
    """A piece of research in an organization, perhaps below another project."""

    organization = models.ForeignKey(Organization, on_delete=models.PROTECT, related_name="projects")
    parent = models.ForeignKey("self", null=True, blank=True, on_delete=models.PROTECT, related_name="children")
    path = ArrayField(
        models.BigIntegerField(),
        default=list,
        editable=False,
        help_text="ids from the topmost project to this one",
    )
    name = models.CharField(_("name"), max_length=200)
    slug = models.SlugField(_("short name"), max_length=40)
    description = models.TextField(_("description"), blank=True, max_length=10_000)
    field_of_science = models.CharField(_("field of science"), max_length=120, blank=True)
    start = models.DateTimeField(_("start"))
    end = models.DateTimeField(_("end"), null=True, blank=True)
    created_at = models.DateTimeField(db_default=Now(), editable=False)
    archived_at = models.DateTimeField(null=True, blank=True)

    class Meta:
        db_table = "project"
        verbose_name = _("project")
        ordering = ["name", "id"]
        constraints = [
            models.UniqueConstraint(
                fields=["organization", "slug"],
                name="project_slug_once_per_organization",
            ),
            models.CheckConstraint(
                condition=Q(end__isnull=True) | Q(end__gt=F("start")),
                name="project_ends_after_start",
            ),
            models.CheckConstraint(condition=~Q(parent=F("id")), name="project_is_not_its_own_parent"),
        ]
        indexes = [GinIndex(fields=["path"], name="project_path")]

    def __str__(self) -> str:
        return self.name

    def state(self, at: datetime) -> ProjectState:
        if self.archived_at is not None:
            return ProjectState.ARCHIVED
        if self.end is not None and self.end <= at:
            return ProjectState.ENDED
        return ProjectState.ACTIVE if self.start <= at else ProjectState.UPCOMING


class MembershipQuerySet(models.QuerySet["Membership"]):
    def in_scope(self, scope: Organization | Project | None) -> Self:
        """Those held in the scope itself; None = on the platform."""
        if isinstance(scope, Project):
            return self.filter(project=scope)
        if isinstance(scope, Organization):
            return self.filter(organization=scope)
        return self.filter(organization=None, project=None)

    def held_at(self, at: datetime) -> Self:
        return self.filter(
            Q(until__isnull=True) | Q(until__gt=at),
            start__lte=at,
            ended_at__isnull=True,
        )


class Membership(models.Model):
    """A role of a person in a scope, from `start` until `until`; ended early by `ended_at`. Never deleted."""

    person = models.ForeignKey(Person, on_delete=models.PROTECT, related_name="memberships")
    role = models.CharField(_("role"), max_length=40, choices=[(r.value, r.title) for r in Role])
    organization = models.ForeignKey(
        Organization,
        null=True,
        blank=True,
        on_delete=models.PROTECT,
        related_name="memberships",
    )
    project = models.ForeignKey(
        Project,
        null=True,
        blank=True,
        on_delete=models.PROTECT,
        related_name="memberships",
    )
    start = models.DateTimeField(_("start"))
    until = models.DateTimeField(_("until"), null=True, blank=True)
    ended_at = models.DateTimeField(null=True, blank=True)
    ended_by = models.ForeignKey(Person, null=True, blank=True, on_delete=models.PROTECT, related_name="+")
    created_by = models.ForeignKey(Person, null=True, blank=True, on_delete=models.PROTECT, related_name="+")
    created_at = models.DateTimeField(db_default=Now(), editable=False)

    objects = MembershipQuerySet.as_manager()

    class Meta:
        db_table = "membership"
        verbose_name = _("membership")
        constraints = [
            models.CheckConstraint(
                name="membership_role_fits_scope",
                condition=(
                    Q(
                        role__in=sorted(PLATFORM_ROLES),
                        organization__isnull=True,
                        project__isnull=True,
                    )
                    | Q(
                        role__in=sorted(ORGANIZATION_ROLES),
                        organization__isnull=False,
                        project__isnull=True,
                    )
                    | Q(
                        role__in=sorted(PROJECT_ROLES),
                        organization__isnull=True,
                        project__isnull=False,
                    )
                ),
            ),
            models.CheckConstraint(
                condition=Q(until__isnull=True) | Q(until__gt=F("start")),
                name="membership_ends_after_start",
            ),
            models.UniqueConstraint(
                fields=["person", "role", "organization", "project"],
                condition=Q(ended_at__isnull=True),
                nulls_distinct=False,
                name="membership_once_per_role_and_scope",
            ),
            models.UniqueConstraint(
                fields=["project"],
                condition=Q(role=Role.PRINCIPAL_INVESTIGATOR, ended_at__isnull=True),
                name="one_principal_investigator_per_project",
            ),
            # Project roles contain one another, so a second one would say nothing.
            models.UniqueConstraint(
                fields=["person", "project"],
                condition=Q(project__isnull=False, ended_at__isnull=True),
                name="membership_one_role_per_project",
            ),
            models.CheckConstraint(
                condition=~Q(role=Role.PRINCIPAL_INVESTIGATOR) | Q(until__isnull=True),
                name="principal_investigator_has_no_end",
            ),
        ]
        indexes = [
            models.Index(fields=["organization", "role"], name="membership_organization"),
            models.Index(fields=["project", "role"], name="membership_project"),
        ]

    def __str__(self) -> str:
        return f"{self.person} – {self.get_role_display()}"

    def held(self, at: datetime) -> bool:
        """Whether the role counts at the instant; the same question as `held_at` of the query set."""
        return self.start <= at and self.ended_at is None and (self.until is None or at < self.until)


class Workspace(models.Model):
    """What can own resources and quota: exactly one of a project, a person or an organization."""

    class Kind(models.TextChoices):
        PROJECT = "project", _("project")
        PERSONAL = "personal", _("personal workspace")
        ORGANIZATION = "organization", _("organization")

    kind = models.CharField(max_length=16, choices=Kind)
    project = models.OneToOneField(
        Project,
        null=True,
        blank=True,
        on_delete=models.PROTECT,
        related_name="workspace",
    )
    person = models.OneToOneField(
        Person,
        null=True,
        blank=True,
        on_delete=models.PROTECT,
        related_name="workspace",
    )
    organization = models.OneToOneField(
        Organization,
        null=True,
        blank=True,
        on_delete=models.PROTECT,
        related_name="workspace",
    )

    class Meta:
        db_table = "workspace"
        constraints = [
            models.CheckConstraint(
                name="workspace_is_of_one_kind",
                condition=(
                    Q(
                        kind="project",
                        project__isnull=False,
                        person__isnull=True,
                        organization__isnull=True,
                    )
                    | Q(
                        kind="personal",
                        project__isnull=True,
                        person__isnull=False,
                        organization__isnull=True,
                    )
                    | Q(
                        kind="organization",
                        project__isnull=True,
                        person__isnull=True,
                        organization__isnull=False,
                    )
                ),
            ),
        ]

    def __str__(self) -> str:
        return str(self.project or self.organization or self.person)


class Invitation(models.Model):
    """An offer of a role, sent by mail; the link's token is stored hashed."""

    email = models.EmailField(_("mail address"), max_length=254)
    role = models.CharField(_("role"), max_length=40, choices=[(r.value, r.title) for r in Role])
    organization = models.ForeignKey(
        Organization,
        null=True,
        blank=True,
        on_delete=models.PROTECT,
        related_name="invitations",
    )
    project = models.ForeignKey(
        Project,
        null=True,
        blank=True,
        on_delete=models.PROTECT,
        related_name="invitations",
    )
    member_until = models.DateTimeField(_("member until"), null=True, blank=True)
    message = models.TextField(_("message"), blank=True, max_length=2000)
    token_hash = models.CharField(max_length=64, unique=True)
    created_by = models.ForeignKey(Person, on_delete=models.PROTECT, related_name="+")
    created_at = models.DateTimeField()
    expires_at = models.DateTimeField()
    sent_at = models.DateTimeField(null=True, blank=True)
    accepted_at = models.DateTimeField(null=True, blank=True)
    accepted_by = models.ForeignKey(Person, null=True, blank=True, on_delete=models.PROTECT, related_name="+")
    declined_at = models.DateTimeField(null=True, blank=True)
    revoked_at = models.DateTimeField(null=True, blank=True)

    class Meta:
        db_table = "invitation"
        verbose_name = _("invitation")
        constraints = [
            models.CheckConstraint(
                name="invitation_ends_once",
                condition=~(
                    Q(accepted_at__isnull=False, declined_at__isnull=False)
                    | Q(accepted_at__isnull=False, revoked_at__isnull=False)
                    | Q(declined_at__isnull=False, revoked_at__isnull=False)
                ),
            ),
            models.UniqueConstraint(
                Lower("email"),
                "role",
                "organization",
                "project",
                condition=Q(
                    accepted_at__isnull=True,
                    declined_at__isnull=True,
                    revoked_at__isnull=True,
                ),
                nulls_distinct=False,
                name="invitation_open_once",
            ),
        ]

    def __str__(self) -> str:
        return self.email

    def state(self, at: datetime) -> InvitationState:
        if self.accepted_at is not None:
            return InvitationState.ACCEPTED
        if self.declined_at is not None:
            return InvitationState.DECLINED
        if self.revoked_at is not None:
            return InvitationState.REVOKED
        return InvitationState.OPEN if at < self.expires_at else InvitationState.EXPIRED


class ApiToken(models.Model):
    """A credential of a person for programs: shown once, stored hashed, scoped, expiring, with its last use.

    `organization` narrows it to one provider's affairs; None = all that the person may do within `scopes`.
    `successor` is the one that it was rolled to; this one then goes on until `expires_at`.
    """

    person = models.ForeignKey(Person, on_delete=models.CASCADE, related_name="api_tokens")
    organization = models.ForeignKey(Organization, null=True, blank=True, on_delete=models.PROTECT, related_name="+")
    name = models.CharField(_("name"), max_length=100)
    prefix = models.CharField(max_length=16, help_text="the readable start of the token, to tell it apart")
    token_hash = models.CharField(max_length=64, unique=True)
    scopes = ArrayField(models.CharField(max_length=40), default=list)
    created_at = models.DateTimeField()
    expires_at = models.DateTimeField()
    last_used_at = models.DateTimeField(null=True, blank=True)
    last_used_from = models.CharField(max_length=45, blank=True, help_text="the address of that use")
    revoked_at = models.DateTimeField(null=True, blank=True)
    successor = models.OneToOneField(
        "self", null=True, blank=True, on_delete=models.SET_NULL, related_name="predecessor"
    )
    rolled_at = models.DateTimeField(null=True, blank=True)
    rolled_by_itself = models.BooleanField(default=False, help_text="a program rolled it, with this token")

    class Meta:
        db_table = "api_token"
        verbose_name = _("API token")
        constraints = [
            models.CheckConstraint(
                name="api_token_rolled_has_a_time", condition=Q(successor=None) | Q(rolled_at__isnull=False)
            ),
        ]

    def __str__(self) -> str:
        return f"{self.name} ({self.prefix}…)"
