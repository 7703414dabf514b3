"""What the tests measured on the real PBX; the conftest prints it at the end."""

FIGURES: dict[str, list[float]] = {}
