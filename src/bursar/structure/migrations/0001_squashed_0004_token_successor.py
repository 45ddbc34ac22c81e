from django.db import migrations

from bursar.events.migrations._at_once import AllAtOnce


class Migration(migrations.Migration):
    """All of the following for a new database. What they need it needs: Django takes that over from them."""

    initial = True

    replaces = [
        ("structure", "0001_initial"),
        ("structure", "0002_one_role_per_project"),
        ("structure", "0003_grant_reviewer"),
        ("structure", "0004_token_successor"),
    ]

    operations = [AllAtOnce(replaces)]
