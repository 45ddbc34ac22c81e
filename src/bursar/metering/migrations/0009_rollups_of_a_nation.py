"""What a whole category used by person, by resource and by product, so that a nation's is told without its thousands of wallets."""

from typing import Any

from django.db import migrations, models, transaction

from bursar.metering.migrations._category_months import IF_MISSING

# As the other rollups: a row is a month of days, and `ticks` lies in the key's index. The sum of thousands of wallets may be more
# than a bigint holds. By month first: a period is then a stretch of the index.
DAYS = ",\n    ".join(f"d{day:02} numeric NOT NULL DEFAULT 0" for day in range(1, 32))
KEYS = {
    "usage_person_month": {"person_id": "bigint", "user_name": "varchar(200)"},
    "usage_resource_month": {"resource_id": "bigint"},
    "usage_product_month": {"product": "varchar(60)"},
}


def _table(name: str) -> str:
    columns = "".join(f"{key} {kind} NOT NULL, " for key, kind in KEYS[name].items())
    return f"""
CREATE TABLE {name} (
    category_id bigint NOT NULL,
    month date NOT NULL,
    {columns}
    ticks numeric NOT NULL,
    {DAYS},
    PRIMARY KEY (category_id, month, {", ".join(KEYS[name])}) INCLUDE (ticks)
);
"""


def fill(apps: Any, schema_editor: Any) -> None:
    """From what is gathered by wallet: a transaction for each category, a statement for each month of it. Safe to repeat."""
    columns = ["ticks", *(f"d{day:02}" for day in range(1, 32))]
    sums = ", ".join(f"sum({column})" for column in columns)
    with schema_editor.connection.cursor() as cursor:
        cursor.execute("SELECT category_id FROM rollup_mark ORDER BY category_id")
        for (category_id,) in cursor.fetchall():
            with transaction.atomic(using=schema_editor.connection.alias):
                # Whoever gathers waits: the new tables go up to the same mark as the others.
                cursor.execute("SELECT FROM rollup_mark WHERE category_id = %s FOR UPDATE", [category_id])
                for name in KEYS:
                    cursor.execute(f"DELETE FROM {name} WHERE category_id = %s", [category_id])  # noqa: S608
                cursor.execute("SELECT month FROM usage_category_month WHERE category_id = %s", [category_id])
                for (month,) in cursor.fetchall():
                    for name, keys in KEYS.items():
                        key = ", ".join(keys)
                        cursor.execute(
                            f"INSERT INTO {name} (category_id, month, {key}, {', '.join(columns)}) "  # noqa: S608
                            f"SELECT category_id, month, {key}, {sums} FROM usage_detail_month "
                            f"WHERE category_id = %s AND month = %s GROUP BY category_id, month, {key}",
                            [category_id, month],
                        )


def _model(name: str, table: str, keys: list[str], fields: list[tuple[str, Any]]) -> migrations.CreateModel:
    return migrations.CreateModel(
        name=name,
        fields=[
            (
                "pk",
                models.CompositePrimaryKey(
                    "category_id", "month", *keys, blank=True, editable=False, primary_key=True, serialize=False
                ),
            ),
            ("category_id", models.BigIntegerField()),
            ("month", models.DateField()),
            *fields,
            ("ticks", models.DecimalField(decimal_places=0, max_digits=40)),
        ],
        options={"db_table": table},
    )


class Migration(migrations.Migration):
    atomic = False  # each category is filled in a transaction of its own

    dependencies = [("metering", "0008_ids_by_operation")]

    operations = [
        migrations.RunSQL(IF_MISSING, migrations.RunSQL.noop),  # its months are asked below
        migrations.SeparateDatabaseAndState(
            database_operations=[migrations.RunSQL(_table(name), f"DROP TABLE {name};") for name in KEYS],
            state_operations=[
                _model(
                    "UsagePersonMonth", "usage_person_month", ["person_id", "user"],
                    [
                        ("person_id", models.BigIntegerField(help_text="0 = nobody we know")),
                        ("user", models.CharField(db_column="user_name", max_length=200)),
                    ],
                ),
                _model(
                    "UsageResourceMonth", "usage_resource_month", ["resource_id"],
                    [("resource_id", models.BigIntegerField(help_text="0 = none was named"))],
                ),
                _model(
                    "UsageProductMonth", "usage_product_month", ["product"],
                    [("product", models.CharField(help_text="its name; empty = none was named", max_length=60))],
                ),
            ],
        ),
        migrations.RunPython(fill, migrations.RunPython.noop),
    ]  # fmt: skip
