import datetime

import django.db.models.deletion
from django.db import migrations, models


class Migration(migrations.Migration):
    dependencies = [("billing", "0001_initial")]

    operations = [
        migrations.AddField(
            model_name="seller",
            name="bills_from",
            field=models.DateField(
                default=datetime.date(2026, 1, 1),
                help_text="its first day",
                verbose_name="first month that is billed",
            ),
            preserve_default=False,
        ),
        migrations.AddField(
            model_name="seller",
            name="closed_until",
            field=models.DateField(
                default=datetime.date(2026, 1, 1),
                editable=False,
                help_text="the first month that is not closed; what comes late for those before is adjusted",
            ),
            preserve_default=False,
        ),
        migrations.AddField(
            model_name="seller",
            name="closed_cut",
            field=models.ForeignKey(
                editable=False,
                help_text="what was known when the last month was closed",
                null=True,
                on_delete=django.db.models.deletion.PROTECT,
                related_name="+",
                to="billing.cut",
            ),
        ),
        migrations.AddField(
            model_name="creditnote",
            name="after_invoice",
            field=models.PositiveBigIntegerField(
                default=0, help_text="the last invoice number that its seller had given before"
            ),
            preserve_default=False,
        ),
        migrations.AddField(
            model_name="credit",
            name="of_invoice",
            field=models.ForeignKey(
                help_text="whose total was below zero",
                null=True,
                on_delete=django.db.models.deletion.PROTECT,
                related_name="+",
                to="billing.invoice",
            ),
        ),
        migrations.AddField(
            model_name="credit",
            name="of_credit_note",
            field=models.ForeignKey(
                help_text="of what was paid already",
                null=True,
                on_delete=django.db.models.deletion.PROTECT,
                related_name="+",
                to="billing.creditnote",
            ),
        ),
    ]
