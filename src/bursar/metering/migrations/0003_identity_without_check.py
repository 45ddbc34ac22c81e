import django.db.models.deletion
from django.db import migrations, models


class Migration(migrations.Migration):
    dependencies = [("metering", "0002_reports")]

    operations = [
        migrations.AlterField(
            model_name="reportidentity",
            name="category",
            field=models.ForeignKey(
                db_constraint=False,
                on_delete=django.db.models.deletion.PROTECT,
                related_name="+",
                to="catalogue.productcategory",
            ),
        ),
    ]
