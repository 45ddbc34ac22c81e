import django.contrib.postgres.fields
from django.db import migrations, models


class Migration(migrations.Migration):
    dependencies = [
        ("provisioning", "0003_default_policies"),
    ]

    operations = [
        migrations.AddField(
            model_name="order",
            name="awaited_roles",
            field=django.contrib.postgres.fields.ArrayField(
                base_field=models.CharField(max_length=40),
                default=list,
                help_text="whose decision is awaited now; empty = nobody's",
                size=None,
            ),
        ),
        migrations.AddField(
            model_name="order",
            name="terms_accepted_at",
            field=models.DateTimeField(null=True),
        ),
        migrations.AddField(
            model_name="order",
            name="verdicts",
            field=models.JSONField(default=dict, help_text="side -> what its policies said when it was placed"),
        ),
        migrations.AddField(
            model_name="resource",
            name="retry_at",
            field=models.DateTimeField(help_text="the backend is not asked again before", null=True),
        ),
    ]
