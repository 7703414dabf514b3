"""Numbers: what the tables have, what a malformed one is told, and what is read from the wire."""

import phonenumbers
import pytest
from hypothesis import given
from hypothesis import strategies as st
from phonenumbers import PhoneNumberFormat, PhoneNumberType, geocoder

from gateway.policy.errors import PolicyError
from gateway.policy.numbering import Hint, Kind, parse_numbering
from tests.unit.policy.places import LAW, NUMBERING

E164, NATIONAL = PhoneNumberFormat.E164, PhoneNumberFormat.NATIONAL
KINDS = {PhoneNumberType.FIXED_LINE: Kind.FIXED, PhoneNumberType.MOBILE: Kind.MOBILE}
CARIBBEAN = "AG AI BB BM BS DM DO GD JM KN KY LC MS SX TC TT VC VG"
AREAS = 'version = "1"\ndate = 2026-11-28\ntoll_free = ["800"]\nnon_geographic = ["500"]\n[places]\nUS-NY = ["212"]\n'


def test_small_tables_are_enough() -> None:
    numbering = parse_numbering(AREAS.encode(), "a.toml")
    assert [table.source for table in numbering.tables] == ["a.toml", "phonenumbers"]
    assert numbering.area_codes == {"212": ("US-NY",)}
    assert numbering.tables[1].version == phonenumbers.__version__


@pytest.mark.parametrize(
    ("old", "new", "line", "message"),
    [
        ('["212"]', '["112"]', 6, "places.US-NY.0: "),
        ('["212"]', '["2125"]', 6, "places.US-NY.0: "),
        ('["212"]', '["212", "212"]', 6, "places.US-NY: 212 is there twice"),
        ('["212"]', '["800"]', 6, "places.US-NY: 800 is of no place too"),
        ("US-NY", "us-ny", 6, "places.us-ny: not a place"),
        ("2026-11-28", '"today"', 2, "date: write a date without quotes"),
        ("toll_free", "toll_fee", 3, "toll_fee: unknown key"),
    ],
)
def test_malformed_area_codes(old: str, new: str, line: int, message: str) -> None:
    with pytest.raises(PolicyError) as caught:
        parse_numbering(AREAS.replace(old, new).encode(), "a.toml")
    assert any(p.source == "a.toml" and p.line == line and p.message.startswith(message) for p in caught.value.problems)


def test_every_area_code_has_a_known_place() -> None:
    assert len(NUMBERING.area_codes) == 453
    places = {place for code in NUMBERING.area_codes for place in NUMBERING.area_codes[code]}
    assert {place for place in places if place[:2] in ("US", "CA")} == {
        place for place in LAW.rows if place[:2] in ("US", "CA") and len(place) > 2
    }
    assert sorted(place for place in places if "-" not in place) == CARIBBEAN.split()
    shared = {code: found for code, found in NUMBERING.area_codes.items() if len(found) > 1}
    assert shared == {
        "782": ("CA-NS", "CA-PE"),
        "902": ("CA-NS", "CA-PE"),
        "867": ("CA-NT", "CA-NU", "CA-YT"),
    }


@pytest.mark.parametrize(
    ("code", "place"),
    [
        *(("212", "US-NY"), ("213", "US-CA"), ("312", "US-IL"), ("202", "US-DC"), ("907", "US-AK"), ("808", "US-HI")),
        *(("512", "US-TX"), ("305", "US-FL"), ("617", "US-MA"), ("215", "US-PA"), ("206", "US-WA"), ("702", "US-NV")),
        *(("603", "US-NH"), ("410", "US-MD"), ("406", "US-MT"), ("302", "US-DE"), ("203", "US-CT"), ("802", "US-VT")),
        *(("503", "US-OR"), ("313", "US-MI"), ("787", "US-PR"), ("671", "US-GU"), ("340", "US-VI"), ("684", "US-AS")),
        *(("416", "CA-ON"), ("514", "CA-QC"), ("604", "CA-BC"), ("403", "CA-AB"), ("204", "CA-MB"), ("306", "CA-SK")),
        *(("506", "CA-NB"), ("709", "CA-NL"), ("876", "JM"), ("809", "DO"), ("868", "TT"), ("441", "BM")),
    ],
)
def test_some_area_codes(code: str, place: str) -> None:
    assert NUMBERING.area_codes[code] == (place,)


