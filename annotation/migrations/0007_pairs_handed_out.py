import django.db.models.deletion
from django.conf import settings
from django.db import migrations, models
from django.db.models import Q
from django.utils import timezone


class Migration(migrations.Migration):
    dependencies = [
        ("annotation", "0006_sentback_shown_until"),
        migrations.swappable_dependency(settings.AUTH_USER_MODEL),
    ]

    operations = [
        migrations.CreateModel(
            name="PairHandout",
            fields=[
                ("id", models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name="ID")),
                (
                    "pair",
                    models.ForeignKey(
                        db_index=False, on_delete=django.db.models.deletion.CASCADE, related_name="handouts",
                        to="annotation.pair",
                    ),
                ),
                (
                    "annotator",
                    models.ForeignKey(
                        on_delete=django.db.models.deletion.CASCADE, related_name="+", to=settings.AUTH_USER_MODEL
                    ),
                ),
                ("first_is_left", models.BooleanField()),
                ("first_at", models.DateTimeField(default=timezone.now)),
                ("skipped_at", models.DateTimeField(blank=True, null=True)),
            ],
            options={
                "constraints": [models.UniqueConstraint(fields=["pair", "annotator"], name="pair_handout_once")]
            },
        ),
        migrations.AddField("preference", "is_surplus", models.BooleanField(default=False)),
        migrations.AddField(
            "preference",
            "slot",
            models.ForeignKey(
                db_index=False, null=True, on_delete=django.db.models.deletion.PROTECT, related_name="+",
                to="annotation.pairslot",
            ),
        ),
        migrations.AddConstraint(
            "pairslot", models.CheckConstraint(condition=Q(number__lt=9), name="pair_slot_number_in_range")
        ),
        migrations.AddConstraint(
            "preference",
            models.UniqueConstraint(fields=["slot"], condition=Q(is_undone=False), name="preference_one_per_slot"),
        ),
        migrations.AddConstraint(
            "preference",
            models.CheckConstraint(
                condition=Q(is_undone=True) | Q(is_surplus=True) | Q(slot__isnull=False), name="preference_has_a_slot"
            ),
        ),
    ]
