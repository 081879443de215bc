"""The README's pictures, taken of a running platform: `python docs/take_pictures.py http://127.0.0.1:8000`.

Needs Chromium and a demo on which a loop has run (`make loop`, then `ADPROOF_DATA=data/loop make run`).
"""

import io
import shutil
import sys
from pathlib import Path

from PIL import Image
from playwright.sync_api import Page, sync_playwright

OUT = Path(__file__).parent / "pictures"
ARGS = ["--no-sandbox", "--disable-gpu", "--no-first-run", "--disable-background-networking"]
WIDE, NARROW = {"width": 1440, "height": 900}, {"width": 390, "height": 844}
# name, who, where, link to follow from there
PAGES = [
    ("home", "olga", "/", None),
    ("products", "olga", "/products/", None),
    ("candidates", "olga", "/candidates/", None),
    ("quality", "rita", "/quality/", None),
    ("dataset", "max", "/datasets/", "main a[href^='/datasets/']:not([href$='/datasets/'])"),
    ("training", "mia", "/training/", "main table a[href^='/training/']"),
    ("rounds", "mia", "/rounds/", None),
    ("desk", "ann", "/desk/", None),
]


def save(page: Page, name: str) -> None:
    image = Image.open(io.BytesIO(page.screenshot())).convert("RGB")
    image.save(OUT / f"{name}.webp", "WEBP", quality=82, method=6)


def main(base: str) -> None:
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=shutil.which("chromium"), args=ARGS)
        for size, scheme, suffix in ((WIDE, "light", ""), (NARROW, "dark", "-390-dark")):
            for name, who, path, link in PAGES:
                if suffix and name not in {"desk", "home"}:
                    continue
                page = browser.new_context(viewport=size, color_scheme=scheme).new_page()
                page.goto(f"{base}/login/")
                page.locator(f"button:has-text('{who.capitalize()}')").first.click()
                page.wait_for_load_state("load")
                page.goto(base + path)
                if link:
                    page.locator(link).first.click()
                page.wait_for_timeout(2500)
                save(page, name + suffix)
                page.context.close()
        browser.close()


if __name__ == "__main__":
    main(sys.argv[1].rstrip("/"))
