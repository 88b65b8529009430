"""The bot as its operator runs it: a process of its own, against a Discord on 127.0.0.1."""
