"""Archives, tables and pictures from outside are read with care: what is wrong is said, and nothing else happens."""

import gzip
import io
import stat
import tarfile
import threading
import zipfile

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from PIL import Image, PngImagePlugin

from adproof.imports import rf1m
from adproof.imports.ahead import ahead
from adproof.imports.archives import BadMember, Member, open_files
from adproof.imports.labels import UNSUITABLE, LabelMap, parse_map
from adproof.imports.pictures import PictureError, is_plain, kept
from adproof.imports.problems import BadImport, LeftOut
from adproof.imports.tables import Row, rows_of
from adproof.labels import Label
from adproof.perception.pictures import open_picture
from tests.import_files import flood_png, make_tar, make_zip, photo, photo_jpeg, photo_png, product_png


def members(path):
    found = list(open_files(path).members())
    return [one.name for one in found if isinstance(one, Member)], [one for one in found if isinstance(one, LeftOut)]


class TestArchives:
    @pytest.mark.parametrize("name", ["../evil.png", "/etc/evil.png", "a/../../evil.png", "C:\\evil.png", "..\\evil.png"])
    def test_a_name_that_leads_outside_is_left_out_of_zip_and_tar(self, tmp_path, name):
        for path in (
            make_zip(tmp_path / "a.zip", {name: b"x", "good.png": photo_png()}),
            make_tar(tmp_path / "a.tar", {name: b"x", "good.png": photo_png()}, "w"),
        ):
            names, left_out = members(path)
            assert names == ["good.png"] and left_out[0].reason == "name leads outside"

    def test_links_in_a_zip_are_left_out(self, tmp_path):
        link = zipfile.ZipInfo("link.png")
        link.external_attr = (stat.S_IFLNK | 0o777) << 16
        with zipfile.ZipFile(tmp_path / "a.zip", "w") as made:
            made.writestr(link, "/etc/passwd")
            made.writestr("good.png", photo_png())
        names, left_out = members(tmp_path / "a.zip")
        assert names == ["good.png"] and left_out[0].reason == "link"

    @pytest.mark.parametrize("kind", [tarfile.SYMTYPE, tarfile.LNKTYPE, tarfile.FIFOTYPE, tarfile.CHRTYPE])
    def test_links_and_devices_in_a_tar_are_left_out(self, tmp_path, kind):
        with tarfile.open(tmp_path / "a.tar", "w") as made:
            info = tarfile.TarInfo("link.png")
            info.type, info.linkname = kind, "/etc/passwd"
            made.addfile(info)
        names, left_out = members(tmp_path / "a.tar")
        assert names == [] and left_out[0].reason == "link"

    def test_links_in_a_folder_are_left_out(self, tmp_path):
        (tmp_path / "secret.png").write_bytes(photo_png())
        folder = tmp_path / "given"
        folder.mkdir()
        (folder / "link.png").symlink_to(tmp_path / "secret.png")
        (folder / "below").symlink_to(tmp_path)
        (folder / "good.png").write_bytes(photo_png())
        names, left_out = members(folder)
        assert names == ["good.png"] and [one.reason for one in left_out] == ["link", "link"]

    def test_a_file_that_unpacks_to_hundreds_of_times_its_size_is_no_picture(self, tmp_path):
        path = make_zip(tmp_path / "a.zip", {"bomb.png": b"\0" * 30_000_000}, zipfile.ZIP_DEFLATED)
        assert members(path)[1][0].reason == "bomb"

    def test_a_zip_that_lies_about_a_size_is_read_no_further_than_the_limit(self, tmp_path):
        path = make_zip(tmp_path / "a.zip", {"bomb.png": b"\0" * 100_000_000}, zipfile.ZIP_DEFLATED)
        data = path.read_bytes().replace((100_000_000).to_bytes(4, "little"), (900_000).to_bytes(4, "little"))
        path.write_bytes(data)
        [member] = [one for one in open_files(path).members() if isinstance(one, Member)]
        with pytest.raises(BadMember):
            member.read()

    def test_a_zip_that_is_cut_short_is_refused_with_what_to_do(self, tmp_path):
        path = make_zip(tmp_path / "a.zip", {"a.png": photo_png()})
        path.write_bytes(path.read_bytes()[:-30])
        with pytest.raises(BadImport, match="copy it again"):
            open_files(path)

    @pytest.mark.parametrize("mode", ["w", "w:gz", "w:bz2", "w:xz"])
    def test_of_a_tar_that_is_cut_short_what_is_whole_is_taken(self, tmp_path, mode):
        path = make_tar(tmp_path / "a.tar", {f"{n}.png": photo_png(n) for n in range(200)}, mode)
        path.write_bytes(path.read_bytes()[: path.stat().st_size * 2 // 3])
        names, left_out = members(path)
        assert (0 < len(names) < 200 or mode == "w:xz") and left_out[-1].reason == "archive cut short"

    def test_a_tar_header_that_claims_gigabytes_takes_no_memory(self, tmp_path):
        info = tarfile.TarInfo("x")
        info.type, info.size = tarfile.XHDTYPE, 8 * 2**30
        (tmp_path / "a.tar").write_bytes(info.tobuf() + b"\0" * 1024)
        names, left_out = members(tmp_path / "a.tar")
        assert names == [] and left_out[0].reason == "archive cut short"

    def test_no_archive_is_refused(self, tmp_path):
        (tmp_path / "a.rar").write_bytes(b"Rar!\x1a\x07")
        with pytest.raises(BadImport, match="neither a folder nor"):
            open_files(tmp_path / "a.rar")

    def test_files_are_found_by_name_and_by_their_last_part(self, tmp_path):
        data = photo_png()
        for path in (make_zip(tmp_path / "a.zip", {"in/a.png": data}), make_tar(tmp_path / "a.tar", {"in/a.png": data}, "w")):
            files = open_files(path)
            assert files.find("in/a.png").read() == files.find("a.png").read() == data
            assert files.find("../../etc/passwd") is None

    def test_a_packed_tar_says_that_names_cannot_be_looked_up(self, tmp_path):
        with pytest.raises(BadImport, match="make it a .zip"):
            open_files(make_tar(tmp_path / "a.tgz", {"a.png": b"x"})).find("a.png")


class TestPictures:
    def test_a_jpeg_stays_a_jpeg_and_loses_what_is_no_picture(self):
        data = photo_jpeg(1, exif=b"Exif\0\0" + b"x" * 50, comment=b"<script>alert(1)</script>")
        made = kept(data + b"PK\x03\x04 a zip after the end")
        assert made.data.startswith(b"\xff\xd8") and b"script" not in made.data and b"PK" not in made.data[-60:]
        assert (open_picture(made.data) == open_picture(data)).all() and kept(made.data).data == made.data

    def test_a_png_loses_its_texts_and_what_follows_its_end(self):
        texts = PngImagePlugin.PngInfo()
        texts.add_text("comment", "<script>alert(1)</script>")
        out = io.BytesIO()
        Image.fromarray(photo(2)).save(out, "PNG", pnginfo=texts)
        made = kept(out.getvalue() + b"<?php system($_GET[1]); ?>")
        assert b"script" not in made.data and b"php" not in made.data and is_plain(made.data)
        assert (open_picture(made.data) == photo(2)).all()

    def test_what_hides_behind_the_pixels_inside_of_a_png_goes_too(self):
        data = photo_png(3)
        at = data.rindex(b"IEND") - 4
        from tests.import_files import chunk

        hidden = data[:at] + chunk(b"IDAT", b"<script>hidden</script>") + data[at:]
        assert not is_plain(hidden) and b"hidden" not in kept(hidden).data

    def test_a_webp_becomes_a_png_of_the_same_pixels(self):
        out = io.BytesIO()
        Image.fromarray(photo(4)).save(out, "WEBP", lossless=True)
        made = kept(out.getvalue())
        assert made.data.startswith(b"\x89PNG") and (open_picture(made.data) == photo(4)).all()

    def test_a_turned_jpeg_is_kept_as_people_see_it(self):
        exif = Image.Exif()
        exif[0x0112] = 6
        data = photo_jpeg(5, exif=exif.tobytes())
        assert (open_picture(kept(data).data) == open_picture(data)).all()

    @pytest.mark.parametrize("decode", [True, False], ids=["whole", "header"])
    @pytest.mark.parametrize(
        ("data", "says"),
        [
            (flood_png(), "far more pixels"),
            (b"<svg xmlns='http://www.w3.org/2000/svg' onload='alert(1)'/>", "SVG"),
            (b"GIF89a" + b"\0" * 50, "GIF"),
            (b"%PDF-1.7", "PDF"),
            (b"", "empty"),
        ],
        ids=["flood", "svg", "gif", "pdf", "empty"],
    )
    def test_what_is_no_fit_picture_is_refused(self, data, says, decode):
        with pytest.raises(PictureError, match=says):
            kept(data, decode=decode)

    def test_alpha_is_told_from_pixels(self):
        assert kept(product_png()).has_alpha and not kept(photo_png()).has_alpha


def read(tmp_path, name, data):
    (tmp_path / name).write_bytes(data if isinstance(data, bytes) else data.encode())
    return list(rows_of(tmp_path / name))


class TestTables:
    @pytest.mark.parametrize("separator", [",", ";", "\t", "|"])
    def test_the_separator_is_found(self, tmp_path, separator):
        [row] = read(tmp_path, "a.csv", separator.join(["Image", "label"]) + "\n" + separator.join(["a.png", "x y"]) + "\n")
        assert row == Row("line 2", {"image": "a.png", "label": "x y"})

    @pytest.mark.parametrize(
        ("data", "says"),
        [
            ("image,label\nStövel,1\n".encode("latin-1"), "not in UTF-8"),
            ("image,label\na,1\n".encode("utf-16"), "UTF-16"),
            (b"image,label\na\x00b,1\n", "zero bytes"),
            (b"image," + b"x" * 2_000_000, "longer than"),
            (b"", "empty"),
            (b"a,a\n1,2\n", "twice"),
            (",".join(f"c{n}" for n in range(10_000)) + "\n", "10,000 columns"),
            ('image,label\n"a,1\n', "can't be read"),
        ],
        ids=["latin", "utf16", "zero", "endless line", "empty", "twice", "wide", "open quote"],
    )
    def test_a_bad_csv_is_refused_with_what_to_do(self, tmp_path, data, says):
        with pytest.raises(BadImport, match=says):
            read(tmp_path, "a.csv", data)

    def test_a_row_with_too_many_cells_is_left_out_alone(self, tmp_path):
        rows = read(tmp_path, "a.csv", "image,label\na,b,c\nd,e\n")
        assert rows[0].reason == "too many cells" and rows[1].values["image"] == "d"

    def test_formulas_are_text(self, tmp_path):
        [row] = read(tmp_path, "a.csv", 'image,title\na.png,"=HYPERLINK(""http://evil"")"\n')
        assert row.values["title"] == '=HYPERLINK("http://evil")'

    def test_json_lines_that_are_none_are_left_out_alone(self, tmp_path):
        rows = read(tmp_path, "a.jsonl", '{"image": "a"}\n[1]\n{bad\n' + "[" * 100_000 + '\n{"image": "b"}\n')
        assert [isinstance(row, Row) for row in rows] == [True, False, False, False, True]

    def test_a_parquet_of_10000_columns_is_refused(self, tmp_path):
        pq.write_table(pa.table({f"c{n}": [1] for n in range(10_000)}), tmp_path / "a.parquet")
        with pytest.raises(BadImport, match="columns"):
            list(rows_of(tmp_path / "a.parquet"))

    def test_a_parquet_footer_that_lies_is_refused(self, tmp_path):
        (tmp_path / "a.parquet").write_bytes(b"PAR1" + b"\xff\xff\xff\x7f" + b"PAR1")
        with pytest.raises(BadImport, match="far too many"):
            list(rows_of(tmp_path / "a.parquet"))

    def test_a_parquet_that_is_cut_short_is_refused(self, tmp_path):
        pq.write_table(pa.table({"image": ["a"] * 1000}), tmp_path / "a.parquet")
        data = (tmp_path / "a.parquet").read_bytes()
        for broken in (data[:-10], data[:20] + data[60:]):
            (tmp_path / "a.parquet").write_bytes(broken)
            with pytest.raises(BadImport):
                list(rows_of(tmp_path / "a.parquet"))

    def test_a_parquet_group_that_unpacks_to_gigabytes_is_refused(self, tmp_path):
        column = pa.array(["\0" * 1_000_000] * 1200, pa.large_string())
        pq.write_table(pa.table({"title": column}), tmp_path / "a.parquet", compression="zstd", use_dictionary=False)
        assert (tmp_path / "a.parquet").stat().st_size < 2_000_000
        with pytest.raises(BadImport, match="unpacks to"):
            list(rows_of(tmp_path / "a.parquet"))


class TestLabels:
    def test_every_usual_spelling_is_known_and_a_bare_number_is_not(self):
        labels = LabelMap()
        assert labels.meaning("Space Mismatch") == Label.SPACE_MISMATCH and labels.meaning("UNSUITABLE") == UNSUITABLE
        with pytest.raises(ValueError, match="say which label it means"):
            labels.meaning("3")
        with pytest.raises(ValueError, match="none of available"):
            labels.meaning("nice")

    def test_numbers_and_other_words_are_taken_as_somebody_says(self):
        labels = LabelMap(parse_map("0=available, 1=unsuitable, gut=Available"))
        assert labels.meaning("0") == labels.meaning("Gut") == Label.AVAILABLE and labels.meaning(1) == UNSUITABLE
        assert labels.table() == [
            {"raw": "0", "label": "available", "count": 1}, {"raw": "1", "label": "unsuitable", "count": 1},
            {"raw": "Gut", "label": "available", "count": 1},
        ]  # fmt: skip

    @pytest.mark.parametrize("text", ["0", "=available", "0=nice"])
    def test_a_bad_mapping_is_refused(self, text):
        with pytest.raises(BadImport):
            parse_map(text)


RAW = ["Available", "Unsuitable", "Space Mismatch", "Size Mismatch", "Indistinctiveness", "Shape Hallucination"]
SHAPES = {
    "tabs": ("", "{name}.jpg\t{label}\n"),
    "label first": ("", "{label}\t{name}.jpg\n"),
    "commas, header": ("image,label\n", "{name}.jpg,{label}\n"),
    "semicolons, header, more columns": ("id;prompt;label;img\n", "7;on a table, by day;{label};x/{name}.jpg\n"),
    "blanks": ("", "{name}.jpg {label}\n"),
    "names without an ending": ("", "{name}\t{label}\n"),
    "paths": ("", "TrainSet/a/{name}.png,{label}\n"),
    "windows": ("", "TrainSet\\a\\{name}.png\t{label}\r\n"),
    "bars": ("", "{name}.jpg|{label}|{number}\n"),
    "json": ("", '{{"image": "{name}.jpg", "label": "{label}"}}\n'),
    "a comment as header": ("# image\tlabel\n", "{name}.jpg\t{label}\n"),
}


def label_file(tmp_path, header, line, n=60):
    path = tmp_path / "label.txt"
    lines = [line.format(name=f"p_{number}_x", label=RAW[number % 6], number=number) for number in range(n)]
    path.write_bytes((header + "".join(lines)).encode())
    return path


class TestRF1M:
    @pytest.mark.parametrize("shape", SHAPES)
    def test_label_txt_is_understood_however_it_is_written(self, tmp_path, shape):
        path, labels = label_file(tmp_path, *SHAPES[shape]), LabelMap()
        found = rf1m.shape_of(path, labels)
        lines = list(rf1m.lines_of(path, found))
        assert len(lines) == 60 and {line.stem for line in lines} == {f"p_{number}_x" for number in range(60)}
        assert [line.raw_label for line in lines[:6]] == RAW
        keys, repeated = rf1m.survey(path, found, labels)
        assert len(keys) == 60 and not repeated.clashing and not repeated.same

    def test_the_prompt_of_a_named_column_is_kept(self, tmp_path):
        path = label_file(tmp_path, *SHAPES["semicolons, header, more columns"])
        first = next(rf1m.lines_of(path, rf1m.shape_of(path, LabelMap())))
        assert first.values["prompt"] == "on a table, by day"

    def test_numbers_are_not_guessed(self, tmp_path):
        path = tmp_path / "label.txt"
        path.write_text("".join(f"p{n}.jpg\t{n % 6}\n" for n in range(60)))
        with pytest.raises(BadImport, match="say what they mean"):
            rf1m.shape_of(path, LabelMap())
        given = LabelMap(parse_map("0=available,1=unsuitable,2=space mismatch,3=size mismatch,4=indistinct,5=hallucination"))
        assert len(list(rf1m.lines_of(path, rf1m.shape_of(path, given)))) == 60

    @pytest.mark.parametrize("content", ["", "a\nb\nc\n", "<html>\n<body>\n", "Available\nAvailable\n"])
    def test_what_is_no_label_txt_is_refused(self, tmp_path, content):
        (tmp_path / "label.txt").write_text(content)
        with pytest.raises(BadImport):
            rf1m.shape_of(tmp_path / "label.txt", LabelMap())

    def test_names_that_stand_there_twice_are_known_beforehand(self, tmp_path):
        path = tmp_path / "label.txt"
        path.write_text("a.jpg\tAvailable\nb.jpg\tAvailable\na.jpg\tAvailable\nb.jpg\tSize Mismatch\nc.jpg\tAvailable\n")
        _, repeated = rf1m.survey(path, rf1m.shape_of(path, LabelMap()), LabelMap())
        assert repeated.same == {rf1m.stem_key("a")} and repeated.clashing == {rf1m.stem_key("b")}

    def test_a_million_lines_take_little_memory(self, tmp_path):
        import tracemalloc

        path = tmp_path / "label.txt"
        with path.open("w") as file:
            for number in range(200_000):
                file.write(f"product_{number}_20240101.jpg\t{RAW[number % 6]}\n")
        shape = rf1m.shape_of(path, LabelMap())
        tracemalloc.start()
        keys, _ = rf1m.survey(path, shape, LabelMap())
        peak = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
        assert keys.size == 200_000 and peak < 30e6 and np.all(keys[1:] >= keys[:-1])


def test_a_gzip_bomb_is_no_table(tmp_path):
    (tmp_path / "a.csv").write_bytes(gzip.compress(b"\0" * 1000))
    with pytest.raises(BadImport):
        list(rows_of(tmp_path / "a.csv"))


class TestReadingAhead:
    def test_the_same_items_in_the_same_order_and_what_breaks_off_breaks_off_there(self):
        def broken():
            yield from range(3)
            raise BadImport("here")

        assert list(ahead(iter(range(100)))) == list(range(100)) and list(ahead(iter(()))) == []
        found = []
        with pytest.raises(BadImport, match="here"):
            for item in ahead(broken()):
                found.append(item)
        assert found == [0, 1, 2]

    def test_who_leaves_early_ends_its_thread(self):
        reading = ahead(iter(range(10**9)))
        assert next(reading) == 0
        reading.close()
        for thread in [one for one in threading.enumerate() if one.name == "ahead"]:
            thread.join(60)
            assert not thread.is_alive()
