"""Model sets: a name for the generator, depth, saliency, text and RFNet models that are used together.

Sets are entries of sets.json (the package's own, and one beside a site's models): adding a set is no code. A part lies
in a folder, on the Hugging Face hub, or at an address; hub and address are fetched by `modelset get` alone, never in
passing. Only safetensors (and ONNX for saliency) are taken: pickled weights can run code when they are read.
"""

from __future__ import annotations

import hashlib
import json
import os
import urllib.request
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

SHIPPED = Path(__file__).resolve().parent / "models"
SETS_FILE = "sets.json"
SUMS_FILE = "SHA256SUMS"
GENERATOR_FOLDERS = ("vae", "unet", "text_encoder", "tokenizer", "scheduler", "controlnet")
MINI_GENERATOR = "mini/generator"
PARTS = ("generator", "depth", "saliency", "text", "rfnet", "judge")
# What `get` asks the hub for: configs, vocabularies and safetensors, in the folder itself and in the pipeline's parts.
_WANTED = ("*.json", "*.txt", "*.safetensors")
_HUB_FILES = [*_WANTED, *(f"{folder}/{pattern}" for folder in GENERATOR_FOLDERS for pattern in _WANTED)]
# Second copies in half precision, and whole pipelines in one file.
_HUB_LEFT_OUT = ["*.fp16.safetensors", "*.non_ema.safetensors", "*inpainting*.safetensors", "*pruned*.safetensors"]
_PICKLES = ("*.bin", "*.pt", "*.pth", "*.ckpt")


class ModelMissing(FileNotFoundError):
    """A model is not on this machine; the message says how to get it."""


class CannotGet(Exception):
    """A model could not be fetched; the message says why and what to do."""


@dataclass(frozen=True)
class Part:
    """One model of a set."""

    set_name: str
    role: str  # "depth", or "generator base"
    name: str  # recorded with what it made
    source: str  # folder or file, hub id "owner/name", or https address
    md5: str = ""  # of the file, where the model is one

    def kind(self, places: Places) -> str:
        """Where its source is: "address", "hub" or "folder"."""
        if self.source.startswith(("https://", "http://")):
            return "address"
        return "hub" if is_hub_id(self.source) and not _local(self.source, places) else "folder"


@dataclass(frozen=True)
class Places:
    """Where models lie: `models` is a site's own folder of sets, `downloads` receives files from addresses."""

    models: Path = SHIPPED
    downloads: Path = SHIPPED


def is_hub_id(source: str) -> bool:
    """Whether it is written like owner/name."""
    return source.count("/") == 1 and not source.startswith((".", "/", "~"))


def sets(places: Places) -> dict[str, dict[str, Any]]:
    """Every set by name. Raises ValueError if a sets.json can't be read."""
    found: dict[str, dict[str, Any]] = {}
    for file in dict.fromkeys((SHIPPED / SETS_FILE, places.models / SETS_FILE)):
        if file.exists():
            try:
                found |= json.loads(file.read_text())
            except ValueError as error:
                raise ValueError(f"{file} is no JSON ({error}): mend it or remove it") from error
    return found


def parts(name: str, places: Places) -> list[Part]:
    """The models of a set. Raises ValueError for a set that does not exist."""
    entry = sets(places).get(name)
    if entry is None:
        entry = _by_folder(name, places)
    generator = entry.get("generator", {})
    made = [
        Part(name, f"generator {role}", str(generator[role]), str(generator[role]))
        for role in ("base", "controlnet", "lora")
        if generator.get(role)
    ]
    if generator.get("kind") == "mini" and "base" not in generator:
        made.append(Part(name, "generator base", "mini", MINI_GENERATOR))
    for role in PARTS[1:]:
        if role in entry:
            values = {"source": entry[role]} if isinstance(entry[role], str) else dict(entry[role])
            made.append(
                Part(name, role, values.get("name", values["source"]), values["source"], values.get("md5", ""))
            )
    return made


