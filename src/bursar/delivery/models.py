"""What left: mails, so that a job that runs twice sends once; and the feed of each provider."""

from django.contrib.postgres.fields import ArrayField
from django.db import models
from django.db.models.functions import Now

from bursar.catalogue.models import ServiceProvider


class Mail(models.Model):
    """A mail that was asked for. Its words are not kept: they may hold links that log in."""

    key = models.CharField(max_length=64, unique=True, help_text="of the job that asked; also in the Message-ID")
    kind = models.CharField(max_length=60)
    to_email = models.EmailField(max_length=254)
    person_id = models.BigIntegerField(null=True)
    subject = models.CharField(max_length=400, blank=True)
    created_at = models.DateTimeField(db_default=Now(), editable=False)
    sent_at = models.DateTimeField(null=True)
    dropped_at = models.DateTimeField(null=True, help_text="it had become pointless before it could be sent")

    class Meta:
        db_table = "mail"
        indexes = [models.Index(fields=["-created_at"], name="mail_created")]

    def __str__(self) -> str:
        return f"{self.kind} to {self.to_email}"


class FeedHead(models.Model):
    """How far a provider's feed is numbered. Whoever numbers holds this row, so that there are no gaps."""

    provider = models.OneToOneField(ServiceProvider, primary_key=True, on_delete=models.CASCADE, related_name="feed")
    last_number = models.BigIntegerField(default=0)
    compacted_to = models.BigIntegerField(default=0, help_text="up to here only the latest of each subject is kept")

    class Meta:
        db_table = "feed_head"

    def __str__(self) -> str:
        return f"{self.provider_id}: {self.last_number}"


class FeedEntry(models.Model):
    """That something of a subject changed, for one provider. Its state is read when it is delivered."""

    class Subject(models.TextChoices):
        RESOURCE = "resource"
        ORDER = "order"
        WALLET = "wallet"
        PROJECT = "project"
        ACCOUNT = "account"

    pk = models.CompositePrimaryKey("provider", "number")
    provider = models.ForeignKey(ServiceProvider, on_delete=models.CASCADE, related_name="+", db_index=False)
    number = models.BigIntegerField()
    subject_type = models.CharField(max_length=10, choices=Subject)
    subject_id = models.BigIntegerField()
    kinds = ArrayField(models.CharField(max_length=80), default=list, help_text="of the events that it stands for")
    at = models.DateTimeField()

    class Meta:
        db_table = "feed_entry"
        constraints = [
            models.CheckConstraint(
                name="feed_subject_is_known",
                condition=models.Q(subject_type__in=["resource", "order", "wallet", "project", "account"]),
            )
        ]
        indexes = [
            models.Index(fields=["provider", "subject_type", "subject_id", "number"], name="feed_subject"),
            models.Index(fields=["at"], name="feed_entry_at"),
        ]

    def __str__(self) -> str:
        return f"{self.provider_id} {self.number}: {self.subject_type} {self.subject_id}"
