"""Churn: features of gameplay and commerce side by side, the label, a baseline model and drift. Proof that the features
carry signal; not a model platform."""
