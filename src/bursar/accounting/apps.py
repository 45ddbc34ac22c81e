import sys

from django.apps import AppConfig
from django.utils.translation import gettext_lazy as _


class AccountingConfig(AppConfig):
    name = "bursar.accounting"
    label = "accounting"
    verbose_name = _("Accounting")
    default_auto_field = "django.db.models.BigAutoField"

    def ready(self) -> None:
        # Rows are handed to the database by a thread beside the one that works them out (`copying`). It needs the interpreter
        # for moments only, but gets it at most this many seconds after it asked: by default so late that the database waits.
        sys.setswitchinterval(0.0005)
