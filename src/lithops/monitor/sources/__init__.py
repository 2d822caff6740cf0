"""Where statuses arrive from, when it is not the backend's own connection."""
