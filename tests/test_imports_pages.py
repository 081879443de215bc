"""The page and the API of imports: what would happen is seen before it does; what is hostile gets a sentence."""

import io
import json
import os
import re
import shutil
import stat
import threading
import zipfile
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from django.core.files.uploadedfile import SimpleUploadedFile
from django.test import Client

from adproof.imports.fetch import Rules, check_address, fetch
from adproof.imports.problems import BadImport
from datasets_app.importing import uploads
from generation.blobs import blobs
from generation.models import Product
from runs.models import Run
from tests import import_files
from tests.data_rows import do

pytestmark = pytest.mark.django_db(transaction=True)


@pytest.fixture
def manager(people, settings, tmp_path):
    settings.IMPORT_DIR = tmp_path / "imports"
    settings.IMPORT_DIR.mkdir()
    client = Client()
    client.force_login(people["max"])
    return client


def zipped(**files):
    out = io.BytesIO()
    import_files.make_zip(out, files)
    return SimpleUploadedFile("products.zip", out.getvalue())


def text(response):
    return response.content.decode()


class TestPage:
    def test_an_upload_is_looked_at_shown_and_then_imported(self, manager):
        response = manager.post(
            "/datasets/import/", {"kind": "products", "file": zipped(**{"lamp.png": import_files.product_png()}), "cuts_out": "on"}
        )
        dry = do(Run.objects.get())
        assert response.url == f"/datasets/import/{dry.pk}/" and dry.state == "succeeded", dry.error
        page = text(manager.get(response.url))
        assert "What would happen" in page and "Products, new" in page and not Product.objects.exists()
        response = manager.post(f"/datasets/import/{dry.pk}/start/")
        run = do(Run.objects.latest("pk"))
        assert "What happened" in text(manager.get(response.url)) and Product.objects.count() == 1
        assert not list(uploads.root().iterdir()), "an upload is not kept after its import"
        # Its file is gone: pressing once more says so.
        again = manager.post(f"/datasets/import/{dry.pk}/start/", follow=True)
        assert "no longer on the server" in text(again) and Run.objects.latest("pk") == run

    def test_a_folder_on_the_server_is_named_below_the_import_folder_only(self, manager, settings, tmp_path):
        import_files.rf1m(settings.IMPORT_DIR / "rf1m", 6)
        assert "rf1m/" in text(manager.get("/datasets/import/"))
        (tmp_path / "outside").mkdir()
        (settings.IMPORT_DIR / "link").symlink_to(tmp_path / "outside")
        for path in ("../outside", "/etc", "link", "rf1m/../../outside", "gone", "a\0b"):
            response = manager.post("/datasets/import/", {"kind": "rf1m", "path": path})
            assert response.status_code == 422 and not Run.objects.exists(), path
        manager.post("/datasets/import/", {"kind": "rf1m", "path": "rf1m"})
        run = do(Run.objects.get())
        page = text(manager.get(f"/datasets/import/{run.pk}/"))
        assert "Space Mismatch" in page and "separated by tabs" in page and "flagged unsuitable" in page

    @pytest.mark.parametrize(
        ("values", "says"),
        [
            ({}, "Name one thing"),
            ({"path": "a", "file": SimpleUploadedFile("a.csv", b"x")}, "Name one thing"),
            ({"path": "here", "labels": "0"}, "RAW=LABEL"),
            ({"path": "here", "source": "A source!"}, "be a source&#x27;s name"),
        ],
    )
    def test_what_is_asked_for_wrongly_is_said_in_place(self, manager, settings, values, says):
        (settings.IMPORT_DIR / "here").mkdir()
        response = manager.post("/datasets/import/", {"kind": "products", **values})
        assert response.status_code == 422 and says in text(response) and not Run.objects.exists()

    def test_an_upload_that_is_too_large_is_refused_and_not_kept(self, manager, settings):
        settings.IMPORT_UPLOAD_MB = 1
        file = SimpleUploadedFile("../../a.zip", b"x" * 1_500_000)
        response = manager.post("/datasets/import/", {"kind": "products", "file": file})
        assert response.status_code == 422 and "more than 1 MB" in text(response)
        assert not list(uploads.root().iterdir())

    def test_names_in_an_archive_are_shown_as_text(self, manager):
        bad = zipped(**{"<script>alert(1)</script>.png": b"x", "=cmd|calc.png": b"<svg onload=alert(1)>"})
        manager.post("/datasets/import/", {"kind": "products", "file": bad})
        run = do(Run.objects.get())
        page = text(manager.get(f"/datasets/import/{run.pk}/"))
        assert "<script>alert" not in page and "&lt;script&gt;" in page and "SVG" in page
        table = b"".join(manager.get(f"/datasets/import/{run.pk}/left-out.csv").streaming_content).decode()
        assert table.startswith("where,why\r\n") and "'=cmd|calc.png" in table and table.count("\n") == 3

    def test_people_without_the_ability_see_nothing(self, people):
        client = Client()
        for name, status in (("alice", 403), ("rita", 403), ("mia", 403), ("max", 200)):
            client.force_login(people[name])
            assert client.get("/datasets/import/").status_code == status


