"""Completes the navigation of the documentation's site, and its Chinese pages (a hook of mkdocs, see mkdocs.yml).

The decisions of ``docs/adr`` follow by their numbers. A page that nobody has given a place yet stands under "More", so
that it is found and ``mkdocs build --strict`` passes. Browsers show the end of a line as a space: between Chinese
characters there is none. They choose the shapes of the characters by the page's language. A Chinese heading is linked
to by its own characters, as GitHub does it.
"""

from __future__ import annotations

import re
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    from collections.abc import Iterator

__all__ = ["completed", "joined", "on_config", "on_page_markdown", "on_post_page"]

_MARK: Final = r"[\u2026\u3001-\u303f\uff00-\uffef“”]"
_HAN: Final = r"[\u4e00-\u9fff]"
_BREAK: Final = re.compile(rf"(?<={_MARK})\n[ ]*(?![ ]|[-*>|#\n]|\d+\. |```)|(?<={_HAN})\n[ ]*(?={_HAN}|{_MARK})")


def _named(nav: Any) -> Iterator[str]:
    """Every page that a navigation names, as deep as it stands."""
    if isinstance(nav, str):
        yield nav
    elif isinstance(nav, dict):
        for part in nav.values():
            yield from _named(part)
    else:
        for part in nav:
            yield from _named(part)


def completed(nav: list[Any], docs: Path) -> list[Any]:
    """The navigation with every page under ``docs`` in it, each once."""
    named = set(_named(nav))
    pages = sorted(path.relative_to(docs).as_posix() for path in docs.rglob("*.md"))
    left = [page for page in pages if page not in named]
    decisions = [page for page in left if page.startswith("adr/")]
    more = [page for page in left if not page.startswith("adr/")]
    return [*nav, *([{"More": more}] if more else []), *([{"Decisions": decisions}] if decisions else [])]


def joined(markdown: str) -> str:
    """The text with its Chinese lines put together; blocks of code, lists and tables stay as they are."""
    parts = re.split(r"(^```.*?^```)", markdown, flags=re.MULTILINE | re.DOTALL)
    return "".join(part if part.startswith("```") else _BREAK.sub("", part) for part in parts)


def _is_chinese(page: Any) -> bool:
    name = page.file.src_uri
    return bool(name.startswith("zh/") or name.endswith(".zh.md"))


def on_page_markdown(markdown: str, page: Any, **_: Any) -> str:
    """Called by mkdocs with the text of each page."""
    return joined(markdown) if _is_chinese(page) else markdown


def on_post_page(output: str, page: Any, **_: Any) -> str:
    """Called by mkdocs with the made page."""
    return output.replace('<html lang="en"', '<html lang="zh-CN"', 1) if _is_chinese(page) else output


def on_config(config: Any) -> Any:
    """Called by mkdocs once it has read mkdocs.yml."""
    from pymdownx.slugs import slugify  # comes with the site's theme

    config.nav = completed(config.nav, Path(config.docs_dir))
    config.mdx_configs["toc"]["slugify"] = slugify(case="lower")
    return config
