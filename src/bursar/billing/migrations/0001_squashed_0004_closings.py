from django.db import migrations

from bursar.events.migrations._at_once import AllAtOnce


class Migration(migrations.Migration):
    """All of the following for a new database. What they need it needs: Django takes that over from them."""

    initial = True

    replaces = [
        ("billing", "0001_initial"),
        ("billing", "0002_closed_months_and_origins"),
        ("billing", "0003_what_was_billed_stays"),
        ("billing", "0004_closings"),
    ]

    operations = [AllAtOnce(replaces)]
