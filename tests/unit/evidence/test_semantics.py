"""The log's own rule: no recorder without a verdict that was durable before."""

import pytest

from gateway.evidence.bundle import verify_bundle
from gateway.evidence.errors import BundleInvalid
from tests.unit.evidence.stories import (
    KEY,
    Step,
    arrived,
    bundle_of,
    closed,
    command,
    ended,
    hold,
    observed,
    unhold,
    verdict,
)

THREE = [
    {"role": "caller", "kind": "customer"},
    {"role": "agent", "kind": "employee"},
    {"role": "third_party", "kind": "x"},
]

LIES: dict[str, tuple[list[Step], str]] = {
    "seen on without any verdict": (
        [arrived(), observed("on")],
        "entry 1 .recorder.observed.*no verdict was on record",
    ),
    "opened without any verdict": ([arrived(), command("open")], "entry 1 .recorder.command.*told to open"),
    "opened before the verdict": ([arrived(), command("open"), verdict()], "entry 1"),
    "opened after a refusal": ([arrived(), verdict("refused"), command("open")], "verdict of caller was 'refused'"),
    "seen on after silence": ([arrived(), verdict("unanswered"), observed("on")], "'unanswered'"),
    "seen on after an unclear answer": ([arrived(), verdict("unclear"), observed("on")], "'unclear'"),
    "granted, but not for recording": (
        [arrived(), verdict("granted", recording=False), command("open")],
        "does not allow the purpose 'recording'",
    ),
    "resumed after withdrawal": (
        [arrived(), verdict(), command("open"), observed("on"), verdict("withdrawn"), command("resume")],
        "entry 5 .recorder.command.*told to resume.*'withdrawn' .entry 4",
    ),
    "seen on after withdrawal": (
        [arrived(), verdict(), command("open"), observed("on"), verdict("withdrawn"), observed("on")],
        "entry 5 .recorder.observed.*'withdrawn'",
    ),
    "a late effect that nobody shut": (
        [arrived(), verdict(), command("open"), verdict("withdrawn"), observed("on")],
        "entry 4 .recorder.observed.*entry 3 took the permission away",
    ),
    "two effects of one command": (
        [arrived(), verdict(), command("open"), verdict("withdrawn"), command("close"), observed("on"), observed("on")],
        "entry 6",
    ),
    "only the agent is covered": (
        [arrived(), verdict("not_required", "agent"), command("open")],
        "no verdict of caller was on record",
    ),
    "a third party was never asked": (
        [arrived(parties=THREE), verdict(), command("open")],
        "no verdict of third_party",
    ),
    "a third party refused": (
        [arrived(parties=THREE), verdict(), verdict("refused", "third_party"), observed("on")],
        "verdict of third_party",
    ),
    "resumed under a hold": (
        [arrived(), verdict(), command("open"), hold(), hold("card_entry"), unhold(), command("resume")],
        "hold 'card_entry' of entry 4",
    ),
    "resumed under the hold of another who had the same reason": (
        [
            *(arrived(), verdict(), command("open"), hold("supervisor", hold="supervisor:a")),
            *(hold("supervisor", hold="supervisor:b"), unhold("supervisor", hold="supervisor:b"), command("resume")),
        ],
        "hold 'supervisor:a' of entry 3",
    ),
    "opened after the end": ([arrived(), verdict(), ended(3), command("open")], "after the call ended"),
    "ended twice": ([arrived(), ended(2), ended(3)], "ended already"),
    "entries lost before the end": (
        [arrived(), verdict(), ended(4)],
        "says the call has 4 entries, but it is number 3",
    ),
    "sound without an opening": ([arrived(), verdict("refused"), closed(("on", 0, 9))], "holds sound while"),
    "sound, covered, yet never opened": ([arrived(), verdict(), closed(("on", 0, 9))], "no entry before it opened"),
    "sound after a crash, but nobody was ever covered": (
        [arrived(), verdict("refused"), ("call.recovered", {"cause": "x"}), closed(("on", 0, 9), failed="x")],
        "entry 3 .recording.closed.*holds sound while",
    ),
    "spans with a hole": (
        [arrived(), verdict(), command("open"), closed(("on", 0, 9), ("paused", 10, 12))],
        "span 1 begins at frame 10",
    ),
    "arrived twice": ([arrived(), arrived()], "arrives once"),
    "a verdict that does not exist": ([arrived(), verdict("maybe")], "a verdict that does not exist"),
    "a command that does not exist": ([arrived(), verdict(), command("erase")], "command that does not exist"),
    "a state that does not exist": ([arrived(), verdict(), observed("off")], "state that does not exist"),
    "a verdict without a party": ([arrived(), ("verdict", {"verdict": "granted"})], "'party' is missing"),
    "a party without a role": ([arrived(parties=[{"kind": "customer"}])], "without a role"),
}


