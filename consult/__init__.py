"""The expert room: service, the technician's agent, the browser page."""
