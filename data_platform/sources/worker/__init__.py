"""The process that reads the configured systems and takes in what lands, without a pause."""
