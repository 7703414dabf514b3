"""What a telephone number says of where its owner is: a hint, and often less than that.

Numbers come from the wire and are personal data: nothing returned from here has a digit of one in it.
"""

import datetime
import hashlib
import re
from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from types import MappingProxyType
from typing import Annotated

import phonenumbers
from phonenumbers import (
    REGION_CODE_FOR_NON_GEO_ENTITY,
    CountryCodeSource,
    NumberParseException,
    PhoneMetadata,
    PhoneNumber,
    PhoneNumberType,
)
from pydantic import Field, StringConstraints, model_validator

from gateway.policy.law import TableId
from gateway.policy.tables import PLACE, Table, clash, read_table

AREA_CODES_FILE = "nanp.toml"
"""The shipped table of area codes, in the folder `law` of this package."""
LIBRARY = TableId("phonenumbers", phonenumbers.__version__, sha256="")
"""The library that reads all other numbers. Its version names its plans; it is many modules, so there is no SHA-256."""

_MAX_CHARS = 256
_MAX_DIGITS = 15
"""ITU-T E.164; the library lets some longer ones pass."""
_WITHHELD = frozenset({"", "anonymous", "blocked", "private", "restricted", "unavailable", "unknown", "withheld"})
_NANP = re.compile(r"([2-9][0-9]{2})[2-9][0-9]{6}")
"""Area code, exchange, line: ATIS-0300055."""


class Kind(StrEnum):
    """What sort of number it is."""

    WITHHELD = "withheld"
    NO_NUMBER = "no_number"
    """A SIP user, a feature code, anything that is no telephone number."""
    UNREADABLE = "unreadable"
    """Digits that are neither international nor, as far as is configured, national, or of no number in use."""
    AREA = "area"
    """A number of the North American plan whose area code has a place."""
    FREEPHONE = "freephone"
    PLACELESS = "placeless"
    """An area code of no place, or one newer than the table."""
    FIXED = "fixed"
    MOBILE = "mobile"
    LOOSE = "loose"
    """A country's number that is not known for a fixed line or a mobile, or a fixed line that several share."""
    WORLD = "world"
    """A calling code of no country."""


_SAN_MARINO = "0549"
"""San Marino's lines are reached under Italy's calling code too, and the library takes them for Italian then."""
_NO_TRUNK = frozenset({"LI"})
"""Countries that dial no prefix before their national numbers, though the library has one for them."""
_KINDS = {
    PhoneNumberType.FIXED_LINE: Kind.FIXED,
    PhoneNumberType.MOBILE: Kind.MOBILE,
    PhoneNumberType.TOLL_FREE: Kind.FREEPHONE,
}
"""What the library says of a number, as far as it is believed; all else is `LOOSE`."""
_WITHIN = {"AX": "FI", "SJ": "NO", "VA": "IT"}
"""Regions whose mobiles cannot be told from those of the country around them: a number of both is the country's."""


@dataclass(frozen=True, slots=True)
class Hint:
    """What one number says: its kind and the places it hints at, all of them plausible."""

    kind: Kind
    places: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Numbering:
    """The numbering plans: our table of area codes for country code 1, the library `phonenumbers` for all others."""

    area_codes: Mapping[str, tuple[str, ...]]
    toll_free: frozenset[str]
    tables: tuple[TableId, ...]

    def read(self, number: str, home: str = "") -> Hint:
        """Return what *number*, as seen on the wire, says. *home* is the place whose national form it may be in.

        International form is "+", or the home's prefix for calls abroad ("00" without a home). National form is read
        only with a home, and only as written there. What the library would have to mend, or does not hold for a
        number in use, is `UNREADABLE`: a wrong reading could loosen a decision.
        """
        digits, kind = _digits(number)
        if kind is not None:
            return Hint(kind)
        parsed = _parse(digits, home[:2].upper())
        if parsed is None:
            return Hint(Kind.UNREADABLE)
        return self._area(parsed) if parsed.country_code == 1 else _country(parsed)

    def _area(self, parsed: PhoneNumber) -> Hint:
        found = _NANP.fullmatch(phonenumbers.national_significant_number(parsed))
        if not found:
            return Hint(Kind.UNREADABLE)
        if found[1] in self.toll_free:
            return Hint(Kind.FREEPHONE)
        places = self.area_codes.get(found[1], ())
        return Hint(Kind.AREA, places) if places else Hint(Kind.PLACELESS)


