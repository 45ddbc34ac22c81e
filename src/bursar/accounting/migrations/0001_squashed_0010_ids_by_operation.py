from django.db import migrations

from bursar.events.migrations._at_once import AllAtOnce


class Migration(migrations.Migration):
    """All of the following for a new database. What they need it needs: Django takes that over from them."""

    initial = True

    replaces = [
        ("accounting", "0001_initial"),
        ("accounting", "0002_journal"),
        ("accounting", "0003_room_for_updates"),
        ("accounting", "0004_posting_is_managed"),
        ("accounting", "0005_one_row_for_both"),
        ("accounting", "0006_fewer_indexes"),
        ("accounting", "0007_checkpoints"),
        ("accounting", "0008_stamp"),
        ("accounting", "0009_indexes_of_all_allocations"),
        ("accounting", "0010_ids_by_operation"),
    ]

    operations = [AllAtOnce(replaces)]
