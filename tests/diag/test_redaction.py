"""No name of the car is left, wherever it hid, and the car that is left is still of the same kind."""

from __future__ import annotations

import json

import isotp
import pytest

import dbc
import virtualbus
from diag.addressing import Target
from diag.answers import Answer
from diag.canbus import open_can
from diag.carscan import scan
from diag.frames import Frame
from diag.j1939requests import J1939Answer
from diag.redaction import Redaction, names_on_tape, position_ids, pseudonyms, redact_tape, redact_value
from diag.replay import replay
from diag.tape import Entry, LinkTraits, Tape
from diag.vehiclereport import LinkInfo
from diag.vin import check_digit, parse_vin

VIN = "1M8GDM9AXKP042788"  # the example of 49 CFR 565 with a right check digit
OTHER = "LSVAA4182E2184847"
BMS = Target.physical(0x7E4)


def plan(*vins: str) -> Redaction:
    return Redaction(pseudonyms(vins, year=2026))


def tape_of(frames: list[Frame], entries: list[Entry] | None = None) -> Tape:
    traits = LinkTraits(LinkInfo("virtual", "x", 500_000, simulated=True), has_frames=True)
    return Tape(traits, ending="finished", frames=frames, marks=[len(frames)] * 3, entries=entries or [])


def redacted(tape: Tape, redaction: Redaction) -> Tape:
    return redact_tape(tape, redaction, frozenset())[0]


def test_a_pseudonym_is_a_vin_of_the_same_kind_of_car() -> None:
    found = pseudonyms([VIN, OTHER, VIN.lower()], year=2026)
    assert list(found) == [VIN, OTHER]
    for vin, other in found.items():
        assert other[:8] + other[9:11] == vin[:8] + vin[9:11]
        assert other[11:] != vin[11:]
        one, two = parse_vin(vin, today_year=2026), parse_vin(other, today_year=2026)
        assert one is not None
        assert two is not None
        assert (two.make, two.model_year, two.check_ok, two.syntax_ok) == (
            one.make,
            one.model_year,
            one.check_ok,
            True,
        )
    assert len(set(found.values())) == 2


def test_a_wrong_check_digit_stays_wrong() -> None:
    for digit in "0123456789X":
        vin = VIN[:8] + digit + VIN[9:]
        (other,) = pseudonyms([vin], year=2026).values()
        assert (check_digit(other) == other[8]) == (check_digit(vin) == digit)


def test_names_are_found_where_ecus_tell_them() -> None:
    f190 = Answer(BMS, b"\x22\xf1\x90", b"\x62\xf1\x90" + VIN.encode())
    serial = Answer(BMS, b"\x22\xf1\x8c", b"\x62\xf1\x8cSN-2024-778\0\0")
    info = Answer(BMS, b"\x09\x02", b"\x49\x02\x01" + OTHER.encode())
    hidden = Answer(BMS, b"\x22\xd0\x01", b"\x62\xd0\x01" + VIN.encode() + b"\x00")
    part = Answer(BMS, b"\x22\xf1\x87", b"\x62\xf1\x87" + b"A1234567890123456")
    unit = J1939Answer(3, 0xFEEB, b"MAKE*MODEL*SE-99-1234*UNIT*")
    entries = [
        *(Entry("uds", 1, BMS, one.request, answers=(one,)) for one in (f190, serial, info, hidden, part)),
        Entry("j1939", 1, pgn=0xFEEB, destination=3, groups=(unit,)),
    ]
    vins, serials = names_on_tape(tape_of([], entries))
    assert vins == [VIN, OTHER]
    assert serials == {b"SN-2024-778": b"XX-0000-000", b"SE-99-1234": b"XX-00-0000"}


@pytest.mark.parametrize(
    ("mode", "more"),
    [
        (isotp.AddressingMode.Normal_11bits, {"txid": 0x7EC, "rxid": 0x7E4}),
        (isotp.AddressingMode.Normal_29bits, {"txid": 0x18DAF110, "rxid": 0x18DA10F1}),
        (
            isotp.AddressingMode.Extended_11bits,
            {"txid": 0x6F1, "rxid": 0x612, "source_address": 0x12, "target_address": 0xF1},
        ),
        (isotp.AddressingMode.Mixed_11bits, {"txid": 0x7EC, "rxid": 0x7E4, "address_extension": 0xF1}),
    ],
)
@pytest.mark.parametrize("front", [b"\x62\xf1\x90", b"\x49\x02\x01", b"\x62\xd0\x01\x07\x07"])
def test_a_vin_that_is_cut_into_frames_goes_from_all_of_them(mode: object, more: dict, front: bytes) -> None:
    """The frames are can-isotp's, and so is the reassembly of what is left."""
    sent: list[isotp.CanMessage] = []
    inbox: list[isotp.CanMessage] = []
    params = {"blocksize": 0, "stmin": 0, "tx_padding": 0xAA}
    rx, tx = more["rxid"], more["txid"]
    sender = isotp.TransportLayerLogic(
        rxfn=lambda timeout: inbox.pop(0) if inbox else None,
        txfn=sent.append,
        address=isotp.Address(mode, **more),
        params=params,
    )
    mirrored = {**more, "rxid": tx, "txid": rx}
    if "target_address" in more:
        mirrored |= {"source_address": more["target_address"], "target_address": more["source_address"]}
    back: list[isotp.CanMessage] = []
    arriving: list[isotp.CanMessage] = []
    receiver = isotp.TransportLayerLogic(
        rxfn=lambda timeout: arriving.pop(0) if arriving else None,
        txfn=back.append,
        address=isotp.Address(mode, **mirrored),
        params=params,
    )
    wanted = front + VIN.encode()
    sender.send(wanted)
    for _ in range(20):
        before = len(sent)
        sender.process()
        arriving += sent[before:]
        receiver.process()
        inbox += back
        back.clear()
    assert bytes(receiver.recv() or b"") == wanted
    frames = [Frame(one.arbitration_id, bytes(one.data), 1000 + at, one.is_extended_id) for at, one in enumerate(sent)]
    frames.insert(1, Frame(0x100, b"\1\2\3", 1))
    redaction = plan(VIN)
    out = redacted(tape_of(frames), redaction)
    arriving += [
        isotp.CanMessage(arbitration_id=one.can_id, data=one.data, extended_id=one.extended)
        for one in out.frames
        if one.can_id == tx
    ]
    for _ in range(20):
        receiver.process()
        back.clear()
    assert bytes(receiver.recv() or b"") == front + redaction.vins[VIN].encode()
    assert out.frames[1].data == b"\1\2\3"


