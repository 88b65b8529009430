"""Programs that are run by hand, never by the bot."""
