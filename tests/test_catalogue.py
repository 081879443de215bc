"""The sample catalogue: real pictures with true sizes, small enough to ship."""

import re

import numpy as np
import pytest

from adproof.adworld.catalogue import (
    DATA,
    CatalogueProduct,
    contact_sheet,
    load_catalogue,
    products,
    references,
)

BUDGET_BYTES = 8_000_000
YAWS = (35, -30)
VIEWS = [pytest.param(view, id=f"{view.sku}@{yaw}") for yaw in YAWS for view in load_catalogue(yaw)]


def colourfulness(rgba: np.ndarray) -> float:
    """Hasler and Suesstrunk 2003, over the opaque pixels."""
    r, g, b = rgba[rgba[..., 3] == 255][:, :3].astype(float).T
    red_green, yellow_blue = r - g, (r + g) / 2 - b
    spread = np.hypot(red_green.std(), yellow_blue.std())
    return float(spread + 0.3 * np.hypot(red_green.mean(), yellow_blue.mean()))


def test_there_are_at_least_sixty_products_and_eight_references() -> None:
    assert len(products()) >= 60
    assert 8 <= len(references()) <= 10
    assert set(load_catalogue()) == set(products()) | set(references())


def test_skus_are_unique_and_the_same_under_both_yaws() -> None:
    skus = [entry.sku for entry in load_catalogue()]
    assert len(set(skus)) == len(skus)
    assert skus == sorted(skus) == [entry.sku for entry in load_catalogue(-30)]


def test_an_unknown_yaw_is_refused() -> None:
    with pytest.raises(ValueError, match="yaw 12"):
        load_catalogue(12)


def test_products_fill_ten_to_fifteen_categories_of_three_or_more() -> None:
    categories = [entry.category for entry in products()]
    assert 10 <= len(set(categories)) <= 15
    assert min(categories.count(category) for category in categories) >= 3


def test_titles_tell_the_products_apart() -> None:
    titles = [entry.title for entry in products()]
    assert len(set(titles)) == len(titles)


def test_every_description_states_a_size_that_is_the_true_one() -> None:
    for entry in load_catalogue():
        stated = [float(number) for number in re.findall(r"(\d+(?:\.\d+)?)(?= cm| x)", entry.description)]
        assert stated, entry.sku
        for number in stated:
            assert min(abs(number - cm) for cm in entry.size_cm) <= 0.51, entry.sku


def test_references_have_one_word_names_and_products_none() -> None:
    names = [entry.name for entry in references()]
    assert len(set(names)) == len(names)
    assert all(name and name.isalpha() and name.islower() for name in names)
    assert all(entry.name is None for entry in products())


def test_the_pictures_fit_the_budget_and_each_file_belongs_to_an_entry() -> None:
    files = set(DATA.glob("*.webp"))
    assert files == {view.path for yaw in YAWS for view in load_catalogue(yaw)}
    assert sum(file.stat().st_size for file in DATA.iterdir()) < BUDGET_BYTES


def test_most_products_are_colourful_and_few_are_grey() -> None:
    values = np.array([colourfulness(entry.image()) for entry in products()])
    assert np.median(values) > 30
    assert np.mean(values < 8) < 0.05


@pytest.mark.parametrize("view", VIEWS)
def test_a_picture_is_a_clean_cut_out_of_the_stated_size(view: CatalogueProduct) -> None:
    rgba = view.image()
    alpha = rgba[..., 3]
    rows, columns = (np.flatnonzero(alpha.any(axis)) for axis in (1, 0))

    assert rgba.dtype == np.uint8
    assert (alpha == 255).mean() > 0.04, "hardly anything to see"
    assert not alpha[[0, -1]].any() and not alpha[:, [0, -1]].any(), "cut off at the border"
    assert rows[0] <= 4 and columns[0] <= 4 and rows[-1] >= len(alpha) - 5, "not tightly cropped"

    width, depth, height = view.size_cm
    yaw, pitch = np.radians(abs(view.yaw)), np.radians(17)
    widest = width * np.cos(yaw) + depth * np.sin(yaw)
    tallest = height * np.cos(pitch) + (width * np.sin(yaw) + depth * np.cos(yaw)) * np.sin(pitch)
    assert np.ptp(columns) / view.px_per_cm <= widest * 1.02
    assert np.ptp(rows) / view.px_per_cm <= tallest * 1.02
    assert np.ptp(columns) / view.px_per_cm > widest * 0.6


@pytest.mark.parametrize("view", VIEWS)
def test_the_footprint_lies_under_the_thing(view: CatalogueProduct) -> None:
    height, width = view.image().shape[:2]
    contact, plan = view.contact, view.plan

    assert contact.cx - contact.rx >= 0 and contact.cx + contact.rx <= width
    assert contact.rx <= plan.rx + 0.2 and contact.ry <= plan.ry + 0.2
    assert view.base_y == pytest.approx(contact.cy + contact.ry, abs=0.03 * height)
    assert height / 2 < view.base_y <= height - 2


def test_sizes_are_those_of_things_one_can_buy() -> None:
    for entry in load_catalogue():
        assert min(entry.size_cm) >= 0.5 and 4 <= max(entry.size_cm) <= 260, entry.sku


def test_the_picture_keeps_the_colour_of_the_thing_up_to_its_edge() -> None:
    orange = next(entry for entry in products() if entry.sku == "basketball").image().astype(int)
    soft = orange[(orange[..., 3] > 40) & (orange[..., 3] < 215)]
    assert len(soft) > 100
    assert np.median(soft[:, 0]) > np.median(soft[:, 2]) + 40, "a dark or grey fringe"


def test_the_contact_sheet_shows_every_entry() -> None:
    some = products()[:7]
    sheet = np.asarray(contact_sheet(some, columns=4, tile=80))
    assert sheet.shape == (2 * 110, 4 * 80, 3)
    assert sheet[:80, :80].std() > 5
