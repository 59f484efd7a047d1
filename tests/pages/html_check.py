"""Whether HTML is balanced: by the standard library's tokenizer, and the rules of which elements may stay open."""

from __future__ import annotations

from html.parser import HTMLParser

VOID = {"br", "hr", "meta", "wbr", "img", "input", "link"}


class Outline(HTMLParser):
    """Reads a page; `faults` says what is wrong with it, the others what is in it."""

    def __init__(self, page: str) -> None:
        super().__init__(convert_charrefs=True)
        self.faults: list[str] = []
        self.tags: list[str] = []
        self.attributes: list[tuple[str, str, str | None]] = []
        self.texts: list[str] = []
        self._open: list[str] = []
        self.feed(page)
        self.close()
        self.faults += [f"<{tag}> stays open" for tag in self._open]
        ids = [value for _, name, value in self.attributes if name == "id"]
        self.faults += [
            f"id {each} stands {ids.count(each)} times" for each in sorted(set(map(str, ids))) if ids.count(each) > 1
        ]
        links = {value[1:] for _, name, value in self.attributes if name == "href" and value and value.startswith("#")}
        self.faults += [f"#{each} leads nowhere" for each in sorted(links - set(map(str, ids)))]

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        self.attributes += [(tag, name, value) for name, value in attrs]
        if tag == "p" and "p" in self._open:
            self.faults.append("<p> in <p>")
        if "p" in self._open and tag in {"div", "ul", "table", "figure", "details", "pre", "dl", "section", "h2", "h3"}:
            self.faults.append(f"<{tag}> in <p>")
        if tag not in VOID:
            self._open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        if not self._open or self._open[-1] != tag:
            self.faults.append(f"</{tag}> where {self._open[-1] if self._open else 'nothing'} is open")
            while self._open and self._open[-1] != tag:
                self._open.pop()
        if self._open:
            self._open.pop()

    def handle_data(self, data: str) -> None:
        if not self._open or self._open[-1] != "style":
            self.texts.append(data)

    @property
    def text(self) -> str:
        return "".join(self.texts)