@pytest.mark.parametrize("places", [(7, 7, 3), (6, 6, 5), (8, 8, 1)])
def test_a_vin_that_is_broadcast_in_pieces_goes_too(places: tuple[int, ...]) -> None:
    pieces, at = [], 0
    for number, size in enumerate(places):
        head = b"" if size == 8 or places[0] == 8 else bytes([number])
        pieces.append((head + VIN[at : at + size].encode()).ljust(8, b"\xff"))
        at += size
    frames = [Frame(0x405, piece, at) for at, piece in enumerate(pieces * 3)]
    out = redacted(tape_of(frames), plan(VIN))
    text = b"".join(frame.data for frame in out.frames)
    assert VIN[11:].encode() not in text
    assert not any(VIN[at : at + 5].encode() in text for at in range(8, 13))


def test_texts_lose_the_name_as_characters_and_as_digits() -> None:
    redaction = Redaction(pseudonyms([VIN], year=2026), {b"SN-2024-778": b"XX-0000-000"})
    other = redaction.vins[VIN]
    value = {
        "note": f"car {VIN.lower()}, BMS SN-2024-778",
        VIN: [f"62F190{VIN.encode().hex()}", {"raw": "62F18C" + b"SN-2024-778".hex().upper()}, 5, None, True],
    }
    assert redact_value(value, redaction) == {
        "note": f"car {other}, BMS XX-0000-000",
        other: [
            f"62F190{other.encode().hex().upper()}",
            {"raw": "62F18C" + b"XX-0000-000".hex().upper()},
            5,
            None,
            True,
        ],
    }


def test_frames_with_a_position_are_left_out_and_the_marks_follow(tmp_path) -> None:
    file = tmp_path / "car.dbc"
    file.write_text(
        'VERSION ""\n\nBU_: TCU\n\n'
        'BO_ 1200 GPS_Position: 8 TCU\n SG_ Latitude : 0|32@1- (0.0000001,0) [-90|90] "deg" TCU\n'
        ' SG_ Longitude : 32|32@1- (0.0000001,0) [-180|180] "deg" TCU\n\n'
        'BO_ 1201 Cooling: 8 TCU\n SG_ LatePlatform : 0|8@1+ (1,0) [0|255] "deg" TCU\n'
        ' SG_ AlongTrackLong : 8|8@1+ (1,0) [0|255] "km" TCU\n',
        "utf-8",
    )
    ids = position_ids([dbc.load(file)])
    assert ids == {(1200, False)}
    frames = [
        Frame(1200, bytes(8), 1),
        Frame(1201, bytes(8), 2),
        Frame(0x18FEF303, bytes(8), 3, extended=True),
        Frame(1200, bytes(8), 4, extended=True),
    ]
    tape = tape_of(frames)
    tape.marks = [1, 2, 3, 4]
    out, told = redact_tape(tape, plan(), ids)
    assert [frame.t_ns for frame in out.frames] == [2, 4]
    assert out.marks == [0, 1, 1, 2]
    assert told.positions == 2
    assert len(tape.frames) == 4


@pytest.mark.parametrize("scenario", ["two-faults", "ebus", "phev"])
async def test_the_visit_without_names_gives_the_report_without_names(scenario: str) -> None:
    tape = Tape()
    with virtualbus.running(scenario) as car:
        async with await open_can(car.interface, car.channel, 500_000) as link:
            report = await scan(link, simulated=True, tape=tape)
    assert report.vehicle.vin
    vins, serials = names_on_tape(tape)
    redaction = Redaction(pseudonyms(vins, year=2026), serials)
    out, _ = redact_tape(tape, redaction, frozenset())
    made, unknown = await replay(out)
    assert unknown == 0
    assert made.to_json() == redact_value(report.to_json(), redaction)
    assert made.vehicle.vin != report.vehicle.vin
    told = json.dumps([entry.to_json() for entry in out.entries]).upper()
    assert report.vehicle.vin[9:].encode().hex().upper() not in told
