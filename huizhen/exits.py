"""Exit codes and which error ends with which. Standard: the command line's contract (docs/cli.md)."""

from __future__ import annotations

from enum import IntEnum

__all__ = ["Exit", "exit_from_error"]


class Exit(IntEnum):
    """What the shell sees."""

    DONE = 0
    FINDINGS = 1
    USAGE = 2
    NO_ADAPTER = 3
    NO_ANSWER = 4
    PROTOCOL = 5
    CASE_LIBRARY = 6
    REFUSED = 7
    REMOTE = 8
    INTERNAL = 9
    INTERRUPTED = 130


_BY_CODE: tuple[tuple[str, Exit], ...] = (
    ("diag.link", Exit.NO_ADAPTER),
    ("diag.no-adapter", Exit.NO_ADAPTER),
    ("diag.no-answer", Exit.NO_ANSWER),
    ("diag.refused", Exit.REFUSED),
    ("diag.bad-input", Exit.USAGE),
    ("diag.bundle", Exit.USAGE),
    ("diag", Exit.PROTOCOL),
    ("dbc", Exit.USAGE),
    ("casebase.bad-evidence", Exit.USAGE),
    ("casebase.import", Exit.USAGE),
    ("casebase.dense", Exit.USAGE),
    ("casebase", Exit.CASE_LIBRARY),
    ("consult.certificate-broken", Exit.USAGE),
    ("consult.data-unusable", Exit.USAGE),
    ("consult.data-in-use", Exit.USAGE),
    ("consult.state-broken", Exit.USAGE),
    ("consult.state-newer", Exit.USAGE),
    ("consult.migration-unsafe", Exit.REFUSED),
    ("consult.backup", Exit.USAGE),
    ("consult.passphrase-wrong", Exit.USAGE),
    ("consult.restore-refused", Exit.REFUSED),
    ("consult.config-broken", Exit.USAGE),
    ("consult.config-unreadable", Exit.USAGE),
    ("consult.account-broken", Exit.USAGE),
    ("consult.site-broken", Exit.USAGE),
    ("consult.media-broken", Exit.USAGE),
    ("consult.recording-broken", Exit.USAGE),
    ("consult.spool-broken", Exit.USAGE),
    ("consult.key-missing", Exit.USAGE),
    ("consult.keys-broken", Exit.USAGE),
    ("consult.content-broken", Exit.USAGE),
    ("consult.deletion", Exit.USAGE),
    ("consult.certificate-unreadable", Exit.USAGE),
    ("consult.car-unknown", Exit.USAGE),
    ("consult.hold-set", Exit.REFUSED),
    ("consult", Exit.REMOTE),
    ("virtualbus.refused", Exit.REFUSED),
    ("virtualbus", Exit.USAGE),
    ("huizhen", Exit.USAGE),
)


def exit_from_error(error: BaseException) -> Exit:
    """The exit code for an error: the longest matching prefix of its ``code``; INTERNAL for foreign errors."""
    if isinstance(error, KeyboardInterrupt):
        return Exit.INTERRUPTED
    code = getattr(type(error), "code", None)
    if not isinstance(code, str):
        return Exit.INTERNAL
    matching = [(len(prefix), exit_) for prefix, exit_ in _BY_CODE if code.startswith(prefix)]
    return max(matching)[1] if matching else Exit.INTERNAL
