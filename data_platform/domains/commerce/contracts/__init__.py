"""What each table of commerce promises."""
