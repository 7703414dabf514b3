"""A manager interface on loopback that a test scripts: it answers as Asterisk 22 does (`main/manager.c`).

The user's classes are those of *permits*; while it boots, the actions of `LATE` are not there yet. `Getvar` answers
from *variables*, an action of *lists* with those events. `FullyBooted` is sent only with *tells_boot* (read class
`system`). Once it is *shutting_down* it refuses every action, the login
too.
"""

import asyncio
import hashlib
import socket
import ssl
from collections.abc import Sequence
from dataclasses import dataclass, field

Pairs = Sequence[tuple[str, str]]
USER, SECRET, CHALLENGE = "gateway", "not-a-secret", "840415273"

PERMITS = frozenset(
    {"ping", "listcommands", "corestatus", "coreshowchannels", "status", "bridgelist", "bridgeinfo", "command"}
    | {"mixmonitormute", "stopmixmonitor", "userevent", "setvar", "getvar", "hangup", "redirect", "originate"}
)

_FOLLOWS = {
    "CoreShowChannels": "Channels will follow",
    "Status": "Channel status will follow",
    "BridgeList": "Bridge listing will follow",
}

LATE = frozenset({"mixmonitormute", "stopmixmonitor"})
"""Actions of modules: Asterisk takes logins, and tells the date of its start, before it has loaded them."""


@dataclass(frozen=True)
class Heard:
    """An action as it reached the server."""

    action: str
    pairs: tuple[tuple[str, str], ...]

    def get(self, key: str) -> str:
        return next((value for name, value in self.pairs if name.lower() == key.lower()), "")

    def all(self, key: str) -> list[str]:
        return [value for name, value in self.pairs if name.lower() == key.lower()]


@dataclass
class Channel:
    name: str
    uniqueid: str
    bridge: str = ""
    state: str = "Up"
    mixmonitors: list[tuple[str, str]] = field(default_factory=list)

    def pairs(self) -> list[tuple[str, str]]:
        return [
            ("Channel", self.name),
            ("ChannelStateDesc", self.state),
            ("CallerIDNum", "+4930123456"),
            ("Uniqueid", self.uniqueid),
            ("Linkedid", self.uniqueid),
            ("ChanVariable", "CONSENT_CALL_ID=01K"),
            ("ChanVariable", "CONSENT_VERDICT="),
        ]


