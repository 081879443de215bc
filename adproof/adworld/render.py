"""Build the sample catalogue's pictures: `python -m adproof.adworld.render SWEETHOME_DEB_OR_FOLDER OUT`.

Needs trimesh, pyrender, scipy and EGL (Debian: libegl1, libgl1-mesa-dri); reading the finished catalogue
needs none of them.
"""

from __future__ import annotations

import argparse
import io
import json
import logging
import os
import re
import subprocess
import tempfile
import zipfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageColor
from scipy.ndimage import gaussian_filter  # type: ignore[import-untyped]

os.environ.setdefault("PYOPENGL_PLATFORM", "egl")
np.infty = np.inf  # type: ignore[attr-defined]  # pyrender 0.1.45 was written for numpy 1

import pyrender  # noqa: E402
import trimesh  # noqa: E402

from adproof.adworld.books import book_stack  # noqa: E402
from adproof.whole_files import write_whole  # noqa: E402

Floats = NDArray[np.float64]
Pixels = NDArray[np.uint8]

logger = logging.getLogger(__name__)

ARCHIVE = "BlendSwap-CC-0.sh3f"
PITCH = 17.0
MAIN_YAW = 35
OTHER_YAW = -30
SUPERSAMPLING = 2
MARGIN = 2
CONTACT_SHARE = 0.03
SELECTION = Path(__file__).parent / "catalogue_data" / "selection.json"


@dataclass(frozen=True)
class Model:
    """One row of the furniture catalogue: an OBJ file, its rotation and its size in cm."""

    path: Path
    rotation: Floats
    size_cm: tuple[float, float, float]
    creator: str


@dataclass(frozen=True)
class Picture:
    rgba: Pixels
    px_per_cm: float
    size_cm: tuple[float, float, float]
    base_y: float
    contact: tuple[float, float, float, float]
    plan: tuple[float, float, float, float]


@contextmanager
def unpacked(source: Path) -> Iterator[Path]:
    """The folder of the CC0 archive's contents; `source` is the .deb or a folder that holds the archive."""
    with tempfile.TemporaryDirectory() as scratch:
        folder = source
        if source.is_file():
            folder = Path(scratch) / "deb"
            subprocess.run(["dpkg-deb", "-x", str(source), str(folder)], check=True)
        archive = next(folder.rglob(ARCHIVE), None)
        if archive is None:
            raise FileNotFoundError(f"no {ARCHIVE} in {source}")
        contents = Path(scratch) / "models"
        with zipfile.ZipFile(archive) as opened:
            opened.extractall(contents)
        yield contents


def read_models(folder: Path) -> dict[str, Model]:
    """The archive's models by the stem of their OBJ file."""
    rows: dict[str, dict[str, str]] = {}
    text = (folder / "PluginFurnitureCatalog.properties").read_text("latin-1")
    for key, row, value in re.findall(r"^(\w+)#(\d+)=(.*)$", text, re.MULTILINE):
        rows.setdefault(row, {})[key] = value.strip()
    return {Path(row["model"]).stem: _model(folder, row) for row in rows.values()}


def _model(folder: Path, row: dict[str, str]) -> Model:
    turn = np.fromstring(row.get("modelRotation", "1 0 0 0 1 0 0 0 1"), sep=" ").reshape(3, 3)
    size = (float(row["width"]), float(row["depth"]), float(row["height"]))
    return Model(folder / row["model"].lstrip("/"), turn, size, row["creator"])


def load_scene(model: Model, scale: float = 1.0, spin: float = 0.0) -> trimesh.Scene:
    """The model in cm, x right, y up, z to the viewer, centred over the origin and standing on y = 0.

    `scale` mends a catalogue size that is wrong; `spin` (degrees) turns the thing's front.
    """
    loaded = trimesh.load(model.path, process=False)
    scene = loaded if isinstance(loaded, trimesh.Scene) else trimesh.Scene(loaded)
    turn = np.eye(4)
    turn[:3, :3] = model.rotation
    scene.apply_transform(turn)
    width, depth, height = model.size_cm
    units = float(np.median(np.array([width, height, depth]) / np.maximum(scene.extents, 1e-9)))
    scene.apply_scale(units * scale)
    scene.apply_transform(trimesh.transformations.rotation_matrix(np.radians(spin), [0, 1, 0]))
    low, high = scene.bounds
    scene.apply_translation([-(low[0] + high[0]) / 2, -low[1], -(low[2] + high[2]) / 2])
    return scene


