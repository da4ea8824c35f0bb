"""What leads to a person in what people write: found and taken out of free words, in Chinese and in other languages.

Vehicle identification numbers, number plates, telephone numbers, e-mail addresses, accounts that follow their label,
and numbers of identity or bank cards. Each leaves its mark (``[VIN]``, ``[plate]``, ``[tel]``, ``[mail]``, ``[id]``),
so that a reader sees that something stood there. Names of people and streets are not found.

Trouble codes, figures with units and dates stay as they are. Where a number can be both, it goes.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    from collections.abc import Collection

__all__ = ["without_names", "without_names_in"]

_TAIL: Final = 6
"""Characters at the end of a VIN that people write for the whole."""
_HALF: Final = {code: code - 0xFEE0 for code in range(0xFF01, 0xFF5F)} | {0x3000: 0x20, 0x2013: 0x2D, 0x2014: 0x2D}
"""Full-width characters as half-width ones; a text stays as long as it was."""
_PROVINCES: Final = "京津沪渝冀豫云辽黑湘皖鲁新苏浙赣鄂桂甘晋蒙陕吉闽贵粤青藏川宁琼使领"
_NO_PLATE: Final = r"(?!(?:AC|DC|HV|LV|CAN)\b)"
_LABELS: Final = (
    r"(?i:车牌号?码?|牌照号?|(?:number|licen[cs]e|registration) ?plate(?: ?(?:no\.?|number))?"
    r"|plate(?: ?(?:no\.?|number|[:：]))"
    r"|registration(?: ?(?:no\.?|number))?|kennzeichen|immatriculation|matr[ií]cula)"
)
_ACCOUNTS: Final = r"(?:微信号?|wechat|weixin|qq号?|whatsapp|telegram|line id)"
_PHONES: Final = r"(?:电话|手机号?|联系方式|tel(?:ephone|\.)?|phone|mobile|call(?: me)?(?: at| on)?|telefon|手机号码)"
_IS: Final = r"[\s:：是为=#]*"
_EDGE: Final = r"(?<![A-Za-z0-9])"
_END: Final = r"(?![A-Za-z0-9])"

_RULES: Final[tuple[tuple[str, re.Pattern[str]], ...]] = (
    ("[mail]", re.compile(r"[A-Za-z0-9._%+-]+ ?@ ?[A-Za-z0-9-]+(?:\.[A-Za-z0-9-]+)*\.[A-Za-z]{2,}")),
    # Written in one, or in groups (which then are capitals and end with digits, as no sentence does).
    ("[VIN]", re.compile(
        rf"{_EDGE}(?=[A-Z0-9]{{0,16}}[0-9])(?=[A-Z0-9]{{0,16}}[A-Z])[A-HJ-NPR-Z0-9]{{17}}{_END}", re.IGNORECASE)),
    ("[VIN]", re.compile(rf"{_EDGE}(?=(?:[A-Z0-9][ -]?)*\b)(?:[A-HJ-NPR-Z0-9][ -]?){{13}}\d(?:[ -]?\d){{3}}{_END}")),
    ("[id]", re.compile(r"(?<!\d)\d{17}[\dXx](?![\dA-Za-z])|(?<!\d)\d{15,19}(?!\d)|(?<!\d)\d{4}(?: \d{4}){3}(?!\d)")),
    ("[tel]", re.compile(
        r"(?<![\dA-Za-z.])(?:(?:\+|00)86[ -]?)?1[3-9]\d(?:[ -]?\d{4}){2}(?!\d)"
        r"|(?<![\dA-Za-z.])(?:\+|00)[1-9]\d{0,2}(?:[ ().\/-]{0,2}\d){6,12}(?!\d)"
        r"|(?<![\dA-Za-z.])[48]00[ -]?\d{3,4}[ -]?\d{3,4}(?!\d)"
        r"|(?<![\dA-Za-z.])\(?0\d{2,4}\)?[ \/-]{0,2}\d{3,4}[ -]?\d{3,5}(?:-\d{1,6})?(?![\d.])"
        r"|(?<![\dA-Za-z.])(?:\(\d{3}\) ?|\d{3}[ .-])\d{3}[ .-]\d{4}(?![\d.])")),
    ("[plate]", re.compile(
        rf"[{_PROVINCES}][A-HJ-Z][ ·•.\-]?(?=[A-HJ-NP-Z0-9]{{0,5}}\d)[A-HJ-NP-Z0-9]{{4,5}}[A-HJ-NP-Z0-9挂学警港澳]"
        rf"{_END}", re.IGNORECASE)),
    ("[plate]", re.compile(rf"{_EDGE}{_NO_PLATE}[A-ZÄÖÜ]{{1,3}}-{_NO_PLATE}[A-Z]{{1,2}} \d{{1,4}}[EH]?{_END}")),
    ("[plate]", re.compile(rf"{_EDGE}(?:[A-Z]{{2}}\d{{2}} [A-Z]{{3}}|[A-Z]{{2}}-\d{{3}}-[A-Z]{{2}}){_END}")),
)  # fmt: skip
_LABELLED: Final[tuple[tuple[str, re.Pattern[str]], ...]] = (
    ("[plate]", re.compile(
        rf"({_LABELS}{_IS}(?:is )?)((?=[A-Z0-9 ·-]*\d)[A-Z0-9]{{1,8}}(?:[ ·-]?[A-Z0-9]{{1,5}}){{0,2}}){_END}")),
    ("[tel]", re.compile(rf"({_PHONES}{_IS}(?:is )?)(\+?\d(?:[ ().\/-]?\d){{4,14}})", re.IGNORECASE)),
    ("[id]", re.compile(rf"({_ACCOUNTS}{_IS}(?:is )?)(@?[A-Za-z0-9][A-Za-z0-9_-]{{4,19}})", re.IGNORECASE)),
)  # fmt: skip


def without_names(text: str, *, vins: Collection[str] = ()) -> str:
    """A text without what leads to a person.

    Args:
        text: as people wrote it.
        vins: numbers that are known: their ends, which people write for the whole, go too.
    """
    for vin in vins:
        folded = "".join(vin.split())
        if len(folded) >= _TAIL:
            tail = re.escape(folded[-_TAIL:])
            longer = "|".join(re.escape(folded[at:-_TAIL]) for at in range(len(folded) - _TAIL))
            whole = rf"(?:{longer})?{tail}" if longer else tail
            text = _replaced(text, re.compile(whole, re.IGNORECASE), "[VIN]", group=0)
    for mark, pattern in _LABELLED:
        text = _replaced(text, pattern, mark, group=2)
    for mark, pattern in _RULES:
        text = _replaced(text, pattern, mark, group=0)
    return text


def _replaced(text: str, pattern: re.Pattern[str], mark: str, *, group: int) -> str:
    """Looks at the half-width spelling and changes the text itself."""
    out, at = [], 0
    for found in pattern.finditer(text.translate(_HALF)):
        out += [text[at : found.start(group)], mark]
        at = found.end(group)
    return "".join([*out, text[at:]])


def without_names_in(value: Any, *, vins: Collection[str] = ()) -> Any:
    """The same for every text of a JSON value, keys left as they are."""
    if isinstance(value, str):
        return without_names(value, vins=vins)
    if isinstance(value, dict):
        return {key: without_names_in(child, vins=vins) for key, child in value.items()}
    return [without_names_in(child, vins=vins) for child in value] if isinstance(value, list) else value
