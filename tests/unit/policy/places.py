"""The shipped tables of law and numbers, read once for the tests."""

from importlib import resources

from gateway.policy.law import LAW_FILES, Law, LawTable, make_law, parse_law
from gateway.policy.numbering import AREA_CODES_FILE, Numbering, parse_numbering

FOLDER = resources.files("gateway.policy") / "law"


def shipped(name: str) -> tuple[bytes, str]:
    return (FOLDER / name).read_bytes(), name


TABLES: tuple[LawTable, ...] = tuple(parse_law(*shipped(name)) for name in LAW_FILES)
LAW: Law = make_law(TABLES)
NUMBERING: Numbering = parse_numbering(*shipped(AREA_CODES_FILE))
