"""Dashboards: pictures of the marts as of their newest commits. Read-only, without JavaScript.

A domain says in its module `panels` what is shown (`core/contract/panels`); nothing here knows any domain."""
