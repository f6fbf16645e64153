"""The report: tables, verdicts, pictures and curves of one scale as a static page."""