def _by_folder(name: str, places: Places) -> dict[str, Any]:
    """A set without an entry: a folder with the file names of the mini set."""
    if not (places.models / name).is_dir():
        known = ", ".join(sorted(sets(places)))
        raise ValueError(f"there is no model set {name!r}; there are: {known}. Sets are entries of sets.json")
    return {
        "generator": {"kind": "mini", "base": f"{name}/generator"},
        "depth": {"source": f"{name}/depth"},
        "saliency": {"source": f"{name}/saliency/u2netp.onnx"},
    }


def generator_config(name: str, places: Places) -> dict[str, Any]:
    """What Generator.load takes for this set's generator. Raises ValueError if it has none."""
    entry = sets(places).get(name) or _by_folder(name, places)
    if "generator" not in entry:
        raise ValueError(f"the model set {name} has no generator")
    config = dict(entry["generator"])
    for role in ("base", "controlnet", "lora"):
        if role in config and (folder := _local(config[role], places)):
            config[role] = str(folder)
    own = _local(MINI_GENERATOR, places)
    if config.get("kind") == "mini" and "base" not in config and own and own.resolve() != SHIPPED / MINI_GENERATOR:
        config["base"] = str(own)  # a site's own mini set, in place of the package's
    return config


def part(name: str, role: str, places: Places) -> Part:
    """Raises ValueError if the set has no such part."""
    for one in parts(name, places):
        if one.role == role:
            return one
    raise ValueError(f"the model set {name} names no model for {role}: add it to its entry in sets.json")


def path(one: Part, places: Places) -> Path:
    """Where the model lies on this machine. Raises ModelMissing, naming the command that gets it."""
    found = find(one, places)
    if found is None:
        raise ModelMissing(
            f"the {one.role} model {one.name} of the set {one.set_name} is not on this machine: "
            + (f"nothing is at {one.source}" if one.kind(places) == "folder" else how_to_get(one.set_name))
        )
    return found


def how_to_get(what: str) -> str:
    return f"get it with `python manage.py modelset get {what}`, or name a local folder"


def find(one: Part, places: Places) -> Path | None:
    """Where the model lies, or None. Looks at this machine only."""
    if one.kind(places) == "address":
        file = download_place(one, places)
        return file if file.is_file() else None
    if one.kind(places) == "hub":
        return hub_folder(one.source)
    return _local(one.source, places)


def _local(source: str, places: Places) -> Path | None:
    given = Path(source).expanduser()
    places_to_look = [given] if given.is_absolute() else [places.models / given, SHIPPED / given, given]
    return next((place for place in places_to_look if place.exists()), None)


def hub_folder(source: str) -> Path | None:
    """The folder of a hub model that was downloaded before."""
    from huggingface_hub import snapshot_download

    try:
        return Path(snapshot_download(source, local_files_only=True))
    except Exception:  # noqa: BLE001  (the hub client raises many kinds; all mean "not here")
        return None


def download_place(one: Part, places: Places) -> Path:
    return places.downloads / one.set_name / one.role / Path(urlsplit(one.source).path).name


def get(one: Part, places: Places, told: Callable[[str], None] = lambda _: None) -> Path:
    """Fetch a model unless it is here already. Raises CannotGet."""
    found = find(one, places)
    if found is not None and not problems(one, places):
        return found
    if one.kind(places) == "address":
        told(f"{one.role}: fetching {one.source}")
        return _get_address(one, download_place(one, places))
    if one.kind(places) == "hub":
        told(f"{one.role}: fetching {one.source} from the hub")
        return get_from_hub(one.source)
    raise CannotGet(f"the {one.role} model of {one.set_name} should lie at {one.source}; put it there")


def get_from_hub(source: str) -> Path:
    """Download a hub model's configs and safetensors. Raises CannotGet."""
    from huggingface_hub import snapshot_download

    try:
        folder = Path(snapshot_download(source, allow_patterns=_HUB_FILES, ignore_patterns=_HUB_LEFT_OUT))
    except Exception as error:  # noqa: BLE001  (many kinds: offline, not found, gated, disk full)
        raise CannotGet(_why_not(source, error)) from error
    if not any(folder.rglob("*.safetensors")):
        raise CannotGet(no_safetensors(source))
    return folder


