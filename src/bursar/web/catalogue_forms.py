"""Forms of the catalogue's pages. They read what was typed; the services decide."""

import json
import re
from collections.abc import Iterable, Mapping, Sequence
from decimal import Decimal, InvalidOperation
from typing import Any

from django import forms
from django.db.models import Q, QuerySet
from django.forms.utils import ErrorDict
from django.utils.translation import gettext
from django.utils.translation import gettext_lazy as _

from bursar.catalogue import selectors
from bursar.catalogue.models import (
    Backend,
    Charging,
    Component,
    Offering,
    OfferingCategory,
    Plan,
    PlanComponent,
    Product,
    ProductCategory,
    ProductType,
    ServiceProvider,
)
from bursar.catalogue.services import Price
from bursar.catalogue.services.categories import SEALED_FIELDS
from bursar.catalogue.services.components import KEPT_FIELDS
from bursar.catalogue.tiers import Step, problems, steps_of
from bursar.kernel.errors import DomainError
from bursar.kernel.money import plain
from bursar.kernel.quantity import Unit
from bursar.kernel.refusals import words
from bursar.structure.models import Organization, Project
from bursar.web.forms import DateTimeField, QuantityField

MARKDOWN_HELP = _("Markdown: **bold**, lists, links, tables.")


class _Form(forms.Form):
    def field(self, name: str) -> Any:
        """A field as what it is declared to be."""
        return self.fields[name]


class ShelfChoice(forms.ModelChoiceField):
    """A shelf, shown in the tree's order with those below it set in."""

    def __init__(self, **options: Any) -> None:
        super().__init__(queryset=OfferingCategory.objects.all(), **options)

    def set_rows(self, rows: Iterable[selectors.ShelfRow], without: Iterable[int] = ()) -> None:
        banned = set(without)
        shown = [(row.shelf.pk, "\u2003" * row.depth + row.shelf.title) for row in rows if row.shelf.pk not in banned]
        self.choices = [("", self.empty_label or ""), *shown]


class ProviderForm(_Form):
    description = forms.CharField(
        label=_("About us"),
        required=False,
        max_length=10_000,
        widget=forms.Textarea(attrs={"rows": 6}),
        help_text=MARKDOWN_HELP,
    )
    contact_email = forms.EmailField(
        label=_("Contact"), required=False, help_text=_("Shown on every offering: where customers ask.")
    )


class AuthorizeForm(_Form):
    organization = forms.ModelChoiceField(label=_("Organization"), queryset=Organization.objects.none())

    def __init__(self, *args: Any, **options: Any) -> None:
        super().__init__(*args, **options)
        self.field("organization").queryset = selectors.organizations_to_authorize()


class CategoryForm(_Form):
    title = forms.CharField(label=_("Title"), max_length=120, help_text=_("As people see it: “CPU on Thor”."))
    name = forms.SlugField(
        label=_("Name"), max_length=60, help_text=_("Short and stable; programs use it: “cpu-thor”.")
    )
    product_type = forms.ChoiceField(label=_("Product type"), choices=ProductType.choices)
    charging = forms.ChoiceField(
        label=_("Charged"),
        choices=Charging.choices,
        initial="hour",
        help_text=_("Once: a level that goes up and down, such as GB stored. Per time: usage accumulates."),
    )
    unit_name = forms.CharField(
        label=_("Unit"), max_length=40, help_text=_("As people say it: core-hours, GB, addresses.")
    )
    ticks_per_unit = forms.IntegerField(
        label=_("Smallest amounts in one unit"),
        min_value=1,
        initial=1,
        help_text=_("What is counted are whole smallest amounts: 3600 core-seconds in a core-hour; 1 for GB."),
    )
    description = forms.CharField(
        label=_("Description"), required=False, max_length=2000, widget=forms.Textarea(attrs={"rows": 3})
    )
    requires_allocation = forms.BooleanField(
        label=_("Requires an allocation"), required=False, initial=True, help_text=_("Otherwise it is free to use.")
    )
    allows_suballocation = forms.BooleanField(label=_("Quota may be handed on"), required=False, initial=True)
    allows_overallocation = forms.BooleanField(
        label=_("More may be promised than there is"), required=False, initial=True
    )
    grace_days = forms.IntegerField(
        label=_("Days of grace after the end"),
        min_value=0,
        max_value=366,
        initial=7,
        help_text=_("How long late reports still land in an allocation that has ended."),
    )

    def __init__(self, *args: Any, category: ProductCategory | None = None, **options: Any) -> None:
        super().__init__(*args, **options)
        if category is None:
            return
        for name, field in self.fields.items():
            field.initial = getattr(category, name)
            field.disabled = category.sealed_at is not None and name in SEALED_FIELDS


