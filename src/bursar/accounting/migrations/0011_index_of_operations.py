"""Some of the first databases had operations found by number alone; they are found by their instant everywhere."""

from django.db import migrations

BY_INSTANT = """
DROP INDEX IF EXISTS operation_category;
CREATE INDEX IF NOT EXISTS operation_recorded ON ledger_operation (category_id, recorded_at, id);
"""


class Migration(migrations.Migration):
    dependencies = [("accounting", "0010_ids_by_operation")]

    operations = [migrations.RunSQL(BY_INSTANT, migrations.RunSQL.noop)]
