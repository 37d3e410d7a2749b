"""What is learnt from features: monthly training sets, a baseline churn model, drift. A proof that the features carry
signal; not a model platform."""
