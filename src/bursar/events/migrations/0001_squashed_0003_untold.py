from django.db import migrations

from bursar.events.migrations._at_once import AllAtOnce


class Migration(migrations.Migration):
    """All of the following for a new database. What they need it needs: Django takes that over from them."""

    initial = True

    replaces = [
        ("events", "0001_initial"),
        ("events", "0002_append_only"),
        ("events", "0003_untold"),
    ]

    operations = [AllAtOnce(replaces)]
