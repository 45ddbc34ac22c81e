"""Ids of reports are made of their operation's, so no sequence is asked for each row; an index that nothing asked goes."""

import django.db.models.deletion
from django.db import migrations, models

WITHOUT_SEQUENCE = """
ALTER TABLE usage_report ALTER COLUMN id DROP DEFAULT;
DROP SEQUENCE usage_report_id_seq;
"""
WITH_SEQUENCE = """
CREATE SEQUENCE usage_report_id_seq AS bigint OWNED BY usage_report.id;
SELECT setval('usage_report_id_seq', (SELECT coalesce(max(id), 0) + 1 FROM usage_report), false);
ALTER TABLE usage_report ALTER COLUMN id SET DEFAULT nextval('usage_report_id_seq');
"""


class Migration(migrations.Migration):
    dependencies = [
        ("catalogue", "0003_kept"),
        ("metering", "0007_rollups"),
    ]

    operations = [
        migrations.AlterField(
            model_name="reportidentity",
            name="category",
            field=models.ForeignKey(
                db_constraint=False,
                db_index=False,
                on_delete=django.db.models.deletion.PROTECT,
                related_name="+",
                to="catalogue.productcategory",
            ),
        ),
        migrations.AlterField(
            model_name="usagereport",
            name="id",
            field=models.BigIntegerField(
                editable=False, help_text="made of the operation's: the order of recording in a category"
            ),
        ),
        migrations.RunSQL(WITHOUT_SEQUENCE, WITH_SEQUENCE),
    ]
