"""The first databases with rollups had none of a whole category; those that went on from there without usage have it now."""

from django.db import migrations

from bursar.metering.migrations._category_months import IF_MISSING


class Migration(migrations.Migration):
    dependencies = [("metering", "0009_rollups_of_a_nation")]

    operations = [migrations.RunSQL(IF_MISSING, migrations.RunSQL.noop)]
