"""Forms of applications: what is asked of whom, for which days, and the givers' own forms; and of givers' settings."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from datetime import datetime
from typing import Any, Final

from django import forms
from django.utils.translation import gettext
from django.utils.translation import gettext_lazy as _

from bursar.catalogue.models import ProductCategory
from bursar.grants.admission import Giver
from bursar.grants.forms import TYPES
from bursar.grants.models import Application, Attachment, Criterion, FormTemplate, GiverSettings, Recipient
from bursar.grants.services import Amount, Answers, Line, Wish
from bursar.structure.models import Organization, Workspace
from bursar.structure.text import slug_of
from bursar.web.forms import DateField, QuantityField
from bursar.web.structure_forms import after, first_moment, last_day

STEPS: Final = ("project", "givers", "amounts", "period", "form", "summary")


def steps_of(row: Application) -> tuple[str, ...]:
    """The steps of a draft after it was said for whom; only a new project has something to say about itself."""
    return STEPS if row.recipient == Recipient.NEW_PROJECT else STEPS[1:]


class WishForm(forms.Form):
    """One step of an application, or (for a revision) all of them; what it says is put into a wish.

    givers   those who can be asked, with what they have
    asked    those who are asked already, and may have nothing any more
    """

    def __init__(
        self,
        *args: Any,
        row: Application,
        wish: Wish,
        givers: Sequence[Giver],
        organizations: Sequence[Organization],
        templates: Mapping[int, FormTemplate],
        files: Sequence[Attachment],
        steps: Sequence[str],
        **kwargs: Any,
    ) -> None:
        super().__init__(*args, **kwargs)
        self.row, self.wish, self.steps, self.templates = row, wish, steps, templates
        self.organizations = {organization.pk: organization for organization in organizations}
        self.amounts: dict[str, tuple[int, int]] = {}
        self.answers: dict[str, tuple[int, str, str]] = {}
        if "project" in steps:
            self._add_project()
        if "amounts" in steps:
            self._add_amounts(givers)
        if "period" in steps:
            self._add_period()
        if "form" in steps:
            self._add_answers(files)
        if row.state != "draft":
            self.fields["comment"] = forms.CharField(
                label=_("Why you change it"), max_length=2000, widget=forms.Textarea(attrs={"rows": 3})
            )

    def _add_project(self) -> None:
        if self.row.recipient != Recipient.NEW_PROJECT:
            return
        self.fields["project_name"] = forms.CharField(
            label=_("Name of the project"), max_length=200, initial=self.wish.project_name
        )
        home = self.wish.organization
        self.fields["organization"] = forms.ChoiceField(
            label=_("In the organization"),
            choices=[("", _("Choose…")), *((str(key), str(o)) for key, o in self.organizations.items())],
            required=False,
            initial="" if home is None else str(home.pk),
            help_text=_("One that you ask, or in which you may make projects."),
        )
        self.fields["members"] = forms.CharField(
            label=_("People to invite"),
            required=False,
            initial="\n".join(self.wish.members),
            widget=forms.Textarea(attrs={"rows": 2}),
            help_text=_("Mail addresses, one on each line. They are invited when the project is made."),
        )

    def _add_amounts(self, givers: Sequence[Giver]) -> None:
        stood = {(a.giver_id, a.category_id): a.ticks for a in self.wish.amounts}
        for giver in givers:
            for offer in giver.offers:
                name = f"amount-{giver.workspace.pk}-{offer.category.pk}"
                self.amounts[name] = (giver.workspace.pk, offer.category.pk)
                self.fields[name] = QuantityField(
                    label=offer.category.title,
                    unit=offer.category.unit,
                    required=False,
                    initial=stood.get((giver.workspace.pk, offer.category.pk)),
                )

    def _add_period(self) -> None:
        start = self.wish.start
        self.fields["first_day"] = DateField(
            label=_("From"),
            required=False,
            initial=None if start is None else start.date(),
            help_text=_("Leave it empty to begin when it is granted."),
        )
        self.fields["last_day"] = DateField(
            label=_("Until"), initial=last_day(self.wish.end), help_text=_("The last day on which you can use it.")
        )
        self.fields["is_separable"] = forms.BooleanField(
            label=_("The parts stand alone"),
            required=False,
            initial=self.wish.is_separable,
            help_text=_("If one giver says no, you still want what the others give. Otherwise the whole falls."),
        )
        self.fields["allows_reductions"] = forms.BooleanField(
            label=_("Givers may give less without asking me"),
            required=False,
            initial=self.wish.allows_reductions,
            help_text=_("Otherwise each change of an amount waits for you to agree."),
        )

    def _add_answers(self, files: Sequence[Attachment]) -> None:
        said = {one.giver_id: one for one in self.wish.answers}
        for giver_id, template in self.templates.items():
            known = said.get(giver_id)
            for field in template.fields:
                name = f"answer-{giver_id}-{field['key']}"
                self.answers[name] = (giver_id, field["key"], field["type"])
                initial = None if known is None else known.values.get(field["key"])
                self.fields[name] = _answer_field(field, initial, files)

    def groups(self, givers: Sequence[Giver]) -> list[dict[str, Any]]:
        """The amounts by giver, as the page shows them."""
        found = []
        for giver in givers:
            lines = [
                (self[f"amount-{giver.workspace.pk}-{offer.category.pk}"], offer)
                for offer in giver.offers
                if f"amount-{giver.workspace.pk}-{offer.category.pk}" in self.fields
            ]
            found.append({"giver": giver, "lines": lines, "is_asked": any(f.initial for f, _offer in lines)})
        return found

    def said(self) -> Wish:
        """The wish with what this form says in the place of what was there; of a valid form."""
        data, wish = self.cleaned_data, self.wish
        if "amounts" in self.steps:
            kept = [a for a in wish.amounts if (a.giver_id, a.category_id) not in set(self.amounts.values())]
            typed = [Amount(*key, data[name]) for name, key in self.amounts.items() if data.get(name)]
            wish = replace(wish, amounts=(*kept, *typed))
        if "project_name" in data:
            chosen = data["organization"]
            wish = replace(
                wish,
                project_name=data["project_name"],
                organization=self.organizations.get(int(chosen)) if chosen else None,
                members=tuple(line.strip() for line in data["members"].splitlines() if line.strip()),
            )
        if "period" in self.steps:
            first = data["first_day"]
            wish = replace(
                wish,
                start=None if first is None else first_moment(first),
                end=after(data["last_day"]),
                is_separable=data["is_separable"],
                allows_reductions=data["allows_reductions"],
            )
        if "form" in self.steps:
            values: dict[int, dict[str, Any]] = {giver_id: {} for giver_id in self.templates}
            for name, (giver_id, key, kind) in self.answers.items():
                value = _answer_of(kind, data.get(name))
                if value is not None:
                    values[giver_id][key] = value
            others = [one for one in wish.answers if one.giver_id not in values]
            filled = [Answers(key, given, self.templates[key].version) for key, given in values.items()]
            wish = replace(wish, answers=(*others, *filled))
        if "comment" in data:
            wish = replace(wish, comment=data["comment"])
        return wish


def _answer_field(field: Mapping[str, Any], initial: Any, files: Sequence[Attachment]) -> forms.Field:
    # What is required is asked when it is submitted: a draft may lack anything.
    facts = {"label": field["title"], "help_text": field["help"], "required": False, "initial": initial}
    kind = field["type"]
    if kind == "text":
        return forms.CharField(max_length=field["length_max"], **facts)
    if kind == "long_text":
        return forms.CharField(max_length=field["length_max"], widget=forms.Textarea(attrs={"rows": 5}), **facts)
    if kind == "choice":
        return forms.ChoiceField(choices=[("", _("Choose…")), *((c, c) for c in field["choices"])], **facts)
    if kind == "number":
        return forms.DecimalField(min_value=field.get("number_min"), max_value=field.get("number_max"), **facts)
    if kind == "date":
        return DateField(**facts)
    if kind == "yes_no":
        facts["initial"] = "" if initial is None else "yes" if initial else "no"
        return forms.ChoiceField(choices=[("", _("Choose…")), ("yes", _("Yes")), ("no", _("No"))], **facts)
    facts["help_text"] = field["help"] or _("Add the file below first.")
    return forms.ChoiceField(choices=[("", _("Choose…")), *((str(f.pk), f.name) for f in files)], **facts)


def _answer_of(kind: str, value: Any) -> Any:
    if value is None or value == "":
        return None
    if kind == "yes_no":
        return value == "yes"
    if kind == "number":
        return int(value) if value == value.to_integral_value() else float(value)
    if kind == "date":
        return value.isoformat()
    return int(value) if kind == "file" else value


class ChangeForm(forms.Form):
    """Other amounts of a giver's part."""

    def __init__(self, *args: Any, amounts: Iterable[tuple[ProductCategory, int]], **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.keys: dict[str, int] = {}
        for category, ticks in amounts:
            name = f"amount-{category.pk}"
            self.keys[name] = category.pk
            self.fields[name] = QuantityField(
                label=category.title, unit=category.unit, required=False, initial=ticks or None
            )
        self.fields["comment"] = forms.CharField(
            label=_("Why"), max_length=2000, widget=forms.Textarea(attrs={"rows": 2})
        )

    def amounts(self) -> dict[int, int]:
        return {key: self.cleaned_data[name] or 0 for name, key in self.keys.items()}


class HandOverForm(forms.Form):
    to = forms.ChoiceField(label=_("To"))
    message = forms.CharField(label=_("Message"), max_length=2000, widget=forms.Textarea(attrs={"rows": 2}))

    def __init__(self, *args: Any, givers: Iterable[Workspace], **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        choices = [("", _("Choose…")), *((str(giver.pk), str(giver)) for giver in givers)]
        self.fields["to"].choices = choices  # type: ignore[attr-defined]


# ------------------------------------------------------------------------------------------------ a giver's settings
class GiverForm(forms.Form):
    """Who may ask, in lines that people can write: anyone · @uni-a.example · login: edugain · role in: uni-a"""

    is_open = forms.BooleanField(label=_("Takes applications"), required=False)
    description = forms.CharField(
        label=_("Description"),
        required=False,
        max_length=10_000,
        widget=forms.Textarea(attrs={"rows": 4}),
        help_text=_("What applicants read: for whom this is, and how it is decided."),
    )
    promise_percent = forms.IntegerField(
        label=_("May promise, in per cent of what it holds"),
        min_value=1,
        max_value=1000,
        initial=100,
        help_text=_("More than 100 where experience says that not everybody uses all."),
    )
    allow = forms.CharField(
        label=_("Who may ask"),
        required=False,
        widget=forms.Textarea(attrs={"rows": 4}),
        help_text=_(
            "One on each line: “anyone”, a mail domain such as “@uni-a.example”, “login: edugain” for an identity provider, "
            "or “role in: uni-a” for people with a role in an organization (its short name)."
        ),
    )
    never = forms.CharField(
        label=_("Who never may"),
        required=False,
        widget=forms.Textarea(attrs={"rows": 2}),
        help_text=_("The same kinds of lines. They win over those above."),
    )

    def lines(self) -> list[Line]:
        return [*_lines("allow", self.cleaned_data["allow"]), *_lines("never", self.cleaned_data["never"])]

    def clean(self) -> dict[str, Any]:
        data = super().clean() or {}
        for side in ("allow", "never"):
            for line in _lines(side, data.get(side, "")):
                if line.kind == "organization" and line.organization is None:
                    self.add_error(
                        side,
                        gettext("There is no organization with the short name {name}.").format(name=line.value[:60]),
                    )
        return data


def _lines(side: str, text: str) -> list[Line]:
    found = []
    for written in filter(None, (line.strip() for line in text.splitlines())):
        kind, _colon, value = written.partition(":")
        if written.lower() == "anyone":
            found.append(Line(side, "anyone"))
        elif written.startswith("@"):
            found.append(Line(side, "mail_domain", written))
        elif kind.strip().lower() == "role in":
            organization = Organization.objects.filter(slug=value.strip().lower()).first()
            found.append(Line(side, "organization", "" if organization else value.strip(), organization))
        elif kind.strip().lower() == "login":
            found.append(Line(side, "identity_provider", value.strip()))
        else:
            found.append(Line(side, "mail_domain", written))
    return found


def written_lines(row: GiverSettings | None, side: str) -> str:
    """A giver's lines as they are written in the form."""
    criteria = [] if row is None else [c for c in row.criteria.all() if c.side == side]
    return "\n".join(_written(c) for c in criteria)


def _written(criterion: Criterion) -> str:
    if criterion.kind == "anyone":
        return "anyone"
    if criterion.kind == "mail_domain":
        return f"@{criterion.value}"
    if criterion.kind == "identity_provider":
        return f"login: {criterion.value}"
    return f"role in: {criterion.organization.slug if criterion.organization else ''}"


_TYPE_TITLES: Final = {
    "text": _("One line"),
    "long_text": _("Long text"),
    "choice": _("Choice"),
    "number": _("Number"),
    "date": _("Date"),
    "yes_no": _("Yes or no"),
    "file": _("File"),
}


class QuestionForm(forms.Form):
    """One question of a giver's form."""

    key = forms.CharField(required=False, max_length=40, widget=forms.HiddenInput)
    title = forms.CharField(label=_("Question"), required=False, max_length=200)
    type = forms.ChoiceField(label=_("Kind"), choices=[(t, _TYPE_TITLES[t]) for t in TYPES])
    required = forms.BooleanField(label=_("Has to be answered"), required=False)
    length_max = forms.IntegerField(label=_("Greatest length"), required=False, min_value=1, max_value=20_000)
    choices = forms.CharField(
        label=_("Choices, one on each line"), required=False, widget=forms.Textarea(attrs={"rows": 4})
    )
    help = forms.CharField(label=_("Help"), required=False, max_length=1000)

    def field(self, taken: set[str]) -> dict[str, Any] | None:
        """The question as it is kept; None = the row was left empty."""
        data = self.cleaned_data
        if not data.get("title"):
            return None
        key = data["key"] or slug_of(data["title"], otherwise="question", limit=30).replace("-", "_")
        key = key if key[:1].isalpha() else f"q_{key}"
        plain, number = key, 2
        while key in taken:
            key, number = f"{plain}_{number}", number + 1
        taken.add(key)
        kept = {
            "key": key,
            "type": data["type"],
            "title": data["title"],
            "help": data["help"],
            "required": data["required"],
        }
        if data["type"] in {"text", "long_text"} and data["length_max"]:
            kept["length_max"] = data["length_max"]
        if data["type"] == "choice":
            kept["choices"] = [line.strip() for line in data["choices"].splitlines() if line.strip()]
        return kept


def question_initial(field: Mapping[str, Any]) -> dict[str, Any]:
    return {**field, "choices": "\n".join(field.get("choices", ()))}


QuestionFormSet = forms.formset_factory(QuestionForm, extra=3, max_num=40)


class RuleForm(forms.Form):
    """When a part is approved without a reviewer."""

    recipients = forms.MultipleChoiceField(
        label=_("For"), choices=Recipient.choices, widget=forms.CheckboxSelectMultiple
    )
    keeps_percent = forms.IntegerField(
        label=_("Keep free, in per cent of what is held"), min_value=0, max_value=100, initial=10
    )
    enabled = forms.BooleanField(label=_("In force"), required=False)

    def __init__(self, *args: Any, categories: Sequence[ProductCategory], **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.keys = {}
        for category in categories:
            name = f"limit-{category.pk}"
            self.keys[name] = category.pk
            self.fields[name] = QuantityField(
                label=gettext("{category}: at most").format(category=category.title), unit=category.unit, required=False
            )
        self.order_fields(["recipients", *self.keys, "keeps_percent", "enabled"])

    def limits(self) -> dict[int, int]:
        return {key: ticks for name, key in self.keys.items() if (ticks := self.cleaned_data[name])}


class GiftForm(forms.Form):
    """A standing offer."""

    title = forms.CharField(label=_("Title"), max_length=120)
    description = forms.CharField(
        label=_("Description"), required=False, max_length=2000, widget=forms.Textarea(attrs={"rows": 2})
    )
    first_day = DateField(label=_("From"))
    last_day = DateField(label=_("Until"))
    every_months = forms.IntegerField(
        label=_("Every so many months"), min_value=0, max_value=120, initial=0, help_text=_("0 = once for each person.")
    )
    claims_max = forms.IntegerField(label=_("At most so many times in all"), min_value=1, max_value=1_000_000)
    at_login = forms.BooleanField(
        label=_("Give it at login"),
        required=False,
        help_text=_("Whoever it is for gets it at the first login in each of its periods, without a click."),
    )
    allow = GiverForm.base_fields["allow"]

    def __init__(self, *args: Any, categories: Sequence[ProductCategory], **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.fields["allow"].label = _("For whom")
        self.fields["allow"].required = True
        self.keys = {}
        for category in categories:
            name = f"amount-{category.pk}"
            self.keys[name] = category.pk
            self.fields[name] = QuantityField(label=category.title, unit=category.unit, required=False)

    def amounts(self) -> dict[int, int]:
        return {key: ticks for name, key in self.keys.items() if (ticks := self.cleaned_data[name])}

    def lines(self) -> list[Line]:
        return _lines("allow", self.cleaned_data["allow"])

    def period(self) -> tuple[datetime, datetime]:
        end = after(self.cleaned_data["last_day"])
        assert end is not None
        return first_moment(self.cleaned_data["first_day"]), end
