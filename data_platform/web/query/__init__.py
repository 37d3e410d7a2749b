"""The query API: what domains declare as `queries`, answered from the cheapest table, tenant by tenant."""
