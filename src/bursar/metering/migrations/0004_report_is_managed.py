from django.db import migrations


class Migration(migrations.Migration):
    """Only what Django knows of the table: it is one of ours, to be emptied and changed like the others."""

    dependencies = [("metering", "0003_identity_without_check")]

    operations = [migrations.AlterModelOptions(name="usagereport", options={})]
