"""The peer: a bare pjsua2 process that answers and plays one file in a loop. None of our code runs in it.

`python -m bench.peer FILE` prints its SIP port and runs until its standard input ends.
"""

import os
import sys
import threading
from typing import Any

import pjsua2 as pj


class PlayingCall(pj.Call):  # type: ignore[misc]
    """Plays the file as soon as there is media."""

    def __init__(self, account: "PeerAccount", call_id: int) -> None:
        super().__init__(account, call_id)
        self.player: Any = None

    def onCallMediaState(self, prm: Any) -> None:
        if self.player is None:
            self.player = pj.AudioMediaPlayer()
            self.player.createPlayer(sys.argv[1])
            self.player.startTransmit(self.getAudioMedia(-1))


class PeerAccount(pj.Account):  # type: ignore[misc]
    """Answers everything."""

    def __init__(self) -> None:
        super().__init__()
        self.calls: list[PlayingCall] = []

    def onIncomingCall(self, prm: Any) -> None:
        call = PlayingCall(self, prm.callId)
        self.calls.append(call)
        answer = pj.CallOpParam(True)
        answer.statusCode = 200
        call.answer(answer)


def main() -> None:
    endpoint = pj.Endpoint()
    endpoint.libCreate()
    config = pj.EpConfig()
    config.logConfig.level = config.logConfig.consoleLevel = 0
    config.uaConfig.threadCnt = 0
    config.medConfig.clockRate = config.medConfig.sndClockRate = 8_000
    config.medConfig.audioFramePtime = config.medConfig.ptime = 20
    config.medConfig.threadCnt = 1
    config.medConfig.noVad = True
    config.medConfig.ecTailLen = 0
    config.medConfig.sndAutoCloseTime = -1
    endpoint.libInit(config)
    transport = pj.TransportConfig()
    transport.boundAddress = "127.0.0.1"
    opened = endpoint.transportCreate(pj.PJSIP_TRANSPORT_UDP, transport)
    endpoint.libStart()
    endpoint.audDevManager().setNullDev()
    port = int(str(endpoint.transportGetInfo(opened).localAddress).rpartition(":")[2])
    settings = pj.AccountConfig()
    settings.idUri = f"sip:peer@127.0.0.1:{port}"
    settings.mediaConfig.transportConfig.boundAddress = "127.0.0.1"
    account = PeerAccount()
    account.create(settings)
    print(f"port {port}", flush=True)
    threading.Thread(target=wait_for_end, daemon=True).start()
    while True:
        endpoint.libHandleEvents(10)


def wait_for_end() -> None:
    sys.stdin.read()
    os._exit(0)


if __name__ == "__main__":
    main()
