from django.db import migrations, models


class Migration(migrations.Migration):
    """Pages of the log are in the order of time; of many events the newest are found without sorting all."""

    dependencies = [("events", "0003_untold")]

    operations = [
        migrations.AddIndex(model_name="event", index=models.Index(fields=["-at", "-id"], name="event_at")),
    ]