class ProductForm(_Form):
    title = forms.CharField(label=_("Title"), max_length=120, help_text=_("“thor-16: 16 cores, 64 GiB”"))
    name = forms.SlugField(label=_("Name"), max_length=60, help_text=_("Short and stable; programs use it."))
    ticks_per_charge = QuantityField(label=_("It draws"))
    specs = forms.CharField(
        label=_("Properties"),
        required=False,
        widget=forms.Textarea(attrs={"rows": 4, "spellcheck": "false"}),
        help_text=_("One “name = value” per line: cores = 16, memory_gib = 64."),
    )
    description = forms.CharField(
        label=_("Description"), required=False, max_length=2000, widget=forms.Textarea(attrs={"rows": 3})
    )

    def __init__(self, *args: Any, category: ProductCategory, product: Product | None = None, **options: Any) -> None:
        super().__init__(*args, **options)
        amount = self.field("ticks_per_charge")
        amount.set_unit(category.unit)
        amount.help_text = (
            gettext("Per minute, hour or day, as the category is charged.")
            if category.is_over_time
            else gettext("While it exists.")
        )
        if product is not None:
            for name in ("title", "name", "ticks_per_charge", "description"):
                self.fields[name].initial = getattr(product, name)
            self.fields["specs"].initial = "\n".join(f"{key} = {value}" for key, value in product.specs.items())
            self.fields["name"].disabled = True

    def clean_specs(self) -> dict[str, Any]:
        specs: dict[str, Any] = {}
        for line in self.cleaned_data["specs"].splitlines():
            key, equals, text = (part.strip() for part in line.partition("="))
            if not line.strip():
                continue
            if not equals or not key:
                raise forms.ValidationError(
                    gettext("Write one “name = value” per line; this is none: {line}").format(line=line)
                )
            specs[key] = int(text) if re.fullmatch(r"-?[0-9]{1,15}", text) else text
        return specs


class ShelfForm(_Form):
    title = forms.CharField(label=_("Title"), max_length=120)
    slug = forms.SlugField(label=_("Short name"), max_length=60, help_text=_("Stands in addresses."))
    parent = ShelfChoice(label=_("Below"), required=False, empty_label=_("at the top"))
    description = forms.CharField(
        label=_("Description"), required=False, max_length=2000, widget=forms.Textarea(attrs={"rows": 2})
    )
    icon = forms.ChoiceField(
        label=_("Icon"),
        required=False,
        choices=[
            ("", _("none")),
            *(
                (name, name)
                for name in ("cpu", "server", "cloud", "database", "device-desktop", "disc", "key", "link", "network")
            ),
        ],
    )
    position = forms.IntegerField(
        label=_("Position"), min_value=0, max_value=30_000, initial=0, help_text=_("Small numbers stand first.")
    )

    def __init__(
        self, *args: Any, rows: Sequence[selectors.ShelfRow], shelf: OfferingCategory | None = None, **options: Any
    ) -> None:
        super().__init__(*args, **options)
        without = selectors.shelves_below(shelf, rows) if shelf is not None else set()
        self.field("parent").set_rows(rows, without)
        if shelf is not None:
            for name in ("title", "slug", "parent", "description", "icon", "position"):
                self.fields[name].initial = getattr(shelf, name)


class OfferingCreateForm(_Form):
    provider = forms.ModelChoiceField(label=_("Provider"), queryset=ServiceProvider.objects.none(), empty_label=None)
    name = forms.CharField(label=_("Name"), max_length=150, help_text=_("As it stands in the marketplace."))
    summary = forms.CharField(
        label=_("Summary"), max_length=300, required=False, help_text=_("One sentence for the card.")
    )
    backend = forms.ModelChoiceField(
        label=_("Backend"),
        queryset=Backend.objects.none(),
        required=False,
        empty_label=_("choose later"),
        help_text=_("The draft starts with the components and the order form that its plugin proposes."),
    )
    shelf = ShelfChoice(label=_("Shelf"), required=False, empty_label=_("choose later"))

    def __init__(
        self, *args: Any, providers: QuerySet[ServiceProvider], rows: Sequence[selectors.ShelfRow], **options: Any
    ) -> None:
        super().__init__(*args, **options)
        self.field("provider").queryset = providers
        self.field("backend").queryset = (
            Backend.objects.filter(provider__in=providers.order_by(), enabled=True)
            .select_related("provider__organization")
            .defer("secrets")
        )
        self.field("shelf").set_rows(rows)


