"""What the datasets API takes and gives. Anything it does not know is refused with a sentence, never ignored."""

from __future__ import annotations

from rest_framework import serializers

from adproof.labels import LABELS
from adproof.shards.schema import VARIANTS
from annotation.serializers import LabelField
from config.numbers import MAX_ID
from config.strict import NEXT, PageIn, Strict
from datasets_app.compare import WHAT, WHY
from datasets_app.downloads import FORMS
from datasets_app.models import SPLITS

MOST_A_PAGE = 500


def _limit() -> serializers.IntegerField:
    return serializers.IntegerField(min_value=1, max_value=MOST_A_PAGE, default=100, help_text="So many on a page.")


class VersionsIn(PageIn):
    limit = _limit()
    name = serializers.CharField(max_length=80, required=False, help_text="Only versions of this dataset.")


class SamplesIn(Strict):
    limit = _limit()
    after = serializers.IntegerField(min_value=0, max_value=MAX_ID, default=0, help_text="`next` of the page before.")
    split = serializers.ChoiceField(choices=SPLITS, required=False)
    label = LabelField(required=False, help_text="0..4 or a name.")
    source = serializers.CharField(max_length=80, required=False)
    category = serializers.CharField(max_length=80, required=False)


class CompareIn(Strict):
    limit = _limit()
    what = serializers.ChoiceField(choices=WHAT, default="relabelled")
    after = serializers.IntegerField(min_value=0, max_value=MAX_ID, default=0, help_text="`next` of the page before.")
    label = LabelField(required=False, help_text="0..4 or a name.")
    label_before = LabelField(required=False)
    split = serializers.ChoiceField(choices=SPLITS, required=False)
    source = serializers.CharField(max_length=80, required=False)
    category = serializers.CharField(max_length=80, required=False)
    why = serializers.ChoiceField(choices=list(WHY), required=False, help_text="Of relabelled rows only.")


class FreezeIn(Strict):
    name = serializers.CharField(
        max_length=61, help_text="a-z, 0-9 and hyphens. A name that is there gets its next version."
    )
    query = serializers.DictField(
        default=dict,
        help_text="Conditions, such as `min_annotations`, `min_agreement` (0 to 1), `source`, `category`, `generator`, `label`.",
    )


class WriteIn(Strict):
    variant = serializers.ChoiceField(choices=list(VARIANTS), help_text="full: with pictures.")
    to = serializers.CharField(
        max_length=500, required=False, help_text="A folder that operators allow, or s3://bucket/folder."
    )


class VerifyIn(Strict):
    pictures = serializers.BooleanField(help_text="Hash every picture too.")


class RunOut(serializers.Serializer):
    id = serializers.IntegerField()
    kind = serializers.CharField()
    title = serializers.CharField()
    state = serializers.CharField(help_text="queued, running, waiting, stopped, succeeded or failed.")
    stage = serializers.CharField()
    done = serializers.IntegerField()
    total = serializers.IntegerField()
    error = serializers.CharField()
    page = serializers.CharField(help_text="Its page, where it is watched and stopped.")


class VersionOut(serializers.Serializer):
    id = serializers.IntegerField()
    name = serializers.CharField()
    number = serializers.IntegerField()
    parent = serializers.IntegerField(allow_null=True)
    state = serializers.CharField(help_text="frozen or written.")
    created_at = serializers.DateTimeField()
    created_by = serializers.CharField(allow_null=True)
    rows = serializers.IntegerField()
    counts = serializers.DictField(
        child=serializers.DictField(child=serializers.IntegerField()),
        help_text='{"train": {"available": 12, ...}, ...}',
    )
    digest = serializers.CharField()
    query = serializers.DictField()
    shares = serializers.ListField(child=serializers.FloatField(), help_text="Of train, validation and test.")
    leak_check = serializers.DictField()
    uri = serializers.CharField()
    size_bytes = serializers.IntegerField()


