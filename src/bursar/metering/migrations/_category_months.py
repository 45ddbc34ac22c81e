"""What a whole category used, for databases whose rollups were made before it was gathered."""

from typing import Final

DAYS: Final = [f"d{day:02}" for day in range(1, 32)]

IF_MISSING: Final = f"""
DO $$
BEGIN
    IF to_regclass('usage_category_month') IS NULL THEN
        CREATE TABLE usage_category_month (
            category_id bigint NOT NULL,
            month date NOT NULL,
            ticks numeric NOT NULL,
            {", ".join(f"{day} numeric NOT NULL DEFAULT 0" for day in DAYS)},
            PRIMARY KEY (category_id, month)
        );
        -- Whoever gathers waits, so that it goes up to the same mark as the others.
        LOCK TABLE rollup_mark IN EXCLUSIVE MODE;
        INSERT INTO usage_category_month (category_id, month, ticks, {", ".join(DAYS)})
            SELECT category_id, month, sum(ticks), {", ".join(f"sum({day})" for day in DAYS)}
            FROM usage_month GROUP BY category_id, month;
    END IF;
END $$;
"""  # noqa: S608