class OfferingTextForm(_Form):
    name = forms.CharField(label=_("Name"), max_length=150)
    slug = forms.SlugField(label=_("Short name"), max_length=60, help_text=_("In addresses and at the backend."))
    shelf = ShelfChoice(label=_("Shelf"), required=False, empty_label=_("not chosen"))
    summary = forms.CharField(
        label=_("Summary"), max_length=300, required=False, help_text=_("One sentence for the card.")
    )
    description = forms.CharField(
        label=_("Description"),
        required=False,
        max_length=20_000,
        widget=forms.Textarea(attrs={"rows": 12}),
        help_text=MARKDOWN_HELP,
    )
    terms_of_use = forms.CharField(
        label=_("Terms of use"),
        required=False,
        max_length=20_000,
        widget=forms.Textarea(attrs={"rows": 6}),
        help_text=_("Markdown. Whoever orders has to agree to them."),
    )

    def __init__(self, *args: Any, offering: Offering, rows: Sequence[selectors.ShelfRow], **options: Any) -> None:
        super().__init__(*args, **options)
        for name, field in self.fields.items():
            field.initial = getattr(offering, name)
        self.field("shelf").set_rows(rows)
        self.fields["slug"].disabled = offering.activated_at is not None


class AccessForm(_Form):
    access_instructions = forms.CharField(
        label=_("Access instructions"),
        required=False,
        max_length=20_000,
        widget=forms.Textarea(attrs={"rows": 12}),
        help_text=_(
            "Markdown, shown on each resource. {resource_name}, {username}, {backend_id} and what the plugin tells are put in."
        ),
    )


class SiteBackendForm(_Form):
    """A backend that runs at the provider's site: all the rest of it is said there.

    plugin   asked for only where it is none of those that are installed here
    """

    name = forms.CharField(
        label=_("Name"),
        max_length=120,
        help_text=_("How people at the provider call this backend; it stands in the agent's file as well."),
    )
    plugin = forms.CharField(
        label=_("Plugin"),
        max_length=40,
        help_text=_("Its key, as it is installed at the site: small letters, digits, “-” and “_”."),
        widget=forms.TextInput(attrs={"autocomplete": "off", "autocapitalize": "none", "spellcheck": "false"}),
    )

    def __init__(self, data: Any = None, *, plugin: str = "", name: str = "") -> None:
        super().__init__(data, initial={"name": name})
        if plugin:
            del self.fields["plugin"]


class ConnectForm(_Form):
    backend = forms.ModelChoiceField(label=_("Backend"), queryset=Backend.objects.none())

    def __init__(self, *args: Any, offering: Offering, **options: Any) -> None:
        super().__init__(*args, **options)
        field = self.field("backend")
        field.queryset = Backend.objects.filter(provider_id=offering.provider_id).defer("secrets")
        field.initial = offering.backend_id
        field.disabled = offering.activated_at is not None


class OrganizationsField(forms.ModelMultipleChoiceField):
    widget = forms.CheckboxSelectMultiple


class ProjectsField(forms.ModelMultipleChoiceField):
    widget = forms.CheckboxSelectMultiple

    def label_from_instance(self, obj: Project) -> str:
        return f"{obj.organization.name}: {obj.name}"


