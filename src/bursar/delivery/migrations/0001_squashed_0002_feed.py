from django.db import migrations

from bursar.events.migrations._at_once import AllAtOnce


class Migration(migrations.Migration):
    """All of the following for a new database. What they need it needs: Django takes that over from them."""

    initial = True

    replaces = [
        ("delivery", "0001_initial"),
        ("delivery", "0002_feed"),
    ]

    operations = [AllAtOnce(replaces)]
