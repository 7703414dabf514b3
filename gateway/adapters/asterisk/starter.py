"""What only a user with class `system` may do about recorders: an opt-in, for that class is a shell on the PBX.

The user's connection is held here and used for two actions with fixed fields; nothing of them, least of all the
`Command` that MixMonitor would run, can be chosen from outside.
"""

import re
from datetime import UTC, datetime
from typing import Final

from gateway.ports.manager import ActionRefused, ManagerClient, ManagerError, ManagerEvent, ManagerState
from gateway.ports.pbx import PbxRefused, PbxUnavailable

_CALL_ID: Final = re.compile(r"[A-Z0-9]{26}")
_CHANNEL: Final = re.compile(r"[A-Za-z0-9._-]{1,150}")


class RecorderStarter:
    """The one who may start recorders on a server, and stop those of conferences."""

    def __init__(self, client: ManagerClient) -> None:
        self._client = client

    @property
    def is_connected(self) -> bool:
        """Whether a recorder could be started now."""
        return self._client.state.connected

    async def start(self) -> None:
        """Begin to connect. Does not wait."""
        await self._client.start(_nothing, _nothing)

    async def stop(self) -> None:
        """Close the connection."""
        await self._client.stop()

    async def start_recorder(self, channel: str, call_id: str) -> None:
        """Start the recorder of *call_id* on *channel*, as the dialplan would: its id is in the channel's
        CONSENT_MIXMONITOR_ID. Raises `PbxUnavailable`, `PbxRefused`, `ValueError` for ids that are none."""
        if not _CALL_ID.fullmatch(call_id) or not _CHANNEL.fullmatch(channel):
            raise ValueError("a recorder is started for a call id, on a Uniqueid")
        file = f"consent/{call_id}-{datetime.now(UTC):%Y%m%dT%H%M%S%f}"[:-3] + ".wav"
        await self._act("MixMonitor", {"Channel": channel, "File": file, "Options": "bi(CONSENT_MIXMONITOR_ID)"})

    async def stop_conference(self, conference: str) -> None:
        """Stop a conference's own recorder. Raises `PbxUnavailable`, `PbxRefused`."""
        await self._act("ConfbridgeStopRecord", {"Conference": conference})

    async def _act(self, action: str, fields: dict[str, str]) -> None:
        try:
            await self._client.action(action, fields, deadline_s=2.0)
        except ActionRefused as error:
            raise (PbxUnavailable if error.is_shutdown else PbxRefused)(str(error)) from None
        except ManagerError as error:
            raise PbxUnavailable(str(error)) from None


def _nothing(_: ManagerEvent | ManagerState) -> None:
    """Everything that is heard of the server is heard by the other user."""
