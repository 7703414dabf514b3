"""Where there is an Asterisk: the one of `make asterisk` below the checkout, or one that is installed on the machine.

The first runs with its own loader and libraries and needs neither chroot nor root: every path in it is a path of this
machine.
"""

import os
import re
import shlex
import shutil
import subprocess
from dataclasses import dataclass
from pathlib import Path
from typing import Final

OLDEST: Final = 22
"""The dialplan was never tried on an older one."""
BESIDE_THE_PATH: Final = ("/usr/sbin", "/usr/local/sbin")
"""Where Debian and a build from source put the program; users other than root do not have them on their PATH."""
VERSION_TIMEOUT_S: Final = 10
REMEDY: Final = f"run `make asterisk` once, as root: it puts an Asterisk {OLDEST} there"


class AsteriskMissing(Exception):
    """There is no Asterisk that can be used; the text says where it was looked for and what to do."""


@dataclass(frozen=True, slots=True)
class Installation:
    """An Asterisk that can be run. *loader*: its own, None: it is a program of this machine like any other."""

    binary: Path
    modules: Path
    data: Path
    loader: Path | None = None

    @property
    def script(self) -> str:
        """A shell script that is this program. Asterisk restarts itself by the name it was called by: the script's."""
        if self.loader is None:
            return f'#!/bin/sh\nexec {shlex.quote(str(self.binary))} "$@"\n'
        loader, libraries, binary = (shlex.quote(str(path)) for path in (self.loader, self.loader.parent, self.binary))
        return f'#!/bin/sh\nexec {loader} --argv0 "$0" --library-path {libraries} {binary} "$@"\n'

    @property
    def sounds(self) -> Path | None:
        """The English sounds, None: there are none. In the one of `make asterisk` the link `en` leads out of it."""
        places = (self.data / "sounds" / name for name in ("en_US_f_Allison", "en"))
        return next((place for place in places if place.is_dir()), None)


def find_asterisk(checkout: Path) -> Installation:
    """Return the Asterisk of `make asterisk` below *checkout*, else the one on the PATH. Raises `AsteriskMissing`."""
    root = checkout / ".cache" / "asterisk" / "root"
    loaders = sorted((root / "usr" / "lib").glob("*/ld-linux*.so.*"))
    binary = root / "usr" / "sbin" / "asterisk"
    if loaders and binary.exists():
        return _installed(binary, loaders[0])
    found = shutil.which("asterisk", path=os.pathsep.join((os.environ.get("PATH", ""), *BESIDE_THE_PATH)))
    if found is None:
        raise AsteriskMissing(f"there is no Asterisk, neither in {root} nor on the PATH: {REMEDY}")
    version = _version(found)
    if version < OLDEST:
        is_what = f"is of version {version}, and {OLDEST} is needed" if version else "does not say its version"
        raise AsteriskMissing(f"there is no Asterisk in {root}, and {found} {is_what}: {REMEDY}")
    return _installed(Path(found).resolve())


def _version(program: str) -> int:
    """The version before the first point, 0: it does not say."""
    try:
        said = subprocess.run(
            [program, "-V"], stdin=subprocess.DEVNULL, capture_output=True, timeout=VERSION_TIMEOUT_S, check=False
        )
    except (OSError, subprocess.TimeoutExpired):
        return 0
    number = re.match(rb"Asterisk (?:GIT-|certified[/-])?(\d+)", said.stdout)
    return int(number[1]) if number else 0


def _installed(binary: Path, loader: Path | None = None) -> Installation:
    """Find what belongs to *binary*, which is `PREFIX/sbin/asterisk`. Raises `AsteriskMissing`."""
    prefix = binary.parents[1]
    places = [path for lib in ("lib", "lib64") for path in (prefix / lib, *sorted((prefix / lib).glob("*-linux-gnu*")))]
    modules = [path / "asterisk" / "modules" for path in places]
    datas = [prefix / "share" / "asterisk", prefix / "var" / "lib" / "asterisk", Path("/var/lib/asterisk")]
    module_folder = next((path for path in modules if (path / "chan_pjsip.so").exists()), None)
    data_folder = next((path for path in datas if (path / "documentation").is_dir()), None)
    if module_folder is None:
        raise AsteriskMissing(f"{binary} has no module chan_pjsip.so in {prefix}/lib/asterisk/modules: {REMEDY}")
    if data_folder is None:
        raise AsteriskMissing(f"{binary} has no folder `documentation` in {' or '.join(map(str, datas))}: {REMEDY}")
    return Installation(binary, module_folder, data_folder, loader)
