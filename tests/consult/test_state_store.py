"""What every store of the service's state has to keep, asked of each there is. A new one is added to STORES."""

import subprocess
import sys
import threading

import pytest

from consult.accounts import Account, AccountRole
from consult.errors import DataInUse
from consult.invites import Invite, Role, Session
from consult.servicestate import AuditEntry, RoomEntry, ServiceState

STORES = {
    "file": lambda folder: ServiceState(folder / "service.db"),
    "memory": lambda folder: ServiceState(None),
}
LI = Account("li", "李工", AccountRole.EXPERT, ("battery", "bms"), ("zh",), "CN", True, 1, "hash of li")
WANG = Account("wang", "Wang", AccountRole.LEAD, (), (), "", False, 2, "hash of wang")


@pytest.fixture(params=STORES)
def store(request, tmp_path):
    with STORES[request.param](tmp_path) as opened:
        yield opened


@pytest.fixture
def again(tmp_path):
    """What another process would find."""
    return lambda: ServiceState(tmp_path / "service.db")


def test_accounts_are_kept_changed_and_forgotten(store):
    assert store.accounts() == []
    store.put_account(WANG, (AuditEntry(1, "account-add"),))
    store.put_account(LI)
    assert store.accounts() == [LI, WANG]
    other = Account("li", "Li", AccountRole.LEAD, (), ("en",), "DE", False, 99, "another hash")
    store.put_account(other)
    found = store.find_account("li")
    assert (found.display, found.role, found.created_us) == ("Li", AccountRole.LEAD, 1), "when it was made, it was made"
    assert store.remove_account("li", (AuditEntry(2, "account-remove"),))
    assert not store.remove_account("li", (AuditEntry(3, "not noted"),))
    assert store.find_account("li") is None
    assert [entry.what for _, entry in store.audit()] == ["account-add", "account-remove"]


def test_a_sign_in_ends_with_its_time_its_account_or_a_new_password(store):
    for account in (LI, WANG):
        store.put_account(account)
    store.open_login(b"a", "li", 100.0, 1.0)
    store.open_login(b"b", "wang", 200.0, 1.0)
    assert store.find_login(b"a", 99.0) == LI
    assert store.find_login(b"a", 100.0) is None
    assert store.find_login(b"c", 1.0) is None
    store.put_account(WANG)
    assert store.find_login(b"b", 1.0) == WANG
    store.put_account(WANG, sign_out=True)
    assert store.find_login(b"b", 1.0) is None
    store.remove_account("li")
    assert store.find_login(b"a", 1.0) is None
    store.open_login(b"d", "wang", 200.0, 1.0)
    store.close_login(b"d")
    assert store.find_login(b"d", 1.0) is None


def test_rooms_are_open_until_they_are_closed_and_known_for_ever(store):
    one, two = RoomEntry("1" * 12, "1.room", 10), RoomEntry("2" * 12, "2.room", 5, lets_experts_in=True)
    store.put_room(one, (AuditEntry(1, "room-open"),))
    store.put_room(two)
    assert store.open_rooms() == [two, one]
    store.put_room(RoomEntry("2" * 12, "2.room", 5, closed_us=9, closed_code="consult.room-closed"))
    assert store.open_rooms() == [one]
    assert store.knows_room("2" * 12)
    assert not store.knows_room("3" * 12)


def test_invites_and_sessions_are_kept_changed_and_forgotten(store):
    invite = Invite(b"i", "1" * 12, Role.EXPERT, 10.5)
    session = Session(3, "1" * 12, Role.LEAD, "王", 11.5, "wang")
    store.save_access({b"i": invite, b"j": invite}, {b"s": session, b"t": session}, 3, (AuditEntry(1, "redeem"),))
    used = Invite(b"i", "1" * 12, Role.EXPERT, 10.5, used=True)
    store.save_access({b"i": used, b"j": None}, {b"t": None}, 4)
    assert store.load_invites() == [used]
    assert store.load_sessions() == ({b"s": session}, 4)


def test_the_audit_is_numbered_and_forgotten_by_age(store):
    store.note(*(AuditEntry(t_us, f"what-{t_us}", "who", "room", "detail") for t_us in (30, 10, 20)))
    entries = store.audit()
    assert [entry.t_us for _, entry in entries] == [30, 10, 20], "as it was said"
    assert [n for n, _ in entries] == sorted({n for n, _ in entries})
    assert store.audit(after=entries[0][0], limit=1) == [entries[1]]
    assert store.forget_audit(20) == 1
    assert [entry.t_us for _, entry in store.audit()] == [30, 20]


def test_several_threads_may_write(store):
    def work(k):
        for n in range(50):
            store.note(AuditEntry(n, f"thread {k}"))

    threads = [threading.Thread(target=work, args=(k,)) for k in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(store.audit()) == 200


# -- of those that outlive the process -------------------------------------------------------------------------------


def test_only_one_process_claims_the_rooms_and_its_death_frees_them(tmp_path, again):
    code = (
        "import sys, time; from pathlib import Path; from consult.servicestate import ServiceState;"
        "state = ServiceState(Path(sys.argv[1])); state.claim(); print('claimed', flush=True); time.sleep(600)"
    )
    command = [sys.executable, "-c", code, str(tmp_path / "service.db")]
    with subprocess.Popen(command, stdout=subprocess.PIPE) as process:
        try:
            assert process.stdout.readline() == b"claimed\n"
            with again() as store:
                with pytest.raises(DataInUse):
                    store.claim()
                store.note(AuditEntry(1, "others may write"))
                process.kill()
                process.wait()
                store.claim()
        finally:
            process.kill()


def test_what_another_process_writes_is_noticed_once(again):
    with again() as one, again() as other:
        one.changed_elsewhere()
        assert not one.changed_elsewhere()
        one.note(AuditEntry(1, "own"))
        assert not one.changed_elsewhere()
        other.put_account(LI)
        assert one.changed_elsewhere()
        assert not one.changed_elsewhere()
        assert one.accounts() == [LI]
