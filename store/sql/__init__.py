"""The database: tables, connections, and conditions in SQL."""
