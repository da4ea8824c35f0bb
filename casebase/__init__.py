"""Known fixes: store, matching, learning from outcomes."""
