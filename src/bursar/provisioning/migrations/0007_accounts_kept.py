from django.db import migrations


class Migration(migrations.Migration):
    """A name and a number at a backend belong to one person, or one project, for ever, whoever writes.

    Files at the provider belong to a number, and usage that is told late names a user: neither may come to mean somebody
    else, also not after the account has ended. Unique constraints keep two from bearing one; these keep one from changing.
    """

    dependencies = [("provisioning", "0006_accounts")]

    operations = [
        migrations.RunSQL("UPDATE local_account SET state_at = set_at", migrations.RunSQL.noop),
        migrations.RunSQL(
            """
            CREATE FUNCTION provisioning_refuse_change() RETURNS trigger LANGUAGE plpgsql AS $$
            BEGIN
                RAISE EXCEPTION '% % keeps its name, number and owner: % refused', TG_TABLE_NAME, OLD.id, TG_OP
                    USING ERRCODE = 'restrict_violation', CONSTRAINT = TG_NAME, TABLE = TG_TABLE_NAME;
            END $$;

            CREATE TRIGGER local_account_keeps_its_name BEFORE UPDATE ON local_account FOR EACH ROW
                WHEN (NEW.backend_id <> OLD.backend_id OR NEW.person_id <> OLD.person_id
                    OR (OLD.username <> '' AND NEW.username <> OLD.username)
                    OR (OLD.uid IS NOT NULL AND NEW.uid IS DISTINCT FROM OLD.uid))
                EXECUTE FUNCTION provisioning_refuse_change();
            CREATE TRIGGER local_account_stays BEFORE DELETE ON local_account FOR EACH ROW
                WHEN (OLD.username <> '' OR OLD.uid IS NOT NULL) EXECUTE FUNCTION provisioning_refuse_change();

            CREATE TRIGGER project_group_keeps_its_name BEFORE UPDATE ON project_group FOR EACH ROW
                WHEN (NEW.backend_id <> OLD.backend_id OR NEW.project_id <> OLD.project_id
                    OR NEW.name <> OLD.name OR NEW.gid <> OLD.gid)
                EXECUTE FUNCTION provisioning_refuse_change();
            CREATE TRIGGER project_group_stays BEFORE DELETE ON project_group
                FOR EACH ROW EXECUTE FUNCTION provisioning_refuse_change();
            """,
            """
            DROP TRIGGER project_group_stays ON project_group;
            DROP TRIGGER project_group_keeps_its_name ON project_group;
            DROP TRIGGER local_account_stays ON local_account;
            DROP TRIGGER local_account_keeps_its_name ON local_account;
            DROP FUNCTION provisioning_refuse_change();
            """,
        ),
    ]
