import django.contrib.postgres.fields
from django.db import migrations, models


class Migration(migrations.Migration):
    dependencies = [("generation", "0007_plans")]

    operations = [
        migrations.AddField(model_name="plan", name="wording", field=models.JSONField(blank=True, default=dict)),
        migrations.AddField(
            model_name="plan",
            name="product_titles",
            field=django.contrib.postgres.fields.ArrayField(
                base_field=models.TextField(), blank=True, default=list, size=None
            ),
        ),
    ]
