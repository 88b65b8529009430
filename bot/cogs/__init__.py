"""One extension for each tool: they translate Discord to a Request, and nothing more."""
