"""What every page keeps to."""

import re
from html.parser import HTMLParser

VOID = {"area", "base", "br", "col", "embed", "hr", "img", "input", "link", "meta", "source", "track", "wbr"}
SHAPES = {"path", "rect", "circle"}


class Balance(HTMLParser):
    """Fails on a tag that is closed twice, never, or across another; and on an id that is there twice."""

    def __init__(self):
        super().__init__()
        self.open, self.ids = [], set()

    def handle_starttag(self, tag, attrs):
        values = dict(attrs)
        if "id" in values:
            assert values["id"] not in self.ids, f"id {values['id']} twice"
            self.ids.add(values["id"])
        if tag == "img":
            assert "alt" in values, "a picture without alt"
        if tag not in VOID | SHAPES:
            self.open.append(tag)

    def handle_endtag(self, tag):
        if tag not in SHAPES:
            assert self.open and self.open[-1] == tag, f"</{tag}> closes {self.open[-3:]}"
            self.open.pop()


def assert_sane(response):
    html = response.content.decode()
    parser = Balance()
    parser.feed(html)
    assert parser.open == []
    assert "<h1" in html
    assert "://" not in re.sub(r'xmlns="[^"]*"', "", html.partition("<body")[0]), "nothing is fetched from elsewhere"
    assert "{%" not in html and "{{" not in html
    assert not re.search(r"<script(?![^>]*\bsrc=)", html), "no inline script"