@pytest.mark.parametrize("name", LIES)
def test_a_lie_is_named(name: str) -> None:
    steps, says = LIES[name]
    with pytest.raises(BundleInvalid, match=says):
        verify_bundle(bundle_of(steps), KEY)


TRUTHS: dict[str, list[Step]] = {
    "refused and never recorded": [arrived(), verdict("refused"), ended(3)],
    "no consent needed": [arrived(), verdict("not_required"), command("open"), observed("on"), command("close")],
    "asked again later": [
        *(arrived(), verdict("refused"), verdict(), command("open"), observed("on"), verdict("withdrawn")),
        *(command("close"), closed(("on", 0, 9)), verdict(), command("open", "r2"), observed("on", 0, "r2")),
    ],
    "opened paused under a hold, resumed when the last one went": [
        *(arrived(), hold(), hold("card_entry"), verdict(), command("open"), observed("paused")),
        *(unhold(), unhold("card_entry"), command("resume"), observed("on", 20)),
    ],
    "the command crossed the withdrawal and was shut after": [
        *(arrived(), verdict(), command("open"), verdict("withdrawn"), observed("on"), command("close")),
        closed(("on", 0, 2)),
    ],
    "the command crossed the withdrawal and was shut before its effect was seen": [
        *(arrived(), verdict(), command("open"), verdict("withdrawn"), command("close"), observed("on")),
        closed(("on", 0, 2)),
    ],
    "a recording without sound": [arrived(), verdict("refused"), closed(failed="disk full")],
    "an end that was never observed": [
        *(arrived(), verdict(), command("open"), observed("on"), command("close")),
        ("recording.closed", {"recording": "r1", "failed": "the end was never observed"}),
    ],
    "a crash took the entry of the opening with it": [
        *(arrived(), verdict(), ("call.recovered", {"cause": "control process lost"})),
        closed(("on", 0, 9), failed="control process lost"),
    ],
    "things after the end": [arrived(), ended(2), ("recording.destroyed", {"recording": "r1", "authority": "policy"})],
}


@pytest.mark.parametrize("name", TRUTHS)
def test_a_true_story_verifies(name: str) -> None:
    verify_bundle(bundle_of(TRUTHS[name]), KEY)


def test_a_late_effect_is_told_in_the_report() -> None:
    report = verify_bundle(bundle_of(TRUTHS["the command crossed the withdrawal and was shut after"]), KEY)
    assert any("entry 4 saw the recorder of r1 on after entry 3" in line for line in report.proven)


def test_what_cannot_be_known_is_told_in_the_report() -> None:
    steps: list[Step] = [
        *(arrived(), verdict(), command("open"), observed("on")),
        ("recorder.unexpected", {"recording": "r9", "state": "on"}),
        ("call.recovered", {"because": "crash"}),
    ]
    unproven = " / ".join(verify_bundle(bundle_of(steps), KEY).not_proven)
    assert "no verdict is on record for: agent" in unproven
    assert "entry 4 saw recorder r9 'on' when none was to run" in unproven
    assert "the recovery in entry 5" in unproven
    assert "recording r1 was not closed" in unproven


def test_a_destroyed_recording_is_said_to_be_destroyed() -> None:
    steps = [arrived(), verdict(), command("open"), observed("on"), closed(("on", 0, 9)), ended(6)]
    steps.append(("recording.destroyed", {"recording": "r1", "authority": "policy"}))
    assert any("recording r1 was destroyed" in line for line in verify_bundle(bundle_of(steps), KEY).not_proven)
