from django.apps import AppConfig
from django.utils.translation import gettext_lazy as _


class BillingConfig(AppConfig):
    name = "bursar.billing"
    label = "billing"
    verbose_name = _("Billing")
    default_auto_field = "django.db.models.BigAutoField"

    def ready(self) -> None:
        from bursar.events.guards import guard
        from bursar.structure.roles import Permission

        costs, bills, revenue = Permission.VIEW_COSTS, Permission.VIEW_BILLING, Permission.VIEW_REVENUE
        guard("budget", project=costs, organization=costs, provider="")
        guard(
            "invoice", "credit", "compensation", "buyer", "seller", "tax_rate",
            project=costs, organization=bills, provider=revenue,
        )  # fmt: skip