def camera_axes(yaw: float) -> Floats:
    """(3, 3): the camera's right, up and backward axes as rows."""
    a, e = np.radians(yaw), np.radians(PITCH)
    back = np.array([np.sin(a) * np.cos(e), np.sin(e), np.cos(a) * np.cos(e)])
    right = np.array([np.cos(a), 0.0, -np.sin(a)])
    return np.stack([right, np.cross(back, right), back])


def _pose(axes: Floats, position: Floats) -> Floats:
    pose = np.eye(4)
    pose[:3, :3] = axes.T
    pose[:3, 3] = position
    return pose


def _material(mesh: trimesh.Trimesh, paint: dict[str, str]) -> pyrender.MetallicRoughnessMaterial:
    """`paint` by material name: "#rrggbb" for a plain colour, "hue:DEGREES" to turn the hue of a texture."""
    source = mesh.visual.material
    image = getattr(source, "image", None) if mesh.visual.uv is not None else None
    colour = np.asarray(source.diffuse, float)[:3] / 255
    new = paint.get(source.name, "")
    if new.startswith("#"):
        image, colour = None, np.array(ImageColor.getrgb(new)) / 255
    if image is not None:
        image, colour = image.convert("RGB"), np.ones(3)
        if new.startswith("hue:"):
            image = turned_hue(image, float(new.removeprefix("hue:")))
    linear = np.where(colour <= 0.04045, colour / 12.92, ((colour + 0.055) / 1.055) ** 2.4)
    return pyrender.MetallicRoughnessMaterial(
        baseColorFactor=[*linear, 1.0],
        baseColorTexture=image,
        metallicFactor=0.0,
        roughnessFactor=0.55,
        doubleSided=True,
    )


def turned_hue(image: Image.Image, degrees: float) -> Image.Image:
    """An RGB picture with every hue turned by so many degrees; grey stays grey."""
    hue, saturation, value = image.convert("HSV").split()
    shift = round(degrees / 360 * 256)
    return Image.merge("HSV", (hue.point(lambda h: (h + shift) % 256), saturation, value)).convert("RGB")


def _primitive(mesh: trimesh.Trimesh, back: Floats, paint: dict[str, str]) -> pyrender.Primitive:
    """Triangles with their own corners, normals turned to the viewer: pyrender leaves a back face unlit."""
    normals = np.asarray(mesh.vertex_normals)[mesh.faces]
    facing = np.asarray(mesh.face_normals)
    facing = np.where((facing @ back)[:, None] < 0, -facing, facing)[:, None, :]
    agreement = (normals * facing).sum(-1, keepdims=True)
    normals = np.where(agreement < 0, -normals, normals)
    normals = np.where(np.abs(agreement) < 0.5, facing, normals)
    uv = mesh.visual.uv
    return pyrender.Primitive(
        positions=mesh.vertices[mesh.faces].reshape(-1, 3),
        normals=normals.reshape(-1, 3),
        texcoord_0=None if uv is None else np.asarray(uv)[mesh.faces].reshape(-1, 2),
        material=_material(mesh, paint),
        mode=4,
    )


def _lights(axes: Floats) -> list[tuple[Floats, float]]:
    """Key from the upper left, fill from the right, one from the top: (way to the light, strength)."""
    seen = [((-0.55, 0.75, 0.85), 2.7), ((0.9, 0.15, 0.6), 1.1), ((0.1, 1.0, 0.05), 1.3)]
    return [(np.asarray(direction) @ axes, strength) for direction, strength in seen]


def _looking_from(direction: Floats) -> Floats:
    back = direction / np.linalg.norm(direction)
    right = np.cross([0.0, 1.0, 0.01], back)
    right /= np.linalg.norm(right)
    return np.stack([right, np.cross(back, right), back])


