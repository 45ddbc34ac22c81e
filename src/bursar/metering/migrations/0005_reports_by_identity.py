from django.db import migrations

# A report is found by its identity, which says when it was recorded, and rows lie in that order; what a wallet used is told
# by the journal and by the days' sums. No tree of names, instants or wallets has to grow with each report: a few bytes for
# each stretch of the table say from when to when it reaches.
LEANER = """
DROP INDEX usage_report_name;
DROP INDEX usage_report_wallet;
ALTER TABLE usage_report DROP CONSTRAINT usage_report_pkey;
CREATE INDEX usage_report_recorded ON usage_report USING brin (recorded_at, used_at)
    WITH (pages_per_range = 32, autosummarize = on);
"""


class Migration(migrations.Migration):
    dependencies = [("metering", "0004_report_is_managed")]

    operations = [migrations.RunSQL(LEANER)]
