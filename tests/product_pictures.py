"""Drawn products for tests that need one."""

import numpy as np
from PIL import Image, ImageDraw


def mug(side: int = 200) -> np.ndarray:
    """(side, side, 4) uint8: a red mug with an antialiased outline on transparent ground."""
    picture = Image.new("RGBA", (4 * side, 4 * side), (255, 255, 255, 0))
    draw = ImageDraw.Draw(picture)
    draw.rounded_rectangle([1.0 * side, 1.2 * side, 2.6 * side, 3.4 * side], side // 4, fill=(200, 40, 30, 255))
    draw.arc([2.2 * side, 1.6 * side, 3.4 * side, 2.8 * side], -90, 90, fill=(150, 30, 20, 255), width=side // 4)
    return np.asarray(picture.resize((side, side), Image.Resampling.BOX))
