from django.db import migrations

ADDED_TO = ("grant_decision", "grant_award", "grant_award_allocation", "grant_form_template", "grant_gift_claim")

FREEZE = """
CREATE FUNCTION refuse_unless_open(wanted bigint) RETURNS void LANGUAGE plpgsql AS $$
BEGIN
    -- Open: a draft, or the revision that is being written and of which the application does not speak yet.
    PERFORM FROM grant_revision r JOIN grant_application a ON a.id = r.application_id
        WHERE r.id = wanted AND (a.state = 'draft' OR r.number > a.revision);
    IF NOT FOUND THEN
        RAISE EXCEPTION 'revision % was submitted: it is never changed', wanted USING ERRCODE = 'restrict_violation';
    END IF;
END $$;
CREATE FUNCTION keep_revision() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    PERFORM refuse_unless_open(OLD.id);
    RETURN CASE TG_OP WHEN 'DELETE' THEN OLD ELSE NEW END;
END $$;
CREATE FUNCTION keep_what_was_asked() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    IF TG_OP <> 'INSERT' THEN
        PERFORM refuse_unless_open(OLD.revision_id);
    END IF;
    IF TG_OP = 'DELETE' THEN
        RETURN OLD;
    END IF;
    PERFORM refuse_unless_open(NEW.revision_id);
    RETURN NEW;
END $$;
CREATE TRIGGER revision_is_kept BEFORE UPDATE OR DELETE ON grant_revision
    FOR EACH ROW EXECUTE FUNCTION keep_revision();
CREATE TRIGGER amount_is_kept BEFORE INSERT OR UPDATE OR DELETE ON grant_amount
    FOR EACH ROW EXECUTE FUNCTION keep_what_was_asked();
CREATE TRIGGER answer_is_kept BEFORE INSERT OR UPDATE OR DELETE ON grant_answer
    FOR EACH ROW EXECUTE FUNCTION keep_what_was_asked();
"""
THAW = """
DROP TRIGGER answer_is_kept ON grant_answer;
DROP TRIGGER amount_is_kept ON grant_amount;
DROP TRIGGER revision_is_kept ON grant_revision;
DROP FUNCTION keep_what_was_asked();
DROP FUNCTION keep_revision();
DROP FUNCTION refuse_unless_open(bigint);
"""


class Migration(migrations.Migration):
    """Who decided, what was awarded and what a submitted revision said cannot be rewritten."""

    dependencies = [("grants", "0001_initial"), ("events", "0002_append_only")]

    operations = [
        *(
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
            for table in ADDED_TO
        ),
        migrations.RunSQL(FREEZE, THAW),
    ]
