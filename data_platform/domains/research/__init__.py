"""Research: AI personas, event-sourced focus groups, surveys, and what they say."""
