from django.db import migrations

from bursar.events.migrations._at_once import AllAtOnce


class Migration(migrations.Migration):
    """All of the following for a new database. What they need it needs: Django takes that over from them."""

    initial = True

    replaces = [
        ("metering", "0001_initial"),
        ("metering", "0002_reports"),
        ("metering", "0003_identity_without_check"),
        ("metering", "0004_report_is_managed"),
        ("metering", "0005_reports_by_identity"),
        ("metering", "0006_backfill"),
        ("metering", "0007_rollups"),
        ("metering", "0008_ids_by_operation"),
        ("metering", "0009_rollups_of_a_nation"),
    ]

    operations = [AllAtOnce(replaces)]