def no_safetensors(source: str | Path) -> str:
    return (
        f"{source} offers no safetensors, and pickled weights (.bin, .ckpt, .pt) are not loaded because reading them can "
        "run code: take a safetensors release, or convert it once on a machine you trust (save_pretrained writes them)"
    )


def _why_not(source: str, error: Exception) -> str:
    name, first = type(error).__name__, str(error).strip().splitlines()[:1]
    if name in {"RepositoryNotFoundError", "RevisionNotFoundError", "GatedRepoError"}:
        return f"the hub has no {source} that this machine may read: check the name, or log in with `hf auth login`"
    if os.environ.get("HF_HUB_OFFLINE"):
        return f"{source} can't be fetched while HF_HUB_OFFLINE is set: unset it, or copy the model's folder here"
    return (
        f"{source} can't be fetched ({name}: {first[0] if first else ''}): this machine can't reach the hub, or the disk is "
        "full. Try again online, or copy the model's folder here and name it in the set"
    )


def _get_address(one: Part, file: Path) -> Path:
    file.parent.mkdir(parents=True, exist_ok=True)
    temporary = file.with_name(f"{file.name}.{os.getpid()}.part")
    digest = hashlib.md5(usedforsecurity=False)
    try:
        with urllib.request.urlopen(one.source, timeout=60) as answer, temporary.open("wb") as out:
            while chunk := answer.read(2**20):
                digest.update(chunk)
                out.write(chunk)
            out.flush()
            os.fsync(out.fileno())
        if one.md5 and digest.hexdigest() != one.md5:
            raise CannotGet(
                f"what came from {one.source} is not what the set names (another checksum): the file is not kept; try again"
            )
        temporary.replace(file)
    except OSError as error:
        raise CannotGet(
            f"{one.source} can't be fetched ({error}): try again online, or put the file at {file}"
        ) from error
    finally:
        temporary.unlink(missing_ok=True)
    return file


def problems(one: Part, places: Places) -> list[str]:
    """What is wrong with a model on this machine; empty if nothing is."""
    found = find(one, places)
    if found is None:
        way = f"put it at {one.source}" if one.kind(places) == "folder" else how_to_get(one.set_name)
        return [f"not on this machine: {way}"]
    if found.is_file():
        return _wrong_sum(found, one.md5)
    listed = _wrong_sums(found)
    if not any(found.rglob("*.safetensors")):
        listed.append(no_safetensors(found) if any(_pickles(found)) else f"{found} holds no weights")
    return listed


def size_bytes(one: Part, places: Places) -> int:
    found = find(one, places)
    if found is None:
        return 0
    files = [found] if found.is_file() else [file for file in found.rglob("*") if file.is_file()]
    return sum(file.stat().st_size for file in files)


def _pickles(folder: Path) -> Iterable[Path]:
    return (file for pattern in _PICKLES for file in folder.rglob(pattern))


def _wrong_sum(file: Path, md5: str) -> list[str]:
    if not md5:
        return []
    with file.open("rb") as opened:
        found = hashlib.file_digest(opened, "md5").hexdigest()
    return [] if found == md5 else [f"{file} is damaged (another checksum): remove it and get it again"]


def _wrong_sums(folder: Path) -> list[str]:
    """Files that differ from the folder's own SHA256SUMS, where it has one."""
    sums = folder / SUMS_FILE
    if not sums.is_file():
        return []
    wrong = []
    for line in sums.read_text().splitlines():
        wanted, _, name = line.partition("  ")
        file = folder / name.strip("* ")
        if not file.is_file():
            wrong.append(f"{name} is missing in {folder}")
            continue
        with file.open("rb") as opened:
            if hashlib.file_digest(opened, "sha256").hexdigest() != wanted:
                wrong.append(f"{file} is not what {SUMS_FILE} names: get the set again")
    return wrong


def describe(places: Places) -> Mapping[str, str]:
    """Every set with what it is."""
    return {name: str(entry.get("about", "")) for name, entry in sorted(sets(places).items())}
