"""`consent-gateway prompts`: check them, speak them anew."""

import runpy
import sys
from pathlib import Path

from gateway.adapters.config.settings import ROOT, Speech
from gateway.adapters.prompts.library import FilePromptLibrary, load_prompts
from gateway.adapters.speech.models import PACKAGED
from gateway.cli.output import NO, OK, OUT_OF_REACH, complain, say, say_json, settings_or_exit, table
from gateway.ports.recogniser import base_language


def check(folder: Path | None, config: Path | None, *, as_json: bool) -> int:
    """Print every prompt and every finding; 0 when there is none."""
    settings = settings_or_exit(config)
    library, findings = load_prompts(folder or settings.prompts.folder)
    understood = _understood(settings.speech)
    prompts = [library.prompts[key] for key in sorted(library.prompts)]
    languages = library.languages()
    if as_json:
        usable = [
            {
                "language": p.language,
                "name": p.name,
                "duration_ms": p.duration_ms,
                "sha256": p.sha256,
                "answers": _answers(library, understood, p.language),
            }
            for p in prompts
        ]
        say_json(
            {
                "ok": not findings,
                "prompts": usable,
                "languages": [{"language": name, "answers": _answers(library, understood, name)} for name in languages],
                "findings": [{"file": f.file, "message": f.message} for f in findings],
            }
        )
        return NO if findings else OK
    rows = [[p.language, p.name, f"{p.duration_ms / 1000:.1f} s", p.text] for p in prompts]
    table(["LANGUAGE", "PROMPT", "LENGTH", "TEXT"], rows)
    for finding in findings:
        complain(str(finding))
    for name in languages:
        say(f"{name}: answers by key{_besides(library, understood, name)}")
    say(f"{len(prompts)} prompts usable in {len(languages)} languages, {len(findings)} findings")
    return NO if findings else OK


def _understood(speech: Speech) -> frozenset[str]:
    """Return the languages for which an engine is configured. Whether it is installed is not looked at."""
    own = speech.folder_languages if speech.folder is not None else ()
    return frozenset(own).union(*(PACKAGED[name].languages for name in speech.engines))


def _answers(library: FilePromptLibrary, understood: frozenset[str], language: str) -> list[str]:
    """Return how callers may answer, where the policy wants answers by voice."""
    voice = library.asks_by_voice(language) and base_language(language) in understood
    return ["key", "voice"] if voice else ["key"]


def _besides(library: FilePromptLibrary, understood: frozenset[str], language: str) -> str:
    if "voice" in _answers(library, understood, language):
        return ", and by voice"
    if not library.asks_by_voice(language):
        return " only (no prompts that ask for a spoken answer)"
    able = [f'"{name}"' for name, model in PACKAGED.items() if base_language(language) in model.languages]
    hint = f": add {' or '.join(able)}" if able else ""
    return f" only (has prompts for spoken answers, but no engine in speech.engines understands it{hint})"


def build(folder: Path | None, languages: list[str]) -> int:
    """Run the build script that stands beside the prompts."""
    script = ROOT / "ivr_prompts" / "build.py"
    if not script.exists():
        complain(f"{script} is not there: prompts are built from a checkout of the project")
        return OUT_OF_REACH
    arguments = [str(script), "--out", str(folder or ROOT / "ivr_prompts")]
    for language in languages:
        arguments += ["--language", language]
    sys.argv = arguments
    try:
        runpy.run_path(str(script), run_name="__main__")
    except SystemExit as left:
        return int(left.code or 0)
    return OK
