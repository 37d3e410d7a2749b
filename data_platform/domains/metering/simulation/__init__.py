"""The pretend company's language models: who calls them (`tenants`), what they cost (`price_list`), what happens day by
day and what it truly costs (`usage`), what goes wrong on the way (`dirt`).
Not here: how lines become files (simulation/writer)."""
