import re
import secrets
from collections.abc import Iterator
from typing import Any

from django import forms
from django.apps import apps
from django.core.files.uploadedfile import UploadedFile
from django.db.models import F, QuerySet

from adproof.labels import TITLES
from generation.actions import MAX_ATTEMPTS
from generation.figures import categories
from generation.models import CandidateQuerySet, Generator, Product, Prompt

MAX_PICTURE_BYTES = 50 * 2**20
MAX_ZIP_BYTES = 500 * 2**20
MAX_CSV_BYTES = 50 * 2**20
MAX_SEEDS = 50
LABELS = [("", "Any"), *((str(int(label)), title) for label, title in TITLES.items())]


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

    pictures = PicturesField(
        label="Pictures",
        help_text="PNG, JPEG or WebP. A transparent background is kept; another one is cut away for you.",
        widget=ManyFiles(attrs={"accept": "image/png,image/jpeg,image/webp"}),
    )
    title = forms.CharField(
        max_length=300, required=False, help_text="For a single picture. Otherwise the file names are the titles."
    )
    category = forms.CharField(max_length=80, required=False)
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
        help_text="Columns sku, title, image; besides: description, category, width_cm, depth_cm, height_cm.",
        widget=forms.FileInput(attrs={"accept": ".csv,text/csv"}),
    )
    pictures = forms.FileField(
        label="Zip of its pictures",
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


class CandidateFilter(forms.Form):
    """The gallery's filter. What does not make sense is ignored, so that an old address still shows something."""

    label = forms.TypedChoiceField(label="People say", choices=LABELS, coerce=int, empty_value=None, required=False)
    verdict = forms.TypedChoiceField(label="RFNet says", choices=LABELS, coerce=int, empty_value=None, required=False)
    state = forms.ChoiceField(
        label="State",
        required=False,
        choices=[
            ("", "Any"),
            ("unlabelled", "Not labelled"),
            ("labelled", "Labelled"),
            ("disagreed", "People disagree"),
            ("contradicted", "People and RFNet disagree"),
            ("unperceived", "Lacks depth or saliency"),
        ],
    )
    generator = forms.ModelChoiceField(Generator.objects.order_by("pk"), required=False, empty_label="Any")
    prompt = forms.ModelChoiceField(Prompt.objects.order_by("name"), required=False, empty_label="Any")
    product = forms.ModelChoiceField(Product.objects.all(), required=False, widget=forms.HiddenInput)

    def narrow(self, rows: CandidateQuerySet) -> CandidateQuerySet:
        self.is_valid()
        chosen = self.cleaned_data
        for name in ("product", "prompt", "generator"):
            if chosen.get(name):
                rows = rows.filter(**{name: chosen[name]})
        if chosen.get("label") is not None:
            rows = rows.filter(consensus__label=chosen["label"])
        verdicts = apps.get_model("rfnet_service", "Verdict").objects.filter(checkpoint__is_promoted=True)
        if chosen.get("verdict") is not None:
            rows = rows.filter(pk__in=verdicts.filter(label=chosen["verdict"]).values("candidate"))
        match chosen.get("state"):
            case "unlabelled":
                rows = rows.filter(consensus=None)
            case "labelled":
                rows = rows.filter(consensus__is_complete=True)
            case "disagreed":
                rows = rows.filter(consensus__agreement__lt=0.75)
            case "contradicted":
                right = verdicts.filter(label=F("candidate__consensus__label"))
                rows = rows.filter(consensus__isnull=False, pk__in=verdicts.values("candidate")).exclude(
                    pk__in=right.values("candidate")
                )
            case "unperceived":
                rows = rows.filter(depth_sha256="")
        return rows

    @property
    def is_narrow(self) -> bool:
        return any(value not in ("", None) for value in self.cleaned_data.values())


class GenerateForm(forms.Form):
    """What to draw: products x prompts x seeds."""

    category = forms.ChoiceField(required=False)
    skus = forms.CharField(
        label="Only these SKUs",
        required=False,
        widget=forms.Textarea(attrs={"rows": 2}),
        help_text="Separated by spaces, commas or lines. Empty: all products chosen above.",
    )
    most_products = forms.IntegerField(
        label="At most so many products",
        min_value=1,
        max_value=100_000,
        required=False,
        help_text="The newest first. Empty: all.",
    )
    prompts = forms.ModelMultipleChoiceField(
        Prompt.objects.filter(is_active=True).order_by("name"),
        widget=forms.CheckboxSelectMultiple,
        error_messages={"required": "Choose at least one prompt."},
    )
    per_pair = forms.IntegerField(
        label="Pictures of each product with each prompt", min_value=1, max_value=MAX_SEEDS, initial=1
    )
    attempts = forms.IntegerField(
        label="Attempts",
        min_value=1,
        max_value=MAX_ATTEMPTS,
        initial=1,
        help_text="1 keeps every picture. More draws again until RFNet calls one available (Recurrent Generation).",
    )

    # Made with the form: sending it twice asks for the same pictures twice, and those are drawn once.
    base_seed = forms.IntegerField(
        min_value=0, max_value=2**31, widget=forms.HiddenInput, initial=lambda: secrets.randbelow(2**31)
    )

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.fields["category"].choices = [("", "All categories"), *((name, name) for name in categories())]

    def clean_skus(self) -> list[str]:
        wanted = [sku for sku in re.split(r"[\s,;]+", self.cleaned_data["skus"]) if sku]
        unknown = sorted(set(wanted) - set(Product.objects.filter(sku__in=wanted).values_list("sku", flat=True)))
        if unknown:
            raise forms.ValidationError(
                f"No product has the SKU {', '.join(unknown[:5])}{' …' if len(unknown) > 5 else ''}."
            )
        return wanted

    def clean_attempts(self) -> int:
        attempts: int = self.cleaned_data["attempts"]
        if attempts > 1 and not apps.get_model("rfnet_service", "Checkpoint").objects.filter(is_promoted=True).exists():
            raise forms.ValidationError(
                "Drawing again needs an RFNet in use to judge: choose 1, or promote a checkpoint first."
            )
        return attempts

    def products(self) -> QuerySet[Product]:
        rows = Product.objects.drawable().order_by("-pk")
        if self.cleaned_data["skus"]:
            rows = rows.filter(sku__in=self.cleaned_data["skus"])
        if self.cleaned_data["category"]:
            rows = rows.filter(category=self.cleaned_data["category"])
        return rows[: self.cleaned_data["most_products"] or None]

    def images(self) -> int:
        """How many pictures this makes, not counting attempts; prompts of other categories are left out."""
        pairs = 0
        chosen = list(self.products().values_list("category", flat=True))
        for prompt in self.cleaned_data["prompts"]:
            pairs += sum(prompt.fits(category) for category in chosen)
        return pairs * int(self.cleaned_data["per_pair"])
