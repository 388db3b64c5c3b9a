"""The small helper process that starts all commands. It imports the standard library only."""
