"""A thing that tells a scene's scale and that the furniture archive lacks: a stack of books. Needs trimesh."""

from __future__ import annotations

import numpy as np
import trimesh
from PIL import ImageColor


def book_stack() -> trimesh.Scene:
    """Three hardbacks lying on each other, in cm: the furniture archive has no book of its own."""
    scene = trimesh.Scene()
    bottom = 0.0
    for width, depth, thick, spin, cover in [
        (24.0, 17.0, 3.6, 0.0, "#8c2f39"),
        (22.5, 15.5, 2.8, 7.0, "#2f5d8c"),
        (20.0, 13.5, 2.4, -5.0, "#d8a531"),
    ]:
        parts = [
            (width, 0.3, depth, 0.0, 0.0, cover),
            (width, 0.3, depth, 0.0, thick - 0.3, cover),
            (0.4, thick, depth, -width / 2 + 0.2, 0.0, cover),
            (width - 1.0, thick - 0.6, depth - 0.8, 0.0, 0.3, "#efe8d6"),
        ]
        for part_width, height, part_depth, x, above, colour in parts:
            part = trimesh.creation.box([part_width, height, part_depth])
            part.apply_translation([x, bottom + above + height / 2, 0])
            part.apply_transform(trimesh.transformations.rotation_matrix(np.radians(spin), [0, 1, 0]))
            diffuse = np.array([*ImageColor.getrgb(colour), 255], np.uint8)
            material = trimesh.visual.material.SimpleMaterial(diffuse=diffuse, name=colour)
            part.visual = trimesh.visual.TextureVisuals(material=material)
            scene.add_geometry(part)
        bottom += thick
    return scene
