"""The first databases had these two indexes over open allocations alone; since then they are over all of them."""

from django.db import migrations

AGAIN = """
DROP INDEX IF EXISTS allocation_{name};
CREATE INDEX allocation_{name} ON allocation (category_id, "{column}");
"""


class Migration(migrations.Migration):
    dependencies = [("accounting", "0008_stamp")]

    operations = [
        migrations.RunSQL(AGAIN.format(name=name, column=column), migrations.RunSQL.noop)
        for name, column in (("starts", "start"), ("ends", "end"))
    ]