def _parse(digits: str, region: str) -> PhoneNumber | None:
    """Return the number, or nothing where the library had to mend *digits*, dialled in *region*, to read one."""
    plan = PhoneMetadata.metadata_for_region(region, None)
    if plan is None and digits.startswith("00"):
        digits = f"+{digits[2:]}"
    try:
        parsed = phonenumbers.parse(digits, region if plan else None, keep_raw_input=True)
    except NumberParseException:
        return None
    national = phonenumbers.national_significant_number(parsed)
    abroad = f"{parsed.country_code}{national}"
    if len(abroad) > _MAX_DIGITS:
        return None
    if digits.startswith("+"):
        return parsed if digits == f"+{abroad}" else None
    if plan is None:
        return None
    if parsed.country_code_source == CountryCodeSource.FROM_NUMBER_WITH_IDD:
        prefix = digits.removesuffix(abroad) if digits.endswith(abroad) else ""
        return parsed if re.fullmatch(plan.international_prefix or "", prefix) else None
    trunk = "" if region in _NO_TRUNK else plan.national_prefix or ""
    bare = parsed.country_code == 1 and digits == national
    return parsed if bare or digits == f"{trunk}{national}" else None


def _country(parsed: PhoneNumber) -> Hint:
    """Return what a number outside country code 1 says: every country whose plan has it in use."""
    regions = phonenumbers.region_codes_for_country_code(parsed.country_code or 0)
    valid = [region for region in regions if phonenumbers.is_valid_number_for_region(parsed, region)]
    places = tuple(region for region in valid if _WITHIN.get(region) not in valid)
    if "IT" in places and phonenumbers.national_significant_number(parsed).startswith(_SAN_MARINO):
        places = (*places, "SM")
    if not places:
        return Hint(Kind.UNREADABLE)
    if REGION_CODE_FOR_NON_GEO_ENTITY in places:
        return Hint(Kind.WORLD)
    kind = _KINDS.get(phonenumbers.number_type(parsed), Kind.LOOSE)
    if kind is Kind.FREEPHONE:
        return Hint(kind)
    return Hint(Kind.LOOSE if kind is Kind.FIXED and len(places) > 1 else kind, places)


def _digits(number: str) -> tuple[str, Kind | None]:
    """Return the digits of a number, SIP or tel URI, with its "+", or why there are none (RFC 3261, 19.1; RFC 3966)."""
    text = number.strip().strip("<>")
    if len(text) > _MAX_CHARS:
        return "", Kind.NO_NUMBER
    scheme, colon, rest = text.partition(":")
    if colon and scheme.lower() in ("sip", "sips", "tel"):
        text = rest
    user, _, parameters = text.partition("@")[0].partition(";")
    user = user.partition(":")[0].replace("%2B", "+").replace("%2b", "+").strip()
    if user.lower() in _WITHHELD:
        return "", Kind.WITHHELD
    digits = re.sub(r"[-. ()/]", "", user)
    if not re.fullmatch(r"\+?[0-9]+", digits):
        return "", Kind.NO_NUMBER
    if "phone-context" in parameters.lower() and digits[0] != "+":
        return "", Kind.UNREADABLE
    return digits, None


Place = Annotated[str, StringConstraints(pattern=PLACE)]
AreaCode = Annotated[str, StringConstraints(pattern=r"^[2-9][0-9]{2}$")]


class _AreaCodesFile(Table):
    version: str
    date: datetime.date
    toll_free: list[AreaCode]
    non_geographic: list[AreaCode]
    places: dict[Place, list[AreaCode]] = Field(min_length=1)

    @model_validator(mode="after")
    def _coherent(self) -> "_AreaCodesFile":
        placeless = {*self.toll_free, *self.non_geographic}
        for place, codes in self.places.items():
            for code in codes:
                if code in placeless:
                    raise clash(f"{code} is of no place too: leave it out of one of them", "places", place)
                if codes.count(code) > 1:
                    raise clash(f"{code} is there twice: leave one out", "places", place)
        return self


def parse_numbering(data: bytes, source: str) -> Numbering:
    """Read the table of area codes, the file *source*. Raises `PolicyError` with file, line and remedy."""
    table = read_table(_AreaCodesFile, data, source)
    by_code: dict[str, tuple[str, ...]] = {}
    for place, codes in table.places.items():
        for code in codes:
            by_code[code] = (*by_code.get(code, ()), place)
    return Numbering(
        area_codes=MappingProxyType(by_code),
        toll_free=frozenset(table.toll_free),
        tables=(TableId(source, table.version, hashlib.sha256(data).hexdigest()), LIBRARY),
    )
