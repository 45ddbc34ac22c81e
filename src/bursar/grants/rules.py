"""Rules of automatic approval, in words."""

from django.utils.translation import gettext as _

from bursar.grants.models import AutomaticRule, Recipient


def rule_in_words(rule: AutomaticRule) -> str:
    """One sentence, in the language that is active."""
    kinds = ", ".join(str(Recipient(one).label) for one in rule.recipients)
    amounts = ", ".join(
        f"{limit.category.unit.text(limit.ticks_max)} {limit.category.unit.name} ({limit.category.title})"
        for limit in rule.limits.all()
    )
    if rule.keeps_percent:
        return _(
            "For %(kinds)s, up to %(amounts)s is approved at once, as long as %(percent)s%% of what is held stays free."
        ) % {"kinds": kinds, "amounts": amounts, "percent": rule.keeps_percent}
    return _("For %(kinds)s, up to %(amounts)s is approved at once.") % {"kinds": kinds, "amounts": amounts}
