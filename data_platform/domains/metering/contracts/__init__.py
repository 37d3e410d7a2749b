"""What each table of metering promises."""
