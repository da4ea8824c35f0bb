"""The vehicle identification number: is it well written, and what does it say.

A VIN never refuses a car: :func:`parse_vin` says what is wrong with it and what can be read all the same. What the
tables do not know stays None.

Standard: ISO 3779 and ISO 3780 (structure, region), SAE J853 and GB 16735 (check digit); clauses unverified.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from diag.facts import Json, Text
from diag.vehiclereport import Vehicle

if TYPE_CHECKING:
    from collections.abc import Mapping

__all__ = ["Vin", "VinMismatch", "check_digit", "clean_vin", "compare_vins", "find_make", "parse_vin"]

LENGTH: Final = 17
_ALPHABET: Final = frozenset("ABCDEFGHJKLMNPRSTUVWXYZ0123456789")
_VALUES: Final[Mapping[str, int]] = {
    **{str(digit): digit for digit in range(10)},
    **dict(zip("ABCDEFGH", range(1, 9), strict=True)),
    **dict(zip("JKLMN", range(1, 6), strict=True)),
    "P": 7,
    "R": 9,
    **dict(zip("STUVWXYZ", range(2, 10), strict=True)),
}
_WEIGHTS: Final = (8, 7, 6, 5, 4, 3, 2, 10, 0, 9, 8, 7, 6, 5, 4, 3, 2)
_CHECK_AT: Final = 8
_YEAR_AT: Final = 9
_YEAR_CODES: Final = "ABCDEFGHJKLMNPRSTVWXY123456789"
_FIRST_YEAR: Final = 1980

_REGIONS: Final = (
    ("ABCDEFGH", Text("Africa", "非洲")),
    ("JKLMNPR", Text("Asia", "亚洲")),
    ("STUVWXYZ", Text("Europe", "欧洲")),
    ("12345", Text("North America", "北美洲")),
    ("67", Text("Oceania", "大洋洲")),
    ("89", Text("South America", "南美洲")),
)
"""First character -> region. Of 7, only 7A to 7E are Oceania's: the rest went to the USA, as in Tesla's 7SA."""

_NORTH_AMERICA: Final = "12345"
_OCEANIA_OF_7: Final = "ABCDE"

_MAKES: Final[Mapping[str, str]] = {
    "BYD": "LGX LC0",
    "Tesla": "LRW 5YJ 7SA XP7",
    "NIO": "LJ1",
    "XPeng": "LMV L1N",
    "Li Auto": "HLX LW4",
    "MG/Roewe": "LSJ",
    "Great Wall": "LGW",
    "Chery": "LVV LVT",
    "Geely": "LB3 L6T",
    "Changan": "LS5 LS4",
    "SGMW Wuling": "LZW",
    "SAIC-GM": "LSG",
    "SAIC-VW": "LSV",
    "FAW-VW": "LFV",
    "Toyota": "LVG LTV JTD JTE JTM",
    "Honda": "LHG LVH",
    "Polestar": "LPS",
    "Volvo": "YV1 LYV",
    "Volkswagen": "WVW WVG WV2",
    "Audi": "WAU WUA",
    "Porsche": "WP0 WP1",
    "BMW": "WBA WBY WBS",
    "Mercedes-Benz": "W1K W1N WDD",
    "Hyundai": "KMH KM8",
    "Kia": "KNA KND",
    "Nissan": "JN1 JN8 SJN",
    "Renault": "VF1",
    "Peugeot": "VF3",
    "Citroën": "VF7",
    "Chevrolet": "1G1 1GC",
    "Cadillac": "1G6",
    "Ford": "1FA 1FT 3FM LVS",
    "Fiat": "ZFA",
    "Jaguar": "SAJ SAD",
    "Škoda": "TMB",
    "SEAT/Cupra": "VSS",
    "Dacia": "UU1",
    "Stellantis": "1C4 1C6",
}
_MAKE_OF_WMI: Final[Mapping[str, str]] = {wmi: make for make, wmis in _MAKES.items() for wmi in wmis.split()}


@dataclass(frozen=True, slots=True)
class Vin:
    """One VIN as read, with what it says.

    Args:
        text: upper case, padding removed.
        raw: the bytes it came in, where it came as bytes.
        syntax_ok: 17 characters of the alphabet without I, O and Q.
        check_ok: position 9 is the check digit; None where the syntax is broken.
        check_required: the market demands a check digit (North America, China); elsewhere position 9 is often free.
        model_year: by the code in position 10, which outside North America and China often is not a year.
    """

    text: str
    raw: bytes
    syntax_ok: bool
    check_ok: bool | None
    check_required: bool
    wmi: str | None
    region: Text | None
    make: str | None
    model_year: int | None
    note: Text | None

    @property
    def is_valid(self) -> bool:
        """Syntax, and the check digit where it is required."""
        return self.syntax_ok and (bool(self.check_ok) or not self.check_required)

    def to_vehicle(self) -> Vehicle:
        """The car as far as its VIN describes it."""
        return Vehicle(self.text, self.is_valid, self.make, None, self.model_year, self.note)

    def to_json(self) -> Json:
        """All fields; ``vin_valid`` as in ``vehicle`` of a scan."""
        return {
            "vin": self.text,
            "vin_valid": self.is_valid,
            "syntax_ok": self.syntax_ok,
            "check_ok": self.check_ok,
            "check_required": self.check_required,
            "wmi": self.wmi,
            "region": self.region.to_json() if self.region else None,
            "make": self.make,
            "model_year": self.model_year,
            "note": self.note.to_json() if self.note else None,
        }


@dataclass(frozen=True, slots=True)
class VinMismatch:
    """One source whose VIN is not the one that most sources give: a swapped ECU, or a wrong one.

    Args:
        source: who said it, ``0x7EC F190``.
        vin: what it said.
        expected: what the others say.
    """

    source: str
    vin: str
    expected: str

    @property
    def positions(self) -> tuple[int, ...]:
        """Where the two differ, counted from 1."""
        width = max(len(self.vin), len(self.expected))
        pairs = zip(self.vin.ljust(width, "\0"), self.expected.ljust(width, "\0"), strict=True)
        return tuple(number for number, (one, other) in enumerate(pairs, 1) if one != other)


def clean_vin(raw: bytes | str) -> str:
    """The VIN's characters: padding of 00, FF and spaces at either end removed, nothing else, upper case."""
    text = raw.decode("latin-1") if isinstance(raw, bytes) else raw
    text = text.strip("\x00\xff ")
    return text.upper() if text.isascii() else text


