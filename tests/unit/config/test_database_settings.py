"""Where the databases are, as an operator writes it; a password is never shown."""

import os
from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.adapters.config.database import parse_address
from gateway.adapters.config.settings import Evidence, Settings, SettingsError, load_settings
from gateway.bootstrap import evidence_database, node, registry_database

SECRET = "hunter2/#?@ 100%"
URL = "postgresql://consent@db.example:5433/consent?sslmode=verify-full"


@pytest.fixture
def write(tmp_path: Path) -> Callable[[str], Path]:
    def written(text: str) -> Path:
        path = tmp_path / "gateway.toml"
        path.write_text(text)
        return path

    return written


def test_without_a_word_everything_is_in_files(tmp_path: Path) -> None:
    made = Settings.model_validate({"storage": {"folder": tmp_path}})
    assert evidence_database(made).label == str(tmp_path / "evidence.db")
    assert registry_database(made).label == str(tmp_path / "registry.db")
    assert node(made) == ""


def test_either_or_both_may_be_in_postgresql(write: Callable[[str], Path]) -> None:
    made = load_settings(write(f'[registry]\ndatabase = "{URL}"\n'))
    assert evidence_database(made).label.endswith("evidence.db")
    assert registry_database(made).label == "postgresql://consent@db.example:5433/consent (schema consent_registry)"
    assert node(made) == "consent-gateway/local"
    address = made.registry.address()
    assert address is not None
    assert address.parameters == {
        "dbname": "consent",
        "host": "db.example",
        "port": "5433",
        "user": "consent",
        "sslmode": "verify-full",
    }


@pytest.mark.parametrize("way", ["address", "key", "file", "environment", "environment address"])
def test_the_password_may_come_in_many_ways_and_is_seen_in_none(
    way: str, write: Callable[[str], Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from urllib.parse import quote

    inside = URL.replace("consent@", f"consent:{quote(SECRET, safe='')}@")
    text = f'[evidence]\ndatabase = "{inside if way == "address" else URL}"\n'
    if way == "key":
        text += f'password = "{SECRET}"\n'
    if way == "file":
        (tmp_path / "password").write_text(f"{SECRET}\n")
        text += f'password_file = "{tmp_path / "password"}"\n'
    if way == "environment":
        monkeypatch.setenv("CONSENT_GATEWAY_EVIDENCE__PASSWORD", SECRET)
    if way == "environment address":
        monkeypatch.setenv("CONSENT_GATEWAY_EVIDENCE__DATABASE", inside)
        text = ""
    made = load_settings(write(text))
    address = made.evidence.address()
    assert address is not None and address.parameters["password"] == SECRET
    database = evidence_database(made)
    for shown in (repr(made), str(made), made.model_dump_json(), repr(address), database.label, repr(vars(database))):
        assert SECRET not in shown and quote(SECRET, safe="") not in shown
    assert made.evidence.spells_password is (way != "file")


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ('database = "mysql://u:hunter2@h/x"', 'registry.database: write "postgresql://user@host:5432/name"'),
        ('database = "var/registry.db"', "registry.database: write"),
        ('database = "postgresql://u:hunter2@h"', "registry.database: the address names no database"),
        ('database = "postgresql://u:hun#ter2@h/x"', "registry.database: the address"),
        ('database = "postgresql://u:hunter2@h:99999/x"', "registry.database: the address cannot be read"),
        ('database = "postgresql://u:hunter2@h/x?options=-cfsync"', "registry.database: the address has an option"),
        ('database = "postgresql://u:hunter2@h1,h2/x"', "registry.database: the address names several servers"),
        ('database = "postgresql://u:hunter2@h/x"\npassword = "hunter2"', "registry: the password is needed once"),
        ('password = "hunter2"', "registry: a password without a database"),
        ("password = 5", "registry.password: "),
        (
            'database = "postgresql://u@h/x"\npassword_file = "/nowhere"',
            "/nowhere: the database's password cannot be read",
        ),
    ],
)
def test_a_mistake_is_named_without_what_was_written(write: Callable[[str], Path], text: str, says: str) -> None:
    with pytest.raises(SettingsError) as wrong:
        load_settings(write(f"[registry]\n{text}\n")).registry.address()
    assert says in str(wrong.value)
    assert "hunter2" not in str(wrong.value) and "ter2@" not in str(wrong.value)


def test_a_socket_and_ipv6_can_be_written() -> None:
    socket = parse_address("postgresql://consent@/consent?host=/run/postgresql")
    assert (socket.parameters["host"], socket.is_local) == ("/run/postgresql", True)
    assert socket.label == "postgresql://consent@/run/postgresql/consent"
    other = parse_address("postgres://[2001:db8::1]:5432/consent")
    assert (other.parameters["host"], other.is_local) == ("2001:db8::1", False)
    assert other.label == "postgresql://[2001:db8::1]:5432/consent"


@given(st.text(max_size=60))
def test_no_text_breaks_the_reader(text: str) -> None:
    for whole in (text, f"postgresql://u:{text}@h/x", f"postgresql://h/x?{text}"):
        try:
            parse_address(whole)
        except ValueError as error:
            assert len(text) < 8 or text not in str(error)


def test_the_environment_is_enough(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in list(os.environ):
        if name.startswith("CONSENT_GATEWAY_"):
            monkeypatch.delenv(name)
    monkeypatch.setenv("CONSENT_GATEWAY_REGISTRY__DATABASE", "postgresql://consent@h/consent")
    address = load_settings(None).registry.address()
    assert address is not None and address.parameters["host"] == "h"
    assert Evidence().address() is None
