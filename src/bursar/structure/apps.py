from django.apps import AppConfig
from django.utils.translation import gettext_lazy as _


class StructureConfig(AppConfig):
    name = "bursar.structure"
    label = "structure"
    verbose_name = _("Structure")
    default_auto_field = "django.db.models.BigAutoField"
