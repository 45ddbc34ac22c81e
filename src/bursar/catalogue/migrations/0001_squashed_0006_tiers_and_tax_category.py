from django.db import migrations

from bursar.events.migrations._at_once import AllAtOnce


class Migration(migrations.Migration):
    """All of the following for a new database. What they need it needs: Django takes that over from them."""

    initial = True

    replaces = [
        ("catalogue", "0001_initial"),
        ("catalogue", "0002_history_and_seals"),
        ("catalogue", "0003_kept"),
        ("catalogue", "0004_agents"),
        ("catalogue", "0005_found_at_site"),
        ("catalogue", "0006_tiers_and_tax_category"),
    ]

    operations = [AllAtOnce(replaces)]
