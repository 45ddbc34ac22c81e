from django.db import migrations


class Migration(migrations.Migration):
    """What counts once somebody may rely on it does not change, whoever writes.

    - a sealed category keeps its unit, ticks, charging, type, name and provider, and stays sealed;
    - an offering that ever stood on the shelf keeps provider, backend and short name, and is not deleted;
    - its components keep what they count, and its plans what they are billed by; neither is deleted;
    - prices are only added (those of a draft go with it).
    """

    dependencies = [("catalogue", "0002_history_and_seals")]

    operations = [
        migrations.RunSQL(
            """
            CREATE FUNCTION catalogue_refuse_change() RETURNS trigger LANGUAGE plpgsql AS $$
            BEGIN
                RAISE EXCEPTION '% % is kept as it is: % refused', TG_TABLE_NAME, OLD.id, TG_OP
                    USING ERRCODE = 'restrict_violation', CONSTRAINT = TG_NAME, TABLE = TG_TABLE_NAME;
            END $$;

            CREATE FUNCTION catalogue_refuse_if_activated() RETURNS trigger LANGUAGE plpgsql AS $$
            BEGIN
                IF EXISTS (SELECT 1 FROM offering WHERE id = OLD.offering_id AND activated_at IS NOT NULL) THEN
                    RAISE EXCEPTION '% % belongs to an offering that stood on the shelf: % refused',
                        TG_TABLE_NAME, OLD.id, TG_OP
                        USING ERRCODE = 'restrict_violation', CONSTRAINT = TG_NAME, TABLE = TG_TABLE_NAME;
                END IF;
                IF TG_OP = 'DELETE' THEN RETURN OLD; END IF;
                RETURN NEW;
            END $$;

            CREATE FUNCTION catalogue_price_is_added_only() RETURNS trigger LANGUAGE plpgsql AS $$
            BEGIN
                IF TG_OP = 'UPDATE' OR EXISTS (
                    SELECT 1 FROM plan JOIN offering ON offering.id = plan.offering_id
                    WHERE plan.id = OLD.plan_id AND offering.activated_at IS NOT NULL
                ) THEN
                    RAISE EXCEPTION 'price % is history: % refused', OLD.id, TG_OP
                        USING ERRCODE = 'restrict_violation', CONSTRAINT = TG_NAME, TABLE = TG_TABLE_NAME;
                END IF;
                RETURN OLD;
            END $$;

            CREATE TRIGGER category_unit_kept BEFORE UPDATE ON product_category FOR EACH ROW
                WHEN (OLD.sealed_at IS NOT NULL AND (
                    NEW.sealed_at IS NULL OR NEW.provider_id <> OLD.provider_id OR NEW.name <> OLD.name
                    OR NEW.product_type <> OLD.product_type OR NEW.charging <> OLD.charging
                    OR NEW.unit_name <> OLD.unit_name OR NEW.ticks_per_unit <> OLD.ticks_per_unit))
                EXECUTE FUNCTION catalogue_refuse_change();

            CREATE TRIGGER offering_base_kept BEFORE UPDATE ON offering FOR EACH ROW
                WHEN (OLD.activated_at IS NOT NULL AND (
                    NEW.activated_at IS DISTINCT FROM OLD.activated_at OR NEW.provider_id <> OLD.provider_id
                    OR NEW.backend_id IS DISTINCT FROM OLD.backend_id OR NEW.slug <> OLD.slug OR NEW.state = 'draft'))
                EXECUTE FUNCTION catalogue_refuse_change();
            CREATE TRIGGER offering_kept BEFORE DELETE ON offering FOR EACH ROW
                WHEN (OLD.activated_at IS NOT NULL) EXECUTE FUNCTION catalogue_refuse_change();

            CREATE TRIGGER component_count_kept BEFORE UPDATE ON component FOR EACH ROW
                WHEN (NEW.offering_id <> OLD.offering_id OR NEW.key <> OLD.key OR NEW.unit_name <> OLD.unit_name
                    OR NEW.billing <> OLD.billing OR NEW.limit_period <> OLD.limit_period
                    OR NEW.category_id IS DISTINCT FROM OLD.category_id OR NEW.ticks_per_unit <> OLD.ticks_per_unit
                    OR NEW.ticks_per_measured <> OLD.ticks_per_measured OR NEW.measured_unit <> OLD.measured_unit
                    OR NEW.free_while_paused <> OLD.free_while_paused)
                EXECUTE FUNCTION catalogue_refuse_if_activated();
            CREATE TRIGGER component_kept BEFORE DELETE ON component
                FOR EACH ROW EXECUTE FUNCTION catalogue_refuse_if_activated();

            CREATE TRIGGER plan_unit_kept BEFORE UPDATE ON plan FOR EACH ROW
                WHEN (NEW.offering_id <> OLD.offering_id OR NEW.unit <> OLD.unit)
                EXECUTE FUNCTION catalogue_refuse_if_activated();
            CREATE TRIGGER plan_kept BEFORE DELETE ON plan
                FOR EACH ROW EXECUTE FUNCTION catalogue_refuse_if_activated();

            CREATE TRIGGER price_added_only BEFORE UPDATE OR DELETE ON plan_component
                FOR EACH ROW EXECUTE FUNCTION catalogue_price_is_added_only();
            """,
            """
            DROP TRIGGER price_added_only ON plan_component;
            DROP TRIGGER plan_kept ON plan;
            DROP TRIGGER plan_unit_kept ON plan;
            DROP TRIGGER component_kept ON component;
            DROP TRIGGER component_count_kept ON component;
            DROP TRIGGER offering_kept ON offering;
            DROP TRIGGER offering_base_kept ON offering;
            DROP TRIGGER category_unit_kept ON product_category;
            DROP FUNCTION catalogue_price_is_added_only();
            DROP FUNCTION catalogue_refuse_if_activated();
            DROP FUNCTION catalogue_refuse_change();
            """,
        )
    ]
