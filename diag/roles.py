"""Which job an ECU has, from what it calls itself."""

from __future__ import annotations

import re
from typing import Final

from diag.facts import EcuRole

__all__ = ["role_from_names"]

_WORDS: Final = (
    (
        EcuRole.BMS,
        r"\bbms\b|\bbecm\d?\b|\bb\d?ecm\b|\bbcu\b|\bhvb\b|\bbmu\b|battery (?:energy )?(?:control|manage)|batt",
    ),
    (EcuRole.DCDC, r"\bdc[ /-]?dc\b|\bdcdc\w*|\blvpc\b|\bapm\b"),
    (EcuRole.CHARGER, r"\bobcm?\b|\bobc\w?\b|\bbccm\b|on-?board ?charg|charger|\bccu\b"),
    (EcuRole.INVERTER, r"\binv\w*|\bmcu\b|\bdmcm\w?\b|\bpim\b|motor ?control|drive ?motor|e-?drive"),
    (EcuRole.VCU, r"\bvcu\b|\bevcu\b|\bhcu\b|\bhpcm\d?\b|vehicle ?control|hybrid ?(?:powertrain|control)"),
    (EcuRole.ENGINE, r"\becm\d?\b|\bpcm\b|\bems\b|\bdme\b|engine"),
    (EcuRole.TRANSMISSION, r"\btcm\d?\b|\btcu\b|transmission|gearbox"),
    (EcuRole.BRAKES, r"\babs\b|\besc\b|\besp\b|\bebcm\b|\bibs\b|brake"),
    (EcuRole.BODY, r"\bbcm\b|\bbdc\b|body ?control"),
    (EcuRole.THERMAL, r"\btms\b|\btmcm\b|\bhvac\b|\bthm\b|thermal ?(?:manage|control)|climate"),
    (EcuRole.STEERING, r"\beps\b|\bepas\b|\bpscm\b|steering"),
    (EcuRole.TYRES, r"\btpms?\b|\btpmc\b|tyre|tire ?pressure"),
    (EcuRole.CLUSTER, r"\bipc\b|\bicl?\b|\binstrument"),
    (EcuRole.AIRBAG, r"\bsrs\b|\brcm\b|\bacu\b|airbag|restraint"),
    (EcuRole.TELEMATICS, r"\btcu-t\b|\bt-?box\b|telematic"),
    (EcuRole.GATEWAY, r"\bgwm?\b|\bcgw\b|gateway"),
)
_PATTERNS: Final = tuple((role, re.compile(words, re.IGNORECASE)) for role, words in _WORDS)


def role_from_names(*names: str) -> EcuRole:
    """The role that the first telling name gives; UNKNOWN when none tells.

    Names are what an ECU says of itself (``09 0A``, DID F197) or what a database calls it, most reliable first. The
    acronyms are those of SAE J1979-DA's ECU name table and of common workshop use.
    """
    for name in names:
        plain = re.sub(r"[_\0]+", " ", name)
        for role, pattern in _PATTERNS:
            if pattern.search(plain):
                return role
    return EcuRole.UNKNOWN
