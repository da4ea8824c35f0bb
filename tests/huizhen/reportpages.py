"""Report pages taken apart again: an HTML parser that is not ours, and what it found."""

from __future__ import annotations

from dataclasses import dataclass, field
from html.parser import HTMLParser

VOID = {"meta", "link", "br", "img", "input", "wbr", "hr"}


@dataclass
class Node:
    tag: str
    attributes: dict[str, str]
    children: list[Node | str] = field(default_factory=list)

    def all(self, tag: str, **wanted: str | None):
        """Every element of a kind below this one; an attribute of None has only to be there."""
        for child in self.children:
            if isinstance(child, Node):
                told = {name.replace("_", "-"): value for name, value in wanted.items()}
                if child.tag == tag and all(
                    name in child.attributes and value in (None, child.attributes[name]) for name, value in told.items()
                ):
                    yield child
                yield from child.all(tag, **wanted)

    def one(self, tag: str, **wanted: str | None) -> Node:
        (found,) = self.all(tag, **wanted)
        return found

    def kind(self, name: str):
        """Every element below this one that has a class."""
        for child in self.children:
            if isinstance(child, Node):
                if name in child.attributes.get("class", "").split():
                    yield child
                yield from child.kind(name)

    @property
    def text(self) -> str:
        return "".join(child if isinstance(child, str) else child.text for child in self.children)

    def number(self, name: str) -> float:
        return float(self.attributes[name])


class _Reader(HTMLParser):
    def __init__(self) -> None:
        super().__init__(convert_charrefs=True)
        self.root = Node("", {})
        self.open = [self.root]
        self.comments: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        assert len(attrs) == len(dict(attrs)), f"an attribute twice: {tag} {attrs}"
        node = Node(tag, {name: value or "" for name, value in attrs})
        self.open[-1].children.append(node)
        if tag not in VOID:
            self.open.append(node)

    def handle_endtag(self, tag: str) -> None:
        assert self.open[-1].tag == tag, f"</{tag}> closes <{self.open[-1].tag}>"
        self.open.pop()

    def handle_data(self, data: str) -> None:
        self.open[-1].children.append(data)

    def handle_comment(self, data: str) -> None:
        self.comments.append(data)


def read_page(text: str) -> Node:
    """The tree of a page; every element is closed where it has to be."""
    reader = _Reader()
    reader.feed(text)
    reader.close()
    assert len(reader.open) == 1, [node.tag for node in reader.open]
    assert len(reader.comments) <= 1, reader.comments  # the seal
    return reader.root


def every(node: Node):
    """All elements of a page."""
    for child in node.children:
        if isinstance(child, Node):
            yield child
            yield from every(child)
