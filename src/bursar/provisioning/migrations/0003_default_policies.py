from django.db import migrations

OWNERS = ["organization_owner", "organization_manager"]
LEADERS = ["principal_investigator", "project_manager"]
SELLERS = ["provider_manager", "offering_manager", "organization_owner"]

# What holds where neither organization nor project nor offering says otherwise.
DEFAULTS = [
    {"side": "consumer", "position": 10, "condition": "personal", "outcome": "allow"},
    {
        "side": "consumer",
        "position": 20,
        "condition": "role",
        "roles": [*OWNERS, "platform_operator"],
        "outcome": "allow",
    },
    {
        "side": "consumer",
        "position": 30,
        "condition": "role",
        "roles": LEADERS,
        "kinds": ["terminate"],
        "outcome": "allow",
    },
    {"side": "consumer", "position": 40, "condition": "role", "roles": LEADERS, "outcome": "ask", "approvers": OWNERS},
    {"side": "consumer", "position": 50, "condition": "always", "outcome": "ask", "approvers": [*LEADERS, *OWNERS]},
    {"side": "provider", "position": 10, "condition": "always", "kinds": ["terminate"], "outcome": "allow"},
    {"side": "provider", "position": 20, "condition": "role", "roles": SELLERS, "outcome": "allow"},
    {"side": "provider", "position": 30, "condition": "always", "outcome": "ask", "approvers": SELLERS},
]


def seed(apps, schema_editor):
    policy = apps.get_model("provisioning", "ApprovalPolicy")
    policy.objects.bulk_create([policy(**line) for line in DEFAULTS])


class Migration(migrations.Migration):
    dependencies = [("provisioning", "0002_append_only")]

    operations = [migrations.RunPython(seed, migrations.RunPython.noop)]
