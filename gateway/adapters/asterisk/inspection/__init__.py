"""What `consent-gateway doctor` finds out about an Asterisk: asking it, reading its files, and what follows."""
