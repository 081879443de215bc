"""croissant.json of a version: metadata that dataset search engines and loaders read.

Source: the Croissant format, version 1.0, http://mlcommons.org/croissant/1.0.
"""

from __future__ import annotations

import json
from typing import Any

import pyarrow as pa

from adproof.shards.manifest import Manifest
from adproof.shards.schema import FULL, IMAGE_COLUMNS, LABELS_ONLY, SPLITS, WEBDATASET, columns_of

_PARQUET = ("parquet", "application/x-parquet")
_FORMATS = {FULL: _PARQUET, LABELS_ONLY: _PARQUET, WEBDATASET: ("tar", "application/x-tar")}
_CONTEXT: dict[str, Any] = {
    "@language": "en",
    "@vocab": "https://schema.org/",
    "citeAs": "cr:citeAs",
    "column": "cr:column",
    "conformsTo": "dct:conformsTo",
    "cr": "http://mlcommons.org/croissant/",
    "data": {"@id": "cr:data", "@type": "@json"},
    "dataType": {"@id": "cr:dataType", "@type": "@vocab"},
    "dct": "http://purl.org/dc/terms/",
    "examples": {"@id": "cr:examples", "@type": "@json"},
    "extract": "cr:extract",
    "field": "cr:field",
    "fileObject": "cr:fileObject",
    "fileProperty": "cr:fileProperty",
    "fileSet": "cr:fileSet",
    "format": "cr:format",
    "includes": "cr:includes",
    "isLiveDataset": "cr:isLiveDataset",
    "jsonPath": "cr:jsonPath",
    "key": "cr:key",
    "md5": "cr:md5",
    "parentField": "cr:parentField",
    "path": "cr:path",
    "rai": "http://mlcommons.org/croissant/RAI/",
    "recordSet": "cr:recordSet",
    "references": "cr:references",
    "regex": "cr:regex",
    "repeated": "cr:repeated",
    "replace": "cr:replace",
    "samplingRate": "cr:samplingRate",
    "sc": "https://schema.org/",
    "separator": "cr:separator",
    "source": "cr:source",
    "subField": "cr:subField",
    "transform": "cr:transform",
}


def write(manifest: Manifest) -> bytes:
    """The metadata of a version whose shards are written; the same manifest gives the same bytes."""
    info = manifest.info
    shards = {name: entry for name, entry in manifest.files.items() if name.startswith("data/")}
    ending, encoding = _FORMATS[manifest.variant]
    present = [split for split in SPLITS if manifest.rows[split]]
    content = {
        "@context": _CONTEXT,
        "@type": "sc:Dataset",
        "conformsTo": "http://mlcommons.org/croissant/1.0",
        "name": f"{info['name']}-{info['version']}",
        "description": info["description"] or "Advertising images, each with a label that people agreed on.",
        "version": info["version"],
        "datePublished": info["created_at"],
        "license": info["license"],
        **({"url": info["url"]} if info["url"] else {}),
        "citeAs": f"{info['name']} {info['version']}, digest {manifest.digest}",
        "distribution": [
            {
                "@type": "cr:FileObject",
                "@id": name,
                "name": name,
                "contentUrl": name,
                "contentSize": f"{entry.bytes} B",
                "encodingFormat": encoding,
                "sha256": entry.sha256,
            }
            for name, entry in shards.items()
        ] + [_file_set(split, ending, encoding) for split in present],
        # Croissant 1.0 has no way to say that the members of a tar with one key are one record.
        "recordSet": [] if manifest.variant == WEBDATASET else [_record_set(split, manifest.variant) for split in present],
    }
    return (json.dumps(content, indent=2, ensure_ascii=False) + "\n").encode()


def _file_set(split: str, ending: str, encoding: str) -> dict[str, Any]:
    return {
        "@type": "cr:FileSet",
        "@id": f"{split}-shards",
        "name": f"{split}-shards",
        "encodingFormat": encoding,
        "includes": f"data/{split}-*.{ending}",
    }


def _record_set(split: str, variant: str) -> dict[str, Any]:
    # The single answers (`annotations`) are a list of structs, which Croissant 1.0 has no field for.
    return {
        "@type": "cr:RecordSet",
        "@id": split,
        "name": split,
        "key": {"@id": f"{split}/sample_id"},
        "field": [_field(split, name, kind) for name, kind, _ in columns_of(variant) if name != "annotations"],
    }


def _field(split: str, name: str, kind: pa.DataType) -> dict[str, Any]:
    source: dict[str, Any] = {"fileSet": {"@id": f"{split}-shards"}, "extract": {"column": name}}
    field: dict[str, Any] = {"@type": "cr:Field", "@id": f"{split}/{name}", "name": f"{split}/{name}"}
    if name in IMAGE_COLUMNS:
        source["transform"] = {"jsonPath": "bytes"}
        return field | {"dataType": "sc:ImageObject", "source": source}
    if pa.types.is_fixed_size_list(kind):
        return field | {"dataType": "sc:Float", "repeated": True, "source": source}
    return field | {"dataType": _data_type(kind), "source": source}


def _data_type(kind: pa.DataType) -> str:
    if pa.types.is_integer(kind):
        return "sc:Integer"
    if pa.types.is_floating(kind):
        return "sc:Float"
    return "sc:DateTime" if pa.types.is_timestamp(kind) else "sc:Text"
