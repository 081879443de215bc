from django.db import migrations


class Migration(migrations.Migration):
    dependencies = [("annotation", "0013_consensus_by_label")]

    operations = [
        migrations.AlterModelOptions(name="annotatorquality", options={"verbose_name_plural": "annotator quality"}),
        migrations.AlterModelOptions(name="consensus", options={"verbose_name_plural": "consensus"}),
    ]
