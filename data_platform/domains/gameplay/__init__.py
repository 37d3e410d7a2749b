"""Gameplay: player events → sessions → engagement → churn features."""