class ScriptedManager:
    """Begin with `start`. *piece*: bytes written at a time; None writes each message whole."""

    def __init__(
        self,
        *,
        permits: frozenset[str] = PERMITS,
        booted: bool = True,
        tells_boot: bool = True,
        line_end: str = "\r\n",
        piece: int | None = None,
        greeting: str = "Asterisk Call Manager/11.0.0",
        tls: ssl.SSLContext | None = None,
    ) -> None:
        self.permits, self.booted, self.tells_boot = permits, booted, tells_boot
        self.line_end, self.piece, self.greeting, self.tls = line_end, piece, greeting, tls
        self.secret = SECRET
        self.shutting_down = False
        self.channels: list[Channel] = []
        self.bridges: dict[str, str] = {}
        self.silent: set[str] = set()
        self.errors: dict[str, str] = {}
        self.replies: dict[str, list[tuple[str, str]]] = {}
        self.lists: dict[str, tuple[str, list[Pairs]]] = {}
        self.variables: dict[str, str] = {}
        self.between: dict[str, list[Pairs]] = {}
        self.heard: list[Heard] = []
        self.connections = 0
        self.port = 0
        self._news = asyncio.Condition()
        self._server: asyncio.Server | None = None
        self._writers: dict[asyncio.StreamWriter, bool] = {}

    async def start(self) -> None:
        self._server = await asyncio.start_server(self._serve, "127.0.0.1", self.port, ssl=self.tls)
        self.port = self._server.sockets[0].getsockname()[1]

    async def stop(self) -> None:
        assert self._server is not None
        self._server.close()
        self.cut()
        async with self._news:
            await self._news.wait_for(lambda: not self._writers)

    def cut(self) -> None:
        """Break every connection at once."""
        for writer in self._writers:
            writer.transport.abort()

    def boot(self) -> None:
        self.booted = True
        if self.tells_boot:
            self.emit("FullyBooted", ("Status", "Fully Booted"))

    def emit(self, name: str, *pairs: tuple[str, str]) -> None:
        """Send an event to everybody who is logged in, with an empty line too many at the end.

        That is how Asterisk 22 ends the `TestEvent` of a MixMonitor's end.
        """
        for writer, logged_in in self._writers.items():
            if logged_in:
                writer.write(self.block([("Event", name), *pairs]) + self.line_end.encode())

    def say(self, data: bytes) -> None:
        """Send raw bytes to everybody."""
        for writer in self._writers:
            writer.write(data)

    async def until_heard(self, action: str, count: int = 1) -> list[Heard]:
        """Wait until *action* came in *count* times on all connections together."""
        async with asyncio.timeout(30), self._news:
            await self._news.wait_for(lambda: len(self.all_heard(action)) >= count)
        return self.all_heard(action)

    def all_heard(self, action: str) -> list[Heard]:
        return [heard for heard in self.heard if heard.action.lower() == action.lower()]

    def block(self, pairs: Pairs) -> bytes:
        end = self.line_end
        return ("".join(f"{key}: {value}{end}" for key, value in pairs) + end).encode()

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.connections += 1
        self._writers[writer] = False
        writer.get_extra_info("socket").setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        try:
            writer.write(f"{self.greeting}{self.line_end}".encode())
            while (heard := await self._read(reader)) is not None:
                async with self._news:
                    self.heard.append(heard)
                    self._news.notify_all()
                for pairs in self._answer(heard, writer):
                    await self._write(writer, self.block(pairs))
                if heard.action == "Logoff" or (heard.action == "Login" and not self._writers[writer]):
                    break
        except OSError:
            pass
        finally:
            writer.transport.abort()
            async with self._news:
                del self._writers[writer]
                self._news.notify_all()

    async def _read(self, reader: asyncio.StreamReader) -> Heard | None:
        pairs: list[tuple[str, str]] = []
        while line := await reader.readline():
            text = line.decode().removesuffix("\r\n")
            if not text:
                return Heard(dict(pairs).get("Action", ""), tuple(pairs[1:]))
            key, _, value = text.partition(": ")
            pairs.append((key, value))
        return None

    async def _write(self, writer: asyncio.StreamWriter, data: bytes) -> None:
        for start in range(0, len(data), self.piece or len(data)):
            writer.write(data[start : start + (self.piece or len(data))])
            await writer.drain()
            await asyncio.sleep(0)

    def _answer(self, heard: Heard, writer: asyncio.StreamWriter) -> list[Pairs]:
        action = heard.action.lower()
        mark = [("ActionID", heard.get("ActionID"))]
        if action in self.silent:
            return []
        if self.shutting_down:
            return [[("Response", "Error"), *mark, ("Message", "Asterisk is shutting down")]]
        if action in ("challenge", "login", "logoff"):
            return self._connection_answer(action, heard, mark, writer)
        if not self._writers[writer] or action not in self._known():
            return [[("Response", "Error"), *mark, ("Message", "Permission denied")]]
        if action in self.errors:
            return [[("Response", "Error"), *mark, ("Message", self.errors[action])]]
        if action in self.replies:
            return [[("Response", "Success"), *mark, *self.replies[action]]]
        if action == "getvar" and not heard.get("Variable"):
            return [[("Response", "Error"), *mark, ("Message", "No variable specified")]]
        if action in self.lists:
            return self._list(heard.action, mark, *self.lists[action])
        if action in ("coreshowchannels", "status"):
            name = {"coreshowchannels": "CoreShowChannel"}.get(action, "Status")
            return self._list(heard.action, mark, name, self._channel_pairs())
        if action == "bridgelist":
            return self._list(heard.action, mark, "BridgeListItem", self._bridge_pairs())
        return [[("Response", "Success"), *mark, *self._details(action, heard)]]

    def _known(self) -> frozenset[str]:
        return self.permits if self.booted else self.permits - LATE

    def _connection_answer(self, action: str, heard: Heard, mark: Pairs, writer: asyncio.StreamWriter) -> list[Pairs]:
        if action == "challenge":
            return [[("Response", "Success"), *mark, ("Challenge", CHALLENGE)]]
        if action == "logoff":
            return [[("Response", "Goodbye"), *mark, ("Message", "Thanks for all the fish.")]]
        key = hashlib.md5(f"{CHALLENGE}{self.secret}".encode()).hexdigest()
        proof = heard.get("Key") == key if heard.get("AuthType") == "MD5" else heard.get("Secret") == self.secret
        if heard.get("Username") != USER or not proof:
            return [[("Response", "Error"), *mark, ("Message", "Authentication failed")]]
        self._writers[writer] = True
        accepted = [[("Response", "Success"), *mark, ("Message", "Authentication accepted")]]
        return [*accepted, *([[("Event", "FullyBooted")]] if self.booted and self.tells_boot else [])]

    def _list(self, action: str, mark: Pairs, name: str, items: list[Pairs]) -> list[Pairs]:
        count = str(len(items))
        items_too = [("Items", count)] if action == "Status" else []
        return [
            [
                ("Response", "Success"),
                *mark,
                ("EventList", "start"),
                ("Message", _FOLLOWS.get(action, "It will follow")),
            ],
            *[[("Event", name), *mark, *item] for item in items],
            *self.between.get(action.lower(), []),
            [("Event", f"{action}Complete"), *mark, ("EventList", "Complete"), ("ListItems", count), *items_too],
        ]

    def _channel_pairs(self) -> list[Pairs]:
        return [[*channel.pairs(), ("BridgeId", channel.bridge)] for channel in self.channels]

    def _bridge_pairs(self) -> list[Pairs]:
        return [[("BridgeUniqueid", id), ("BridgeTechnology", technology)] for id, technology in self.bridges.items()]

    def _details(self, action: str, heard: Heard) -> Pairs:
        if action == "ping":
            return [("Ping", "Pong"), ("Timestamp", "1.000000")]
        if action == "listcommands":
            return [(name, "A thing to do  (Priv: call)") for name in sorted(self._known())]
        if action == "corestatus":
            begun = [
                ("CoreStartupDate", "2026-11-24"),
                ("CoreStartupTime", "12:00:00"),
            ]
            reloaded = [("CoreReloadDate", "2026-11-24"), ("CoreReloadTime", "12:00:00")]
            return [*begun, *reloaded, ("CoreCurrentCalls", "0"), ("CoreProcessedCalls", "0")]
        if action == "getvar":
            return [("Variable", heard.get("Variable")), ("Value", self.variables.get(heard.get("Variable"), ""))]
        if action == "command":
            return [("Message", "Command output follows"), *(("Output", line) for line in self._printed(heard))]
        return [("Message", "Done")]

    def _printed(self, heard: Heard) -> list[str]:
        wanted = heard.get("Command").removeprefix("mixmonitor list ")
        for channel in self.channels:
            if channel.name == wanted:
                rows = [f"{id}\t{file}\t\t" for id, file in channel.mixmonitors]
                return ["MixMonitor ID\tFile\tReceive File\tTransmit File", "=" * 73, *rows]
        return [f"No channel matching '{wanted}' found."]
