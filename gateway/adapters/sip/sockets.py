"""What the kernel holds for a UDP socket of this machine."""

from pathlib import Path
from typing import Final

TABLES: Final = (Path("/proc/self/net/udp"), Path("/proc/self/net/udp6"))


def waiting_bytes(port: int, tables: tuple[Path, ...] = TABLES) -> int | None:
    """Return the bytes that wait to be read from the UDP sockets bound to *port* (Linux: proc_net_udp(5), `rx_queue`).

    None: there is no such socket, or the machine does not tell.
    """
    waiting = None
    suffix = f":{port:04X}"
    for table in tables:
        try:
            lines = table.read_text("ascii").splitlines()[1:]
        except (OSError, UnicodeError):
            continue
        for line in lines:
            fields = line.split()
            if len(fields) > 4 and fields[1].endswith(suffix):
                try:
                    waiting = (waiting or 0) + int(fields[4].partition(":")[2], 16)
                except ValueError:
                    continue
    return waiting