class VisibilityForm(_Form):
    visibility = forms.ChoiceField(label=_("Visible to"), choices=Offering.Visibility.choices, widget=forms.RadioSelect)
    organizations = OrganizationsField(
        label=_("Organizations"),
        queryset=Organization.objects.none(),
        required=False,
        help_text=_("With all their projects."),
    )
    projects = ProjectsField(
        label=_("Projects"),
        queryset=Project.objects.none(),
        required=False,
        help_text=_("With the projects below them."),
    )

    def __init__(self, *args: Any, offering: Offering, **options: Any) -> None:
        super().__init__(*args, **options)
        self.fields["visibility"].initial = offering.visibility
        organizations = self.field("organizations")
        organizations.queryset = Organization.objects.filter(
            Q(archived_at=None) | Q(pk__in=offering.visible_organizations.values("pk"))
        ).order_by("name", "pk")
        organizations.initial = list(offering.visible_organizations.values_list("pk", flat=True))
        projects = self.field("projects")
        projects.queryset = (
            Project.objects.filter(Q(archived_at=None) | Q(pk__in=offering.visible_projects.values("pk")))
            .select_related("organization")
            .order_by("organization__name", "name", "pk")
        )
        projects.initial = list(offering.visible_projects.values_list("pk", flat=True))


class CategoryChoice(forms.ModelChoiceField):
    def label_from_instance(self, obj: ProductCategory) -> str:
        return f"{obj.title} ({obj.unit_name})"


