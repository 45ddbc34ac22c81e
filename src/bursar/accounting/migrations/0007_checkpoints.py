from django.db import migrations, models


# Quotas, windows and turns are few beside usage; of an allocation's past they are all that is not a sum.
TERMS = """
CREATE INDEX posting_terms ON posting (category_id, wallet_id, recorded_at)
    WHERE start IS NOT NULL OR turned <> '' OR quota_ticks <> 0;
CREATE INDEX posting_windows ON posting (category_id, recorded_at) WHERE start IS NOT NULL;
"""


class Migration(migrations.Migration):
    """Sums of the journal at places in it, so that a past balance need not be added up from the beginning."""

    dependencies = [
        ("accounting", "0006_fewer_indexes"),
    ]

    operations = [
        migrations.CreateModel(
            name="CheckpointSum",
            fields=[
                (
                    "pk",
                    models.CompositePrimaryKey(
                        "category_id",
                        "wallet_id",
                        "allocation_id",
                        "number",
                        "effective_at",
                        blank=True,
                        editable=False,
                        primary_key=True,
                        serialize=False,
                    ),
                ),
                ("category_id", models.BigIntegerField()),
                ("wallet_id", models.BigIntegerField()),
                ("allocation_id", models.BigIntegerField(help_text="0 = the wallet's own figures")),
                ("number", models.IntegerField()),
                ("effective_at", models.DateTimeField()),
                ("used_ticks", models.BigIntegerField()),
                ("uncovered_ticks", models.BigIntegerField()),
                ("written_off_ticks", models.BigIntegerField()),
                ("drawn_ticks", models.BigIntegerField()),
            ],
            options={
                "db_table": "ledger_checkpoint_sum",
            },
        ),
        migrations.CreateModel(
            name="CheckpointWallet",
            fields=[
                (
                    "pk",
                    models.CompositePrimaryKey(
                        "category_id", "wallet_id", blank=True, editable=False, primary_key=True, serialize=False
                    ),
                ),
                ("category_id", models.BigIntegerField()),
                ("wallet_id", models.BigIntegerField()),
                ("postings", models.BigIntegerField()),
                (
                    "summed_since",
                    models.IntegerField(help_text="the checkpoint at which its sums were first made", null=True),
                ),
            ],
            options={
                "db_table": "ledger_checkpoint_wallet",
            },
        ),
        migrations.CreateModel(
            name="Checkpoint",
            fields=[
                (
                    "pk",
                    models.CompositePrimaryKey(
                        "category_id", "number", blank=True, editable=False, primary_key=True, serialize=False
                    ),
                ),
                ("category_id", models.BigIntegerField()),
                ("number", models.IntegerField(help_text="from 1, in the order of recording")),
                ("recorded_until", models.DateTimeField(help_text="the last recording that is in it")),
            ],
            options={
                "db_table": "ledger_checkpoint",
                "indexes": [models.Index(fields=["category_id", "recorded_until"], name="checkpoint_recorded")],
            },
        ),
        migrations.RunSQL(TERMS, "DROP INDEX posting_terms; DROP INDEX posting_windows;"),
    ]
