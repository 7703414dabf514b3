"""`consent-gateway prompts`: check them, speak them anew."""

import runpy
import sys
from pathlib import Path

from gateway.adapters.config.settings import ROOT
from gateway.adapters.prompts.library import FilePromptLibrary, load_prompts
from gateway.cli.output import NO, OK, OUT_OF_REACH, complain, say, say_json, settings_or_exit, table


def check(folder: Path | None, config: Path | None, *, as_json: bool) -> int:
    """Print every prompt and every finding; 0 when there is none."""
    where = folder or settings_or_exit(config).prompts.folder
    library, findings = load_prompts(where)
    prompts = [library.prompts[key] for key in sorted(library.prompts)]
    languages = library.languages()
    if as_json:
        usable = [
            {
                "language": p.language,
                "name": p.name,
                "duration_ms": p.duration_ms,
                "sha256": p.sha256,
                "answers": _answers(library, p.language),
            }
            for p in prompts
        ]
        say_json(
            {
                "ok": not findings,
                "prompts": usable,
                "languages": [{"language": name, "answers": _answers(library, name)} for name in languages],
                "findings": [{"file": f.file, "message": f.message} for f in findings],
            }
        )
        return NO if findings else OK
    rows = [[p.language, p.name, f"{p.duration_ms / 1000:.1f} s", p.text] for p in prompts]
    table(["LANGUAGE", "PROMPT", "LENGTH", "TEXT"], rows)
    for finding in findings:
        complain(str(finding))
    for name in languages:
        voice = library.asks_by_voice(name)
        say(f"{name}: answers by key{', and by voice' if voice else ' only (no prompts that ask for a spoken answer)'}")
    say(f"{len(prompts)} prompts usable in {len(languages)} languages, {len(findings)} findings")
    return NO if findings else OK


def _answers(library: FilePromptLibrary, language: str) -> list[str]:
    return ["key", "voice"] if library.asks_by_voice(language) else ["key"]


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
