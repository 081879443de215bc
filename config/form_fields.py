"""Fields that the forms of several apps have."""

from datetime import date
from typing import Any

from django import forms
from django.core.validators import MaxValueValidator, MinValueValidator

from config.numbers import id_of


class Day(forms.DateField):
    """A day by the browser's own calendar, of years that the database and the calendar both know."""

    def __init__(self, label: str, **kwargs: Any) -> None:
        bounds = [MinValueValidator(date(2000, 1, 1)), MaxValueValidator(date(2200, 1, 1))]
        widget = forms.DateInput(attrs={"type": "date"})
        super().__init__(label=label, required=False, widget=widget, validators=bounds, **kwargs)


class ById(forms.ModelChoiceField):
    """An id beyond what the database can hold is one that is not there."""

    def to_python(self, value: Any) -> Any:
        if value and id_of(value) is None:
            raise forms.ValidationError(self.error_messages["invalid_choice"], code="invalid_choice")
        return super().to_python(value)
