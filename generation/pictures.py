"""Pictures by their sha256. The content never changes under its address, so browsers keep it for good."""

import io
from contextlib import suppress
from pathlib import Path

import numpy as np
from django.conf import settings
from django.contrib.auth.decorators import login_required
from django.http import FileResponse, Http404, HttpRequest, HttpResponse, HttpResponseBase
from django.views.decorators.http import require_safe
from PIL import Image

from adproof.whole_files import write_whole
from generation.blobs import blobs

THUMBNAIL_SIZES_PX = (96, 192, 384, 768)
_SIGNATURES = {b"\x89PNG": "image/png", b"\xff\xd8\xff": "image/jpeg", b"RIFF": "image/webp"}


@login_required
@require_safe
def picture(request: HttpRequest, sha256: str) -> HttpResponseBase:
    try:
        file = open(blobs().path(sha256), "rb")  # noqa: SIM115 - the response closes it
    except (OSError, ValueError) as error:
        raise Http404("No such picture.") from error
    head = file.read(4)
    file.seek(0)
    # The type comes from the bytes, never from a name; anything that is no picture is not served as one.
    kind = next((kind for start, kind in _SIGNATURES.items() if head.startswith(start)), "application/octet-stream")
    return _for_good(FileResponse(file, content_type=kind))


@login_required
@require_safe
def thumbnail(request: HttpRequest, px: int, sha256: str) -> HttpResponseBase:
    if px not in THUMBNAIL_SIZES_PX:
        raise Http404("No such size.")
    path = Path(settings.THUMBNAILS_DIR) / str(px) / sha256[:2] / f"{sha256}.webp"
    if path.is_file():
        return _for_good(FileResponse(open(path, "rb"), content_type="image/webp"))
    try:
        data = _thumbnail(sha256, px)
    except (OSError, ValueError) as error:
        raise Http404("No such picture.") from error
    with suppress(OSError):  # a full disk: it is made again next time
        _keep(path, data)
    return _for_good(HttpResponse(data, content_type="image/webp"))


def _for_good(response: HttpResponse) -> HttpResponse:
    response["Cache-Control"] = "private, max-age=31536000, immutable"
    response["X-Content-Type-Options"] = "nosniff"
    response["Content-Security-Policy"] = "default-src 'none'; sandbox"
    return response


def _thumbnail(sha256: str, px: int) -> bytes:
    image = Image.open(io.BytesIO(blobs().get(sha256)))
    if image.mode.startswith("I"):  # 16-bit depth: Pillow would clip it at 255
        image = Image.fromarray((np.asarray(image).astype(np.uint32) >> 8).astype(np.uint8))
    elif image.mode not in {"RGB", "RGBA", "L"}:
        image = image.convert("RGBA")
    image.thumbnail((px, px), Image.Resampling.LANCZOS)
    out = io.BytesIO()
    image.save(out, "WEBP", quality=82, method=2)
    return out.getvalue()


def _keep(path: Path, data: bytes) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    write_whole(path, data, scratch=Path(settings.THUMBNAILS_DIR))
