"""Forms of organizations, projects, members and profiles. What is right is decided by the services; these only ask."""

from collections.abc import Iterable
from datetime import UTC, date, datetime, time, timedelta
from typing import Any

from django import forms
from django.conf import settings
from django.utils import timezone
from django.utils.translation import gettext_lazy as _

from bursar.structure.models import Organization, Person, Project
from bursar.structure.roles import ROLE_TITLES, SCOPE_TITLES, Role, TokenScope
from bursar.structure.values import countries, currencies, time_zones
from bursar.web.forms import DateField


def first_moment(day: date) -> datetime:
    """When a day begins where the viewer is."""
    return datetime.combine(day, time(), tzinfo=timezone.get_current_timezone()).astimezone(UTC)


def after(day: date | None) -> datetime | None:
    """The moment after the last one of a day: periods are half-open, people name the last day."""
    return None if day is None else first_moment(day + timedelta(days=1))


def last_day(end: datetime | None) -> date | None:
    """The last day that a half-open period still touches."""
    return None if end is None else timezone.localtime(end - timedelta(microseconds=1)).date()


def _role_choices(roles: Iterable[Role]) -> list[tuple[str, Any]]:
    return [(role.value, ROLE_TITLES[role]) for role in Role if role in set(roles)]


class OrganizationForm(forms.Form):
    name = forms.CharField(label=_("Name"), max_length=200)
    country = forms.ChoiceField(label=_("Country"), required=False)
    vat_number = forms.CharField(label=_("VAT number"), max_length=32, required=False)
    currency = forms.ChoiceField(label=_("Currency"), help_text=_("Invoices are written in it."))
    time_zone = forms.ChoiceField(label=_("Time zone"), help_text=_("Days and months of its bills begin there."))
    url = forms.CharField(label=_("Web site"), max_length=200, required=False)

    def __init__(self, *args: Any, organization: Organization | None = None, **kwargs: Any) -> None:
        if organization is not None:
            names = ("name", "country", "vat_number", "currency", "time_zone", "url")
            kwargs["initial"] = {name: getattr(organization, name) for name in names}
        super().__init__(*args, **kwargs)
        _choose(self, "country", [("", "–"), *countries().items()])
        _choose(self, "currency", [(code, f"{code} – {name}") for code, name in currencies().items()])
        _choose(self, "time_zone", [(zone, zone.replace("_", " ")) for zone in time_zones()])


class NewOrganizationForm(OrganizationForm):
    slug = forms.CharField(
        label=_("Short name"),
        max_length=40,
        required=False,
        help_text=_("Lower-case letters, digits and hyphens; goes to machines. Made from the name when empty."),
    )
    owner_email = forms.EmailField(
        label=_("Mail address of its first owner"),
        required=False,
        help_text=_("Somebody registered becomes owner at once; anybody else is invited."),
    )
    field_order = ["name", "slug", "country", "owner_email"]

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        kwargs["initial"] = {"currency": "EUR", "time_zone": "UTC", **kwargs.get("initial", {})}
        super().__init__(*args, **kwargs)


def _choose(form: forms.Form, field: str, choices: list[tuple[str, Any]]) -> None:
    form.fields[field].choices = choices  # type: ignore[attr-defined]


class ProjectForm(forms.Form):
    """A project, new or not. The last day is asked for; the period ends with it."""

    name = forms.CharField(label=_("Name"), max_length=200)
    description = forms.CharField(
        label=_("Description"),
        required=False,
        max_length=10_000,
        widget=forms.Textarea(attrs={"rows": 5}),
        help_text=_("Markdown may be used."),
    )
    field_of_science = forms.CharField(label=_("Field of science"), max_length=120, required=False)
    start = DateField(label=_("First day"))
    end = DateField(label=_("Last day"), required=False, help_text=_("Empty: without an end."))

    def __init__(self, *args: Any, project: Project | None = None, **kwargs: Any) -> None:
        self.project = project
        if project is not None:
            kwargs["initial"] = {
                "name": project.name,
                "description": project.description,
                "field_of_science": project.field_of_science,
                "start": timezone.localtime(project.start).date(),
                "end": last_day(project.end),
            }
        super().__init__(*args, **kwargs)

    def values(self) -> dict[str, Any]:
        """The service's arguments; an end or start that was not touched stays exactly as it was."""
        given = dict(self.cleaned_data)
        untouched = {"start", "end"} - set(self.changed_data) if self.project is not None else set()
        given["start"] = self.project.start if "start" in untouched and self.project else first_moment(given["start"])
        given["end"] = self.project.end if "end" in untouched and self.project else after(given["end"])
        return given


