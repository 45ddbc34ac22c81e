"""One table, only ever added to; triggers made in the first migration refuse everything else."""

from django.db import models
from django.db.models.functions import Now


class Event(models.Model):
    """Something that happened, told once, in the transaction that made it happen.

    The ids point up the layers on purpose without foreign keys: the log outlives what it tells of.
    """

    at = models.DateTimeField(help_text="when it took effect")
    recorded_at = models.DateTimeField(db_default=Now(), editable=False)
    kind = models.CharField(max_length=80, help_text="noun.verb, such as order.approved")
    actor_id = models.BigIntegerField(null=True, help_text="the person; empty = the system")
    subject_type = models.CharField(max_length=40)
    subject_id = models.BigIntegerField()
    organization_id = models.BigIntegerField(null=True)
    project_id = models.BigIntegerField(null=True)
    provider_id = models.BigIntegerField(null=True, help_text="the organization that is told as a provider")
    facts = models.JSONField(default=dict)

    class Meta:
        db_table = "event"
        indexes = [
            models.Index(fields=["subject_type", "subject_id", "-id"], name="event_subject"),
            models.Index(fields=["organization_id", "-id"], name="event_organization"),
            models.Index(fields=["project_id", "-id"], name="event_project"),
            models.Index(fields=["provider_id", "id"], name="event_provider"),
            models.Index(fields=["actor_id", "-id"], name="event_actor"),
        ]

    def __str__(self) -> str:
        return f"{self.kind} {self.subject_type} {self.subject_id}"
