from django.db import migrations

# Parts by month of recording, made ahead by a job; what falls into no month lands in the default part. Each part has a
# trigger of its own against TRUNCATE, since a part can be truncated without its parent. No extension is needed.
PARTS = """
CREATE FUNCTION add_month_parts(parent text, first date, last date) RETURNS integer LANGUAGE plpgsql AS $$
DECLARE
    month date := date_trunc('month', first);
    part text;
    since text;
    until text;
    taken boolean;
    made integer := 0;
BEGIN
    WHILE month <= last LOOP
        part := parent || to_char(month, '_YYYY_MM');
        since := to_char(month, 'YYYY-MM-DD') || ' 00:00:00+00';
        until := to_char(month + interval '1 month', 'YYYY-MM-DD') || ' 00:00:00+00';
        IF to_regclass(part) IS NULL THEN
            EXECUTE format('SELECT EXISTS (SELECT FROM %I WHERE recorded_at >= %L AND recorded_at < %L)',
                           parent || '_default', since, until) INTO taken;
            IF NOT taken THEN
                EXECUTE format('CREATE TABLE %I PARTITION OF %I FOR VALUES FROM (%L) TO (%L)', part, parent, since, until);
                EXECUTE format('CREATE TRIGGER not_truncated BEFORE TRUNCATE ON %I
                                FOR EACH STATEMENT EXECUTE FUNCTION refuse_change()', part);
                made := made + 1;
            END IF;
        END IF;
        month := month + interval '1 month';
    END LOOP;
    RETURN made;
END $$;
"""

JOURNAL = """
CREATE TRIGGER ledger_operation_append_only BEFORE UPDATE OR DELETE ON ledger_operation
    FOR EACH ROW EXECUTE FUNCTION refuse_change();
CREATE TRIGGER not_truncated BEFORE TRUNCATE ON ledger_operation
    FOR EACH STATEMENT EXECUTE FUNCTION refuse_change();

CREATE SEQUENCE posting_id_seq AS bigint;
CREATE TABLE posting (
    id bigint NOT NULL DEFAULT nextval('posting_id_seq'),
    category_id bigint NOT NULL,
    operation_id bigint NOT NULL,
    kind varchar(12) NOT NULL,
    wallet_id bigint NOT NULL,
    allocation_id bigint,
    used_ticks bigint NOT NULL DEFAULT 0,
    uncovered_ticks bigint NOT NULL DEFAULT 0,
    written_off_ticks bigint NOT NULL DEFAULT 0,
    drawn_ticks bigint NOT NULL DEFAULT 0,
    quota_ticks bigint NOT NULL DEFAULT 0,
    start timestamptz,
    "end" timestamptz,
    turned varchar(6) NOT NULL DEFAULT '' CHECK (turned IN ('', 'opened', 'closed')),
    effective_at timestamptz NOT NULL,
    recorded_at timestamptz NOT NULL,
    PRIMARY KEY (category_id, recorded_at, id),
    CONSTRAINT posting_is_of_a_wallet_or_an_allocation CHECK (
        allocation_id IS NULL AND drawn_ticks = 0 AND quota_ticks = 0 AND start IS NULL AND "end" IS NULL AND turned = ''
        OR allocation_id IS NOT NULL AND used_ticks = 0 AND uncovered_ticks = 0 AND written_off_ticks = 0)
) PARTITION BY RANGE (recorded_at);
ALTER SEQUENCE posting_id_seq OWNED BY posting.id;
CREATE TABLE posting_default PARTITION OF posting DEFAULT;
CREATE INDEX posting_wallet ON posting (category_id, wallet_id, effective_at);
CREATE INDEX posting_allocation ON posting (category_id, allocation_id, effective_at) WHERE allocation_id IS NOT NULL;
CREATE INDEX posting_operation ON posting (category_id, operation_id);
CREATE TRIGGER posting_append_only BEFORE UPDATE OR DELETE ON posting
    FOR EACH ROW EXECUTE FUNCTION refuse_change();
CREATE TRIGGER not_truncated BEFORE TRUNCATE ON posting
    FOR EACH STATEMENT EXECUTE FUNCTION refuse_change();
CREATE TRIGGER not_truncated BEFORE TRUNCATE ON posting_default
    FOR EACH STATEMENT EXECUTE FUNCTION refuse_change();
SELECT add_month_parts('posting', now()::date, (now() + interval '3 months')::date);
"""


class Migration(migrations.Migration):
    dependencies = [("accounting", "0001_initial"), ("events", "0002_append_only")]

    operations = [
        migrations.RunSQL(PARTS, "DROP FUNCTION add_month_parts(text, date, date);"),
        migrations.RunSQL(
            JOURNAL,
            """
            DROP TABLE posting;
            DROP TRIGGER not_truncated ON ledger_operation;
            DROP TRIGGER ledger_operation_append_only ON ledger_operation;
            """,
        ),
    ]