NEWER_THAN_THE_LIBRARY = {"357", "436", "457", "465", "471", "621", "624", "679", "729", "837", "861", "924"}
"""Overlays that came into service from 2023 to 2026 and that `phonenumbers` 9.0.43 does not know."""


def test_no_area_code_contradicts_the_library() -> None:
    """Each state the library names is one of our places and no other: a code in the wrong state would be of two."""
    places_of: dict[str, set[tuple[str, ...]]] = {}
    for code, places in NUMBERING.area_codes.items():
        example = phonenumbers.parse(f"+1{code}5550100")
        region = phonenumbers.region_code_for_number(example)
        if region is None:
            assert code in NEWER_THAN_THE_LIBRARY
            continue
        assert {region} == ({place[:2] for place in places} if region in ("US", "CA") else {places[0][-2:]})
        # the library's spelling of one province, in one of its six codes
        name = geocoder.description_for_number(example, "en").replace("Colombia", "Columbia")
        city, _, state = name.rpartition(", ")
        if city:
            assert places == (f"{region}-{state}",)
        elif name:
            places_of.setdefault(name, set()).add(places)
    named = [places for found in places_of.values() for places in found]
    assert len(places_of) == len(named) == len(set(named)) > 60


COUNTRIES = sorted(place for place in LAW.rows if len(place) == 2)


@pytest.mark.parametrize("country", [place for place in COUNTRIES if place not in ("US", "CA")])
def test_every_country_of_the_law_dials(country: str) -> None:
    for kind in (PhoneNumberType.FIXED_LINE, PhoneNumberType.MOBILE):
        example = phonenumbers.example_number_for_type(country, kind)
        assert example is not None
        forms = [phonenumbers.format_number(example, form) for form in (E164, NATIONAL)]
        hints = {NUMBERING.read(form, country) for form in forms}
        assert len(hints) == 1
        hint = hints.pop()
        assert hint.places == (country,) or (country, hint.places) == ("IM", ("GB", "IM"))
        assert hint.kind in (KINDS[kind], Kind.LOOSE)


