from django.db import migrations


def keep_texts(apps, schema_editor):
    """Every project's present guidelines become the first kept version of them."""
    Project = apps.get_model("annotation", "Project")
    Guidelines = apps.get_model("annotation", "Guidelines")
    Guidelines.objects.bulk_create(
        Guidelines(project_id=pk, version=version, text=text)
        for pk, version, text in Project.objects.values_list("pk", "guidelines_version", "guidelines")
    )


class Migration(migrations.Migration):
    dependencies = [("annotation", "0004_the_whole_desk")]

    operations = [migrations.RunPython(keep_texts, migrations.RunPython.noop)]
