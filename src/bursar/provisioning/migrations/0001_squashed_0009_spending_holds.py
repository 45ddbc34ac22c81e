from django.db import migrations

from bursar.events.migrations._at_once import AllAtOnce


class Migration(migrations.Migration):
    """All of the following for a new database. What they need it needs: Django takes that over from them."""

    initial = True

    replaces = [
        ("provisioning", "0001_initial"),
        ("provisioning", "0002_append_only"),
        ("provisioning", "0003_default_policies"),
        ("provisioning", "0004_verdicts_and_retries"),
        ("provisioning", "0005_the_providers_side"),
        ("provisioning", "0006_accounts"),
        ("provisioning", "0007_accounts_kept"),
        ("provisioning", "0008_taken_over"),
        ("provisioning", "0009_spending_holds"),
    ]

    operations = [AllAtOnce(replaces)]
