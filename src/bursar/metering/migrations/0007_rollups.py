import django.db.models.deletion
from django.db import migrations, models

# A row is a month of days: the days of a nation's year are then 60,000 rows instead of two million. `ticks`, their sum, lies
# in the key's index too, so that whole months are told without the table.
DAYS = ",\n    ".join(f"d{day:02} bigint NOT NULL DEFAULT 0" for day in range(1, 32))

ROLLUPS = f"""
CREATE TABLE usage_month (
    category_id bigint NOT NULL,
    wallet_id bigint NOT NULL,
    month date NOT NULL,
    ticks bigint NOT NULL,
    {DAYS},
    PRIMARY KEY (category_id, wallet_id, month) INCLUDE (ticks)
);
CREATE TABLE usage_detail_month (
    category_id bigint NOT NULL,
    wallet_id bigint NOT NULL,
    month date NOT NULL,
    resource_id bigint NOT NULL,
    person_id bigint NOT NULL,
    user_name varchar(200) NOT NULL,
    product varchar(60) NOT NULL,
    ticks bigint NOT NULL,
    {DAYS},
    PRIMARY KEY (category_id, wallet_id, month, resource_id, person_id, user_name, product) INCLUDE (ticks)
);
CREATE INDEX usage_detail_month_resource ON usage_detail_month (resource_id, category_id, month) WHERE resource_id <> 0;
CREATE TABLE usage_category_month (
    category_id bigint NOT NULL,
    month date NOT NULL,
    ticks numeric NOT NULL,
    {DAYS.replace("bigint", "numeric")},
    PRIMARY KEY (category_id, month)
);
CREATE TABLE drawn_month (
    category_id bigint NOT NULL,
    allocation_id bigint NOT NULL,
    month date NOT NULL,
    ticks bigint NOT NULL,
    {DAYS},
    PRIMARY KEY (category_id, allocation_id, month) INCLUDE (ticks)
);
"""


class Migration(migrations.Migration):
    dependencies = [("metering", "0006_backfill"), ("accounting", "0004_posting_is_managed")]

    operations = [
        migrations.CreateModel(
            name="RollupMark",
            fields=[
                (
                    "category",
                    models.OneToOneField(
                        on_delete=django.db.models.deletion.PROTECT,
                        primary_key=True,
                        related_name="+",
                        serialize=False,
                        to="catalogue.productcategory",
                    ),
                ),
                ("report_recorded_at", models.DateTimeField(help_text="of the last report that is in the rollups")),
                ("report_id", models.BigIntegerField()),
                ("posting_recorded_at", models.DateTimeField()),
                ("posting_id", models.BigIntegerField()),
            ],
            options={"db_table": "rollup_mark"},
        ),
        migrations.CreateModel(
            name="QuotaHistory",
            fields=[
                (
                    "pk",
                    models.CompositePrimaryKey(
                        "category_id",
                        "allocation_id",
                        "posting_id",
                        blank=True,
                        editable=False,
                        primary_key=True,
                        serialize=False,
                    ),
                ),
                ("category_id", models.BigIntegerField()),
                ("allocation_id", models.BigIntegerField()),
                ("posting_id", models.BigIntegerField()),
                ("quota_ticks", models.BigIntegerField(help_text="by how much it changed")),
                ("start", models.DateTimeField(null=True)),
                ("end", models.DateTimeField(null=True)),
                ("effective_at", models.DateTimeField()),
            ],
            options={"db_table": "quota_history"},
        ),
        migrations.SeparateDatabaseAndState(
            database_operations=[
                migrations.RunSQL(
                    ROLLUPS, "DROP TABLE usage_month, usage_detail_month, usage_category_month, drawn_month;"
                )
            ],
            state_operations=[
                migrations.CreateModel(
                    name="UsageMonth",
                    fields=[
                        (
                            "pk",
                            models.CompositePrimaryKey(
                                "category_id",
                                "wallet_id",
                                "month",
                                blank=True,
                                editable=False,
                                primary_key=True,
                                serialize=False,
                            ),
                        ),
                        ("category_id", models.BigIntegerField()),
                        ("wallet_id", models.BigIntegerField()),
                        ("month", models.DateField(help_text="its first day, in UTC")),
                        ("ticks", models.BigIntegerField()),
                    ],
                    options={"db_table": "usage_month"},
                ),
                migrations.CreateModel(
                    name="UsageDetailMonth",
                    fields=[
                        (
                            "pk",
                            models.CompositePrimaryKey(
                                "category_id",
                                "wallet_id",
                                "month",
                                "resource_id",
                                "person_id",
                                "user",
                                "product",
                                blank=True,
                                editable=False,
                                primary_key=True,
                                serialize=False,
                            ),
                        ),
                        ("category_id", models.BigIntegerField()),
                        ("wallet_id", models.BigIntegerField()),
                        ("month", models.DateField()),
                        ("resource_id", models.BigIntegerField(help_text="0 = none was named")),
                        ("person_id", models.BigIntegerField(help_text="0 = nobody we know")),
                        ("user", models.CharField(db_column="user_name", max_length=200)),
                        ("product", models.CharField(help_text="its name; empty = none was named", max_length=60)),
                        ("ticks", models.BigIntegerField()),
                    ],
                    options={"db_table": "usage_detail_month"},
                ),
                migrations.CreateModel(
                    name="UsageCategoryMonth",
                    fields=[
                        (
                            "pk",
                            models.CompositePrimaryKey(
                                "category_id",
                                "month",
                                blank=True,
                                editable=False,
                                primary_key=True,
                                serialize=False,
                            ),
                        ),
                        ("category_id", models.BigIntegerField()),
                        ("month", models.DateField()),
                        ("ticks", models.DecimalField(decimal_places=0, max_digits=40)),
                    ],
                    options={"db_table": "usage_category_month"},
                ),
                migrations.CreateModel(
                    name="DrawnMonth",
                    fields=[
                        (
                            "pk",
                            models.CompositePrimaryKey(
                                "category_id",
                                "allocation_id",
                                "month",
                                blank=True,
                                editable=False,
                                primary_key=True,
                                serialize=False,
                            ),
                        ),
                        ("category_id", models.BigIntegerField()),
                        ("allocation_id", models.BigIntegerField()),
                        ("month", models.DateField()),
                        ("ticks", models.BigIntegerField()),
                    ],
                    options={"db_table": "drawn_month"},
                ),
            ],
        ),
    ]
