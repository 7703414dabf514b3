"""What the files of an Asterisk say, where its configuration folder can be read from this machine."""

from dataclasses import dataclass
from pathlib import Path
from typing import Final

from gateway.adapters.asterisk.inspection.config_files import Section, read_sections
from gateway.adapters.asterisk.inspection.survey import class_names

_TRUE = ("yes", "true", "y", "t", "1", "on")

OUR_FEATURES: Final = ("consent-resume", "consent-pause")
"""What a record button's on and off may run."""


@dataclass(frozen=True, slots=True)
class Files:
    """What the files say; None: such a file was not read. *unread*: files that are there and could not be.

    *endpoints*: those with `one_touch_recording = yes`, but for *pausing*, whose button is our pause. *queues*: those
    with a `monitor-format`. *keys*: names of feature codes (`[applicationmap]`) that start a MixMonitor.
    """

    read: frozenset[str] | None = None
    dangerous: bool | None = None
    automixmon: str | None = None
    endpoints: tuple[str, ...] | None = None
    queues: tuple[str, ...] | None = None
    keys: tuple[str, ...] = ()
    unread: tuple[str, ...] = ()
    pausing: tuple[str, ...] = ()


def read_files(folder: Path | None, user: str) -> Files:
    """Read what concerns us. Never raises: what cannot be read is in *unread*, what is not there is not set."""
    if folder is None:
        return Files()
    unread: list[str] = []
    try:
        there = {path.name for path in folder.iterdir()}
    except OSError:
        return Files(unread=(str(folder),))

    def read(name: str) -> tuple[Section, ...] | None:
        try:
            return read_sections(folder, name) if name in there else ()
        except OSError:
            unread.append(name)
            return None

    manager, asterisk, features = read("manager.conf"), read("asterisk.conf"), read("features.conf")
    pjsip, queues = read("pjsip.conf"), read("queues.conf")
    users = [section for section in manager or () if section.name == user and not section.is_template]
    return Files(
        read=class_names(_last(users, "read")) if users else None,
        dangerous=_last(_named(asterisk, "options"), "live_dangerously").lower() in _TRUE if asterisk else None,
        automixmon=None if features is None else _last(_named(features, "featuremap"), "automixmon"),
        endpoints=None if pjsip is None else _one_touch(pjsip, ours=False),
        pausing=_one_touch(pjsip or (), ours=True),
        queues=None if queues is None else tuple(s.name for s in queues if s.last("monitor-format")),
        keys=tuple(
            name
            for section in _named(features, "applicationmap")
            for name, value in section.settings
            if "mixmonitor" in value.lower() and "stopmixmonitor" not in value.lower()
        ),
        unread=tuple(unread),
    )


def _named(sections: tuple[Section, ...] | None, name: str) -> list[Section]:
    return [section for section in sections or () if section.name == name]


def _last(sections: list[Section], key: str) -> str:
    return next((value for section in reversed(sections) if (value := section.last(key))), "")


def _one_touch(sections: tuple[Section, ...], *, ours: bool) -> tuple[str, ...]:
    """Endpoints with a record button, *ours*: one that runs the dialplan's pause and resume, and nothing else."""
    return tuple(
        section.name
        for section in sections
        if not section.is_template
        and section.last("type").lower() == "endpoint"
        and section.last("one_touch_recording").lower() in _TRUE
        and ours is ((section.last("record_on_feature"), section.last("record_off_feature")) == OUR_FEATURES)
    )
