from django.contrib.auth.models import AbstractUser
from django.db import models

from accounts.roles import ROLES, may


class User(AbstractUser):
    role = models.CharField(max_length=12, choices=list(ROLES.items()), default="annotator")
    # Demo people can be entered with one click, and only while the platform runs as a demo.
    is_demo = models.BooleanField(default=False)
    # Set for simulated annotators, so that their labels can always be told from people's.
    is_simulated = models.BooleanField(default=False)
    # What the desk remembers for this person: {"keys": {"1": 0, ...}, "view": "generated"}; validated where it is set.
    desk_preferences = models.JSONField(default=dict, blank=True)

    class Meta:
        constraints = [
            models.CheckConstraint(
                condition=models.Q(role__in=list(ROLES)),
                name="user_role_known",
                violation_error_message="Unknown role.",
            )
        ]

    def __str__(self) -> str:
        return self.get_full_name() or self.username

    def may(self, ability: str) -> bool:
        return may(self, ability)