@pytest.mark.parametrize(
    ("number", "home", "kind", "places"),
    [
        # withheld, and what is no number
        ("", "", Kind.WITHHELD, ()),
        ("  ", "DE", Kind.WITHHELD, ()),
        ("anonymous", "US", Kind.WITHHELD, ()),
        ("Anonymous", "", Kind.WITHHELD, ()),
        ("<unknown>", "", Kind.WITHHELD, ()),
        ("sip:anonymous@anonymous.invalid", "", Kind.WITHHELD, ()),
        ("sip:@example.org", "", Kind.WITHHELD, ()),
        ("alice", "DE", Kind.NO_NUMBER, ()),
        ("sip:alice@example.org", "DE", Kind.NO_NUMBER, ()),
        ("john.smith@example.org", "", Kind.NO_NUMBER, ()),
        ("*98", "DE", Kind.NO_NUMBER, ()),
        ("+", "", Kind.NO_NUMBER, ()),
        ("++493012345678", "", Kind.NO_NUMBER, ()),
        ("+٤٩٣٠١٢٣٤٥٦٧٨", "", Kind.NO_NUMBER, ()),
        ("+4930\r\n12345678", "", Kind.NO_NUMBER, ()),
        ("+" + "4" * 300, "", Kind.NO_NUMBER, ()),
        # digits of no form
        ("1001", "DE", Kind.UNREADABLE, ()),
        ("112", "DE", Kind.UNREADABLE, ()),
        ("911", "US", Kind.UNREADABLE, ()),
        ("030123456", "", Kind.UNREADABLE, ()),
        ("5125550100", "", Kind.UNREADABLE, ()),
        ("493012345678", "DE", Kind.UNREADABLE, ()),
        ("5550100", "US", Kind.UNREADABLE, ()),
        ("01149301234567", "", Kind.UNREADABLE, ()),
        ("004930123456", "US", Kind.UNREADABLE, ()),
        ("tel:7042;phone-context=example.org", "DE", Kind.UNREADABLE, ()),
        ("tel:030123456;phone-context=+41", "DE", Kind.UNREADABLE, ()),
        ("+0301234567", "", Kind.UNREADABLE, ()),
        ("+49301", "", Kind.UNREADABLE, ()),
        ("+4930123456789012", "", Kind.UNREADABLE, ()),
        ("+1212555010", "", Kind.UNREADABLE, ()),
        ("+11125550100", "", Kind.UNREADABLE, ()),
        ("+12121550100", "", Kind.UNREADABLE, ()),
        ("+2101234567", "", Kind.UNREADABLE, ()),
        # what the library would mend, and numbers that are not in use
        ("+4402071234567", "", Kind.UNREADABLE, ()),
        ("004402071234567", "FR", Kind.UNREADABLE, ()),
        ("+4420712345", "", Kind.UNREADABLE, ()),
        ("2071234567", "GB", Kind.UNREADABLE, ()),
        ("442071234567", "GB", Kind.UNREADABLE, ()),
        ("+441481123456", "", Kind.UNREADABLE, ()),
        ("+4512345678", "", Kind.UNREADABLE, ()),
        ("+88312345678", "", Kind.UNREADABLE, ()),
        ("2471234", "MH", Kind.UNREADABLE, ()),
        ("399327", "DE", Kind.UNREADABLE, ()),
        ("011117025550100", "US", Kind.UNREADABLE, ()),
        ("00117025550100", "SE", Kind.UNREADABLE, ()),
        ("+117025550100", "", Kind.UNREADABLE, ()),
        ("4641234", "AG", Kind.UNREADABLE, ()),
        ("00493012345678", "JP", Kind.UNREADABLE, ()),
        # country code 1
        ("+12125550100", "", Kind.AREA, ("US-NY",)),
        ("+1 (212) 555-0100", "", Kind.AREA, ("US-NY",)),
        ("tel:+1-212-555-0100", "", Kind.AREA, ("US-NY",)),
        ("sip:+12125550100@example.org;user=phone", "", Kind.AREA, ("US-NY",)),
        ("sips:%2B12125550100:secret@example.org", "", Kind.AREA, ("US-NY",)),
        ("0012125550100", "", Kind.AREA, ("US-NY",)),
        ("0012125550100", "DE", Kind.AREA, ("US-NY",)),
        ("01112125550100", "US", Kind.AREA, ("US-NY",)),
        ("0112125550100", "US", Kind.UNREADABLE, ()),
        ("12125550100", "US-TX", Kind.AREA, ("US-NY",)),
        ("2685550100", "AG", Kind.AREA, ("AG",)),
        ("2125550100", "ca-on", Kind.AREA, ("US-NY",)),
        ("+14165550100", "", Kind.AREA, ("CA-ON",)),
        ("+18675550100", "", Kind.AREA, ("CA-NT", "CA-NU", "CA-YT")),
        ("+18765550100", "", Kind.AREA, ("JM",)),
        ("+17875550100", "", Kind.AREA, ("US-PR",)),
        ("+18005550100", "", Kind.FREEPHONE, ()),
        ("8885550100", "US", Kind.FREEPHONE, ()),
        ("+15005550100", "", Kind.PLACELESS, ()),
        ("+16005550100", "", Kind.PLACELESS, ()),
        ("+12995550100", "", Kind.PLACELESS, ()),
        # other countries
        ("+493012345678", "", Kind.FIXED, ("DE",)),
        ("00493012345678", "", Kind.FIXED, ("DE",)),
        ("011493012345678", "US", Kind.FIXED, ("DE",)),
        ("03012345678", "DE", Kind.FIXED, ("DE",)),
        ("015112345678", "DE", Kind.MOBILE, ("DE",)),
        ("+4915112345678", "", Kind.MOBILE, ("DE",)),
        ("+4916012345678", "", Kind.MOBILE, ("DE",)),
        ("+4917012345678", "", Kind.MOBILE, ("DE",)),
        ("+498001234567", "", Kind.FREEPHONE, ()),
        ("+499001234567", "", Kind.LOOSE, ("DE",)),
        ("+4918012345", "", Kind.LOOSE, ("DE",)),
        ("+4970012345678", "", Kind.LOOSE, ("DE",)),
        ("+4918500123456", "", Kind.LOOSE, ("DE",)),
        ("+4916412345", "", Kind.LOOSE, ("DE",)),
        ("+33912345678", "", Kind.LOOSE, ("FR",)),
        ("+33123456789", "", Kind.FIXED, ("FR",)),
        ("+33612345678", "", Kind.MOBILE, ("FR",)),
        ("+33745678901", "", Kind.MOBILE, ("FR",)),
        ("0612345678", "FR", Kind.MOBILE, ("FR",)),
        ("+34612345678", "", Kind.MOBILE, ("ES",)),
        ("+34712345678", "", Kind.MOBILE, ("ES",)),
        ("912345678", "ES", Kind.FIXED, ("ES",)),
        ("49301234567", "ES", Kind.UNREADABLE, ()),
        ("+390612345678", "", Kind.FIXED, ("IT",)),
        ("0612345678", "IT", Kind.FIXED, ("IT",)),
        ("+393331234567", "", Kind.MOBILE, ("IT",)),
        ("+390669812345", "", Kind.FIXED, ("VA",)),
        ("+31612345678", "", Kind.MOBILE, ("NL",)),
        ("+41791234567", "", Kind.MOBILE, ("CH",)),
        ("+41441234567", "", Kind.FIXED, ("CH",)),
        ("+436641234567", "", Kind.MOBILE, ("AT",)),
        ("+4312345678", "", Kind.FIXED, ("AT",)),
        ("+3612345678", "", Kind.FIXED, ("HU",)),
        ("0612345678", "HU", Kind.FIXED, ("HU",)),
        ("+4532123456", "", Kind.LOOSE, ("DK",)),
        ("+390549886377", "", Kind.LOOSE, ("IT", "SM")),
        ("+3780549886377", "", Kind.FIXED, ("SM",)),
        ("+358401234567", "", Kind.MOBILE, ("FI",)),
        ("+358181234567", "", Kind.FIXED, ("AX",)),
        ("+4722345678", "", Kind.FIXED, ("NO",)),
        ("+4741234567", "", Kind.MOBILE, ("NO",)),
        ("+46701234567", "", Kind.MOBILE, ("SE",)),
        ("+353861234567", "", Kind.MOBILE, ("IE",)),
        ("+35312345678", "", Kind.FIXED, ("IE",)),
        ("+442071234567", "", Kind.FIXED, ("GB",)),
        ("+447912345678", "", Kind.MOBILE, ("GB",)),
        ("+447012345678", "", Kind.LOOSE, ("GB", "GG", "IM")),
        ("+448001234567", "", Kind.FREEPHONE, ()),
        ("+441534123456", "", Kind.FIXED, ("JE",)),
        ("+447797123456", "", Kind.MOBILE, ("JE",)),
        ("+441481256789", "", Kind.FIXED, ("GG",)),
        ("+441624756789", "", Kind.FIXED, ("IM",)),
        ("+447624123456", "", Kind.MOBILE, ("IM",)),
        ("+447924123456", "", Kind.MOBILE, ("GB", "IM")),
        ("+74951234567", "", Kind.FIXED, ("RU",)),
        ("84951234567", "RU", Kind.FIXED, ("RU",)),
        ("+77012345678", "", Kind.MOBILE, ("KZ",)),
        ("+911123456789", "", Kind.FIXED, ("IN",)),
        ("+61412345678", "", Kind.MOBILE, ("AU", "CC", "CX")),
        ("+590590271234", "", Kind.LOOSE, ("BL", "MF")),
        ("+80012345678", "", Kind.WORLD, ()),
        ("+883510000000000", "", Kind.WORLD, ()),
    ],
)
def test_what_a_number_says(number: str, home: str, kind: Kind, places: tuple[str, ...]) -> None:
    assert NUMBERING.read(number, home) == Hint(kind, places)


@given(st.text(max_size=300), st.sampled_from(["", "DE", "US", "US-CA", "ES", "JP", "?", "ſ"]))
def test_nothing_on_the_wire_breaks_the_reading(number: str, home: str) -> None:
    hint = NUMBERING.read(number, home)
    assert not any(char.isdigit() for char in f"{hint.kind.value}{hint.places}")


@given(st.from_regex(r"\+?[0-9]{1,17}", fullmatch=True), st.sampled_from(["", "JP", *COUNTRIES]))
def test_every_run_of_digits_is_read(number: str, home: str) -> None:
    hint = NUMBERING.read(number, home)
    assert bool(hint.places) == (hint.kind in (Kind.AREA, Kind.FIXED, Kind.MOBILE, Kind.LOOSE))
