from django.db import migrations

from bursar.events.migrations._at_once import AllAtOnce


class Migration(migrations.Migration):
    """All of the following for a new database. What they need it needs: Django takes that over from them."""

    initial = True

    replaces = [
        ("grants", "0001_initial"),
        ("grants", "0002_history"),
        ("grants", "0003_giver_logo"),
        ("grants", "0004_gift_at_login"),
        ("grants", "0005_notice"),
        ("grants", "0006_file_removed"),
        ("grants", "0007_search_at_once"),
        ("grants", "0008_chosen_givers"),
    ]

    operations = [AllAtOnce(replaces)]
