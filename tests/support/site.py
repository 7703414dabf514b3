"""What a site adds to an Asterisk beside our dialplan: routes, a queue, conferences, parking, transfers by code."""

from collections.abc import Callable
from textwrap import dedent

from tests.support.asterisk import Edits


def _and(*texts: str) -> Callable[[str], str]:
    return lambda old: old + "".join(dedent(text) for text in texts)


MODULES = "res_pjsip_one_touch_record_info bridge_holding res_musiconhold res_parking app_confbridge app_queue app_read"

ROUTES = """
    [of-the-site](+)
    exten = 75,1,Dial(PJSIP/trunk)
    exten = room,1,ConfBridge(room)
    [consent-example-inbound](+)
    exten = 7000,1,Gosub(consent-gate,s,1)
    same = n,Queue(support)
    exten = 7100,1,Gosub(consent-gate,s,1)
    same = n,Queue(recording)
    exten = 7200,1,ConfBridge(room)
    exten = 7300,1,ParkedCall(default,701)
    exten = 7400,1,Answer()
    same = n,Wait(60)
    exten = 7600,1,Gosub(consent-gate,s,1)
    same = n,Set(__TRANSFER_CONTEXT=of-the-site)
    same = n,Dial(PJSIP/agent,30,t)
    exten = 7800,1,Gosub(consent-gate,s,1)
    same = n,ConfBridge(room)
    exten = 7610,1,Set(CONSENT_JURISDICTION=US-CA)
    same = n,Goto(7600,1)
    exten = 7620,1,Set(CONSENT_TRUNK=dallas-1)
    same = n,Set(CONSENT_LINE=support)
    same = n,Goto(7600,1)
    exten = 7900,1,Dial(Local/7600@consent-example-inbound/n)
    """
MENU = """
    exten = 7700,1,Answer()
    same = n,Read(KEY,bench-ask,1,,1,2)
    same = n,ExecIf($["${KEY}"="1"]?MixMonitor(bench/${UNIQUEID}.wav,b))
    same = n,Dial(PJSIP/agent,30)
    """
RECORD_BUTTON = """
    [agent](+type=endpoint)
    one_touch_recording = yes
    record_on_feature = consent-resume
    record_off_feature = consent-pause
    """

SITE: Edits = {
    "extensions": _and(ROUTES, MENU),
    "pjsip": _and(RECORD_BUTTON),
    "features": _and("[featuremap]\natxfer = *2\n"),
    "queues": _and(
        "[support]\nstrategy = ringall\nmember = Local/colleague@of-the-site/n\n",
        "[recording]\nstrategy = ringall\nmember = PJSIP/agent\nmonitor-format = wav\nmonitor-type = MixMonitor\n",
    ),
    "confbridge": _and("[general]\n[default_user]\ntype = user\nquiet = yes\n[default_bridge]\ntype = bridge\n"),
    "res_parking": _and("[general]\n[default]\nparkext = 700\nparkpos = 701-720\ncontext = parkedcalls\n"),
    "musiconhold": _and("[general]\n"),
    "queuerules": _and("[general]\n"),
}
"""Edits for `asterisk.running`, with `MODULES`."""
