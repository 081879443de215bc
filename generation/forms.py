from collections.abc import Iterator
from typing import Any

from django import forms
from django.core.files.uploadedfile import UploadedFile

from generation.figures import categories  # noqa: F401

MAX_PICTURE_BYTES = 50 * 2**20
MAX_ZIP_BYTES = 500 * 2**20
MAX_CSV_BYTES = 50 * 2**20


def megabytes(size: int) -> str:
    return f"{size / 2**20:,.0f} MB"


class ManyFiles(forms.ClearableFileInput):
    allow_multiple_selected = True


class PicturesField(forms.FileField):
    widget = ManyFiles

    def clean(self, data: Any, initial: Any = None) -> list[UploadedFile]:
        files = data if isinstance(data, (list, tuple)) and data else [data or None]
        return [super(PicturesField, self).clean(file, initial) for file in files]


class PicturesForm(forms.Form):
    """Pictures of products; each becomes one product, named by its file."""

    # An empty file among others is listed like any that can't be read.
    pictures = PicturesField(
        label="Pictures",
        allow_empty_file=True,
        error_messages={"required": "Choose at least one picture."},
        help_text="PNG, JPEG or WebP. A transparent background is kept; another one is cut away for you.",
        widget=ManyFiles(attrs={"accept": "image/png,image/jpeg,image/webp"}),
    )
    title = forms.CharField(
        max_length=300, required=False, help_text="For a single picture. Otherwise the file names are the titles."
    )
    category = forms.CharField(
        max_length=80, required=False, widget=forms.TextInput(attrs={"list": "categories", "autocomplete": "off"})
    )
    description = forms.CharField(
        max_length=5000,
        required=False,
        widget=forms.Textarea(attrs={"rows": 2}),
        help_text="What a shop says of it: material, size, use. RFNet reads it.",
    )

    def clean(self) -> dict[str, Any]:
        data: dict[str, Any] = super().clean() or {}
        if data.get("title") and len(data.get("pictures", [])) > 1:
            self.add_error(
                "title", "One title can't name several products: leave it empty, and the file names are used."
            )
        return data

    @property
    def values(self) -> dict[str, Any]:
        """What all the products have in common."""
        return {
            name: self.cleaned_data[name] for name in ("title", "category", "description") if self.cleaned_data[name]
        }

    def files_to_import(self) -> Iterator[tuple[str, bytes]]:
        """One at a time, so that memory holds one picture. Those that are too large are in `too_large`."""
        for file in self.cleaned_data["pictures"]:
            if file.size <= MAX_PICTURE_BYTES:
                yield file.name, file.read()

    def too_large(self) -> list[str]:
        return [
            f"{file.name}: {megabytes(file.size)}; {megabytes(MAX_PICTURE_BYTES)} is the most. Save it smaller."
            for file in self.cleaned_data["pictures"]
            if file.size > MAX_PICTURE_BYTES
        ]


class CsvForm(forms.Form):
    """A table of products, and the pictures it names in a zip."""

    table = forms.FileField(
        label="CSV",
        error_messages={"required": "Choose the CSV."},
        help_text="Columns sku, title, image; besides: description, category, source, license, width_cm, depth_cm, height_cm.",
        widget=forms.FileInput(attrs={"accept": ".csv,text/csv"}),
    )
    pictures = forms.FileField(
        label="Zip of its pictures",
        error_messages={"required": "Choose the zip with the pictures that the CSV names."},
        help_text="The image column names the files in it.",
        widget=forms.FileInput(attrs={"accept": ".zip"}),
    )

    def clean_table(self) -> UploadedFile:
        return self._not_larger("table", MAX_CSV_BYTES)

    def clean_pictures(self) -> UploadedFile:
        return self._not_larger("pictures", MAX_ZIP_BYTES)

    def _not_larger(self, name: str, most: int) -> UploadedFile:
        file: UploadedFile = self.cleaned_data[name]
        if file.size is not None and file.size > most:
            raise forms.ValidationError(
                f"It is {megabytes(file.size)}; {megabytes(most)} is the most a page takes. "
                "Send it in pieces, or import the folder from the command line."
            )
        return file


class UnsuitableForm(forms.Form):
    reason = forms.CharField(
        max_length=300,
        label="What is wrong with its own picture?",
        error_messages={"required": "Say what is wrong with the picture."},
    )
