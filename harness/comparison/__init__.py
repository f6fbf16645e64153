"""Measured scores held against reported ones: ledger, protocols, verdicts, tables, check."""
