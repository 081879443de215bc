from django.db import migrations, models


class Migration(migrations.Migration):
    dependencies = [("datasets_app", "0006_candidate_unchecked")]

    operations = [
        migrations.AddField(model_name="stagedpicture", name="cut", field=models.JSONField(null=True)),
    ]
