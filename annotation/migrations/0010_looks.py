import django.db.models.deletion
from django.conf import settings
from django.db import migrations, models


class Migration(migrations.Migration):
    dependencies = [
        ("annotation", "0009_places_in_the_queue"),
        ("generation", "0001_first"),
        migrations.swappable_dependency(settings.AUTH_USER_MODEL),
    ]

    operations = [
        migrations.CreateModel(
            name="Look",
            fields=[
                ("candidate", models.OneToOneField(on_delete=django.db.models.deletion.CASCADE, primary_key=True, related_name="look", serialize=False, to="generation.candidate")),
                ("at", models.DateTimeField()),
                ("reviewer", models.ForeignKey(on_delete=django.db.models.deletion.CASCADE, related_name="looks", to=settings.AUTH_USER_MODEL)),
            ],
        ),
    ]
