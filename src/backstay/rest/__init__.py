"""REST: from a URL and a body to the query IR, and from the engine's bytes to a response."""
