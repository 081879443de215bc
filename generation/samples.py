"""What a fresh platform starts with: the sample catalogue, some prompts, the mini generator."""

from generation import actions
from generation.importing import Problem, ProductFile, read_picture
from generation.model_sets import is_shipped, register_generator_of
from generation.models import Generator, Prompt, VariableList

SAMPLE_SOURCE = "adproof-samples"


def import_catalogue() -> int:
    """The rendered sample products; safe to run again."""
    from adproof.adworld.catalogue import products

    made = 0
    for entry in products():
        item = read_picture(entry.path.name, entry.path.read_bytes(), entry.sku, entry.title, {
            "description": entry.description, "category": entry.category, "source": SAMPLE_SOURCE,
            "license": "CC0", "size_cm": list(entry.size_cm),
        })  # fmt: skip
        if isinstance(item, Problem):
            raise RuntimeError(f"the shipped catalogue is damaged: {item}")
        assert isinstance(item, ProductFile)
        made += actions.save_product(item) == "created"
    return made


def make_prompts() -> None:
    for name, text in SAMPLE_PROMPTS:
        Prompt.objects.get_or_create(name=name, defaults={"text": text, "image_scale": 0.5})


def make_variables() -> None:
    """Lists to begin with, of words that the mini generator was taught; none where somebody has lists already."""
    from adproof.adworld.words import MATERIALS, WALLS

    if not VariableList.objects.exists():
        for name, values in (("surface", MATERIALS), ("colour", WALLS)):
            VariableList.objects.get_or_create(name=name, defaults={"values": list(values)})


def mini_generator() -> Generator:
    """The shipped small diffusion model, put in use when nothing else is.

    Nor does an earlier release's stay in use: its weights are not there any more, so it can't draw.
    """
    generator = register_generator_of("mini")
    in_use = Generator.objects.filter(is_in_use=True).first()
    if in_use is None or (in_use.key != generator.key and is_shipped(in_use)):
        actions.put_in_use(generator)
    return generator


def _prompt(
    kind: str, material: str, background: str, references: tuple[str, ...] = (), light: str = "soft light"
) -> str:
    from adproof.adworld.words import compose_prompt

    return compose_prompt(kind, material, background, references, light)


SAMPLE_PROMPTS = [
    ("Light wood, beige wall", _prompt("table", "light wood", "beige", ("cup",))),
    ("Marble, white wall", _prompt("table", "white marble", "white", ("bottle",))),
    ("Dark wood, green wall", _prompt("table", "dark wood", "green", ("books",), "warm light")),
    ("Garden table", _prompt("table", "light wood", "garden", (), "light from the left")),
    ("City window", _prompt("table", "black glass", "city", ("cup",), "light from the right")),
    ("Living room floor", _prompt("floor", "light wood", "room", ("sofa",), "warm light")),
    ("Grey studio floor", _prompt("floor", "grey concrete", "grey")),
    ("Kitchen tiles", _prompt("floor", "white tiles", "blue", ("chair",))),
    ("Lawn under the sky", _prompt("floor", "green grass", "sky", ("ball",), "light from the left")),
    ("Beach", _prompt("floor", "sand", "sky", (), "warm light")),
    ("Shelf, pink wall", _prompt("shelf", "light wood", "pink", ("plant",))),
    ("Shelf, dark wall", _prompt("shelf", "dark wood", "dark", ("lamp",), "warm light")),
    ("Podium on blue", _prompt("podium", "white marble", "blue")),
    ("Podium on yellow", _prompt("podium", "grey concrete", "yellow", (), "light from the right")),
    ("Blue cloth", _prompt("table", "blue cloth", "white", ("teddy",))),
    ("Red cloth", _prompt("table", "red cloth", "beige", (), "warm light")),
]
