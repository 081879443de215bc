from django.db import migrations


class Migration(migrations.Migration):
    dependencies = [("generation", "0008_plans_hold_their_words")]

    operations = [
        migrations.AlterModelOptions(name="categorydefaults", options={"verbose_name_plural": "category defaults"}),
    ]
