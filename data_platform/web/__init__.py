"""One server for pages and APIs, and what guards it. Not here: any page, any API."""
