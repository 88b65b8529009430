"""From a request to a picture: tools, pipelines, 8 bits, and the process that owns a device."""
