"""What a person does with the platform, without the command line: build, look. `cli` renders what is done here."""