def hostile_files(folder):
    """name of a file -> what must be said of it."""
    folder.mkdir(exist_ok=True)
    wide = [f"c{n}" for n in range(10_000)]
    pq.write_table(pa.table({name: ["x"] for name in wide}), folder / "wide.parquet")
    (folder / "wide.csv").write_text(",".join(wide) + "\n" + ",".join(wide) + "\n")
    head = "sku,title,image\nA,Stövel,a.png\n"
    (folder / "utf16.csv").write_bytes(head.encode("utf-16"))
    (folder / "utf16le.csv").write_bytes(head.encode("utf-16-le"))
    (folder / "utf32.csv").write_bytes(head.encode("utf-32"))
    (folder / "latin.csv").write_bytes(b"\xef\xbb\xbf" + head.encode("latin-1"))
    link = zipfile.ZipInfo("link.png")
    link.external_attr = (stat.S_IFLNK | 0o777) << 16
    with zipfile.ZipFile(folder / "bad.zip", "w", zipfile.ZIP_DEFLATED) as made:
        made.writestr("../../evil.png", import_files.product_png())
        made.writestr(link, "/etc/passwd")
        made.writestr("flood.png", import_files.flood_png())
        made.writestr("drawing.png", b"<?xml version='1.0'?><svg xmlns='http://www.w3.org/2000/svg' onload='alert(1)'/>")
        made.writestr("page.png", b"<html><script>alert(1)</script></html>" + import_files.product_png())
        made.writestr("bomb.png", b"\0" * 30_000_000)
    return {
        "wide.parquet": ["columns"], "wide.csv": ["10,000 columns"], "utf16.csv": ["UTF-16"], "utf16le.csv": ["UTF-16"],
        "utf32.csv": ["UTF-16|zero bytes"], "latin.csv": ["not in UTF-8"],
        "bad.zip": ["leads outside", "link", "far more pixels", "SVG", "page.png", "bomb"],
    }  # fmt: skip


def test_what_is_hostile_gets_the_same_sentence_on_the_page_and_in_the_shell(manager, tmp_path):
    from django.core.management import CommandError, call_command

    for name, wanted in hostile_files(tmp_path / "given").items():
        path = tmp_path / "given" / name
        manager.post("/datasets/import/", {"kind": "products", "file": SimpleUploadedFile(name, path.read_bytes())})
        run = do(Run.objects.latest("pk"))
        page, shell = text(manager.get(f"/datasets/import/{run.pk}/")), io.StringIO()
        try:
            call_command("dataset", "import", "products", str(path), "--dry-run", stdout=shell)
        except CommandError as error:
            shell.write(str(error))
        for words in wanted:
            assert re.search(words, page) and re.search(words, shell.getvalue()), (name, words, shell.getvalue())
        assert "Traceback" not in page + shell.getvalue() and not Product.objects.exists()
    polyglot = import_files.product_png() + b"PK\x03\x04<script>alert(1)</script><?php system($_GET[1]); ?>"
    manager.post("/datasets/import/", {"kind": "products", "file": zipped(**{"lamp.png": polyglot})})
    do(Run.objects.latest("pk"))
    manager.post(f"/datasets/import/{Run.objects.latest('pk').pk}/start/")
    assert do(Run.objects.latest("pk")).state == "succeeded"
    stored = blobs().get(Product.objects.get().image_sha256)
    assert b"script" not in stored and b"php" not in stored


