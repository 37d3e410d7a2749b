"""APIs that are asked for what they hold. Belongs here: asking, paging, windows, webhooks of any API. Not here: any
API's own shape (`domains/*/apis`)."""
