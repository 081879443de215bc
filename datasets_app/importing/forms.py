from pathlib import Path
from typing import Any

from django import forms
from django.conf import settings

from adproof.imports.problems import BadImport
from datasets_app.importing import uploads
from datasets_app.importing.order import KINDS, Order, listing

ACCEPTED = ".zip,.tar,.gz,.tgz,.bz2,.xz,.csv,.tsv,.jsonl,.parquet"


class ImportForm(forms.Form):
    """What is to be imported, from where. It is looked at first; nothing is written until somebody says so."""

    kind = forms.ChoiceField(choices=[(name, title) for name, (title, _) in KINDS.items()], label="What it is")
    file = forms.FileField(
        label="Upload", required=False, allow_empty_file=True, widget=forms.FileInput(attrs={"accept": ACCEPTED}),
        help_text="An archive or a table; a table's pictures lie with it in one archive.",
    )  # fmt: skip
    path = forms.CharField(
        label="Or a folder or file on the server", required=False, max_length=500,
        widget=forms.TextInput(attrs={"list": "on-server", "autocomplete": "off"}),
    )  # fmt: skip
    url = forms.CharField(
        label="Or an address", required=False, max_length=2000, widget=forms.TextInput(attrs={"inputmode": "url"})
    )
    source = forms.CharField(
        label="Name of the source", required=False, max_length=60,
        help_text="What is imported is known by it, such as rf1m. Empty: the kind.",
    )  # fmt: skip
    category = forms.CharField(label="Category", required=False, max_length=80, help_text="Of products that name none.")
    labels = forms.CharField(
        label="What raw labels mean", required=False, max_length=4000,
        widget=forms.Textarea(attrs={"rows": 2, "placeholder": "0=available, 1=unsuitable"}),
        help_text="Only for labels that are numbers or other words than ours.",
    )  # fmt: skip
    cuts_out = forms.BooleanField(label="Cut products without transparency out by U2-Net", required=False, initial=True)

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.on_server = listing()
        self.fields["path"].help_text = f"Below {settings.IMPORT_DIR}"
        hosts = ", ".join(settings.IMPORT_HOSTS)
        self.fields["url"].help_text = f"From {hosts}." if hosts else "No host is allowed so far (IMPORT_HOSTS)."
        self.fields["url"].disabled = not hosts
        self.fields["file"].help_text += f" At most {settings.IMPORT_UPLOAD_MB:,} MB."

    def order(self) -> Order:
        """What was asked for; an upload is kept first. Raises BadImport, OSError (a full disk)."""
        chosen = self.cleaned_data
        given = [name for name in ("file", "path", "url") if chosen.get(name)]
        if len(given) != 1:
            raise BadImport("Name one thing to import: a file, a folder on the server, or an address.")
        saved = uploads.save(chosen["file"].name, chosen["file"].chunks()) if given == ["file"] else None
        return Order(
            kind=chosen["kind"], path=str(saved or chosen["path"]), url=chosen["url"], source=chosen["source"] or chosen["kind"],
            category=chosen["category"], labels=chosen["labels"], cuts_out=chosen["cuts_out"], is_upload=saved is not None,
        )  # fmt: skip


def forget(order: Order) -> None:
    if order.is_upload:
        uploads.forget(Path(order.path))
