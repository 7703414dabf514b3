"""Asterisk: the manager interface, spoken by our own client or by the `asterisk-ami` package."""
