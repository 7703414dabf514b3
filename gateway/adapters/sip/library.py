"""Which pjsua2 is really loaded. Run by itself (`python -m gateway.adapters.sip.library`) it prints JSON."""

import json
import re
import sys
from pathlib import Path
from typing import Any

_OPENSSL = re.compile(rb"OpenSSL (\d+\.\d+\.\d+[a-z]?)")
_SEARCH_BYTES = 64 * 1024 * 1024


def describe() -> dict[str, Any]:
    """Return `version`, `max_calls` (SIP dialogs a process), `file` and `openssl` ("" when none is inside).

    Raises `ImportError` when there is no pjsua2.
    """
    import pjsua2 as pj

    module = Path(str(pj._pjsua2.__file__))
    endpoint = pj.Endpoint()
    endpoint.libCreate()
    config = pj.EpConfig()
    config.logConfig.level = config.logConfig.consoleLevel = 0
    config.uaConfig.maxCalls = 2_000
    config.uaConfig.threadCnt = 0
    endpoint.libInit(config)
    from gateway.adapters.sip.stack import true_max_calls

    return {
        "version": endpoint.libVersion().full,
        "max_calls": true_max_calls(2_000),
        "file": str(module),
        "openssl": _openssl_in(module),
    }


def _openssl_in(module: Path) -> str:
    """Return the OpenSSL version named inside the module, or inside the libraries that came in its package."""
    bundled = [folder for folder in module.parents[1].glob("pjsua2*.libs") if folder.is_dir()]
    libraries = [module, *(library for folder in bundled for library in sorted(folder.iterdir()))]
    for library in libraries:
        if library.is_file() and library.stat().st_size < _SEARCH_BYTES:
            match = _OPENSSL.search(library.read_bytes())
            if match:
                return match[1].decode()
    return ""


if __name__ == "__main__":
    sys.stdout.write(json.dumps(describe()) + "\n")
    sys.stdout.flush()
    import os

    os._exit(0)