def check_digit(vin: str) -> str:
    """The character that position 9 must have, ``0``–``9`` or ``X``.

    Raises:
        ValueError: not 17 characters of the alphabet.
    """
    if len(vin) != LENGTH or not _ALPHABET.issuperset(vin):
        raise ValueError(vin)
    rest = sum(_VALUES[char] * weight for char, weight in zip(vin, _WEIGHTS, strict=True)) % 11
    return "X" if rest == 10 else str(rest)


def find_make(vin: str) -> str | None:
    """The make by the world manufacturer identifier, the first three characters; None when the table lacks it."""
    return _MAKE_OF_WMI.get(vin[:3])


def _is_north_american(vin: str) -> bool:
    return vin[0] in _NORTH_AMERICA or (vin[0] == "7" and vin[1] not in _OCEANIA_OF_7)


def _region(vin: str) -> Text | None:
    if _is_north_american(vin):
        vin = _NORTH_AMERICA
    return next((text for letters, text in _REGIONS if vin[0] in letters), None)


def _model_year(vin: str, today_year: int) -> int | None:
    """The year by position 10, which repeats every 30 years.

    Next year's models are sold this year, so one year ahead is not the future. In North America a letter in position
    7 says 2010 or later and a digit says earlier.
    """
    at = _YEAR_CODES.find(vin[_YEAR_AT])
    if at < 0:
        return None
    possible = list(range(_FIRST_YEAR + at, today_year + 2, 30))
    if _is_north_american(vin):
        late = vin[6].isalpha()
        possible = [year for year in possible if (year >= 2010) == late]
    return max(possible, default=None)


def _syntax_fault(text: str) -> Text | None:
    if len(text) != LENGTH:
        return Text(f"a VIN has 17 characters, this one {len(text)}", f"VIN 应为 17 位，实际 {len(text)} 位")
    wrong = [number for number, char in enumerate(text, 1) if char not in _ALPHABET]
    if wrong:
        places = ", ".join(map(str, wrong))
        return Text(f"characters not allowed in a VIN at {places}", f"VIN 第 {places} 位字符不允许")
    return None


def parse_vin(raw: bytes | str, *, today_year: int) -> Vin | None:
    """What a VIN says; None when there is nothing but padding.

    Args:
        raw: as read from the car, padded or not.
        today_year: the current year, which settles the 30-year ambiguity: the newest year that is not in the future
            (next year's models count as present).

    Standard: ISO 3779, SAE J853, GB 16735; clauses unverified.
    """
    text = clean_vin(raw)
    data = raw if isinstance(raw, bytes) else b""
    if not text:
        return None
    fault = _syntax_fault(text)
    if fault:
        return Vin(
            text=text,
            raw=data,
            syntax_ok=False,
            check_ok=None,
            check_required=False,
            wmi=None,
            region=None,
            make=None,
            model_year=None,
            note=fault,
        )
    required = _is_north_american(text) or text[0] == "L"
    expected = check_digit(text)
    good = text[_CHECK_AT] == expected
    note = None
    if not good and required:
        note = Text(
            f"check digit is {text[_CHECK_AT]}, should be {expected}: check the VIN on the car",
            f"校验位为 {text[_CHECK_AT]}，应为 {expected}：请核对车身上的 VIN",
        )
    return Vin(
        text=text,
        raw=data,
        syntax_ok=True,
        check_ok=good,
        check_required=required,
        wmi=text[:3],
        region=_region(text),
        make=find_make(text),
        model_year=_model_year(text, today_year),
        note=note,
    )


def compare_vins(vins: Mapping[str, str]) -> tuple[VinMismatch, ...]:
    """Sources that disagree with most of the others; empty when all say the same.

    Args:
        vins: source (``0x7E8 09 02``, ``0x7EC F190``) -> VIN. Sources with nothing but padding are left out. Of two
            VINs that are told equally often, the one named first counts.
    """
    told = {source: cleaned for source, vin in vins.items() if (cleaned := clean_vin(vin))}
    if not told:
        return ()
    expected = Counter(told.values()).most_common(1)[0][0]
    return tuple(VinMismatch(source, vin, expected) for source, vin in told.items() if vin != expected)
