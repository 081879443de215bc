from django.db import migrations, models


class Migration(migrations.Migration):
    dependencies = [("generation", "0005_how_candidates_were_drawn")]

    operations = [
        migrations.AddIndex(model_name="product", index=models.Index(fields=["source", "id"], name="product_source")),
    ]