def _shoot(
    meshes: list[trimesh.Trimesh], axes: Floats, box: Floats, px_per_cm: float, paint: dict[str, str]
) -> tuple[Floats, Floats]:
    """Colour (h, w, 3) in 0..1 and depth (h, w) in cm; `box` is left, bottom, right, top in camera cm."""
    left, bottom, right, top = box
    reach = max(float(np.abs(mesh.bounds).max()) for mesh in meshes) * 4
    centre = np.array([(left + right) / 2, (bottom + top) / 2, reach]) @ axes
    scene = pyrender.Scene(bg_color=[0, 0, 0, 0], ambient_light=[0.28] * 3)
    scene.add(pyrender.Mesh([_primitive(mesh, axes[2], paint) for mesh in meshes]))
    for direction, strength in _lights(axes):
        pose = _pose(_looking_from(direction), np.zeros(3))
        scene.add(pyrender.DirectionalLight(intensity=strength), pose=pose)
    camera = pyrender.OrthographicCamera(
        xmag=(right - left) / 2, ymag=(top - bottom) / 2, znear=reach * 0.01, zfar=reach * 3
    )
    scene.add(camera, pose=_pose(axes, centre))
    # one renderer per picture: a second render with the same one loses its EGL context
    width, height = round((right - left) * px_per_cm), round((top - bottom) * px_per_cm)
    renderer = pyrender.OffscreenRenderer(width, height)
    try:
        flags = pyrender.RenderFlags.RGBA | pyrender.RenderFlags.SKIP_CULL_FACES
        colour, depth = renderer.render(scene, flags=flags)
    finally:
        renderer.delete()
    return colour[..., :3].astype(float) / 255, depth.astype(float)


def _creases(depth: Floats, radius: float) -> Floats:
    """How far a pixel lies behind its surroundings, 0..1: depth unsharp masking (Luft et al. 2006)."""
    inside = depth > 0
    weight = gaussian_filter(inside.astype(float), radius)
    filled = np.where(inside, depth, 0.0)
    behind = depth - gaussian_filter(filled, radius) / np.maximum(weight, 1e-3)
    spread = float(np.ptp(depth[inside])) or 1.0
    return np.where(inside, np.clip(behind / (0.12 * spread), 0, 1), 0.0)


