"""What was billed stays: the database itself refuses to change it, for rights alone do not hold against a table's owner."""

from django.db import migrations

APPEND_ONLY = ("tax_rate", "payment", "credit_note", "credit_note_line")
# What may still change in a row, and from when on nothing else does.
KEPT = {
    "invoice": ("OLD.state <> 'open'", ("state", "paid", "credited", "overdue_told_at")),
    "credit": ("true", ("used", "withdrawn_at")),
    "compensation": ("true", ("invoice_id", "withdrawn_at")),
}
LINES = ("invoice_line", "invoice_tax")
NOT_TRUNCATED = (*APPEND_ONLY, *LINES, "invoice", "credit", "compensation")

FUNCTIONS = """
CREATE FUNCTION refuse_change_but_of() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    IF to_jsonb(OLD) - TG_ARGV IS DISTINCT FROM to_jsonb(NEW) - TG_ARGV THEN
        RAISE EXCEPTION '% is kept: only % may change', TG_TABLE_NAME, array_to_string(TG_ARGV, ', ')
            USING ERRCODE = 'restrict_violation';
    END IF;
    RETURN NEW;
END $$;

CREATE FUNCTION refuse_return_to_open() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    RAISE EXCEPTION 'an issued invoice is never open again' USING ERRCODE = 'restrict_violation';
END $$;

-- Locks the invoices, so that none is issued while its lines are written by somebody else.
CREATE FUNCTION refuse_lines_of_issued() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    PERFORM FROM invoice WHERE id IN (SELECT invoice_id FROM touched) ORDER BY id FOR SHARE;
    IF EXISTS (SELECT FROM invoice WHERE id IN (SELECT invoice_id FROM touched) AND state <> 'open') THEN
        RAISE EXCEPTION '% of an issued invoice: % refused', TG_TABLE_NAME, TG_OP USING ERRCODE = 'restrict_violation';
    END IF;
    RETURN NULL;
END $$;

CREATE FUNCTION refuse_other_money_of_seller() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    IF EXISTS (
        SELECT FROM invoice i JOIN service_provider p ON p.id = i.provider_id WHERE p.organization_id = OLD.id
    ) THEN
        RAISE EXCEPTION 'organization % has invoices in its currency and time zone', OLD.id
            USING ERRCODE = 'restrict_violation', CONSTRAINT = 'organization_has_invoices';
    END IF;
    RETURN NEW;
END $$;

CREATE TRIGGER organization_money_kept BEFORE UPDATE OF currency, time_zone ON organization FOR EACH ROW
    WHEN (OLD.currency IS DISTINCT FROM NEW.currency OR OLD.time_zone IS DISTINCT FROM NEW.time_zone)
    EXECUTE FUNCTION refuse_other_money_of_seller();
CREATE TRIGGER invoice_stays_issued BEFORE UPDATE ON invoice FOR EACH ROW
    WHEN (OLD.state <> 'open' AND NEW.state = 'open') EXECUTE FUNCTION refuse_return_to_open();
CREATE TRIGGER invoice_kept BEFORE DELETE ON invoice FOR EACH ROW
    WHEN (OLD.state <> 'open') EXECUTE FUNCTION refuse_change();
CREATE TRIGGER billing_cut_kept BEFORE UPDATE ON billing_cut FOR EACH ROW EXECUTE FUNCTION refuse_change();
CREATE TRIGGER credit_kept BEFORE DELETE ON credit FOR EACH ROW EXECUTE FUNCTION refuse_change();
CREATE TRIGGER compensation_kept BEFORE DELETE ON compensation FOR EACH ROW EXECUTE FUNCTION refuse_change();
CREATE TRIGGER compensation_billed_kept BEFORE UPDATE ON compensation FOR EACH ROW
    WHEN (OLD.invoice_id IS NOT NULL) EXECUTE FUNCTION refuse_change();
"""
NO_FUNCTIONS = """
DROP TRIGGER organization_money_kept ON organization;
DROP TRIGGER invoice_stays_issued ON invoice;
DROP TRIGGER invoice_kept ON invoice;
DROP TRIGGER billing_cut_kept ON billing_cut;
DROP TRIGGER credit_kept ON credit;
DROP TRIGGER compensation_kept ON compensation;
DROP TRIGGER compensation_billed_kept ON compensation;
DROP FUNCTION refuse_change_but_of();
DROP FUNCTION refuse_return_to_open();
DROP FUNCTION refuse_lines_of_issued();
DROP FUNCTION refuse_other_money_of_seller();
"""


def _triggers(name: str, body: str, table: str) -> migrations.RunSQL:
    return migrations.RunSQL(f"CREATE TRIGGER {name} {body}", f"DROP TRIGGER {name} ON {table}")


class Migration(migrations.Migration):
    dependencies = [("billing", "0002_closed_months_and_origins"), ("events", "0002_append_only")]

    operations = [
        migrations.RunSQL(FUNCTIONS, NO_FUNCTIONS),
        *(
            _triggers(
                f"{table}_append_only",
                f"BEFORE UPDATE OR DELETE ON {table} FOR EACH ROW EXECUTE FUNCTION refuse_change()",
                table,
            )
            for table in APPEND_ONLY
        ),
        *(
            _triggers(
                f"{table}_changes_little",
                f"BEFORE UPDATE ON {table} FOR EACH ROW WHEN ({when})"
                f" EXECUTE FUNCTION refuse_change_but_of({', '.join(map(repr, columns))})",
                table,
            )
            for table, (when, columns) in KEPT.items()
        ),
        *(
            _triggers(
                f"{table}_of_issued_{operation.lower()}",
                f"AFTER {operation} ON {table} REFERENCING {rows} TABLE AS touched"
                " FOR EACH STATEMENT EXECUTE FUNCTION refuse_lines_of_issued()",
                table,
            )
            for table in LINES
            for operation, rows in (("INSERT", "NEW"), ("UPDATE", "OLD"), ("DELETE", "OLD"))
        ),
        *(
            _triggers(
                f"{table}_not_truncated",
                f"BEFORE TRUNCATE ON {table} FOR EACH STATEMENT EXECUTE FUNCTION refuse_change()",
                table,
            )
            for table in NOT_TRUNCATED
        ),
    ]
