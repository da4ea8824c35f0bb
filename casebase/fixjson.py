"""Fixes, tests and scales as JSON, the way the library's file keeps them."""

from __future__ import annotations

import json
from dataclasses import asdict, fields
from typing import TYPE_CHECKING, Any

from casebase.cases import Safety
from casebase.catalogue import Bin, Check, CodeSeen, FeatureScale, Fix, Scope, TellingTest, Usual
from diag.facts import Text

if TYPE_CHECKING:
    from collections.abc import Mapping

    from diag.facts import Json

__all__ = ["body_from", "fix_from_body", "json_from_fix", "scale_from_body", "telling_from_body"]


def body_from(thing: Fix | TellingTest | FeatureScale) -> str:
    """The JSON of one of them; an open upper end of a bin is null."""
    if isinstance(thing, FeatureScale):
        return json.dumps(_finite(asdict(thing)), ensure_ascii=False, sort_keys=True)
    return json.dumps(thing, ensure_ascii=False, sort_keys=True, default=_fields)


def _fields(thing: Any) -> dict[str, Any]:
    return {one.name: getattr(thing, one.name) for one in fields(thing)}


def json_from_fix(fix: Fix) -> Json:
    """A fix with both of its names, for people's programs."""
    return {"case_id": fix.fix_id, "source_id": fix.slug, **_finite(asdict(fix))}


def _finite(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _finite(child) for key, child in value.items()}
    if isinstance(value, list | tuple):
        return [_finite(child) for child in value]
    return None if value == float("inf") else value


def fix_from_body(body: str) -> Fix:
    """The fix of a body."""
    data = json.loads(body)
    return Fix(
        slug=data["slug"],
        component=data["component"],
        failure_mode=data["failure_mode"],
        action=data["action"],
        title=_text(data["title"]),
        fix=_text(data["fix"]),
        source=data["source"],
        source_note=_text(data["source_note"]),
        safety=Safety(data["safety"]),
        time=data["time"],
        parts=tuple(map(_text, data["parts"])),
        symptoms_zh=tuple(data["symptoms_zh"]),
        symptoms_en=tuple(data["symptoms_en"]),
        codes=tuple(CodeSeen(c["code"], c["role"], tuple(c["types"]), c["how"]) for c in data["codes"]),
        findings=tuple(Usual(**item) for item in data["findings"]),
        silent=tuple(Usual(**item) for item in data["silent"]),
        features=tuple(Usual(**item) for item in data["features"]),
        checks=tuple(Check(c["test"], c["positive"], _text(c["expect"])) for c in data["checks"]),
        steps=tuple(map(_text, data["steps"])),
        verify=_text(data["verify"]),
        causes=tuple(data.get("causes", ())),
        commonness=data["commonness"],
        scope=Scope(**data["scope"]),
    )


def telling_from_body(body: str) -> TellingTest:
    """The test of a body."""
    data = json.loads(body)
    texts = {key: _text(data[key]) for key in ("title", "how", "yes")}
    return TellingTest(**{**data, **texts, "safety": Safety(data["safety"])})


def scale_from_body(body: str) -> FeatureScale:
    """The scale of a body."""
    data = json.loads(body)
    bins = tuple(Bin(b["name"], float("inf") if b["below"] is None else b["below"], b["fault"]) for b in data["bins"])
    return FeatureScale(data["name"], data["unit"], _text(data["title"]), bins, data["absolute"])


def _text(value: Mapping[str, str]) -> Text:
    return Text(value["en"], value["zh"])
