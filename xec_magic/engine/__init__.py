"""Plan in, events out: where admission, limits, retries and transports meet."""
