import django.contrib.postgres.fields
import django.core.validators
import django.db.models.deletion
from django.conf import settings
from django.db import migrations, models
from django.db.models import F, Q, Value
from django.db.models.functions import Replace


def braces_are_braces(apps, schema_editor):
    """Texts had no variables until now: what looks like one is meant as it stands."""
    prompts = apps.get_model("generation", "Prompt").objects.filter(
        Q(text__regex="[{}]") | Q(negative_text__regex="[{}]")
    )
    for name in ("text", "negative_text"):
        doubled = Replace(Replace(F(name), Value("{"), Value("{{")), Value("}"), Value("}}"))
        prompts.update(**{name: doubled})


def one_category_becomes_a_list(apps, schema_editor):
    prompts = apps.get_model("generation", "Prompt").objects.exclude(category="")
    for prompt in prompts.only("category"):
        prompt.categories = [prompt.category]
        prompt.save(update_fields=["categories"])


def what_a_model_cut_out_waits(apps, schema_editor):
    products = apps.get_model("generation", "Product").objects
    products.filter(is_cut_out_by_model=True, unsuitable=False).update(is_waiting=True, cut_settings={"by": "model"})


class Migration(migrations.Migration):
    # Rows and indexes of one table: PostgreSQL wants them in transactions of their own.
    atomic = False

    dependencies = [
        migrations.swappable_dependency(settings.AUTH_USER_MODEL),
        ("generation", "0003_imported_generators"),
    ]

    operations = [
        migrations.AddField("product", "is_waiting", models.BooleanField(default=False)),
        migrations.AddField(
            "product",
            "accepted_by",
            models.ForeignKey(
                blank=True,
                null=True,
                on_delete=django.db.models.deletion.SET_NULL,
                related_name="+",
                to=settings.AUTH_USER_MODEL,
            ),
        ),
        migrations.AddField("product", "accepted_at", models.DateTimeField(blank=True, null=True)),
        migrations.AddField("product", "original_sha256", models.CharField(blank=True, default="", max_length=64)),
        migrations.AddField("product", "confidence_sha256", models.CharField(blank=True, default="", max_length=64)),
        migrations.AddField("product", "cut_settings", models.JSONField(blank=True, default=dict)),
        migrations.RunPython(what_a_model_cut_out_waits, migrations.RunPython.noop),
        migrations.AddIndex(
            "product", models.Index(condition=Q(is_waiting=True), fields=["id"], name="product_waiting")
        ),
        migrations.AddIndex(
            "product", models.Index(condition=Q(unsuitable=True), fields=["id"], name="product_unsuitable")
        ),
        migrations.CreateModel(
            name="VariableList",
            fields=[
                ("id", models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name="ID")),
                ("name", models.CharField(max_length=40, unique=True)),
                (
                    "values",
                    django.contrib.postgres.fields.ArrayField(
                        base_field=models.CharField(max_length=200), size=None
                    ),
                ),
                ("created_at", models.DateTimeField(auto_now_add=True)),
            ],
        ),
        migrations.AddField(
            "prompt",
            "categories",
            django.contrib.postgres.fields.ArrayField(
                base_field=models.CharField(max_length=80), blank=True, default=list, size=None
            ),
        ),
        migrations.RunPython(one_category_becomes_a_list, migrations.RunPython.noop),
        migrations.RemoveField("prompt", "category"),
        migrations.AddField("prompt", "follows_category", models.BooleanField(default=False)),
        migrations.AddField(
            "prompt",
            "tags",
            django.contrib.postgres.fields.ArrayField(
                base_field=models.CharField(max_length=40), blank=True, default=list, size=None
            ),
        ),
        migrations.AddField("prompt", "notes", models.TextField(blank=True, max_length=5000)),
        migrations.AddField("prompt", "words_changed_at", models.DateTimeField(blank=True, null=True)),
        migrations.AddField(
            "prompt",
            "copied_from",
            models.ForeignKey(
                blank=True,
                null=True,
                on_delete=django.db.models.deletion.SET_NULL,
                related_name="copies",
                to="generation.prompt",
            ),
        ),
        migrations.RunPython(braces_are_braces, migrations.RunPython.noop),
        migrations.CreateModel(
            name="PromptText",
            fields=[
                ("id", models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name="ID")),
                ("text", models.TextField()),
                ("negative_text", models.TextField(blank=True)),
                ("image_scale", models.FloatField()),
                ("until", models.DateTimeField(auto_now_add=True)),
                (
                    "changed_by",
                    models.ForeignKey(
                        blank=True,
                        null=True,
                        on_delete=django.db.models.deletion.SET_NULL,
                        related_name="+",
                        to=settings.AUTH_USER_MODEL,
                    ),
                ),
                (
                    "prompt",
                    models.ForeignKey(
                        on_delete=django.db.models.deletion.CASCADE,
                        related_name="earlier_texts",
                        to="generation.prompt",
                    ),
                ),
            ],
        ),
        migrations.CreateModel(
            name="CategoryDefaults",
            fields=[
                ("id", models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name="ID")),
                ("category", models.CharField(max_length=80, unique=True)),
                (
                    "image_scale",
                    models.FloatField(
                        blank=True,
                        null=True,
                        validators=[
                            django.core.validators.MinValueValidator(0.1),
                            django.core.validators.MaxValueValidator(0.95),
                        ],
                    ),
                ),
                ("negative_text", models.TextField(blank=True, max_length=2000)),
                ("prompts", models.ManyToManyField(blank=True, related_name="+", to="generation.prompt")),
            ],
        ),
    ]