class VersionsOut(serializers.Serializer):
    versions = VersionOut(many=True)
    next = serializers.IntegerField(allow_null=True, help_text=NEXT)


class AnnotationOut(serializers.Serializer):
    annotator = serializers.CharField(help_text="A pseudonym.")
    label = serializers.CharField()
    seconds = serializers.FloatField()
    at = serializers.CharField()


class SamplePictures(serializers.Serializer):
    generated = serializers.CharField()
    product = serializers.CharField()
    depth = serializers.CharField(allow_null=True)
    saliency = serializers.CharField(allow_null=True)


class SampleOut(serializers.Serializer):
    sample_id = serializers.CharField()
    candidate = serializers.IntegerField()
    split = serializers.CharField()
    label = serializers.CharField(help_text=f"One of {', '.join(LABELS)}.")
    label_probs = serializers.ListField(child=serializers.FloatField())
    agreement = serializers.FloatField()
    annotation_count = serializers.IntegerField()
    method = serializers.CharField()
    annotations = AnnotationOut(many=True)
    product_id = serializers.CharField()
    title = serializers.CharField()
    source = serializers.CharField()
    category = serializers.CharField()
    prompt = serializers.CharField()
    generator = serializers.CharField()
    seed = serializers.IntegerField()
    attempt = serializers.IntegerField()
    pictures = SamplePictures()


class SamplesOut(serializers.Serializer):
    samples = SampleOut(many=True)
    next = serializers.IntegerField(allow_null=True, help_text="`after` of the next page; null on the last.")


class EventOut(serializers.Serializer):
    who = serializers.CharField()
    at = serializers.DateTimeField()
    did = serializers.CharField()
    label = serializers.CharField(allow_null=True)
    comment = serializers.CharField()


class ChangeOut(serializers.Serializer):
    candidate = serializers.IntegerField()
    label_before = serializers.CharField(allow_null=True)
    label = serializers.CharField(allow_null=True)
    split_before = serializers.CharField(allow_null=True)
    split = serializers.CharField(allow_null=True)
    product_id = serializers.CharField()
    source = serializers.CharField()
    category = serializers.CharField()
    why = serializers.CharField(help_text="review, gold, answers or fit; empty where the label is the same.")
    events = EventOut(many=True)


class CompareOut(serializers.Serializer):
    old = serializers.IntegerField()
    new = serializers.IntegerField()
    totals = serializers.DictField(
        child=serializers.IntegerField(), allow_null=True,
        help_text="added, removed, relabelled, moved, unchanged. Null while two large versions are not compared: `run` does it.",
    )  # fmt: skip
    by = serializers.DictField(allow_null=True, help_text="The same by label, split, source and category.")
    run = RunOut(allow_null=True)
    changes = ChangeOut(many=True)
    next = serializers.IntegerField(allow_null=True, help_text="`after` of the next page; null on the last.")


class FileOut(serializers.Serializer):
    name = serializers.CharField()
    bytes = serializers.IntegerField()
    sha256 = serializers.CharField()


class PlaceOut(serializers.Serializer):
    uri = serializers.CharField()
    variant = serializers.ChoiceField(VARIANTS)
    bytes = serializers.IntegerField()


class LinkIn(Strict):
    name = serializers.CharField(required=False, default="", help_text="One file; without it all of them as one.")
    uri = serializers.CharField(required=False, default="", help_text="Another place that it is written to.")
    form = serializers.ChoiceField(FORMS, required=False, default="tar", help_text="A zip of a small version only.")


class LinkOut(serializers.Serializer):
    link = serializers.CharField()
    until = serializers.DateTimeField(help_text="When it lapses.")


class DownloadOut(serializers.Serializer):
    uri = serializers.CharField(help_text="Where the files lie.")
    places = PlaceOut(many=True, help_text="All that it is written to, its other variants among them.")
    form = serializers.ChoiceField(FORMS, help_text="In which all of them may be had by one link; a tar always.")
    files = FileOut(many=True)
