from django.db import migrations, models


class Migration(migrations.Migration):
    dependencies = [("annotation", "0007_pairs_handed_out")]

    operations = [
        migrations.AddField(
            "team",
            "people_key",
            models.CharField(blank=True, editable=False, max_length=200, null=True, unique=True),
        ),
    ]
