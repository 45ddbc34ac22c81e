import django.contrib.postgres.fields
import django.db.models.deletion
import django.db.models.functions.datetime
from django.conf import settings
from django.db import migrations, models


class Migration(migrations.Migration):
    initial = True

    dependencies = [
        ("catalogue", "0001_initial"),
        ("events", "0002_append_only"),
        ("structure", "0001_initial"),
    ]

    operations = [
        migrations.CreateModel(
            name="EventMark",
            fields=[
                ("reader", models.CharField(max_length=40, primary_key=True, serialize=False)),
                ("event_id", models.BigIntegerField(default=0)),
            ],
            options={
                "db_table": "provisioning_event_mark",
            },
        ),
        migrations.CreateModel(
            name="Order",
            fields=[
                ("id", models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name="ID")),
                (
                    "kind",
                    models.CharField(
                        choices=[("create", "new"), ("change", "change"), ("terminate", "termination")], max_length=10
                    ),
                ),
                ("name", models.CharField(max_length=150, verbose_name="name of the resource")),
                ("limits", models.JSONField(default=dict, help_text="component key -> whole units")),
                ("form", models.JSONField(default=dict)),
                ("before", models.JSONField(default=dict, help_text="plan id and limits before a change")),
                (
                    "start",
                    models.DateTimeField(
                        blank=True, help_text="not before; empty = at once", null=True, verbose_name="start"
                    ),
                ),
                ("end", models.DateTimeField(blank=True, null=True, verbose_name="end of the resource")),
                ("comment", models.TextField(blank=True, max_length=5000, verbose_name="comment")),
                ("estimate_month", models.DecimalField(decimal_places=4, default=0, max_digits=24)),
                ("estimate_once", models.DecimalField(decimal_places=4, default=0, max_digits=24)),
                ("currency", models.CharField(max_length=3)),
                (
                    "estimate_ticks",
                    models.JSONField(default=dict, help_text="product category id -> ticks it may draw"),
                ),
                (
                    "state",
                    models.CharField(
                        choices=[
                            ("pending_consumer", "awaits your side"),
                            ("pending_provider", "awaits the provider"),
                            ("pending_start", "awaits its start"),
                            ("executing", "being carried out"),
                            ("done", "done"),
                            ("failed", "failed"),
                            ("rejected", "rejected"),
                            ("canceled", "canceled"),
                        ],
                        default="pending_consumer",
                        max_length=16,
                    ),
                ),
                ("error", models.CharField(blank=True, max_length=2000)),
                (
                    "generation",
                    models.PositiveIntegerField(help_text="the resource's wish that this order made", null=True),
                ),
                ("idempotency_key", models.CharField(blank=True, max_length=80)),
                ("created_at", models.DateTimeField()),
                ("executed_at", models.DateTimeField(help_text="when the backend was first asked", null=True)),
                ("closed_at", models.DateTimeField(null=True)),
                (
                    "assignee",
                    models.ForeignKey(
                        blank=True,
                        null=True,
                        on_delete=django.db.models.deletion.PROTECT,
                        related_name="+",
                        to=settings.AUTH_USER_MODEL,
                        verbose_name="handled by",
                    ),
                ),
                (
                    "created_by",
                    models.ForeignKey(
                        null=True,
                        on_delete=django.db.models.deletion.PROTECT,
                        related_name="orders",
                        to=settings.AUTH_USER_MODEL,
                    ),
                ),
                (
                    "offering",
                    models.ForeignKey(
                        on_delete=django.db.models.deletion.PROTECT, related_name="orders", to="catalogue.offering"
                    ),
                ),
                (
                    "plan",
                    models.ForeignKey(
                        on_delete=django.db.models.deletion.PROTECT, related_name="+", to="catalogue.plan"
                    ),
                ),
                (
                    "workspace",
                    models.ForeignKey(
                        on_delete=django.db.models.deletion.PROTECT, related_name="orders", to="structure.workspace"
                    ),
                ),
            ],
            options={
                "verbose_name": "order",
                "db_table": "purchase_order",
                "ordering": ["-created_at", "-id"],
            },
        ),
        migrations.CreateModel(
            name="OrderComment",
            fields=[
                ("id", models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name="ID")),
                ("at", models.DateTimeField()),
                ("text", models.TextField(max_length=5000)),
                (
                    "by",
                    models.ForeignKey(
                        on_delete=django.db.models.deletion.PROTECT, related_name="+", to=settings.AUTH_USER_MODEL
                    ),
                ),
                (
                    "order",
                    models.ForeignKey(
                        on_delete=django.db.models.deletion.PROTECT, related_name="comments", to="provisioning.order"
                    ),
                ),
            ],
            options={
                "db_table": "order_comment",
                "ordering": ["id"],
            },
        ),
        migrations.CreateModel(
            name="OrderDecision",
            fields=[
                ("id", models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name="ID")),
                (
                    "side",
                    models.CharField(choices=[("consumer", "your side"), ("provider", "the provider")], max_length=8),
                ),
                (
                    "decision",
                    models.CharField(
                        choices=[
                            ("approved", "approved"),
                            ("not_asked", "nobody had to be asked"),
                            ("rejected", "rejected"),
                            ("canceled", "canceled"),
                            ("retried", "tried again"),
                            ("refused", "said that it cannot be done"),
                            ("confirmed", "said that it was done"),
                        ],
                        max_length=10,
                    ),
                ),
                ("at", models.DateTimeField()),
                (
                    "recorded_at",
                    models.DateTimeField(db_default=django.db.models.functions.datetime.Now(), editable=False),
                ),
                ("reason", models.CharField(blank=True, max_length=2000)),
                (
                    "by",
                    models.ForeignKey(
                        null=True,
                        on_delete=django.db.models.deletion.PROTECT,
                        related_name="+",
                        to=settings.AUTH_USER_MODEL,
                    ),
                ),
                (
                    "order",
                    models.ForeignKey(
                        on_delete=django.db.models.deletion.PROTECT, related_name="decisions", to="provisioning.order"
                    ),
                ),
            ],
            options={
                "db_table": "order_decision",
                "ordering": ["id"],
            },
        ),
        migrations.CreateModel(
            name="Resource",
            fields=[
                ("id", models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name="ID")),
                ("name", models.CharField(max_length=150, verbose_name="name")),
                ("slug", models.SlugField(max_length=80, null=True, unique=True, verbose_name="short name")),
                ("form", models.JSONField(default=dict)),
                ("end", models.DateTimeField(blank=True, null=True, verbose_name="end")),
                (
                    "state",
                    models.CharField(
                        choices=[
                            ("creating", "being created"),
                            ("ok", "ready"),
                            ("changing", "being changed"),
                            ("paused", "paused"),
                            ("terminating", "being terminated"),
                            ("terminated", "terminated"),
                            ("failed", "failed"),
                        ],
                        default="creating",
                        max_length=12,
                    ),
                ),
                ("limits", models.JSONField(default=dict, help_text="component key -> whole units, in force")),
                ("desired_limits", models.JSONField(default=dict)),
                ("desired_paused", models.BooleanField(default=False)),
                ("desired_gone", models.BooleanField(default=False)),
                ("generation", models.PositiveIntegerField(default=1)),
                ("observed_generation", models.PositiveIntegerField(default=0)),
                ("observed_paused", models.BooleanField(default=False)),
                ("observed_at", models.DateTimeField(null=True)),
                (
                    "removed_at",
                    models.DateTimeField(
                        help_text="the backend holds it no longer; its last usage may be out", null=True
                    ),
                ),
                ("backend_id", models.CharField(blank=True, max_length=255)),
                ("plugin_state", models.JSONField(default=dict, help_text="the plugin's own notes")),
                ("access", models.JSONField(default=dict, help_text="label -> value")),
                ("message", models.CharField(blank=True, help_text="what the backend last said", max_length=1000)),
                (
                    "awaited_work",
                    models.CharField(blank=True, help_text="what a person at the provider has to do", max_length=1000),
                ),
                ("unreachable_since", models.DateTimeField(null=True)),
                (
                    "attempts",
                    models.PositiveIntegerField(default=0, help_text="times asked for this wish without success"),
                ),
                ("quota", models.JSONField(help_text="what the backend was last told may still be drawn", null=True)),
                ("quota_at", models.DateTimeField(null=True)),
                ("members", models.JSONField(help_text="usernames the backend was last told", null=True)),
                ("members_at", models.DateTimeField(null=True)),
                ("created_at", models.DateTimeField()),
                ("first_ok_at", models.DateTimeField(null=True)),
                ("terminated_at", models.DateTimeField(null=True)),
                (
                    "created_by",
                    models.ForeignKey(
                        null=True,
                        on_delete=django.db.models.deletion.PROTECT,
                        related_name="+",
                        to=settings.AUTH_USER_MODEL,
                    ),
                ),
                (
                    "desired_plan",
                    models.ForeignKey(
                        on_delete=django.db.models.deletion.PROTECT, related_name="+", to="catalogue.plan"
                    ),
                ),
                (
                    "offering",
                    models.ForeignKey(
                        on_delete=django.db.models.deletion.PROTECT, related_name="resources", to="catalogue.offering"
                    ),
                ),
                (
                    "plan",
                    models.ForeignKey(
                        on_delete=django.db.models.deletion.PROTECT, related_name="resources", to="catalogue.plan"
                    ),
                ),
                (
                    "workspace",
                    models.ForeignKey(
                        on_delete=django.db.models.deletion.PROTECT, related_name="resources", to="structure.workspace"
                    ),
                ),
            ],
            options={
                "verbose_name": "resource",
                "db_table": "resource",
                "ordering": ["name", "id"],
            },
        ),
        migrations.AddField(
            model_name="order",
            name="resource",
            field=models.ForeignKey(
                blank=True,
                null=True,
                on_delete=django.db.models.deletion.PROTECT,
                related_name="orders",
                to="provisioning.resource",
            ),
        ),
        migrations.CreateModel(
            name="ResourceFact",
            fields=[
                ("id", models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name="ID")),
                (
                    "what",
                    models.CharField(choices=[("state", "state"), ("plan", "plan"), ("limit", "limit")], max_length=5),
                ),
                ("state", models.CharField(blank=True, max_length=12)),
                ("limit", models.BigIntegerField(null=True)),
                ("effective_at", models.DateTimeField()),
                (
                    "recorded_at",
                    models.DateTimeField(db_default=django.db.models.functions.datetime.Now(), editable=False),
                ),
                (
                    "by",
                    models.ForeignKey(
                        null=True,
                        on_delete=django.db.models.deletion.PROTECT,
                        related_name="+",
                        to=settings.AUTH_USER_MODEL,
                    ),
                ),
                (
                    "component",
                    models.ForeignKey(
                        null=True,
                        on_delete=django.db.models.deletion.PROTECT,
                        related_name="+",
                        to="catalogue.component",
                    ),
                ),
                (
                    "order",
                    models.ForeignKey(
                        null=True,
                        on_delete=django.db.models.deletion.PROTECT,
                        related_name="+",
                        to="provisioning.order",
                    ),
                ),
                (
                    "plan",
                    models.ForeignKey(
                        null=True, on_delete=django.db.models.deletion.PROTECT, related_name="+", to="catalogue.plan"
                    ),
                ),
                (
                    "resource",
                    models.ForeignKey(
                        on_delete=django.db.models.deletion.PROTECT, related_name="facts", to="provisioning.resource"
                    ),
                ),
            ],
            options={
                "db_table": "resource_fact",
                "ordering": ["effective_at", "id"],
            },
        ),
        migrations.CreateModel(
            name="UsageMark",
            fields=[
                ("id", models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name="ID")),
                ("mark", models.TextField(blank=True)),
                ("read_at", models.DateTimeField(help_text="when the backend was last read", null=True)),
                ("failing_since", models.DateTimeField(null=True)),
                ("error", models.CharField(blank=True, max_length=1000)),
                (
                    "backend",
                    models.ForeignKey(
                        on_delete=django.db.models.deletion.PROTECT, related_name="usage_marks", to="catalogue.backend"
                    ),
                ),
                (
                    "offering",
                    models.ForeignKey(
                        on_delete=django.db.models.deletion.PROTECT, related_name="usage_marks", to="catalogue.offering"
                    ),
                ),
            ],
            options={
                "db_table": "usage_mark",
            },
        ),
        migrations.CreateModel(
            name="ApprovalPolicy",
            fields=[
                ("id", models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name="ID")),
                (
                    "side",
                    models.CharField(
                        choices=[("consumer", "your side"), ("provider", "the provider")],
                        max_length=8,
                        verbose_name="side",
                    ),
                ),
                ("position", models.PositiveIntegerField(verbose_name="position")),
                (
                    "kinds",
                    django.contrib.postgres.fields.ArrayField(
                        base_field=models.CharField(
                            choices=[("create", "new"), ("change", "change"), ("terminate", "termination")],
                            max_length=10,
                        ),
                        blank=True,
                        default=list,
                        help_text="none = all kinds",
                        size=None,
                    ),
                ),
                (
                    "condition",
                    models.CharField(
                        choices=[
                            ("always", "always"),
                            ("role", "the orderer has a role"),
                            ("personal", "it is the orderer's personal workspace"),
                            ("free", "the plan is free"),
                            ("cost", "it costs at most so much per month"),
                            ("wallet", "the wallet covers the estimate"),
                            ("organizations", "it is for named organizations"),
                        ],
                        max_length=13,
                        verbose_name="when",
                    ),
                ),
                (
                    "roles",
                    django.contrib.postgres.fields.ArrayField(
                        base_field=models.CharField(max_length=40), blank=True, default=list, size=None
                    ),
                ),
                (
                    "amount",
                    models.DecimalField(blank=True, decimal_places=4, max_digits=24, null=True, verbose_name="at most"),
                ),
                ("currency", models.CharField(blank=True, max_length=3, verbose_name="currency")),
                (
                    "outcome",
                    models.CharField(
                        choices=[("allow", "nobody is asked"), ("ask", "somebody is asked")],
                        max_length=5,
                        verbose_name="then",
                    ),
                ),
                (
                    "approvers",
                    django.contrib.postgres.fields.ArrayField(
                        base_field=models.CharField(max_length=40),
                        blank=True,
                        default=list,
                        help_text="roles that are asked",
                        size=None,
                    ),
                ),
                ("enabled", models.BooleanField(default=True, verbose_name="in force")),
                (
                    "offering",
                    models.ForeignKey(
                        blank=True,
                        null=True,
                        on_delete=django.db.models.deletion.CASCADE,
                        related_name="approval_policies",
                        to="catalogue.offering",
                    ),
                ),
                (
                    "organization",
                    models.ForeignKey(
                        blank=True,
                        null=True,
                        on_delete=django.db.models.deletion.CASCADE,
                        related_name="approval_policies",
                        to="structure.organization",
                    ),
                ),
                (
                    "organizations",
                    models.ManyToManyField(
                        blank=True,
                        db_table="approval_policy_organization",
                        related_name="+",
                        to="structure.organization",
                    ),
                ),
                (
                    "project",
                    models.ForeignKey(
                        blank=True,
                        null=True,
                        on_delete=django.db.models.deletion.CASCADE,
                        related_name="approval_policies",
                        to="structure.project",
                    ),
                ),
            ],
            options={
                "verbose_name": "approval policy",
                "db_table": "approval_policy",
                "ordering": ["position", "id"],
                "constraints": [
                    models.CheckConstraint(
                        condition=models.Q(
                            models.Q(("organization__isnull", True), ("project__isnull", True)),
                            models.Q(("offering__isnull", True), ("organization__isnull", True)),
                            models.Q(("offering__isnull", True), ("project__isnull", True)),
                            _connector="OR",
                        ),
                        name="policy_has_one_scope",
                    ),
                    models.CheckConstraint(
                        condition=models.Q(
                            models.Q(("offering__isnull", True), ("side", "consumer")),
                            models.Q(("project__isnull", True), ("side", "provider")),
                            _connector="OR",
                        ),
                        name="policy_scope_fits_side",
                    ),
                    models.CheckConstraint(
                        condition=models.Q(
                            models.Q(("condition", "cost"), _negated=True),
                            models.Q(("amount__isnull", False), models.Q(("currency", ""), _negated=True)),
                            _connector="OR",
                        ),
                        name="policy_cost_has_an_amount",
                    ),
                    models.CheckConstraint(
                        condition=models.Q(("condition", "role"), ("roles", []), _negated=True),
                        name="policy_role_names_roles",
                    ),
                ],
            },
        ),
        migrations.CreateModel(
            name="LocalAccount",
            fields=[
                ("id", models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name="ID")),
                ("username", models.CharField(max_length=64, verbose_name="local user name")),
                ("set_at", models.DateTimeField()),
                (
                    "backend",
                    models.ForeignKey(
                        on_delete=django.db.models.deletion.PROTECT,
                        related_name="local_accounts",
                        to="catalogue.backend",
                    ),
                ),
                (
                    "person",
                    models.ForeignKey(
                        on_delete=django.db.models.deletion.PROTECT,
                        related_name="local_accounts",
                        to=settings.AUTH_USER_MODEL,
                    ),
                ),
                (
                    "set_by",
                    models.ForeignKey(
                        null=True,
                        on_delete=django.db.models.deletion.PROTECT,
                        related_name="+",
                        to=settings.AUTH_USER_MODEL,
                    ),
                ),
            ],
            options={
                "verbose_name": "local account",
                "db_table": "local_account",
                "ordering": ["username"],
                "constraints": [
                    models.UniqueConstraint(fields=("backend", "person"), name="one_local_account_per_person"),
                    models.UniqueConstraint(fields=("backend", "username"), name="local_account_of_one_person"),
                    models.CheckConstraint(
                        condition=models.Q(("username", ""), _negated=True), name="local_account_has_a_name"
                    ),
                ],
            },
        ),
        migrations.AddIndex(
            model_name="resource",
            index=models.Index(fields=["workspace", "state"], name="resource_workspace"),
        ),
        migrations.AddIndex(
            model_name="resource",
            index=models.Index(fields=["offering", "state"], name="resource_offering"),
        ),
        migrations.AddIndex(
            model_name="resource",
            index=models.Index(
                condition=models.Q(("observed_generation", models.F("generation")), _negated=True),
                fields=["id"],
                name="resource_unmatched",
            ),
        ),
        migrations.AddIndex(
            model_name="resource",
            index=models.Index(
                condition=models.Q(("desired_gone", False), ("end__isnull", False)), fields=["end"], name="resource_end"
            ),
        ),
        migrations.AddConstraint(
            model_name="resource",
            constraint=models.CheckConstraint(
                condition=models.Q(
                    ("state__in", ["creating", "ok", "changing", "paused", "terminating", "terminated", "failed"])
                ),
                name="resource_state_is_known",
            ),
        ),
        migrations.AddConstraint(
            model_name="resource",
            constraint=models.CheckConstraint(
                condition=models.Q(("observed_generation__lte", models.F("generation"))),
                name="resource_observes_no_later_wish",
            ),
        ),
        migrations.AddConstraint(
            model_name="resource",
            constraint=models.CheckConstraint(
                condition=models.Q(
                    models.Q(("state", "terminated"), ("terminated_at__isnull", False)),
                    models.Q(models.Q(("state", "terminated"), _negated=True), ("terminated_at__isnull", True)),
                    _connector="OR",
                ),
                name="resource_terminated_has_a_time",
            ),
        ),
        migrations.AddIndex(
            model_name="order",
            index=models.Index(fields=["workspace", "-created_at"], name="order_workspace"),
        ),
        migrations.AddIndex(
            model_name="order",
            index=models.Index(fields=["offering", "state"], name="order_offering"),
        ),
        migrations.AddIndex(
            model_name="order",
            index=models.Index(fields=["state", "start"], name="order_state_start"),
        ),
        migrations.AddConstraint(
            model_name="order",
            constraint=models.CheckConstraint(
                condition=models.Q(
                    (
                        "state__in",
                        [
                            "pending_consumer",
                            "pending_provider",
                            "pending_start",
                            "executing",
                            "done",
                            "failed",
                            "rejected",
                            "canceled",
                        ],
                    )
                ),
                name="order_state_is_known",
            ),
        ),
        migrations.AddConstraint(
            model_name="order",
            constraint=models.CheckConstraint(
                condition=models.Q(("kind__in", ["create", "change", "terminate"])), name="order_kind_is_known"
            ),
        ),
        migrations.AddConstraint(
            model_name="order",
            constraint=models.CheckConstraint(
                condition=models.Q(("kind", "create"), ("resource__isnull", False), _connector="OR"),
                name="order_names_its_resource",
            ),
        ),
        migrations.AddConstraint(
            model_name="order",
            constraint=models.CheckConstraint(
                condition=models.Q(
                    models.Q(("state__in", ["executing", "done"]), _negated=True),
                    ("resource__isnull", False),
                    _connector="OR",
                ),
                name="order_in_hand_has_a_resource",
            ),
        ),
        migrations.AddConstraint(
            model_name="order",
            constraint=models.UniqueConstraint(
                condition=models.Q(
                    ("state__in", ["pending_consumer", "pending_provider", "pending_start", "executing"])
                ),
                fields=("resource",),
                name="one_open_order_per_resource",
            ),
        ),
        migrations.AddConstraint(
            model_name="order",
            constraint=models.UniqueConstraint(
                condition=models.Q(("idempotency_key", ""), _negated=True),
                fields=("created_by", "idempotency_key"),
                name="order_once_per_key",
            ),
        ),
        migrations.AddIndex(
            model_name="resourcefact",
            index=models.Index(fields=["resource", "effective_at"], name="resource_fact_time"),
        ),
        migrations.AddConstraint(
            model_name="resourcefact",
            constraint=models.CheckConstraint(
                condition=models.Q(
                    models.Q(
                        ("component__isnull", True),
                        ("limit__isnull", True),
                        ("plan__isnull", True),
                        ("state__in", ["creating", "ok", "changing", "paused", "terminating", "terminated", "failed"]),
                        ("what", "state"),
                    ),
                    models.Q(
                        ("component__isnull", True),
                        ("limit__isnull", True),
                        ("plan__isnull", False),
                        ("state", ""),
                        ("what", "plan"),
                    ),
                    models.Q(
                        ("component__isnull", False),
                        ("limit__isnull", False),
                        ("plan__isnull", True),
                        ("state", ""),
                        ("what", "limit"),
                    ),
                    _connector="OR",
                ),
                name="resource_fact_is_of_one_kind",
            ),
        ),
        migrations.AddConstraint(
            model_name="usagemark",
            constraint=models.UniqueConstraint(fields=("backend", "offering"), name="one_mark_per_offering"),
        ),
    ]
