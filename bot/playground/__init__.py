"""The bot on a simulated Discord: in the browser, or for one command on the command line."""
