from django.db import migrations


class Migration(migrations.Migration):
    """The database itself refuses to change what was written: rights alone do not hold against a table's owner."""

    dependencies = [("events", "0001_initial")]

    operations = [
        migrations.RunSQL(
            """
            CREATE FUNCTION refuse_change() RETURNS trigger LANGUAGE plpgsql AS $$
            BEGIN
                RAISE EXCEPTION '% is append-only: % refused', TG_TABLE_NAME, TG_OP USING ERRCODE = 'restrict_violation';
            END $$;
            CREATE TRIGGER event_append_only BEFORE UPDATE OR DELETE ON event
                FOR EACH ROW EXECUTE FUNCTION refuse_change();
            CREATE TRIGGER event_not_truncated BEFORE TRUNCATE ON event
                FOR EACH STATEMENT EXECUTE FUNCTION refuse_change();
            """,
            """
            DROP TRIGGER event_not_truncated ON event;
            DROP TRIGGER event_append_only ON event;
            DROP FUNCTION refuse_change();
            """,
        )
    ]