def _filter_down(colour: Floats, alpha: Floats) -> Pixels:
    """Box filter of premultiplied colour, un-premultiplied: edges carry the thing's colour, not the dark."""
    planes = np.dstack([colour * alpha[..., None], alpha])
    height, width = (side // SUPERSAMPLING for side in alpha.shape)
    blocks = planes.reshape(height, SUPERSAMPLING, width, SUPERSAMPLING, 4).mean((1, 3))
    cover = blocks[..., 3:]
    straight = np.where(cover > 0, blocks[..., :3] / np.maximum(cover, 1e-6), 0.0)
    rgba: Pixels = np.rint(np.dstack([straight, cover]) * 255).clip(0, 255).astype(np.uint8)
    return rgba


def _ellipse(points: Floats) -> tuple[float, float, float, float]:
    low, high = points.min(0), points.max(0)
    cx, cy = (low + high) / 2
    rx, ry = (high - low) / 2
    return float(cx), float(cy), float(rx), float(ry)


def render(scene: trimesh.Scene, yaw: float, longest: int, paint: dict[str, str] | None = None) -> Picture:
    """An orthographic picture whose longest side has `longest` px, with a clear margin of 2 px all round."""
    meshes = [mesh for mesh in scene.dump() if isinstance(mesh, trimesh.Trimesh) and len(mesh.faces)]
    axes = camera_axes(yaw)
    corners = np.concatenate([mesh.vertices[np.unique(mesh.faces)] for mesh in meshes])
    seen = corners @ axes[:2].T
    low, high = seen.min(0), seen.max(0)
    px_per_cm = (longest - 2 * MARGIN) / float((high - low).max())
    width, height = (int(np.ceil(side)) + 2 * MARGIN for side in (high - low) * px_per_cm)
    left, top = low[0] - MARGIN / px_per_cm, high[1] + MARGIN / px_per_cm
    box = np.array([left, top - height / px_per_cm, left + width / px_per_cm, top])
    colour, depth = _shoot(meshes, axes, box, px_per_cm * SUPERSAMPLING, paint or {})
    colour = colour * (1 - 0.45 * _creases(depth, radius=longest * SUPERSAMPLING / 40))[..., None]

    def to_pixels(points: Floats) -> Floats:
        flat = points @ axes[:2].T
        return np.stack([flat[:, 0] - left, top - flat[:, 1]], 1) * px_per_cm

    on_ground = corners * [1, 0, 1]
    touching = on_ground[corners[:, 1] <= CONTACT_SHARE * corners[:, 1].max()]
    contact = _ellipse(to_pixels(touching))
    extent = np.ptp(corners, axis=0)
    return Picture(
        rgba=_filter_down(colour, (depth > 0).astype(float)),
        px_per_cm=px_per_cm,
        size_cm=(float(extent[0]), float(extent[2]), float(extent[1])),
        # under a rounded bottom the ellipse reaches a little below the picture's lowest point
        base_y=min(contact[1] + contact[3], (top - float(low[1])) * px_per_cm),
        contact=contact,
        plan=_ellipse(to_pixels(on_ground)),
    )


def _entry(chosen: dict[str, Any], picture: Picture, yaw: int, creator: str) -> dict[str, Any]:
    width, depth, height = picture.size_cm

    def words(cm: float) -> str:
        return f"{cm:.0f}" if cm >= 10 else f"{cm:.1f}".removesuffix(".0")

    is_reference = "name" in chosen
    return {
        "sku": chosen["sku"],
        "title": chosen["title"],
        "description": chosen["description"].format(w=words(width), d=words(depth), h=words(height)),
        "category": chosen["category"],
        "size_cm": [round(cm, 1) for cm in picture.size_cm],
        "source": "adproof-samples",
        "license": "CC0",
        "credits": creator,
        "is_reference": is_reference,
        "name": chosen.get("name"),
        "yaw": yaw,
        "px_per_cm": round(picture.px_per_cm, 4),
        "base_y": round(picture.base_y, 1),
        "contact": [round(px, 1) for px in picture.contact],
        "plan": [round(px, 1) for px in picture.plan],
    }


def build(source: Path, out: Path, only: frozenset[str] = frozenset()) -> None:
    """Write catalogue.json and one WebP per entry and yaw into `out`.

    `only` names the skus to render; the other entries are kept as they are. Empty: render all.
    """
    out.mkdir(parents=True, exist_ok=True)
    table = out / "catalogue.json"
    selection = json.loads(SELECTION.read_text())
    kept = {chosen["sku"] for chosen in selection} - only if only else set()
    written = json.loads(table.read_text()) if table.exists() else []
    entries = [entry for entry in written if entry["sku"] in kept]
    with unpacked(source) as folder:
        models = read_models(folder)
        for chosen in selection:
            if chosen["sku"] not in kept:
                model = models[chosen["model"]] if chosen["model"] else None
                entries += _render_entry(chosen, model, out)
                logger.info("%s %s", chosen["sku"], entries[-1]["size_cm"])
    entries.sort(key=lambda entry: (entry["sku"], -entry["yaw"]))
    lines = ",\n".join(json.dumps(entry, ensure_ascii=False) for entry in entries)
    write_whole(table, f"[\n{lines}\n]\n".encode())


def _render_entry(chosen: dict[str, Any], model: Model | None, out: Path) -> list[dict[str, Any]]:
    if model:
        scene = load_scene(model, chosen.get("scale", 1.0), chosen.get("spin", 0.0))
        creator = f"3D model by {model.creator}, Blend Swap / eTeks"
    else:
        scene, creator = book_stack(), "Adproof"
    entries = []
    for yaw, ending in ((MAIN_YAW, ""), (OTHER_YAW, "-turned")):
        picture = render(scene, yaw, _longest(chosen, yaw), chosen.get("paint"))
        file = f"{chosen['sku']}{ending}.webp"
        encoded = io.BytesIO()
        Image.fromarray(picture.rgba).save(encoded, "webp", quality=88, alpha_quality=100, method=6)
        write_whole(out / file, encoded.getvalue())
        entries.append({**_entry(chosen, picture, yaw, creator), "file": file})
    return entries


def _longest(chosen: dict[str, Any], yaw: int) -> int:
    if "name" in chosen:
        return 256
    return 768 if yaw == MAIN_YAW else 384


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("source", type=Path, help="sweethome3d-furniture's .deb, or its unpacked folder")
    parser.add_argument("out", type=Path)
    parser.add_argument("--only", nargs="+", default=[], metavar="SKU", help="render these, keep the rest")
    arguments = parser.parse_args()
    logging.basicConfig(format="%(message)s")
    logger.setLevel(logging.INFO)
    build(arguments.source, arguments.out, frozenset(arguments.only))


if __name__ == "__main__":
    main()