class ComponentForm(_Form):
    title = forms.CharField(label=_("Title"), max_length=120, help_text=_("As people see it: “CPU time”."))
    key = forms.SlugField(label=_("Key"), max_length=40, help_text=_("The plugin's name for it: cpu, storage."))
    unit_name = forms.CharField(label=_("Unit"), max_length=40, help_text=_("What limits and prices count."))
    billing = forms.ChoiceField(label=_("Billing"), choices=Component.Billing.choices, initial="usage")
    limit_period = forms.ChoiceField(
        label=_("The price of a limit is"), choices=Component.LimitPeriod.choices, initial="month"
    )
    category = CategoryChoice(
        label=_("Draws from"),
        queryset=ProductCategory.objects.none(),
        required=False,
        empty_label=_("no quota"),
        help_text=_("The product category whose quota it uses up."),
    )
    draws = forms.CharField(
        label=_("One unit draws"), initial="1", help_text=_("In the unit of the category: usually 1.")
    )
    measured_unit = forms.CharField(
        label=_("Measured in"), max_length=40, required=False, help_text=_("What the plugin counts: core-seconds.")
    )
    measured_per_unit = forms.IntegerField(
        label=_("Measured in one unit"), min_value=1, initial=1, help_text=_("3600 core-seconds in a core-hour.")
    )
    limit_min = forms.IntegerField(label=_("Smallest limit"), min_value=0, required=False)
    limit_max = forms.IntegerField(label=_("Greatest limit"), min_value=0, required=False)
    limit_default = forms.IntegerField(label=_("Usual limit"), min_value=0, required=False)
    free_while_paused = forms.BooleanField(label=_("Free while paused"), required=False)
    tax_category = forms.SlugField(
        label=_("Tax category"),
        max_length=40,
        initial="standard",
        required=False,
        help_text=_("A word for which the operator has tax rates: standard, reduced. Empty: standard."),
    )

    def __init__(self, *args: Any, offering: Offering, component: Component | None = None, **options: Any) -> None:
        super().__init__(*args, **options)
        own = component.category_id if component else None
        self.field("category").queryset = ProductCategory.objects.filter(provider_id=offering.provider_id).filter(
            Q(archived_at=None) | Q(pk=own)
        )
        if component is None:
            return
        for name in self.fields.keys() - {"draws", "measured_per_unit"}:
            self.fields[name].initial = getattr(component, name)
        unit = component.category.unit if component.category else Unit("", 1)
        self.fields["draws"].initial = unit.text(component.ticks_per_unit) if component.category else "1"
        self.fields["measured_per_unit"].initial = component.ticks_per_unit // component.ticks_per_measured
        if offering.activated_at is not None:
            for name in (*KEPT_FIELDS, "draws", "measured_per_unit"):
                if name in self.fields:
                    self.fields[name].disabled = True

    def clean_tax_category(self) -> str:
        return self.cleaned_data["tax_category"] or "standard"

    def clean(self) -> dict[str, Any]:
        cleaned = dict(super().clean() or {})
        if self.errors:
            return cleaned
        category, per_unit = cleaned["category"], cleaned.pop("measured_per_unit")
        draws = cleaned.pop("draws")
        if category is None:
            return {**cleaned, "ticks_per_unit": per_unit, "ticks_per_measured": 1}
        try:
            ticks = category.unit.ticks(draws)
        except DomainError as refusal:
            self.add_error("draws", words(refusal, gettext))
            return cleaned
        if ticks < 1:
            self.add_error("draws", gettext("It must draw something."))
        elif ticks % per_unit:
            self.add_error(
                "measured_per_unit",
                gettext("{ticks} ticks of the category cannot be split into {count} equal parts.").format(
                    ticks=ticks, count=per_unit
                ),
            )
        return {**cleaned, "ticks_per_unit": ticks, "ticks_per_measured": ticks // per_unit}


class PlanForm(_Form):
    name = forms.CharField(label=_("Name"), max_length=120)
    description = forms.CharField(
        label=_("Description"), required=False, max_length=2000, widget=forms.Textarea(attrs={"rows": 2})
    )
    unit = forms.ChoiceField(label=_("Billed per"), choices=Plan.Unit.choices, initial="month")
    resources_max = forms.IntegerField(
        label=_("At most so many resources at once"), min_value=1, required=False, help_text=_("Empty: no limit.")
    )
    organizations = OrganizationsField(
        label=_("Only for"),
        queryset=Organization.objects.none(),
        required=False,
        help_text=_("Nobody chosen: everyone who sees the offering."),
    )

    def __init__(self, *args: Any, offering: Offering, plan: Plan | None = None, **options: Any) -> None:
        super().__init__(*args, **options)
        chosen = list(plan.organizations.values_list("pk", flat=True)) if plan is not None else []
        self.field("organizations").queryset = Organization.objects.filter(
            Q(archived_at=None) | Q(pk__in=chosen)
        ).order_by("name", "pk")
        if plan is not None:
            for name in ("name", "description", "unit", "resources_max"):
                self.fields[name].initial = getattr(plan, name)
            self.fields["organizations"].initial = chosen
            self.fields["unit"].disabled = offering.activated_at is not None


class StepsField(forms.CharField):
    """Steps of a price, one on each line: a quantity and a price, with blanks between."""

    widget = forms.Textarea(attrs={"rows": 3, "autocomplete": "off", "spellcheck": "false"})

    @staticmethod
    def written(steps: Iterable[Step]) -> str:
        return "\n".join(f"{plain(step.start)} {plain(step.price)}" for step in steps)

    def to_python(self, value: Any) -> Any:
        steps = []
        for line in (super().to_python(value) or "").splitlines():
            words_of_line = line.split()
            if not words_of_line:
                continue
            try:
                start, price = (Decimal(word) for word in words_of_line)
            except (InvalidOperation, ValueError):
                raise forms.ValidationError(
                    gettext("“{line}” is not a quantity and a price, such as “1000 0.08”.").format(line=line[:60])
                ) from None
            steps.append(Step(start, price))
        return steps

    def validate(self, value: Any) -> None:
        """Nothing more: what steps may be is the catalogue's to say."""

    def run_validators(self, value: Any) -> None:
        """Those of texts do not fit steps."""


class PricesForm(_Form):
    """The prices of one plan, a row per component; only what differs from what is in force is set."""

    def __init__(
        self,
        *args: Any,
        components: Sequence[Component],
        in_force: Mapping[int, PlanComponent],
        currency: str,
        **options: Any,
    ) -> None:
        super().__init__(*args, **options)
        self.components = components
        for component in components:
            present = in_force.get(component.pk)
            price = forms.DecimalField(
                label=gettext("Price"),
                min_value=Decimal(0),
                max_digits=20,
                decimal_places=10,
                initial=plain(present.price) if present else "0",
                required=True,
                widget=forms.TextInput(attrs={"inputmode": "decimal", "autocomplete": "off"}),
            )
            price.suffix = currency  # type: ignore[attr-defined]
            self.fields[f"price_{component.pk}"] = price
            if component.billing == Component.Billing.FIXED:
                amount = forms.IntegerField(
                    label=gettext("Units included"), min_value=0, initial=present.amount if present else 1
                )
                amount.suffix = component.unit_name  # type: ignore[attr-defined]
                self.fields[f"amount_{component.pk}"] = amount
            if component.billing == Component.Billing.USAGE:
                self.fields[f"tier_kind_{component.pk}"] = forms.ChoiceField(
                    label=gettext("Steps"),
                    choices=[("", gettext("one price")), *PlanComponent.Tiers.choices],
                    required=False,
                    initial=present.tier_kind if present else "",
                    help_text=gettext(
                        "Graduated: each unit costs what its step does. By volume: all units cost what the step does that"
                        " the month's use reaches."
                    ),
                )
                self.fields[f"tiers_{component.pk}"] = StepsField(
                    label=gettext("Further steps"),
                    required=False,
                    initial=StepsField.written(steps_of(present)) if present else "",
                    help_text=gettext("One on each line: from which quantity, then the price. “1000 0.08”"),
                )
        self.fields["valid_from"] = DateTimeField(
            label=gettext("In force from"), required=False, help_text=gettext("Empty: from now on.")
        )

    def clean(self) -> dict[str, Any]:
        cleaned = dict(super().clean() or {})
        for component in self.components:
            kind, steps = cleaned.get(f"tier_kind_{component.pk}"), cleaned.get(f"tiers_{component.pk}")
            if kind is not None and steps is not None:
                for name, text in problems(component, kind, steps).items():
                    self.add_error(f"{name}_{component.pk}", text)
        return cleaned

    def prices(self) -> list[Price]:
        given = self.cleaned_data
        return [
            Price(
                c,
                given[f"price_{c.pk}"],
                given.get(f"amount_{c.pk}") or 0,
                given.get(f"tier_kind_{c.pk}", ""),
                given.get(f"tiers_{c.pk}", ()),
            )
            for c in self.components
        ]

    def rows(self) -> list[tuple[Component, list[Any]]]:
        """(component, its fields) for the page."""
        names = ("price", "amount", "tier_kind", "tiers")
        return [
            (c, [self[f"{name}_{c.pk}"] for name in names if f"{name}_{c.pk}" in self.fields]) for c in self.components
        ]


class PauseForm(_Form):
    reason = forms.CharField(
        label=_("Why"), max_length=300, required=False, help_text=_("Shown in the marketplace while it is paused.")
    )


class CopyForm(_Form):
    name = forms.CharField(label=_("Name"), max_length=150)


class FormFieldForm(_Form):
    """One field of an order form, in the editor."""

    name = forms.CharField(
        label=_("Name"), max_length=40, required=False, help_text=_("Programs use it; empty: made from the title.")
    )
    title = forms.CharField(label=_("Title"), max_length=120)
    type = forms.ChoiceField(
        label=_("Kind"),
        choices=[
            ("string", _("text")),
            ("multiline", _("long text")),
            ("ssh-public-key", _("SSH public key")),
            ("integer", _("whole number")),
            ("number", _("number")),
            ("boolean", _("yes or no")),
        ],
    )
    description = forms.CharField(label=_("Help"), max_length=1000, required=False)
    required = forms.BooleanField(label=_("Needed"), required=False)
    default = forms.CharField(label=_("Default"), max_length=2000, required=False)
    choices = forms.CharField(
        label=_("Choices"),
        required=False,
        widget=forms.Textarea(attrs={"rows": 4, "spellcheck": "false"}),
        help_text=_("One per line, “value” or “value = what is shown”."),
    )
    least = forms.CharField(
        label=_("At least"), max_length=20, required=False, help_text=_("Value, or length of a text.")
    )
    most = forms.CharField(
        label=_("At most"), max_length=20, required=False, help_text=_("Value, or length of a text.")
    )
    pattern = forms.CharField(label=_("Pattern"), max_length=200, required=False, help_text=_("A regular expression."))
    pattern_words = forms.CharField(
        label=_("What the pattern asks for"),
        max_length=200,
        required=False,
        help_text=_("In words, with an example: told to whoever writes something else. Without it the help is told."),
    )
    when_property = forms.CharField(label=_("Only when the field"), max_length=40, required=False)
    when_values = forms.CharField(
        label=_("has one of"), max_length=500, required=False, help_text=_("Separated by commas; yes or no.")
    )
    remove = forms.BooleanField(label=_("Remove"), required=False)

    def full_clean(self) -> None:
        """What is to be removed need not be right."""
        super().full_clean()
        if self.is_bound and self.cleaned_data.get("remove"):
            self._errors = ErrorDict()

    def property(self) -> tuple[str, dict[str, Any], bool]:
        """(name, schema of the property, whether it is needed) of what was typed, unchecked: `validate_schema` checks."""
        typed = self.cleaned_data
        kind = typed["type"]
        spec: dict[str, Any] = {"type": "string" if kind in ("multiline", "ssh-public-key") else kind}
        if kind in ("multiline", "ssh-public-key"):
            spec["format"] = kind
        spec["title"] = typed["title"]
        if typed["description"]:
            spec["description"] = typed["description"]
        if typed["choices"].strip():
            values, labels = [], {}
            for line in typed["choices"].splitlines():
                text, equals, label = (part.strip() for part in line.partition("="))
                if text:
                    values.append(_typed(spec["type"], text))
                    if equals and label:
                        labels[text] = label
            spec["enum"] = values
            if labels:
                spec["x-labels"] = labels
        low, high = ("minLength", "maxLength") if spec["type"] == "string" else ("minimum", "maximum")
        for word, text in ((low, typed["least"]), (high, typed["most"])):
            if text.strip():
                spec[word] = _typed("number", text.strip())
        if typed["pattern"]:
            spec["pattern"] = typed["pattern"]
            if typed["pattern_words"]:
                spec["x-pattern-words"] = typed["pattern_words"]
        if typed["default"]:
            spec["default"] = _typed(spec["type"], typed["default"])
        if typed["when_property"]:
            values = [text.strip() for text in typed["when_values"].split(",") if text.strip()]
            spec["x-when"] = {"property": typed["when_property"], "is": values}
        name = typed["name"] or re.sub(r"[^a-z0-9]+", "_", typed["title"].lower()).strip("_")[:40]
        return name, spec, typed["required"]


def _typed(kind: str, text: str) -> Any:
    if kind == "boolean":
        return {"yes": True, "true": True, "no": False, "false": False}.get(text.lower(), text)
    if kind in ("integer", "number"):
        try:
            number = float(text)
        except ValueError:
            return text
        return int(number) if number.is_integer() else number
    return text


FormFieldSet = forms.formset_factory(FormFieldForm, extra=0, max_num=40, absolute_max=60)


def rows_of_schema(schema: Mapping[str, Any]) -> list[dict[str, Any]]:
    """The editor's rows of a valid order form."""
    rows = []
    properties, required = schema.get("properties", {}), schema.get("required", ())
    for name in schema.get("x-order", properties):
        spec = properties[name]
        is_text = spec["type"] == "string"
        labels = spec.get("x-labels", {})
        when = spec.get("x-when", {})
        rows.append(
            {
                "name": name,
                "title": spec.get("title", name),
                "type": spec.get("format", spec["type"]),
                "description": spec.get("description", ""),
                "required": name in required,
                "default": _text(spec.get("default", "")),
                "choices": "\n".join(
                    f"{value} = {labels[str(value)]}" if str(value) in labels else str(value)
                    for value in spec.get("enum", ())
                ),
                "least": _text(spec.get("minLength" if is_text else "minimum", "")),
                "most": _text(spec.get("maxLength" if is_text else "maximum", "")),
                "pattern": spec.get("pattern", ""),
                "pattern_words": spec.get("x-pattern-words", ""),
                "when_property": when.get("property", ""),
                "when_values": ", ".join(_text(value) for value in when.get("is", ())),
            }
        )
    return rows


def _text(value: Any) -> str:
    if isinstance(value, bool):
        return "yes" if value else "no"
    return str(value)


def schema_of_rows(rows: Iterable[FormFieldForm]) -> dict[str, Any]:
    """The order form of the editor's rows, unchecked."""
    properties: dict[str, Any] = {}
    required: list[str] = []
    for row in rows:
        if not row.cleaned_data or row.cleaned_data.get("remove"):
            continue
        name, spec, needed = row.property()
        while name in properties:
            name += "_"
        properties[name] = spec
        if needed:
            required.append(name)
    for spec in properties.values():
        when = spec.get("x-when")
        if when and when["property"] in properties:
            kind = properties[when["property"]]["type"]
            when["is"] = [_typed(kind, text) for text in when["is"]]
    return {"type": "object", "properties": properties, "required": required, "x-order": list(properties)}


class JsonForm(_Form):
    schema = forms.CharField(
        label=_("Order form as JSON"),
        max_length=100_000,
        widget=forms.Textarea(attrs={"rows": 16, "spellcheck": "false"}),
    )

    def clean_schema(self) -> Any:
        try:
            return json.loads(self.cleaned_data["schema"])
        except json.JSONDecodeError as error:
            raise forms.ValidationError(gettext("This is not JSON: {why}").format(why=str(error))) from None
