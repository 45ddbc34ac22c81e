from django.db import migrations

# A report moves a wallet and the allocation that it draws through: one row tells of both. What is asked of an allocation is
# found through its wallet, what an operation wrote through its instant. Rows lie in the order of their recording, so a few
# bytes for each stretch of the table lead to an instant, where a tree of all rows cost as much as writing them.
LEANER = """
ALTER TABLE posting DROP CONSTRAINT posting_is_of_a_wallet_or_an_allocation;
ALTER TABLE posting ADD CONSTRAINT posting_tells_of_an_allocation_by_name CHECK (
    allocation_id IS NOT NULL
    OR drawn_ticks = 0 AND quota_ticks = 0 AND start IS NULL AND "end" IS NULL AND turned = '');
DROP INDEX posting_allocation;
DROP INDEX posting_operation;
ALTER TABLE posting DROP CONSTRAINT posting_pkey;
CREATE INDEX posting_recorded ON posting USING brin (recorded_at) WITH (pages_per_range = 32, autosummarize = on);
"""

# As a float an instant is exact for centuries to come, and had in a tenth of the time.
MICROS = """
CREATE FUNCTION micros_of(at timestamptz) RETURNS bigint LANGUAGE sql STABLE PARALLEL SAFE AS $$
    SELECT CASE WHEN at < '2200-01-01 00:00:00+00' THEN (date_part('epoch', at) * 1000000)::bigint
                ELSE (extract(epoch FROM at) * 1000000)::bigint END
$$;
"""


class Migration(migrations.Migration):
    dependencies = [("accounting", "0004_posting_is_managed")]

    operations = [migrations.RunSQL(LEANER), migrations.RunSQL(MICROS, "DROP FUNCTION micros_of(timestamptz);")]
