"""What left, so that a job that runs twice sends once."""

from django.db import models
from django.db.models.functions import Now


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