class NewProjectForm(ProjectForm):
    slug = forms.CharField(
        label=_("Short name"),
        max_length=40,
        required=False,
        help_text=_("Lower-case letters, digits and hyphens; goes to machines. Made from the name when empty."),
    )
    principal_investigator = forms.EmailField(
        label=_("Mail address of the principal investigator"),
        help_text=_("Somebody not registered yet is invited; until then it is you."),
    )
    field_order = ["name", "slug", "principal_investigator", "start", "end"]


class EndProjectForm(forms.Form):
    end = DateField(label=_("Last day"), help_text=_("Resources and quota of the project end with it."))


class InvitationForm(forms.Form):
    """Somebody is asked to join; `roles` are those the viewer may give here."""

    email = forms.EmailField(label=_("Mail address"))
    role = forms.ChoiceField(label=_("Role"), widget=forms.RadioSelect)
    member_until = DateField(label=_("Last day of membership"), required=False, help_text=_("Empty: without an end."))
    message = forms.CharField(
        label=_("Message"), required=False, max_length=2000, widget=forms.Textarea(attrs={"rows": 3})
    )

    def __init__(self, *args: Any, roles: Iterable[Role], **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        choices = _role_choices(roles)
        _choose(self, "role", choices)
        if choices:
            self.fields["role"].initial = choices[-1][0]


class MembershipForm(forms.Form):
    role = forms.ChoiceField(label=_("Role"), widget=forms.RadioSelect)
    until = DateField(label=_("Last day"), required=False, help_text=_("Empty: without an end."))

    def __init__(self, *args: Any, roles: Iterable[Role], **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        _choose(self, "role", _role_choices(roles))


class HandOverForm(forms.Form):
    to = forms.ModelChoiceField(
        label=_("New principal investigator"), queryset=Person.objects.none(), empty_label=_("Choose…")
    )
    former_role = forms.ChoiceField(
        label=_("The former one"),
        widget=forms.RadioSelect,
        choices=[
            (Role.PROJECT_MANAGER.value, _("stays as project manager")),
            (Role.PROJECT_MEMBER.value, _("stays as project member")),
            ("", _("leaves the project")),
        ],
        initial=Role.PROJECT_MANAGER.value,
        required=False,
    )

    def __init__(self, *args: Any, members: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.fields["to"].queryset = members  # type: ignore[attr-defined]


class ProfileForm(forms.Form):
    full_name = forms.CharField(
        label=_("Full name"), max_length=200, widget=forms.TextInput(attrs={"autocomplete": "name"})
    )
    language = forms.ChoiceField(label=_("Language"))
    time_zone = forms.ChoiceField(label=_("Time zone"), help_text=_("Times are shown in it."))

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        _choose(self, "language", list(settings.LANGUAGES))
        _choose(self, "time_zone", [(zone, zone.replace("_", " ")) for zone in time_zones()])


class SshKeyForm(forms.Form):
    public_key = forms.CharField(
        label=_("Public key"),
        widget=forms.Textarea(
            attrs={"rows": 4, "spellcheck": "false", "autocomplete": "off", "class": "font-monospace"}
        ),
        help_text=_("One line, such as the content of ~/.ssh/id_ed25519.pub."),
    )
    name = forms.CharField(
        label=_("Name"), max_length=100, required=False, help_text=_("Empty: the comment at the key's end.")
    )


class TokenRollForm(forms.Form):
    overlap_days = forms.TypedChoiceField(
        label=_("The old one goes on for"),
        coerce=int,
        choices=[(0, _("no longer: it ends now")), (1, _("a day")), (7, _("7 days")), (30, _("30 days"))],
        initial=7,
        help_text=_("Time to give the new one to the programs. It ends by itself, and never later than it would have."),
    )


class TokenForm(forms.Form):
    name = forms.CharField(label=_("Name"), max_length=100, help_text=_("What it is for, such as “nightly reports”."))
    scopes = forms.MultipleChoiceField(
        label=_("It may"),
        choices=[(scope.value, SCOPE_TITLES[scope]) for scope in TokenScope],
        widget=forms.CheckboxSelectMultiple,
        initial=[TokenScope.READ.value],
    )
    days = forms.TypedChoiceField(
        label=_("It works for"),
        coerce=int,
        choices=[(7, _("7 days")), (30, _("30 days")), (90, _("90 days")), (180, _("180 days")), (365, _("a year"))],
        initial=90,
    )
    organization = forms.ModelChoiceField(
        label=_("Only in this organization"),
        queryset=Organization.objects.none(),
        required=False,
        empty_label=_("Wherever I may"),
        help_text=_("For a provider’s programs: whatever else you may do, the token may not."),
    )

    def __init__(self, *args: Any, organizations: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.fields["organization"].queryset = organizations  # type: ignore[attr-defined]
