from django.db import migrations


class Migration(migrations.Migration):
    """The same rows in the same order stood in two indexes; nothing is rewritten."""

    dependencies = [
        ("generation", "0009_names_of_tables"),
    ]

    operations = [
        migrations.RemoveIndex(model_name="candidate", name="candidate_abandoned"),
    ]