class TestApi:
    def post(self, client, after="", **body):
        return client.post(f"/api/v1/datasets/import{after}", json.dumps(body), "application/json")

    def test_look_import_and_ask(self, manager, settings):
        import_files.rf1m(settings.IMPORT_DIR / "rf1m", 6)
        answer = self.post(manager, kind="rf1m", path="rf1m", source="rf1m")
        assert answer.status_code == 200 and answer.json()["dry_run"]
        number = answer.json()["run"]
        assert self.post(manager, f"/{number}/start").status_code == 400
        do(Run.objects.get(pk=number))
        table = manager.get(f"/api/v1/datasets/import/{number}").json()
        assert {row["name"]: row["count"] for row in table["counts"]}["candidates_new"] == 6
        real = self.post(manager, f"/{number}/start").json()
        assert not real["dry_run"] and do(Run.objects.get(pk=real["run"])).state == "succeeded"
        assert len(manager.get("/api/v1/datasets/import").json()) == 2 and Product.objects.count() == 6

    @pytest.mark.parametrize(
        "body",
        [{}, {"kind": "x", "path": "a"}, {"kind": "rf1m"}, {"kind": "rf1m", "path": "../.."}, {"kind": "rf1m", "path": "a", "is_upload": True},
         {"kind": "products", "url": "http://127.0.0.1/"}, {"kind": "rf1m", "path": "a", "labels": "zz"}],
    )  # fmt: skip
    def test_what_is_wrong_is_a_400_with_a_sentence(self, manager, body):
        answer = self.post(manager, **body)
        assert answer.status_code == 400 and answer.json() and not Run.objects.exists()


class Web:
    """A small web server on this machine."""

    def __init__(self, answers):
        outer = self
        self.seen = []

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self):
                outer.seen.append(self.path)
                answers[self.path](self)

            def log_message(self, *args):
                pass

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.port = self.server.server_port
        threading.Thread(target=self.server.serve_forever, daemon=True).start()

    def close(self):
        self.server.shutdown()
        self.server.server_close()


def gives(data, length=None):
    def answer(handler):
        handler.send_response(200)
        if length is not False:
            handler.send_header("Content-Length", str(length or len(data)))
        handler.end_headers()
        handler.wfile.write(data)

    return answer


def leads_to(address):
    def answer(handler):
        handler.send_response(302)
        handler.send_header("Location", address)
        handler.end_headers()

    return answer


def trickles(handler):
    import time

    handler.send_response(200)
    handler.end_headers()
    for _ in range(100):
        handler.wfile.write(b"x")
        handler.wfile.flush()
        time.sleep(0.1)


@pytest.fixture
def web():
    made = Web({
        "/a.csv": gives(b"sku,title,image\n"), "/big": gives(b"x" * 2_000_000, False), "/claims": gives(b"x", 10**12),
        "/short": gives(b"x", 1000), "/slow": trickles, "/round": leads_to("/round"), "/inside": leads_to("http://10.0.0.1/"),
        "/metadata": leads_to("http://169.254.169.254/latest"), "/file": leads_to("file:///etc/passwd"), "/on": leads_to("/a.csv"),
        "/gone": lambda handler: handler.send_error(404), "/none": leads_to("http://[::1"), "/elsewhere": leads_to("http://other.example/a"),
        "/%C3%B6.csv?q=%C3%BC": gives(b"umlauts"), "/odd": gives(b"odd", "9" * 5000), "/odder": gives(b"odd", "\u00b2"),
        "/to-port": leads_to("http://10.0.0.1:22/"),
    })  # fmt: skip
    yield made
    made.close()


def rules(**values):
    return Rules(**{"hosts": ["127.0.0.1", "10.0.0.1", "169.254.169.254"], "private_hosts": ["127.0.0.1"], "max_bytes": 1_000_000, "seconds": 60, **values})


