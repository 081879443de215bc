"""The README's pictures, taken of a running platform: `python docs/take_pictures.py http://127.0.0.1:8000`.

Needs Chromium and a demo on which a loop has run (`make loop`, then `ADPROOF_DATA=data/loop make run`) and something was
looked at to import. With `datasets` behind the address: those of docs/datasets.md, of the rows that docs/dataset_demo.py makes.
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
LOOKS = [(WIDE, "light", ""), (WIDE, "dark", "-dark"), (NARROW, "light", "-390"), (NARROW, "dark", "-390-dark")]
# Of the others one look is enough.
IN_EVERY_LOOK = {"statistics", "annotator"}
IN_TWO_LOOKS = {"desk", "home", "import"}
WHOLE = {"statistics": 2900, "annotator": 2400}  # pixels from the top, at most
# name, who, where, link to follow from there
PAGES = [
    ("home", "olga", "/", None),
    ("products", "olga", "/products/", None),
    ("candidates", "olga", "/candidates/", None),
    ("quality", "rita", "/quality/", None),
    ("statistics", "rita", "/quality/", None),
    ("annotator", "rita", "/quality/annotators/", "main table a[href*='/quality/annotators/']:not([href*='?'])"),
    ("dataset", "max", "/datasets/", "main a[href^='/datasets/']:not([href$='/datasets/'])"),
    ("import", "max", "/datasets/import/", "main table a:has-text('Look at')"),
    ("training", "mia", "/training/", "main table a[href^='/training/']"),
    ("rounds", "mia", "/rounds/", None),
    ("desk", "ann", "/desk/", None),
]
DATASETS = [
    ("datasets", "max", "/datasets/", None),
    ("dataset-samples", "max", "/datasets/2/#samples-title", None),
    ("dataset-inspect", "max", "/datasets/2/inspect/", None),
    ("dataset-errors", "max", "/datasets/2/label-errors/", None),
    ("dataset-compare", "max", "/datasets/2/compare/1/?what=relabelled", None),
]


def save(page: Page, name: str) -> None:
    tall = WHOLE.get(name.split("-")[0])
    if tall:  # pictures that are not in sight yet, too
        page.evaluate("document.querySelectorAll('img').forEach((image) => (image.loading = 'eager'))")
        page.wait_for_load_state("networkidle")
    image = Image.open(io.BytesIO(page.screenshot(full_page=bool(tall)))).convert("RGB")
    image = image.crop((0, 0, image.width, min(image.height, tall or image.height)))
    image.save(OUT / f"{name}.webp", "WEBP", quality=82, method=6)


def wanted(name: str, suffix: str) -> bool:
    return not suffix or name in IN_EVERY_LOOK or (suffix == "-390-dark" and name in IN_TWO_LOOKS)


def main(base: str, pages: list[tuple[str, str, str, str | None]]) -> None:
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=shutil.which("chromium"), args=ARGS)
        for size, scheme, suffix in LOOKS:
            for name, who, path, link in pages:
                if not wanted(name, suffix):
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
    main(sys.argv[1].rstrip("/"), DATASETS if "datasets" in sys.argv[2:] else PAGES)
