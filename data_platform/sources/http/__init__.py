"""The HTTP collector: events that producers post are on the disk before they are acknowledged, and then a segment.
Not here: the server it runs on (web), the library that posts (sdk)."""
