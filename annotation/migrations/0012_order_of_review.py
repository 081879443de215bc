from django.db import migrations, models
from django.db.models.functions import Coalesce


class Migration(migrations.Migration):
    dependencies = [("annotation", "0011_pair_handouts_open")]

    operations = [
        migrations.AddIndex(
            "consensus",
            models.Index(
                models.F("agreement"),
                Coalesce("activelab_score", models.Value(1e9)),
                models.F("candidate"),
                name="consensus_review",
                condition=models.Q(annotation_count__gte=2, agreement__lt=1),
            ),
        )
    ]
