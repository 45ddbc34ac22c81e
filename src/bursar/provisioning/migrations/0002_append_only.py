from django.db import migrations

TABLES = ("resource_fact", "order_decision")


class Migration(migrations.Migration):
    """What a resource was, and who decided, cannot be rewritten: bills are computed from the one, blame from the other."""

    dependencies = [("provisioning", "0001_initial"), ("events", "0002_append_only")]

    operations = [
        migrations.RunSQL(
            f"""
            CREATE TRIGGER {table}_append_only BEFORE UPDATE OR DELETE ON {table}
                FOR EACH ROW EXECUTE FUNCTION refuse_change();
            CREATE TRIGGER {table}_not_truncated BEFORE TRUNCATE ON {table}
                FOR EACH STATEMENT EXECUTE FUNCTION refuse_change();
            """,
            f"""
            DROP TRIGGER {table}_not_truncated ON {table};
            DROP TRIGGER {table}_append_only ON {table};
            """,
        )
        for table in TABLES
    ]
