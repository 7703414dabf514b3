"""The Asterisk Manager Interface: codec, one connection, and the client that makes it again and again."""
