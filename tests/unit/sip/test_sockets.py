"""What waits in a UDP socket, asked of this machine's kernel."""

import socket
from pathlib import Path

import pytest

from gateway.adapters.sip.sockets import waiting_bytes


def test_the_kernel_tells_what_nobody_has_read_yet() -> None:
    with (
        socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as reader,
        socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as writer,
    ):
        reader.bind(("127.0.0.1", 0))
        port = reader.getsockname()[1]
        assert waiting_bytes(port) == 0
        writer.sendto(bytes(172), ("127.0.0.1", port))
        assert (waiting_bytes(port) or 0) >= 172
        reader.recv(200)
        assert waiting_bytes(port) == 0
    assert waiting_bytes(port) is None


@pytest.mark.parametrize(
    "table", ["", "head\n", "head\nx\n", "head\n 1: 00:1F90 0:0 07 0:zz 0\n", "head\n\xff\n", "head\n 1: 2:3 4 5 6\n"]
)
def test_a_table_of_another_form_tells_nothing(tmp_path: Path, table: str) -> None:
    (tmp_path / "udp").write_bytes(table.encode("latin-1"))
    assert waiting_bytes(8080, (tmp_path / "udp", tmp_path / "absent")) is None
