"""Some of the first databases with messages wanted a person behind each; what Bursar itself notes has none."""

from django.db import migrations


class Migration(migrations.Migration):
    dependencies = [("provisioning", "0009_spending_holds")]

    operations = [
        migrations.RunSQL(
            "ALTER TABLE provider_message ALTER COLUMN by_id DROP NOT NULL",  # nothing where it is so already
            migrations.RunSQL.noop,
        )
    ]
