"""Products come in from pictures and CSVs; whatever is wrong is said in a sentence and leaves the rest alone."""

import io
import zipfile

import numpy as np
import pytest
from PIL import Image

from adproof.perception.pictures import PictureError
from generation import importing
from generation.actions import import_product_files, import_products_csv
from generation.importing import BadImport, ZipPictures, sku_of
from generation.models import Product
from tests.build import cut_out, png

pytestmark = pytest.mark.django_db

HEADER = "sku,title,image,category,width_cm,depth_cm,height_cm\n"


def problems(report):
    return [str(problem) for problem in report.problems]


def test_a_cut_out_becomes_a_product_with_its_own_pixels():
    from adproof.perception.pictures import open_picture
    from generation.blobs import blobs

    rgba = cut_out(3)
    report = import_product_files([("Desk Lamp_red.png", png(rgba))], values={"category": "lamps"})
    product = Product.objects.get()
    assert report.created == ["desk-lamp-red"] and product.title == "Desk lamp red" and product.category == "lamps"
    assert (open_picture(blobs().get(product.image_sha256)) == rgba).all()


def test_importing_twice_changes_nothing():
    files = [("a.png", png(cut_out(1))), ("b.png", png(cut_out(2)))]
    assert len(import_product_files(files).created) == 2
    assert len(import_product_files(files).unchanged) == 2 and Product.objects.count() == 2


def test_a_picture_without_alpha_waits_to_be_cut_out():
    rgb = np.random.default_rng(0).integers(0, 255, (64, 64, 3), dtype=np.uint8)
    report = import_product_files([("photo.png", png(rgb))])
    assert report.cut_out_run.kind == "cut_out" and report.cut_out_run.parts.count() == 1 and not Product.objects.exists()


@pytest.mark.parametrize(
    ("name", "data", "says"),
    [
        ("a.png", b"GIF89a not a picture", "PNG, JPEG or WebP"),
        ("a.svg", b"<svg xmlns='http://www.w3.org/2000/svg' onload='alert(1)'/>", "PNG, JPEG or WebP"),
        ("empty.png", b"", "empty"),
        ("clear.png", png(np.zeros((64, 64, 4), np.uint8)), "transparent"),
        ("flat.png", png(np.full((64, 64, 3), 200, np.uint8)), "one flat colour"),
        ("...png", png(cut_out()), "SKU"),
    ],
)
def test_a_bad_file_is_said_and_the_others_are_taken(name, data, says):
    report = import_product_files([(name, data), ("good.png", png(cut_out()))])
    assert len(report.problems) == 1 and says in problems(report)[0]
    assert report.created == ["good"]


def test_a_picture_40000_px_wide_is_refused_before_it_is_decoded():
    out = io.BytesIO()
    Image.new("1", (40_000, 20)).save(out, "PNG")
    report = import_product_files([("wide.png", out.getvalue())])
    assert "40,000" in problems(report)[0] or "40000" in problems(report)[0]


class TestCSV:
    def test_rows_become_products(self):
        data = (HEADER + "L1,Lamp,l.png,lamps,20,20,\"41.5\"\n").encode()
        report = import_products_csv(data, {"l.png": png(cut_out())})
        assert report.created == ["L1"] and Product.objects.get().size_cm == [20, 20, 41.5]

    def test_semicolons_and_a_byte_order_mark_are_understood(self):
        data = ("\ufeff" + HEADER.replace(",", ";") + "L1;Lamp;l.png;;;;\n").encode()
        assert import_products_csv(data, {"l.png": png(cut_out())}).created == ["L1"]

    def test_a_missing_column_is_named(self):
        with pytest.raises(BadImport, match="no column title, image"):
            import_products_csv(b"sku,name\n1,x\n", {})

    def test_a_wrong_encoding_says_what_to_do(self):
        with pytest.raises(BadImport, match="CSV UTF-8"):
            import_products_csv("sku,title,image\n1,Stövel,a.png\n".encode("latin-1"), {})

    def test_binary_data_is_no_csv(self):
        with pytest.raises(BadImport):
            import_products_csv(b"PK\x03\x04\x00\x00\x00", {})

    @pytest.mark.parametrize(
        ("row", "says"),
        [
            (",Lamp,l.png,,,,", "sku is empty"),
            ("L2,,l.png,,,,", "title is empty"),
            ("L2,Lamp,x.png,,,,", "x.png is not among"),
            ("L2,Lamp,l.png,,wide,1,1", "three numbers"),
            ("L2,Lamp,l.png,,-3,1,1", "between 0 and 10,000"),
            ("L1,Lamp,l.png,,,,", "stands already in line 2"),
        ],
    )
    def test_a_bad_row_is_left_out_with_its_line(self, row, says):
        data = (HEADER + f"L1,Lamp,l.png,,,,\n{row}\n").encode()
        report = import_products_csv(data, {"l.png": png(cut_out())})
        assert report.created == ["L1"] and "line 3" in problems(report)[0] and says in problems(report)[0]

    def test_formulas_stay_text(self):
        data = (HEADER + "L1,=HYPERLINK(1),l.png,,,,\n").encode()
        import_products_csv(data, {"l.png": png(cut_out())})
        assert Product.objects.get().title == "=HYPERLINK(1)"


