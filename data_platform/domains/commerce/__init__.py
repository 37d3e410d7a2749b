"""Commerce: users, products, orders, payments and e-mails, as a star schema that finance signs."""
