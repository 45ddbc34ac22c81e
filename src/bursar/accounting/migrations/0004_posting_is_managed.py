from django.db import migrations


class Migration(migrations.Migration):
    """Only what Django knows of the table: it is one of ours, to be emptied and changed like the others."""

    dependencies = [("accounting", "0003_room_for_updates")]

    operations = [migrations.AlterModelOptions(name="posting", options={})]