def zipped(*names, **values):
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w", **values) as made:
        for number, name in enumerate(names):
            made.writestr(name, png(cut_out(number)))
    return out.getvalue()


def test_names_of_any_script_make_a_sku_and_two_files_never_one_product():
    report = import_product_files([("茶杯 01.png", png(cut_out(1))), ("mug-1.png", png(cut_out(2))), ("Mug 1.webp", png(cut_out(3)))])
    assert report.created == ["茶杯-01", "mug-1"]
    assert [sku_of(name) for name in ("Stu\u0308hle_2.png", "कुर्सी.png", "§ .png")] == ["stühle-2", "कुर्सी", ""]
    assert problems(report) == ["Mug 1.webp: its SKU would be mug-1, as that of mug-1.png: give one of the files another name."]


class TestZips:
    def rows(self, *images):
        return ("sku,title,image\n" + "".join(f"L{n},Lamp,{image}\n" for n, image in enumerate(images))).encode()

    def test_two_pictures_of_one_name_are_told_apart_by_their_folder(self):
        pictures = ZipPictures(zipped("a/front.png", "b\\front.png", "c/side.png"))
        report = import_products_csv(self.rows("a/front.png", "b/front.png", "front.png", "side.png"), pictures)
        assert report.created == ["L0", "L1", "L3"] and len(set(Product.objects.values_list("image_sha256", flat=True))) == 3
        assert "line 4: the zip holds 2 pictures called front.png: write the folder too" in problems(report)[0]

    def test_a_damaged_picture_is_said_and_the_others_are_taken(self):
        whole = bytearray(zipped("a.png", "b.png"))
        at = whole.find(b"IDAT")
        whole[at + 10 : at + 14] = b"\0\0\0\0"
        report = import_products_csv(self.rows("a.png", "b.png"), ZipPictures(bytes(whole)))
        assert report.created == ["L1"] and "a.png is damaged in the zip" in problems(report)[0]

    def test_whatever_is_damaged_in_it_is_said_in_a_sentence(self):
        for packed_by in (zipfile.ZIP_LZMA, zipfile.ZIP_BZIP2, zipfile.ZIP_DEFLATED):
            whole = bytearray(zipped("a.png", compression=packed_by))
            whole[40:80] = bytes(byte ^ 255 for byte in whole[40:80])
            with pytest.raises(PictureError, match="a.png is damaged in the zip"):
                ZipPictures(bytes(whole))["a.png"]
        whole = bytearray(zipped("a.png"))
        whole[whole.find(b"PK\x01\x02") + 6] = 241  # the version that is needed to unpack it
        with pytest.raises(BadImport, match="can't be read"):
            ZipPictures(bytes(whole))

    def test_one_with_a_password_and_a_table_without_rows_are_refused(self):
        locked = bytearray(zipped("a.png"))
        locked[locked.find(b"PK\x01\x02") + 8] |= 1
        with pytest.raises(BadImport, match="asks for a password"):
            ZipPictures(bytes(locked))
        with pytest.raises(BadImport, match="no row below it"):
            import_products_csv(self.rows(), {})


def test_a_zip_is_read_by_name_and_never_unpacked():
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w") as made:
        made.writestr("../../evil.png", png(cut_out()))
    pictures = ZipPictures(out.getvalue())
    assert list(pictures) == ["evil.png"]
    with pytest.raises(BadImport, match="zip can't be read"):
        ZipPictures(b"not a zip")


def test_a_csv_that_is_refused_at_its_end_has_stored_nothing(monkeypatch):
    monkeypatch.setattr(importing, "MAX_ROWS", 1)
    with pytest.raises(BadImport, match="more than 1 rows"):
        import_products_csv(b"sku,title,image\nA,Lamp,l.png\nB,Lamp,l.png\n", {"l.png": png(cut_out())})
    with pytest.raises(BadImport, match="can't be read near line"):
        import_products_csv(b"sku,title,image," + b"x" * 200_000 + b"\nA,Lamp,l.png\n", {"l.png": png(cut_out())})
    assert not Product.objects.exists()


def test_a_word_that_is_too_long_is_said_and_not_cut():
    report = import_products_csv(f"sku,title,image,category\nA,Lamp,l.png,{'x' * 81}\n".encode(), {"l.png": png(cut_out())})
    assert "line 2: the category is longer than 80 characters" in problems(report)[0] and not Product.objects.exists()
