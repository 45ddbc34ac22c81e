"""What a whole category used by person and by resource in a year: of a nation a month alone has tens of thousands of rows."""

from typing import Any

from django.db import migrations, models, transaction

MONTHS = [f"m{month:02}" for month in range(1, 13)]
KEYS = {
    "usage_person_year": {"person_id": "bigint", "user_name": "varchar(200)"},
    "usage_resource_year": {"resource_id": "bigint"},
}


def _table(name: str) -> str:
    columns = "".join(f"{key} {kind} NOT NULL, " for key, kind in KEYS[name].items())
    return f"""
CREATE TABLE IF NOT EXISTS {name} (
    category_id bigint NOT NULL,
    year date NOT NULL,
    {columns}
    ticks numeric NOT NULL,
    {", ".join(f"{month} numeric NOT NULL DEFAULT 0" for month in MONTHS)},
    PRIMARY KEY (category_id, year, {", ".join(KEYS[name])}) INCLUDE (ticks)
);
"""


def fill(apps: Any, schema_editor: Any) -> None:
    """From what is gathered by month: a transaction for each category. Safe to repeat, as is all of this: it may be killed."""
    sums = ", ".join(
        f"coalesce(sum(ticks) FILTER (WHERE extract(month FROM month) = {number}), 0)" for number in range(1, 13)
    )
    with schema_editor.connection.cursor() as cursor:
        cursor.execute("SELECT category_id FROM rollup_mark ORDER BY category_id")
        for (category_id,) in cursor.fetchall():
            with transaction.atomic(using=schema_editor.connection.alias):
                # Whoever gathers waits: the new tables go up to the same mark as the others.
                cursor.execute("SELECT FROM rollup_mark WHERE category_id = %s FOR UPDATE", [category_id])
                for name, keys in KEYS.items():
                    key = ", ".join(keys)
                    cursor.execute(f"DELETE FROM {name} WHERE category_id = %s", [category_id])  # noqa: S608
                    cursor.execute(
                        f"INSERT INTO {name} (category_id, year, {key}, ticks, {', '.join(MONTHS)}) "  # noqa: S608
                        f"SELECT category_id, date_trunc('year', month)::date, {key}, sum(ticks), {sums} "
                        f"FROM {name.replace('year', 'month')} WHERE category_id = %s "
                        f"GROUP BY category_id, date_trunc('year', month), {key}",
                        [category_id],
                    )


def _model(name: str, table: str, keys: list[str], fields: list[tuple[str, Any]]) -> migrations.CreateModel:
    return migrations.CreateModel(
        name=name,
        fields=[
            (
                "pk",
                models.CompositePrimaryKey(
                    "category_id", "year", *keys, blank=True, editable=False, primary_key=True, serialize=False
                ),
            ),
            ("category_id", models.BigIntegerField()),
            *fields,
            ("ticks", models.DecimalField(decimal_places=0, max_digits=40)),
        ],
        options={"db_table": table},
    )


class Migration(migrations.Migration):
    atomic = False  # each category is filled in a transaction of its own

    dependencies = [("metering", "0010_category_months_everywhere")]

    operations = [
        migrations.SeparateDatabaseAndState(
            database_operations=[migrations.RunSQL(_table(name), f"DROP TABLE {name};") for name in KEYS],
            state_operations=[
                _model(
                    "UsagePersonYear", "usage_person_year", ["person_id", "user"],
                    [
                        ("year", models.DateField(help_text="its first day, in UTC")),
                        ("person_id", models.BigIntegerField(help_text="0 = nobody we know")),
                        ("user", models.CharField(db_column="user_name", max_length=200)),
                    ],
                ),
                _model(
                    "UsageResourceYear", "usage_resource_year", ["resource_id"],
                    [
                        ("year", models.DateField()),
                        ("resource_id", models.BigIntegerField(help_text="0 = none was named")),
                    ],
                ),
            ],
        ),
        migrations.RunPython(fill, migrations.RunPython.noop),
    ]  # fmt: skip