class TestAddresses:
    def test_a_file_is_fetched_also_over_a_redirect(self, web, tmp_path):
        for name in ("a.csv", "on"):
            path = fetch(f"http://127.0.0.1:{web.port}/{name}", tmp_path, rules())
            assert path.read_bytes() == b"sku,title,image\n"

    @pytest.mark.parametrize(
        ("name", "says"),
        [
            ("big", "more than 1 MB"), ("claims", "more than 1 MB"), ("short", "ended after|no whole answer"), ("round", "on and on"),
            ("inside", "inside of this network"), ("metadata", "inside of this network"), ("file", "no web address"), ("gone", "404"),
            ("none", "no address"), ("elsewhere", "not on the list"), ("to-port", "Port 22"),
        ],
    )  # fmt: skip
    def test_what_is_wrong_is_said_and_nothing_is_left(self, web, tmp_path, name, says):
        with pytest.raises(BadImport, match=says):
            fetch(f"http://127.0.0.1:{web.port}/{name}", tmp_path, rules())
        assert not list(tmp_path.iterdir())

    def test_odd_letters_and_lengths_hurt_nobody(self, web, tmp_path):
        for name, data in (("ö.csv?q=ü", b"umlauts"), ("%C3%B6.csv?q=%C3%BC", b"umlauts"), ("odd", b"odd"), ("odder", b"odd")):
            assert fetch(f"http://127.0.0.1:{web.port}/{name}", tmp_path, rules()).read_bytes() == data

    def test_a_name_is_resolved_once_for_each_address_and_what_was_checked_is_connected_to(self, web, tmp_path):
        asked = []

        def resolve(host, port):
            asked.append(host)
            return ["127.0.0.1"] if len(asked) == 1 else ["10.0.0.1"]  # what a name that changes its mind would say

        given = rules(hosts=["good.example", "other.example"], private_hosts=["good.example"], resolve=resolve)
        assert fetch(f"http://good.example:{web.port}/a.csv", tmp_path, given).name == "a.csv" and asked == ["good.example"]
        asked.clear()
        with pytest.raises(BadImport, match="other.example leads to 10.0.0.1, inside"):
            fetch(f"http://good.example:{web.port}/elsewhere", tmp_path, given)
        assert asked == ["good.example", "other.example"]

    def test_a_slow_one_is_cut_off(self, web, tmp_path):
        with pytest.raises(BadImport, match="longer than|no whole answer"):
            fetch(f"http://127.0.0.1:{web.port}/slow", tmp_path, rules(seconds=1))
        assert not list(tmp_path.iterdir())

    @pytest.mark.parametrize(
        "address",
        ["127.0.0.1", "10.1.2.3", "192.168.0.1", "172.16.0.1", "169.254.169.254", "100.64.0.1", "0.0.0.0", "224.0.0.1", "::1", "fe80::1",
         "fc00::1", "::ffff:127.0.0.1", "64:ff9b::7f00:1", "2002:7f00:1::", "::", "::127.0.0.1", "::ffff:0:7f00:1", "64:ff9b:1::7f00:1",
         "::ffff:a9fe:a9fe", "fec0::1", "ff02::1", "fe80::1%eth0", "255.255.255.255"],
    )  # fmt: skip
    def test_a_name_that_leads_inside_is_refused_by_any_of_its_addresses(self, address):
        with pytest.raises(BadImport, match="inside of this network"):
            check_address("https://good.example/a", Rules(["good.example"], resolve=lambda host, port: ["93.184.216.34", address]))

    @pytest.mark.parametrize(
        "url",
        ["ftp://good.example/a", "file:///etc/passwd", "https://", "https://user:secret@good.example/", "https://good.example:99999/",
         "https://good.example.evil.com/", "https://evil.com/?good.example", "gopher://good.example", "https://[::1/",
         "http://2130706433/", "http://0x7f.1/", "http://0177.0.0.1/", "http://[::ffff:7f00:1]/", "https://good.example\\@evil.com/",
         "https://good.example@evil.com/", "https://evil.com#@good.example/", "https://good.example:22/", "https://good.example:8443/",
         "https://good.example/a\r\nHost: evil.com", "https://good.example /"],
    )  # fmt: skip
    def test_other_addresses_are_refused(self, url):
        with pytest.raises(BadImport):
            check_address(url, Rules(["good.example"], resolve=lambda host, port: ["93.184.216.34"]))

    def test_a_name_that_can_be_none_is_refused(self):
        with pytest.raises(BadImport, match="check its spelling"):
            check_address(f"https://{'a' * 70}.good.example/", Rules([".good.example"]))

    def test_a_dot_before_a_host_stands_for_all_below_it(self):
        given = Rules([".example.org"], resolve=lambda host, port: ["93.184.216.34"])
        assert check_address("https://data.example.org/a", given)[1] == "93.184.216.34"
        with pytest.raises(BadImport):
            check_address("https://example.org.evil.com/a", given)

    def test_an_import_from_an_address(self, web, manager, settings):
        settings.IMPORT_HOSTS = settings.IMPORT_PRIVATE_HOSTS = ["127.0.0.1"]
        manager.post("/datasets/import/", {"kind": "products", "url": f"http://127.0.0.1:{web.port}/a.csv"})
        run = do(Run.objects.get())
        assert run.state == "succeeded" and "/a.csv" in web.seen, run.error


CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")


@pytest.mark.browser
@pytest.mark.skipif(CHROMIUM is None, reason="Chromium is not installed")
def test_in_chromium_an_archive_is_looked_at_and_imported(people, live_server, settings, tmp_path):
    from axe_playwright_python.sync_playwright import Axe
    from playwright.sync_api import sync_playwright

    settings.IMPORT_DIR = tmp_path / "imports"
    import_files.rf1m(settings.IMPORT_DIR / "RF1M", 12)
    with (settings.IMPORT_DIR / "RF1M" / "label.txt").open("a") as file:
        file.write("gone.jpg\tAvailable\n")
    client = Client()
    client.force_login(people["max"])
    pictures = os.environ.get("IMPORT_PICTURES")
    with sync_playwright() as playwright:
        os.environ["DJANGO_ALLOW_ASYNC_UNSAFE"] = "1"
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox"])
        context = browser.new_context(viewport={"width": 1440, "height": 900})
        context.add_cookies([{"name": "sessionid", "value": client.cookies["sessionid"].value, "url": live_server.url}])
        context.set_default_timeout(60_000)
        page = context.new_page()
        errors = []
        page.on("pageerror", lambda error: errors.append(error))

        def look(name):
            found = Axe().run(page).response["violations"]
            assert not [one["id"] for one in found if one["impact"] in ("serious", "critical")], found
            if pictures:
                for scheme in ("light", "dark"):
                    for width in (1440, 390):
                        page.emulate_media(color_scheme=scheme)
                        page.set_viewport_size({"width": width, "height": 900})
                        page.wait_for_timeout(300)
                        page.screenshot(path=f"{pictures}/{name}-{width}-{scheme}.png", full_page=True)
                page.emulate_media(color_scheme="light")
                page.set_viewport_size({"width": 1440, "height": 900})
            assert page.evaluate("document.documentElement.scrollWidth <= innerWidth")

        page.goto(f"{live_server.url}/datasets/import/")
        look("empty")
        page.select_option("select[name=kind]", "rf1m")
        page.fill("input[name=path]", "RF1M")
        page.click("text=Look at it first")
        page.wait_for_selector(".now-run")
        look("waiting")
        Run.objects.update(state="running", stage="pictures of TrainSet-2.tar.gz", done=1, total=3)
        page.wait_for_selector("text=pictures of TrainSet-2")
        look("running")
        Run.objects.update(state="queued", stage="", done=0, total=0)
        do(Run.objects.get())
        page.wait_for_selector("text=What would happen")
        look("looked")
        page.click("button:has-text('Import it')")
        page.wait_for_selector(".now-run")
        do(Run.objects.filter(kind="import").latest("pk"))
        page.wait_for_selector("text=What happened")
        look("imported")
        page.goto(f"{live_server.url}/datasets/import/")
        look("list")
        browser.close()
    del os.environ["DJANGO_ALLOW_ASYNC_UNSAFE"]
    assert not errors and Product.objects.count() == 12
