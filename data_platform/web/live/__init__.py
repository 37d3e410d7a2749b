"""The live view: windows of event time counted from segments as they arrive, and the page that shows them."""
