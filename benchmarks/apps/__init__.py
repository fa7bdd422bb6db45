"""The servers under test, each one file that its own server command can start."""
