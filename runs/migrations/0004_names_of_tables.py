from django.db import migrations


class Migration(migrations.Migration):
    dependencies = [("runs", "0003_paused_and_budget")]

    operations = [
        migrations.AlterModelOptions(name="outbox", options={"verbose_name": "outbox message"}),
    ]
