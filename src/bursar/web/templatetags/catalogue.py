"""The words of the catalogue's pages: prices and what they are for, bounds of limits."""

from decimal import Decimal
from typing import Any

from django import template
from django.utils.html import format_html
from django.utils.translation import gettext as _

from bursar.catalogue.models import Component, Plan, PlanComponent
from bursar.catalogue.tiers import Step, is_priced, steps_of
from bursar.catalogue.words import singular
from bursar.kernel.money import minor_digits
from bursar.kernel.quantity import grouped

register = template.Library()


@register.filter
def price(value: Decimal | None, currency: str = "") -> str:
    """`{{ row.price|price:currency }}`: exact, with at least the decimals of the currency's minor unit, and the currency."""
    if value is None:
        return "–"
    whole, _dot, fraction = format(value, "f").partition(".")
    fraction = fraction.rstrip("0").ljust(minor_digits(currency), "0")
    text = grouped(f"{whole}.{fraction}" if fraction else whole)
    return f"{text}\u00a0{currency}" if currency else text


@register.filter
def steps(row: PlanComponent) -> list[Step]:
    """`{% for step in row|steps %}`: the steps of a price beyond the first."""
    return steps_of(row)


@register.filter
def is_free(row: PlanComponent | None) -> bool:
    return row is None or not is_priced(row.price, steps_of(row))


@register.simple_tag
def price_basis(component: Component, plan: Plan) -> str:
    """`{% price_basis component plan %}`: what one price buys: "per core-hour", "per GB and month"."""
    unit = singular(component.unit_name)
    match component.billing:
        case Component.Billing.FIXED:
            if plan.unit == Plan.Unit.QUANTITY:
                return _("per {unit}, once").format(unit=unit)
            return _("per {unit} and {period}").format(unit=unit, period=plan.get_unit_display())
        case Component.Billing.LIMIT:
            if component.limit_period == Component.LimitPeriod.TOTAL:
                return _("per {unit}").format(unit=unit)
            period = {
                "day": _("day"),
                "month": _("month"),
                "quarter": _("quarter"),
                "year": _("year"),
            }[component.limit_period]
            return _("per {unit} and {period}").format(unit=unit, period=period)
        case Component.Billing.ONE_TIME:
            return _("once")
        case Component.Billing.ON_SWITCH:
            return _("at each change to this plan")
        case _other:
            return _("per {unit}").format(unit=unit)


@register.filter
def one_of(unit: str) -> str:
    """`{{ component.unit_name|one_of }}`: core-hours -> core-hour."""
    return singular(unit)


@register.simple_tag
def component_bounds(component: Component) -> Any:
    """`{% component_bounds component %}`: "1 to 1 000 core-hours, usually 100"."""
    low, high, usual = component.limit_min, component.limit_max, component.limit_default
    unit = component.unit_name
    if low is not None and high is not None:
        text = _("{low} to {high} {unit}").format(low=grouped(str(low)), high=grouped(str(high)), unit=unit)
    elif high is not None:
        text = _("at most {high} {unit}").format(high=grouped(str(high)), unit=unit)
    elif low is not None:
        text = _("at least {low} {unit}").format(low=grouped(str(low)), unit=unit)
    else:
        text = _("in {unit}").format(unit=unit)
    if usual is not None:
        text += _(", usually {usual}").format(usual=grouped(str(usual)))
    return format_html("{}", text)


@register.filter
def translated(text: str) -> str:
    """`{{ plugin.title|translated }}`: a text that a plugin marked for translation, in the reader's language."""
    return _(text) if text else ""
