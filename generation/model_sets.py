"""The model sets of this site: which one is in use, where its models lie, and its generator as a row."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

from django.conf import settings

from adproof import model_sets
from adproof.diffusion.config import MINI_FOLDER, GeneratorConfig, key_of_config
from adproof.model_sets import Part, Places

if TYPE_CHECKING:
    from generation.models import Generator


def places() -> Places:
    return Places(Path(settings.MODEL_SETS_DIR), Path(settings.DATA_DIR) / "models")


def part_in_use(role: str) -> Part:
    """The depth, saliency ... model of the set in use. Raises ValueError with what to add to sets.json."""
    return model_sets.part(settings.MODEL_SET, role, places())


def path_in_use(role: str) -> Path:
    """Raises ModelMissing with the command that gets it."""
    return model_sets.path(part_in_use(role), places())


def register_generator_of(name: str) -> Generator:
    """The generator of this set as a row; its weights must be here.

    Raises ValueError: no such set. ModelMissing: with the command that gets it.
    """
    from generation import actions
    from generation.models import Generator

    for part in model_sets.parts(name, places()):
        if part.role.startswith("generator"):
            model_sets.path(part, places())
    chosen = GeneratorConfig.from_dict(model_sets.generator_config(name, places()))
    config, key = _whole(chosen), key_of_config(chosen)
    # The set may have had other weights or settings before: its earlier row keeps the name.
    taken = Generator.objects.filter(name=name).exclude(key=key).exists()
    shown = f"{name} {key[:8]}" if taken else name
    return actions.register_generator(shown, config["kind"], config, key, note=f"Model set {name}.")


def _whole(chosen: GeneratorConfig) -> dict[str, Any]:
    """Every setting by name, so that a preset that changes later changes no generator. The package's own folder is not
    named: it lies elsewhere on another machine."""
    config = {name: value for name, value in asdict(chosen).items() if value is not None}
    if chosen.base == str(MINI_FOLDER):
        del config["base"]
    return config


def is_shipped(generator: Generator) -> bool:
    """It draws with what lies in the package, which another release brings other weights of."""
    return generator.kind == "mini" and not generator.config.keys() & {"base", "controlnet", "lora"}
