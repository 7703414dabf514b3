"""A serving gateway anchors its head by itself, and says how it stands with that."""

import asyncio
from collections.abc import Callable
from pathlib import Path

import httpx
import pytest

from tests.e2e.test_serve import Scene, scene
from tests.support.serving import Served

pytestmark = pytest.mark.slow


def notes(folder: Path) -> list[int]:
    return sorted(int(path.name.rpartition("-")[2].removesuffix(".checkpoint")) for path in folder.glob("*.checkpoint"))


async def until(condition: Callable[[], bool], seconds: float) -> None:
    for _ in range(int(seconds * 10)):
        if condition():
            return
        await asyncio.sleep(0.1)
    raise AssertionError(f"it did not come to that within {seconds} s")


async def health(url: str) -> dict[str, object]:
    async with httpx.AsyncClient() as client:
        answer = await client.get(f"{url}/readyz")
    assert answer.status_code == 200
    body: dict[str, object] = answer.json()
    return body


async def metrics(s: Scene) -> str:
    async with httpx.AsyncClient(headers={"Authorization": f"Bearer {s.key_file.read_text().strip()}"}) as client:
        return (await client.get(f"{s.url}/metrics")).text


async def test_the_head_is_anchored_by_itself_and_staleness_is_told(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    worm = tmp_path / "worm"
    worm.mkdir()
    settings = f'[evidence.anchors]\nfolder = "{worm}"\nevery_minutes = 0.01\nstale_after_minutes = 0.05\n'
    written = Served.__post_init__

    def with_anchors(served: Served) -> None:
        written(served)
        served.config.write_text(served.config.read_text() + settings)

    monkeypatch.setattr(Served, "__post_init__", with_anchors)
    async with scene(tmp_path) as s:
        call, call_id = await s.talk()
        await call.hang_up()
        await until(lambda: any(size > 5 for size in notes(worm)), 15)
        assert (await health(s.url))["degraded"] == []
        assert "consentgw_anchor_age_seconds" in await metrics(s)

        worm.rename(tmp_path / "unmounted")
        await asyncio.sleep(4.5)
        ill = await health(s.url)
        assert ill["ready"] is True and ill["because"] == []
        (words,) = ill["degraded"]  # type: ignore[misc]
        assert words.startswith("the log's head has not been anchored for 0 minutes: folder: ")
        assert "is the disk mounted" in words
        again, _ = await s.talk()
        await again.hang_up()

        (tmp_path / "unmounted").rename(worm)
        for _ in range(50):
            if not (await health(s.url))["degraded"]:
                break
            await asyncio.sleep(0.2)
        assert (await health(s.url))["degraded"] == []
        assert (await s.evidence("fsck")).code == 0
        out = tmp_path / "bundle.json"
        exported = await s.evidence("export", call_id, "--anchored", "--out", out)
        assert exported.code == 0, exported.err
    assert len(notes(worm)) >= 2
