"""`consent-gateway evidence anchor`: have the log's head kept elsewhere, once, beside a gateway that runs or not."""

from dataclasses import asdict, dataclass
from pathlib import Path

from gateway.cli.output import NO, OK, OUT_OF_REACH, USAGE, complain, say, say_json, settings_or_exit, within_reach
from gateway.ports.anchors import Anchor


@dataclass(frozen=True, slots=True)
class Named:
    """Anchors named on the command line, in the place of those of the configuration."""

    folder: Path | None
    tsa: str
    tsa_certs: Path | None
    witness: str
    witness_key: str

    def __bool__(self) -> bool:
        return bool(self.folder or self.tsa or self.witness)


@within_reach()
def run(config: Path | None, only: list[str], named: Named, *, as_json: bool) -> int:
    """Anchor; 0 when every anchor has the head, 1 when one refuses it or lies, 3 when one is out of reach."""
    from gateway.adapters.anchors.shelf import AnchorShelf
    from gateway.adapters.store.heads import LogHeads
    from gateway.app.anchoring import anchor_head
    from gateway.cli.evidence import log_or_exit

    database, folders, _ = log_or_exit(config)
    anchors = _choose(config, only, named)
    head = LogHeads(database, folders.keys).read()
    outcomes = anchor_head(head, anchors, AnchorShelf(folders.anchors))
    if as_json:
        say_json({"size": head.checkpoint.size, "anchors": [asdict(item) for item in outcomes]})
    else:
        say(f"the log's head: {head.checkpoint.size} entries; what anchors say of it is kept in {folders.anchors}")
        for item in outcomes:
            (complain if item.failed else say)(f"{item.anchor}: {item.words}")
    failed = {item.failed for item in outcomes}
    return NO if "refused" in failed else OUT_OF_REACH if "unavailable" in failed else OK


def _choose(config: Path | None, only: list[str], named: Named) -> list[Anchor]:
    """Return the anchors to ask; leaves with 2 when there are none, or none of a name."""
    from pydantic import ValidationError

    from gateway.adapters.config.settings import Anchors, SettingsError, TimeStamping, WitnessSection
    from gateway.adapters.store.heads import read_verifier
    from gateway.bootstrap import Folders, open_anchors

    settings = settings_or_exit(config)
    section = settings.evidence.anchors
    try:
        if named:
            tsa = (TimeStamping(url=named.tsa, certificates=named.tsa_certs),) if named.tsa and named.tsa_certs else ()
            key = key_line(named.witness_key)
            witness = (WitnessSection(url=named.witness, key=key),) if named.witness else ()
            section = Anchors(folder=named.folder, tsa=tsa, witness=witness, timeout_s=section.timeout_s)
        anchors = open_anchors(section, read_verifier(Folders(settings.storage.folder.resolve()).keys))
    except SettingsError as error:
        complain(str(error))
        raise SystemExit(USAGE) from None
    except ValidationError:
        complain("--tsa and --witness need an address such as http://tsa.example/stamp")
        raise SystemExit(USAGE) from None
    known = [anchor.name for anchor in anchors]
    unknown = [name for name in only if name not in known]
    if unknown:
        complain(f"no anchor is called {unknown[0]}; there is {', '.join(known) or 'none'}")
        raise SystemExit(USAGE)
    if not anchors:
        complain(
            "nothing to anchor to: name --folder, --tsa or --witness, or write [evidence.anchors] into gateway.toml"
        )
        raise SystemExit(USAGE)
    return [anchor for anchor in anchors if not only or anchor.name in only]


def key_line(text: str) -> str:
    """Return a key that is named on the command line: the line itself, or the file that holds it. Raises `OSError`."""
    file = Path(text)
    return file.read_text(encoding="utf-8", errors="replace").strip() if file.is_file() else text
