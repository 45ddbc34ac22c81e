"""Ids of postings are made of their operation's, so no sequence is asked for each row; an index that nothing asked goes."""

import django.db.models.deletion
from django.conf import settings
from django.db import migrations, models

WITHOUT_SEQUENCE = """
ALTER TABLE posting ALTER COLUMN id DROP DEFAULT;
DROP SEQUENCE posting_id_seq;
"""
WITH_SEQUENCE = """
CREATE SEQUENCE posting_id_seq AS bigint OWNED BY posting.id;
SELECT setval('posting_id_seq', (SELECT coalesce(max(id), 0) + 1 FROM posting), false);
ALTER TABLE posting ALTER COLUMN id SET DEFAULT nextval('posting_id_seq');
"""


class Migration(migrations.Migration):
    dependencies = [
        ("accounting", "0009_indexes_of_all_allocations"),
        migrations.swappable_dependency(settings.AUTH_USER_MODEL),
    ]

    operations = [
        migrations.AlterField(
            model_name="allocation",
            name="made_by",
            field=models.ForeignKey(
                db_index=False,
                null=True,
                on_delete=django.db.models.deletion.PROTECT,
                related_name="+",
                to=settings.AUTH_USER_MODEL,
            ),
        ),
        migrations.AlterField(
            model_name="posting",
            name="id",
            field=models.BigIntegerField(
                editable=False, help_text="made of the operation's: the order of recording in a category"
            ),
        ),
        migrations.RunSQL(WITHOUT_SEQUENCE, WITH_SEQUENCE),
    ]
