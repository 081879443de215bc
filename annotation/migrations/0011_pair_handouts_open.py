from django.db import migrations, models
from django.db.models import Exists, OuterRef, Q


def close(apps, schema_editor):
    """Those answered or skipped already are open no more."""
    handouts, preferences = (apps.get_model("annotation", name).objects for name in ("PairHandout", "Preference"))
    answered = preferences.filter(pair=OuterRef("pair"), annotator=OuterRef("annotator"), is_undone=False)
    handouts.filter(Q(skipped_at__isnull=False) | Exists(answered)).update(is_open=False)


class Migration(migrations.Migration):
    dependencies = [("annotation", "0010_looks")]

    operations = [
        migrations.AddField("pairhandout", "is_open", models.BooleanField(default=True)),
        migrations.RunPython(close, migrations.RunPython.noop),
        migrations.AddIndex(
            "pairhandout",
            models.Index(fields=["annotator", "pair"], condition=Q(is_open=True), name="pair_handout_open"),
        ),
    ]
