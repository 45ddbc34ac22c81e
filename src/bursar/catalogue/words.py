"""Units as they are named beside one and beside many."""

from django.utils.translation import get_language


def singular(unit: str) -> str:
    """One of a unit that providers name in the plural, as English has it: core-hours -> core-hour, GB -> GB.

    In other languages, and for words that follow no rule, the unit is shown as it was named.
    """
    if not (get_language() or "en").startswith("en") or len(unit) < 4 or not unit[-2].islower():
        return unit
    for ending, one in (("sses", "ss"), ("ches", "ch"), ("shes", "sh"), ("xes", "x"), ("ies", "y")):
        if unit.endswith(ending):
            return unit.removesuffix(ending) + one
    return unit if unit.endswith(("ss", "us", "is")) else unit.removesuffix("s")


def unit_beside(amount: str, unit: str) -> str:
    """The unit as it stands behind an amount: 1 seat, 2 seats."""
    return singular(unit) if amount == "1" else unit
