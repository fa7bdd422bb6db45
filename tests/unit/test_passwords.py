"""Passwords: weak ones and hashes that are not believed, then what is hashed, read and upgraded."""

import asyncio
from pathlib import Path

import bcrypt
import pytest
import sqlalchemy as sa

from backstay import AccountOptions, ValidationError
from backstay.auth import weak
from backstay.auth.passwords import Hashing, Passwords
from backstay.auth.weak import check_password, common_passwords, weakness
from support.people import CHEAP, Person, people


@pytest.mark.parametrize(
    ("password", "fault"),
    [
        ("", "too_short"),
        ("seven77", "too_short"),
        ("x" * 257, "too_long"),
        ("password1", "too_common"),
        ("PASSWORD1", "too_common"),
        ("ｐａｓｓｗｏｒｄ１", "too_common"),
        (" password1 ", "too_common"),
        ("qwertyuiop", "too_common"),
        ("aaaaaaaaaaaaaaaa", "too_simple"),
        ("abcabcabcabc", "too_simple"),
        ("ada.lovelace", "too_personal"),
        ("Ada.Lovelace1815", "too_personal"),
        ("countess", "too_personal"),
        ("correct horse battery", None),
        ("ada.lovelace likes numbers", None),
        ("пароль-из-слов", None),
    ],
)
def test_weak_passwords(password: str, fault: str | None) -> None:
    """Short, common, repetitive or personal; a long phrase is none of these."""
    found = weakness(password, ["ada.lovelace@example.org", "countess"])
    assert (found[0] if found else None) == fault


def test_common_passwords_are_as_they_are_compared() -> None:
    """Lower case, long enough to matter, each once, and not many kilobytes."""
    words = common_passwords()
    assert len(words) == 4_000
    assert all(len(word) >= 8 and word == word.casefold() for word in words)
    assert Path(weak.__file__).with_name("common_passwords.txt").stat().st_size < 40_960


def test_a_program_may_ask_elsewhere() -> None:
    """What it finds in a breach is refused; it is not asked about what is weak anyway."""
    asked: list[str] = []

    async def breached(password: str) -> bool:
        asked.append(password)
        return password == "hunter2hunter2"

    for password, code in (("short", "too_short"), ("hunter2hunter2", "breached")):
        with pytest.raises(ValidationError) as caught:
            asyncio.run(check_password(password, breached=breached))
        assert [error.code for error in caught.value.errors] == [code]
    asyncio.run(check_password("correct horse battery", breached=breached))
    assert asked == ["hunter2hunter2", "correct horse battery"]


@pytest.fixture
def passwords() -> Passwords:
    """As cheap as they get."""
    return Passwords(CHEAP)


def verified(passwords: Passwords, password: str, kept: str | None) -> tuple[bool, str | None]:
    """What is said of a password."""
    return asyncio.run(passwords.verify(password, kept))


@pytest.mark.parametrize(
    "kept", [None, "", "plain", "$1$salt$hash", "$2b$12$short", "$argon2id$v=19$m=1", "sha256:00"]
)
def test_what_is_no_hash_is_nobodys(passwords: Passwords, kept: str | None) -> None:
    """Never an error, and never right."""
    for password in ("", "plain", "correct horse battery"):
        assert verified(passwords, password, kept) == (False, None)


def test_bcrypt_of_few_rounds_is_not_believed(passwords: Passwords) -> None:
    """Eleven rounds are guessed too quickly."""
    kept = bcrypt.hashpw(b"correct horse battery", bcrypt.gensalt(11)).decode()
    assert verified(passwords, "correct horse battery", kept) == (False, None)


def test_bcrypt_is_read_and_upgraded(passwords: Passwords) -> None:
    """Also of a password that is longer than what bcrypt looks at; the newer hash is of all of it."""
    for password in ("correct horse battery", "long " * 20):
        kept = bcrypt.hashpw(password.encode()[:72], bcrypt.gensalt(12)).decode()
        assert verified(passwords, password, kept)[0]
        assert verified(passwords, "wrong password", kept) == (False, None)
        newer = verified(passwords, password, kept)[1]
        assert newer is not None
        assert newer.startswith("$argon2id$")
        assert verified(passwords, password, newer) == (True, None)
        assert verified(passwords, password[:-2], newer) == (False, None)


def test_cheaper_hashes_are_upgraded(passwords: Passwords) -> None:
    """When the parameters grow, so do the hashes, at the next login."""
    kept = asyncio.run(passwords.hash("correct horse battery"))
    dearer = Passwords(Hashing(passes=2, memory_kib=128, lanes=1))
    right, newer = verified(dearer, "correct horse battery", kept)
    assert right
    assert newer is not None
    assert "m=128,t=2" in newer


def test_letters_of_another_form_are_the_same(passwords: Passwords) -> None:
    """Keyboards differ in how they send an accent."""
    kept = asyncio.run(passwords.hash("cafe\u0301 au lait"))
    assert verified(passwords, "café au lait", kept) == (True, None)


def test_few_hashes_run_at_once(passwords: Passwords) -> None:
    """Their memory is bounded, whatever comes in."""
    assert passwords._threads._max_workers == CHEAP.at_once


def test_default_hashing_is_the_standards() -> None:
    """RFC 9106's second recommended option: 64 MiB, three passes, four lanes."""
    hashing = AccountOptions().hashing
    assert (hashing.memory_kib, hashing.passes, hashing.lanes) == (65_536, 3, 4)


@pytest.mark.parametrize("database", ["sqlite", "postgresql"])
def test_login_upgrades_the_hash(database: str, tmp_path: Path) -> None:
    """An imported user signs in, and has an Argon2id hash from then on."""
    with people(database, tmp_path) as client:
        kept = bcrypt.hashpw(b"correct horse battery", bcrypt.gensalt(12)).decode()
        client.register("ada@example.org")
        client.change(1, password_hash=kept)
        assert client.login("ada@example.org", "wrong password").status == 401
        assert client.run(sa.select(Person.password_hash))[0][0] == kept
        assert client.login("ada@example.org", "correct horse battery").status == 200
        assert client.run(sa.select(Person.password_hash))[0][0].startswith("$argon2id$")
        assert client.login("ada@example.org", "correct horse battery").status == 200
