from django.db import migrations

REPORTS = """
CREATE TRIGGER report_identity_append_only BEFORE UPDATE OR DELETE ON report_identity
    FOR EACH ROW EXECUTE FUNCTION refuse_change();
CREATE TRIGGER not_truncated BEFORE TRUNCATE ON report_identity
    FOR EACH STATEMENT EXECUTE FUNCTION refuse_change();

CREATE SEQUENCE usage_report_id_seq AS bigint;
CREATE TABLE usage_report (
    id bigint NOT NULL DEFAULT nextval('usage_report_id_seq'),
    category_id bigint NOT NULL,
    report_id varchar(200) NOT NULL,
    operation_id bigint NOT NULL,
    wallet_id bigint NOT NULL,
    resource_id bigint,
    person_id bigint,
    is_absolute boolean NOT NULL,
    scope varchar(200) NOT NULL DEFAULT '',
    corrects varchar(200) NOT NULL DEFAULT '',
    amount_ticks bigint NOT NULL,
    posted_ticks bigint NOT NULL,
    period_start timestamptz NOT NULL,
    period_end timestamptz NOT NULL,
    used_at timestamptz NOT NULL,
    user_name varchar(200) NOT NULL DEFAULT '',
    job varchar(200) NOT NULL DEFAULT '',
    labels jsonb NOT NULL DEFAULT '{}',
    recorded_at timestamptz NOT NULL,
    PRIMARY KEY (category_id, recorded_at, id),
    CONSTRAINT usage_report_ends_after_start CHECK (period_end > period_start),
    CONSTRAINT usage_report_level_not_negative CHECK (NOT is_absolute OR amount_ticks >= 0)
) PARTITION BY RANGE (recorded_at);
ALTER SEQUENCE usage_report_id_seq OWNED BY usage_report.id;
CREATE TABLE usage_report_default PARTITION OF usage_report DEFAULT;
CREATE INDEX usage_report_name ON usage_report (category_id, report_id);
CREATE INDEX usage_report_correction ON usage_report (category_id, corrects) WHERE corrects <> '';
CREATE INDEX usage_report_wallet ON usage_report (category_id, wallet_id, used_at);
CREATE INDEX usage_report_resource ON usage_report (resource_id, used_at) WHERE resource_id IS NOT NULL;
CREATE TRIGGER usage_report_append_only BEFORE UPDATE OR DELETE ON usage_report
    FOR EACH ROW EXECUTE FUNCTION refuse_change();
CREATE TRIGGER not_truncated BEFORE TRUNCATE ON usage_report
    FOR EACH STATEMENT EXECUTE FUNCTION refuse_change();
CREATE TRIGGER not_truncated BEFORE TRUNCATE ON usage_report_default
    FOR EACH STATEMENT EXECUTE FUNCTION refuse_change();
SELECT add_month_parts('usage_report', now()::date, (now() + interval '3 months')::date);
"""


class Migration(migrations.Migration):
    dependencies = [("metering", "0001_initial"), ("accounting", "0002_journal")]

    operations = [migrations.RunSQL(REPORTS, "DROP TABLE usage_report;")]
