from django.db import migrations, models


class Migration(migrations.Migration):
    dependencies = [("runs", "0001_first")]

    operations = [
        migrations.CreateModel(
            name="KeptFigure",
            fields=[
                ("key", models.CharField(max_length=200, primary_key=True, serialize=False)),
                ("value", models.JSONField(null=True)),
                ("cost_s", models.FloatField(default=0)),
                ("counted_at", models.DateTimeField(null=True)),
                ("due_at", models.DateTimeField(null=True)),
                ("claimed_until", models.DateTimeField(null=True)),
            ],
        ),
    ]
