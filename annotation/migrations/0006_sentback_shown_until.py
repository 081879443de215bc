from django.db import migrations, models


class Migration(migrations.Migration):
    dependencies = [("annotation", "0005_guidelines_so_far")]

    operations = [
        migrations.AddField("sentback", "shown_until", models.DateTimeField(blank=True, null=True)),
    ]
