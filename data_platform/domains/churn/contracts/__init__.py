"""What the tables of churn promise: the features a model knows, and what is recorded of learning from them."""
