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
            models.Index(fields=["-at", "-id"], name="event_at"),
        ]

    def __str__(self) -> str:
        return f"{self.kind} {self.subject_type} {self.subject_id}"


class Untold(models.Model):
    """What a reader that must miss nothing has not taken up yet: an event, or a subject that should be looked at again.

    A trigger writes a row for each event in the event's transaction. The reader removes what it takes, so that an event
    of a slow transaction, whose number is lower than others' that were read already, is found when it appears.
    """

    event = models.ForeignKey(Event, null=True, on_delete=models.DO_NOTHING, db_constraint=False, db_index=False)
    subject_type = models.CharField(max_length=40, default="")
    subject_id = models.BigIntegerField(null=True)

    class Meta:
        db_table = "untold"
        constraints = [
            models.CheckConstraint(
                name="untold_of_one_kind",
                condition=models.Q(event__isnull=False, subject_id__isnull=True)
                | (models.Q(event__isnull=True, subject_id__isnull=False) & ~models.Q(subject_type="")),
            )
        ]

    def __str__(self) -> str:
        return f"event {self.event_id}" if self.event_id else f"{self.subject_type} {self.subject_id}"
