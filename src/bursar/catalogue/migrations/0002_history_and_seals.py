from django.db import migrations, models


class Migration(migrations.Migration):
    dependencies = [
        ("catalogue", "0001_initial"),
        ("structure", "0001_initial"),
    ]

    operations = [
        migrations.RemoveConstraint(
            model_name="plancomponent",
            name="plan_price_once_per_start",
        ),
        migrations.AddField(
            model_name="offering",
            name="activated_at",
            field=models.DateTimeField(
                editable=False,
                help_text="when it first stood on the shelf; triggers keep what it counts and where it runs from then on",
                null=True,
            ),
        ),
        migrations.AddField(
            model_name="productcategory",
            name="sealed_at",
            field=models.DateTimeField(
                editable=False,
                help_text="since when wallets or an offering on the shelf count in it; a trigger keeps the unit from then on",
                null=True,
            ),
        ),
        migrations.AlterField(
            model_name="offering",
            name="slug",
            field=models.SlugField(
                help_text="in addresses and at the backend", max_length=60, verbose_name="short name"
            ),
        ),
        migrations.AddIndex(
            model_name="offering",
            index=models.Index(fields=["state", "shelf"], name="offering_on_shelf"),
        ),
        migrations.AddIndex(
            model_name="plancomponent",
            index=models.Index(fields=["plan", "component", "-valid_from", "-id"], name="plan_price_in_force"),
        ),
        migrations.AddConstraint(
            model_name="backend",
            constraint=models.CheckConstraint(
                condition=models.Q(("health__in", ["unknown", "ok", "warning", "broken"])),
                name="backend_health_is_known",
            ),
        ),
        migrations.AddConstraint(
            model_name="component",
            constraint=models.CheckConstraint(
                condition=models.Q(
                    models.Q(("limit_default__isnull", True), ("limit_default__gte", 0), _connector="OR"),
                    models.Q(
                        ("limit_default__isnull", True),
                        ("limit_min__isnull", True),
                        ("limit_default__gte", models.F("limit_min")),
                        _connector="OR",
                    ),
                    models.Q(
                        ("limit_default__isnull", True),
                        ("limit_max__isnull", True),
                        ("limit_default__lte", models.F("limit_max")),
                        _connector="OR",
                    ),
                ),
                name="component_default_within_limits",
            ),
        ),
        migrations.AddConstraint(
            model_name="component",
            constraint=models.CheckConstraint(
                condition=models.Q(("limit_max__isnull", True), ("limit_max__gte", 0), _connector="OR"),
                name="component_limit_max_not_negative",
            ),
        ),
        migrations.AddConstraint(
            model_name="offering",
            constraint=models.CheckConstraint(
                condition=models.Q(
                    models.Q(("state", "active"), _negated=True),
                    models.Q(
                        ("activated_at__isnull", False),
                        ("backend__isnull", False),
                        ("shelf__isnull", False),
                        models.Q(("visibility", ""), _negated=True),
                        models.Q(("summary", ""), _negated=True),
                        models.Q(("description", ""), _negated=True),
                    ),
                    _connector="OR",
                ),
                name="active_offering_is_complete",
            ),
        ),
    ]
