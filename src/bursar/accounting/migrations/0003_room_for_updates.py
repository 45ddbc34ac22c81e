from django.db import migrations


class Migration(migrations.Migration):
    """Balances are rewritten with every report: room left in each page keeps the new row there and the indexes untouched."""

    dependencies = [("accounting", "0002_journal")]

    operations = [
        migrations.RunSQL(
            "ALTER TABLE wallet SET (fillfactor = 50); ALTER TABLE allocation SET (fillfactor = 50);",
            "ALTER TABLE wallet RESET (fillfactor); ALTER TABLE allocation RESET (fillfactor);",
        ),
    ]
