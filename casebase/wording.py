"""What the wording of a complaint says: by the fixes' own sentences, and by meaning where that extra is installed."""

from __future__ import annotations

import os
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING

from casebase.dense import DenseVote, is_installed, load_embedder
from casebase.errors import DenseUnusable
from casebase.sentences import Sentences
from diag.facts import Text

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from casebase.catalogue import Fix
    from casebase.dense import Embedder
    from casebase.meaning import Meaning
    from casebase.postings import Postings
    from casebase.store import Store
    from casebase.tokens import Tokenizer

__all__ = ["Wording"]


class Wording:
    """Asks the wording of complaints.

    Args:
        store: of the library.
        fixes: those that have sentences.
        tokenizer: of the library's vocabulary.
        embedder: None takes the one of the extra.
    """

    def __init__(
        self, store: Store, fixes: Callable[[], Sequence[Fix]], tokenizer: Tokenizer, embedder: Embedder | None
    ) -> None:
        self._store, self._fixes, self._tokenizer, self._embedder = store, fixes, tokenizer, embedder
        self.note: Text | None = None
        """Why a question was answered without the vote although its extra is installed."""
        self.progress: Callable[[int, int], None] = lambda _done, _all: None
        """Told how many sentences of how many are embedded, while that lasts."""

    def ask(self, symptom: str, postings: Postings, *, wanted: bool | None) -> Sequence[Meaning]:
        """What the wording of a complaint says, by sentences and by meaning.

        Args:
            symptom: the complaint.
            postings: of the library.
            wanted: whether by meaning, too; None: where the extra is installed and its vectors can be kept beside the
                library.

        Raises:
            DenseMissing: the vote is wanted, and its extra is not installed.
            DenseUnusable: the same, and it cannot be loaded here.
        """
        votes = self._sentences.ask(symptom, postings), self._by_meaning(symptom, postings, wanted)
        return [vote for vote in votes if vote is not None]

    @cached_property
    def _sentences(self) -> Sentences:
        return Sentences(self._fixes(), self._tokenizer)

    def _by_meaning(self, symptom: str, postings: Postings, wanted: bool | None) -> Meaning | None:
        if wanted is False or not (wanted or self._by_default):
            return None
        try:
            vote = self.vote
        except DenseUnusable as error:
            if wanted:
                raise
            self.note = Text(
                f"answered without the meaning of words: the extra 'dense' cannot be loaded ({error.detail})",
                f"未使用语义比较：可选组件 dense 无法加载（{error.detail}）",
            )
            return None
        content = f"{self._store.meta('content_hash')} {self._store.identity}"
        return vote.ask(symptom, self._fixes, content, postings)

    @cached_property
    def _by_default(self) -> bool:
        """Where vectors cannot be kept every process would have to make them anew: then only if asked for."""
        if self._embedder is not None:
            return True
        if os.environ.get("HUIZHEN_DENSE", "").lower() in ("off", "no", "0"):
            return False
        return is_installed() and self._store.path != ":memory:" and self._store.writable

    @cached_property
    def vote(self) -> DenseVote:
        """Vectors stand beside the file, or without one in memory.

        Raises:
            DenseMissing: the extra is not installed.
            DenseUnusable: it cannot be loaded here.
        """
        folder = None if self._store.path == ":memory:" else Path(f"{self._store.path}-index")
        return DenseVote(self._embedder or load_embedder(), folder, progress=self._told)

    def _told(self, done: int, total: int) -> None:
        self.progress(done, total)  # as it is then: the vote outlives it
