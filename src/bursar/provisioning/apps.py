from django.apps import AppConfig
from django.utils.translation import gettext_lazy as _


class ProvisioningConfig(AppConfig):
    name = "bursar.provisioning"
    label = "provisioning"
    verbose_name = _("Provisioning")
    default_auto_field = "django.db.models.BigAutoField"

    def ready(self) -> None:
        from bursar.events.guards import guard
        from bursar.structure.roles import Permission

        guard("spending", project=Permission.VIEW_COSTS, organization=Permission.VIEW_COSTS, provider="")
